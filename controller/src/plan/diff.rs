//! What changes between two states, a line each, as people read it: `~ mode: "0644" -> "0600"`; text as unified diff.

use std::collections::BTreeMap;

use serde_json::Value;
use similar::TextDiff;
use weiche_agent::digest::Digest;

/// Most lines of one difference of fields, and of one of text; the rest is counted.
pub const MAX_LINES: usize = 200;

/// What may be shown of a content.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// Nothing: it is sensitive.
    Masked,
    /// Both sides, where they are known and text.
    Shown {
        /// What the host has.
        old: Option<&'a str>,
        /// What it would have.
        new: Option<&'a str>,
    },
}

/// Lists the differences: at most [`MAX_LINES`] of fields and as many of text, each fit for a terminal. What is compared
/// was read from hosts, its names as well.
pub fn lines(state: &Value, wanted: &Value, text: Text<'_>) -> Vec<String> {
    let (mut old, mut new) = (flat(state), flat(wanted));
    let mut lines = Vec::new();
    if let Some(line) = appears(state, wanted) {
        // What is new has no old fields to compare with.
        lines.push(line);
        new.retain(|name, _| matches!(name.as_str(), "digest" | "size"));
        old.clear();
    }
    let content = old.get("digest") != new.get("digest");
    let mut names: Vec<&String> = old.keys().chain(new.keys().filter(|k| !old.contains_key(*k))).collect();
    names.sort();
    for name in names {
        // The content is shown below; a time that is not wanted is no change that anybody asked for.
        if name == "size" || name.ends_with("digest") || (name == "mtime" && !new.contains_key(name)) {
            continue;
        }
        match (old.get(name), new.get(name)) {
            (a, b) if a == b => {}
            (Some(a), Some(b)) => lines.push(format!("~ {name}: {a} -> {b}")),
            (None, Some(b)) => lines.push(format!("+ {name}: {b}")),
            // A unit's: the number says nothing to people.
            (Some(_), None) if name == "instance" => {
                if old.get("active") == new.get("active") {
                    lines.push(String::from("~ restarted, because what it reads changes"));
                }
            }
            (Some(a), None) => lines.push(format!("- {name}: {a}")),
            (None, None) => {}
        }
    }
    let mut lines = fit(lines);
    if content {
        lines.extend(content_lines(&old, &new, text));
    }
    lines
}

/// Bounded, and without characters that a terminal would obey.
pub(super) fn fit(mut lines: Vec<String>) -> Vec<String> {
    let rest = lines.len().saturating_sub(MAX_LINES);
    lines.truncate(MAX_LINES);
    let mut lines: Vec<String> = lines.iter().map(|line| printable(line)).collect();
    if rest > 0 {
        lines.push(format!("... {rest} more lines"));
    }
    lines
}

/// `+ directory 0755 root:root` for something where nothing is.
fn appears(state: &Value, wanted: &Value) -> Option<String> {
    let text = |name: &str| wanted[name].as_str();
    if state["type"] != "absent" {
        return None;
    }
    let owner = format!("{}:{}", text("owner")?, text("group")?);
    let words = [text("type"), text("mode"), Some(owner.as_str())].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let target = text("target").map_or_else(String::new, |target| format!(" -> {target}"));
    Some(format!("+ {words}{target}"))
}

fn content_lines(old: &BTreeMap<String, Value>, new: &BTreeMap<String, Value>, text: Text<'_>) -> Vec<String> {
    let size = |side: &BTreeMap<String, Value>| side.get("size").and_then(Value::as_u64).unwrap_or(0);
    let (old_size, new_size) = (size(old), size(new));
    let digest = new.get("digest").and_then(Value::as_str).unwrap_or_default();
    let summary = if digest.is_empty() {
        format!("- content: {old_size} bytes")
    } else if new_size == 0 && digest != Digest::of(b"").to_string() {
        let short: String = printable(digest).chars().take(12).collect();
        format!("~ content: {old_size} bytes -> sha256 {short} (its size is known when it is fetched)")
    } else {
        format!("~ content: {old_size} -> {new_size} bytes")
    };
    match text {
        Text::Masked => vec![String::from("~ content: (sensitive, not shown)")],
        Text::Shown { new: Some(new), old: old_text } if old_text.is_some() || old_size == 0 => {
            let diff = TextDiff::from_lines(old_text.unwrap_or(""), new);
            let unified = diff.unified_diff().context_radius(2).to_string();
            let lines = fit(unified.lines().map(str::to_owned).collect());
            if lines.is_empty() { vec![summary] } else { lines }
        }
        Text::Shown { .. } => vec![summary],
    }
}

/// Control characters of a host's file must not reach the terminal.
fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

fn flat(value: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    flatten("", value, &mut found);
    found
}

fn flatten(prefix: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, value, found);
            }
        }
        Value::Null => {}
        other => {
            found.insert(prefix.to_owned(), other.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_and_text_are_shown() {
        let old = json!({"type": "file", "mode": "0644", "digest": "a", "size": 4, "mtime": [1, 2]});
        let new = json!({"type": "file", "mode": "0600", "digest": "b", "size": 4});
        let shown = lines(&old, &new, Text::Shown { old: Some("eins\n"), new: Some("zwei\n") });
        assert_eq!(shown, ["~ mode: \"0644\" -> \"0600\"", "@@ -1 +1 @@", "-eins", "+zwei"]);
    }

    #[test]
    fn a_content_that_goes_has_no_digest_afterwards() {
        let old = json!({"type": "file", "digest": "a", "size": 4});
        let shown = lines(&old, &json!({"type": "absent"}), Text::Shown { old: None, new: None });
        assert_eq!(shown, ["~ type: \"file\" -> \"absent\"", "- content: 4 bytes"]);
    }

    #[test]
    fn a_restart_is_told_in_words() {
        let shown = lines(&json!({"active": "active", "instance": "f0"}), &json!({"active": "active"}), Text::Masked);
        assert_eq!(shown, ["~ restarted, because what it reads changes"]);
        let shown = lines(&json!({"active": "active", "instance": "f0"}), &json!({"active": "inactive"}), Text::Masked);
        assert_eq!(shown, ["~ active: \"active\" -> \"inactive\""]);
    }

    #[test]
    fn a_content_that_is_not_fetched_yet_is_named_by_its_digest() {
        let shown = lines(&json!({}), &json!({"digest": "ab12", "size": 0}), Text::Shown { old: None, new: None });
        assert_eq!(shown, ["~ content: 0 bytes -> sha256 ab12 (its size is known when it is fetched)"]);
        let emptied = json!({"digest": Digest::of(b""), "size": 0});
        let shown = lines(&json!({"digest": "a", "size": 4}), &emptied, Text::Shown { old: None, new: None });
        assert_eq!(shown, ["~ content: 4 -> 0 bytes"]);
    }

    #[test]
    fn sensitive_text_is_masked() {
        let (old, new) = (json!({"digest": "a", "size": 4}), json!({"digest": "b", "size": 5}));
        assert_eq!(lines(&old, &new, Text::Masked), ["~ content: (sensitive, not shown)"]);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let (old, new) = (json!({}), json!({"digest": "b", "size": 5}));
        let shown = lines(&old, &new, Text::Shown { old: None, new: Some("\u{1b}[2J\n") });
        assert!(shown.iter().all(|line| !line.contains('\u{1b}')), "{shown:?}");
    }
}
