//! Hard links between the host's files and the state directory: a file that has several names is put back as the very
//! inode that the other names still mean.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, OFlags};
use rustix::io::Errno;

use super::super::temporary_name;
use super::files::{self, parent, resolve};
use super::{attributes, refusal, state};
use crate::fault::Fault;

/// Links the file at `path` as `name` into the state directory; `false` if they are on different file systems.
pub(super) fn keep(
    root: &rustix::fd::OwnedFd,
    path: &Path,
    state: &state::StateDir,
    name: &str,
) -> Result<bool, Fault> {
    let fault = |e: Errno| Fault::path("keep a hard link to", path, &e.into());
    let fd = resolve(root, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC).map_err(fault)?;
    let to = state.place(name)?;
    match rustix::fs::linkat(CWD, attributes::of(&fd).path, CWD, &to, AtFlags::SYMLINK_FOLLOW) {
        // What has this name was kept by an earlier step, and is the same: its number is taken as long as it is there.
        Ok(()) | Err(Errno::EXIST) => Ok(true),
        Err(Errno::XDEV) => Ok(false),
        Err(e) => Err(refusal::explain(fault(e), e, root, path)),
    }
}

/// Makes `path` a name of what was kept as `name`.
pub(super) fn restore(
    state: &state::StateDir,
    name: &str,
    root: &rustix::fd::OwnedFd,
    path: &Path,
) -> Result<(), Fault> {
    let fault = |e: Errno| Fault::path("put back the hard link", path, &e.into());
    files::sweep(root, path)?;
    let (directory, last) = parent(root, path)?;
    let temporary = temporary_name(last);
    let kept = state.place(name)?;
    let linked = rustix::fs::linkat(CWD, kept, &directory, &temporary, AtFlags::empty())
        .and_then(|()| rustix::fs::renameat(&directory, &temporary, &directory, last));
    // Between two names of one file, rename(2) does nothing, and the temporary name stays.
    let _ = rustix::fs::unlinkat(&directory, &temporary, AtFlags::empty());
    linked.map_err(|e| refusal::explain(fault(e), e, root, path))
}
