//! The rollout as a sans-I/O state machine: events in, actions out; no clock, no socket, no randomness.
//!
//! What happened is the list of [`Happening`]s; where a run stands is their fold ([`Rollout::on`]), in live execution
//! and after a crash of the controller alike. Stages in order, the hosts of a stage in parallel; the first failure lets
//! the stage's other hosts end theirs, then everything is taken back, last stage first.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weiche_agent::protocol::{Difference, Digest, Fault, Manifest, StepEvent, StepId};

use crate::input::target::HostName;

/// Something that happened in a run: what the run log holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// The run began; from now on the plan is used.
    RunStarted {
        /// Digest of its plan.
        plan: Digest,
        /// Playbook, for people.
        playbook: String,
    },
    /// Hosts may be changed from now on.
    StageStarted {
        /// The stage.
        stage: String,
    },
    /// An agent (or the controller, for its own steps) reported on a step.
    Step {
        /// The host.
        host: HostName,
        /// What it reported.
        event: StepEvent,
    },
    /// The host's part of the stage is through.
    HostDone {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
    },
    /// The host's part of the stage failed; the run turns back.
    HostFailed {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
        /// Why.
        fault: Fault,
    },
    /// The host waits for a person; the run goes on with `weiche done` and `weiche resume`.
    HostWaits {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
        /// The manual step.
        step: StepId,
        /// What the person is to do.
        text: String,
    },
    /// The host's manifest was taken, before its first change.
    HostWitnessed {
        /// The host.
        host: HostName,
        /// What was listed.
        manifest: Manifest,
    },
    /// The host was compared with its manifest.
    HostVerified {
        /// The host.
        host: HostName,
        /// What came of it.
        verdict: Verdict,
    },
    /// The host is about to be restarted.
    Rebooting {
        /// The host.
        host: HostName,
        /// The step that asks for it.
        step: StepId,
        /// Its boot id until then: once it has another, the step is done.
        boot_id: String,
    },
    /// The run turns back.
    RollbackStarted {
        /// Why, in words.
        reason: String,
        /// Also what others have changed since is taken back; a copy of it is kept.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        over_drift: bool,
    },
    /// The host's part of the stage is as it was.
    HostUndone {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
    },
    /// The host could not be taken back: a person is needed.
    HostStuck {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
        /// The steps that remain.
        steps: Vec<StepId>,
        /// Why.
        fault: Fault,
    },
    /// The run is through, for now.
    RunEnded {
        /// How.
        outcome: Outcome,
    },
}

/// What came of comparing a host with its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// What it was compared with.
    pub manifest: Manifest,
    /// How many things differ; 0: identical.
    pub differences: u64,
    /// The first of them.
    pub told: Vec<Difference>,
}

impl Verdict {
    /// Whether nothing differs.
    pub fn identical(&self) -> bool {
        self.differences == 0
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every host is new.
    Done,
    /// Every host is as it was.
    RolledBack,
    /// Every host was taken back, but at least one differs from its manifest.
    Differs,
    /// At least one host could not be taken back.
    Stuck,
}

/// What the driver is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Carry out the host's part of a stage.
    Run {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
    },
    /// Take back the host's part of a stage.
    Undo {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
        /// Also what others have changed since.
        over_drift: bool,
    },
    /// Write this into the run log and feed it back.
    Record(Happening),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Begun,
    Forward(usize),
    Backward(usize),
    Ended(Outcome),
}

/// A run: where it stands and what is to be done next.
#[derive(Clone, Debug)]
pub struct Rollout {
    stages: Vec<(String, BTreeSet<HostName>)>,
    phase: Phase,
    started: usize,
    open: BTreeSet<HostName>,
    waiting: BTreeMap<HostName, StepId>,
    /// The first host that failed, and where.
    failed: Option<String>,
    stuck: BTreeSet<HostName>,
    undone: BTreeSet<(usize, HostName)>,
    differs: BTreeSet<HostName>,
    over_drift: bool,
}

impl Rollout {
    /// A run of these stages with their hosts, not begun.
    pub fn new(stages: Vec<(String, BTreeSet<HostName>)>) -> Rollout {
        Rollout {
            stages,
            phase: Phase::New,
            started: 0,
            open: BTreeSet::new(),
            waiting: BTreeMap::new(),
            failed: None,
            stuck: BTreeSet::new(),
            undone: BTreeSet::new(),
            differs: BTreeSet::new(),
            over_drift: false,
        }
    }

    /// Takes note of what happened and says what is to be done now.
    pub fn on(&mut self, happening: &Happening) -> Vec<Action> {
        match happening {
            Happening::RunStarted { .. } => {
                self.phase = Phase::Begun;
                self.enter(0)
            }
            Happening::StageStarted { stage } => {
                let Some(at) = self.stages.iter().position(|(name, _)| name == stage) else { return Vec::new() };
                self.phase = Phase::Forward(at);
                self.started = at + 1;
                self.open = self.stages[at].1.clone();
                self.outstanding()
            }
            Happening::Step { .. } | Happening::HostWitnessed { .. } | Happening::Rebooting { .. } => Vec::new(),
            Happening::HostVerified { host, verdict } => {
                if !verdict.identical() {
                    self.differs.insert(host.clone());
                }
                Vec::new()
            }
            Happening::HostDone { host, .. } => {
                self.close(host);
                self.proceed()
            }
            Happening::HostFailed { host, stage, .. } => {
                self.failed.get_or_insert_with(|| format!("{host} failed in stage {stage}"));
                self.close(host);
                self.proceed()
            }
            Happening::HostWaits { host, step, .. } => {
                self.waiting.insert(host.clone(), step.clone());
                Vec::new()
            }
            Happening::RollbackStarted { over_drift, .. } => {
                self.over_drift = *over_drift;
                self.waiting.clear();
                self.stuck.clear();
                self.differs.clear();
                self.turn_back(self.started)
            }
            Happening::HostUndone { host, .. } => {
                if let Phase::Backward(at) = self.phase {
                    self.undone.insert((at, host.clone()));
                }
                self.close(host);
                self.proceed()
            }
            Happening::HostStuck { host, .. } => {
                self.stuck.insert(host.clone());
                self.close(host);
                self.proceed()
            }
            Happening::RunEnded { outcome } => {
                self.phase = Phase::Ended(*outcome);
                Vec::new()
            }
        }
    }

    /// What is to be done now, as after a restart: everything that was begun and of which no end is known.
    pub fn outstanding(&self) -> Vec<Action> {
        let stage = |at: usize| self.stages[at].0.clone();
        let each = |make: &dyn Fn(HostName) -> Action| self.open.iter().cloned().map(make).collect();
        match self.phase {
            Phase::New | Phase::Ended(_) => Vec::new(),
            Phase::Begun => self.enter(0),
            Phase::Forward(at) if !self.open.is_empty() => each(&|host| Action::Run { host, stage: stage(at) }),
            Phase::Backward(at) if !self.open.is_empty() => {
                each(&|host| Action::Undo { host, stage: stage(at), over_drift: self.over_drift })
            }
            // The controller died between the last host's end and what follows from it.
            Phase::Forward(_) | Phase::Backward(_) => self.clone().proceed(),
        }
    }

    /// How the run ended, if it did.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.phase {
            Phase::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Hosts that wait for a person, with the manual step; empty as long as others still work.
    pub fn only_waiting(&self) -> bool {
        matches!(self.phase, Phase::Forward(_))
            && !self.open.is_empty()
            && self.open.iter().all(|host| self.waiting.contains_key(host))
    }

    /// Forgets that hosts wait: a person has confirmed, or the run is resumed.
    pub fn wake(&mut self) {
        self.waiting.clear();
    }

    /// Whether the run is going backward.
    pub fn turning_back(&self) -> bool {
        matches!(self.phase, Phase::Backward(_))
    }

    fn close(&mut self, host: &HostName) {
        self.open.remove(host);
        self.waiting.remove(host);
    }

    /// Once nobody works any more: the next stage, the way back, or the end.
    fn proceed(&mut self) -> Vec<Action> {
        if !self.open.is_empty() {
            // A failure ends the waiting of the others: the run turns back without their persons.
            if self.failed.is_some() && self.only_waiting() {
                self.open.clear();
                return self.proceed();
            }
            return Vec::new();
        }
        match self.phase {
            Phase::Forward(at) => match &self.failed {
                Some(reason) => {
                    vec![Action::Record(Happening::RollbackStarted { reason: reason.clone(), over_drift: false })]
                }
                None => self.enter(at + 1),
            },
            Phase::Backward(at) => self.turn_back(at),
            Phase::New | Phase::Begun | Phase::Ended(_) => Vec::new(),
        }
    }

    fn enter(&self, at: usize) -> Vec<Action> {
        let happening = match self.stages.get(at) {
            Some((stage, _)) => Happening::StageStarted { stage: stage.clone() },
            None => Happening::RunEnded { outcome: Outcome::Done },
        };
        vec![Action::Record(happening)]
    }

    /// Takes back the last stage before `end` in which a host is neither undone nor stuck.
    fn turn_back(&mut self, end: usize) -> Vec<Action> {
        for at in (0..end).rev() {
            let rest = |host: &&HostName| !self.stuck.contains(*host) && !self.undone.contains(&(at, (*host).clone()));
            let hosts: BTreeSet<HostName> = self.stages[at].1.iter().filter(rest).cloned().collect();
            if !hosts.is_empty() {
                self.phase = Phase::Backward(at);
                self.open = hosts;
                return self.outstanding();
            }
        }
        self.phase = Phase::Backward(0);
        self.open.clear();
        let outcome = match (self.stuck.is_empty(), self.differs.is_empty()) {
            (true, true) => Outcome::RolledBack,
            (true, false) => Outcome::Differs,
            (false, _) => Outcome::Stuck,
        };
        vec![Action::Record(Happening::RunEnded { outcome })]
    }
}

#[cfg(test)]
mod tests;
