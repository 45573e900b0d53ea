//! Whether an approval counts: whose signature it is, and whether they may speak for those who are concerned.

use super::gate::{Approval, role};
use super::signature::{VerifyFault, verify};
use super::statement::Statement;
use crate::input::fleet::Fleet;

/// Why an approval does not count.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalFault {
    /// The signature is not theirs, or not over this.
    #[error(transparent)]
    Signature(#[from] VerifyFault),
    /// They have no say there, or different ones; the fleet's author can fix it.
    #[error("{0} cannot approve for every member concerned")]
    NoSay(String),
}

/// The approval that a signature over this statement is, for all of these members; `at_ms` is when it came in, in
/// milliseconds since 1970, UTC. Signers and approvers are those of the fleet as it is now: who was removed from it does
/// not count any more.
///
/// # Errors
/// See [`ApprovalFault`].
pub fn approval<'a>(
    fleet: &Fleet,
    statement: &Statement,
    signature: &str,
    members: impl Iterator<Item = &'a str>,
    at_ms: i64,
) -> Result<Approval, ApprovalFault> {
    let principal = verify(fleet.signers(), statement, signature, at_ms)?.to_owned();
    let roles: Vec<_> = members.map(|member| role(fleet, &principal, member)).collect();
    match roles.first().copied().filter(|first| roles.iter().all(|role| role == first)) {
        Some(Some(role)) => Ok(Approval { principal, role, at_ms }),
        _ => Err(ApprovalFault::NoSay(principal)),
    }
}
