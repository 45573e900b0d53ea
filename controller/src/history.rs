//! What steps have taken in earlier runs, and what is expected of the next ones because of that.
//!
//! A sample is a fold of plan and run log ([`fold`]); estimates are made of the samples that are nearest to a step: of the
//! same title, class of host and member, or of less ([`History::estimate`]). Fewer than [`LEAST`] samples say nothing.

mod attach;
mod bound;
mod file;
mod fold;

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::takes::{Basis, Estimate, Size};

pub use attach::attach;
pub use file::{ReadHistoryError, read, write};
pub use fold::{ByHand, fold};

/// Fewer samples than this say nothing (DESIGN.md, section 6).
pub const LEAST: usize = 3;

/// So many samples of a kind are looked at, the newest.
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
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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

/// Samples, by all that makes them alike; of like ones the newest.
#[derive(Clone, Debug, Default)]
pub struct History {
    all: Vec<Sample>,
    /// Numbers of samples, newest first, by what and way, and title, class and member as far as they are asked for.
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
        all.sort_by(|a, b| b.at_ms.cmp(&a.at_ms).then_with(|| a.cmp(b)));
        let mut near: HashMap<Near, Vec<usize>> = HashMap::new();
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
                    let of = near.entry(key).or_default();
                    if of.len() < LAST {
                        of.push(n);
                    }
                }
            }
        }
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
            (samples.len() >= LEAST).then(|| bound::estimate(&samples, sought.size))
        })
    }

    /// Every group of like samples with its estimate, for people: a sample of each.
    pub fn groups(&self) -> Vec<(&Sample, Estimate)> {
        let mut groups: BTreeMap<(&str, Way, &str, &str, &str), Vec<&Sample>> = BTreeMap::new();
        for sample in &self.all {
            let Sample { what, way, title, class, member, .. } = sample;
            let group = groups.entry((what, *way, title, class, member)).or_default();
            if group.len() < LAST {
                group.push(sample);
            }
        }
        let told = |group: Vec<&'_ Sample>| group.first().map(|_| bound::estimate(&group, Size::default()));
        let firsts: Vec<&Sample> = groups.values().filter_map(|group| group.first().copied()).collect();
        firsts.into_iter().zip(groups.into_values().filter_map(told)).collect()
    }

    /// All samples, newest first.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.all.iter()
    }
}

/// From so many runs.
fn runs(samples: &[&Sample]) -> Basis {
    Basis::Runs(u32::try_from(samples.len()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
