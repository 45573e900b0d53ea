//! What people and programs see of plans and runs. Everything here is a fold or a rendering: it returns text.

pub mod agenda;
pub mod facts;
pub mod forecast;
pub mod history;
pub mod junit;
pub mod manifest;
pub mod markdown;
pub mod metrics;
pub mod plan;
pub mod progress;
pub mod quality;
pub mod reckoning;
pub mod reference;
pub mod report;
mod rules;
pub mod service;
pub mod status;
pub mod verdict;

use jiff::Timestamp;
use weiche_agent::protocol::StepOutcome;

/// A time in the run log as UTC, e.g. `2026-11-21 18:39:12Z`.
pub fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |t| t.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// A step's outcome in one word, for columns.
pub fn outcome(what: &StepOutcome) -> &'static str {
    match what {
        StepOutcome::Unchanged => "ok",
        StepOutcome::Changed => "changed",
        StepOutcome::AlreadyDone => "already done",
        StepOutcome::Failed(_) => "FAILED",
        StepOutcome::Undone => "undone",
        StepOutcome::UndoneDrifted { .. } => "undone (someone had changed it; their version is kept)",
        StepOutcome::UndoFailed(_) => "UNDO FAILED",
        StepOutcome::Note(_) => "works",
    }
}
