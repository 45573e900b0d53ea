//! Walks what a manifest covers, in the order of the paths' components, holding no more than the open directories'
//! names in memory.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Line;
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::host::{FileType, Host};
use crate::protocol::{Entry, EntryKind};
use crate::resources::node::to_hex;
use crate::resources::replica::host_path;

/// A path that is covered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Root {
    /// Absolute.
    pub(super) path: PathBuf,
    /// With all that lies below it.
    pub(super) below: bool,
    /// With digests of files; else their size and time must do.
    pub(super) contents: bool,
}

/// Sorts roots and drops those that others cover.
pub(super) fn normal(mut roots: Vec<Root>) -> Vec<Root> {
    roots
        .sort_by(|a, b| a.path.iter().cmp(b.path.iter()).then(b.below.cmp(&a.below)).then(b.contents.cmp(&a.contents)));
    let mut normal: Vec<Root> = Vec::new();
    for root in roots {
        let covered = |other: &Root| {
            other.path == root.path && (other.below || !root.below) || other.below && root.path.starts_with(&other.path)
        };
        match normal.iter_mut().find(|other| covered(other)) {
            Some(other) => other.contents |= root.contents,
            None => normal.push(root),
        }
    }
    normal
}

/// A walk that is under way.
pub(super) struct Walk {
    /// What is still to be visited, the next one last.
    open: Vec<Root>,
    except: Vec<PathBuf>,
}

impl Walk {
    /// Of what a manifest's first line says.
    pub(super) fn new(line: &Line) -> Walk {
        let Line::Roots { roots, except, .. } = line else { return Walk { open: Vec::new(), except: Vec::new() } };
        Walk { open: roots.iter().rev().cloned().collect(), except: except.iter().map(PathBuf::from).collect() }
    }

    /// The next entry.
    pub(super) fn next(&mut self, host: &mut dyn Host) -> Result<Option<Entry>, Fault> {
        while let Some(root) = self.open.pop() {
            if self.except.iter().any(|path| root.path.starts_with(path)) {
                continue;
            }
            if let Some(entry) = self.visit(&root, host)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn visit(&mut self, root: &Root, host: &mut dyn Host) -> Result<Option<Entry>, Fault> {
        let path = &root.path;
        let Some(meta) = host.lstat(path)? else { return Ok(None) };
        let kind = match meta.file_type {
            FileType::File => {
                let digest = if root.contents { content(path, host)? } else { None };
                EntryKind::File { size: meta.size, digest }
            }
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Symlink { target: host_path(&host.read_link(path)?) },
            FileType::Other => return Ok(None),
        };
        if kind == EntryKind::Directory && root.below {
            let names = host.read_dir(path)?;
            self.open.extend(names.into_iter().rev().map(|name| Root { path: path.join(name), ..*root }));
        }
        let at = meta.attributes;
        let timed = matches!(kind, EntryKind::File { .. });
        Ok(Some(Entry {
            path: host_path(path),
            mode: if meta.file_type == FileType::Symlink { 0o777 } else { at.mode.unwrap_or(0) },
            kind,
            owner: at.uid.unwrap_or(0).to_string(),
            group: at.gid.unwrap_or(0).to_string(),
            mtime: at.mtime.filter(|_| timed).unwrap_or((0, 0)),
            sparse: at.sparse.unwrap_or(false),
            hard_link: meta.inode,
            xattrs: at.xattrs.iter().flatten().map(|(k, v)| (k.clone(), to_hex(v))).collect(),
        }))
    }
}

/// The digest of a file; `None` if it has gone since it was listed.
fn content(path: &Path, host: &mut dyn Host) -> Result<Option<Digest>, Fault> {
    let mut reader = match host.open(path) {
        Ok(reader) => reader,
        Err(fault) if fault.code == FaultCode::NotFound => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let (digest, _) = Digest::of_reader(&mut reader).map_err(|e| Fault::path("read", path, &e))?;
    Ok(Some(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(path: &str, below: bool) -> Root {
        Root { path: path.into(), below, contents: true }
    }

    #[test]
    fn what_others_cover_is_walked_once() {
        let roots = vec![root("/etc/a/b", false), root("/etc/a", true), root("/etc", false), root("/etc/a-b", false)];
        let expected = vec![root("/etc", false), root("/etc/a", true), root("/etc/a-b", false)];
        assert_eq!(normal(roots), expected);
        let quick = Root { contents: false, ..root("/srv", true) };
        assert_eq!(normal(vec![quick, root("/srv/x", false)]), vec![root("/srv", true)]);
    }
}
