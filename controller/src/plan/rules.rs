//! How a stage is carried out: in which waves, when it stops itself, and what then. Part of the plan; nothing here is
//! decided later.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::approval::gate::Gate;
use crate::calendar::{Opening, Window};
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
        if self.windows.is_empty() {
            return May::Now { close_ms: i64::MAX };
        }
        let fits = |opening: &Opening| {
            let end_ms = opening.start_ms.max(now_ms).checked_add(takes_ms.max(0));
            end_ms.is_some_and(|end_ms| end_ms <= opening.close_ms)
        };
        match self.openings(now_ms).find(fits) {
            Some(Opening { start_ms, close_ms, .. }) if start_ms <= now_ms => May::Now { close_ms },
            Some(Opening { start_ms, .. }) => May::At(start_ms),
            None => May::Never,
        }
    }

    /// What its windows have in common, in order, from now on up to the horizon of whichever ends first.
    fn openings(&self, now_ms: i64) -> impl Iterator<Item = Opening> + '_ {
        let mut all: Vec<_> = self.windows.iter().map(|window| window.openings(now_ms).peekable()).collect();
        let next = move || {
            // The latest to open, and the first to close: what they have in common begins and ends so.
            let mut both = all.first_mut()?.peek().copied()?;
            for window in &mut all {
                let other = window.peek()?;
                both.start_ms = both.start_ms.max(other.start_ms);
                both.end_ms = both.end_ms.min(other.end_ms);
                both.close_ms = both.close_ms.min(other.close_ms);
            }
            for window in &mut all {
                window.next_if(|opening| opening.end_ms == both.end_ms);
            }
            Some(both)
        };
        std::iter::from_fn(next).filter(|both| both.start_ms < both.end_ms)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::{Pattern, Zone};

    const HOUR: i64 = 3_600_000;

    fn in_windows(windows: &[(&str, &str)], takes_ms: i64) -> Rules {
        let window = |(from, to): &(&str, &str)| {
            let pattern = Pattern::new(from.parse().unwrap(), to.parse().unwrap()).unwrap();
            Window { zone: Zone::UTC, pattern, reserve_ms: 0, holidays: None, except: Default::default() }
        };
        Rules { windows: windows.iter().map(window).collect(), takes_ms, ..Rules::default() }
    }

    #[test]
    fn it_begins_when_all_of_its_windows_are_open_for_long_enough() {
        let both = |takes_ms| in_windows(&[("20:00", "24:00"), ("23:00", "03:00")], takes_ms);
        let noon = 12 * HOUR;
        assert_eq!(both(HOUR).may_begin(noon), May::At(23 * HOUR));
        assert_eq!(both(HOUR).may_begin(23 * HOUR), May::Now { close_ms: 24 * HOUR });
        assert_eq!(both(HOUR).may_begin(23 * HOUR + 1), May::At(47 * HOUR), "the next evening");
        assert_eq!(both(HOUR + 1).may_begin(noon), May::Never, "each is long enough, what they share is not");
        assert_eq!(both(HOUR + 1).may_begin_for(noon, HOUR), May::At(23 * HOUR));
        assert_eq!(Rules { room_ms: HOUR + 1, ..both(HOUR) }.may_begin(noon), May::Never, "with what comes behind it");
        let apart = in_windows(&[("08:00", "10:00"), ("10:00", "12:00")], 0);
        assert_eq!(apart.may_begin(noon), May::Never, "they touch, and are never open together");
        let rare = in_windows(&[("20:00", "24:00"), ("sat 23:00", "sun 03:00")], HOUR);
        // The first of January 1970 was a Thursday.
        assert_eq!(rare.may_begin(noon), May::At((2 * 24 + 23) * HOUR));
        assert_eq!(in_windows(&[], i64::MAX).may_begin(noon), May::Now { close_ms: i64::MAX });
    }
}
