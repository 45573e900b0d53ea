//! What a kind works with: the host, and what its run keeps in the state directory.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::host::Host;

/// What `want` may know besides spec and state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances {
    /// A step that this one watches has changed (or, in a plan, would change) something.
    pub watched_changed: bool,
}

/// What `get` and `put` work with.
pub struct Cx<'a> {
    /// The host.
    pub host: &'a mut dyn Host,
    /// The directory of this run in the state directory, e.g. `runs/RUN`; contents lie below it by digest. `None`
    /// while only observing.
    pub run_dir: Option<String>,
    /// For programs that are started.
    pub timeout: Duration,
    /// Set by [`Cx::keep`]: something was kept that must be durable before `Begin` is.
    pub kept: bool,
    /// An operator has said that what others changed since may be replaced (`--take-back-anyway`).
    pub over_drift: bool,
    /// The host comes up and takes back what nobody confirmed: nothing runs yet, so files are all that can be put.
    pub booting: bool,
    /// The host takes the step back by itself if nobody confirms it; or it is being taken back.
    pub guarded: bool,
    /// Takes what a step says on its way.
    pub notes: Option<&'a mut dyn FnMut(String)>,
    offered: BTreeMap<Digest, Vec<u8>>,
}

impl<'a> Cx<'a> {
    /// For looking only: belongs to no run.
    pub fn looking(host: &'a mut dyn Host, timeout: Duration) -> Cx<'a> {
        let (kept, over_drift, booting, guarded) = (false, false, false, false);
        let (notes, offered) = (None, BTreeMap::new());
        Cx { host, run_dir: None, timeout, kept, over_drift, booting, guarded, notes, offered }
    }

    /// For changing in a run, whose directory in the state directory is `run_dir`.
    pub fn changing(host: &'a mut dyn Host, timeout: Duration, run_dir: String) -> Cx<'a> {
        Cx { run_dir: Some(run_dir), ..Cx::looking(host, timeout) }
    }
}

impl Cx<'_> {
    /// Tells people something while the step is on its way.
    pub fn note(&mut self, text: String) {
        if let Some(notes) = &mut self.notes {
            notes(text);
        }
    }

    /// Makes a content that the kind itself has made up known to [`Cx::content`].
    pub fn offer(&mut self, bytes: &[u8]) {
        self.offered.insert(Digest::of(bytes), bytes.to_vec());
    }

    /// Opens a content that was offered, sent for this run (`in/`) or kept before a change (`kept/`).
    ///
    /// # Errors
    /// `NotFound` if it is neither: for a wanted content our fault, for a kept one damage to the state directory.
    pub fn content(&mut self, digest: &Digest) -> Result<Box<dyn std::io::Read>, Fault> {
        if let Some(bytes) = self.offered.get(digest) {
            return Ok(Box::new(std::io::Cursor::new(bytes.clone())));
        }
        let dir = self.run_dir()?.to_owned();
        for part in ["kept", "in"] {
            if let Some(reader) = self.host.state_open(&format!("{dir}/{part}/{digest}"))? {
                return Ok(reader);
            }
        }
        Err(Fault::new(FaultCode::NotFound, format!("content {} is not on the host", digest.short())))
    }

    /// The names in a directory, without what an agent that was killed has left beside the files that it was to write.
    ///
    /// # Errors
    /// Those of the host.
    pub fn names(&mut self, directory: &std::path::Path) -> Result<Vec<std::ffi::OsString>, Fault> {
        let mut names = self.host.read_dir(directory)?;
        names.retain(|name| !crate::host::is_temporary(name));
        Ok(names)
    }

    /// Keeps the content of a file in this run's `kept/`, unless it is there; returns its digest.
    ///
    /// # Errors
    /// Those of the host, `NoSpace` above all.
    pub fn keep(&mut self, path: &std::path::Path, digest: &Digest) -> Result<(), Fault> {
        let name = format!("{}/kept/{digest}", self.run_dir()?);
        if self.host.state_open(&name)?.is_some() {
            return Ok(());
        }
        self.kept = true;
        let mut reader = self.host.open(path)?;
        self.host.state_write(&name, &mut reader)
    }

    /// Keeps a further name (hard link) of a file with this inode in this run's `kept/`; `false` if it lies on another
    /// file system than the state directory.
    ///
    /// # Errors
    /// Those of the host.
    pub fn keep_inode(&mut self, path: &std::path::Path, inode: u64) -> Result<bool, Fault> {
        let name = format!("{}/kept/inode-{inode}", self.run_dir()?);
        let kept = self.host.keep_inode(path, &name)?;
        self.kept |= kept;
        Ok(kept)
    }

    /// Makes `path` a name of what [`Cx::keep_inode`] kept.
    ///
    /// # Errors
    /// `NotFound` if it was never kept; those of the host.
    pub fn restore_inode(&mut self, inode: u64, path: &std::path::Path) -> Result<(), Fault> {
        let name = format!("{}/kept/inode-{inode}", self.run_dir()?);
        self.host.restore_inode(&name, path)
    }

    /// Keeps bytes under a name of the kind's own in this run's `kept/`.
    ///
    /// # Errors
    /// Those of the host, `NoSpace` above all.
    pub fn keep_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        self.kept = true;
        let name = format!("{}/kept/{name}", self.run_dir()?);
        self.host.state_write(&name, &mut &*bytes)
    }

    /// Opens what [`Cx::keep_bytes`] kept.
    ///
    /// # Errors
    /// `NotFound` if it was never kept.
    pub fn kept_bytes(&mut self, name: &str) -> Result<Box<dyn std::io::Read>, Fault> {
        let path = format!("{}/kept/{name}", self.run_dir()?);
        let missing = || Fault::new(FaultCode::NotFound, format!("{path} is not in the state directory"));
        self.host.state_open(&path)?.ok_or_else(missing)
    }

    fn run_dir(&self) -> Result<&str, Fault> {
        self.run_dir.as_deref().ok_or_else(|| Fault::new(FaultCode::Invalid, "contents belong to a run"))
    }
}
