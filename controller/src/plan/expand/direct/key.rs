//! The keys of direct transfers. They are made from the fleet's seed and the plan's nonce, whenever they are needed, so
//! that whoever goes on with a run has the same ones; no plan, run log or store holds a private one.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::ssh_key::{HashAlg, LineEnding};
use sha2::Sha256;

/// What the first bytes of a message say, so that the seed may be used for other things, too.
const PURPOSE: &str = "weiche: key of a direct transfer, 1";

/// What a plan's keys are made from.
#[derive(Clone)]
pub struct Keys {
    /// Different for every plan.
    pub nonce: String,
    /// The fleet's secret: 32 random bytes; zeros where no playbook needs keys.
    pub seed: [u8; 32],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("nonce", &self.nonce).finish_non_exhaustive()
    }
}

/// A key pair in OpenSSH's forms.
pub(super) struct Pair {
    /// One line: type, key, comment.
    pub(super) public: String,
    /// With its line ends.
    pub(super) private: String,
    /// `SHA256:...`, as ssh-keygen(1) prints it.
    pub(super) fingerprint: String,
}

/// The key by which `to` reads `name` on `from`: Ed25519, its secret being HMAC-SHA-256 (RFC 2104) under the seed.
///
/// # Errors
/// It could not be written in OpenSSH's form: our bug.
pub(super) fn pair(keys: &Keys, from: &str, to: &str, name: &str) -> Result<Pair, String> {
    let said = |e: &dyn fmt::Display| format!("the key of a transfer could not be made: {e}");
    let mut mac = Hmac::<Sha256>::new_from_slice(&keys.seed).map_err(|e| said(&e))?;
    for part in [PURPOSE, &keys.nonce, from, to, name] {
        // With its length, so that no two lists of parts are one message.
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    let secret: [u8; 32] = mac.finalize().into_bytes().into();
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&secret));
    let key = PrivateKey::new(pair, format!("weiche-mirror-{name}@{to}")).map_err(|e| said(&e))?;
    Ok(Pair {
        public: key.public_key().to_openssh().map_err(|e| said(&e))?,
        private: key.to_openssh(LineEnding::LF).map_err(|e| said(&e))?.to_string(),
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_again_and_differs_with_all_that_it_is_made_from() {
        let keys = |nonce: &str, seed| Keys { nonce: nonce.into(), seed: [seed; 32] };
        let of = |keys: &Keys, from, to, name| pair(keys, from, to, name).unwrap();
        let one = of(&keys("n", 7), "a", "b", "x");
        let again = of(&keys("n", 7), "a", "b", "x");
        assert_eq!((&one.private, &one.public), (&again.private, &again.public));
        let read = PrivateKey::from_openssh(&one.private).unwrap();
        assert_eq!(read.public_key().to_openssh().unwrap(), one.public);
        assert!(one.public.starts_with("ssh-ed25519 ") && one.public.ends_with(" weiche-mirror-x@b"), "{}", one.public);
        let others = [
            of(&keys("m", 7), "a", "b", "x"),
            of(&keys("n", 8), "a", "b", "x"),
            of(&keys("n", 7), "b", "a", "x"),
            of(&keys("n", 7), "a", "b", "y"),
            of(&keys("n", 7), "ab", "", "x"),
        ];
        let mut prints: Vec<&str> =
            others.iter().map(|pair| pair.fingerprint.as_str()).chain([&*one.fingerprint]).collect();
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), 6);
        assert!(!format!("{:?}", keys("n", 7)).contains('7'));
    }
}
