//! zip (APPNOTE.TXT): stored and deflated, by its central directory.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use weiche_agent::resources::entries::Entry;
use zip::ZipArchive;

use super::{Collector, ContentError, MAX_TARGET};

/// Length of the end record without its comment, and with the longest.
const END: (u64, u64) = (22, 22 + 65_535);

/// Entries in a record that says "look elsewhere" (zip64): far over our bound.
const ELSEWHERE: u16 = u16::MAX;

/// The bits of a Unix mode that tell the file type, from inode(7).
const TYPE: u32 = 0o170_000;
const LINK: u32 = 0o120_000;
const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

pub(super) fn unpack(mut file: BufReader<File>, collector: &mut Collector<'_>) -> Result<(), ContentError> {
    // The directory is read whole: its length is looked at first.
    let declared = declared(&mut file)?;
    if declared == ELSEWHERE || usize::from(declared) > collector.limits.entries {
        return Err(ContentError::refused(format!("it has more than {} entries", collector.limits.entries)));
    }
    let mut archive = ZipArchive::new(file).map_err(broken)?;
    if archive.has_duplicate_names() {
        return Err(ContentError::refused("it has two entries of the same name"));
    }
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(broken)?;
        let name = collector.name(entry.name_raw())?;
        if entry.name_raw().contains(&b'\\') {
            return Err(ContentError::refused(format!("the name `{}` has a `\\` in it", name.escape_debug())));
        }
        let mode = entry.unix_mode().unwrap_or(0);
        if entry.encrypted() {
            return Err(ContentError::refused(format!("`{name}` is encrypted")));
        }
        let directory = entry.name_raw().ends_with(b"/");
        match mode & TYPE {
            LINK => {
                let mut target = Vec::new();
                let read = (&mut entry).take(MAX_TARGET + 1).read_to_end(&mut target);
                read.map_err(ContentError::io(format_args!("unpack `{name}`")))?;
                collector.link(&name, &target)?;
            }
            _ if directory => collector.add(&name, Entry::Directory)?,
            DIRECTORY => collector.add(&name, Entry::Directory)?,
            0 | FILE => collector.file(&name, &mut entry, mode & 0o100 != 0)?,
            _ => return Err(ContentError::refused(format!("`{name}` is a device, socket or pipe"))),
        }
    }
    Ok(())
}

/// The number of entries that the end record claims.
fn declared(file: &mut BufReader<File>) -> Result<u16, ContentError> {
    let failed = || ContentError::io("read it as a zip archive");
    let length = file.seek(SeekFrom::End(0)).map_err(failed())?;
    let from = length.saturating_sub(END.1);
    file.seek(SeekFrom::Start(from)).map_err(failed())?;
    let mut end = Vec::new();
    file.by_ref().take(END.1).read_to_end(&mut end).map_err(failed())?;
    file.rewind().map_err(failed())?;
    let at = end.windows(4).rposition(|window| window == b"PK\x05\x06");
    let record = at.and_then(|at| end.get(at..)).filter(|record| record.len() as u64 >= END.0);
    let record = record.ok_or_else(|| ContentError::refused("it is a zip archive without an end: cut off?"))?;
    Ok(u16::from_le_bytes([record[10], record[11]]))
}

fn broken(error: zip::result::ZipError) -> ContentError {
    ContentError::refused(format!("it cannot be read as a zip archive: {error}"))
}
