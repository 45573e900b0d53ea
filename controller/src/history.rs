//! What steps have taken in earlier runs, and what is expected of the next ones because of that.
//!
//! A sample is a fold of plan and run log ([`fold`]); estimates are made of the samples that are nearest to a step: of the
//! same title, class of host and member, or of less ([`History::estimate`]). Samples of fewer than [`LEAST`] runs say nothing:
//! what a hundred hosts took in one night happened once.

mod attach;
mod bound;
mod few;
mod file;
mod fold;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::takes::{Estimate, Size};

pub use attach::attach;
pub use few::few;
pub use file::{ReadHistoryError, read, write};
pub use fold::{ByHand, fold};

/// Samples of fewer runs than this say nothing (DESIGN.md, section 6).
pub const LEAST: usize = 3;

/// Samples of so many runs are looked at, the newest.
pub const LAST: usize = 20;

/// How long something took once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Kind of the resource, `check`, `reboot`, `transfer`, `manual`; `around` for what the machinery around steps takes.
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
    /// When its run began, in milliseconds since the epoch: which run it was, without a name. 0: not told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub run_ms: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Sample {
    /// What tells its run from others. Where none is told, each moment is a run.
    pub fn run(&self) -> i64 {
        if self.run_ms == 0 { self.at_ms } else { self.run_ms }
    }
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It was carried out, and changed something.
    Forward,
    /// Everything was as wanted, as the plan said.
    Same,
    /// The plan said that it would change something, and everything was as wanted.
    Idle,
    /// It was taken back.
    Back,
}

impl Way {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Way::Forward => "forward",
            Way::Same => "same",
            Way::Idle => "idle",
            Way::Back => "back",
        }
    }

    /// The inverse.
    pub fn find(name: &str) -> Option<Way> {
        [Way::Forward, Way::Same, Way::Idle, Way::Back].into_iter().find(|way| way.as_str() == name)
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

/// Samples, by all that makes them alike; of like ones those of the newest runs.
#[derive(Clone, Debug, Default)]
pub struct History {
    all: Vec<Sample>,
    /// Numbers of samples, newest run first, by what and way, and title, class and member as far as they are asked for.
    near: HashMap<Near, Vec<usize>>,
}

/// What samples have in common; `None`: it does not matter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Near {
    what: String,
    way: Way,
    class: String,
    title: Option<String>,
    member: Option<String>,
}

impl History {
    /// Of samples in any order.
    pub fn new(samples: impl IntoIterator<Item = Sample>) -> History {
        let mut all: Vec<Sample> = samples.into_iter().collect();
        all.sort_by(|a, b| b.run().cmp(&a.run()).then_with(|| b.at_ms.cmp(&a.at_ms)).then_with(|| a.cmp(b)));
        let mut near: HashMap<Near, Like> = HashMap::new();
        for (n, sample) in all.iter().enumerate() {
            let told = |text: &String| (!text.is_empty()).then(|| text.clone());
            for (title, member) in [(true, true), (true, false), (false, true), (false, false)] {
                let key = Near {
                    what: sample.what.clone(),
                    way: sample.way,
                    class: sample.class.clone(),
                    title: told(&sample.title).filter(|_| title),
                    member: told(&sample.member).filter(|_| member),
                };
                // What is not told is like nothing.
                if key.title.is_some() == title && key.member.is_some() == member {
                    near.entry(key).or_default().take(n, sample.run());
                }
            }
        }
        let near = near.into_iter().map(|(key, like)| (key, like.few(&all))).collect();
        History { all, near }
    }

    /// What is expected of something, from the samples that are nearest to it; `None`: there are too few.
    pub fn estimate(&self, sought: &Sought<'_>) -> Option<Estimate> {
        // Parts of the machinery have nothing in common.
        let apart = sought.what == fold::AROUND;
        let of_class = || if apart { None } else { self.nearest(sought, None) };
        self.of_title(sought).or_else(of_class)
    }

    /// The same, from samples of the same title only.
    pub fn of_title(&self, sought: &Sought<'_>) -> Option<Estimate> {
        self.nearest(sought, Some(sought.title))
    }

    /// Of the same member, else of any.
    fn nearest(&self, sought: &Sought<'_>, title: Option<&str>) -> Option<Estimate> {
        [Some(sought.member), None].into_iter().find_map(|member| {
            let key = Near {
                what: sought.what.to_owned(),
                way: sought.way,
                class: sought.class.to_owned(),
                title: title.map(str::to_owned),
                member: member.map(str::to_owned),
            };
            let samples: Vec<&Sample> = self.near.get(&key)?.iter().filter_map(|n| self.all.get(*n)).collect();
            (runs(&samples) >= LEAST).then(|| bound::estimate(&samples, sought))
        })
    }

    /// Every group of like samples with its estimate, for people: a sample of each.
    pub fn groups(&self) -> Vec<(&Sample, Estimate)> {
        let mut groups: BTreeMap<(&str, Way, &str, &str, &str), Like> = BTreeMap::new();
        for (n, sample) in self.all.iter().enumerate() {
            let Sample { what, way, title, class, member, .. } = sample;
            groups.entry((what, *way, title, class, member)).or_default().take(n, sample.run());
        }
        let told = |like: Like| {
            let samples: Vec<&Sample> = like.samples.iter().filter_map(|n| self.all.get(*n)).collect();
            let first = *samples.first()?;
            let Sample { what, title, way, class, member, .. } = first;
            let size = Size::default();
            Some((first, bound::estimate(&samples, &Sought { what, title, way: *way, class, member, size })))
        };
        groups.into_values().filter_map(told).collect()
    }

    /// All samples, newest run first.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.all.iter()
    }
}

/// Numbers of like samples of the newest [`LAST`] runs.
#[derive(Default)]
struct Like {
    samples: Vec<usize>,
    runs: usize,
    last: Option<i64>,
}

impl Like {
    /// Samples come newest run first.
    fn take(&mut self, n: usize, run: i64) {
        if self.last != Some(run) {
            (self.last, self.runs) = (Some(run), self.runs + 1);
        }
        if self.runs <= LAST {
            self.samples.push(n);
        }
    }

    /// What is enough of each run.
    fn few(self, all: &[Sample]) -> Vec<usize> {
        let found: Vec<(usize, &Sample)> = self.samples.iter().filter_map(|n| Some((*n, all.get(*n)?))).collect();
        found.chunk_by(|(_, a), (_, b)| a.run() == b.run()).flat_map(few::of_run).collect()
    }
}

/// Of so many runs.
fn runs(samples: &[&Sample]) -> usize {
    samples.iter().map(|sample| sample.run()).collect::<BTreeSet<i64>>().len()
}

#[cfg(test)]
mod tests;
