//! nft(8): the rules in force are the text that was loaded last, without comments and `flush ruleset`. The words
//! `syntax error` are one.

use super::{Host, Output, World, fails, says};
use crate::fault::Fault;

pub(super) fn nft(host: &mut dyn Host, world: &mut World, arguments: &[&str], stdin: &[u8]) -> Result<Output, Fault> {
    let text = String::from_utf8_lossy(stdin);
    if text.contains("syntax error") {
        return Ok(fails(1, "/dev/stdin:1:1-6: Error: syntax error, unexpected string"));
    }
    match arguments {
        ["-s", "list", "ruleset"] => Ok(says(world.rules.clone())),
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
