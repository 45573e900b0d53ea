//! Approvals: what a person signs, whether the signature counts, and what a gate waits for. Pure.
//!
//! The signature is OpenSSH's (PROTOCOL.sshsig) over a text that people can read: `ssh-keygen -Y sign -n weiche` makes
//! it as well as [`sign`]. [`statement`] <- [`signature`] <- [`evidence`]; [`gate`] knows none of them.

pub mod evidence;
pub mod gate;
pub mod signature;
pub mod statement;

#[cfg(test)]
pub(crate) mod tests;

pub use evidence::{ApprovalFault, approval};
pub use gate::{Approval, Gate, Role, open, role};
pub use signature::{KeyFault, NAMESPACE, SignFault, VerifyFault, sign, signing_key, verify};
pub use statement::{Statement, StatementFault};
