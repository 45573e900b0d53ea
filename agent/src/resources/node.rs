//! What stands at a path, as a state that can be put back: nothing, a file, a directory or a symbolic link, each with
//! all of its metadata. Shared by `file`, `directory`, `symlink` and `tree`.

mod acl;
mod metadata;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::owner::Database;
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode, shown};
use crate::host::{Attributes, FileType};
use crate::resource::Cx;

pub use metadata::{Mode, Owned, Presence, Xattrs};
pub(crate) use metadata::{path_problem, to_hex};

/// Text of at most this many bytes is shown in diffs.
const PREVIEW_MAX: u64 = 64 << 10;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Node {
    /// Nothing.
    Absent,
    /// A regular file.
    File {
        /// Digest of the content.
        digest: Digest,
        /// Length in bytes.
        size: u64,
        /// Metadata.
        #[serde(flatten)]
        owned: Owned,
        /// Modification time; `None` in a wanted state means whatever writing results in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mtime: Option<(i64, u32)>,
        /// It has holes.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        sparse: bool,
        /// The inode that it shares with other names (hard links); `None` if it has only this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hard_link: Option<u64>,
    },
    /// A directory; its entries are not part of the state.
    Directory {
        /// Metadata.
        #[serde(flatten)]
        owned: Owned,
    },
    /// A symbolic link.
    Symlink {
        /// Target as it stands.
        #[serde(serialize_with = "metadata::write_path", deserialize_with = "metadata::read_path")]
        target: PathBuf,
        /// Owner name (or number).
        owner: String,
        /// Group name (or number).
        group: String,
        /// Extended attributes, a label above all; users cannot give a link any.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        xattrs: Xattrs,
        /// Modification time; `None` in a wanted state means whatever making it results in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mtime: Option<(i64, u32)>,
    },
    /// A device, socket or pipe: never touched.
    Other,
}

impl Node {
    /// Reads what stands at a path, the digest of a file's content included.
    ///
    /// # Errors
    /// Those of the host.
    pub fn get(path: &Path, cx: &mut Cx<'_>) -> Result<Node, Fault> {
        Node::look(path, None, cx)
    }

    /// The same, but takes `known` for the content of a file whose size and time it names (a quick look, as rsync(1)
    /// does it).
    ///
    /// # Errors
    /// Those of the host.
    pub fn look(path: &Path, known: Option<&Node>, cx: &mut Cx<'_>) -> Result<Node, Fault> {
        let Some(meta) = cx.host.lstat(path)? else { return Ok(Node::Absent) };
        let at = &meta.attributes;
        let owner = Database::User.name(at.uid.unwrap_or(0), cx.host)?;
        let group = Database::Group.name(at.gid.unwrap_or(0), cx.host)?;
        let xattrs = metadata::text(at.xattrs.as_ref());
        if meta.file_type == FileType::Symlink {
            return Ok(Node::Symlink { target: cx.host.read_link(path)?, owner, group, xattrs, mtime: at.mtime });
        }
        let owned = Owned { mode: Mode(at.mode.unwrap_or(0)), owner, group, xattrs };
        match meta.file_type {
            FileType::Directory => Ok(Node::Directory { owned }),
            FileType::File => {
                let trusted = match known {
                    Some(Node::File { digest, size, mtime, .. }) if *size == meta.size && *mtime == at.mtime => {
                        Some((digest.clone(), *size))
                    }
                    _ => None,
                };
                let (digest, size) = match trusted {
                    Some(known) => known,
                    None => {
                        let mut reader = cx.host.open(path)?;
                        Digest::of_reader(&mut reader).map_err(|e| Fault::path("read", path, &e))?
                    }
                };
                let (sparse, hard_link) = (at.sparse.unwrap_or(false), meta.inode);
                Ok(Node::File { digest, size, owned, mtime: at.mtime, sparse, hard_link })
            }
            FileType::Symlink | FileType::Other => Ok(Node::Other),
        }
    }

    /// A file of this content and metadata, coming from `self`: where the content stays, its time, holes and other names
    /// do, too; otherwise it is a new file.
    #[must_use]
    pub fn rewritten(&self, digest: &Digest, size: u64, owned: Owned) -> Node {
        let (mtime, sparse, hard_link) = match self {
            Node::File { digest: have, mtime, sparse, hard_link, .. } if have == digest => {
                (*mtime, *sparse, *hard_link)
            }
            _ => (None, false, None),
        };
        Node::File { digest: digest.clone(), size, owned, mtime, sparse, hard_link }
    }

    /// A link to `target`, coming from `self`: one that is there keeps owner, label and, if it stays, time.
    #[must_use]
    pub fn relinked(&self, target: PathBuf) -> Node {
        match self {
            Node::Symlink { target: have, owner, group, xattrs, mtime } => {
                let mtime = mtime.filter(|_| *have == target);
                Node::Symlink { target, owner: owner.clone(), group: group.clone(), xattrs: xattrs.clone(), mtime }
            }
            _ => {
                Node::Symlink { target, owner: "root".into(), group: "root".into(), xattrs: Xattrs::new(), mtime: None }
            }
        }
    }

    /// Makes `path` be `self`, coming from `now`.
    ///
    /// # Errors
    /// `Conflict` for devices and for directories that are not empty; otherwise those of the host.
    pub fn put(&self, path: &Path, now: &Node, cx: &mut Cx<'_>) -> Result<(), Fault> {
        // An agent that was killed half-way may have left something beside it.
        cx.host.sweep(path)?;
        if self == now {
            return Ok(());
        }
        now.removable(self, path, cx)?;
        let directory = |node: &Node| matches!(node, Node::Directory { .. });
        if directory(now) != directory(self) && *now != Node::Absent {
            cx.host.remove(path)?;
        }
        match self {
            Node::Absent if directory(now) || *now == Node::Absent => Ok(()),
            Node::Absent => cx.host.remove(path),
            Node::Directory { owned } => {
                let attributes = owned.attributes(cx)?;
                if directory(now) {
                    cx.host.set_attributes(path, &attributes)
                } else {
                    cx.host.make_dir(path, &attributes)
                }
            }
            Node::Symlink { target, owner, group, xattrs, mtime } => {
                let attributes = Attributes {
                    uid: Some(Database::User.id(owner, cx.host)?),
                    gid: Some(Database::Group.id(group, cx.host)?),
                    mtime: *mtime,
                    xattrs: Some(metadata::bytes(xattrs)?),
                    ..Attributes::default()
                };
                match now {
                    Node::Symlink { target: have, .. } if have == target => cx.host.set_attributes(path, &attributes),
                    _ => cx.host.symlink(path, target, &attributes),
                }
            }
            Node::File { digest, owned, mtime, sparse, hard_link, .. } => {
                let attributes = Attributes { mtime: *mtime, sparse: Some(*sparse), ..owned.attributes(cx)? };
                let stays = matches!(now, Node::File { digest: have, .. } if have == digest);
                let regrouped = matches!(now, Node::File { hard_link: have, .. } if have != hard_link);
                match hard_link {
                    Some(inode) if !stays || regrouped => cx.restore_inode(*inode, path)?,
                    _ if stays && (!sparse || matches!(now, Node::File { sparse: true, .. })) => {}
                    _ => {
                        let mut content = if stays { cx.host.open(path)? } else { cx.content(digest)? };
                        return cx.host.write(path, &mut content, &attributes);
                    }
                }
                cx.host.set_attributes(path, &attributes)
            }
            Node::Other => Err(other(path)),
        }
    }

    /// Keeps what `put(self)` will need once `to` stands there, and refuses what could not be undone.
    ///
    /// # Errors
    /// As for [`Node::put`]; `NoSpace` if the content cannot be kept.
    pub fn keep(&self, path: &Path, to: &Node, cx: &mut Cx<'_>) -> Result<(), Fault> {
        self.removable(to, path, cx)?;
        let Node::File { digest, hard_link, .. } = self else { return Ok(()) };
        let stays = matches!(to, Node::File { digest: new, .. } if new == digest);
        match hard_link {
            // Others may give the path another inode of the same content before an undo.
            Some(inode) if cx.keep_inode(path, *inode)? || stays => Ok(()),
            None if stays => Ok(()),
            None => cx.keep(path, digest),
            Some(_) => {
                cx.keep(path, digest)?;
                let path = shown(path);
                let message =
                    format!("{path} shares its file with other names (hard links), which could not be undone");
                let hint = "remove the other names, or put the agent's directory on the same file system";
                Err(Fault::new(FaultCode::Irreversible, message).hint(hint))
            }
        }
    }

    /// Whether it is the same but for times, holes and further names: what nobody would call somebody's work.
    pub fn alike(&self, other: &Node) -> bool {
        let plain = |node: &Node| {
            let mut node = node.clone();
            match &mut node {
                Node::File { mtime, sparse, hard_link, .. } => (*mtime, *sparse, *hard_link) = (None, false, None),
                Node::Symlink { mtime, .. } => *mtime = None,
                _ => {}
            }
            node
        };
        plain(self) == plain(other)
    }

    /// Whether `now` is what undo promises, for a path where this was: a file that others have given a further name, or
    /// that takes less room than before, is no worse for it.
    pub fn same(&self, now: &Node) -> bool {
        let mut as_before = now.clone();
        if let (Node::File { sparse, hard_link, .. }, Node::File { sparse: holes, hard_link: shared, .. }) =
            (self, &mut as_before)
        {
            *holes &= *sparse;
            *shared = shared.filter(|_| hard_link.is_some());
        }
        *self == as_before
    }

    /// The content that putting this needs.
    pub fn contents(&self) -> Vec<Digest> {
        match self {
            Node::File { digest, .. } => vec![digest.clone()],
            _ => Vec::new(),
        }
    }

    /// The content as text, if it is small.
    pub fn preview(&self, path: &Path, cx: &mut Cx<'_>) -> Option<String> {
        let Node::File { size, .. } = self else { return None };
        if *size > PREVIEW_MAX {
            return None;
        }
        let mut text = String::new();
        cx.host.open(path).ok()?.take(PREVIEW_MAX).read_to_string(&mut text).ok()?;
        (!text.contains('\0')).then_some(text)
    }

    fn removable(&self, to: &Node, path: &Path, cx: &mut Cx<'_>) -> Result<(), Fault> {
        match (self, to) {
            (Node::Other, _) => Err(other(path)),
            (Node::Directory { .. }, Node::Directory { .. }) => Ok(()),
            (Node::Directory { .. }, _) if !cx.host.read_dir(path)?.is_empty() => {
                let message = format!("{} is a directory that is not empty", shown(path));
                Err(Fault::new(FaultCode::Conflict, message).hint("move its entries away first, or manage them"))
            }
            _ => Ok(()),
        }
    }
}

fn other(path: &Path) -> Fault {
    let message = format!("{} is a device, socket or pipe, which is never replaced", shown(path));
    Fault::new(FaultCode::Conflict, message)
}
