//! A directory of the fleet's `files/`, walked: files by digest, links as they stand, anything else refused.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use weiche_agent::digest::Digest;
use weiche_agent::resources::entries::{Entries, Entry};

use super::ContentError;
use super::listing::{Listing, name};

/// Bounds of a tree.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes in all files.
    pub bytes: u64,
}

/// What one may put on every host without thinking: more is for a package.
pub const LIMITS: Limits = Limits { bytes: 1 << 30 };

/// Entries, and where the content of each digest is, relative to the walked directory.
pub type Walked = (Entries, BTreeMap<Digest, (PathBuf, u64)>);

/// Walks a directory. Without `hash` contents are not read, and all digests are that of nothing (for a check).
///
/// # Errors
/// `Refused` over the bounds, and for devices, names that are no text, links that lead out.
pub fn walk(root: &Path, limits: Limits, hash: bool) -> Result<Walked, ContentError> {
    let (mut listing, mut bodies) = (Listing::default(), BTreeMap::new());
    let mut left = limits.bytes;
    let mut open = vec![PathBuf::new()];
    while let Some(directory) = open.pop() {
        let path = root.join(&directory);
        let failed = |path: &Path| format!("read {}", path.display());
        for entry in fs::read_dir(&path).map_err(ContentError::io(failed(&path)))? {
            let entry = entry.map_err(ContentError::io(failed(&path)))?;
            let (relative, path) = (directory.join(entry.file_name()), entry.path());
            let known = name(relative.as_os_str().as_bytes()).map_err(ContentError::Refused)?;
            let meta = entry.metadata().map_err(ContentError::io(failed(&path)))?;
            let found = if meta.is_dir() {
                open.push(relative);
                Entry::Directory
            } else if meta.is_symlink() {
                let target = fs::read_link(&path).map_err(ContentError::io(failed(&path)))?;
                let text = target.into_os_string().into_string();
                Entry::Symlink(text.map_err(|_| ContentError::refused(format!("the target of `{known}` is no text")))?)
            } else if meta.is_file() {
                let (digest, size) = if hash {
                    let opened = File::open(&path).and_then(|mut file| Digest::of_reader(&mut file));
                    opened.map_err(ContentError::io(failed(&path)))?
                } else {
                    (Digest::of(b""), meta.len())
                };
                let over = || ContentError::refused(format!("its files have more than {} bytes", limits.bytes));
                left = left.checked_sub(size).ok_or_else(over)?;
                bodies.insert(digest.clone(), (relative, size));
                Entry::File { digest, size, executable: meta.permissions().mode() & 0o100 != 0 }
            } else {
                return Err(ContentError::refused(format!("`{known}` is a device, socket or pipe")));
            };
            listing.add(&known, found).map_err(ContentError::Refused)?;
        }
    }
    let entries = listing.finish().map_err(ContentError::Refused)?;
    Ok((entries, bodies))
}
