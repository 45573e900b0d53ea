//! What changes between two states, a line each, as people read it: `~ mode: "0644" -> "0600"`; text as unified diff.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use similar::TextDiff;

/// Longest diff of one content, in lines; the rest is counted.
const MAX_LINES: usize = 200;

/// What may be shown of a content.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text<'a> {
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

/// Lists the differences.
pub(super) fn lines(state: &Value, wanted: &Value, text: Text<'_>) -> Vec<String> {
    if let (Some(old), Some(new)) = (state["packages"].as_object(), wanted["packages"].as_object()) {
        return packages(old, new);
    }
    let (old, new) = (flat(state), flat(wanted));
    let mut lines = Vec::new();
    let content = old.get("digest") != new.get("digest");
    let mut names: Vec<&String> = old.keys().chain(new.keys().filter(|k| !old.contains_key(*k))).collect();
    names.sort();
    for name in names {
        // The content is shown below; a time that is not wanted is no change that anybody asked for.
        if matches!(name.as_str(), "digest" | "size") || (name == "mtime" && content) {
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
    if content {
        lines.extend(content_lines(&old, &new, text));
    }
    lines
}

/// A transaction: one line a package, as `+ wl-lib 2.0 (automatic)` or `~ wl-lib 1.0 -> 2.0`.
fn packages(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<String> {
    let text = |package: &Value| {
        let version = package["version"].as_str().or(package["dpkg"].as_str())?.to_owned();
        let notes = [("auto", " (automatic)"), ("hold", " (held)")].map(|(key, note)| match package[key].as_bool() {
            Some(true) => note,
            _ => "",
        });
        Some(version + &notes.concat())
    };
    let changed = new.iter().filter(|(name, new)| old.get(*name) != Some(*new));
    changed
        .map(|(name, new)| match (old.get(name).and_then(text), text(new)) {
            (Some(old), Some(new)) => format!("~ {name} {old} -> {new}"),
            (None, Some(new)) => format!("+ {name} {new}"),
            (Some(old), None) => format!("- {name} {old}"),
            (None, None) => {
                format!("~ {name}: {} -> {}", old.get(name).unwrap_or(&Value::Null)["status"], new["status"])
            }
        })
        .collect()
}

fn content_lines(old: &BTreeMap<String, Value>, new: &BTreeMap<String, Value>, text: Text<'_>) -> Vec<String> {
    let size = |side: &BTreeMap<String, Value>| side.get("size").and_then(Value::as_u64).unwrap_or(0);
    let (old_size, new_size) = (size(old), size(new));
    let summary = format!("~ content: {old_size} -> {new_size} bytes");
    match text {
        Text::Masked => vec![String::from("~ content: (sensitive, not shown)")],
        Text::Shown { new: Some(new), old: old_text } if old_text.is_some() || old_size == 0 => {
            let diff = TextDiff::from_lines(old_text.unwrap_or(""), new);
            let unified = diff.unified_diff().context_radius(2).to_string();
            let mut lines: Vec<String> = unified.lines().map(printable).collect();
            if lines.len() > MAX_LINES {
                let rest = lines.len() - MAX_LINES;
                lines.truncate(MAX_LINES);
                lines.push(format!("... {rest} more lines"));
            }
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
    fn a_restart_is_told_in_words() {
        let shown = lines(&json!({"active": "active", "instance": "f0"}), &json!({"active": "active"}), Text::Masked);
        assert_eq!(shown, ["~ restarted, because what it reads changes"]);
        let shown = lines(&json!({"active": "active", "instance": "f0"}), &json!({"active": "inactive"}), Text::Masked);
        assert_eq!(shown, ["~ active: \"active\" -> \"inactive\""]);
    }

    #[test]
    fn packages_are_shown_a_line_each() {
        let installed =
            |version: &str, auto: bool| json!({"status": "installed", "version": version, "auto": auto, "hold": false});
        let old =
            json!({"packages": {"a": {"status": "absent"}, "b": installed("1", true), "c": installed("1", false)}});
        let new =
            json!({"packages": {"a": installed("2", false), "b": installed("2", true), "c": {"status": "absent"}}});
        let shown = lines(&old, &new, Text::Masked);
        assert_eq!(shown, ["+ a 2", "~ b 1 (automatic) -> 2 (automatic)", "- c 1"]);
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
