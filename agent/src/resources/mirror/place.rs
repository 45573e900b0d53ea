//! The directory itself: room for a copy is made by a rename, and what was there comes back by one. Nothing is removed
//! unless it is known to be a copy: because the marker says so, and because what was there before is put aside or was
//! nothing.

use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::spec::Data;
use super::{Spec, State};
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, FileType, read_text};
use crate::resource::Cx;
use crate::resources::mount::unescaped;
use crate::resources::node::Node;

/// Bound of the metadata that are kept of a mount point, in bytes.
const MAX_KEPT: u64 = 1 << 20;

/// What stands at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Nothing.
    Absent,
    /// A directory.
    Directory,
    /// A directory at which a file system is mounted: it cannot be renamed.
    Mounted,
    /// Something else.
    Other,
}

impl Place {
    /// Looks.
    ///
    /// # Errors
    /// Those of the host.
    pub(super) fn get(path: &str, cx: &mut Cx<'_>) -> Result<Place, Fault> {
        match cx.host.lstat(Path::new(path))?.map(|meta| meta.file_type) {
            None => Ok(Place::Absent),
            Some(FileType::Directory) => {
                let mounts = read_text(cx.host, Path::new("/proc/self/mountinfo"))?.unwrap_or_default();
                let mut points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
                let mounted = points.any(|point| unescaped(point) == path);
                Ok(if mounted { Place::Mounted } else { Place::Directory })
            }
            Some(_) => Ok(Place::Other),
        }
    }
}

fn beside(spec: &Spec, what: &str) -> String {
    format!("{}.weiche-{what}-{}", spec.path, spec.name)
}

fn exists(path: &str, cx: &mut Cx<'_>) -> Result<bool, Fault> {
    Ok(cx.host.lstat(Path::new(path))?.is_some())
}

/// Whether something is put aside.
pub(super) fn aside_exists(spec: &Spec, cx: &mut Cx<'_>) -> Result<bool, Fault> {
    exists(&beside(spec, "aside"), cx)
}

/// The name under which the metadata of a mount point are kept.
fn kept(spec: &Spec) -> String {
    format!("mirror-{}-top", spec.name)
}

/// Refuses what could not follow.
///
/// # Errors
/// `Conflict` and `NotFound`: the operator makes room.
pub(super) fn check(spec: &Spec, place: Place, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let path = &spec.path;
    match (place, spec.data) {
        (Place::Other, _) => Err(Fault::new(FaultCode::Conflict, format!("{path} is no directory"))
            .hint("remove it first; of a link, name the directory that it leads to")),
        (Place::Absent, Data::Own) => {
            Err(Fault::new(FaultCode::NotFound, format!("{path} is not there, so it is not what the other host has")))
        }
        (Place::Absent, Data::Copy) => {
            let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
            match cx.host.lstat(parent)? {
                Some(meta) if meta.file_type == FileType::Directory => Ok(()),
                _ => Err(Fault::new(FaultCode::NotFound, format!("there is no directory {}", parent.display()))
                    .hint("declare a `directory` resource for it before this one")),
            }
        }
        (Place::Mounted, Data::Copy) => {
            if let Some(name) = contents(path, cx)?.first() {
                let message = format!("{path} is a mount point that holds `{name}`, and cannot be put aside");
                return Err(Fault::new(FaultCode::Conflict, message).hint("move what it holds away first"));
            }
            let top = Node::get(Path::new(path), cx)?;
            let value = serde_json::to_value(&top).map_err(|e| Fault::new(FaultCode::Invalid, e.to_string()))?;
            cx.keep_bytes(&kept(spec), value.to_string().as_bytes())
        }
        (Place::Directory | Place::Mounted, _) => Ok(()),
    }
}

/// The names in a directory, if it is there, without what a file system has at its top by itself.
///
/// # Errors
/// Those of the host.
pub(super) fn contents(path: &str, cx: &mut Cx<'_>) -> Result<Vec<String>, Fault> {
    if !exists(path, cx)? {
        return Ok(Vec::new());
    }
    let mut names = cx.host.read_dir(Path::new(path))?;
    names.retain(|name| name != "lost+found");
    Ok(names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect())
}

/// Puts aside what stands there; once more after a crash, too.
///
/// # Errors
/// Those of mv(1).
pub(super) fn make_room(spec: &Spec, now: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
    if now.place != Place::Directory || now.aside || now.follows.is_some() {
        return Ok(());
    }
    rename(&spec.path, &beside(spec, "aside"), cx)?;
    settle(spec, cx)
}

/// The other way: the copy goes, and what stood there comes back.
///
/// # Errors
/// `Conflict` if what stands there is not known to be a copy, unless a person has said that it may go: then it is left
/// beside it.
pub(super) fn give_back(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let path = &spec.path;
    let back = now.aside && !to.aside;
    let in_the_way = match to.place {
        // If nothing is aside, it is back there already, or was never taken away.
        Place::Directory => back && now.place != Place::Absent,
        Place::Absent => now.place != Place::Absent,
        Place::Mounted => now.place == Place::Mounted && !contents(path, cx)?.is_empty(),
        Place::Other => false,
    };
    if in_the_way {
        let ours = now.follows.as_ref().is_some_and(|follows| !follows.unproven);
        if ours {
            cx.note(format!("the copy in {path} is removed"));
            remove(path, now.place, cx)?;
        } else if cx.over_drift && now.place == Place::Directory {
            leave(spec, cx)?;
        } else {
            let message = format!("what {path} holds may be nowhere else");
            let hint = "move away what is worth keeping, or `--take-back-anyway` leaves it beside the directory";
            return Err(Fault::new(FaultCode::Conflict, message).hint(hint));
        }
    }
    if to.place == Place::Mounted {
        let mut text = String::new();
        let read = cx.kept_bytes(&kept(spec)).map(|reader| reader.take(MAX_KEPT).read_to_string(&mut text));
        if read.is_ok()
            && let Ok(top) = text.parse::<Value>().and_then(|value| Node::deserialize(&value))
        {
            let here = Node::get(Path::new(path), cx)?;
            top.put(Path::new(path), &here, cx)?;
        }
    }
    if back {
        rename(&beside(spec, "aside"), path, cx)?;
    }
    settle(spec, cx)
}

/// Moves what may be nowhere else out of the way.
fn leave(spec: &Spec, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let name = left(spec, cx)?;
    rename(&spec.path, &name, cx)?;
    cx.note(format!("what {} held is now {name}", spec.path));
    Ok(())
}

/// A directory that is not there yet, for what may be nowhere else.
///
/// # Errors
/// `Conflict` if all names are taken: the operator moves away what is there.
pub(super) fn left(spec: &Spec, cx: &mut Cx<'_>) -> Result<String, Fault> {
    let left = beside(spec, "left");
    for name in (1..100).map(|n| if n == 1 { left.clone() } else { format!("{left}-{n}") }) {
        if !exists(&name, cx)? {
            return Ok(name);
        }
    }
    Err(Fault::new(FaultCode::Conflict, format!("{left} and all names like it are taken")))
}

/// Gives up what was put aside.
///
/// # Errors
/// Those of rm(1).
pub(super) fn forget(spec: &Spec, cx: &mut Cx<'_>) -> Result<(), Fault> {
    run(&["rm", "-rf", "--", &beside(spec, "aside")], cx)
}

fn remove(path: &str, place: Place, cx: &mut Cx<'_>) -> Result<(), Fault> {
    if place != Place::Mounted {
        return run(&["rm", "-rf", "--", path], cx);
    }
    for name in cx.host.read_dir(Path::new(path))? {
        if name == "lost+found" {
            continue;
        }
        // Names that are no UTF-8 cannot be written as words: find(1) knows them itself.
        let Some(name) = name.to_str() else {
            let argv = ["find", path, "-mindepth", "1", "-not", "-path", &format!("{path}/lost+found*"), "-delete"];
            return run(&argv, cx);
        };
        run(&["rm", "-rf", "--", &format!("{path}/{name}")], cx)?;
    }
    Ok(())
}

fn rename(from: &str, to: &str, cx: &mut Cx<'_>) -> Result<(), Fault> {
    run(&["mv", "-T", "--", from, to], cx)
}

/// Makes durable what is on the file system of the directory, which may be another than the agent's.
///
/// # Errors
/// Those of sync(1).
pub(super) fn settle(spec: &Spec, cx: &mut Cx<'_>) -> Result<(), Fault> {
    for path in [Path::new(&spec.path), Path::new(&spec.path).parent().unwrap_or(Path::new("/"))] {
        if let (Some(path), true) = (path.to_str(), cx.host.lstat(path)?.is_some()) {
            run(&["sync", "-f", path], cx)?;
        }
    }
    cx.host.sync()
}

fn run(argv: &[&str], cx: &mut Cx<'_>) -> Result<(), Fault> {
    let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
    cx.host.run(&Command::changing(argv.clone(), cx.timeout))?.expect_ok(&argv).map(drop)
}
