//! Holes: whether a file has some (lseek(2), `SEEK_HOLE`), and copying without writing blocks of zeros.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

/// No file system has smaller blocks, so every hole of a file is a hole of its copy.
const BLOCK: usize = 512;

/// Read at once.
const CHUNK: usize = 128 << 10;

/// Whether the file behind an `O_PATH` descriptor has a hole before its end.
pub(super) fn is_sparse(fd: &OwnedFd, stat: &rustix::fs::Stat) -> bool {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let stored = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    if stored >= size {
        return false;
    }
    // Compressed and inlined files take less room, too; only their file system knows.
    let path = super::attributes::of(fd).path;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let hole = rustix::fs::open(path, flags, Mode::empty())
        .and_then(|file| rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(0)));
    hole.is_ok_and(|at| at < size)
}

/// Copies everything to an empty file; blocks of zeros become holes.
pub(super) fn copy(content: &mut dyn Read, file: &mut File) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut length = 0;
    loop {
        let filled = fill(content, &mut buffer)?;
        let mut rest = &buffer[..filled];
        while !rest.is_empty() {
            let zero = is_zero(rest.chunks(BLOCK).next().unwrap_or_default());
            let blocks = rest.chunks(BLOCK).take_while(|block| is_zero(block) == zero).count();
            let (run, after) = rest.split_at(rest.len().min(blocks * BLOCK));
            if zero {
                file.seek(SeekFrom::Current(i64::try_from(run.len()).map_err(io::Error::other)?))?;
            } else {
                file.write_all(run)?;
            }
            rest = after;
        }
        length += filled as u64;
        if filled < buffer.len() {
            return file.set_len(length);
        }
    }
}

fn fill(content: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}
