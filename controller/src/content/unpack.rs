//! Archives unpacked into the cache, by digest. Nothing of an archive is trusted: names and links go through
//! [`super::listing`], sizes are counted as they come and not as they are declared, and the bounds below hold.
#![expect(clippy::disallowed_methods, reason = "shell")]

mod tar;
#[cfg(test)]
mod tests;
mod zip;
mod zst;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use serde::{Deserialize, Serialize};
use weiche_agent::digest::Digest;
use weiche_agent::resources::entries::{Entries, Entry};

use super::ContentError;
use super::cache::Cache;
use super::listing::{Listing, name};

/// Bounds of what is unpacked.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries.
    pub entries: usize,
    /// Bytes of all files together.
    pub bytes: u64,
    /// Bytes unpacked for each byte packed.
    pub ratio: u64,
    /// Below this many bytes unpacked the ratio does not matter.
    pub ratio_from: u64,
}

/// As the reference says. Text packs 10:1, logs up to 100:1; deflate cannot do more than 1032:1, zstd hardly knows a
/// bound.
pub const LIMITS: Limits = Limits { entries: 20_000, bytes: 1 << 30, ratio: 250, ratio_from: 64 << 20 };

/// A target of a link longer than this is none.
const MAX_TARGET: u64 = 4096;

/// What was unpacked, remembered beside the contents.
#[derive(Serialize, Deserialize)]
struct Note {
    entries: Entries,
}

/// Unpacks an archive whose digest is known (what was unpacked before is remembered) and leaves out leading parts.
///
/// # Errors
/// `Refused` for what no directory should be made of; says which entry and why.
pub fn unpack(
    archive: &Path,
    digest: &Digest,
    strip: u8,
    limits: Limits,
    cache: &Cache,
) -> Result<Entries, ContentError> {
    let note = format!("unpacked-{digest}");
    let whole = |entry: &Entry| match entry {
        Entry::File { digest, size, .. } => cache.size(digest) == Some(*size),
        _ => true,
    };
    let known = cache.note(&note).and_then(|text| serde_json::from_str::<Note>(&text).ok());
    let entries = match known {
        Some(known) if known.entries.values().all(whole) => known.entries,
        _ => {
            let entries = fresh(archive, limits, cache)?;
            let known = Note { entries };
            cache.remember(&note, &serde_json::to_string(&known).unwrap_or_default())?;
            known.entries
        }
    };
    let mut listing = Listing::default();
    for (name, entry) in entries {
        listing.add(&name, entry).map_err(ContentError::Refused)?;
    }
    let entries = listing.strip(strip).and_then(Listing::finish).map_err(ContentError::Refused)?;
    if entries.is_empty() {
        return Err(ContentError::refused("nothing is in it, or nothing is left of it after `strip`"));
    }
    Ok(entries)
}

fn fresh(archive: &Path, limits: Limits, cache: &Cache) -> Result<Entries, ContentError> {
    let failed = || format!("read {}", archive.display());
    let mut file = File::open(archive).map_err(ContentError::io(failed()))?;
    let packed = file.metadata().map_err(ContentError::io(failed()))?.len();
    let mut head = [0; 4];
    let read = io::Read::by_ref(&mut file).take(4).read(&mut head).map_err(ContentError::io(failed()))?;
    file.rewind().map_err(ContentError::io(failed()))?;
    let by_ratio = packed.saturating_mul(limits.ratio).max(limits.ratio_from);
    let bytes = limits.bytes.min(by_ratio);
    let mut collector = Collector { cache, limits, left: bytes, bytes, listing: Listing::default(), count: 0 };
    // The stream of a tar holds headers as well: a block or two for each entry, and long names.
    let stream = bytes.saturating_add(limits.entries as u64 * 4096);
    let bounded = |reader: Box<dyn Read>| Bounded { reader, left: stream };
    let file = BufReader::with_capacity(128 << 10, file);
    match &head[..read] {
        [0x1f, 0x8b, ..] => tar::unpack(bounded(Box::new(flate2::bufread::MultiGzDecoder::new(file))), &mut collector),
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
            tar::unpack(bounded(Box::new(zst::Frames::new(file))), &mut collector)
        }
        b"PK\x03\x04" | b"PK\x05\x06" => zip::unpack(file, &mut collector),
        _ => tar::unpack(bounded(Box::new(file)), &mut collector),
    }?;
    Ok(collector.listing.unchecked())
}

/// Takes the entries of any format.
struct Collector<'c> {
    cache: &'c Cache,
    limits: Limits,
    left: u64,
    bytes: u64,
    listing: Listing,
    count: usize,
}

impl Collector<'_> {
    /// Counts an entry, whatever it is, and reads its name.
    fn name(&mut self, raw: &[u8]) -> Result<String, ContentError> {
        self.count += 1;
        if self.count > self.limits.entries {
            return Err(ContentError::refused(format!("it has more than {} entries", self.limits.entries)));
        }
        name(raw).map_err(ContentError::Refused)
    }

    fn file(&mut self, name: &str, reader: &mut dyn Read, executable: bool) -> Result<(), ContentError> {
        let stored = self.cache.store(reader, self.left).map_err(|error| match error {
            ContentError::Refused(_) => {
                let bytes = self.bytes;
                ContentError::refused(format!(
                    "it unpacks to more than {bytes} bytes, which a file of its size may not"
                ))
            }
            error => error,
        });
        let (digest, size) = stored?;
        self.left -= size;
        self.add(name, Entry::File { digest, size, executable })
    }

    fn add(&mut self, name: &str, entry: Entry) -> Result<(), ContentError> {
        self.listing.add(name, entry).map_err(ContentError::Refused)
    }

    fn link(&mut self, name: &str, target: &[u8]) -> Result<(), ContentError> {
        let wrong = || ContentError::refused(format!("the link `{name}` has a target that is too long or no text"));
        let text = std::str::from_utf8(target).ok().filter(|text| text.len() as u64 <= MAX_TARGET);
        self.add(name, Entry::Symlink(text.ok_or_else(wrong)?.to_owned()))
    }
}

/// Ends with an error, not silently, once too much was read.
struct Bounded {
    reader: Box<dyn Read>,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        let over = || io::Error::other("it unpacks to more than a file of its size may");
        self.left = self.left.checked_sub(n as u64).ok_or_else(over)?;
        Ok(n)
    }
}
