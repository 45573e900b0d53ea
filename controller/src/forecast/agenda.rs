//! Which members need which windows for what, with how many people, and where that cannot all be: the forecasts of several
//! plans beside one another.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weiche_agent::digest::Digest;

use super::{Forecast, StageForecast};
use crate::calendar::Opening;
use crate::input::target::HostName;
use crate::plan::Plan;
use crate::plan::procedure::Action;

/// Work of one plan in one opening of a window. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Digest of the plan.
    pub plan: Digest,
    /// Its playbook.
    pub playbook: String,
    /// The members whose hosts are worked on.
    pub members: BTreeSet<String>,
    /// The stages.
    pub stages: Vec<String>,
    /// The hosts.
    pub hosts: BTreeSet<HostName>,
    /// The window.
    pub opening: Opening,
    /// From when is worked, at the earliest, and until when, at the latest.
    pub from_ms: i64,
    /// See there.
    pub to_ms: i64,
    /// Everything is back by then, should it have to be before it soaks.
    pub back_by_ms: i64,
    /// It has soaked by then, and should it have to go back at the end of that, it is back: so long its members are taken.
    pub taken_to_ms: i64,
    /// From then on something cannot be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_return_ms: Option<i64>,
    /// People who are needed at once: one who looks on, or as many as have something to do.
    pub people: u32,
    /// Who of them has to be there in person: short names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub persons: BTreeSet<String>,
    /// Whether it fits.
    pub fits: bool,
    /// Public holidays that the window touches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holidays: Vec<String>,
}

/// Two pieces of work, or more, that cannot be at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conflict {
    /// Numbers of the entries, from 0.
    pub entries: Vec<usize>,
    /// Why.
    pub why: Why,
}

/// Why work cannot be at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// One weiche at a time works on these members' hosts.
    Members(BTreeSet<String>),
    /// These persons are needed at both.
    Persons(BTreeSet<String>),
    /// More people are needed than there are.
    People {
        /// At once.
        needed: u32,
        /// The fleet's `technicians`.
        there_are: u32,
    },
}

/// The work of a plan, an entry for each opening that its stages share.
pub fn entries(plan: &Plan, forecast: &Forecast) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let irreversible = forecast.no_return.as_ref().filter(|point| point.irreversible).map(|point| point.at.usual_ms);
    for stage in &forecast.stages {
        let Some(opening) = stage.opening else { continue };
        // As late as the forecast itself reckons that it may turn back.
        let longer_ms = i64::try_from(stage.failures_ms.saturating_add(stage.back_ms)).unwrap_or(i64::MAX);
        let back_by_ms = stage.end.latest_ms.saturating_add(longer_ms);
        let soaked_ms = stage.end.latest_ms.saturating_add(stage.hold_ms);
        let taken_to_ms = soaked_ms.saturating_add(i64::try_from(stage.back_ms).unwrap_or(i64::MAX)).max(back_by_ms);
        let same = found.last_mut().filter(|entry| entry.opening.end_ms == opening.end_ms);
        let entry = match same {
            Some(entry) => entry,
            None => {
                found.push(entry(plan, forecast, stage, opening));
                let Some(entry) = found.last_mut() else { continue };
                entry
            }
        };
        entry.persons.extend(persons(plan, &stage.stage));
        entry.stages.push(stage.stage.clone());
        entry.hosts.extend(stage.hosts.keys().cloned());
        entry.members.extend(stage.hosts.keys().map(|host| host.member().to_owned()));
        (entry.to_ms, entry.back_by_ms, entry.taken_to_ms) = (stage.end.latest_ms, back_by_ms, taken_to_ms);
        entry.no_return_ms = irreversible.filter(|from_ms| *from_ms <= stage.end.latest_ms);
    }
    found
}

fn entry(plan: &Plan, forecast: &Forecast, stage: &StageForecast, opening: Opening) -> Entry {
    Entry {
        plan: plan.digest(),
        playbook: plan.playbook.clone(),
        members: BTreeSet::new(),
        stages: Vec::new(),
        hosts: BTreeSet::new(),
        opening,
        from_ms: stage.start.earliest_ms,
        to_ms: stage.end.latest_ms,
        back_by_ms: stage.end.latest_ms,
        taken_to_ms: stage.end.latest_ms,
        no_return_ms: None,
        people: forecast.technicians.at_once.max(1),
        persons: BTreeSet::new(),
        fits: forecast.fits,
        holidays: Vec::new(),
    }
}

/// Who of the crew has something to do in a stage.
fn persons<'a>(plan: &'a Plan, stage: &'a str) -> impl Iterator<Item = String> + 'a {
    let named = plan.steps().filter(move |(of, ..)| *of == stage).filter_map(|(.., step)| match &step.action {
        Action::Manual(manual) => manual.by.as_ref(),
        _ => None,
    });
    named.filter(|by| plan.crew.persons.contains(*by)).cloned()
}

/// What a member has to do with: its own work, what cannot be at once with that, and other members' work that is part of it.
pub fn of_member(member: &str, entries: Vec<Entry>, conflicts: Vec<Conflict>) -> (Vec<Entry>, Vec<Conflict>) {
    let own = |n: usize| entries.get(n).is_some_and(|entry| entry.members.contains(member));
    let mut conflicts = conflicts;
    conflicts.retain(|conflict| conflict.entries.iter().any(|n| own(*n)));
    let of_conflicts = conflicts.iter().flat_map(|conflict| conflict.entries.iter().copied());
    let shown: BTreeSet<usize> = (0..entries.len()).filter(|n| own(*n)).chain(of_conflicts).collect();
    // They are numbered anew.
    for n in conflicts.iter_mut().flat_map(|conflict| &mut conflict.entries) {
        *n = shown.range(..*n).count();
    }
    let entries = entries.into_iter().enumerate().filter(|(n, _)| shown.contains(n)).map(|(_, entry)| entry);
    (entries.collect(), conflicts)
}

/// What cannot be at once: one weiche at a time works for a member, and people are in one place.
pub fn conflicts(entries: &[Entry], technicians: Option<u32>) -> Vec<Conflict> {
    let mut found = Vec::new();
    for (at, one) in entries.iter().enumerate() {
        for (n, other) in entries.iter().enumerate().skip(at + 1).filter(|(_, other)| one.plan != other.plan) {
            let both: BTreeSet<String> = one.members.intersection(&other.members).cloned().collect();
            let taken = other.from_ms < one.taken_to_ms && one.from_ms < other.taken_to_ms;
            if !both.is_empty() && taken {
                found.push(Conflict { entries: vec![at, n], why: Why::Members(both) });
            }
            // Nobody has to be there while it soaks.
            let both: BTreeSet<String> = one.persons.intersection(&other.persons).cloned().collect();
            let at_once = other.from_ms < one.back_by_ms && one.from_ms < other.back_by_ms;
            if !both.is_empty() && at_once {
                found.push(Conflict { entries: vec![at, n], why: Why::Persons(both) });
            }
        }
        // Whatever begins while others are at work: the most that are needed at once, are needed when something begins.
        let at_once = |other: &(usize, &Entry)| other.1.from_ms <= one.from_ms && one.from_ms < other.1.back_by_ms;
        let busy: Vec<(usize, &Entry)> = entries.iter().enumerate().filter(at_once).collect();
        let needed: u32 = busy.iter().map(|(_, entry)| entry.people).sum();
        if let Some(there_are) = technicians.filter(|there_are| needed > *there_are) {
            let why = Why::People { needed, there_are };
            found.push(Conflict { entries: busy.iter().map(|(n, _)| *n).collect(), why });
        }
    }
    found
}
