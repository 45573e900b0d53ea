//! The account databases: passwd(5), shadow(5), group(5), gshadow(5), edited line by line and replaced atomically, as
//! systemd-sysusers(8) does it. Only the lines of the account in question are touched, so lines that others wrote
//! meanwhile stay, and undo is exact to the byte. Shared by `user` and `group`.

use std::io::Read as _;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::host::{Attributes, read_text};
use crate::resource::Cx;

pub(crate) const PASSWD: &str = "/etc/passwd";
pub(crate) const SHADOW: &str = "/etc/shadow";
pub(crate) const GROUP: &str = "/etc/group";
pub(crate) const GSHADOW: &str = "/etc/gshadow";

/// Stands for the next free number in a wanted line, until `put` fills it in: so that no plan goes stale because of
/// another account.
const NEXT: &str = "<next>";
const NEXT_SYSTEM: &str = "<next system>";

/// One line of a database, and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// The line without its newline.
    pub text: String,
    /// Name in the line before; empty at the start, `None` for the end of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Line {
    /// A line that does not exist yet.
    pub(crate) fn new(text: String) -> Line {
        Line { text, after: None }
    }

    /// The same line with field `at` replaced.
    pub(crate) fn with(&self, at: usize, value: &str) -> Line {
        let mut fields: Vec<&str> = self.text.split(':').collect();
        if let Some(field) = fields.get_mut(at) {
            *field = value;
        }
        Line { text: fields.join(":"), after: self.after.clone() }
    }

    /// Whether two are the same but for where they stand.
    pub(crate) fn same(a: Option<&Line>, b: Option<&Line>) -> bool {
        a.map(|l| &l.text) == b.map(|l| &l.text)
    }
}

/// A line with a password's hash, which never leaves the host: only its digest does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hidden {
    /// Digest of the line without its newline.
    pub digest: Digest,
    /// As in [`Line`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Hidden {
    /// A line that does not exist yet.
    pub(crate) fn new(text: &str) -> Hidden {
        Hidden { digest: Digest::of(text.as_bytes()), after: None }
    }
}

/// A database in memory: its lines as split at newlines, so that joining them gives back every byte.
pub(crate) struct Table {
    path: &'static Path,
    old: String,
    lines: Vec<String>,
    attributes: Attributes,
}

impl Table {
    /// Reads one; `None` if there is none.
    pub(crate) fn read(path: &'static str, cx: &mut Cx<'_>) -> Result<Option<Table>, Fault> {
        let path = Path::new(path);
        let Some(meta) = cx.host.lstat(path)? else { return Ok(None) };
        let old = read_text(cx.host, path)?.unwrap_or_default();
        let lines = old.split('\n').map(str::to_owned).collect();
        let attributes = Attributes { mtime: None, ..meta.attributes };
        Ok(Some(Table { path, old, lines, attributes }))
    }

    /// The same, where it cannot be missing.
    pub(crate) fn needed(path: &'static str, cx: &mut Cx<'_>) -> Result<Table, Fault> {
        Table::read(path, cx)?.ok_or_else(|| {
            Fault::new(FaultCode::NotFound, format!("there is no {path}")).hint("make it with `pwconv` and `grpconv`")
        })
    }

    /// The line of a name.
    pub(crate) fn get(&self, name: &str) -> Option<Line> {
        let at = self.position(name)?;
        let after = at.checked_sub(1).map_or(String::new(), |above| name_of(&self.lines[above]).to_owned());
        Some(Line { text: self.lines[at].clone(), after: Some(after) })
    }

    /// The line of a name that holds a hash.
    pub(crate) fn hidden(&self, name: &str) -> Option<Hidden> {
        self.get(name).map(|line| Hidden { digest: Digest::of(line.text.as_bytes()), after: line.after })
    }

    /// Keeps the line of a name, which will be removed, on the host.
    pub(crate) fn keep(&self, name: &str, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let Some(line) = self.get(name) else { return Ok(()) };
        cx.keep_bytes(&format!("line-{}", Digest::of(line.text.as_bytes())), line.text.as_bytes())
    }

    /// Like [`Table::put`] for a line that is known by its digest: `new`, the one that is there, or one that was kept.
    pub(crate) fn put_hidden(
        &mut self,
        name: &str,
        to: Option<&Hidden>,
        new: &str,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        if to.map(|h| &h.digest) == self.hidden(name).as_ref().map(|h| &h.digest) {
            return Ok(());
        }
        let line = match to {
            None => None,
            Some(hidden) if hidden.digest == Digest::of(new.as_bytes()) => {
                Some(Line { text: new.to_owned(), after: hidden.after.clone() })
            }
            Some(hidden) => {
                let mut text = String::new();
                let mut reader = cx.kept_bytes(&format!("line-{}", hidden.digest))?;
                reader.read_to_string(&mut text).map_err(|e| Fault::io("read a kept line", &e))?;
                Some(Line { text, after: hidden.after.clone() })
            }
        };
        self.put(name, line.as_ref());
        Ok(())
    }

    /// The fields of every line.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Vec<&str>> {
        self.lines.iter().filter(|l| !l.is_empty() && !l.starts_with('#')).map(|l| l.split(':').collect())
    }

    /// Makes the line of `name` be this one: in place, or behind the line it stood behind, or at the end.
    pub(crate) fn put(&mut self, name: &str, line: Option<&Line>) {
        let at = self.position(name);
        match (at, line) {
            (Some(at), Some(line)) => self.lines[at].clone_from(&line.text),
            (Some(at), None) => drop(self.lines.remove(at)),
            (None, None) => {}
            (None, Some(line)) => {
                let at = match line.after.as_deref() {
                    Some("") => Some(0),
                    Some(above) => self.position(above).map(|at| at + 1),
                    None => None,
                };
                // Behind the last newline there is one more, empty, piece.
                let end = self.lines.len() - usize::from(self.lines.last().is_some_and(String::is_empty));
                self.lines.insert(at.unwrap_or(end).min(end), line.text.clone());
            }
        }
    }

    /// Changes the comma-separated list in field `at` of a line.
    pub(crate) fn edit_list(&mut self, name: &str, at: usize, edit: impl FnOnce(&mut Vec<String>)) {
        let Some(line) = self.get(name) else { return };
        let field = line.text.split(':').nth(at).unwrap_or_default();
        let mut list: Vec<String> = field.split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect();
        edit(&mut list);
        self.put(name, Some(&line.with(at, &list.join(","))));
    }

    /// Fills in the number that a wanted line leaves open.
    pub(crate) fn numbered(&self, line: &Line) -> Result<Line, Fault> {
        let taken: Vec<u32> = self.rows().filter_map(|row| row.get(2)?.parse().ok()).collect();
        let free = |id: &u32| !taken.contains(id);
        // The ranges of adduser.conf(5): normal accounts upwards, system accounts downwards as useradd(8) has it.
        let id = match line.text.split(':').nth(2) {
            Some(NEXT) => (1000..60_000).find(free),
            Some(NEXT_SYSTEM) => (100..1000).rev().find(free),
            _ => return Ok(line.clone()),
        };
        let id =
            id.ok_or_else(|| Fault::new(FaultCode::NoSpace, format!("no id is free in {}", self.path.display())))?;
        Ok(line.with(2, &id.to_string()))
    }

    /// Refuses a number that another name has.
    pub(crate) fn unique(&self, name: &str, line: &Line) -> Result<(), Fault> {
        let Some(id) = line.text.split(':').nth(2) else { return Ok(()) };
        match self.rows().find(|row| row.get(2) == Some(&id) && row[0] != name) {
            None => Ok(()),
            Some(row) => {
                let message = format!("{} already gives the id {id} to `{}`", self.path.display(), row[0]);
                Err(Fault::new(FaultCode::Conflict, message).hint("choose another number, or leave it out"))
            }
        }
    }

    /// Writes it if it has changed, with the metadata that it had.
    pub(crate) fn save(self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let text = self.lines.join("\n");
        if text == self.old {
            return cx.host.sweep(self.path);
        }
        cx.host.write(self.path, &mut text.as_bytes(), &self.attributes)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.lines.iter().position(|line| line.contains(':') && name_of(line) == name)
    }
}

/// A database, the digest of its text, and its time.
type Time = (String, Digest, Option<(i64, u32)>);

/// The digest and time of each database, for [`put_times`]: times are in no state, because another account must make no
/// plan stale.
pub(crate) fn keep_times(before: &impl Serialize, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let name = times_name(before);
    if cx.kept_bytes(&name).is_ok() {
        // An undo that was cut off comes here again, with a time of its own.
        return Ok(());
    }
    let mut times = Vec::new();
    for path in [PASSWD, SHADOW, GROUP, GSHADOW] {
        let Some(meta) = cx.host.lstat(Path::new(path))? else { continue };
        let text = read_text(cx.host, Path::new(path))?.unwrap_or_default();
        times.push((path, Digest::of(text.as_bytes()), meta.attributes.mtime));
    }
    cx.keep_bytes(&name, &serde_json::to_vec(&times).unwrap_or_default())
}

/// Gives each database that is as it was before, to the byte, its time back.
pub(crate) fn put_times(before: &impl Serialize, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let mut bytes = Vec::new();
    match cx.kept_bytes(&times_name(before)) {
        // A state that was never left: nothing was kept.
        Err(fault) if fault.code == FaultCode::NotFound => return Ok(()),
        reader => reader?.read_to_end(&mut bytes).map_err(|e| Fault::io("read the times of the databases", &e))?,
    };
    let times: Vec<Time> = serde_json::from_slice(&bytes).unwrap_or_default();
    for (path, digest, mtime) in times {
        let path = Path::new(&path);
        let Some(meta) = cx.host.lstat(path)? else { continue };
        let text = read_text(cx.host, path)?.unwrap_or_default();
        if Digest::of(text.as_bytes()) == digest && meta.attributes.mtime != mtime {
            cx.host.set_attributes(path, &Attributes { mtime, ..Attributes::default() })?;
        }
    }
    Ok(())
}

fn times_name(before: &impl Serialize) -> String {
    format!("times-{}", Digest::of(&serde_json::to_vec(before).unwrap_or_default()).short())
}

/// The number field of a new line.
pub(crate) fn number(id: Option<u32>, system: bool) -> String {
    match id {
        Some(id) => id.to_string(),
        None if system => NEXT_SYSTEM.into(),
        None => NEXT.into(),
    }
}

/// What is wrong with the name of an account, if anything: the common ground of useradd(8) and systemd.
pub(crate) fn name_problem(class: &str, name: &str) -> Option<String> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    let rest = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    let ok = first && rest && name.len() <= 32;
    (!ok).then(|| {
        format!("`{name}` is no {class} name: lower-case letters, digits, `_` and `-`, at most 32, not a digit first")
    })
}

/// What is wrong with a field, if anything.
pub(crate) fn field_problem(field: &str, value: &str) -> Option<String> {
    let bad = value.chars().any(|c| c == ':' || c.is_control());
    bad.then(|| format!("`{field}` may not contain `:` or control characters"))
}

fn name_of(line: &str) -> &str {
    line.split(':').next().unwrap_or_default()
}
