//! What happens to a step, and where it stands in a journal.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, StepId};

/// Something that happened to one step on one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepEvent {
    /// The step.
    pub step: StepId,
    /// What happened.
    pub what: StepOutcome,
    /// Time the agent spent on it, in microseconds.
    pub took_us: u64,
}

/// The things that happen to a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// The host already is as wanted; nothing was journalled.
    Unchanged,
    /// Changed, checked again, durable.
    Changed,
    /// The journal says that an earlier session already carried it out.
    AlreadyDone,
    /// Failed; it may have changed something and has to be undone.
    Failed(Fault),
    /// Taken back, checked, durable.
    Undone,
    /// Taken back, but someone had changed the resource since: what they left is kept under this path on the host.
    UndoneDrifted {
        /// A path in the agent's state directory.
        kept: String,
    },
    /// Could not be taken back: a person is needed.
    UndoFailed(Fault),
    /// Says something on its way, and is not through: how far it is, or what people should know.
    Note(String),
}

/// One step in a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepStatus {
    /// The step.
    pub step: StepId,
    /// Kind of its resource.
    pub kind: String,
    /// Where it stands.
    pub status: Status,
}

/// Where a journalled step stands; [`Status::next`] is the only way from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// `before` is durable; the host may or may not have been changed.
    Begun,
    /// Changed and durable.
    Done,
    /// Failed; it may have changed something.
    Failed,
    /// Undo has started; it may be half-way.
    Undoing,
    /// As it was.
    Undone,
    /// Undo failed: a person is needed.
    Stuck,
}
