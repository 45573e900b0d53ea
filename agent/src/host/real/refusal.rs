//! Why the operating system refused a change, where its error number alone does not say: chattr(1) flags.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::files::resolve;
use crate::fault::{Fault, FaultCode};

/// Adds what an operator can do about an error, if we find out.
pub(super) fn explain(fault: Fault, error: Errno, root: &OwnedFd, path: &Path) -> Fault {
    match error {
        Errno::PERM | Errno::ACCESS => {}
        Errno::ROFS => return fault.hint("mount the file system for writing, and look why it was not"),
        Errno::DQUOT => return fault.hint("raise the quota of its owner or of its file system, or make room in it"),
        _ => return fault,
    }
    let above = path.parent().unwrap_or(path);
    for place in [path, above] {
        for (flag, word, letter) in
            [(StatxAttributes::IMMUTABLE, "immutable", 'i'), (StatxAttributes::APPEND, "append-only", 'a')]
        {
            if has(root, place, flag) {
                let place = crate::fault::shown(place);
                let hint = format!("take the mark away with `chattr -{letter} {place}`, or leave it to who set it");
                let fault = Fault { code: FaultCode::Denied, ..fault };
                return fault.within(format!("{place} is marked {word}")).hint(hint);
            }
        }
    }
    fault
}

fn has(root: &OwnedFd, path: &Path, flag: StatxAttributes) -> bool {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(fd) = resolve(root, path, flags) else { return false };
    rustix::fs::statx(&fd, "", AtFlags::EMPTY_PATH, StatxFlags::empty())
        .is_ok_and(|stat| stat.stx_attributes.contains(flag))
}
