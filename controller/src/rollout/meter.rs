//! What the answers of a service, probed again and again, say of the times that it was away. Pure: samples in, gaps out.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A service that answers later than this, in milliseconds, is away to those who wait for it: no lost packet and no lock,
/// but a client's first try that was lost (RFC 6298: it is sent again after one second).
pub const LATE_MS: u64 = 1000;

/// Most gaps that are told one by one; all of them are counted.
pub const TOLD: usize = 100;

/// One look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it began, in milliseconds since the measurement did.
    pub start_ms: u64,
    /// After how many milliseconds it was answered, or what was wrong.
    pub answer: Result<u64, String>,
}

/// A time that a service was away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// Since when, in milliseconds since the epoch.
    pub start_ms: i64,
    /// How long: from the first look that failed to the first that did not, in milliseconds.
    pub away_ms: u64,
    /// What the first look that failed has seen.
    pub error: String,
    /// It was still away when the measurement ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

/// What was measured of a service without a break.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Measure {
    /// Since when, in milliseconds since the epoch.
    pub from_ms: i64,
    /// For how long, in milliseconds.
    pub length_ms: u64,
    /// Looks.
    pub probes: u64,
    /// Looks that failed, or were answered late.
    pub failed: u64,
    /// Times that it was away.
    pub gaps: u64,
    /// The first of them.
    pub told: Vec<Gap>,
    /// Away in all, in milliseconds.
    pub away_ms: u64,
    /// The longest of these times, in milliseconds.
    pub longest_ms: u64,
    /// The slowest answer, in milliseconds.
    pub slowest_ms: u64,
    /// The longest time between the beginnings of two looks, in milliseconds: a gap is told to this.
    pub coarsest_ms: u64,
    /// How long it may be away in all, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_ms: Option<u64>,
}

impl Measure {
    /// This one and a later one; in between nothing was measured.
    #[must_use]
    pub fn and(self, later: &Measure) -> Measure {
        let mut told = self.told;
        told.extend(later.told.iter().take(TOLD - TOLD.min(told.len())).cloned());
        Measure {
            from_ms: if self.probes == 0 { later.from_ms } else { self.from_ms },
            length_ms: self.length_ms + later.length_ms,
            probes: self.probes + later.probes,
            failed: self.failed + later.failed,
            gaps: self.gaps + later.gaps,
            told,
            away_ms: self.away_ms + later.away_ms,
            longest_ms: self.longest_ms.max(later.longest_ms),
            slowest_ms: self.slowest_ms.max(later.slowest_ms),
            coarsest_ms: self.coarsest_ms.max(later.coarsest_ms),
            budget_ms: later.budget_ms,
        }
    }

    /// Whether it was away for no longer than it may be; `None`: nobody has said how long it may be.
    pub fn kept(&self) -> Option<bool> {
        self.budget_ms.map(|budget| self.away_ms <= budget)
    }
}

/// What a look has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// From now on the service is away.
    Away(Gap),
    /// It is back.
    Back(Gap),
}

/// A measurement.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    measure: Measure,
    /// Looks whose answers came ahead of those of earlier ones, by number.
    early: BTreeMap<u64, Sample>,
    next: u64,
    last_ms: Option<u64>,
    gap: Option<Gap>,
}

impl Meter {
    /// Begins, at this time in milliseconds since the epoch, for a service that may be away for so long.
    pub fn new(from_ms: i64, budget_ms: Option<u64>) -> Meter {
        Meter { measure: Measure { from_ms, budget_ms, ..Measure::default() }, ..Meter::default() }
    }

    /// Takes the answer to the look with this number, counted from 0: in any order.
    pub fn take(&mut self, number: u64, sample: Sample) -> Vec<Change> {
        self.early.insert(number, sample);
        let mut changes = Vec::new();
        while let Some(sample) = self.early.remove(&self.next) {
            self.next += 1;
            changes.extend(self.look(sample));
        }
        changes
    }

    fn look(&mut self, sample: Sample) -> Option<Change> {
        let Sample { start_ms, answer } = sample;
        self.measure.probes += 1;
        if let Some(last) = self.last_ms.replace(start_ms) {
            self.measure.coarsest_ms = self.measure.coarsest_ms.max(start_ms.saturating_sub(last));
        }
        self.measure.length_ms = start_ms;
        if let Ok(after) = answer {
            self.measure.slowest_ms = self.measure.slowest_ms.max(after);
        }
        let error = match answer {
            Ok(after) if after <= LATE_MS => {
                let gap = self.gap.take()?;
                return Some(Change::Back(self.close(gap, start_ms, false)));
            }
            Ok(after) => format!("it answered after {after} ms only"),
            Err(error) => error,
        };
        self.measure.failed += 1;
        if self.gap.is_some() {
            return None;
        }
        let gap = Gap { start_ms: self.at(start_ms), away_ms: 0, error, open: true };
        self.gap = Some(gap.clone());
        Some(Change::Away(gap))
    }

    fn at(&self, ms: u64) -> i64 {
        self.measure.from_ms.saturating_add_unsigned(ms)
    }

    fn close(&mut self, gap: Gap, end_ms: u64, open: bool) -> Gap {
        let away_ms = self.at(end_ms).abs_diff(gap.start_ms);
        let gap = Gap { away_ms, open, ..gap };
        self.measure.gaps += 1;
        self.measure.away_ms += away_ms;
        self.measure.longest_ms = self.measure.longest_ms.max(away_ms);
        if self.measure.told.len() < TOLD {
            self.measure.told.push(gap.clone());
        }
        gap
    }

    /// Ends it, after so many milliseconds.
    pub fn end(mut self, after_ms: u64) -> Measure {
        self.measure.length_ms = after_ms;
        if let Some(gap) = self.gap.take() {
            self.close(gap, after_ms, true);
        }
        self.measure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn down(start_ms: u64) -> Sample {
        Sample { start_ms, answer: Err("refused".into()) }
    }

    fn up(start_ms: u64, after: u64) -> Sample {
        Sample { start_ms, answer: Ok(after) }
    }

    #[test]
    fn a_gap_lasts_from_the_first_failure_to_the_next_success() {
        let mut meter = Meter::new(1_000_000, Some(400));
        assert_eq!(meter.take(0, up(0, 3)), []);
        let gap = Gap { start_ms: 1_000_100, away_ms: 0, error: "refused".into(), open: true };
        assert_eq!(meter.take(1, down(100)), [Change::Away(gap.clone())]);
        assert_eq!(meter.take(2, down(200)), []);
        // Answers overtake one another.
        assert_eq!(meter.take(4, up(400, 1)), []);
        assert_eq!(meter.take(3, down(300)), [Change::Back(Gap { away_ms: 300, open: false, ..gap })]);
        let late = meter.take(5, up(510, 2300));
        assert!(matches!(&late[..], [Change::Away(gap)] if gap.error == "it answered after 2300 ms only"), "{late:?}");
        let measure = meter.end(600);
        let Measure { probes, failed, gaps, away_ms, longest_ms, slowest_ms, coarsest_ms, length_ms, .. } = measure;
        assert_eq!((probes, failed, gaps, away_ms, longest_ms), (6, 4, 2, 390, 300));
        assert_eq!((slowest_ms, coarsest_ms, length_ms), (2300, 110, 600));
        assert!(measure.told[1].open && !measure.told[0].open);
        assert_eq!(measure.kept(), Some(true));
        let twice = Measure::default().and(&measure).and(&measure);
        assert_eq!((twice.gaps, twice.away_ms, twice.from_ms, twice.kept()), (4, 780, 1_000_000, Some(false)));
        assert_eq!(Measure::default().kept(), None);
    }

    proptest! {
        /// A service that is down from `from` to `to` was away for so long, give or take the time between two looks.
        #[test]
        fn the_error_is_at_most_one_period(
            from in 0_u64..5000, length in 1_u64..5000, starts in prop::collection::vec(50_u64..200, 60..120),
            order in any::<u64>(),
        ) {
            let to = from + length;
            let starts: Vec<u64> = starts.iter().scan(0, |at, step| { *at += step; Some(*at) }).collect();
            let sample = |at: u64| if (from..to).contains(&at) { down(at) } else { up(at, 1) };
            let mut looks: Vec<(u64, Sample)> = (0..).zip(starts.iter().map(|at| sample(*at))).collect();
            // In some other order.
            looks.sort_by_key(|(n, _)| n.wrapping_mul(order | 1) % 7 + n / 7 * 7);
            let mut meter = Meter::new(0, None);
            for (n, look) in looks {
                meter.take(n, look);
            }
            let last = starts[starts.len() - 1];
            let measure = meter.end(last);
            let truly = to.min(last).saturating_sub(from.min(last));
            prop_assert!(measure.away_ms.abs_diff(truly) <= measure.coarsest_ms.max(starts[0]), "{measure:?} {truly}");
            prop_assert!(measure.gaps <= 1);
            prop_assert_eq!(measure.probes, starts.len() as u64);
        }
    }
}
