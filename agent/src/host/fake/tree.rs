//! The fake's file system: paths resolved through links as path_resolution(7) says, replaced atomically.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::super::{Attributes, FileType, Meta};
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};

type Result<T> = std::result::Result<T, Fault>;

/// Links that are followed in one path, from path_resolution(7).
const MAX_LINKS: u32 = 40;

/// A whole file system, by resolved path.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) nodes: BTreeMap<PathBuf, Node>,
    /// Inodes that have a name in the agent's state directory, which may be their only one by now.
    pub(super) kept: BTreeMap<i64, Node>,
    pub(super) clock: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Names with the same number are hard links to one file.
    pub(super) inode: i64,
    pub(super) body: Body,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, u32),
    pub(super) xattrs: BTreeMap<String, Vec<u8>>,
    /// Has holes; of the fake, no more than a mark.
    pub(super) sparse: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    File(Vec<u8>),
    Directory,
    Symlink(PathBuf),
    Other,
}

impl Default for Tree {
    fn default() -> Tree {
        let mut tree = Tree { nodes: BTreeMap::new(), kept: BTreeMap::new(), clock: 1_700_000_000 };
        let root = tree.node(Body::Directory, 0o755, &Attributes::default());
        tree.nodes.insert(PathBuf::from("/"), root);
        tree
    }
}

impl Tree {
    pub(super) fn lstat(&self, path: &Path) -> Result<Option<Meta>> {
        let Ok(path) = self.resolve(path) else { return Ok(None) };
        let Some(node) = self.nodes.get(&path) else { return Ok(None) };
        let (file_type, size) = match &node.body {
            Body::File(bytes) => (FileType::File, bytes.len()),
            Body::Directory => (FileType::Directory, 4096),
            Body::Symlink(target) => (FileType::Symlink, target.as_os_str().len()),
            Body::Other => (FileType::Other, 0),
        };
        let attributes = Attributes {
            mode: Some(node.mode),
            uid: Some(node.uid),
            gid: Some(node.gid),
            mtime: Some(node.mtime),
            xattrs: Some(node.xattrs.clone()),
            sparse: Some(node.sparse),
        };
        let inode = u64::try_from(node.inode).ok().filter(|_| self.is_shared(node));
        Ok(Some(Meta { file_type, size: size as u64, inode, attributes }))
    }

    pub(super) fn read_dir(&self, path: &Path) -> Result<Vec<OsString>> {
        let path = self.resolve(path)?;
        match self.nodes.get(&path).map(|n| &n.body) {
            Some(Body::Directory) => {}
            Some(_) => return Err(fault(FaultCode::Conflict, "list", &path, "not a directory")),
            None => return Err(fault(FaultCode::NotFound, "list", &path, "no such directory")),
        }
        let children = self.nodes.keys().filter(|p| p.parent() == Some(&path));
        Ok(children.filter_map(|p| p.file_name().map(ToOwned::to_owned)).collect())
    }

    pub(super) fn content(&self, path: &Path) -> Result<Vec<u8>> {
        let path = self.resolve(path)?;
        match self.nodes.get(&path).map(|n| &n.body) {
            Some(Body::File(bytes)) => Ok(bytes.clone()),
            Some(_) => Err(fault(FaultCode::Conflict, "open", &path, "not a regular file")),
            None => Err(fault(FaultCode::NotFound, "open", &path, "no such file")),
        }
    }

    pub(super) fn read_link(&self, path: &Path) -> Result<PathBuf> {
        let path = self.resolve(path)?;
        match self.nodes.get(&path).map(|n| &n.body) {
            Some(Body::Symlink(target)) => Ok(target.clone()),
            _ => Err(fault(FaultCode::Conflict, "read link", &path, "not a link")),
        }
    }

    pub(super) fn write(&mut self, path: &Path, bytes: Vec<u8>, meta: &Attributes) -> Result<()> {
        self.replace("write", path, Body::File(bytes), 0o600, meta)
    }

    pub(super) fn symlink(&mut self, path: &Path, target: &Path, meta: &Attributes) -> Result<()> {
        self.replace("make link", path, Body::Symlink(target.to_owned()), 0o777, meta)
    }

    pub(super) fn make_dir(&mut self, path: &Path, meta: &Attributes) -> Result<()> {
        let path = self.entry("make directory", path)?;
        if self.nodes.contains_key(&path) {
            return Err(fault(FaultCode::Conflict, "make directory", &path, "it exists"));
        }
        let node = self.node(Body::Directory, 0o700, meta);
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Puts a device there, which no resource may touch.
    pub(super) fn device(&mut self, path: &Path) -> Result<()> {
        self.replace("make device", path, Body::Other, 0o600, &Attributes::default())
    }

    pub(super) fn touch(&mut self, path: &Path) -> Result<()> {
        let mtime = self.tick();
        self.set_attributes(path, &Attributes { mtime: Some(mtime), ..Attributes::default() })
    }

    pub(super) fn set_attributes(&mut self, path: &Path, meta: &Attributes) -> Result<()> {
        let path = self.resolve(path)?;
        let missing = || fault(FaultCode::NotFound, "set metadata of", &path, "nothing there");
        let inode = self.nodes.get(&path).ok_or_else(missing)?.inode;
        let names = self.nodes.values_mut().chain(self.kept.values_mut());
        for node in names.filter(|node| node.inode == inode) {
            node.uid = meta.uid.unwrap_or(node.uid);
            node.gid = meta.gid.unwrap_or(node.gid);
            if !matches!(node.body, Body::Symlink(_)) {
                node.mode = meta.mode.unwrap_or(node.mode);
            }
            node.mtime = meta.mtime.unwrap_or(node.mtime);
            if let Some(xattrs) = &meta.xattrs {
                node.xattrs.clone_from(xattrs);
            }
        }
        Ok(())
    }

    /// Makes `new` a further name of the file `old`.
    pub(super) fn hard_link(&mut self, old: &Path, new: &Path) -> Result<()> {
        let inode = self.keep(old)?;
        self.restore(inode, new)?;
        self.kept.remove(&inode);
        Ok(())
    }

    /// Keeps the file at `path` alive whatever happens to its names; returns its number.
    pub(super) fn keep(&mut self, path: &Path) -> Result<i64> {
        let path = self.resolve(path)?;
        let missing = || fault(FaultCode::NotFound, "keep", &path, "nothing there");
        let node = self.nodes.get(&path).ok_or_else(missing)?.clone();
        let inode = node.inode;
        self.kept.insert(inode, node);
        Ok(inode)
    }

    /// Makes `path` a name of a file that was kept.
    pub(super) fn restore(&mut self, inode: i64, path: &Path) -> Result<()> {
        let missing = || fault(FaultCode::NotFound, "put back", path, "its file is gone");
        let node = self.kept.get(&inode).ok_or_else(missing)?.clone();
        let path = self.replaceable("put back", path)?;
        self.nodes.insert(path, node);
        Ok(())
    }

    fn is_shared(&self, node: &Node) -> bool {
        let names = self.nodes.values().chain(self.kept.values()).filter(|other| other.inode == node.inode).count();
        names > 1 && matches!(node.body, Body::File(_))
    }

    pub(super) fn remove(&mut self, path: &Path) -> Result<()> {
        let path = self.entry("remove", path)?;
        if self.nodes.keys().any(|p| p.parent() == Some(&path)) {
            return Err(fault(FaultCode::Conflict, "remove", &path, "directory not empty"));
        }
        match self.nodes.remove(&path) {
            Some(_) => Ok(()),
            None => Err(fault(FaultCode::NotFound, "remove", &path, "nothing there")),
        }
    }

    /// With all that is below it; nothing happens if it is not there.
    pub(super) fn remove_all(&mut self, path: &Path) -> Result<()> {
        let path = self.entry("remove", path)?;
        self.nodes.retain(|p, _| !p.starts_with(&path));
        Ok(())
    }

    /// Gives something, with all that is below it, a name that nothing has.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (self.entry("rename", from)?, self.entry("rename", to)?);
        if self.nodes.contains_key(&to) || !self.nodes.contains_key(&from) {
            return Err(fault(FaultCode::Conflict, "rename", &from, "it is not there, or its new name is taken"));
        }
        let moved: Vec<PathBuf> = self.nodes.keys().filter(|p| p.starts_with(&from)).cloned().collect();
        for old in moved {
            let below = old.strip_prefix(&from).map(Path::to_owned).unwrap_or_default();
            let new = if below.as_os_str().is_empty() { to.clone() } else { to.join(below) };
            if let Some(node) = self.nodes.remove(&old) {
                self.nodes.insert(new, node);
            }
        }
        Ok(())
    }

    pub(super) fn snapshot(&self) -> BTreeMap<String, String> {
        let line = |n: &Node| {
            let own = format!("{:04o} {}:{}", n.mode, n.uid, n.gid);
            match &n.body {
                Body::File(bytes) => {
                    let shared = self.nodes.values().filter(|other| other.inode == n.inode).count() > 1;
                    let stored = (n.sparse, shared.then_some(n.inode));
                    format!("file {own} {:?} {:?} {stored:?} {}", n.mtime, n.xattrs, Digest::of(bytes).short())
                }
                Body::Directory => format!("directory {own} {:?}", n.xattrs),
                Body::Symlink(target) => {
                    format!("symlink {}:{} {:?} {:?} -> {}", n.uid, n.gid, n.mtime, n.xattrs, target.display())
                }
                Body::Other => format!("other {own}"),
            }
        };
        self.nodes.iter().map(|(path, n)| (path.to_string_lossy().into_owned(), line(n))).collect()
    }

    fn replace(&mut self, verb: &str, path: &Path, body: Body, mode: u32, meta: &Attributes) -> Result<()> {
        let path = self.replaceable(verb, path)?;
        let node = self.node(body, mode, meta);
        self.nodes.insert(path, node);
        Ok(())
    }

    fn replaceable(&self, verb: &str, path: &Path) -> Result<PathBuf> {
        let path = self.entry(verb, path)?;
        if matches!(self.nodes.get(&path).map(|n| &n.body), Some(Body::Directory)) {
            return Err(fault(FaultCode::Conflict, verb, &path, "a directory is there"));
        }
        Ok(path)
    }

    fn node(&mut self, body: Body, mode: u32, meta: &Attributes) -> Node {
        let now = self.tick();
        Node {
            inode: now.0,
            sparse: meta.sparse.unwrap_or(false) && matches!(body, Body::File(_)),
            body,
            mode: meta.mode.unwrap_or(mode),
            uid: meta.uid.unwrap_or(0),
            gid: meta.gid.unwrap_or(0),
            mtime: meta.mtime.unwrap_or(now),
            xattrs: meta.xattrs.clone().unwrap_or_default(),
        }
    }

    fn tick(&mut self) -> (i64, u32) {
        self.clock += 1;
        (self.clock, 0)
    }

    /// The resolved path of an entry whose directory must exist.
    fn entry(&self, verb: &str, path: &Path) -> Result<PathBuf> {
        let path = self.resolve(path)?;
        match path.parent().map(|p| (p, self.nodes.get(p).map(|n| &n.body))) {
            Some((_, Some(Body::Directory))) => Ok(path),
            Some((parent, _)) => Err(fault(FaultCode::NotFound, verb, parent, "no such directory")),
            None => Err(fault(FaultCode::Invalid, verb, &path, "it cannot be changed")),
        }
    }

    /// Follows links in all components but the last.
    fn resolve(&self, path: &Path) -> Result<PathBuf> {
        let mut todo: Vec<OsString> = names(path);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            if todo.is_empty() {
                return Ok(next);
            }
            match self.nodes.get(&next).map(|n| &n.body) {
                Some(Body::Directory) => at = next,
                Some(Body::Symlink(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(fault(FaultCode::Io, "resolve", path, "too many links"));
                    }
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    todo.extend(names(target));
                }
                Some(_) => return Err(fault(FaultCode::Conflict, "resolve", path, "not a directory")),
                None => return Err(fault(FaultCode::NotFound, "resolve", path, "no such directory")),
            }
        }
        Ok(at)
    }
}

/// The components, last first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |c: Component<'_>| match c {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

fn fault(code: FaultCode, verb: &str, path: &Path, why: &str) -> Fault {
    let fault = Fault::new(code, format!("{verb} {}: {why}", path.display()));
    if code == FaultCode::NotFound {
        fault.hint("declare a `directory` resource for it before this one")
    } else {
        fault
    }
}
