//! What stands at a path, as a state that can be put back: nothing, a file, a directory or a symbolic link, each with
//! all of its metadata. Shared by `file`, `directory`, `symlink` and `tree`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::owner::Database;
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::host::{Attributes, FileType};
use crate::resource::Cx;

/// Text of at most this many bytes is shown in diffs.
const PREVIEW_MAX: u64 = 64 << 10;

/// Whether a path shall be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It is there as described.
    #[default]
    Present,
    /// Nothing is there.
    Absent,
}

/// Permission bits, written in octal: `"0644"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-7]{3,4}$"))]
pub struct Mode(pub u32);

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Mode, String> {
        let octal = (3..=4).contains(&text.len()).then(|| u32::from_str_radix(&text, 8).ok()).flatten();
        octal.map(Mode).ok_or_else(|| format!("`{text}` is no mode: write three or four octal digits, e.g. \"0644\""))
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> String {
        format!("{:04o}", mode.0)
    }
}

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
        target: PathBuf,
        /// Owner name (or number).
        owner: String,
        /// Group name (or number).
        group: String,
    },
    /// A device, socket or pipe: never touched.
    Other,
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Owned {
    /// Permission bits.
    pub mode: Mode,
    /// Owner name (or number).
    pub owner: String,
    /// Group name (or number).
    pub group: String,
    /// Extended attributes, ACLs included: name to value in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
}

impl Owned {
    /// What a new file or directory gets where the spec is silent.
    pub fn new(mode: u32) -> Owned {
        Owned { mode: Mode(mode), owner: "root".into(), group: "root".into(), xattrs: BTreeMap::new() }
    }

    /// With what a spec asks for.
    #[must_use]
    pub fn with(mut self, mode: Option<Mode>, owner: Option<&String>, group: Option<&String>) -> Owned {
        self.mode = mode.unwrap_or(self.mode);
        self.owner = owner.cloned().unwrap_or(self.owner);
        self.group = group.cloned().unwrap_or(self.group);
        self
    }

    fn attributes(&self, cx: &mut Cx<'_>) -> Result<Attributes, Fault> {
        let xattrs = self.xattrs.iter().map(|(k, v)| Ok((k.clone(), from_hex(v)?))).collect::<Result<_, Fault>>()?;
        Ok(Attributes {
            mode: Some(self.mode.0),
            uid: Some(Database::User.id(&self.owner, cx.host)?),
            gid: Some(Database::Group.id(&self.group, cx.host)?),
            mtime: None,
            xattrs: Some(xattrs),
        })
    }
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
        if meta.file_type == FileType::Symlink {
            return Ok(Node::Symlink { target: cx.host.read_link(path)?, owner, group });
        }
        let xattrs = at.xattrs.iter().flatten().map(|(k, v)| (k.clone(), to_hex(v))).collect();
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
                Ok(Node::File { digest, size, owned, mtime: at.mtime })
            }
            FileType::Symlink | FileType::Other => Ok(Node::Other),
        }
    }

    /// Makes `path` be `self`, coming from `now`.
    ///
    /// # Errors
    /// `Conflict` for devices and for directories that are not empty; otherwise those of the host.
    pub fn put(&self, path: &Path, now: &Node, cx: &mut Cx<'_>) -> Result<(), Fault> {
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
            Node::Symlink { target, owner, group } => {
                let attributes = Attributes {
                    uid: Some(Database::User.id(owner, cx.host)?),
                    gid: Some(Database::Group.id(group, cx.host)?),
                    ..Attributes::default()
                };
                match now {
                    Node::Symlink { target: have, .. } if have == target => cx.host.set_attributes(path, &attributes),
                    _ => cx.host.symlink(path, target, &attributes),
                }
            }
            Node::File { digest, owned, mtime, .. } => {
                let attributes = Attributes { mtime: *mtime, ..owned.attributes(cx)? };
                match now {
                    Node::File { digest: have, .. } if have == digest => cx.host.set_attributes(path, &attributes),
                    _ => {
                        let mut content = cx.content(digest)?;
                        cx.host.write(path, &mut content, &attributes)
                    }
                }
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
        match (self, to) {
            (Node::File { digest, .. }, Node::File { digest: new, .. }) if digest == new => Ok(()),
            (Node::File { digest, .. }, _) => cx.keep(path, digest),
            _ => Ok(()),
        }
    }

    /// Whether it is the same but for the time of a file.
    pub fn alike(&self, other: &Node) -> bool {
        let timeless = |node: &Node| match node.clone() {
            Node::File { digest, size, owned, .. } => Node::File { digest, size, owned, mtime: None },
            node => node,
        };
        timeless(self) == timeless(other)
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
                let message = format!("{} is a directory that is not empty", path.display());
                Err(Fault::new(FaultCode::Conflict, message).hint("move its entries away first, or manage them"))
            }
            _ => Ok(()),
        }
    }
}

/// What is wrong with a path in a spec, if anything.
pub(crate) fn path_problem(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return Some(format!("path `{path}` is relative: write it from `/`"));
    }
    if path.split('/').any(|part| part == ".." || part == ".") {
        return Some(format!("path `{path}` has `.` or `..` in it: write it out"));
    }
    if path == "/" || path.ends_with('/') || path.contains("//") || path.contains('\0') {
        return Some(format!("path `{path}` must name one entry, without `//`, a trailing `/` or NUL"));
    }
    None
}

fn other(path: &Path) -> Fault {
    let message = format!("{} is a device, socket or pipe, which is never replaced", path.display());
    Fault::new(FaultCode::Conflict, message)
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn from_hex(text: &str) -> Result<Vec<u8>, Fault> {
    let bad = || Fault::new(FaultCode::Corrupt, format!("`{text}` is not hexadecimal"));
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()
        .ok_or_else(bad)?;
    if !digits.len().is_multiple_of(2) {
        return Err(bad());
    }
    Ok(digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect())
}
