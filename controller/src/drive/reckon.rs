//! Looks, while a run is driven, how it lies in time, and says so when that changes.

use std::time::{Duration, Instant};

use crate::forecast::{Live, Options};
use crate::plan::Plan;
use crate::rollout::reckoning::{Decide, Reckoning};
use crate::rollout::{Happening, Rollout};

/// How often it looks at most.
const EVERY: Duration = Duration::from_secs(5);

/// Of the time of the driver no more than one part in so many is spent on it.
const SHARE: u32 = 50;

/// An expected end that differs by less is the same, in milliseconds.
const SAME_MS: u64 = 60_000;

/// How a run lies in time, as was said last.
pub(super) struct Reckoner {
    live: Option<Live>,
    said: Option<(usize, Reckoning)>,
    due: Instant,
}

impl Reckoner {
    pub(super) fn new(plan: &Plan, start_ms: i64) -> Reckoner {
        let live = Live::new(plan, &Options { start_ms, ..Options::default() });
        Reckoner { live, said: None, due: Instant::now() }
    }

    /// Takes note of what happened.
    pub(super) fn on(&mut self, at_ms: i64, happening: &Happening) {
        if let Some(live) = &mut self.live {
            live.on(at_ms, happening);
        }
        if let Happening::Reckoned { reckoning } = happening
            && let Some((_, said)) = &mut self.said
        {
            said.clone_from(reckoning);
        }
    }

    /// What is to be said when nobody looks any more until a person has decided.
    pub(super) fn finally(&mut self, rollout: &Rollout, now_ms: i64) -> Option<Happening> {
        let reckoning = self.live.as_ref()?.reckon(rollout, now_ms)?;
        Some(Happening::Reckoned { reckoning })
    }

    /// What is to be said now, if anything is.
    pub(super) fn look(&mut self, rollout: &Rollout, now_ms: i64) -> Option<Happening> {
        let live = self.live.as_ref()?;
        let stage = rollout.under_way()?;
        let is_new = self.said.as_ref().is_none_or(|(said, _)| *said != stage);
        if !is_new && Instant::now() < self.due {
            return None;
        }
        let begin = Instant::now();
        let reckoning = live.reckon(rollout, now_ms);
        self.due = Instant::now() + EVERY.max(begin.elapsed() * SHARE);
        let reckoning = reckoning?;
        let tell = match &self.said {
            Some((_, said)) if !is_new => {
                let differs = said.expected_ms.abs_diff(reckoning.expected_ms) >= SAME_MS;
                reckoning.decide != said.decide && reckoning.decide != Decide::NotNow || differs
            }
            _ => true,
        };
        if !tell {
            return None;
        }
        self.said = Some((stage, reckoning.clone()));
        Some(Happening::Reckoned { reckoning })
    }
}
