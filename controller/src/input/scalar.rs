//! Small values with a form of their own: names, durations, addresses, host keys, paths, types.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize};

/// Longest name, as DNS limits a label.
pub const NAME_MAX: usize = 63;

/// The name of a member, host, profile, stage and so on: letters, digits, `-` and `_`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, DeriveDeserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Name, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-') {
            Ok(Name(text))
        } else {
            Err(format!("`{text}` is no name: letters, digits, `-` and `_`, at most {NAME_MAX}, not starting with `-`"))
        }
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Name {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$" })
    }
}

/// A duration as people write it: `30s`, `10m`, `2h 30m`, `14d`. A day is 24 hours, a week is seven days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    /// What to write.
    pub const EXPECTED: &str = "a duration such as `30s`, `2h` or `14d`";

    /// Longest duration, ten years: sums with instants stay within what can be represented.
    pub const MAX: Duration = Duration::from_secs(3660 * 24 * 3600);

    /// Reads it. Months and years have no fixed length and are none.
    pub fn parse(text: &str) -> Option<Period> {
        let parsed: jiff::Span = text.trim().parse().ok()?;
        let length = parsed.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
        Duration::try_from(length).ok().filter(|length| *length <= Period::MAX).map(Period)
    }

    /// In milliseconds.
    pub fn as_ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

/// As people write it: `26h`, `1m 30s`.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&jiff::fmt::friendly::SpanPrinter::new().unsigned_duration_to_string(&self.0))
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
        struct PeriodVisitor;
        impl Visitor<'_> for PeriodVisitor {
            type Value = Period;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Period::EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Period, E> {
                Period::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(PeriodVisitor)
    }
}

impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A duration: 30s, 10m, 2h 30m, 14d.", "pattern": "^[0-9]" })
    }
}

/// The type of a profile's parameter or a playbook's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// A host, by `member/name`, or by `name` if that is unique in the fleet. Inputs only.
    Host,
    /// Hosts, by a selector. Inputs only.
    Hosts,
    /// A text.
    String,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Bool,
    /// An absolute path on the host.
    Path,
    /// A list of texts, numbers or truth values.
    List,
}

impl Type {
    /// What is expected, in words.
    pub fn expected(self) -> &'static str {
        match self {
            Type::Host => "a host (`member/name`)",
            Type::Hosts => "hosts (a selector)",
            Type::String => "a text",
            Type::Int => "a whole number",
            Type::Bool => "true or false",
            Type::Path => "a path (a text)",
            Type::List => "a list",
        }
    }

    /// Whether a value has this type, apart from what [`path_problem`] says of a path.
    pub fn fits(self, value: &serde_json::Value) -> bool {
        match self {
            Type::Host | Type::Hosts => false,
            Type::String | Type::Path => value.is_string(),
            Type::Int => value.is_i64(),
            Type::Bool => value.is_boolean(),
            Type::List => value
                .as_array()
                .is_some_and(|items| items.iter().all(|i| !(i.is_array() || i.is_object() || i.is_null()))),
        }
    }
}

/// Says what is wrong with a path on a host.
pub fn path_problem(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        Some(format!("the path `{path}` must be absolute"))
    } else if path.split('/').any(|part| part == "..") {
        Some(format!("the path `{path}` must not contain `..`"))
    } else {
        path.contains('\0').then(|| "a path must not contain a NUL character".into())
    }
}

/// Says what is wrong with an address: it is an IP address or a DNS name, without port, scheme or path.
pub fn address_problem(address: &str) -> Option<String> {
    if address.parse::<IpAddr>().is_ok() {
        return None;
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
    };
    let labels: Vec<&str> = address.strip_suffix('.').unwrap_or(address).split('.').collect();
    let numeric = labels.last().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    let good = address.len() <= 253 && labels.iter().all(|l| label(l)) && !numeric;
    (!good).then(|| format!("`{address}` is neither an IP address nor a DNS name"))
}

/// Says what is wrong with a pinned host key, OpenSSH's one-line form.
pub fn host_key_problem(key: &str) -> Option<String> {
    let error = russh::keys::PublicKey::from_openssh(key).err()?;
    Some(format!("this is no public key in OpenSSH's form ({error})"))
}

/// Says what is wrong with `host:port`.
pub fn endpoint_problem(endpoint: &str) -> Option<String> {
    let good = endpoint.rsplit_once(':').is_some_and(|(host, port)| {
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        address_problem(host).is_none() && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    (!good).then(|| format!("`{endpoint}` is not of the form `host:port`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        assert_eq!(Period::parse("2h 30m"), Some(Period(Duration::from_secs(9000))));
        assert_eq!(Period::parse("10"), None);
        assert_eq!(Period::parse("-5s"), None);
        assert_eq!(Period::parse("14d").map(Period::as_ms), Some(14 * 24 * 3_600_000));
        assert_eq!(Period::parse("1w 1d"), Period::parse("8d"));
        assert_eq!(Period::parse("90s"), Period::parse("1m 30s"));
        for text in ["26h", "1m 30s", "500ms"] {
            assert_eq!(Period::parse(text).map(|period| period.to_string()).as_deref(), Some(text));
        }
        for bad in ["1 month", "1y", "4000d", "2h ago", "h", "", "999999999999999999999h"] {
            assert_eq!(Period::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn knows_addresses() {
        for good in ["192.0.2.1", "2001:db8::1", "fs.obere-aller.example", "localhost"] {
            assert_eq!(address_problem(good), None, "{good}");
        }
        for bad in ["192.0.2.300", "a b", "http://x", "x:22", "", "x..y"] {
            assert!(address_problem(bad).is_some(), "{bad}");
        }
        assert_eq!(endpoint_problem("[2001:db8::1]:445"), None);
        assert!(endpoint_problem("fs.example").is_some());
    }
}
