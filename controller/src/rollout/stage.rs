//! A stage of a run: what became of each host's part of it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use weiche_agent::protocol::StepId;

use super::rules::Rules;
use crate::input::target::HostName;
use crate::plan::{self, Plan};

/// A stage as a run begins with it.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its hosts.
    pub hosts: BTreeSet<HostName>,
    /// How it is carried out.
    pub rules: Rules,
    /// What a host that was switched off needs to catch up with it and to go back, in milliseconds.
    pub alone_ms: i64,
}

/// The stages of a plan, where so many hosts are worked on at once.
pub fn parts(plan: &Plan, connections: usize) -> Vec<Part> {
    let part = |stage: &plan::Stage| {
        // Hosts that take turns wait for one another: all of them have to be asked.
        let least = if stage.turns.is_empty() { 1 } else { stage.hosts.len() };
        let at_once = stage.rules.at_once.unwrap_or(connections).min(connections).max(least);
        let hosts = stage.hosts.keys().cloned().collect();
        let rules = Rules { at_once: Some(at_once), ..stage.rules() };
        Part { name: stage.name.clone(), hosts, rules, alone_ms: stage.alone_ms }
    };
    plan.stages.iter().map(part).collect()
}

/// What became of a host's part of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Nothing yet.
    Idle,
    /// Waits for a person to do this step.
    Waits(StepId),
    /// Through, and not confirmed yet.
    Ready,
    /// Through.
    Done,
    /// Failed, and not taken back (yet).
    Failed,
    /// Switched off: it is done when it appears.
    Offline,
    /// Switched off for too long.
    GivenUp,
    /// Will not be run, because the host failed or was given up in this stage.
    Skipped(String),
    /// Taken back.
    Undone,
    /// Could not be taken back.
    Stuck,
    /// Left as it is by a person.
    Left,
}

/// A host's part of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What became of it.
    pub fate: Fate,
    /// Whether the host was or may have been changed by it.
    pub begun: bool,
    /// Whether it has failed in this run, whatever became of it then.
    pub failed: bool,
}

impl Cell {
    const IDLE: Cell = Cell { fate: Fate::Idle, begun: false, failed: false };

    /// Whether something of it is to be taken back.
    pub(super) fn changed(&self) -> bool {
        self.begun && !matches!(self.fate, Fate::Undone | Fate::Stuck | Fate::Left)
    }
}

/// A stage and its cells.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) name: String,
    pub(super) rules: Rules,
    pub(super) waves: Vec<Vec<HostName>>,
    pub(super) cells: BTreeMap<HostName, Cell>,
    /// When it started, in milliseconds since the epoch; `None`: it has not.
    pub(super) started_ms: Option<i64>,
    /// What a host that was switched off needs to catch up with it and to go back, in milliseconds.
    pub(super) alone_ms: i64,
}

impl Stage {
    pub(super) fn new(part: Part) -> Stage {
        let Part { name, hosts, mut rules, alone_ms } = part;
        // Whoever is in no wave comes last: nobody is forgotten.
        let mut rest = hosts.clone();
        let mut waves = std::mem::take(&mut rules.waves);
        waves.iter_mut().for_each(|wave| wave.retain(|host| rest.remove(host)));
        waves.push(rest.into_iter().collect());
        waves.retain(|wave| !wave.is_empty());
        let cells = hosts.into_iter().map(|host| (host, Cell::IDLE)).collect();
        Stage { name, rules, waves, cells, started_ms: None, alone_ms }
    }

    pub(super) fn cell(&mut self, host: &HostName) -> Option<&mut Cell> {
        self.cells.get_mut(host)
    }
}
