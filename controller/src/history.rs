//! What steps have taken in earlier runs, and what is expected of the next ones because of that.
//!
//! A sample is a fold of plan and run log ([`fold`]); estimates are made of the samples that are nearest to a step: of the
//! same title, class of host and member, or of less ([`History::estimate`]). Fewer than [`LEAST`] samples say nothing.

mod attach;
mod bound;
mod file;
mod fold;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::takes::{Basis, Estimate, Size};

pub use attach::attach;
pub use file::{ReadHistoryError, read, write};
pub use fold::fold;

/// Fewer samples than this say nothing (DESIGN.md, section 6).
pub const LEAST: usize = 3;

/// So many samples of a kind are looked at, the newest.
pub const LAST: usize = 20;

/// How long something took once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Kind of the resource, `check`, `reboot`, `transfer`; `around` for what the machinery around steps takes.
    pub what: String,
    /// Title of the step, e.g. `package nginx`; which part of the machinery. Empty: not told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// There, back, or nothing to do.
    pub way: Way,
    /// Class of the host, see [`crate::plan::Plan::classes`].
    pub class: String,
    /// The member. Empty: not told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub member: String,
    /// How much there was to do.
    #[serde(default, skip_serializing_if = "Size::is_unknown")]
    pub size: Size,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// When it was through, in milliseconds since the epoch.
    pub at_ms: i64,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It was carried out, and changed something.
    Forward,
    /// Everything was as wanted.
    Same,
    /// It was taken back.
    Back,
}

impl Way {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Way::Forward => "forward",
            Way::Same => "same",
            Way::Back => "back",
        }
    }

    /// The inverse.
    pub fn find(name: &str) -> Option<Way> {
        [Way::Forward, Way::Same, Way::Back].into_iter().find(|way| way.as_str() == name)
    }
}

/// What something is that has an estimate.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'a> {
    /// See [`Sample::what`].
    pub what: &'a str,
    /// See [`Sample::title`].
    pub title: &'a str,
    /// Which way.
    pub way: Way,
    /// See [`Sample::class`].
    pub class: &'a str,
    /// See [`Sample::member`].
    pub member: &'a str,
    /// How much there is to do.
    pub size: Size,
}

/// Samples, newest first within what they are of.
#[derive(Clone, Debug, Default)]
pub struct History(BTreeMap<(String, Way), Vec<Sample>>);

impl History {
    /// Of samples in any order.
    pub fn new(samples: impl IntoIterator<Item = Sample>) -> History {
        let mut history = History::default();
        for sample in samples {
            history.0.entry((sample.what.clone(), sample.way)).or_default().push(sample);
        }
        history.0.values_mut().for_each(|of| of.sort_by(|a, b| b.at_ms.cmp(&a.at_ms).then_with(|| a.cmp(b))));
        history
    }

    /// What is expected of something, from the samples that are nearest to it; `None`: there are too few.
    pub fn estimate(&self, sought: &Sought<'_>) -> Option<Estimate> {
        // Parts of the machinery have nothing in common.
        let apart = sought.what == fold::AROUND;
        let class = |sample: &Sample| !apart && sample.class == sought.class;
        let member = |sample: &Sample| sample.member == sought.member && !sample.member.is_empty();
        let of_class =
            || self.near(sought, |sample| class(sample) && member(sample)).or_else(|| self.near(sought, class));
        self.of_title(sought).or_else(of_class)
    }

    /// The same, from samples of the same title only.
    pub fn of_title(&self, sought: &Sought<'_>) -> Option<Estimate> {
        let title =
            |sample: &Sample| sample.title == sought.title && !sample.title.is_empty() && sample.class == sought.class;
        let member = |sample: &Sample| sample.member == sought.member && !sample.member.is_empty();
        self.near(sought, |sample| title(sample) && member(sample)).or_else(|| self.near(sought, title))
    }

    fn near(&self, sought: &Sought<'_>, is_near: impl Fn(&Sample) -> bool) -> Option<Estimate> {
        let of = self.0.get(&(sought.what.to_owned(), sought.way))?;
        let samples: Vec<&Sample> = of.iter().filter(|sample| is_near(sample)).take(LAST).collect();
        (samples.len() >= LEAST).then(|| bound::estimate(&samples, sought.size))
    }

    /// Every group of like samples with its estimate, for people.
    pub fn groups(&self) -> impl Iterator<Item = (&Sample, Estimate)> {
        self.0.values().flat_map(|of| {
            let mut groups: BTreeMap<(&str, &str, &str), Vec<&Sample>> = BTreeMap::new();
            for sample in of {
                let group = groups.entry((&sample.title, &sample.class, &sample.member)).or_default();
                if group.len() < LAST {
                    group.push(sample);
                }
            }
            let mut told = Vec::new();
            for group in groups.into_values() {
                told.extend(group.first().map(|first| (*first, bound::estimate(&group, Size::default()))));
            }
            told
        })
    }

    /// All samples.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.0.values().flatten()
    }
}

/// From so many runs.
fn runs(samples: &[&Sample]) -> Basis {
    Basis::Runs(u32::try_from(samples.len()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
