//! A record as a line: its checksum, a space, JSON.

use serde_json::Value;

use super::Record;
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};

/// Length of a line's checksum.
const SUM: usize = 16;

/// Appends a record's line to a text.
pub(super) fn line(record: &Record, text: &mut Vec<u8>) -> Result<(), Fault> {
    let json = serde_json::to_string(record)
        .map_err(|e| Fault::new(FaultCode::Invalid, format!("a journal record cannot be written: {e}")))?;
    let digest = Digest::of(json.as_bytes());
    text.extend_from_slice(format!("{} {json}\n", &digest.as_str()[..SUM]).as_bytes());
    Ok(())
}

/// Reads a line with its newline; `None` if it is not whole.
pub(super) fn parse(line: &[u8]) -> Option<Record> {
    record(line.strip_suffix(b"\n")?)
}

/// Whether a power cut while it was appended can have left this line: the beginning of one, perhaps all but its newline.
/// A whole record with something else in its newline's place is not, nor are the zeros of a sector that was lost.
pub(super) fn cut_off(line: &[u8]) -> bool {
    if line.ends_with(b"\n") {
        return false;
    }
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        // Within a letter.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&line[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let (sum, json) = text.split_once(' ').unwrap_or((text, ""));
    if sum.len() > SUM || !sum.bytes().all(|b| b.is_ascii_hexdigit()) {
        return false;
    }
    match serde_json::from_str::<Value>(json) {
        Ok(_) => record(line).is_some(),
        Err(error) => error.is_eof(),
    }
}

fn record(line: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(line).ok()?;
    let (sum, json) = text.split_once(' ')?;
    let digest = Digest::of(json.as_bytes());
    (digest.as_str()[..SUM] == *sum).then(|| serde_json::from_str(json).ok()).flatten()
}
