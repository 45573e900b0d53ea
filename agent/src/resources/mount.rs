//! `mount`: a file system in `/etc/fstab` (fstab(5)) and in its place now, as `/proc/self/mountinfo` (proc(5)) tells.
//!
//! A new entry is written only once mounting has worked: a wrong one would stop the next boot. An old one is restored
//! before what it names is mounted again.

mod live;
mod table;

pub(super) use table::unescaped;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::{Mode, path_problem};
use super::text::{self, Text};
use crate::fault::{Fault, FaultCode};
use crate::host::{Attributes, FileType};
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};

pub use live::Mounted;

const FSTAB: &str = "/etc/fstab";

/// A mounted file system.
#[derive(Debug)]
pub struct Mount;

/// Whether it shall be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// In `/etc/fstab`, and mounted.
    #[default]
    Mounted,
    /// In `/etc/fstab`; mounted or not, as it is.
    Present,
    /// Neither.
    Absent,
}

/// A file system that is mounted at boot and now. The directory it is mounted on is made, if its parent exists. If it
/// is mounted with other flags, it is remounted; if another file system is there, it is unmounted first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "mount")]
pub struct Spec {
    /// Absolute path of the directory.
    pub path: String,
    /// What is mounted: `/dev/sdb1`, `UUID=...`, `LABEL=...`, `//server/share`, `server:/path`, `tmpfs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Type of the file system, e.g. `ext4`, `nfs`, `cifs`, `none` for `bind`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub fs_type: Option<String>,
    /// Options, as in mount(8); `defaults` without any. Secrets belong in a file: `credentials=FILE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Whether dump(8) saves it.
    #[serde(default)]
    pub dump: u8,
    /// When fsck(8) checks it at boot: 0 never, 1 first, 2 after that.
    #[serde(default)]
    pub pass: u8,
    /// `mounted` (default), `present` (only in `/etc/fstab`) or `absent`.
    #[serde(default)]
    pub state: Wanted,
}

/// Entry, directory and what is mounted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// `/etc/fstab` and what changes in it.
    pub fstab: text::State,
    /// What it is mounted on.
    pub point: Point,
    /// What is mounted there.
    pub mounted: Option<Mounted>,
}

/// What stands where it is to be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// Nothing.
    Absent,
    /// A directory; its metadata may be the mounted file system's.
    Directory,
    /// Anything else.
    Other,
}

impl Lens for Mount {
    const NAME: &'static str = "mount";
    const UNDO: Exactness = Exactness::BestEffort(
        "options of a file system that was mounted by hand, where `/etc/fstab` does not name them",
    );
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        problems(spec)
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Name("mount", spec.path.clone())]
    }

    fn edits(_spec: &Spec) -> Vec<PathBuf> {
        vec![FSTAB.into()]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let point = match cx.host.lstat(Path::new(&spec.path))?.map(|meta| meta.file_type) {
            None => Point::Absent,
            Some(FileType::Directory) => Point::Directory,
            Some(_) => Point::Other,
        };
        let create = (spec.state != Wanted::Absent).then_some(Mode(0o644));
        let fstab = text::look(Path::new(FSTAB), &|text: &mut Text| table::edit(spec, text), create, false, cx)?;
        Ok(State { fstab, point, mounted: live::get(spec, cx)? })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        let fstab = text::wanted(&state.fstab);
        match spec.state {
            Wanted::Absent => Ok(State { fstab, mounted: None, ..state.clone() }),
            Wanted::Present => Ok(State { fstab, ..state.clone() }),
            Wanted::Mounted => {
                if state.point == Point::Other {
                    let message = format!("{} is not a directory", spec.path);
                    return Err(Fault::new(FaultCode::Conflict, message).hint("move it away first"));
                }
                let mounted = Some(live::wanted(spec, state.mounted.as_ref()));
                Ok(State { fstab, point: Point::Directory, mounted })
            }
        }
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let point = Path::new(&spec.path);
        if now.point == Point::Absent && to.point == Point::Directory {
            let new = Attributes { mode: Some(0o755), uid: Some(0), gid: Some(0), ..Attributes::default() };
            cx.host.make_dir(point, &new)?;
        }
        let back = to.fstab.change.is_some();
        if back {
            write(spec, now, to, cx)?;
        }
        if spec.state != Wanted::Present {
            live::put(spec, now.mounted.as_ref(), to.mounted.as_ref(), back, cx)?;
        }
        if !back {
            write(spec, now, to, cx)?;
        }
        if now.point == Point::Directory && to.point == Point::Absent {
            cx.host.remove(point)?;
        }
        Ok(())
    }

    fn keep(_spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        now.fstab.file.keep(Path::new(FSTAB), &wanted.fstab.file, cx)
    }

    fn same(spec: &Spec, a: &State, b: &State) -> bool {
        let mounted = spec.state == Wanted::Present || a.mounted == b.mounted;
        text::same(&a.fstab, &b.fstab) && a.point == b.point && mounted
    }

    fn intact(spec: &Spec, after: &State, now: &State) -> bool {
        now.fstab.change.is_none() && (spec.state == Wanted::Present || after.mounted == now.mounted)
    }

    fn change(now: &State, wanted: &State) -> Option<Vec<String>> {
        let mut lines = text::change(&now.fstab).unwrap_or_default();
        if now.mounted != wanted.mounted {
            lines.extend(now.mounted.iter().map(|m| format!("- mounted: {m}")));
            lines.extend(wanted.mounted.iter().map(|m| format!("+ mounted: {m}")));
        }
        (!lines.is_empty()).then_some(lines)
    }

    fn title(spec: &Spec) -> String {
        spec.path.clone()
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "path": "/srv/archive", "device": "LABEL=archive", "type": "ext4",
                    "options": ["defaults", "noexec", "nofail"], "pass": 2 }),
            json!({ "path": "/mnt/plans", "device": "//files.example/plans", "type": "cifs",
                    "options": ["ro", "credentials=/etc/plans.credentials"] }),
            json!({ "path": "/srv/later", "device": "tmpfs", "type": "tmpfs", "state": "present" }),
            json!({ "path": "/srv/data", "state": "absent" }),
        ]
    }
}

fn write(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
    if now.fstab.file == to.fstab.file {
        return Ok(());
    }
    text::put(Path::new(FSTAB), &|text: &mut Text| table::edit(spec, text), &now.fstab, &to.fstab, cx)?;
    // systemd makes units of the table; without systemd there is nobody to tell.
    match super::unit::daemon_reload(cx) {
        Err(fault) if fault.code == FaultCode::Crashed => Err(fault),
        _ => Ok(()),
    }
}

fn problems(spec: &Spec) -> Vec<String> {
    let mut problems: Vec<String> = path_problem(&spec.path).into_iter().collect();
    if spec.state == Wanted::Absent {
        let more = spec.device.is_some() || spec.fs_type.is_some() || !spec.options.is_empty();
        if more || spec.dump != 0 || spec.pass != 0 {
            problems.push("an absent mount has nothing but its `path`".into());
        }
        return problems;
    }
    let word = |key: &str, text: Option<&String>| match text {
        None => Some(format!("a mount needs `{key}`")),
        Some(text) if text.is_empty() || text.starts_with(['-', '#']) || text.chars().any(char::is_control) => {
            Some(format!("`{text}` is nothing that `{key}` can be"))
        }
        Some(_) => None,
    };
    problems.extend(word("device", spec.device.as_ref()));
    problems.extend(word("type", spec.fs_type.as_ref()));
    if spec.fs_type.as_ref().is_some_and(|t| !t.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-,".contains(&b))) {
        problems.push("`type` is a name like `ext4`".into());
    }
    for option in &spec.options {
        let name = option.split('=').next().unwrap_or_default();
        if ["password", "pass", "password2", "passwd", "pwd", "token"].contains(&name.trim()) {
            problems.push(format!(
                "the option `{name}=` would show a secret to everyone who reads {FSTAB}: write it to a file of mode \
                 0600 and name that with `credentials=FILE`"
            ));
        } else if option.is_empty() || option.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control()) {
            problems.push("`options` is a list of single options without commas and blanks".into());
        }
    }
    if spec.dump > 1 || spec.pass > 2 {
        problems.push("`dump` is 0 or 1, `pass` is 0, 1 or 2".into());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_specs_are_refused() {
        let base = json!({ "path": "/srv/x", "device": "/dev/sdb1", "type": "ext4" });
        assert_eq!(problems(&serde_json::from_value(base.clone()).unwrap()), Vec::<String>::new());
        for (key, value) in [
            ("path", json!("srv")),
            ("path", json!("/")),
            ("device", json!("")),
            ("device", json!("-t")),
            ("type", json!("ext4 x")),
            ("options", json!(["password=secret"])),
            ("options", json!(["ro,rw"])),
            ("options", json!(["a b"])),
            ("pass", json!(3)),
            ("state", json!("absent")),
        ] {
            let mut spec = base.clone();
            spec[key] = value;
            let found = problems(&serde_json::from_value(spec.clone()).unwrap());
            assert!(!found.is_empty(), "{spec}");
            assert!(
                !found.iter().any(|problem| problem.contains("secret=") || problem.contains("=secret")),
                "{found:?}"
            );
        }
    }
}
