//! A directory with given entries, shared by `tree` and `archive`: the controller has read the tree or unpacked the
//! archive, and says what shall stand at each relative path, contents by digest.
//!
//! The state is what stands at each of these paths and, where others' entries are purged, at every path below. What
//! lies behind a link is not below: an entry whose directory is a link on the host is taken as absent, and the link is
//! replaced by the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::node::{Mode, Node, Owned};
use super::nodes::{self, Nodes};
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::resource::Cx;

/// Paths relative to the directory, without `.`, `..` and empty parts, and what shall stand there. With every path, the
/// directories that it lies in.
pub type Entries = BTreeMap<String, Entry>;

/// What shall stand at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Digest of its content.
        digest: Digest,
        /// Length in bytes.
        size: u64,
        /// Whether it can be executed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        executable: bool,
    },
    /// A symbolic link with this target: relative, and inside of the directory.
    Symlink(String),
}

/// Most entries of one directory, wanted and purged ones each: states travel in one message.
pub const MAX_ENTRIES: usize = 20_000;

/// Deepest directory nesting that is followed.
const MAX_DEPTH: usize = 64;

/// Changes that are shown one by one.
const MAX_LINES: usize = 50;

/// A directory as a spec asks for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) path: &'a str,
    pub(super) entries: Option<&'a Entries>,
    pub(super) purge: bool,
    pub(super) mode: Option<Mode>,
    pub(super) dir_mode: Option<Mode>,
    pub(super) owner: Option<&'a String>,
    pub(super) group: Option<&'a String>,
}

/// What is wrong with a path whose unknown entries shall go.
pub(super) fn purge_problem(path: &str, purge: bool) -> Option<String> {
    let top = path.matches('/').count() < 2;
    (purge && top).then(|| format!("`purge` of {path} would take the host's own files: name a directory further down"))
}

impl Wanted<'_> {
    /// Reads what stands at each path.
    pub(super) fn get(&self, cx: &mut Cx<'_>) -> Result<Nodes, Fault> {
        let entries = self.entries()?;
        let mut nodes = nodes::get([self.path], cx)?;
        for relative in entries.keys() {
            let path = format!("{}/{relative}", self.path);
            let above = path.rsplit_once('/').and_then(|(above, _)| nodes.get(above));
            let plain = relative.split('/').all(|part| !matches!(part, "" | "." | ".."));
            let Some(above) = above.filter(|_| plain && !relative.contains('\0')) else {
                let message = format!("the entry `{relative}` is not in a directory of {}", self.path);
                return Err(Fault::new(FaultCode::Invalid, message));
            };
            let node = match above {
                Node::Directory { .. } => Node::get(Path::new(&path), cx)?,
                _ => Node::Absent,
            };
            nodes.insert(path, node);
        }
        if self.purge {
            self.others(&mut nodes, cx)?;
        }
        Ok(nodes)
    }

    /// Adds all that lies below and is in no entry.
    fn others(&self, nodes: &mut Nodes, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let mut open = vec![(self.path.to_owned(), 0)];
        let mut found = 0;
        while let Some((directory, depth)) = open.pop() {
            if !matches!(nodes.get(&directory), Some(Node::Directory { .. })) {
                continue;
            }
            for name in cx.names(Path::new(&directory))? {
                let Some(name) = name.to_str() else {
                    let message = format!("{directory} holds `{}`, a name that is not UTF-8", name.display());
                    return Err(Fault::new(FaultCode::Conflict, message).hint("move it away, or do without `purge`"));
                };
                let path = format!("{directory}/{name}");
                if !nodes.contains_key(&path) {
                    found += 1;
                    let node = Node::get(Path::new(&path), cx)?;
                    nodes.insert(path.clone(), node);
                }
                if depth == MAX_DEPTH || found > MAX_ENTRIES {
                    let message = format!("{} holds too much that would be purged", self.path);
                    let bounds =
                        format!("at most {MAX_ENTRIES} entries, nested {MAX_DEPTH} deep; is it the right one?");
                    return Err(Fault::new(FaultCode::Conflict, message).hint(bounds));
                }
                open.push((path, depth + 1));
            }
        }
        Ok(())
    }

    /// What shall stand at each path.
    pub(super) fn want(&self, state: &Nodes) -> Result<Nodes, Fault> {
        let mut wanted = Nodes::new();
        wanted.insert(self.path.to_owned(), self.directory(state.get(self.path)));
        for (relative, entry) in self.entries()? {
            let path = format!("{}/{relative}", self.path);
            let now = state.get(&path);
            let node = match entry {
                Entry::Directory => self.directory(now),
                Entry::File { digest, size, executable } => self.file(digest, *size, *executable, now),
                Entry::Symlink(target) => {
                    let mut link = nodes::link(target, now);
                    if let Node::Symlink { owner, group, .. } = &mut link {
                        self.owner.inspect(|wanted| owner.clone_from(wanted));
                        self.group.inspect(|wanted| group.clone_from(wanted));
                    }
                    link
                }
            };
            wanted.insert(path, node);
        }
        Ok(wanted)
    }

    fn directory(&self, now: Option<&Node>) -> Node {
        let old = match now {
            Some(Node::Directory { owned }) => owned.clone(),
            _ => Owned::new(0o755),
        };
        Node::Directory { owned: old.with(self.dir_mode, self.owner, self.group) }
    }

    fn file(&self, digest: &Digest, size: u64, executable: bool, now: Option<&Node>) -> Node {
        let mut old = match now {
            Some(Node::File { owned, .. }) => owned.clone(),
            _ => Owned::new(0o644),
        };
        // Who may read it may execute it, or nobody may: as git(1) does it.
        let Mode(bits) = old.mode;
        old.mode = Mode(if executable { bits | (bits & 0o444) >> 2 } else { bits & !0o111 });
        let owned = old.with(self.mode, self.owner, self.group);
        now.unwrap_or(&Node::Absent).rewritten(digest, size, owned)
    }

    fn entries(&self) -> Result<&Entries, Fault> {
        let missing = || Fault::new(FaultCode::Invalid, format!("the entries of {} are missing", self.path));
        self.entries.ok_or_else(missing)
    }
}

/// Keeps what `put(now)` will need, and refuses what could not be undone.
pub(super) fn keep(now: &Nodes, to: &Nodes, cx: &mut Cx<'_>) -> Result<(), Fault> {
    nodes::keep(now, &complete(now, to), cx)
}

/// Makes all be as in `to`: what `now` has beyond it goes.
pub(super) fn put(now: &Nodes, to: &Nodes, cx: &mut Cx<'_>) -> Result<(), Fault> {
    nodes::put(now, &complete(now, to), cx)
}

fn complete(now: &Nodes, to: &Nodes) -> Nodes {
    let mut all = to.clone();
    for path in now.keys().filter(|path| !to.contains_key(*path)) {
        all.insert(path.clone(), Node::Absent);
    }
    all
}

/// All contents.
pub(super) fn contents(wanted: &Nodes) -> Vec<Digest> {
    unique(wanted.values())
}

/// The contents of files whose content changes.
pub(super) fn needs(now: &Nodes, wanted: &Nodes) -> Vec<Digest> {
    unique(
        wanted.iter().filter(|(path, node)| now.get(*path).map(Node::contents) != Some(node.contents())).map(|n| n.1),
    )
}

fn unique<'a>(nodes: impl Iterator<Item = &'a Node>) -> Vec<Digest> {
    nodes.flat_map(Node::contents).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The changed paths, a line each.
pub(super) fn change(now: &Nodes, wanted: &Nodes) -> Vec<String> {
    let here = |nodes: &Nodes, path: &String| nodes.get(path).cloned().unwrap_or(Node::Absent);
    let mut lines = Vec::new();
    let mut more = 0_usize;
    for path in now.keys().chain(wanted.keys().filter(|path| !now.contains_key(*path))).collect::<BTreeSet<_>>() {
        let (old, new) = (here(now, path), here(wanted, path));
        if old == new {
            continue;
        }
        if lines.len() == MAX_LINES {
            more += 1;
            continue;
        }
        let what = match &new {
            Node::File { size, .. } => format!(" ({size} bytes)"),
            Node::Directory { .. } => "/".into(),
            Node::Symlink { target, .. } => format!(" -> {}", target.display()),
            Node::Absent | Node::Other => String::new(),
        };
        lines.push(match (&old, &new) {
            (Node::Absent, _) => format!("+ {path}{what}"),
            (_, Node::Absent) => format!("- {path}"),
            _ if old.contents() == new.contents() => format!("~ {path}{what}: owner, group or mode"),
            _ => format!("~ {path}{what}"),
        });
    }
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32, text: &str) -> Node {
        let digest = Digest::of(text.as_bytes());
        Node::Absent.rewritten(&digest, text.len() as u64, Owned::new(mode))
    }

    fn want(entry: Entry, now: Node, mode: Option<u32>) -> Node {
        let entries = Entries::from([("x".to_owned(), entry)]);
        let mode = mode.map(Mode);
        let wanted = Wanted {
            path: "/srv/t",
            entries: Some(&entries),
            purge: false,
            mode,
            dir_mode: None,
            owner: None,
            group: None,
        };
        let state = Nodes::from([("/srv/t/x".to_owned(), now)]);
        wanted.want(&state).unwrap()["/srv/t/x"].clone()
    }

    #[test]
    fn modes_follow_the_executable_bit() {
        let entry = |executable| Entry::File { digest: Digest::of(b"a"), size: 1, executable };
        #[rustfmt::skip]
        let cases = [
            // executable, now, spec's mode, wanted mode
            (false, Node::Absent, None, 0o644),
            (true, Node::Absent, None, 0o755),
            (true, file(0o600, "b"), None, 0o700),
            (false, file(0o750, "b"), None, 0o640),
            (true, file(0o640, "a"), None, 0o750),
            (true, file(0o640, "a"), Some(0o600), 0o600),
        ];
        for (executable, now, mode, expected) in cases {
            let wanted = want(entry(executable), now.clone(), mode);
            assert_eq!(wanted, file(expected, "a"), "{executable} {now:?} {mode:?}");
        }
    }

    #[test]
    fn only_changed_contents_are_needed() {
        let nodes =
            |a: &str, b: &str| Nodes::from([("/a".to_owned(), file(0o644, a)), ("/b".to_owned(), file(0o644, b))]);
        assert_eq!(needs(&nodes("1", "2"), &nodes("1", "3")), [Digest::of(b"3")]);
        // The host has it, but elsewhere.
        assert_eq!(needs(&nodes("1", "2"), &nodes("2", "2")), [Digest::of(b"2")]);
        assert_eq!(needs(&nodes("1", "2"), &nodes("1", "2")), []);
    }

    #[test]
    fn top_directories_are_not_purged() {
        assert!(purge_problem("/etc", true).is_some());
        assert_eq!(purge_problem("/etc", false), None);
        assert_eq!(purge_problem("/etc/x", true), None);
    }
}
