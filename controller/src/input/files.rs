//! The fleet's `files/`: templates and contents. A fence: the shell reads them, the pure layers only ask.

use std::collections::BTreeMap;
use std::path::PathBuf;

use weiche_agent::digest::Digest;
use weiche_agent::resources::entries::Entries;

/// What the pure layers ask of `files/`. Paths are relative to it and were checked by [`name_problem`].
pub trait Files {
    /// The text of a template.
    ///
    /// # Errors
    /// See [`FileFault`]: the author of the fleet can fix it.
    fn text(&self, path: &str) -> Result<String, FileFault>;

    /// Digest and length of a file; it is read as a stream.
    ///
    /// # Errors
    /// See [`FileFault`].
    fn digest(&self, path: &str) -> Result<(Digest, u64), FileFault>;

    /// Length of a file, without reading it.
    ///
    /// # Errors
    /// See [`FileFault`].
    fn size(&self, path: &str) -> Result<u64, FileFault>;

    /// What a directory holds. Without `hash` contents are not read, and their digests mean nothing.
    ///
    /// # Errors
    /// See [`FileFault`].
    fn tree(&self, path: &str, _hash: bool) -> Result<Held, FileFault> {
        Err(FileFault::Missing(path.to_owned()))
    }

    /// What an archive holds, unpacked, without the first `strip` parts of its names.
    ///
    /// # Errors
    /// See [`FileFault`].
    fn archive(&self, origin: &Origin, _strip: u8) -> Result<Held, FileFault> {
        Err(FileFault::Missing(match origin {
            Origin::File { path, .. } => path.clone(),
            Origin::Url { url, .. } => url.clone(),
        }))
    }

    /// Where a file is, relative to the fleet's directory.
    fn place(&self, path: &str) -> PathBuf {
        PathBuf::from("files").join(path)
    }
}

/// A directory in memory, contents by digest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// What is where.
    pub entries: Entries,
    /// Where each content is, relative to the fleet's directory, and its length.
    pub bodies: BTreeMap<Digest, (PathBuf, u64)>,
}

/// Where an archive comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `files/`.
    File {
        /// Relative to it.
        path: String,
        /// What it must be, if that is said.
        sha256: Option<Digest>,
    },
    /// The network.
    Url {
        /// The address.
        url: String,
        /// What it must be.
        sha256: Digest,
    },
}

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// There is none.
    #[error("there is no file `{0}`")]
    Missing(String),
    /// It is, or lies behind, a link that leads out of `files/`.
    #[error("`{0}` leads out of `files/`")]
    Outside(String),
    /// It is a directory or something else that is no file.
    #[error("`{0}` is no file")]
    NoFile(String),
    /// A template that is not UTF-8 or far too large.
    #[error("`{0}` is no text that could be a template")]
    NoText(String),
    /// It is no directory where one is asked for.
    #[error("`{0}` is no directory")]
    NoDirectory(String),
    /// What it holds is refused.
    #[error("`{path}` cannot be used: {reason}")]
    Unusable {
        /// Which, or its address.
        path: String,
        /// Why.
        reason: String,
    },
    /// The operating system refused.
    #[error("`{path}` cannot be read: {reason}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why, as the system puts it.
        reason: String,
    },
}

/// Says what is wrong with a reference to a file: it stays below `files/`.
pub fn name_problem(path: &str) -> Option<String> {
    let part = |part: &str| part.is_empty() || part == "." || part == "..";
    if path.starts_with('/') {
        Some(format!("`{path}` must be relative to `files/`"))
    } else if path.split('/').any(part) || path.contains(['\\', '\0']) {
        Some(format!("`{path}` must stay below `files/`: no `..`, `.` or empty parts"))
    } else {
        None
    }
}

/// No files at all, but the shipped ones.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn text(&self, path: &str) -> Result<String, FileFault> {
        Err(FileFault::Missing(path.to_owned()))
    }

    fn digest(&self, path: &str) -> Result<(Digest, u64), FileFault> {
        Err(FileFault::Missing(path.to_owned()))
    }

    fn size(&self, path: &str) -> Result<u64, FileFault> {
        Err(FileFault::Missing(path.to_owned()))
    }
}
