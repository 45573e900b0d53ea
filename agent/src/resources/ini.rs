//! `ini`: a key in a section of a configuration file of the `[section]` and `key = value` kind, that others own too.
//!
//! There is no standard of such files; the rules here are the common ground of git-config(1), systemd.syntax(7) and
//! smb.conf(5). The reading of lines ([`Item`]) is shared with `samba_share`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::{Mode, Presence, path_problem};
use super::text::{Edit, Edited, Text, line_problem};
use crate::fault::{Fault, FaultCode};

/// A key in a file.
pub type Ini = Edited<InFile>;

/// How a key is edited.
#[derive(Debug)]
pub struct InFile;

/// A key in a section of a configuration file that others own too. Lines that begin with `#` or `;` are comments and
/// never changed. Names of sections and keys are compared letter by letter. A key that is there several times (in one
/// section or in several of one name): the last one, which counts for most programs, is changed and the others stay. A
/// new key goes to the end of the last section of its name, a new section to the end of the file. Indentation and the
/// blanks around `=` stay as they are; a new key takes them from its neighbours. Values that go on on the next line
/// (with `\`) are refused.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ini")]
pub struct Spec {
    /// Absolute path of the file. It must exist, unless `create` is set.
    pub path: String,
    /// The section, without brackets; without it, the keys before the first section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// The key.
    pub key: String,
    /// Its value; may be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A file that does not exist is made, with this mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<Mode>,
    /// `present` (default) or `absent`: every line of the key in this section is removed; the section stays.
    #[serde(default)]
    pub state: Presence,
    /// The value never appears in a plan, diff, log or report.
    #[serde(default)]
    pub sensitive: bool,
}

/// What a line is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// Blank, or a comment.
    Nothing,
    /// `[name]`.
    Section(String),
    /// `key = value`, or a key alone.
    Entry {
        /// Without blanks around it.
        key: String,
        /// Without blanks around it; `None` for a key alone.
        value: Option<String>,
        /// The next line belongs to it.
        continues: bool,
    },
    /// The rest of an entry.
    Continuation,
}

/// Reads every line of a text.
pub(super) fn items(text: &Text) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut continued = false;
    for line in text.lines() {
        let continues = line.ends_with('\\');
        if continued {
            continued = continues;
            items.push(Item::Continuation);
            continue;
        }
        let line = line.trim();
        let item = if line.is_empty() || line.starts_with(['#', ';']) {
            Item::Nothing
        } else if let Some((name, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Item::Section(name.trim().to_owned())
        } else {
            continued = continues;
            match line.split_once('=') {
                Some((key, value)) => {
                    Item::Entry { key: key.trim().to_owned(), value: Some(value.trim().to_owned()), continues }
                }
                None => Item::Entry { key: line.to_owned(), value: None, continues },
            }
        };
        items.push(item);
    }
    items
}

impl Edit for InFile {
    const NAME: &'static str = "ini";
    type Spec = Spec;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = path_problem(&spec.path).into_iter().collect();
        problems.extend(line_problem("key", &spec.key));
        if spec.key.trim() != spec.key || spec.key.contains('=') || spec.key.starts_with(['#', ';', '[']) {
            problems.push(format!("`{}` is no key: no `=`, no blanks around it, no `#`, `;` or `[` first", spec.key));
        }
        if let Some(section) = &spec.section {
            problems.extend(line_problem("section", section));
            if section.trim() != section || section.contains([']', '[']) {
                problems.push(format!("`{section}` is no section: write it without brackets and blanks around it"));
            }
        }
        match (spec.state, &spec.value) {
            (Presence::Present, None) => problems.push("a key needs a `value`".into()),
            (Presence::Absent, value) if value.is_some() || spec.create.is_some() => {
                problems.push("an absent key has neither `value` nor `create`".into());
            }
            _ => {}
        }
        let value = spec.value.as_deref().unwrap_or_default();
        if !value.is_empty() {
            problems.extend(line_problem("value", value));
        }
        if value.trim() != value || value.ends_with('\\') {
            problems.push("`value` must not begin or end with blanks, nor end with `\\`".into());
        }
        problems
    }

    fn path(spec: &Spec) -> String {
        spec.path.clone()
    }

    fn part(spec: &Spec) -> String {
        match &spec.section {
            Some(section) => format!("[{section}] {}", spec.key),
            None => spec.key.clone(),
        }
    }

    fn create(spec: &Spec) -> Option<Mode> {
        spec.create
    }

    fn edit(spec: &Spec, text: &mut Text) -> Result<(), Fault> {
        let place = Place::find(spec, &items(text));
        if spec.state == Presence::Absent {
            for (at, continues) in place.keys.iter().rev() {
                refuse_continued(spec, *at, *continues)?;
                text.remove(*at);
            }
            return Ok(());
        }
        let value = spec.value.as_deref().unwrap_or_default();
        if let Some((at, continues)) = place.keys.last() {
            refuse_continued(spec, *at, *continues)?;
            let line = text.lines().nth(*at).unwrap_or_default();
            let (has, style) = (line.split_once('=').map(|(_, value)| value.trim()), Style::of(line));
            if has != Some(value) {
                let style = style.unwrap_or_else(|| Style { indent: indent(line), ..Style::near(text, *at) });
                text.replace(*at, &style.line(&spec.key, value));
            }
            return Ok(());
        }
        match (place.end, &spec.section) {
            (Some(at), _) => {
                // The last line of the file: what is put behind it would be the rest of its value.
                let continues = at == text.len() && text.lines().next_back().is_some_and(|line| line.ends_with('\\'));
                refuse_continued(spec, at.saturating_sub(1), continues)?;
                text.insert(at, &Style::near(text, at).line(&spec.key, value));
            }
            (None, None) => text.insert(0, &Style::near(text, 0).line(&spec.key, value)),
            (None, Some(section)) => {
                let style = Style { indent: String::new(), ..Style::near(text, text.len()) };
                if text.lines().next_back().is_some_and(|line| !line.trim().is_empty()) {
                    text.insert(text.len(), "");
                }
                text.insert(text.len(), &format!("[{section}]"));
                text.insert(text.len(), &style.line(&spec.key, value));
            }
        }
        Ok(())
    }

    fn sensitive(spec: &Spec) -> bool {
        spec.sensitive
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "path": "/etc/old.conf", "section": "mail", "key": "relay", "value": "mail.example.org" }),
            json!({ "path": "/etc/old.conf", "key": "old", "value": "false" }),
            json!({ "path": "/etc/secret.conf", "section": "api", "key": "token", "value": "example-token",
                "create": "0600", "sensitive": true }),
            json!({ "path": "/etc/old.conf", "key": "old", "state": "absent" }),
        ]
    }
}

fn refuse_continued(spec: &Spec, at: usize, continues: bool) -> Result<(), Fault> {
    if !continues {
        return Ok(());
    }
    let message = format!("{} line {}: the value goes on on the next line", spec.path, at + 1);
    Err(Fault::new(FaultCode::Conflict, message).hint("write it on one line first: such values are not edited"))
}

/// Where a key stands, or would.
#[derive(Default)]
struct Place {
    /// Lines of the key, and whether they go on on the next one.
    keys: Vec<(usize, bool)>,
    /// Behind the last line of the last section of the name.
    end: Option<usize>,
}

impl Place {
    fn find(spec: &Spec, items: &[Item]) -> Place {
        let mut place = Place::default();
        let mut here = spec.section.is_none();
        for (at, item) in items.iter().enumerate() {
            match item {
                Item::Section(name) => {
                    here = spec.section.as_ref() == Some(name);
                    if here {
                        place.end = Some(at + 1);
                    }
                }
                Item::Entry { key, continues, .. } if here => {
                    place.end = Some(at + 1);
                    if *key == spec.key {
                        place.keys.push((at, *continues));
                    }
                }
                Item::Continuation if here => place.end = Some(at + 1),
                _ => {}
            }
        }
        place
    }
}

/// How a line is laid out.
struct Style {
    indent: String,
    separator: String,
}

impl Style {
    /// Of a line with a `=`.
    fn of(line: &str) -> Option<Style> {
        let (key, value) = line.split_once('=')?;
        let before = &key[key.trim_end().len()..];
        let after = &value[..value.len() - value.trim_start().len()];
        // Of `key =` nothing can be told but that blanks are wanted.
        let after = if value.trim().is_empty() { before } else { after };
        Some(Style { indent: indent(line), separator: format!("{before}={after}") })
    }

    /// Of the nearest entry above a line, else of the first one of the file.
    fn near(text: &Text, at: usize) -> Style {
        let items = items(text);
        let entry = |n: &usize| matches!(items.get(*n), Some(Item::Entry { value: Some(_), .. }));
        let nearest = (0..at).rev().find(entry).or_else(|| (at..items.len()).find(entry));
        let style = nearest.and_then(|n| text.lines().nth(n)).and_then(Style::of);
        style.unwrap_or_else(|| Style { indent: String::new(), separator: " = ".into() })
    }

    fn line(&self, key: &str, value: &str) -> String {
        format!("{}{key}{}{value}", self.indent, self.separator).trim_end().to_owned()
    }
}

fn indent(line: &str) -> String {
    line[..line.len() - line.trim_start().len()].to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::text::edited;
    use super::*;

    fn spec(section: Option<&str>, key: &str, value: Option<&str>) -> Spec {
        let state = if value.is_some() { "present" } else { "absent" };
        let spec = json!({ "path": "/x", "section": section, "key": key, "value": value, "state": state });
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn keys_are_set_where_they_belong() {
        #[rustfmt::skip]
        let cases = [
            // section, key, value, before, after
            (Some("a"), "k", Some("2"), "[a]\nk = 1\n[b]\nk = 1\n", "[a]\nk = 2\n[b]\nk = 1\n"),
            (Some("a"), "k", Some("2"), "[a]\nk=1\n", "[a]\nk=2\n"),
            (Some("a"), "k", Some("1"), "[a]\nk   =1\n", "[a]\nk   =1\n"),
            (Some("a"), "k", Some("2"), "[a]\r\n\tk\t= 1", "[a]\r\n\tk\t= 2"),
            (Some("a"), "k", Some("2"), "[a]\n#k = 1\n;k = 1\nj=1\n\n[b]\n", "[a]\n#k = 1\n;k = 1\nj=1\nk=2\n\n[b]\n"),
            (Some("a"), "k", Some("2"), "[a]\nk=1\nk=1\n[b]\n[a]\nk=1\nj=1\n", "[a]\nk=1\nk=1\n[b]\n[a]\nk=2\nj=1\n"),
            (Some("a"), "k", Some("2"), "[a]\n[a]\n", "[a]\n[a]\nk = 2\n"),
            (Some("a"), "k", Some("2"), "", "[a]\nk = 2\n"),
            (Some("a"), "k", Some("2"), "[b]\nj=1\n", "[b]\nj=1\n\n[a]\nk=2\n"),
            (Some("a"), "k", Some(""), "[a]\nk = 1\n", "[a]\nk =\n"),
            (Some("a"), "k", Some("2"), "[a]\nk =\n", "[a]\nk = 2\n"),
            (Some("a"), "k", Some("x = y"), "[a]\nk=z\n", "[a]\nk=x = y\n"),
            (Some("a"), "k", Some("2"), "[a]\nk\nj=1\n", "[a]\nk=2\nj=1\n"),
            (Some("a"), "k", Some("2"), "[a]\nj=1 \\\nk=1\n", "[a]\nj=1 \\\nk=1\nk=2\n"),
            (None, "k", Some("2"), "# top\nk=1\n[a]\nk=1\n", "# top\nk=2\n[a]\nk=1\n"),
            (None, "k", Some("2"), "[a]\nj=1\n", "k=2\n[a]\nj=1\n"),
            (Some("a"), "k", None, "k=1\n[a]\nk=1\nj=1\nk=2\n[b]\nk=1\n", "k=1\n[a]\nj=1\n[b]\nk=1\n"),
            (None, "k", None, "k=1\n[a]\nk=1", "[a]\nk=1"),
        ];
        for (section, key, value, before, after) in cases {
            assert_eq!(edited::<InFile>(&spec(section, key, value), before), after, "{key}={value:?} in {before:?}");
        }
    }

    #[test]
    fn values_on_several_lines_are_refused() {
        for value in [Some("2"), None] {
            let mut text = Text::parse(b"[a]\nk=1 \\\n 2\n");
            let fault = InFile::edit(&spec(Some("a"), "k", value), &mut text).unwrap_err();
            assert_eq!(fault.message, "/x line 2: the value goes on on the next line");
        }
    }

    #[test]
    fn impossible_specs_are_refused() {
        for (section, key, value) in [
            (Some("a]"), "k", Some("1")),
            (None, "a=b", Some("1")),
            (None, "#k", Some("1")),
            (None, "k", Some(" 1")),
            (None, "k", Some("1\\")),
            (None, "k", Some("1\n2")),
        ] {
            assert_eq!(InFile::problems(&spec(section, key, value)).len(), 1, "{section:?} {key} {value:?}");
        }
    }
}
