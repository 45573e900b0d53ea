//! The weekend ahead: the rollout machine in virtual time, driven by what steps are expected to take.
//!
//! Nothing here looks at a clock. A forecast says when each step begins and ends at the earliest and at the latest, whether
//! the work *and* its rollback fit into the window (DESIGN.md, section 6), until when an abort still fits, and what would
//! have to change if they do not. It counts on hosts that are there and gates that are open; it says "fits, given bounds
//! from n runs", never "guaranteed".

pub mod actual;
mod advice;
pub mod agenda;
mod assumed;
mod clockwork;
mod failures;
mod foresee;
mod lengths;
mod live;
mod model;
mod weekend;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weiche_agent::protocol::StepId;

use crate::calendar::Opening;
use crate::input::target::HostName;
use crate::plan::takes::Basis;

pub use assumed::{AROUND, moves_ms, takes as assumed};
pub use foresee::{Options, of, settle};
pub use live::{Live, now};

/// What a plan takes, and whether it and its way back fit. All times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Forecast {
    /// When the run begins.
    pub start_ms: i64,
    /// When its last stage is through.
    pub end: Between,
    /// Whether every stage fits into its window, its rollback included.
    pub fits: bool,
    /// Why not: in the order of the plan.
    pub problems: Vec<Problem>,
    /// What to know of it though it is no problem of the windows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// From where on there is no way back, or none that fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_return: Option<NoReturn>,
    /// Of how many weekends with sampled durations how many fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chance: Option<Chance>,
    /// For manual steps.
    pub technicians: Technicians,
    /// What the bounds rest on: numbers of steps.
    pub basis: Bases,
    /// In order.
    pub stages: Vec<StageForecast>,
    /// What would make it fit, each for itself, the smallest change first; empty if it fits.
    pub advice: Vec<Advice>,
}

/// A time that is not known exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Between {
    /// If everything goes as fast as it ever went.
    pub earliest_ms: i64,
    /// If everything goes as it usually does.
    pub usual_ms: i64,
    /// If everything takes as long as its bound.
    pub latest_ms: i64,
}

/// Why a plan does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// The window of the stage never opens for long enough.
    NoWindow {
        /// The stage.
        stage: String,
    },
    /// The stage itself may be at work when its window closes.
    Late {
        /// The stage.
        stage: String,
        /// It may end by so much too late.
        by_ms: u64,
    },
    /// The stage fits, but not the way back from it.
    NoWayBack {
        /// The stage.
        stage: String,
        /// The rollback may end by so much too late.
        by_ms: u64,
    },
}

/// What to know of a forecast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// Hosts take the stage back by themselves before it is through, if it takes what it usually does.
    TakesItselfBack {
        /// The stage.
        stage: String,
        /// After so long.
        within_ms: u64,
        /// Its longest part usually takes so long.
        usual_ms: u64,
    },
    /// The stage has no window, but one before it has: if it fails, that goes back outside of its window.
    BackOutside {
        /// The stage.
        stage: String,
    },
    /// The window of one before it is over by then, or closes earlier: if all goes back from this stage, that goes back
    /// outside of its window.
    BackElsewhere {
        /// The stage.
        stage: String,
        /// The one before it.
        earlier: String,
    },
}

/// The point of no return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoReturn {
    /// The stage.
    pub stage: String,
    /// The host.
    pub host: HostName,
    /// The first step there that cannot be taken back, or not in time.
    pub step: StepId,
    /// When it begins; of one that cannot be taken back, the work in which it is done: an abort stops no work that has begun.
    pub at: Between,
    /// It is declared irreversible; else its way back does not fit.
    pub irreversible: bool,
}

/// Sampled weekends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chance {
    /// So many were played.
    pub weekends: u32,
    /// In so many of them every stage and the way back from it fit.
    pub fit: u32,
}

/// Who does manual steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Technicians {
    /// How many there are; `None`: as many as it takes.
    pub available: Option<u32>,
    /// Most people who have something to do at once.
    pub at_once: u32,
    /// Whom steps name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub named: BTreeSet<String>,
}

/// Steps by what their bounds rest on; steps that change nothing are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bases {
    /// On earlier runs.
    pub runs: u32,
    /// The fewest runs among those.
    pub fewest: u32,
    /// On what the playbook says.
    pub declared: u32,
    /// On nothing of this fleet.
    pub assumed: u32,
}

/// A stage of a forecast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageForecast {
    /// Its name.
    pub stage: String,
    /// The time that its window is open, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
    /// When its first host begins.
    pub start: Between,
    /// When its last host is through (and confirmed); it soaks behind that.
    pub end: Between,
    /// How long it soaks.
    pub hold_ms: i64,
    /// How long a rollback of everything takes at most once the stage is through.
    pub back_ms: u64,
    /// By so much later it may turn back because of what fails: hosts that are tolerated, a look that fails at its limit, a
    /// service that fails while it soaks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures_ms: u64,
    /// From then on a rollback of everything no longer ends in the window; `None`: it has no window, or there is no way back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_abort_ms: Option<i64>,
    /// The host that the others of its last wave wait for, and for how long, if there are others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delayed_by: Option<(HostName, u64)>,
    /// By host: its steps, in order.
    pub hosts: BTreeMap<HostName, Vec<StepForecast>>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A step of a forecast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepForecast {
    /// The step.
    pub step: StepId,
    /// When it begins.
    pub start: Between,
    /// When it ends.
    pub end: Between,
    /// What it usually takes.
    pub usual_ms: u64,
    /// What it takes at most.
    pub bound_ms: u64,
    /// What taking it back takes at most.
    pub back_ms: u64,
    /// What these rest on.
    pub from: Basis,
    /// By how much it may be late before the end of the stage is.
    pub slack_ms: u64,
    /// Whoever decides to abort before this time while this step is being done has everything back in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort_by_ms: Option<i64>,
}

impl StepForecast {
    /// Whether it is on the critical path.
    pub fn critical(&self) -> bool {
        self.slack_ms == 0
    }
}

/// A change that would make a plan fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// Begin the run at this time or earlier, so that what comes before the window is done when it opens.
    StartBy(i64),
    /// Begin the run at this time, in milliseconds since the epoch, when the window is open for long enough again.
    StartFrom(i64),
    /// So many technicians.
    Technicians(u32),
    /// So many hosts of the stage at once.
    AtOnce {
        /// The stage.
        stage: String,
        /// How many.
        hosts: u32,
        /// In which waves.
        waves: Waves,
    },
    /// Leave these hosts out.
    Without(Vec<HostName>),
    /// The stage's window is open for so much longer.
    LongerWindow {
        /// The stage.
        stage: String,
        /// By how much.
        by_ms: u64,
    },
}

/// Waves of a stage that is taken faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Waves {
    /// Those of the plan.
    AsPlanned,
    /// The first of the plan, and one of all others.
    FirstAndRest,
    /// One: nobody goes ahead of the others.
    One,
}

#[cfg(test)]
pub(crate) mod tests;
