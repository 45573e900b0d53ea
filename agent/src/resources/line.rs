//! `line`: a line in a text file that others own too.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::{Mode, Presence, path_problem};
use super::text::{Edit, Edited, Text, line_problem};
use crate::fault::Fault;

/// A line in a file.
pub type Line = Edited<InFile>;

/// How a line is edited.
#[derive(Debug)]
pub struct InFile;

/// A line in a text file that others own too. Line endings, the rest of the file and whether its last line ends with a
/// newline stay as they are; undo takes only this line back, even if others have edited the file meanwhile.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "line")]
pub struct Spec {
    /// Absolute path of the file. It must exist, unless `create` is set.
    pub path: String,
    /// The whole line, without its newline.
    pub line: String,
    /// The line that is there now, if it begins with this text (after blanks), is replaced; several: the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// A new line is put behind the last line that begins with this text; else at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// A file that does not exist is made, with this mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<Mode>,
    /// `present` (default) or `absent`: every line that equals `line` is removed.
    #[serde(default)]
    pub state: Presence,
    /// The line never appears in a plan, diff, log or report.
    #[serde(default)]
    pub sensitive: bool,
}

impl Edit for InFile {
    const NAME: &'static str = "line";
    type Spec = Spec;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = path_problem(&spec.path).into_iter().collect();
        problems.extend(line_problem("line", &spec.line));
        for (key, text) in [("replaces", &spec.replaces), ("after", &spec.after)] {
            problems.extend(text.as_ref().and_then(|text| line_problem(key, text)));
        }
        if spec.replaces.as_ref().is_some_and(|begin| !spec.line.trim_start().starts_with(begin.as_str())) {
            problems.push("`line` must begin with what `replaces` says: else every run would add another".into());
        }
        if spec.state == Presence::Absent && (spec.replaces.is_some() || spec.after.is_some() || spec.create.is_some())
        {
            problems.push("an absent line has nothing but `path` and `line`".into());
        }
        problems
    }

    fn path(spec: &Spec) -> String {
        spec.path.clone()
    }

    fn part(spec: &Spec) -> String {
        spec.replaces.as_ref().unwrap_or(&spec.line).clone()
    }

    fn create(spec: &Spec) -> Option<Mode> {
        spec.create
    }

    fn edit(spec: &Spec, text: &mut Text) -> Result<(), Fault> {
        if spec.state == Presence::Absent {
            text.retain(|line| line != spec.line);
            return Ok(());
        }
        let begins = |line: &str, begin: &String| line.trim_start().starts_with(begin.as_str());
        let there = match &spec.replaces {
            Some(begin) => text.rfind(|line| begins(line, begin)),
            None => text.rfind(|line| line == spec.line),
        };
        if let Some(at) = there {
            text.replace(at, &spec.line);
            return Ok(());
        }
        let behind = spec.after.as_ref().and_then(|begin| text.rfind(|line| begins(line, begin)));
        text.insert(behind.map_or(text.len(), |at| at + 1), &spec.line);
        Ok(())
    }

    fn sensitive(spec: &Spec) -> bool {
        spec.sensitive
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "path": "/etc/motd", "line": "Wartung am Samstag", "create": "0644" }),
            json!({ "path": "/etc/old.conf", "line": "old = false", "replaces": "old" }),
            json!({ "path": "/etc/old.conf", "line": "old = true", "state": "absent" }),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::edited;
    use super::*;

    fn line(spec: Value, before: &str) -> String {
        edited::<InFile>(&serde_json::from_value(spec).unwrap(), before)
    }

    #[test]
    fn endings_stay_as_they_are() {
        let spec = json!({ "path": "/x", "line": "b=2", "replaces": "b=" });
        assert_eq!(line(spec.clone(), "a=1\nb=1\nc=1\n"), "a=1\nb=2\nc=1\n");
        assert_eq!(line(spec.clone(), "a=1\r\nb=1\r\n"), "a=1\r\nb=2\r\n");
        assert_eq!(line(spec.clone(), "a=1\nb=1"), "a=1\nb=2");
        assert_eq!(line(spec.clone(), "a=1"), "a=1\nb=2");
        assert_eq!(line(spec.clone(), "a=1\r\n"), "a=1\r\nb=2\r\n");
        assert_eq!(line(spec, ""), "b=2\n");
    }

    #[test]
    fn new_lines_go_behind_their_anchor() {
        let spec = json!({ "path": "/x", "line": "new", "after": "[b]" });
        assert_eq!(line(spec.clone(), "[a]\n[b]\n[c]\n"), "[a]\n[b]\nnew\n[c]\n");
        assert_eq!(line(spec, "[a]\n"), "[a]\nnew\n");
    }

    #[test]
    fn absent_lines_go_wherever_they_are() {
        let spec = json!({ "path": "/x", "line": "x", "state": "absent" });
        assert_eq!(line(spec.clone(), "x\na\nx\n"), "a\n");
        assert_eq!(line(spec.clone(), "a\nx"), "a");
        assert_eq!(line(spec, "xx\n"), "xx\n");
    }
}
