//! nft(8): the rules in force are the text that was loaded last, without comments and `flush ruleset`. The words
//! `syntax error` are one. A text that begins with a table of ours replaces that table alone.

use super::{Host, Output, World, fails, says};
use crate::fault::Fault;

pub(super) fn nft(host: &mut dyn Host, world: &mut World, arguments: &[&str], stdin: &[u8]) -> Result<Output, Fault> {
    let text = String::from_utf8_lossy(stdin);
    if text.contains("syntax error") {
        return Ok(fails(1, "/dev/stdin:1:1-6: Error: syntax error, unexpected string"));
    }
    match arguments {
        ["--version"] => Ok(says("nftables v1.0.6 (simulated)\n")),
        ["-s", "list", "ruleset"] => Ok(says(world.rules.clone())),
        ["-nn", "list", "table", "inet", name] => match world.holds.get(*name) {
            Some(table) => Ok(says(table.clone())),
            None => Ok(fails(1, "Error: No such file or directory")),
        },
        ["-f", "-"] if text.starts_with("table inet weiche-hold-") => {
            let name = text.lines().next().and_then(|line| line.rsplit(' ').next()).unwrap_or_default().to_owned();
            let rules: Vec<&str> = text.lines().filter(|line| line.contains("tcp dport")).collect();
            match rules.is_empty() {
                false => world.holds.insert(name, rules.join("\n")),
                true => world.holds.remove(&name),
            };
            world.save(host)?;
            Ok(Output::default())
        }
        ["-c", "-f", "-"] => Ok(Output::default()),
        ["-f", "-"] => {
            world.rules = rules(&text);
            world.save(host)?;
            Ok(Output::default())
        }
        _ => Ok(fails(1, "nft: bad usage")),
    }
}

/// What a ruleset reads like once it is in force: `unshare` with the script that loads and lists it.
pub(super) fn apart(arguments: &[&str], stdin: &[u8]) -> Output {
    match arguments {
        ["--net", "sh", "-c", _] => says(rules(&String::from_utf8_lossy(stdin))),
        _ => fails(1, "unshare: bad usage"),
    }
}

fn rules(text: &str) -> String {
    let kept = text.lines().filter(|line| !line.starts_with('#') && line.trim() != "flush ruleset");
    kept.map(|line| format!("{line}\n")).collect()
}
