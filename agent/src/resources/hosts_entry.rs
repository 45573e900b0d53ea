//! `hosts_entry`: names of an address in `/etc/hosts`, as hosts(5) has it.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::{Mode, Presence};
use super::text::{Edit, Edited, Text};
use crate::fault::Fault;

pub(super) const HOSTS: &str = "/etc/hosts";

/// An entry.
pub type HostsEntry = Edited<InHosts>;

/// How an entry is edited.
#[derive(Debug)]
pub struct InHosts;

/// Names of an address in `/etc/hosts`. Each of the names stands on a line of this address, and on no line of another
/// address of the same family (IPv4 or IPv6), because the first line with a name counts. Other names on any line stay,
/// with comments and blanks; a line that has no name left goes. Names that are new come last on the address's first
/// line, or on a new line at the end of the file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "hosts_entry")]
pub struct Spec {
    /// IPv4 or IPv6 address, e.g. `192.0.2.9`.
    pub address: String,
    /// Host names; on a new line the first is the canonical one. Absent and without names: all lines of the address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// `present` (default) or `absent`: the address has none of the names.
    #[serde(default)]
    pub state: Presence,
}

impl Edit for InHosts {
    const NAME: &'static str = "hosts_entry";
    type Spec = Spec;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems = Vec::new();
        if spec.address.parse::<IpAddr>().is_err() {
            problems.push(format!("`{}` is no address: write e.g. `192.0.2.9` or `2001:db8::9`", spec.address));
        }
        problems.extend(spec.names.iter().filter_map(|name| name_problem(name)));
        if spec.state == Presence::Present && spec.names.is_empty() {
            problems.push("an entry needs `names`".into());
        }
        problems
    }

    fn path(_spec: &Spec) -> String {
        HOSTS.into()
    }

    fn part(spec: &Spec) -> String {
        // Two spellings of one IPv6 address are one.
        spec.address.parse::<IpAddr>().map_or_else(|_| spec.address.clone(), |address| address.to_string())
    }

    fn create(_spec: &Spec) -> Option<Mode> {
        Some(Mode(0o644))
    }

    fn edit(spec: &Spec, text: &mut Text) -> Result<(), Fault> {
        let Ok(wanted) = spec.address.parse::<IpAddr>() else { return Ok(()) };
        let is = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
        let named = |name: &str| spec.names.iter().any(|n| is(n, name));
        let mut missing: Vec<&str> = Vec::new();
        if spec.state == Presence::Present {
            let mut there: Vec<String> = Vec::new();
            for line in text.lines().filter(|line| address(line) == Some(wanted)) {
                there.extend(fields(line).skip(1).map(|(_, name)| name.to_owned()));
            }
            missing.extend(spec.names.iter().map(String::as_str).filter(|n| !there.iter().any(|t| is(n, t))));
        }
        // Names that go; from the end, so that places stay valid.
        for at in (0..text.len()).rev() {
            let Some(line) = text.lines().nth(at) else { continue };
            let Some(of) = address(line) else { continue };
            let goes: &dyn Fn(&str) -> bool = match spec.state {
                Presence::Present if of != wanted && of.is_ipv4() == wanted.is_ipv4() => &named,
                Presence::Absent if of == wanted && spec.names.is_empty() => &|_| true,
                Presence::Absent if of == wanted => &named,
                _ => continue,
            };
            match without(line, goes) {
                Some(rest) => text.replace(at, &rest),
                None => text.remove(at),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        match text.find(0, |line| address(line) == Some(wanted)) {
            Some(at) => {
                let line = text.lines().nth(at).unwrap_or_default();
                let end = fields(line).last().map_or(0, |(from, field)| from + field.len());
                let line = format!("{} {}{}", &line[..end], missing.join(" "), &line[end..]);
                text.replace(at, &line);
            }
            None => text.insert(text.len(), &format!("{}\t{}", spec.address, missing.join(" "))),
        }
        Ok(())
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "address": "192.0.2.9", "names": ["print.town.example", "print"] }),
            json!({ "address": "2001:db8::9", "names": ["print"] }),
            json!({ "address": "192.0.2.8", "names": ["old"], "state": "absent" }),
            json!({ "address": "192.0.2.8", "state": "absent" }),
        ]
    }
}

/// What is wrong with a host name, if anything: RFC 1123 section 2.1, and `_` because programs take it.
pub(super) fn name_problem(name: &str) -> Option<String> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let label = |l: &str| (1..=63).contains(&l.len()) && l.bytes().all(ok) && !l.starts_with('-') && !l.ends_with('-');
    let address = name.parse::<IpAddr>().is_ok();
    (address || name.len() > 253 || !name.split('.').all(label)).then(|| format!("`{name}` is no host name"))
}

/// The address of a line, if it has one.
pub(super) fn address(line: &str) -> Option<IpAddr> {
    fields(line).next()?.1.parse().ok()
}

/// The fields of a line before its comment, and where each begins.
pub(super) fn fields(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let body = line.split('#').next().unwrap_or_default();
    let begin = body.as_ptr() as usize;
    body.split_ascii_whitespace().map(move |field| (field.as_ptr() as usize - begin, field))
}

/// The line without some of its names, each with the blanks before it; `None` if they were all it had.
fn without(line: &str, goes: &dyn Fn(&str) -> bool) -> Option<String> {
    if !fields(line).skip(1).any(|(_, name)| goes(name)) {
        return Some(line.to_owned());
    }
    let mut rest = String::new();
    let (mut from, mut left) = (0, 0);
    for (n, (at, field)) in fields(line).enumerate() {
        let end = at + field.len();
        if n == 0 || !goes(field) {
            rest.push_str(&line[from..end]);
            left += usize::from(n > 0);
        }
        from = end;
    }
    rest.push_str(&line[from..]);
    (left > 0).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::super::text::edited;
    use super::*;

    fn hosts(spec: Value, before: &str) -> String {
        edited::<InHosts>(&serde_json::from_value(spec).unwrap(), before)
    }

    #[test]
    fn names_come_to_their_address() {
        let spec = json!({ "address": "192.0.2.9", "names": ["print.example", "print"] });
        let cases = [
            ("", "192.0.2.9\tprint.example print\n"),
            ("127.0.0.1 localhost", "127.0.0.1 localhost\n192.0.2.9\tprint.example print"),
            ("192.0.2.9\tother # rack 2\n", "192.0.2.9\tother print.example print # rack 2\n"),
            ("192.0.2.9\tPRINT   print.example\n", "192.0.2.9\tPRINT   print.example\n"),
            ("192.0.2.9 print\n192.0.2.9 print.example\n", "192.0.2.9 print\n192.0.2.9 print.example\n"),
            ("192.0.2.8  a  print  b\r\n", "192.0.2.8  a  b\r\n192.0.2.9\tprint.example print\r\n"),
            ("192.0.2.8 print # old\n", "192.0.2.9\tprint.example print\n"),
            (
                "2001:db8::8 print\n#192.0.2.8 print\n",
                "2001:db8::8 print\n#192.0.2.8 print\n192.0.2.9\tprint.example print\n",
            ),
            ("nonsense print\n", "nonsense print\n192.0.2.9\tprint.example print\n"),
        ];
        for (before, after) in cases {
            assert_eq!(hosts(spec.clone(), before), after, "{before:?}");
        }
    }

    #[test]
    fn spellings_of_an_address_are_one() {
        let spec = json!({ "address": "2001:db8::9", "names": ["print"] });
        assert_eq!(hosts(spec, "2001:0DB8:0:0::0009 print\n"), "2001:0DB8:0:0::0009 print\n");
    }

    #[test]
    fn absent_names_go_and_others_stay() {
        let some = json!({ "address": "192.0.2.9", "names": ["a"], "state": "absent" });
        assert_eq!(
            hosts(some.clone(), "192.0.2.9 a b # x\n192.0.2.9 A\n192.0.2.8 a\n"),
            "192.0.2.9 b # x\n192.0.2.8 a\n"
        );
        let all = json!({ "address": "192.0.2.9", "state": "absent" });
        assert_eq!(hosts(all, "192.0.2.9 a b\n192.0.2.8 a\n192.0.2.9 c"), "192.0.2.8 a");
        assert_eq!(hosts(some, "192.0.2.9\n"), "192.0.2.9\n");
    }

    #[test]
    fn impossible_specs_are_refused() {
        for spec in [
            json!({ "address": "192.0.2", "names": ["a"] }),
            json!({ "address": "192.0.2.9" }),
            json!({ "address": "192.0.2.9", "names": ["a b"] }),
            json!({ "address": "192.0.2.9", "names": ["-a"] }),
            json!({ "address": "192.0.2.9", "names": ["192.0.2.1"] }),
        ] {
            assert_eq!(InHosts::problems(&serde_json::from_value(spec.clone()).unwrap()).len(), 1, "{spec}");
        }
    }
}
