//! How a stage is carried out: in which waves, when it stops itself, and what then. Part of the plan; nothing here is
//! decided later.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::approval::gate::Gate;
use crate::calendar::{Fit, Window};
use crate::input::target::HostName;
use crate::plan::procedure::Probe;

pub use crate::input::rollout::rule::{Amount, OnStop, Over, Overrun, Scope, StopRule};

/// How long a host whose line was cut is looked for.
pub const LOST: Duration = Duration::from_secs(120);

/// A service that does not answer for so long does not work.
pub const SERVICE_FAILS: Duration = Duration::from_secs(10);

/// How a stage is carried out. The default is one wave of all hosts that is taken back with the whole run at the first
/// failure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Its hosts, wave by wave, in the order in which they are begun; empty: one wave of all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Vec<HostName>>,
    /// Most hosts that work at once; `None`: as many as the fleet's connections allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_once: Option<usize>,
    /// Between two waves, in milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub pause_ms: i64,
    /// When it stops; empty: at the first failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<StopRule>,
    /// What happens then.
    #[serde(skip_serializing_if = "is_default")]
    pub on_stop: OnStop,
    /// How long hosts that are switched off are waited for, in milliseconds; `None`: they have failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offline_ms: Option<i64>,
    /// The stage takes itself back on its hosts unless it is through after this time, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<i64>,
    /// Its hosts take it back unless they are confirmed over a new connection in this time, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard_ms: Option<i64>,
    /// What has to be so before it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// When it may run: in all of these at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// How long it takes at most, in milliseconds: nothing begins that cannot end in its window.
    #[serde(skip_serializing_if = "is_zero")]
    pub takes_ms: i64,
    /// Room that its window must have for it and for what waits together with it and comes behind it, in milliseconds; 0: for
    /// itself only.
    #[serde(skip_serializing_if = "is_zero")]
    pub room_ms: i64,
    /// What happens when it is still at work at the end of its window; `None`: it is held.
    #[serde(skip_serializing_if = "is_default")]
    pub overrun: Overrun,
    /// How long it soaks once its hosts are through, in milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub hold_ms: i64,
    /// What users notice: probed whenever a wave is through, until the next one begins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ServiceProbe>,
}

/// A service of a member, and how to see from outside that it works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceProbe {
    /// `member/service`.
    pub service: String,
    /// How to see it.
    pub probe: Probe,
}

impl Rules {
    /// Whether it may begin now, or when, as far as its windows say.
    pub fn may_begin(&self, now_ms: i64) -> May {
        self.may_begin_for(now_ms, self.room())
    }

    /// How long its window must be open yet when it begins, in milliseconds.
    pub fn room(&self) -> i64 {
        self.takes_ms.max(self.room_ms)
    }

    /// The same, if it took so long.
    pub fn may_begin_for(&self, now_ms: i64, takes_ms: i64) -> May {
        let takes_ms = u64::try_from(takes_ms).unwrap_or(0);
        let mut close_ms = i64::MAX;
        let mut later = None;
        for window in &self.windows {
            match window.fits(now_ms, takes_ms) {
                Fit::Now { opening } => close_ms = close_ms.min(opening.close_ms),
                Fit::Later { opening } => later = later.max(Some(opening.start_ms)),
                Fit::Never => return May::Never,
            }
        }
        later.map_or(May::Now { close_ms }, May::At)
    }

    /// Whether its hosts have to be confirmed.
    pub fn guarded(&self) -> bool {
        self.guard_ms.is_some() || self.within_ms.is_some()
    }
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Whether a stage may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Now; it must have ended at this time, in milliseconds since the epoch.
    Now {
        /// The end of its window, less the reserve.
        close_ms: i64,
    },
    /// Not before this time.
    At(i64),
    /// Its windows never open long enough.
    Never,
}
