//! Frames: four bytes of length (big endian), one byte of type, the payload. Lengths are bounded before anything is
//! allocated, so a broken or hostile peer costs at most [`MAX_MESSAGE`] bytes.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest JSON message in bytes: a stage of tens of thousands of steps.
pub const MAX_MESSAGE: usize = 16 << 20;

/// Largest data frame in bytes: small enough to interleave, large enough that framing costs nothing.
pub const MAX_DATA: usize = 128 << 10;

const MESSAGE: u8 = b'J';
const DATA: u8 = b'D';

/// One frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame<T> {
    /// A JSON message.
    Message(T),
    /// Bytes of a content.
    Data(Vec<u8>),
}

impl<T: DeserializeOwned> Frame<T> {
    /// Reads the header of a frame: its type and the length of its payload.
    ///
    /// # Errors
    /// `InvalidData` for an unknown type or a length over the bound.
    pub fn header(bytes: [u8; 5]) -> io::Result<(u8, usize)> {
        let [a, b, c, d, kind] = bytes;
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        let max = match kind {
            MESSAGE => MAX_MESSAGE,
            DATA => MAX_DATA,
            _ => return Err(invalid(format!("frame of unknown type {kind:#04x}"))),
        };
        if len > max {
            return Err(invalid(format!("frame of {len} bytes exceeds the bound of {max}")));
        }
        Ok((kind, len))
    }

    /// Reads the payload that follows such a header.
    ///
    /// # Errors
    /// `InvalidData` if a message is not the expected JSON.
    pub fn payload(kind: u8, payload: Vec<u8>) -> io::Result<Frame<T>> {
        if kind == DATA {
            return Ok(Frame::Data(payload));
        }
        serde_json::from_slice(&payload).map(Frame::Message).map_err(|e| invalid(format!("unreadable message: {e}")))
    }
}

/// Reads one frame; `None` at a clean end.
///
/// # Errors
/// Those of the reader; `InvalidData` for a malformed frame; `UnexpectedEof` inside one.
pub fn read_frame<T: DeserializeOwned>(reader: &mut dyn Read) -> io::Result<Option<Frame<T>>> {
    let mut header = [0; 5];
    let mut have = 0;
    while have < header.len() {
        match reader.read(&mut header[have..])? {
            0 if have == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => have += n,
        }
    }
    let (kind, len) = Frame::<T>::header(header)?;
    let mut payload = Vec::new();
    let got = reader.take(len as u64).read_to_end(&mut payload)?;
    if got < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Frame::payload(kind, payload).map(Some)
}

/// Writes a JSON message as one frame.
///
/// # Errors
/// Those of the writer; `InvalidInput` if the message exceeds [`MAX_MESSAGE`].
pub fn write_message<T: Serialize>(writer: &mut dyn Write, message: &T) -> io::Result<()> {
    let payload = serde_json::to_vec(message)?;
    if payload.len() > MAX_MESSAGE {
        let text = format!("message of {} bytes exceeds the bound of {MAX_MESSAGE}", payload.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    write_frame(writer, MESSAGE, &payload)
}

/// Writes one data frame; `data` is at most [`MAX_DATA`] bytes.
///
/// # Errors
/// Those of the writer.
pub fn write_data(writer: &mut dyn Write, data: &[u8]) -> io::Result<()> {
    debug_assert!(data.len() <= MAX_DATA, "callers read in chunks of MAX_DATA");
    write_frame(writer, DATA, data)
}

fn write_frame(writer: &mut dyn Write, kind: u8, payload: &[u8]) -> io::Result<()> {
    let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
    writer.write_all(&len.to_be_bytes())?;
    writer.write_all(&[kind])?;
    writer.write_all(payload)
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut wire = Vec::new();
        write_message(&mut wire, &"hallo").unwrap();
        write_data(&mut wire, b"\0\xff").unwrap();
        let mut reader = wire.as_slice();
        assert_eq!(read_frame::<String>(&mut reader).unwrap(), Some(Frame::Message("hallo".into())));
        assert_eq!(read_frame::<String>(&mut reader).unwrap(), Some(Frame::Data(b"\0\xff".to_vec())));
        assert_eq!(read_frame::<String>(&mut reader).unwrap(), None);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let mut wire = Vec::new();
        write_message(&mut wire, &"hallo").unwrap();
        for cut in 1..wire.len() {
            assert!(read_frame::<String>(&mut &wire[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_length_over_the_bound_is_refused_before_reading() {
        assert!(read_frame::<String>(&mut &b"\xff\xff\xff\xffJ"[..]).is_err());
        assert!(read_frame::<String>(&mut &b"\x00\x00\x00\x01X."[..]).is_err());
    }
}
