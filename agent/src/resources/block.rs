//! `block`: a region of a text file that others own too, between two marker lines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::{Mode, Presence, path_problem};
use super::text::{Edit, Edited, Text, line_problem};
use crate::fault::{Fault, FaultCode};

/// A region of a file.
pub type Block = Edited<InFile>;

/// How a region is edited.
#[derive(Debug)]
pub struct InFile;

/// Some lines in a text file that others own too, between the marker lines `# BEGIN weiche NAME` and `# END weiche
/// NAME`. Line endings, the rest of the file and whether its last line ends with a newline stay as they are; undo takes
/// only this block back, even if others have edited the file elsewhere meanwhile. A file with one marker and not the
/// other is refused.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "block")]
pub struct Spec {
    /// Absolute path of the file. It must exist, unless `create` is set.
    pub path: String,
    /// What the markers call the block: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// The lines between the markers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What a comment begins with in this file; `#` without it.
    #[serde(default = "hash")]
    pub comment: String,
    /// A new block is put behind the last line that begins with this text; else at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// A file that does not exist is made, with this mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<Mode>,
    /// `present` (default) or `absent`: the block and its markers are removed.
    #[serde(default)]
    pub state: Presence,
    /// The lines never appear in a plan, diff, log or report.
    #[serde(default)]
    pub sensitive: bool,
}

fn hash() -> String {
    "#".into()
}

/// Which of the two markers.
#[derive(Clone, Copy, PartialEq)]
enum Marker {
    Begin,
    End,
}

impl Edit for InFile {
    const NAME: &'static str = "block";
    type Spec = Spec;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = path_problem(&spec.path).into_iter().collect();
        let ok = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if spec.name.is_empty() || spec.name.len() > 100 || !spec.name.bytes().all(ok) {
            problems.push(format!("`{}` is no block name: write letters, digits, `.`, `_` and `-`", spec.name));
        }
        problems.extend(line_problem("comment", &spec.comment));
        problems.extend(spec.after.as_ref().and_then(|text| line_problem("after", text)));
        match (spec.state, &spec.text) {
            (Presence::Present, None) => problems.push("a block needs a `text`".into()),
            (Presence::Absent, text) if text.is_some() || spec.after.is_some() || spec.create.is_some() => {
                problems.push("an absent block has nothing but `path`, `name` and `comment`".into());
            }
            _ => {}
        }
        let text = spec.text.as_deref().unwrap_or_default();
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            problems.push("`text` must not have control characters; lines end as the others of the file do".into());
        }
        if text.lines().any(|line| marker(spec, line).is_some()) {
            problems.push("`text` must not have the marker lines of a block in it".into());
        }
        problems
    }

    fn path(spec: &Spec) -> String {
        spec.path.clone()
    }

    fn part(spec: &Spec) -> String {
        spec.name.clone()
    }

    fn create(spec: &Spec) -> Option<Mode> {
        spec.create
    }

    fn edit(spec: &Spec, text: &mut Text) -> Result<(), Fault> {
        let place = find(spec, text)?;
        if spec.state == Presence::Absent {
            if let Some((begin, end)) = place {
                (begin..=end).rev().for_each(|at| text.remove(at));
            }
            return Ok(());
        }
        let wanted: Vec<&str> = spec.text.as_deref().unwrap_or_default().lines().collect();
        let at = match place {
            Some((begin, end)) => {
                if text.lines().skip(begin + 1).take(end - begin - 1).eq(wanted.iter().copied()) {
                    return Ok(());
                }
                (begin + 1..end).rev().for_each(|at| text.remove(at));
                begin + 1
            }
            None => {
                let at = new_place(spec, text);
                text.insert(at, &written(spec, Marker::End));
                text.insert(at, &written(spec, Marker::Begin));
                at + 1
            }
        };
        wanted.iter().rev().for_each(|line| text.insert(at, line));
        Ok(())
    }

    fn sensitive(spec: &Spec) -> bool {
        spec.sensitive
    }

    fn examples() -> Vec<Value> {
        let text = "Wartung am Samstag\nvon 8 bis 10 Uhr\n";
        vec![
            json!({ "path": "/etc/motd", "name": "notice", "text": text, "create": "0644" }),
            json!({ "path": "/etc/old.conf", "name": "cache", "text": "cache = 64\n", "comment": ";", "after": "old" }),
            json!({ "path": "/etc/motd", "name": "notice", "state": "absent" }),
        ]
    }
}

fn written(spec: &Spec, marker: Marker) -> String {
    let word = if marker == Marker::Begin { "BEGIN" } else { "END" };
    format!("{} {word} weiche {}", spec.comment, spec.name)
}

/// Which marker of which block a line is, if it is one.
fn marker<'l>(spec: &Spec, line: &'l str) -> Option<(Marker, &'l str)> {
    let rest = line.trim().strip_prefix(spec.comment.as_str())?.trim_start();
    let (word, name) = rest.split_once(" weiche ")?;
    match word {
        "BEGIN" => Some((Marker::Begin, name)),
        "END" => Some((Marker::End, name)),
        _ => None,
    }
}

/// Lines of the two markers.
fn find(spec: &Spec, text: &Text) -> Result<Option<(usize, usize)>, Fault> {
    let damaged = |at: usize, what: &str| {
        let message = format!("{} line {}: {what}", spec.path, at + 1);
        Fault::new(FaultCode::Conflict, message).hint("mend the marker lines by hand: one BEGIN, then one END")
    };
    let (mut begin, mut found) = (None, None);
    for (at, line) in text.lines().enumerate() {
        match (marker(spec, line), begin) {
            (Some((Marker::Begin, name)), None) if name == spec.name => {
                if found.is_some() {
                    return Err(damaged(at, &format!("the block `{name}` begins a second time")));
                }
                begin = Some(at);
            }
            (Some((Marker::End, name)), None) if name == spec.name => {
                return Err(damaged(at, &format!("the block `{name}` ends and does not begin")));
            }
            (Some((Marker::End, name)), Some(from)) if name == spec.name => {
                found = Some((from, at));
                begin = None;
            }
            (Some((_, name)), Some(_)) => {
                return Err(damaged(at, &format!("a marker of `{name}` is within the block `{}`", spec.name)));
            }
            _ => {}
        }
    }
    match begin {
        Some(at) => Err(damaged(at, &format!("the block `{}` begins and does not end", spec.name))),
        None => Ok(found),
    }
}

/// Where a new block goes: never into another one.
fn new_place(spec: &Spec, text: &Text) -> usize {
    let behind = |begin: &String| text.rfind(|line| line.trim_start().starts_with(begin.as_str()));
    let at = spec.after.as_ref().and_then(behind).map_or(text.len(), |at| at + 1);
    let above = text.lines().take(at).rev().find_map(|line| marker(spec, line));
    match above {
        Some((Marker::Begin, other)) => {
            text.find(at, |line| marker(spec, line) == Some((Marker::End, other))).map_or(at, |end| end + 1)
        }
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::edited;
    use super::*;

    fn spec(more: Value) -> Spec {
        let mut spec = json!({ "path": "/x", "name": "n", "text": "1\n2\n" });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn blocks_are_put_and_replaced() {
        let cases = [
            (json!({}), "", "# BEGIN weiche n\n1\n2\n# END weiche n\n"),
            (json!({}), "a\n", "a\n# BEGIN weiche n\n1\n2\n# END weiche n\n"),
            (json!({}), "a", "a\n# BEGIN weiche n\n1\n2\n# END weiche n"),
            (json!({}), "a\r\nb\r\n", "a\r\nb\r\n# BEGIN weiche n\r\n1\r\n2\r\n# END weiche n\r\n"),
            (json!({ "after": "a" }), "a\nb\n", "a\n# BEGIN weiche n\n1\n2\n# END weiche n\nb\n"),
            (json!({}), "# BEGIN weiche n\nold\n# END weiche n\nb", "# BEGIN weiche n\n1\n2\n# END weiche n\nb"),
            (
                json!({ "text": "" }),
                "a\n# BEGIN weiche n\nold\n# END weiche n\n",
                "a\n# BEGIN weiche n\n# END weiche n\n",
            ),
            (json!({ "comment": "//" }), "a\n", "a\n// BEGIN weiche n\n1\n2\n// END weiche n\n"),
            (
                json!({ "after": "a" }),
                "# BEGIN weiche m\na\n# END weiche m\nz\n",
                "# BEGIN weiche m\na\n# END weiche m\n# BEGIN weiche n\n1\n2\n# END weiche n\nz\n",
            ),
        ];
        for (more, before, after) in cases {
            assert_eq!(edited::<InFile>(&spec(more.clone()), before), after, "{more} in {before:?}");
        }
    }

    #[test]
    fn an_absent_block_goes_with_its_markers() {
        let absent = serde_json::from_value(json!({ "path": "/x", "name": "n", "state": "absent" })).unwrap();
        assert_eq!(edited::<InFile>(&absent, "a\n# BEGIN weiche n\n1\n# END weiche n\nb"), "a\nb");
        assert_eq!(
            edited::<InFile>(&absent, "a\n# BEGIN weiche m\n# END weiche m\n"),
            "a\n# BEGIN weiche m\n# END weiche m\n"
        );
    }

    #[test]
    fn damaged_markers_are_told() {
        let cases = [
            ("# BEGIN weiche n\n1\n", "/x line 1: the block `n` begins and does not end"),
            ("1\n# END weiche n\n", "/x line 2: the block `n` ends and does not begin"),
            (
                "# BEGIN weiche n\n# END weiche n\n# BEGIN weiche n\n# END weiche n\n",
                "/x line 3: the block `n` begins a second time",
            ),
            (
                "# BEGIN weiche n\n# BEGIN weiche m\n# END weiche n\n",
                "/x line 2: a marker of `m` is within the block `n`",
            ),
        ];
        for (text, message) in cases {
            let fault = InFile::edit(&spec(json!({})), &mut Text::parse(text.as_bytes())).unwrap_err();
            assert_eq!((fault.code, fault.message.as_str()), (FaultCode::Conflict, message));
        }
    }

    #[test]
    fn impossible_specs_are_refused() {
        for more in [
            json!({ "name": "a b" }),
            json!({ "text": "# END weiche x\n" }),
            json!({ "state": "absent" }),
            json!({ "comment": "" }),
            json!({ "text": "\u{7}" }),
        ] {
            assert_eq!(InFile::problems(&spec(more.clone())).len(), 1, "{more}");
        }
    }
}
