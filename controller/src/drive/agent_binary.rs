//! The agent that this controller carries. Hosts keep it under its digest, so versions cannot be mixed up.

use std::sync::OnceLock;

use weiche_agent::digest::Digest;

/// The static executable, as `build.rs` built it.
pub const AGENT: &[u8] = include_bytes!(env!("WEICHE_AGENT_BINARY"));

/// The machine type that it runs on, as `uname -m` prints it.
pub const AGENT_ARCH: &str = env!("WEICHE_AGENT_ARCH");

/// SHA-256 of [`AGENT`], computed once.
pub fn agent_digest() -> &'static Digest {
    static DIGEST: OnceLock<Digest> = OnceLock::new();
    DIGEST.get_or_init(|| Digest::of(AGENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_static_and_small() {
        assert_eq!(&AGENT[..4], b"\x7fELF");
        // About 750 KiB of it is the C library; 2 MiB take 17 s over a line of 1 Mbit/s, once per host and release.
        assert!(AGENT.len() <= 3 << 20, "{} bytes are pushed to every host", AGENT.len());
        // An interpreter is what makes an executable depend on the host's libraries.
        assert!(!AGENT.windows(7).any(|w| w == b"/ld-lin"), "dynamically linked");
    }
}
