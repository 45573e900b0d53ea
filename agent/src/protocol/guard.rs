//! How the guard of a stage stands (commit-confirm, RFC 6241 section 8.4).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StepId;

/// Longest time that a guard can wait for its confirmation, in milliseconds: a week. Whoever needs longer re-arms.
pub const MAX_GUARD_MS: u64 = 7 * 24 * 3600 * 1000;

/// The answer to `Arm`, `Confirm` and `Guarded`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuardStatus {
    /// Where it stands.
    pub state: GuardState,
}

/// Where a guard stands. There is no way back from `Confirmed` and `Fired`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuardState {
    /// It was never armed.
    None,
    /// It waits for its confirmation.
    Armed {
        /// Until it takes the stage back, in milliseconds; 0 if that is due.
        left_ms: u64,
    },
    /// The stage stays.
    Confirmed,
    /// The stage was taken back.
    Fired {
        /// Steps that could not be taken back: a person is needed. Empty means that the host is as it was.
        stuck: Vec<StepId>,
    },
}
