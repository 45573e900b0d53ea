//! A tree in a few words: whether anything below a directory has changed, without reading contents.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;

use super::files::{read_dir, resolve};
use crate::digest::Hashing;
use crate::fault::{Fault, shown};
use crate::host::Survey;

/// See [`crate::host::Host::survey`]. What goes while it is looked at is left out.
pub(super) fn survey(root: &OwnedFd, path: &Path, since: Option<(i64, u32)>) -> Result<Survey, Fault> {
    let fault = |path: &Path, e: Errno| Fault::path("look at", path, &e.into());
    let mut survey = Survey::default();
    let mut lines = Hashing::new(std::io::sink());
    let mut open: Vec<PathBuf> = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        let directory = if below.as_os_str().is_empty() { path.to_owned() } else { path.join(&below) };
        let fd = match resolve(root, &directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC)
        {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            fd => fd.map_err(|e| fault(&directory, e))?,
        };
        let mut count = |name: &OsStr, stat: &Stat| {
            let entry = below.join(name);
            let changed = (stat.st_ctime, u32::try_from(stat.st_ctime_nsec).unwrap_or(0));
            let file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            survey.entries += 1;
            survey.bytes += if file { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
            survey.newest = survey.newest.max(changed);
            if since.is_some_and(|since| changed > since) {
                survey.newer += 1;
                if survey.names.len() < Survey::NAMES {
                    survey.names.push(shown(&entry));
                }
            }
            // A sink takes everything.
            let _ = lines.write_all(entry.as_os_str().as_bytes());
            let (seconds, nanoseconds) = (stat.st_mtime, stat.st_mtime_nsec);
            for number in [stat.st_ino as i64, stat.st_size, seconds, nanoseconds as i64, changed.0, changed.1.into()] {
                let _ = lines.write_all(&number.to_le_bytes());
            }
        };
        if below.as_os_str().is_empty() {
            count(OsStr::new("."), &rustix::fs::fstat(&fd).map_err(|e| fault(&directory, e))?);
        }
        for name in read_dir(root, &directory)? {
            if below.as_os_str().is_empty() && name == "lost+found" {
                continue;
            }
            match rustix::fs::statat(&fd, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => {
                    count(&name, &stat);
                    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                        open.push(below.join(name));
                    }
                }
                Err(Errno::NOENT) => {}
                Err(e) => return Err(fault(&directory.join(name), e)),
            }
        }
    }
    survey.digest = (survey.entries > 0).then(|| lines.finish().0);
    Ok(survey)
}
