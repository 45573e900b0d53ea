//! The guards of a run's stages, as its journal knows them: [`Guard::next`] is the only way from one standing to the next.

use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::host::Clock;
use crate::protocol::{GuardState, StepId};

use super::Record;

/// A guard that was armed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// SHA-256 of the nonce that confirms.
    pub nonce: Digest,
    /// The boot that the deadline is of; empty if the host does not tell its boots apart.
    pub boot_id: String,
    /// On that boot's clock, which runs on while the host sleeps and which nobody sets (`CLOCK_BOOTTIME`).
    pub deadline_boottime_ms: u64,
    /// Where it stands.
    pub standing: Standing,
}

/// Where a guard stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits.
    Armed,
    /// The stage stays.
    Confirmed,
    /// The stage was taken back, but for these steps.
    Fired(Vec<StepId>),
}

impl Guard {
    /// The guard after a record, given the one before (`None`: it was never armed).
    ///
    /// # Errors
    /// `Corrupt` for a record that cannot follow: the journal was not written by this code.
    pub fn next(now: Option<&Guard>, record: &Record) -> Result<Guard, Fault> {
        let wrong = || {
            let message = format!("a journal record {record:?} cannot follow guard {now:?}");
            Err(Fault::new(FaultCode::Corrupt, message))
        };
        let standing = match (now.map(|guard| &guard.standing), record) {
            (None | Some(Standing::Armed), Record::Armed { nonce, boot_id, deadline_boottime_ms, .. }) => {
                if now.is_some_and(|guard| guard.nonce != *nonce) {
                    return wrong();
                }
                let (nonce, boot_id) = (nonce.clone(), boot_id.clone());
                let deadline_boottime_ms = *deadline_boottime_ms;
                return Ok(Guard { nonce, boot_id, deadline_boottime_ms, standing: Standing::Armed });
            }
            (Some(Standing::Armed), Record::Confirmed { .. }) => Standing::Confirmed,
            // Again once a person has helped what was stuck.
            (Some(Standing::Armed | Standing::Fired(_)), Record::Fired { stuck, .. }) => Standing::Fired(stuck.clone()),
            _ => return wrong(),
        };
        now.map_or_else(wrong, |guard| Ok(Guard { standing, ..guard.clone() }))
    }

    /// Whether it waits for its confirmation.
    pub fn armed(&self) -> bool {
        self.standing == Standing::Armed
    }

    /// Milliseconds until it fires, if it is armed: 0 under another boot than it was armed under.
    pub fn left_ms(&self, boot_id: &str, clock: Clock) -> u64 {
        if self.boot_id == boot_id { self.deadline_boottime_ms.saturating_sub(clock.boottime_ms) } else { 0 }
    }

    /// As it is told to controllers.
    pub fn state(&self, boot_id: &str, clock: Clock) -> GuardState {
        match &self.standing {
            Standing::Armed => GuardState::Armed { left_ms: self.left_ms(boot_id, clock) },
            Standing::Confirmed => GuardState::Confirmed,
            Standing::Fired(stuck) => GuardState::Fired { stuck: stuck.clone() },
        }
    }
}
