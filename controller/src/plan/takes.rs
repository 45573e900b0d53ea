//! What steps are expected to take. Part of the plan, so that forecast, papers and run go by the same numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nothing takes longer, in milliseconds: ten years, as for the periods of a playbook, so that sums stay within 64 bits.
pub const LONGEST_MS: u64 = 3660 * 86_400_000;

/// What something takes, in milliseconds: `least_ms <= usual_ms <= bound_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// It was never shorter.
    pub least_ms: u64,
    /// Half of the time it is not longer.
    pub usual_ms: u64,
    /// It is not expected to be longer.
    pub bound_ms: u64,
    /// What says so.
    pub from: Basis,
}

/// What an estimate rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// So many earlier ones.
    Runs(u32),
    /// The author of the playbook.
    Declared,
    /// Nobody: what such a step takes elsewhere.
    Assumed,
}

/// What a step takes, there and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Takes {
    /// To carry it out.
    pub forward: Estimate,
    /// To take it back.
    pub back: Estimate,
}

/// What the machinery around the steps of a stage takes, for each host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Around {
    /// Until the first step: connection, guard.
    pub begin: Estimate,
    /// The same on a host that the run has not touched before: its manifest is taken.
    pub first: Estimate,
    /// Between the steps and behind them: requests, journal; where hosts take turns, for each turn.
    pub between: Estimate,
    /// To confirm the guard over a new connection.
    pub confirm: Estimate,
    /// Around taking it back.
    pub back: Estimate,
    /// To compare the host with its manifest once everything is back.
    pub verify: Estimate,
    /// Until the services that the stage probes were seen to work.
    pub services: Estimate,
}

/// How much a step has to move or to install.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Size {
    /// Bytes of contents.
    pub bytes: u64,
    /// Files, packages: things that cost time each.
    pub items: u64,
}

impl Estimate {
    /// The same in any case.
    pub const fn just(ms: u64, from: Basis) -> Estimate {
        Estimate { least_ms: ms, usual_ms: ms, bound_ms: ms, from }
    }

    /// The same, and no longer than [`LONGEST_MS`].
    pub fn capped(self) -> Estimate {
        let most = |ms: u64| ms.min(LONGEST_MS);
        let [least_ms, usual_ms, bound_ms] = [self.least_ms, self.usual_ms, self.bound_ms].map(most);
        Estimate { least_ms, usual_ms, bound_ms, from: self.from }
    }

    /// No time at all.
    pub const NOTHING: Estimate = Estimate::just(0, Basis::Declared);
}

impl Takes {
    /// Each of them.
    pub fn each(&mut self) -> [&mut Estimate; 2] {
        [&mut self.forward, &mut self.back]
    }
}

impl Around {
    /// Each of them.
    pub fn each(&mut self) -> [&mut Estimate; 7] {
        let Around { begin, first, between, confirm, back, verify, services } = self;
        [begin, first, between, confirm, back, verify, services]
    }
}

impl Size {
    /// Whether nothing is known of it.
    pub fn is_unknown(&self) -> bool {
        *self == Size::default()
    }
}
