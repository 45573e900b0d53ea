//! Names and values of records in one writing, so that they can be compared: that of dig(1).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Types of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(rename = "record_type")]
pub enum Type {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Another name.
    Cname,
    /// A mail server: preference and name.
    Mx,
    /// The name of an address.
    Ptr,
    /// A service: priority, weight, port and name.
    Srv,
    /// Text.
    Txt,
}

impl Type {
    /// As in a zone file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Type::A => "A",
            Type::Aaaa => "AAAA",
            Type::Cname => "CNAME",
            Type::Mx => "MX",
            Type::Ptr => "PTR",
            Type::Srv => "SRV",
            Type::Txt => "TXT",
        }
    }
}

/// Whether it is a name of letters that nobody has to escape (RFC 1123, and the underscore of services).
pub(super) fn is_name(name: &str) -> bool {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    let label =
        |label: &str| !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && label.bytes().all(ok);
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253 && name.split('.').all(label)
}

/// A name in small letters with its last dot.
pub(super) fn whole(name: &str) -> String {
    format!("{}.", name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
}

/// A value of a spec as dig(1) would write it; `None` if it is none.
pub(super) fn canonical(record: Type, text: &str) -> Option<String> {
    match record {
        Type::Txt => (text.len() <= 4096 && !text.is_empty()).then(|| quoted(text.as_bytes())),
        _ => shown(record, text),
    }
}

/// A value in a zone file's writing in one form; `None` if it is none.
pub(super) fn shown(record: Type, text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let number = |word: &&str| word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse::<u16>().ok()).flatten();
    match (record, words.as_slice()) {
        (Type::A, [ip]) => ip.parse::<Ipv4Addr>().ok().map(|ip| ip.to_string()),
        (Type::Aaaa, [ip]) => ip.parse::<Ipv6Addr>().ok().map(|ip| ip.to_string()),
        (Type::Cname | Type::Ptr, [name]) => is_name(name).then(|| whole(name)),
        (Type::Mx, [numbers @ .., name]) if numbers.len() == 1 => numbered(numbers, name, number),
        (Type::Srv, [numbers @ .., name]) if numbers.len() == 3 => numbered(numbers, name, number),
        (Type::Txt, _) => unquoted(text),
        _ => None,
    }
}

fn numbered(numbers: &[&str], name: &str, number: impl Fn(&&str) -> Option<u16>) -> Option<String> {
    let numbers: Vec<String> = numbers.iter().map(|n| number(n).map(|n| n.to_string())).collect::<Option<_>>()?;
    let name = if name == "." { name.to_owned() } else { is_name(name).then(|| whole(name))? };
    Some(format!("{} {name}", numbers.join(" ")))
}

/// Text as strings of at most 255 bytes (RFC 1035, section 3.3.14).
fn quoted(text: &[u8]) -> String {
    text.chunks(255).map(string).collect::<Vec<_>>().join(" ")
}

fn string(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            0x20..0x7f => out.push(char::from(byte)),
            _ => drop(write!(out, "\\{byte:03}")),
        }
    }
    out.push('"');
    out
}

/// Strings in quotes as a server writes them (some escape more than others do), in our writing.
fn unquoted(text: &str) -> Option<String> {
    let (mut strings, mut bytes) = (Vec::new(), text.bytes().peekable());
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' => continue,
            b'"' => {}
            _ => return None,
        }
        let mut inside = Vec::new();
        loop {
            match bytes.next()? {
                b'"' => break,
                b'\\' => match bytes.next()? {
                    digit if digit.is_ascii_digit() => {
                        let digits = [digit, bytes.next()?, bytes.next()?];
                        inside.push(std::str::from_utf8(&digits).ok()?.parse().ok()?);
                    }
                    other => inside.push(other),
                },
                other => inside.push(other),
            }
        }
        strings.push(string(&inside));
    }
    (!strings.is_empty()).then(|| strings.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_one_writing() {
        for (record, text, wanted) in [
            (Type::A, "192.0.2.1", Some("192.0.2.1")),
            (Type::A, "192.0.2.256", None),
            (Type::A, "192.0.2.1\nquit", None),
            (Type::Aaaa, "2001:DB8:0::1", Some("2001:db8::1")),
            (Type::Cname, "WWW.town.example", Some("www.town.example.")),
            (Type::Cname, "a b", None),
            (Type::Mx, "10  mail.town.example.", Some("10 mail.town.example.")),
            (Type::Mx, "0 .", Some("0 .")),
            (Type::Mx, "mail.town.example", None),
            (Type::Srv, "0 5 389 dc.town.example", Some("0 5 389 dc.town.example.")),
            (Type::Srv, "0 5 70000 dc.town.example", None),
            (Type::Txt, "a \"b\" \\ ;\nü", Some("\"a \\\"b\\\" \\\\ ;\\010\\195\\188\"")),
            (Type::Txt, "", None),
        ] {
            assert_eq!(canonical(record, text).as_deref(), wanted, "{text}");
        }
        let long = canonical(Type::Txt, &"x".repeat(300)).unwrap();
        assert_eq!(long, format!("\"{}\" \"{}\"", "x".repeat(255), "x".repeat(45)));
    }

    #[test]
    fn what_a_server_writes_is_read() {
        for text in ["plain", "a;b", "\"\\", "ü\n"] {
            let written = canonical(Type::Txt, text).unwrap();
            assert_eq!(shown(Type::Txt, &written), Some(written));
        }
        assert_eq!(shown(Type::Txt, "\"a\\;b\" \"c\""), Some("\"a;b\" \"c\"".into()));
        for broken in ["", "a", "\"a", "\"a\\", "\"\\9", "\"\\999\""] {
            assert_eq!(shown(Type::Txt, broken), None, "{broken}");
        }
    }

    #[test]
    fn names_are_checked() {
        for (name, good) in [
            ("town.example", true),
            ("_ldap._tcp.town.example.", true),
            ("", false),
            ("a..b", false),
            ("-x", false),
            ("a b", false),
            ("*.x", false),
        ] {
            assert_eq!(is_name(name), good, "{name}");
        }
        assert_eq!(whole("WWW.Town.example"), "www.town.example.");
    }
}
