//! Logs in by public key: from a file, or with the keys of a running ssh-agent. Never by password.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use russh::AgentAuthError;
use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{self, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};

use crate::drive::ssh::handshake::{Client, fingerprint};
use crate::drive::ssh::{ConnectError, address};
use crate::input::target::{Identity, Target};

/// Private keys that have been read: a fleet's hosts mostly share one, and reading it takes longer than using it.
#[derive(Default)]
pub struct Keys(Mutex<BTreeMap<PathBuf, Arc<PrivateKey>>>);

impl Keys {
    fn load(&self, path: &Path) -> Result<Arc<PrivateKey>, ConnectError> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.get(path) {
            return Ok(Arc::clone(key));
        }
        let key = match keys::load_secret_key(path, None) {
            Ok(key) if key.is_encrypted() => return Err(ConnectError::KeyLocked(path.to_owned())),
            Ok(key) => Arc::new(key),
            Err(keys::Error::KeyIsEncrypted) => return Err(ConnectError::KeyLocked(path.to_owned())),
            Err(source) => return Err(ConnectError::KeyFile { path: path.to_owned(), source }),
        };
        keys.insert(path.to_owned(), Arc::clone(&key));
        Ok(key)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// Logs in as the target's user.
pub(super) async fn log_in(
    handle: &mut Handle<Client>,
    target: &Target,
    keys: &Keys,
    ssh_agent: Option<&Path>,
) -> Result<(), ConnectError> {
    match &target.identity {
        Identity::File(path) => {
            let key = keys.load(path)?;
            let tried = vec![fingerprint(key.public_key())];
            let hash = hash_for(handle, key.public_key()).await;
            let key = PrivateKeyWithHashAlg::new(key, hash);
            let result = handle.authenticate_publickey(&target.user, key).await;
            match result.map_err(|e| ConnectError::Protocol { address: address(target), source: Box::new(e) })? {
                AuthResult::Success => Ok(()),
                AuthResult::Failure { partial_success, .. } => Err(refused(target, tried, partial_success)),
            }
        }
        Identity::Agent => with_ssh_agent(handle, target, ssh_agent).await,
    }
}

/// Tries the keys of the running ssh-agent in its order.
async fn with_ssh_agent(
    handle: &mut Handle<Client>,
    target: &Target,
    socket: Option<&Path>,
) -> Result<(), ConnectError> {
    let agent = match socket {
        Some(path) => AgentClient::connect_uds(path).await,
        None => AgentClient::connect_env().await,
    };
    let mut agent = agent.map_err(ConnectError::NoSshAgent)?;
    if let Some(binding) = handle.agent_session_binding() {
        // Needed for keys that are constrained to a destination; an old agent does not know it, which is no harm.
        let _ = agent.bind_session(binding, false).await;
    }
    let identities = agent.request_identities().await.map_err(ConnectError::SshAgent)?;
    let mut tried = Vec::new();
    let mut unable = None;
    for identity in identities {
        let (public, result) = match identity {
            AgentIdentity::PublicKey { key, .. } => {
                let hash = hash_for(handle, &key).await;
                let login = handle.authenticate_publickey_with(&target.user, key.clone(), hash, &mut agent);
                (key, login.await)
            }
            AgentIdentity::Certificate { certificate, .. } => {
                let key = PublicKey::new(certificate.public_key().clone(), "");
                let hash = hash_for(handle, &key).await;
                let login = handle.authenticate_certificate_with(&target.user, certificate, hash, &mut agent);
                (key, login.await)
            }
        };
        tried.push(fingerprint(&public));
        match result {
            Ok(AuthResult::Success) => return Ok(()),
            Ok(AuthResult::Failure { partial_success: true, .. }) => return Err(refused(target, tried, true)),
            Ok(AuthResult::Failure { .. }) => {}
            Err(AgentAuthError::Key(error)) => unable = Some(error),
            Err(AgentAuthError::Send(_)) => break,
        }
    }
    match unable {
        Some(source) => Err(ConnectError::SshAgent(source)),
        None if tried.is_empty() => Err(ConnectError::NoKeyInSshAgent),
        None => Err(refused(target, tried, false)),
    }
}

/// RSA signs with SHA-2, whatever the host says; other keys have no choice.
async fn hash_for(handle: &Handle<Client>, key: &PublicKey) -> Option<HashAlg> {
    if !key.algorithm().is_rsa() {
        return None;
    }
    handle.best_supported_rsa_hash().await.ok().flatten().flatten().or(Some(HashAlg::Sha512))
}

fn refused(target: &Target, tried: Vec<String>, partial: bool) -> ConnectError {
    ConnectError::KeyRefused { address: address(target), user: target.user.clone(), tried, partial }
}
