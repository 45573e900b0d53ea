//! Files below the root: resolved by the kernel, replaced by rename, never followed at the last component.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::super::{Attributes, FileType, Meta, temporary_name};
use super::attributes::{self, apply, apply_to_link};
use super::refusal::explain;
use super::sparse;
use crate::fault::{Fault, FaultCode};
use crate::protocol::facts::Space;

type Result<T> = std::result::Result<T, Fault>;

/// Who owns what in a sandbox, where an ordinary user cannot `chown`: path -> (uid, gid). Paths that are not named
/// belong to root.
#[derive(Debug)]
pub(super) struct Owners {
    file: PathBuf,
    map: BTreeMap<String, (u32, u32)>,
}

impl Owners {
    pub(super) fn load(state: &Path) -> Result<Owners> {
        let file = state.join("sandbox-owners.json");
        let map = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| Fault::new(FaultCode::Corrupt, format!("read {}: {e}", file.display())))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(Fault::path("read", &file, &e)),
        };
        Ok(Owners { file, map })
    }

    fn of(&self, path: &Path) -> (u32, u32) {
        self.map.get(&*path.to_string_lossy()).copied().unwrap_or((0, 0))
    }

    fn set(&mut self, path: &Path, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let old = self.of(path);
        let new = (uid.unwrap_or(old.0), gid.unwrap_or(old.1));
        if new == old {
            return Ok(());
        }
        self.map.insert(path.to_string_lossy().into_owned(), new);
        self.save()
    }

    fn forget(&mut self, path: &Path) -> Result<()> {
        if self.map.remove(&*path.to_string_lossy()).is_none() {
            return Ok(());
        }
        self.save()
    }

    /// A tree is gone, or has another name.
    pub(super) fn moved(&mut self, from: &str, to: Option<&str>) -> Result<()> {
        let named = |path: &str| path == from || path.strip_prefix(from).is_some_and(|rest| rest.starts_with('/'));
        let known: Vec<String> = self.map.keys().filter(|path| named(path)).cloned().collect();
        if known.is_empty() {
            return Ok(());
        }
        for path in known {
            if let (Some(owner), Some(to)) = (self.map.remove(&path), to) {
                self.map.insert(format!("{to}{}", &path[from.len()..]), owner);
            }
        }
        self.save()
    }

    /// In one go: agents that only look read it without the lock.
    fn save(&self) -> Result<()> {
        let text = serde_json::to_vec(&self.map).unwrap_or_default();
        let new = self.file.with_extension("new");
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &self.file));
        written.map_err(|e| Fault::path("write", &self.file, &e))
    }
}

pub(super) fn lstat(root: &OwnedFd, path: &Path, owners: Option<&Owners>) -> Result<Option<Meta>> {
    let fault = |e: Errno| Fault::path("look at", path, &e.into());
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match resolve(root, path, flags) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(e) => return Err(fault(e)),
    };
    let stat = rustix::fs::fstat(&fd).map_err(fault)?;
    let file_type = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::RegularFile => FileType::File,
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        _ => FileType::Other,
    };
    let xattrs = match file_type {
        FileType::File | FileType::Directory => attributes::xattrs(&attributes::of(&fd)).map_err(fault)?,
        FileType::Symlink => {
            let (parent, name) = parent(root, path)?;
            attributes::xattrs(&attributes::entry(&parent, name)).map_err(fault)?
        }
        FileType::Other => BTreeMap::new(),
    };
    let (uid, gid) = owners.map_or((stat.st_uid, stat.st_gid), |o| o.of(path));
    Ok(Some(Meta {
        file_type,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        inode: (file_type == FileType::File && stat.st_nlink > 1).then_some(stat.st_ino),
        attributes: Attributes {
            mode: Some(stat.st_mode & 0o7777),
            uid: Some(uid),
            gid: Some(gid),
            mtime: Some((stat.st_mtime as i64, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))),
            xattrs: Some(xattrs),
            sparse: Some(file_type == FileType::File && sparse::is_sparse(&fd, &stat)),
        },
    }))
}

pub(super) fn read_dir(root: &OwnedFd, path: &Path) -> Result<Vec<OsString>> {
    let fault = |e: Errno| Fault::path("list", path, &e.into());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = resolve(root, path, flags).map_err(fault)?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&fd).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Opens the directory at `path`, or else the one that `path` is in, so that its file system can be synced.
pub(super) fn open_dir(root: &OwnedFd, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let above = path.parent().unwrap_or(path);
    let opened = resolve(root, path, flags | OFlags::NOFOLLOW).or_else(|_| resolve(root, above, flags));
    opened.map_err(|e| Fault::path("open directory", above, &e.into()))
}

pub(super) fn space(root: &OwnedFd, path: &Path) -> Result<Space> {
    let fault = |e: Errno| Fault::path("ask for the free space of", path, &e.into());
    let fd = resolve(root, path, OFlags::PATH | OFlags::CLOEXEC).map_err(fault)?;
    let stat = rustix::fs::fstatvfs(&fd).map_err(fault)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Space { size_bytes: bytes(stat.f_blocks), free_bytes: bytes(stat.f_bavail) })
}

pub(super) fn open(root: &OwnedFd, path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    resolve(root, path, flags).map(File::from).map_err(|e| Fault::path("open", path, &e.into()))
}

pub(super) fn read_link(root: &OwnedFd, path: &Path) -> Result<PathBuf> {
    let fault = |e: Errno| Fault::path("read link", path, &e.into());
    let (parent, name) = parent(root, path)?;
    let target = rustix::fs::readlinkat(&parent, name, Vec::new()).map_err(fault)?;
    Ok(PathBuf::from(OsString::from(OsStr::from_bytes(target.to_bytes()))))
}

pub(super) fn write(
    root: &OwnedFd,
    path: &Path,
    content: &mut dyn Read,
    meta: &Attributes,
    owners: Option<&mut Owners>,
) -> Result<()> {
    let fault = refused("write", root, path);
    let (parent, name) = parent(root, path)?;
    let temporary = temporary_name(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Leftovers of an agent that died here are ours by their name.
    let _ = rustix::fs::unlinkat(&parent, &temporary, AtFlags::empty());
    let fd = rustix::fs::openat(&parent, &temporary, flags, Mode::from_raw_mode(0o600)).map_err(|e| fault(e.into()))?;
    let mut file = File::from(fd);
    let mut written = || -> io::Result<()> {
        if meta.sparse == Some(true) {
            sparse::copy(content, &mut file)?;
        } else {
            io::copy(content, &mut file)?;
        }
        apply(file.as_fd(), meta, owners.is_some())?;
        rustix::fs::renameat(&parent, &temporary, &parent, name)?;
        Ok(())
    };
    written().map_err(|e| {
        let _ = rustix::fs::unlinkat(&parent, &temporary, AtFlags::empty());
        fault(e)
    })?;
    own(owners, path, meta)
}

pub(super) fn make_dir(root: &OwnedFd, path: &Path, meta: &Attributes, owners: Option<&mut Owners>) -> Result<()> {
    let fault = refused("make directory", root, path);
    let (parent, name) = parent(root, path)?;
    rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o700)).map_err(|e| fault(e.into()))?;
    set_attributes(root, path, meta, owners)
}

pub(super) fn symlink(
    root: &OwnedFd,
    path: &Path,
    target: &Path,
    meta: &Attributes,
    owners: Option<&mut Owners>,
) -> Result<()> {
    let fault = refused("make link", root, path);
    let (parent, name) = parent(root, path)?;
    let temporary = temporary_name(name);
    let _ = rustix::fs::unlinkat(&parent, &temporary, AtFlags::empty());
    rustix::fs::symlinkat(target, &parent, &temporary).map_err(|e| fault(e.into()))?;
    let made = apply_to_link(&parent, &temporary, meta, owners.is_some())
        .and_then(|()| Ok(rustix::fs::renameat(&parent, &temporary, &parent, name)?));
    made.map_err(|e| {
        let _ = rustix::fs::unlinkat(&parent, &temporary, AtFlags::empty());
        fault(e)
    })?;
    own(owners, path, meta)
}

pub(super) fn set_attributes(
    root: &OwnedFd,
    path: &Path,
    meta: &Attributes,
    owners: Option<&mut Owners>,
) -> Result<()> {
    let fault = refused("set metadata of", root, path);
    let is_link = lstat(root, path, None)?.is_some_and(|m| m.file_type == FileType::Symlink);
    if is_link {
        let (parent, name) = parent(root, path)?;
        apply_to_link(&parent, name, meta, owners.is_some()).map_err(fault)?;
    } else {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = resolve(root, path, flags).map_err(|e| fault(e.into()))?;
        apply(fd.as_fd(), meta, owners.is_some()).map_err(fault)?;
    }
    own(owners, path, meta)
}

pub(super) fn remove(root: &OwnedFd, path: &Path, owners: Option<&mut Owners>) -> Result<()> {
    let fault = refused("remove", root, path);
    let (parent, name) = parent(root, path)?;
    let removed = match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR),
        other => other,
    };
    removed.map_err(|e| fault(e.into()))?;
    owners.map_or(Ok(()), |o| o.forget(path))
}

/// Removes a temporary name beside `path`; says whether there was one.
pub(super) fn sweep(root: &OwnedFd, path: &Path) -> Result<bool> {
    let Ok((parent, name)) = parent(root, path) else { return Ok(false) };
    match rustix::fs::unlinkat(&parent, temporary_name(name), AtFlags::empty()) {
        Ok(()) => Ok(true),
        // Where nothing can be changed we have changed nothing (and a full stop here would leave a host stuck).
        Err(Errno::NOENT | Errno::ROFS) => Ok(false),
        Err(e) => Err(refused("clear up beside", root, path)(e.into())),
    }
}

/// Makes faults of errors at `path`.
fn refused<'a>(verb: &'a str, root: &'a OwnedFd, path: &'a Path) -> impl Fn(io::Error) -> Fault + Copy + 'a {
    move |error| {
        let fault = Fault::path(verb, path, &error);
        Errno::from_io_error(&error).map_or(fault.clone(), |e| explain(fault, e, root, path))
    }
}

pub(super) fn resolve(root: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Opens the directory that holds `path`; gives it with the last component.
pub(super) fn parent<'a>(root: &OwnedFd, path: &'a Path) -> Result<(OwnedFd, &'a OsStr)> {
    let (Some(dir), Some(Component::Normal(name))) = (path.parent(), path.components().next_back()) else {
        return Err(Fault::new(FaultCode::Invalid, format!("{} cannot be changed", path.display())));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = resolve(root, dir, flags).map_err(|e| {
        let fault = Fault::path("open directory", dir, &e.into());
        if e == Errno::NOENT { fault.hint("declare a `directory` resource for it before this one") } else { fault }
    })?;
    Ok((fd, name))
}

fn own(owners: Option<&mut Owners>, path: &Path, meta: &Attributes) -> Result<()> {
    owners.map_or(Ok(()), |o| o.set(path, meta.uid, meta.gid))
}
