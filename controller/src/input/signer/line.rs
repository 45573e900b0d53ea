//! A line of `allowed_signers`: principals, options, key type, key, comment.

use jiff::civil::DateTime;
use russh::keys::PublicKey;

use super::{Signer, hides};
use crate::calendar::{Edge, Zone};

/// What is wrong with a line.
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) hint: &'static str,
}

impl Fault {
    fn new(message: impl Into<String>, hint: &'static str) -> Fault {
        Fault { message: message.into(), hint }
    }
}

/// What options say.
#[derive(Default)]
struct Limits {
    namespaces: Option<Vec<String>>,
    valid_after_ms: Option<i64>,
    valid_before_ms: Option<i64>,
}

/// What a line looks like.
const FORM: &str = "write e.g. `anna@example.org namespaces=\"weiche\" ssh-ed25519 AAAA...`";

/// Reads a line that is neither empty nor a comment.
pub(super) fn parse(line: &str, zone: &Zone) -> Result<Signer, Fault> {
    let (principal, rest) = word(line).ok_or_else(|| Fault::new("a quotation mark is missing", FORM))?;
    let principal = plain(&principal)?;
    let mut limits = Limits::default();
    let key = match PublicKey::from_openssh(rest) {
        Ok(key) => key,
        Err(error) => {
            let begins = |kind: &&str| rest.starts_with(*kind);
            if rest.is_empty() || ["ssh-", "ecdsa-", "sk-"].iter().any(begins) {
                return Err(Fault::new(format!("there is no public key behind the name ({error})"), FORM));
            }
            let (given, rest) = word(rest).ok_or_else(|| Fault::new("a quotation mark is missing", FORM))?;
            options(&given, zone, &mut limits)?;
            PublicKey::from_openssh(rest).map_err(|error| {
                Fault::new(format!("there is no public key behind the name and the options ({error})"), FORM)
            })?
        }
    };
    let Limits { namespaces, valid_after_ms, valid_before_ms } = limits;
    if let (Some(after), Some(before)) = (valid_after_ms, valid_before_ms)
        && after >= before
    {
        return Err(Fault::new("the key is never valid: it ends before it begins", "exchange the two times"));
    }
    Ok(Signer { principal, key: key.key_data().clone(), namespaces, valid_after_ms, valid_before_ms })
}

/// One person, by name.
fn plain(principal: &str) -> Result<String, Fault> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || hides(c);
    if principal.contains(',') {
        let hint = "keep one of the names: approvals are counted by person";
        return Err(Fault::new(format!("`{principal}` is more than one principal"), hint));
    }
    if principal.contains(['*', '?', '!']) {
        let hint = "name the person: approvals are counted by person";
        return Err(Fault::new(format!("`{principal}` is a pattern"), hint));
    }
    if principal.is_empty() || principal.len() > 254 || principal.chars().any(bad) {
        return Err(Fault::new("the line does not begin with the name of a person", FORM));
    }
    Ok(principal.to_owned())
}

/// The first word, and what is behind it. Quotation marks keep blanks together, and `\"` is one in them.
fn word(text: &str) -> Option<(String, &str)> {
    let mut found = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                found.push(c);
                escaped = false;
            }
            '\\' if quoted && text[at..].starts_with("\\\"") => escaped = true,
            '"' => {
                quoted = !quoted;
                // Of a whole word in quotation marks only what is in them is meant; within an option they stay.
                found.push(c);
            }
            _ if !quoted && c.is_ascii_whitespace() => return Some((bare(found), text[at..].trim_start())),
            _ => found.push(c),
        }
    }
    (!quoted).then(|| (bare(found), ""))
}

fn bare(word: String) -> String {
    match word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
        Some(inner) if !inner.contains('"') => inner.to_owned(),
        _ => word,
    }
}

/// Options, separated by commas outside quotation marks; names in any case.
fn options(text: &str, zone: &Zone, limits: &mut Limits) -> Result<(), Fault> {
    let mut quoted = false;
    let comma = |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    };
    for option in text.split(comma).collect::<Vec<_>>() {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name.to_ascii_lowercase(), Some(bare(value.to_owned()))),
            None => (option.to_ascii_lowercase(), None),
        };
        let twice = || Fault::new(format!("`{name}` is there twice"), "keep one of them");
        let needs = || Fault::new(format!("`{name}` needs a value"), FORM);
        match name.as_str() {
            "cert-authority" => {
                let hint = "write a line for each person, with their own public key";
                return Err(Fault::new("certificates are not taken as approvals", hint));
            }
            "namespaces" => {
                let patterns: Vec<String> = value.ok_or_else(needs)?.split(',').map(str::to_owned).collect();
                if limits.namespaces.replace(patterns).is_some() {
                    return Err(twice());
                }
            }
            "valid-after" | "valid-before" => {
                let value = value.ok_or_else(needs)?;
                let at = time(&value, zone).ok_or_else(|| {
                    Fault::new(
                        format!("`{value}` is no time"),
                        "write YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z for UTC",
                    )
                })?;
                let place =
                    if name == "valid-after" { &mut limits.valid_after_ms } else { &mut limits.valid_before_ms };
                if place.replace(at).is_some() {
                    return Err(twice());
                }
            }
            _ => {
                let hint =
                    "there is `namespaces=\"...\"`, `valid-after=\"...\"` and `valid-before=\"...\"`, then the key";
                return Err(Fault::new(format!("neither an option nor a kind of key: `{option}`"), hint));
            }
        }
    }
    Ok(())
}

/// `YYYYMMDD[HHMM[SS]][Z]` in milliseconds since 1970, UTC.
fn time(text: &str, zone: &Zone) -> Option<i64> {
    let (digits, utc) = text.strip_suffix(['Z', 'z']).map_or((text, false), |digits| (digits, true));
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !matches!(digits.len(), 8 | 12 | 14) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |part| part.parse::<i8>().ok());
    let year = digits.get(..4)?.parse().ok()?;
    let civil = DateTime::new(year, part(4, 6)?, part(6, 8)?, part(8, 10)?, part(10, 12)?, part(12, 14)?, 0).ok()?;
    if utc { Zone::UTC.instant(civil, Edge::Begin) } else { zone.instant(civil, Edge::Begin) }
}

/// Whether a list of patterns has this name: one that begins with `!` takes it out again (ssh_config(5), PATTERNS).
pub(super) fn in_list(name: &str, patterns: &[String]) -> bool {
    let refused = patterns.iter().filter_map(|p| p.strip_prefix('!')).any(|pattern| matches(name, pattern));
    !refused && patterns.iter().filter(|p| !p.starts_with('!')).any(|pattern| matches(name, pattern))
}

/// `*` stands for any number of characters, `?` for one. Takes time with the product of the lengths at most.
fn matches(name: &str, pattern: &str) -> bool {
    let (name, pattern) = (name.as_bytes(), pattern.as_bytes());
    let (mut n, mut p, mut back) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((n, p));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => (n, p) = (n + 1, p + 1),
            _ => match &mut back {
                Some((from, star)) => {
                    *from += 1;
                    (n, p) = (*from, *star + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (name, pattern, fits) in [
            ("weiche", "weiche", true),
            ("weiche", "w*e", true),
            ("weiche", "*", true),
            ("weiche", "weich?", true),
            ("weiche", "weich", false),
            ("weiche", "*x*", false),
            ("aab", "*ab", true),
            ("", "*", true),
            ("", "?", false),
        ] {
            assert_eq!(matches(name, pattern), fits, "{name} {pattern}");
        }
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert!(in_list("weiche", &list("git,weiche")));
        assert!(!in_list("weiche", &list("*,!weiche")));
        assert!(!in_list("weiche", &list("!git")));
    }

    #[test]
    fn times() {
        let berlin = Zone::find("Europe/Berlin").unwrap();
        assert_eq!(time("20260701Z", &berlin), Some(1_782_864_000_000));
        assert_eq!(time("20260701", &berlin), Some(1_782_864_000_000 - 2 * 3_600_000));
        assert_eq!(time("202607011230Z", &berlin), Some(1_782_864_000_000 + 12 * 3_600_000 + 30 * 60_000));
        assert_eq!(time("20260701123045Z", &berlin), Some(1_782_864_000_000 + 12 * 3_600_000 + 30 * 60_000 + 45_000));
        for bad in ["2026", "20261301", "2026070112", "2026-07-01", "", "Z"] {
            assert_eq!(time(bad, &berlin), None, "{bad}");
        }
    }
}
