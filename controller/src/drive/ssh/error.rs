//! Why a host cannot be reached, told apart so that an operator knows where to look.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::drive::push::PushError;

/// Why there is no agent to talk to. Nothing was changed on the host beyond the agent's own directory.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No TCP connection, or no such name.
    #[error("cannot reach {address}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The deadline passed.
    #[error("{address}: waited {after:?} for {phase}")]
    Timeout {
        /// `host:port`.
        address: String,
        /// What was being waited for.
        phase: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// It is not the host that the fleet knows, or someone sits on the line.
    #[error("{address} presents the host key {seen}, but {pinned} is pinned")]
    HostKey {
        /// `host:port`.
        address: String,
        /// Algorithm and SHA-256 fingerprint that it presents.
        seen: String,
        /// Those that the fleet pins.
        pinned: String,
    },
    /// It has no host key of the pinned type, so it is not the host that the fleet knows.
    #[error("{address} has no host key like the pinned {pinned}; it has {offered}")]
    HostKeyType {
        /// `host:port`.
        address: String,
        /// Algorithm and SHA-256 fingerprint that the fleet pins.
        pinned: String,
        /// The algorithms that it offers.
        offered: String,
    },
    /// The fleet's `host_key` is no key.
    #[error("the host key pinned for {name} is unreadable (`{text}`)")]
    PinnedKey {
        /// The host.
        name: String,
        /// What is written in the fleet.
        text: String,
    },
    /// The two sides have no method in common.
    #[error("no common {what} with {address}: it offers {theirs}")]
    NothingInCommon {
        /// `host:port`.
        address: String,
        /// Key exchange, cipher, …
        what: String,
        /// What it offers.
        theirs: String,
    },
    /// The fleet names a key exchange method that does not exist.
    #[error("unknown key exchange method `{0}`")]
    KeyExchange(String),
    /// Any other trouble with the protocol.
    #[error("the SSH conversation with {address} broke off")]
    Protocol {
        /// `host:port`.
        address: String,
        /// Why.
        #[source]
        source: Box<russh::Error>,
    },
    /// Every key was refused.
    #[error("{address} refuses {user} with {}", keys(.tried))]
    KeyRefused {
        /// `host:port`.
        address: String,
        /// Login name.
        user: String,
        /// The keys that were tried, as SHA-256 fingerprints.
        tried: Vec<String>,
        /// The key was accepted, but the host wants another factor too.
        partial: bool,
    },
    /// A private key is locked with a passphrase.
    #[error("the private key {0} is locked with a passphrase")]
    KeyLocked(PathBuf),
    /// A private key cannot be read.
    #[error("cannot read the private key {path}")]
    KeyFile {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: russh::keys::Error,
    },
    /// There is no ssh-agent.
    #[error("no ssh-agent is running (SSH_AUTH_SOCK)")]
    NoSshAgent(#[source] russh::keys::Error),
    /// The ssh-agent holds no key.
    #[error("the ssh-agent holds no key")]
    NoKeyInSshAgent,
    /// The ssh-agent did not sign.
    #[error("the ssh-agent failed")]
    SshAgent(#[source] russh::keys::Error),
    /// The jump host could not be reached.
    #[error("cannot use the jump host {host}")]
    Jump {
        /// Its name.
        host: String,
        /// Why.
        #[source]
        source: Box<ConnectError>,
    },
    /// The jump host does not reach the host, or does not let us through.
    #[error("the jump host {host} does not reach {address}")]
    Tunnel {
        /// `host:port`.
        address: String,
        /// The jump host.
        host: String,
        /// Why.
        #[source]
        source: Box<russh::Error>,
    },
    /// Logged in, but the agent does not start.
    #[error("cannot start the agent on {address}")]
    Start {
        /// `host:port`.
        address: String,
        /// Why.
        #[source]
        source: PushError,
    },
}

fn keys(tried: &[String]) -> String {
    match tried {
        [one] => format!("the key {one}"),
        several => format!("the keys {}", several.join(", ")),
    }
}

impl ConnectError {
    /// Whether the host may just be switched off, or the line to it cut.
    pub fn is_away(&self) -> bool {
        match self {
            ConnectError::Unreachable { .. } | ConnectError::Timeout { .. } | ConnectError::Protocol { .. } => true,
            ConnectError::Jump { source, .. } => source.is_away(),
            _ => false,
        }
    }

    /// What the operator can do, if we know.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            ConnectError::Unreachable { .. } => "is the host on, the address right and the port open?",
            ConnectError::Timeout { .. } => "is it overloaded, or does a firewall drop packets? (`connect_timeout`)",
            ConnectError::HostKey { .. } | ConnectError::HostKeyType { .. } => {
                "if the host was set up anew, compare the fingerprint on its console (`ssh-keygen -lf \
                 /etc/ssh/ssh_host_ed25519_key.pub`) and change `host_key` in the fleet; otherwise someone is on the \
                 line"
            }
            ConnectError::PinnedKey { .. } => "it is one line as in /etc/ssh/ssh_host_ed25519_key.pub",
            ConnectError::NothingInCommon { .. } => "its sshd is too old, or its configuration too narrow",
            ConnectError::KeyExchange(_) => "leave `key_exchange` out for the default offer",
            ConnectError::KeyRefused { partial: true, .. } => {
                "the key is accepted but the host wants a second factor, which an unattended login cannot give"
            }
            ConnectError::KeyRefused { .. } => "is the key in that user's ~/.ssh/authorized_keys, and its owner right?",
            ConnectError::KeyLocked(_) => "unlock it in an ssh-agent (`ssh-add`) and write `identity: agent`",
            ConnectError::NoSshAgent(_) => {
                "start one (`eval $(ssh-agent)`, `ssh-add`) or name a key file as `identity`"
            }
            ConnectError::NoKeyInSshAgent => "`ssh-add` your key",
            ConnectError::Tunnel { .. } => "does its sshd have `AllowTcpForwarding yes`, and a route to the host?",
            ConnectError::Jump { source, .. } => return source.hint(),
            ConnectError::Start { source, .. } => return source.hint(),
            ConnectError::Protocol { .. } | ConnectError::KeyFile { .. } | ConnectError::SshAgent(_) => return None,
        };
        Some(text.to_owned())
    }
}
