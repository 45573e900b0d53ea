//! Exit codes: one table, documented in `--help` and the README.

use std::fmt;

use crate::drive::chain;
use crate::rollout::Outcome;

/// The table as `weiche --help` shows it.
pub(super) const TABLE: &str = "\
Exit codes:
  0  done, or nothing to do
  1  error before any change
  2  changes pending, or drift
  3  failed; what failed was fully taken back
  4  taken back with differences, or stuck: a person is needed
  5  does not fit the window
  6  waits for a person: a manual step, a gate or an approval
  7  a host could not be reached before the start";

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done or nothing to do.
    Done,
    /// Error before any change.
    Error,
    /// Changes pending or drift.
    Pending,
    /// Failed and fully taken back.
    RolledBack,
    /// Taken back with differences, or stuck.
    Stuck,
    /// The work or its rollback does not fit into the window.
    DoesNotFit,
    /// Waits for a person.
    Waiting,
    /// A host could not be reached before the start.
    Unreachable,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Error => 1,
            Exit::Pending => 2,
            Exit::RolledBack => 3,
            Exit::Stuck => 4,
            Exit::DoesNotFit => 5,
            Exit::Waiting => 6,
            Exit::Unreachable => 7,
        }
    }

    /// Of a run that was to go forward.
    pub(super) fn forward(outcome: Outcome) -> Exit {
        match outcome {
            Outcome::Done => Exit::Done,
            Outcome::RolledBack | Outcome::Partial => Exit::RolledBack,
            Outcome::Stuck | Outcome::Differs | Outcome::Left => Exit::Stuck,
        }
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub exit: Exit,
    /// What happened, the cause first.
    pub message: String,
    /// What can be done about it.
    pub hints: Vec<String>,
    /// The same by place, for reports: a host or a file, and what is wrong there.
    pub parts: Vec<(String, String)>,
}

impl Failure {
    /// An error before any change.
    pub(super) fn new(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Error, message: message.into(), hints: Vec::new(), parts: Vec::new() }
    }

    /// An error before any change, with its chain of causes.
    pub(super) fn of(what: &str, error: &dyn std::error::Error) -> Failure {
        Failure::new(format!("{what}: {}", chain(error)))
    }

    /// With another exit code.
    pub(super) fn exit(mut self, exit: Exit) -> Failure {
        self.exit = exit;
        self
    }

    /// With what is wrong where.
    pub(super) fn parts(mut self, parts: Vec<(String, String)>) -> Failure {
        self.parts = parts;
        self
    }

    /// With something that can be done.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message.trim_end())?;
        self.hints.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))
    }
}
