//! tar: ustar, GNU long names and pax (tar(5)). Extended headers are read here, with a bound, because they are held in
//! memory.

use std::io::{self, Read};

use tar::{Archive, EntryType, PaxExtensions};
use weiche_agent::resources::entries::Entry;

use super::{Collector, ContentError};

/// Largest extended header: a name and a link target, each of a path's length, and attributes that are left out.
const MAX_HEADER: u64 = 64 << 10;

/// What extended headers say of the next entry.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

pub(super) fn unpack(reader: impl Read, collector: &mut Collector<'_>) -> Result<(), ContentError> {
    let mut archive = Archive::new(reader);
    let broken = || ContentError::io("read it as a tar archive");
    let mut extended = Extended::default();
    // Raw: extended headers come as entries.
    for entry in archive.entries().map_err(broken())?.raw(true) {
        let mut entry = entry.map_err(broken())?;
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => extended.name = Some(text(&mut entry)?),
            EntryType::GNULongLink => extended.link = Some(text(&mut entry)?),
            EntryType::XHeader => pax(&mut entry, &mut extended)?,
            // Comments, as git-archive(1) writes them.
            EntryType::XGlobalHeader => {}
            kind => {
                let Extended { name, link } = std::mem::take(&mut extended);
                let header = entry.header().clone();
                let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
                let name = collector.name(&name)?;
                let link = link.or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
                let executable = header.mode().map_err(broken())? & 0o100 != 0;
                match kind {
                    EntryType::Regular | EntryType::Continuous => collector.file(&name, &mut entry, executable)?,
                    EntryType::Directory => collector.add(&name, Entry::Directory)?,
                    EntryType::Symlink => collector.link(&name, &link.unwrap_or_default())?,
                    EntryType::Link => {
                        let target = super::name(&link.unwrap_or_default()).map_err(ContentError::Refused)?;
                        let missing = || {
                            ContentError::refused(format!(
                                "`{name}` is a hard link to `{target}`, which is no file in it"
                            ))
                        };
                        let file = collector.listing.get(&target).filter(|entry| matches!(entry, Entry::File { .. }));
                        let file = file.ok_or_else(missing)?.clone();
                        // Two files on a host: it counts for both.
                        if let Entry::File { size, .. } = &file {
                            let over = || ContentError::refused("it unpacks to more than a file of its size may");
                            collector.left = collector.left.checked_sub(*size).ok_or_else(over)?;
                        }
                        collector.add(&name, file)?;
                    }
                    EntryType::Char | EntryType::Block | EntryType::Fifo => {
                        return Err(ContentError::refused(format!("`{name}` is a device or pipe")));
                    }
                    _ => {
                        let kind = kind.as_byte().escape_ascii();
                        return Err(ContentError::refused(format!(
                            "`{name}` is of type `{kind}`, which is not supported"
                        )));
                    }
                }
            }
        }
    }
    // What is behind the end: checksums of the compression are checked there.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken())?;
    Ok(())
}

fn header(entry: &mut impl Read) -> Result<Vec<u8>, ContentError> {
    let mut bytes = Vec::new();
    let read = entry.take(MAX_HEADER + 1).read_to_end(&mut bytes);
    read.map_err(ContentError::io("read it as a tar archive"))?;
    if bytes.len() as u64 > MAX_HEADER {
        return Err(ContentError::refused("it has a name or header that is too long"));
    }
    Ok(bytes)
}

/// A name that ends with a NUL.
fn text(entry: &mut impl Read) -> Result<Vec<u8>, ContentError> {
    let mut bytes = header(entry)?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

fn pax(entry: &mut impl Read, extended: &mut Extended) -> Result<(), ContentError> {
    let bytes = header(entry)?;
    for record in PaxExtensions::new(&bytes) {
        let record = record.map_err(ContentError::io("read it as a tar archive"))?;
        match record.key_bytes() {
            b"path" => extended.name = Some(record.value_bytes().to_vec()),
            b"linkpath" => extended.link = Some(record.value_bytes().to_vec()),
            // Sizes over 8 GiB, and files with holes: what readers disagree about is not for us.
            b"size" => return Err(ContentError::refused("it has sizes in extended headers, which is not supported")),
            key if key.starts_with(b"GNU.sparse.") => {
                return Err(ContentError::refused("it has sparse files, which is not supported"));
            }
            _ => {}
        }
    }
    Ok(())
}
