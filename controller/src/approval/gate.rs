//! A gate: the boundary of a stage that waits for people.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::fleet::Fleet;

pub use crate::input::rollout::rule::Role;

/// What a gate waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Persons who must approve.
    #[serde(default)]
    pub approve: u32,
    /// Whether the approval of the one who planned does not count.
    #[serde(default)]
    pub not_by_planner: bool,
    /// Whose approvals count; anybody's, if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// How long an approval holds, in milliseconds; for ever, if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// What must have been ticked off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checklist: Vec<String>,
}

/// An approval whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// Who, as the file of approvers names them.
    pub principal: String,
    /// As what.
    pub role: Role,
    /// When it came in, in milliseconds since 1970, UTC.
    pub at_ms: i64,
}

/// As what a person approves something of this member. `None` for those who are no approvers, and for the approvers of
/// other members: they have no say here, neither as member nor as technician.
pub fn role(fleet: &Fleet, principal: &str, member: &str) -> Option<Role> {
    let lists = |member: &crate::input::member::Member| member.approvers.iter().any(|p| p.value == principal);
    if !fleet.signers().has(principal) {
        None
    } else if fleet.member(member).is_some_and(lists) {
        Some(Role::Member)
    } else {
        (!fleet.members().any(lists)).then_some(Role::Technician)
    }
}

/// Whether a gate is open. `planner` is who made the plan, as the file of approvers names them. Persons are counted, not
/// approvals, and capitals in names do not make two of one.
///
/// # Errors
/// What is missing, a line each, never empty: the people named by the gate can fix it.
pub fn open(
    gate: &Gate,
    approvals: &[Approval],
    ticked: &BTreeSet<String>,
    planner: &str,
    now_ms: i64,
) -> Result<(), Vec<String>> {
    let mut missing = Vec::new();
    let (mut counted, mut refused) = (BTreeSet::new(), Vec::new());
    for approval in approvals {
        match refusal(gate, approval, planner, now_ms) {
            None => {
                counted.insert(approval.principal.to_lowercase());
            }
            Some(reason) => refused.push((approval.principal.to_lowercase(), reason)),
        }
    }
    let lacking = u64::from(gate.approve).saturating_sub(counted.len() as u64);
    if lacking > 0 {
        let (who, are) = (gate.role.map_or("", Role::name), if lacking == 1 { "is" } else { "are" });
        let what = if gate.approve == 1 { "approval" } else { "approvals" };
        let of = if who.is_empty() { String::new() } else { format!(" with the role {who}") };
        missing.push(format!("{lacking} of {} {what}{of} {are} missing", gate.approve));
        // A person who approved again after the first time had lapsed counts; the old one is no news.
        let news = refused.into_iter().filter(|(principal, _)| !counted.contains(principal));
        missing.extend(news.map(|(_, reason)| reason));
    }
    let unticked = gate.checklist.iter().filter(|item| !ticked.contains(*item));
    missing.extend(unticked.map(|item| format!("not ticked off: {item}")));
    if missing.is_empty() { Ok(()) } else { Err(missing) }
}

/// Why an approval does not count.
fn refusal(gate: &Gate, approval: &Approval, planner: &str, now_ms: i64) -> Option<String> {
    let who = &approval.principal;
    if gate.not_by_planner && planner.is_empty() {
        return Some(format!("the approval of {who} does not count: it is not known who planned"));
    }
    if gate.not_by_planner && who.to_lowercase() == planner.to_lowercase() {
        return Some(format!("the approval of {who} does not count: they planned it"));
    }
    if let Some(role) = gate.role.filter(|role| *role != approval.role) {
        let (is, wanted) = (approval.role.name(), role.name());
        return Some(format!("the approval of {who} does not count: given as {is}, and a {wanted}'s is wanted"));
    }
    let expires_ms = gate.expires_ms.map(|expires| i64::try_from(expires).unwrap_or(i64::MAX))?;
    if approval.at_ms > now_ms {
        // The clock was set back: nobody knows how old it is.
        return Some(format!("the approval of {who} does not count yet: it is dated ahead of the clock"));
    }
    (now_ms >= approval.at_ms.saturating_add(expires_ms)).then(|| format!("the approval of {who} has expired"))
}
