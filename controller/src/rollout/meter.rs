//! What the answers of a service, probed again and again, say of the times that it was away. Pure: samples in, gaps out.
//!
//! Where it cannot be told whether a service answers (the line to the vantage host is cut) nothing is measured: such a time
//! is a blank, never a gap and never an answer.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weiche_agent::protocol::Fault;

/// A service that answers later than this, in milliseconds, is away to those who wait for it: its client's first try was
/// lost (RFC 6298: it is sent again after one second, so the least that such an answer takes is that, not more).
pub const LATE_MS: u64 = 900;

/// Most gaps, and most blanks, that are told one by one; all of them are counted.
pub const TOLD: usize = 100;

/// One look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it began, in milliseconds since the measurement did.
    pub start_ms: u64,
    /// What came of it.
    pub answer: Answer,
}

/// What came of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was answered, after so many milliseconds.
    After(u64),
    /// What was wrong.
    Wrong(String),
    /// It cannot be told, by no fault of the service: why.
    Untold(Fault),
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
    /// It was still away when the measurement ended, or broke off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

/// A time in which nothing was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Blank {
    /// Since when, in milliseconds since the epoch.
    pub start_ms: i64,
    /// For how long, in milliseconds.
    pub length_ms: u64,
    /// Why, as it began.
    pub fault: Fault,
    /// It was still so when the measurement ended.
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
    /// Looks of which something came.
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
    /// Times in which nothing was measured.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub blanks: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blank: Vec<Blank>,
    /// How long nothing was measured in all, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub blank_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Whether a service was away for no longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// It was not.
    Kept,
    /// It was away for longer.
    Exceeded,
    /// Not as far as it was measured; had it been away in the blanks, it would have been.
    Untold,
}

impl Measure {
    /// This one and a later one; in between nothing was measured.
    #[must_use]
    pub fn and(self, later: &Measure) -> Measure {
        let (mut told, mut blank) = (self.told, self.blank);
        told.extend(later.told.iter().take(TOLD - TOLD.min(told.len())).cloned());
        blank.extend(later.blank.iter().take(TOLD - TOLD.min(blank.len())).cloned());
        Measure {
            from_ms: if self.probes + self.blanks == 0 { later.from_ms } else { self.from_ms },
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
            blanks: self.blanks + later.blanks,
            blank,
            blank_ms: self.blank_ms + later.blank_ms,
        }
    }

    /// Whether it was away for no longer than it may be; `None`: nobody has said how long it may be.
    pub fn budget(&self) -> Option<Budget> {
        self.budget_ms.map(|budget| match (self.away_ms <= budget, self.away_ms + self.blank_ms <= budget) {
            (false, _) => Budget::Exceeded,
            (true, true) => Budget::Kept,
            (true, false) => Budget::Untold,
        })
    }
}

/// What a look has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// From now on the service is away.
    Away(Gap),
    /// It is back.
    Back(Gap),
    /// From now on nothing is measured.
    Blank(Blank),
    /// It is measured again.
    Again(Blank),
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
    blank: Option<Blank>,
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

    fn look(&mut self, sample: Sample) -> Vec<Change> {
        let Sample { start_ms, answer } = sample;
        let answer = match answer {
            Answer::After(after) => Ok(after),
            Answer::Wrong(error) => Err(error),
            Answer::Untold(fault) => return self.untold(start_ms, fault).into_iter().collect(),
        };
        let again = self.blank.take().map(|blank| Change::Again(self.fill(blank, start_ms, false)));
        again.into_iter().chain(self.told(start_ms, answer)).collect()
    }

    /// A gap ends where a blank begins: what is not known is not counted.
    fn untold(&mut self, start_ms: u64, fault: Fault) -> Option<Change> {
        self.measure.length_ms = start_ms;
        self.last_ms = None;
        if self.blank.is_some() {
            return None;
        }
        if let Some(gap) = self.gap.take() {
            self.close(gap, start_ms, true);
        }
        let blank = Blank { start_ms: self.at(start_ms), length_ms: 0, fault, open: true };
        self.blank = Some(blank.clone());
        Some(Change::Blank(blank))
    }

    fn told(&mut self, start_ms: u64, answer: Result<u64, String>) -> Option<Change> {
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

    fn fill(&mut self, blank: Blank, end_ms: u64, open: bool) -> Blank {
        let length_ms = self.at(end_ms).abs_diff(blank.start_ms);
        let blank = Blank { length_ms, open, ..blank };
        self.measure.blanks += 1;
        self.measure.blank_ms += length_ms;
        if self.measure.blank.len() < TOLD {
            self.measure.blank.push(blank.clone());
        }
        blank
    }

    /// Ends it, after so many milliseconds.
    pub fn end(mut self, after_ms: u64) -> Measure {
        self.measure.length_ms = after_ms;
        if let Some(blank) = self.blank.take() {
            self.fill(blank, after_ms, true);
        }
        if let Some(gap) = self.gap.take() {
            self.close(gap, after_ms, true);
        }
        self.measure
    }
}

#[cfg(test)]
mod tests;
