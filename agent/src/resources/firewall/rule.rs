//! What a ruleset must have, seen as text: that it begins anew, and that it does not shut out who manages the host.
//!
//! This is a net for slips, not a proof: a set or a variable is trusted to hold the port, and so is a jump to another
//! chain that accepts it.

/// What is wrong with a ruleset, if anything.
pub(super) fn problem(text: &str, port: u16) -> Option<String> {
    let lines: Vec<&str> = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).collect();
    if lines.iter().find(|line| !line.is_empty()).is_none_or(|first| !first.starts_with("flush ruleset")) {
        return Some(
            "the ruleset must begin with `flush ruleset`: else its rules would be added to those in force".into(),
        );
    }
    let statements: Vec<&str> =
        lines.iter().flat_map(|line| line.split([';', '{', '}'])).map(str::trim).filter(|s| !s.is_empty()).collect();
    let has = |words: &str| statements.iter().any(|s| s.contains(words));
    let drops = has("hook input") && has("policy drop");
    let accepts = lines.iter().any(|line| line.contains("accept") && line.contains("dport") && names(line, port));
    // `iifname "eth0" accept` and the like lets everything in from somewhere.
    let open = lines.iter().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let by_source = ["saddr", "iif", "iifname"].iter().any(|word| words.contains(word));
        words.last() == Some(&"accept")
            && by_source
            && !words.contains(&"lo")
            && !words.contains(&"\"lo\"")
            && !line.contains("dport")
            && !line.contains("icmp")
    });
    (drops && !accepts && !open).then(|| {
        format!(
            "the ruleset drops input and accepts port {port} nowhere: it would cut off who manages the host; add `tcp \
             dport {port} accept`, or say `ssh_port` if ssh listens elsewhere"
        )
    })
}

/// Whether the ports that a rule names have this one among them.
fn names(line: &str, port: u16) -> bool {
    let ports = line
        .split("dport")
        .skip(1)
        .flat_map(|rest| rest.split(|c: char| c == ',' || c == '{' || c == '}' || c.is_whitespace()));
    let mut words = ports.filter(|word| !word.is_empty());
    words.any(|word| {
        let range = |(a, b): (&str, &str)| Some(a.parse::<u16>().ok()? <= port && port <= b.parse::<u16>().ok()?);
        word.starts_with(['@', '$'])
            || (word == "ssh" && port == 22)
            || word.parse() == Ok(port)
            || word.split_once('-').and_then(range).unwrap_or(false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(rules: &str) -> bool {
        let chain = "type filter hook input priority 0; policy drop;\n";
        problem(&format!("flush ruleset\ntable inet f {{ chain i {{\n{chain}{rules}\n}} }}\n"), 22).is_some()
    }

    #[test]
    fn the_port_of_the_session_must_be_open() {
        for open in [
            "tcp dport 22 accept",
            "tcp dport ssh accept",
            "tcp dport { 80, 22 } ct state new accept",
            "tcp dport 20-30 accept",
            "tcp dport @managed accept",
            "ip saddr 192.0.2.0/24 accept",
            "iifname \"eth1\" accept",
        ] {
            assert!(!refused(open), "{open}");
        }
        for shut in [
            "",
            "tcp dport 2222 accept",
            "tcp dport 22 drop",
            "# tcp dport 22 accept",
            "ct state established,related accept",
            "iif lo accept",
            "ip saddr 192.0.2.0/24 tcp dport 80 accept",
        ] {
            assert!(refused(shut), "{shut}");
        }
    }

    #[test]
    fn rules_that_let_everything_in_need_no_port() {
        assert_eq!(
            problem("flush ruleset\ntable inet f { chain i { type filter hook input priority 0; } }\n", 22),
            None
        );
        assert_eq!(problem("#!/usr/sbin/nft -f\n\nflush ruleset\n", 22), None);
        assert!(problem("table inet f { }\nflush ruleset\n", 22).is_some());
        assert!(problem("", 22).is_some());
    }
}
