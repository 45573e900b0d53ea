//! SHA-256 digests: of contents, states, plans and builds. SHA-256 everywhere, so that public tools can check them.

use std::fmt;
use std::io::{self, Read};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// 64 lower-case hexadecimal digits, as `sha256sum` prints them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(hex(&Sha256::digest(bytes)))
    }

    /// The digest of a value's canonical JSON (object keys sorted, no white space).
    pub fn of_json(value: &serde_json::Value) -> Digest {
        Digest::of(value.to_string().as_bytes())
    }

    /// The digest and length in bytes of everything that a reader has left.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn of_reader(reader: &mut dyn Read) -> io::Result<(Digest, u64)> {
        let mut sink = Hashing::new(io::sink());
        io::copy(reader, &mut sink)?;
        Ok(sink.finish())
    }

    /// The 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Digest, String> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(digit) {
            Ok(Digest(text))
        } else {
            Err(String::from("a SHA-256 digest is 64 lower-case hexadecimal digits"))
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

/// Passes bytes on and hashes what went through.
#[derive(Debug)]
pub struct Hashing<T> {
    inner: T,
    hash: Sha256,
    count: u64,
}

impl<T> Hashing<T> {
    /// Wraps a reader or writer.
    pub fn new(inner: T) -> Hashing<T> {
        Hashing { inner, hash: Sha256::new(), count: 0 }
    }

    /// Digest and number of the bytes that went through.
    pub fn finish(self) -> (Digest, u64) {
        (Digest(hex(&self.hash.finalize())), self.count)
    }

    fn took(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.count += bytes.len() as u64;
    }
}

impl<T: io::Write> io::Write for Hashing<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.took(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.took(&buf[..n]);
        Ok(n)
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_sha256sum() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-2, appendix B.1
        assert_eq!(Digest::of(b"abc").as_str(), expected);
        assert_eq!(Digest::of_reader(&mut &b"abc"[..]).unwrap(), (Digest::of(b"abc"), 3));
    }

    #[test]
    fn refuses_what_is_no_digest() {
        assert!(Digest::try_from(String::from("../../etc/passwd")).is_err());
        assert!(Digest::try_from("A".repeat(64)).is_err());
    }
}
