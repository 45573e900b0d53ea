//! OpenSSH signatures over statements (PROTOCOL.sshsig), as `ssh-keygen -Y sign` and `-Y verify` make and take them.

use russh::keys::ssh_key::{Algorithm, HashAlg, LineEnding, SshSig};
use russh::keys::{PrivateKey, PublicKey};

use super::statement::Statement;
use crate::input::signer::{Signer, Signers};

/// The namespace of approvals (`ssh-keygen -Y sign -n weiche`): a signature for another purpose is none.
pub const NAMESPACE: &str = "weiche";

/// Longest signature in bytes; that of an RSA key of 16384 bits is a third of it.
pub const ARMOR_MAX: usize = 16 * 1024;

/// Why a private key cannot be used; its owner can fix it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// It needs a passphrase.
    #[error("the private key is encrypted, and no passphrase was given")]
    Encrypted,
    /// The text is no private key, or the passphrase is not that of the key.
    #[error("this is no private key, or the passphrase is wrong ({0})")]
    Unreadable(String),
}

/// Why a statement could not be signed; the owner of the key can fix it.
#[derive(Debug, thiserror::Error)]
pub enum SignFault {
    /// It was not decrypted.
    #[error("the private key is still encrypted")]
    Encrypted,
    /// Keys in security tokens and old kinds.
    #[error("a key of the kind {0} cannot sign here: use `ssh-keygen -Y sign -n {NAMESPACE}`")]
    Kind(String),
    /// The arithmetic failed.
    #[error("the key cannot sign ({0})")]
    Failed(String),
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyFault {
    /// The approver can fix it.
    #[error("this is no OpenSSH signature ({0})")]
    Form(String),
    /// Made for something else; the approver can fix it.
    #[error("the signature is for `{0}`, not for `{NAMESPACE}`: sign with `-n {NAMESPACE}`")]
    Namespace(String),
    /// Nobody in the file of approvers has this key; the fleet's author can fix it.
    #[error("nobody among the approvers has the key {0}")]
    Unknown(String),
    /// The file of approvers does not let this key sign approvals; the fleet's author can fix it.
    #[error("the key of {0} may not sign for `{NAMESPACE}`")]
    NotForThis(String),
    /// The fleet's author can fix it.
    #[error("the key of {0} is not valid yet")]
    NotYet(String),
    /// The fleet's author can fix it.
    #[error("the key of {0} is no longer valid")]
    Expired(String),
    /// SHA-1, or a token that nobody touched; the approver can fix it.
    #[error("the signature is too weak: {0}")]
    Weak(&'static str),
    /// It was made over something else, e.g. an earlier plan; the approver must look at this one.
    #[error("the signature of {0} is not over this statement")]
    Altered(String),
}

/// Reads a private key in OpenSSH's or a PEM form, decrypted with its passphrase if it has one.
///
/// # Errors
/// See [`KeyFault`]. The passphrase is in no message.
pub fn signing_key(text: &str, passphrase: Option<&str>) -> Result<PrivateKey, KeyFault> {
    let unreadable = |error: russh::keys::Error| KeyFault::Unreadable(error.to_string());
    match russh::keys::decode_secret_key(text, passphrase) {
        Ok(key) if key.is_encrypted() => Err(KeyFault::Encrypted),
        Ok(key) => Ok(key),
        Err(russh::keys::Error::KeyIsEncrypted) => Err(KeyFault::Encrypted),
        Err(error) => Err(unreadable(error)),
    }
}

/// Signs a statement; returns the armoured signature that `ssh-keygen -Y verify` takes.
///
/// # Errors
/// See [`SignFault`].
pub fn sign(key: &PrivateKey, statement: &Statement) -> Result<String, SignFault> {
    if key.is_encrypted() {
        return Err(SignFault::Encrypted);
    }
    let text = statement.to_string();
    let signed = key.sign(NAMESPACE, HashAlg::Sha512, text.as_bytes()).map_err(|error| match error {
        russh::keys::ssh_key::Error::AlgorithmUnsupported { .. } => SignFault::Kind(key.algorithm().to_string()),
        other => SignFault::Failed(other.to_string()),
    })?;
    signed.to_pem(LineEnding::LF).map_err(|error| SignFault::Failed(error.to_string()))
}

/// Whose valid signature this is over exactly this statement: the principal, one of [`Signers::principals`]. `at_ms` is
/// when the key must be valid, in milliseconds since 1970, UTC: when the approval came in.
///
/// # Errors
/// See [`VerifyFault`].
pub fn verify<'a>(
    signers: &'a Signers,
    statement: &Statement,
    armor: &str,
    at_ms: i64,
) -> Result<&'a str, VerifyFault> {
    let signature = read(armor)?;
    if signature.namespace() != NAMESPACE {
        let found = signature.namespace().chars().filter(|c| !c.is_control()).take(64).collect();
        return Err(VerifyFault::Namespace(found));
    }
    strong(&signature)?;
    let key = PublicKey::from(signature.public_key().clone());
    let mut fault = VerifyFault::Unknown(key.fingerprint(HashAlg::Sha256).to_string());
    // A key may be there twice, e.g. with two times of validity: one line that allows it is enough.
    for signer in signers.iter().filter(|signer| signer.key == *key.key_data()) {
        match allowed(signer, at_ms) {
            Ok(()) => {
                let verified = key.verify(NAMESPACE, statement.to_string().as_bytes(), &signature);
                return match verified {
                    Ok(()) => Ok(&signer.principal),
                    Err(_) => Err(VerifyFault::Altered(signer.principal.clone())),
                };
            }
            Err(found) => fault = found,
        }
    }
    Err(fault)
}

fn allowed(signer: &Signer, at_ms: i64) -> Result<(), VerifyFault> {
    let principal = || signer.principal.clone();
    if !signer.signs(NAMESPACE) {
        Err(VerifyFault::NotForThis(principal()))
    } else if signer.valid_after_ms.is_some_and(|after| at_ms < after) {
        Err(VerifyFault::NotYet(principal()))
    } else if signer.valid_before_ms.is_some_and(|before| at_ms > before) {
        Err(VerifyFault::Expired(principal()))
    } else {
        Ok(())
    }
}

/// Reads the armour; blanks around lines and Windows line ends come from mails and do not matter.
fn read(armor: &str) -> Result<SshSig, VerifyFault> {
    if armor.len() > ARMOR_MAX {
        return Err(VerifyFault::Form(format!("it is longer than {ARMOR_MAX} bytes")));
    }
    let lines: Vec<&str> = armor.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let signature = SshSig::from_pem(lines.join("\n") + "\n").map_err(|error| VerifyFault::Form(error.to_string()))?;
    // The decoder refuses later versions only.
    let known = signature.version() == SshSig::VERSION;
    if known { Ok(signature) } else { Err(VerifyFault::Form(format!("version {}", signature.version()))) }
}

/// PROTOCOL.sshsig: RSA signatures use SHA-2; PROTOCOL.u2f: the flag that someone touched the token.
fn strong(signature: &SshSig) -> Result<(), VerifyFault> {
    match signature.algorithm() {
        Algorithm::Rsa { hash: None } => Err(VerifyFault::Weak("it uses SHA-1")),
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => {
            // Ends with a byte of flags and a counter of four bytes.
            let flags = signature.signature_bytes().iter().rev().nth(4);
            let touched = flags.is_some_and(|flags| flags & 1 == 1);
            if touched { Ok(()) } else { Err(VerifyFault::Weak("nobody touched the security token")) }
        }
        _ => Ok(()),
    }
}
