//! The plan is a value: a pure function of fleet, playbook, inputs, observed states, a nonce and the time.
//!
//! It leaves no choices for execution time, is named by its digest, shows every change with its undo beside it, is used
//! once, and is refused when the hosts are no longer what it was computed from.

mod ahead;
mod build;
pub mod diff;
pub mod expand;
mod needs;
pub mod procedure;
pub mod rules;
mod saved;
pub mod takes;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weiche_agent::digest::Digest;
use weiche_agent::protocol::{Facts, Fault, Observation, StepId};

use crate::calendar::Zone;
use crate::input::target::{HostName, Watch};
use procedure::{Action, Probe, Turn};
use rules::Rules;
use takes::{Around, Estimate, Size, Takes};

pub use build::{Tree, build, transfer_outlook};
pub use saved::{File as PlanFile, ReadPlanError, VERSION as FILE_VERSION, read, write};

/// What is to be done, decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Makes two plans of the same work different, because each may be used once; and their keys.
    pub nonce: String,
    /// When it was computed, in milliseconds since the epoch.
    pub created_ms: i64,
    /// When it is to begin, in milliseconds since the epoch, if whoever made it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<i64>,
    /// Name of the fleet.
    pub fleet: String,
    /// Name of the playbook.
    pub playbook: String,
    /// Its inputs, defaults filled in.
    pub inputs: BTreeMap<String, serde_json::Value>,
    /// Hosts whose package and unit commands are simulated.
    pub simulated: BTreeSet<HostName>,
    /// What members watch besides what the plan manages, by host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub watch: BTreeMap<HostName, Watch>,
    /// Simulated hosts that tell no serial number although the inventory has one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unidentified: BTreeSet<HostName>,
    /// Who computed it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub planner: String,
    /// The site of each host that has one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sites: BTreeMap<HostName, String>,
    /// The services that are measured throughout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meter: Vec<Metered>,
    /// Most hosts that are worked on at once; 0: not known.
    #[serde(default, skip_serializing_if = "is_none")]
    pub connections: usize,
    /// What kind of host each is, as durations are compared among hosts of a kind: `server`, `pc`, `simulated`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<HostName, String>,
    /// Who does manual steps.
    #[serde(default, skip_serializing_if = "Crew::is_unknown")]
    pub crew: Crew,
    /// In order.
    pub stages: Vec<Stage>,
}

/// Who does manual steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Crew {
    /// So many people do something at once; `None`: as many as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technicians: Option<u32>,
    /// Who of those that steps name is one person, and does one thing after the other. Others are a role.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub persons: BTreeSet<String>,
}

impl Crew {
    fn is_unknown(&self) -> bool {
        *self == Crew::default()
    }
}

/// A service of a member that is measured for as long as a run is driven.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metered {
    /// `member/service`.
    pub service: String,
    /// How to see from outside that it works.
    pub probe: Probe,
    /// How long it may be away in all, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_ms: Option<u64>,
    /// A host in the users' network that it is seen from too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vantage: Option<HostName>,
}

/// What differs between two states of a resource, a line each.
pub fn differences(kind: &str, from: &serde_json::Value, to: &serde_json::Value) -> Vec<String> {
    let words = weiche_agent::resource::kind(kind).and_then(|kind| kind.change(from, to));
    words.map(diff::fit).unwrap_or_else(|| diff::lines(from, to, diff::Text::Shown { old: None, new: None }))
}

/// A stage of the plan: hosts in parallel, the steps of each in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// Its name in the playbook.
    pub name: String,
    /// What each host does.
    pub hosts: BTreeMap<HostName, Vec<Step>>,
    /// If its hosts take turns: who does which steps, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<Turn>,
    /// In which waves, and when it stops.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rules: Rules,
    /// What the machinery around its steps takes; `None`: nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub around: Option<Around>,
    /// What it and the way back from it take by their bounds, in milliseconds: it does not begin where that does not fit into
    /// its window. 0: not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub needs_ms: i64,
    /// What one of its hosts needs that catches up with it by itself, and goes back, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub alone_ms: i64,
}

impl Stage {
    /// How it is carried out, with what is known of its length.
    pub fn rules(&self) -> Rules {
        Rules { takes_ms: self.rules.takes_ms.max(self.needs_ms), ..self.rules.clone() }
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn is_none(number: &usize) -> bool {
    *number == 0
}

fn is_default(rules: &Rules) -> bool {
    *rules == Rules::default()
}

/// A step of the plan: what is done, and what that means as far as can be seen now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// A few words for people, e.g. `file /etc/motd`.
    pub title: String,
    /// What it would change.
    pub outlook: Outlook,
    /// What it takes; `None`: nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes: Option<Takes>,
}

/// What a step would change, seen from the time of planning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outlook {
    /// Whether it changes anything.
    pub changes: bool,
    /// The changes, a line each; a unified diff where there is text.
    pub diff: Vec<String>,
    /// What undo will do.
    pub undo: String,
    /// There is no way back.
    pub irreversible: bool,
    /// The contents that the host needs for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<Digest>,
    /// How much there is to do.
    #[serde(default, skip_serializing_if = "Size::is_unknown")]
    pub size: Size,
    /// Digest of the state that was seen; the plan is stale when it no longer holds.
    pub seen: Option<Digest>,
}

/// Everything that was seen of a host for a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Its facts.
    pub facts: Facts,
    /// The inventory says which machine it is, and it does not: possible only where it is simulated.
    pub unidentified: bool,
    /// One observation for each resource step, in the procedure's order over all stages.
    pub observations: Vec<Observation>,
    /// What each transfer to this host would do.
    pub transfers: BTreeMap<StepId, Outlook>,
    /// It is switched off: nothing of it was seen.
    pub away: bool,
}

/// Why a plan cannot be made: the steps that could not be seen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{} step(s) could not be planned", .0.len())]
pub struct Unplannable(pub Vec<(HostName, StepId, String, Fault)>);

impl Plan {
    /// When it begins at the earliest, in milliseconds since the epoch: when it is to, and not before now.
    pub fn begins_ms(&self, now_ms: i64) -> i64 {
        self.start_ms.map_or(now_ms, |start| start.max(now_ms))
    }

    /// As it goes where a process may have so many connections: never more than the plan reckoned with, for it may be older than
    /// that limit.
    pub fn with_connections(&self, limit: usize) -> Plan {
        let connections = if self.connections == 0 { limit } else { self.connections.min(limit) };
        Plan { connections, ..self.clone() }
    }

    /// Names the plan: the digest of its canonical JSON.
    pub fn digest(&self) -> Digest {
        // A plan consists of strings, numbers, maps with string keys: it always serialises.
        Digest::of_json(&serde_json::to_value(self).unwrap_or_default())
    }

    /// Number of steps that change something.
    pub fn changes(&self) -> usize {
        self.steps().filter(|(_, _, step)| step.outlook.changes).count()
    }

    /// Every host that a stage touches.
    pub fn hosts(&self) -> BTreeSet<HostName> {
        self.stages.iter().flat_map(|stage| stage.hosts.keys().cloned()).collect()
    }

    /// Where its people look at their clocks: its windows say so.
    pub fn zone(&self) -> Zone {
        let mut windows = self.stages.iter().flat_map(|stage| &stage.rules.windows);
        windows.next().map_or(Zone::UTC, |window| window.zone.clone())
    }

    /// Whatever it says that something is expected to take.
    pub fn estimates(&mut self) -> impl Iterator<Item = &mut Estimate> {
        self.stages.iter_mut().flat_map(|stage| {
            let steps = stage.hosts.values_mut().flatten().filter_map(|step| step.takes.as_mut());
            stage.around.iter_mut().flat_map(Around::each).chain(steps.flat_map(Takes::each))
        })
    }

    /// All steps with their stage and host.
    pub fn steps(&self) -> impl Iterator<Item = (&str, &HostName, &Step)> {
        self.stages.iter().flat_map(|stage| {
            let of_host = move |(host, steps): (_, _)| {
                let steps: &Vec<Step> = steps;
                steps.iter().map(move |step| (stage.name.as_str(), host, step))
            };
            stage.hosts.iter().flat_map(of_host)
        })
    }

    /// The steps whose hosts are no longer as the plan saw them, given what is seen now.
    pub fn stale<'a>(&'a self, now: &'a Plan) -> Vec<(&'a HostName, &'a Step)> {
        let seen: BTreeMap<(&HostName, &StepId), &Option<Digest>> =
            now.steps().map(|(_, host, step)| ((host, step.action.id()), &step.outlook.seen)).collect();
        let differs = |host: &HostName, step: &Step| {
            step.outlook.seen.is_some() && seen.get(&(host, step.action.id())) != Some(&&step.outlook.seen)
        };
        self.steps().filter(|(_, host, step)| differs(host, step)).map(|(_, host, step)| (host, step)).collect()
    }

    /// Whether two plans ask for the same actions: the fleet's files have not changed in between.
    pub fn same_work(&self, other: &Plan) -> bool {
        let work = |plan: &Plan| -> Vec<(String, HostName, Action)> {
            plan.steps().map(|(stage, host, step)| (stage.to_owned(), host.clone(), step.action.clone())).collect()
        };
        let rules = |plan: &Plan| plan.stages.iter().map(|s| (s.rules.clone(), s.turns.clone())).collect::<Vec<_>>();
        self.playbook == other.playbook
            && self.meter == other.meter
            && work(self) == work(other)
            && rules(self) == rules(other)
    }
}
