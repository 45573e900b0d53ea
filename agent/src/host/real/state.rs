//! The agent's state directory: journals and contents. Directories 0700, files 0600; names are relative, plain and
//! checked, so nothing read from the wire can lead outside.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use super::{orphan, sparse};
use crate::fault::{Fault, FaultCode};

/// How long to wait for another agent that is finishing the step it owns.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// How long a guard waits at its deadline, before it ends the agent that works on.
const FORCE_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct StateDir {
    path: PathBuf,
    dir: File,
    lock: Option<File>,
}

impl StateDir {
    pub(super) fn open(path: &Path) -> Result<StateDir, Fault> {
        make_dirs(path)?;
        let path = path.canonicalize().map_err(|e| Fault::path("resolve", path, &e))?;
        let dir = File::open(&path).map_err(|e| Fault::path("open state directory", &path, &e))?;
        Ok(StateDir { path, dir, lock: None })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn dir(&self) -> &File {
        &self.dir
    }

    pub(super) fn open_file(&self, name: &str) -> Result<Option<Box<dyn Read>>, Fault> {
        let path = self.at(name)?;
        match File::open(&path) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Fault::path("open", &path, &e)),
        }
    }

    pub(super) fn write(&self, name: &str, content: &mut dyn Read) -> Result<(), Fault> {
        let path = self.at(name)?;
        let part = path.with_extension("part");
        self.parent(&path)?;
        let written = private(OpenOptions::new().write(true).create(true).truncate(true))
            .open(&part)
            .and_then(|mut file| sparse::copy(content, &mut file))
            .and_then(|_| fs::rename(&part, &path));
        written.map_err(|e| {
            let _ = fs::remove_file(&part);
            Fault::path("write", &path, &e)
        })
    }

    pub(super) fn append(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let path = self.at(name)?;
        let new = !path.exists();
        let parent = self.parent(&path)?;
        let fault = |e: io::Error| Fault::path("append to", &path, &e);
        let mut file = private(OpenOptions::new().append(true).create(true)).open(&path).map_err(fault)?;
        file.write_all(bytes).and_then(|()| file.sync_data()).map_err(fault)?;
        if new {
            // The entries of the new file and of each directory that may be new.
            let mut dir = parent;
            while dir.starts_with(&self.path) {
                File::open(dir).and_then(|d| d.sync_all()).map_err(fault)?;
                let Some(up) = dir.parent() else { break };
                dir = up;
            }
        }
        Ok(())
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        let (from, to) = (self.at(from)?, self.at(to)?);
        fs::rename(&from, &to).map_err(|e| Fault::path("rename", &from, &e))
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), Fault> {
        let path = self.at(name)?;
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Fault::path("remove", &path, &e)),
            _ => Ok(()),
        }
    }

    pub(super) fn list(&self, name: &str) -> Result<Vec<String>, Fault> {
        let path = self.at(name)?;
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Fault::path("list", &path, &e)),
        };
        let mut names: Vec<String> = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// The path of a name whose directory is there; links that are made at it are as private as the directory.
    pub(super) fn place(&self, name: &str) -> Result<PathBuf, Fault> {
        let path = self.at(name)?;
        self.parent(&path)?;
        Ok(path)
    }

    pub(super) fn lock(&mut self) -> Result<(), Fault> {
        if self.lock.is_some() {
            return Ok(());
        }
        let file = self.lock_within(LOCK_PATIENCE)?;
        // If something is left that an agent before us started, the lock is given back with the file.
        orphan::outlast(&self.path, LOCK_PATIENCE)?;
        self.lock = Some(file);
        Ok(())
    }

    /// Takes the lock from whoever does not let go of it soon, and ends what they have started.
    pub(super) fn lock_by_force(&mut self) -> Result<(), Fault> {
        if self.lock.is_some() {
            return Ok(());
        }
        let file = match self.lock_within(FORCE_PATIENCE) {
            Err(fault) if fault.code == FaultCode::Busy => {
                orphan::end_holder(&self.path.join("lock"));
                self.lock_within(LOCK_PATIENCE)?
            }
            taken => taken?,
        };
        orphan::end_program(&self.path);
        orphan::outlast(&self.path, LOCK_PATIENCE)?;
        self.lock = Some(file);
        Ok(())
    }

    pub(super) fn locked(&self) -> bool {
        self.lock.is_some()
    }

    pub(super) fn unlock(&mut self) {
        self.lock = None;
    }

    fn lock_within(&self, patience: Duration) -> Result<File, Fault> {
        let path = self.path.join("lock");
        let fault = |e: io::Error| Fault::path("lock", &path, &e);
        let mut file =
            private(OpenOptions::new().write(true).create(true).truncate(false)).open(&path).map_err(fault)?;
        let begin = Instant::now();
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if begin.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let fault = Fault::new(FaultCode::Busy, "another agent is changing this host");
                    return Err(fault.hint("wait for its run to end (`weiche status`), or end that agent on the host"));
                }
                Err(e) => return Err(fault(e.into())),
            }
        }
        // On a full disk it holds the lock without its name, and no guard can end it.
        let _ = file.set_len(0).and_then(|()| file.write_all(orphan::myself().as_bytes()));
        Ok(file)
    }

    /// Where a file is.
    pub(super) fn at(&self, name: &str) -> Result<PathBuf, Fault> {
        let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
        if !name.split('/').all(plain) {
            return Err(Fault::new(FaultCode::Invalid, format!("`{name}` is no name in the state directory")));
        }
        Ok(self.path.join(name))
    }

    fn parent<'a>(&self, path: &'a Path) -> Result<&'a Path, Fault> {
        let parent = path.parent().unwrap_or(path);
        if !parent.is_dir() {
            make_dirs(parent)?;
        }
        Ok(parent)
    }
}

fn make_dirs(path: &Path) -> Result<(), Fault> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| Fault::path("make directory", path, &e))
}

pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}
