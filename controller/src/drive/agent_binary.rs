//! The agent that this controller carries. Hosts keep it under its digest, so versions cannot be mixed up.

use std::sync::OnceLock;

use weiche_agent::digest::Digest;

/// The static executable as `build.rs` built and compressed it (gzip(1)).
pub const AGENT_GZ: &[u8] = include_bytes!(env!("WEICHE_AGENT_GZ"));

/// The machine type that it runs on, as `uname -m` prints it.
pub const AGENT_ARCH: &str = env!("WEICHE_AGENT_ARCH");

/// SHA-256 of the executable, computed once.
pub fn agent_digest() -> &'static Digest {
    static DIGEST: OnceLock<Digest> = OnceLock::new();
    DIGEST.get_or_init(|| {
        let read = Digest::of_reader(&mut flate2::read::GzDecoder::new(AGENT_GZ));
        // What was compressed while building and has come along whole can be read.
        read.map_or_else(|_| Digest::of(AGENT_GZ), |(digest, _)| digest)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn it_is_static_and_small() {
        let mut agent = Vec::new();
        flate2::read::GzDecoder::new(AGENT_GZ).read_to_end(&mut agent).unwrap();
        assert_eq!(*agent_digest(), Digest::of(&agent));
        assert_eq!(&agent[..4], b"\x7fELF");
        // About 750 KiB of it is the C library.
        assert!(agent.len() <= 7 << 19, "{} bytes on every host", agent.len());
        // 1.6 MiB take 14 s over a line of 1 Mbit/s, once per host and release.
        assert!(AGENT_GZ.len() <= (16 << 20) / 10, "{} bytes are pushed to every host", AGENT_GZ.len());
        // An interpreter is what makes an executable depend on the host's libraries.
        assert!(!agent.windows(7).any(|w| w == b"/ld-lin"), "dynamically linked");
    }
}
