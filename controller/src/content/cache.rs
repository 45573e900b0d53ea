//! Contents by digest below the fleet's `.weiche/cache/`, private to the user. It may be removed at any time; what is
//! needed is made again.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use weiche_agent::digest::{Digest, Hashing};

use super::ContentError;

/// Where it lies in a fleet.
const PLACE: &str = ".weiche/cache";

/// The contents of one fleet.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

/// A file that is being written; removed unless it is kept.
#[derive(Debug)]
pub struct Part {
    /// Open for writing (and, by [`Cache::part`], empty).
    pub file: File,
    path: PathBuf,
    kept: bool,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Part {
    /// Where it is while it is written.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Cache {
    /// Of the fleet in this directory. Nothing is made before it is needed.
    pub fn new(fleet: &Path) -> Cache {
        Cache { dir: fleet.join(PLACE) }
    }

    /// Where a content is, relative to the fleet's directory.
    pub fn place(digest: &Digest) -> PathBuf {
        Path::new(PLACE).join(digest.as_str())
    }

    /// Where a content is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.as_str())
    }

    /// Length of a content, if it is here.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().filter(fs::Metadata::is_file).map(|meta| meta.len())
    }

    /// Begins a content whose digest is not known yet.
    ///
    /// # Errors
    /// If the cache cannot be written.
    pub fn part(&self) -> Result<Part, ContentError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!(".part-{}-{count}", std::process::id()));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).and_then(|()| {
            // What a killed process of the same number has left is nobody's.
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)
        });
        let file = made.map_err(ContentError::io(format_args!("write {}", path.display())))?;
        Ok(Part { file, path, kept: false })
    }

    /// Keeps a finished content under its digest: durable first, so that a name never stands for half a content.
    ///
    /// # Errors
    /// If the cache cannot be written.
    pub fn keep(&self, mut part: Part, digest: &Digest) -> Result<(), ContentError> {
        let path = self.path(digest);
        let kept = part.file.sync_all().and_then(|()| fs::rename(&part.path, &path));
        kept.map_err(ContentError::io(format_args!("write {}", path.display())))?;
        part.kept = true;
        Ok(())
    }

    /// Stores at most `max` bytes of a reader; returns digest and length.
    ///
    /// # Errors
    /// `Refused` if there are more; errors of the reader.
    pub fn store(&self, reader: &mut dyn Read, max: u64) -> Result<(Digest, u64), ContentError> {
        let mut part = self.part()?;
        let mut hashing = Hashing::new(reader.take(max.saturating_add(1)));
        copy(&mut hashing, &mut part.file).map_err(ContentError::io("read a content"))?;
        let (digest, size) = hashing.finish();
        if size > max {
            return Err(ContentError::refused("it is larger than allowed"));
        }
        if self.size(&digest) != Some(size) {
            self.keep(part, &digest)?;
        }
        Ok((digest, size))
    }

    /// A text that was remembered under a name of our own.
    pub fn note(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.dir.join(name)).ok()
    }

    /// Remembers a text.
    ///
    /// # Errors
    /// If the cache cannot be written.
    pub fn remember(&self, name: &str, text: &str) -> Result<(), ContentError> {
        let mut part = self.part()?;
        let path = self.dir.join(name);
        let written = part.file.write_all(text.as_bytes()).and_then(|()| fs::rename(&part.path, &path));
        written.map_err(ContentError::io(format_args!("write {}", path.display())))?;
        part.kept = true;
        Ok(())
    }
}

/// With a buffer of our own, because the reader is seldom a file.
fn copy(reader: &mut dyn Read, file: &mut File) -> io::Result<()> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => file.write_all(&buffer[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
