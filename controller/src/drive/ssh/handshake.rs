//! What is offered to a host's sshd, and the check of its host key.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, DisconnectReason};
use russh::keys::{Algorithm, HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Names, Preferred, cipher, compression, kex, mac};

use crate::drive::ssh::{ConnectError, address};
use crate::input::target::Target;

/// The default offer: first what a quantum computer does not break later (OpenSSH 9.9 and newer has it), then what
/// every OpenSSH of the last ten years has.
const KEY_EXCHANGE: [kex::Name; 5] = [
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::DH_G16_SHA512,
];

/// Not methods, but marks in the list of methods: we understand `server-sig-algs` (RFC 8308) and strict key exchange,
/// which defeats prefix truncation (CVE-2023-48795).
const MARKS: [kex::Name; 2] = [kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT];

/// Processors with AES instructions do GCM at several times the speed of ChaCha20-Poly1305.
const CIPHERS: [cipher::Name; 4] =
    [cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR];

/// Used with CTR only.
const MACS: [mac::Name; 4] = [mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

/// What a line that is up may carry unread: enough for 100 Mbit/s at 150 ms.
const WINDOW: u32 = 2 << 20;

/// Unanswered keepalives after which a line counts as cut: one may be lost, and the next be late.
const KEEPALIVES: u32 = 3;

/// The russh configuration for a host.
pub(super) fn config(target: &Target, pinned: &PublicKey) -> Result<client::Config, ConnectError> {
    let mut methods = KEY_EXCHANGE.to_vec();
    if !target.key_exchange.is_empty() {
        let parse =
            |name: &String| kex::Name::try_from(name.as_str()).map_err(|()| ConnectError::KeyExchange(name.clone()));
        methods = target.key_exchange.iter().map(parse).collect::<Result<_, _>>()?;
    }
    methods.extend(MARKS);
    // An sshd has several host keys; it presents one of a type that we ask for.
    let keys = match pinned.algorithm() {
        Algorithm::Rsa { .. } => {
            vec![Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, Algorithm::Rsa { hash: Some(HashAlg::Sha256) }]
        }
        other => vec![other],
    };
    Ok(client::Config {
        preferred: Preferred {
            kex: Cow::Owned(methods),
            key: Cow::Owned(keys),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Borrowed(&CIPHERS),
            mac: Cow::Borrowed(&MACS),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        window_size: WINDOW,
        keepalive_interval: Some(target.silence_timeout / (KEEPALIVES + 1)),
        keepalive_max: KEEPALIVES as usize,
        // Keepalives answer sooner; this ends a handshake that nobody waits for any more.
        inactivity_timeout: Some(Duration::from_secs(600)),
        nodelay: true,
        ..client::Config::default()
    })
}

/// The methods that a connection uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// Key exchange, e.g. `mlkem768x25519-sha256`.
    pub kex: String,
    /// Encryption, e.g. `aes128-gcm@openssh.com`.
    pub cipher: String,
}

/// What the handler saw, shared with whoever holds the connection.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    negotiated: Negotiated,
    refused: Option<String>,
    cause: Option<String>,
}

impl Seen {
    fn note<T>(&self, note: impl FnOnce(&mut Notes) -> T) -> T {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn negotiated(&self) -> Negotiated {
        self.note(|notes| notes.negotiated.clone())
    }

    /// Why the connection ended.
    pub(super) fn cause(&self) -> String {
        self.note(|notes| notes.cause.clone()).unwrap_or_else(|| String::from("closed by the host"))
    }

    /// Says what a failed handshake means.
    pub(super) fn explain(&self, target: &Target, error: russh::Error) -> ConnectError {
        let address = address(target);
        let pinned = || PublicKey::from_openssh(&target.host_key).map(|key| fingerprint(&key)).unwrap_or_default();
        if let Some(seen) = self.note(|notes| notes.refused.take()) {
            return ConnectError::HostKey { address, seen, pinned: pinned() };
        }
        match error {
            russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, theirs, .. } => {
                ConnectError::HostKeyType { address, pinned: pinned(), offered: theirs.join(", ") }
            }
            russh::Error::NoCommonAlgo { kind, theirs, .. } => {
                let what = match kind {
                    AlgorithmKind::Kex => String::from("key exchange method"),
                    other => format!("{other:?}").to_lowercase(),
                };
                ConnectError::NothingInCommon { address, what, theirs: theirs.join(", ") }
            }
            russh::Error::IO(source) => ConnectError::Unreachable { address, source },
            other => ConnectError::Protocol { address, source: Box::new(other) },
        }
    }
}

/// Watches one connection.
#[derive(Debug)]
pub(super) struct Client {
    pinned: PublicKey,
    seen: Arc<Seen>,
}

impl Client {
    pub(super) fn new(target: &Target) -> Result<(Client, Arc<Seen>), ConnectError> {
        let unreadable = |_| ConnectError::PinnedKey { name: target.name.to_string(), text: target.host_key.clone() };
        let pinned = PublicKey::from_openssh(&target.host_key).map_err(unreadable)?;
        let seen = Arc::new(Seen::default());
        Ok((Client { pinned, seen: Arc::clone(&seen) }, seen))
    }

    pub(super) fn pinned(&self) -> &PublicKey {
        &self.pinned
    }
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, presented: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let key = presented.public_key();
        let same = presented.certificate().is_none() && key.key_data() == self.pinned.key_data();
        if !same {
            self.seen.note(|notes| notes.refused = Some(fingerprint(&key)));
        }
        Ok(same)
    }

    async fn kex_done(
        &mut self,
        _shared_secret: Option<&[u8]>,
        names: &Names,
        _session: &mut client::Session,
    ) -> Result<(), russh::Error> {
        let negotiated = Negotiated { kex: names.kex.as_ref().to_owned(), cipher: names.cipher.as_ref().to_owned() };
        self.seen.note(|notes| notes.negotiated = negotiated);
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        let cause = match &reason {
            DisconnectReason::ReceivedDisconnect(info) => format!("the host hung up: {}", info.message),
            DisconnectReason::Error(russh::Error::KeepaliveTimeout) => String::from("the host no longer answers"),
            DisconnectReason::Error(error) => error.to_string(),
        };
        self.seen.note(|notes| notes.cause = Some(cause));
        Ok(())
    }
}

/// Algorithm and SHA-256 fingerprint, as `ssh-keygen -l` shows them.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}
