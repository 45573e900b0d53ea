//! Metadata of what is open: owner, mode, extended attributes (ACLs, capabilities and labels are among them), time.
//!
//! Links are reached by `/proc/self/fd/DIRECTORY/NAME`, because an `O_PATH` descriptor of one has no other way.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use super::super::Attributes;

/// Bound of one extended attribute, from xattr(7).
const XATTR_MAX: usize = 64 << 10;

/// Sets metadata of a file or directory that is open for reading. Owner first: chown(2) clears setuid bits and
/// capabilities; time last: the rest changes it.
pub(super) fn apply(fd: BorrowedFd<'_>, meta: &Attributes, sandbox: bool) -> io::Result<()> {
    if !sandbox && (meta.uid.is_some() || meta.gid.is_some()) {
        let stat = rustix::fs::fstat(fd)?;
        let differs = meta.uid.is_some_and(|u| u != stat.st_uid) || meta.gid.is_some_and(|g| g != stat.st_gid);
        if differs {
            rustix::fs::fchown(fd, meta.uid.map(Uid::from_raw), meta.gid.map(Gid::from_raw))?;
        }
    }
    if let Some(mode) = meta.mode {
        rustix::fs::fchmod(fd, Mode::from_raw_mode(mode))?;
    }
    set_xattrs(&of(fd), meta)?;
    if let Some(times) = times(meta) {
        rustix::fs::futimens(fd, &times)?;
    }
    Ok(())
}

/// Sets metadata of the link `name` in `parent`; Linux keeps no mode of links.
pub(super) fn apply_to_link(parent: &OwnedFd, name: &OsStr, meta: &Attributes, sandbox: bool) -> io::Result<()> {
    if !sandbox && (meta.uid.is_some() || meta.gid.is_some()) {
        let (uid, gid) = (meta.uid.map(Uid::from_raw), meta.gid.map(Gid::from_raw));
        rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    set_xattrs(&entry(parent, name), meta)?;
    if let Some(times) = times(meta) {
        rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// The path of what is open; it does not end in a link, and following its last component leads to the file itself.
pub(super) fn of(fd: impl AsFd) -> Place {
    Place { path: format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()).into(), follow: true }
}

/// The path of an entry of an open directory.
pub(super) fn entry(parent: &OwnedFd, name: &OsStr) -> Place {
    let Place { path, .. } = of(parent);
    Place { path: path.join(name), follow: false }
}

/// How xfs stores access lists, which it lists a second time under their proper names, `system.posix_acl_*`
/// (`fs/xfs/xfs_acl.h`).
const XFS_ACL: &str = "trusted.SGI_ACL_";

/// A path of which extended attributes are read and set.
pub(super) struct Place {
    pub(super) path: PathBuf,
    follow: bool,
}

/// All extended attributes.
pub(super) fn xattrs(place: &Place) -> rustix::io::Result<BTreeMap<String, Vec<u8>>> {
    let path = &place.path;
    let list = |names: &mut [u8]| match place.follow {
        true => rustix::fs::listxattr(path, names),
        false => rustix::fs::llistxattr(path, names),
    };
    let mut names = Vec::with_capacity(256);
    let listed = loop {
        names.resize(names.capacity(), 0);
        match list(&mut names[..]) {
            Ok(n) => break n,
            Err(Errno::RANGE) if names.len() < XATTR_MAX => names.reserve(names.len() * 2),
            Err(Errno::NOTSUP | Errno::NOENT) => break 0,
            Err(e) => return Err(e),
        }
    };
    names.truncate(listed);
    let mut found = BTreeMap::new();
    for name in names.split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        if name.starts_with(XFS_ACL) {
            continue;
        }
        let mut value = vec![0; XATTR_MAX];
        let n = match place.follow {
            true => rustix::fs::getxattr(path, name, &mut value[..])?,
            false => rustix::fs::lgetxattr(path, name, &mut value[..])?,
        };
        value.truncate(n);
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}

fn set_xattrs(place: &Place, meta: &Attributes) -> rustix::io::Result<()> {
    let Some(wanted) = &meta.xattrs else { return Ok(()) };
    let (path, have) = (&place.path, xattrs(place)?);
    for name in have.keys().filter(|name| !wanted.contains_key(*name)) {
        let removed = match place.follow {
            true => rustix::fs::removexattr(path, name),
            false => rustix::fs::lremovexattr(path, name),
        };
        match removed {
            // Where SELinux is on, everything has a label: a new file keeps the one that its policy gives it
            // (`selinux_inode_removexattr` of the kernel refuses with EACCES). Elsewhere it is like any other.
            Err(Errno::ACCESS) if name == "security.selinux" => {}
            other => other?,
        }
    }
    for (name, value) in wanted.iter().filter(|(name, value)| have.get(*name) != Some(value)) {
        match place.follow {
            true => rustix::fs::setxattr(path, name, value, XattrFlags::empty())?,
            false => rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())?,
        }
    }
    Ok(())
}

fn times(meta: &Attributes) -> Option<Timestamps> {
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let (tv_sec, tv_nsec) = meta.mtime?;
    Some(Timestamps { last_access: omit, last_modification: Timespec { tv_sec, tv_nsec: tv_nsec.into() } })
}
