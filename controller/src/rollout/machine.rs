//! The machine: what it knows of a run. `fold` takes note of what happened, `todo` says what is to be done.

use std::collections::{BTreeMap, BTreeSet};

use weiche_agent::protocol::StepId;

use super::Outcome;
use super::probed::Probed;
use super::rules::{May, Scope};
use super::stage::{Cell, Fate, Part, Stage};
use super::tally::Tally;
use crate::approval::gate::Approval;
use crate::input::target::HostName;

/// A host that is switched off is tried again after this time, in milliseconds.
pub(super) const RETRY_MS: i64 = 5 * 60 * 1000;

/// Where a run is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not begun.
    New,
    /// Before this stage; behind the last one: hosts that were switched off are waited for.
    Before(usize),
    /// In this wave of this stage.
    Wave(usize, usize),
    /// It has stopped itself there, and a person decides.
    Held(Box<Phase>, String),
    /// What is in this scope of this wave and stage goes back; now in the first stage named.
    Back { at: usize, scope: Scope, stage: usize, wave: usize },
    /// Through.
    Ended(Outcome),
}

/// What a run waits for when it has nothing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does not wait: hosts work, or there is something to be done.
    Working,
    /// Persons have manual steps to do.
    Manual,
    /// Until this time: a pause between waves, or a soaking stage.
    Until(i64),
    /// For persons: what is missing before the stage may begin.
    Gate {
        /// The stage.
        stage: String,
        /// What is missing.
        missing: Vec<String>,
    },
    /// A person has paused it.
    Paused,
    /// It has stopped itself; a person decides.
    Held(String),
    /// For so many hosts that are switched off.
    Offline(usize),
    /// For nothing: it is through.
    Ended(Outcome),
}

/// A run: where it stands and what is to be done next.
#[derive(Clone, Debug)]
pub struct Rollout {
    pub(super) stages: Vec<Stage>,
    pub(super) sites: BTreeMap<HostName, String>,
    pub(super) phase: Phase,
    /// Time of the last happening, or an earlier one if the clock was seen set back since.
    pub(super) at_ms: i64,
    /// When the last host of the wave was through.
    pub(super) closed_ms: i64,
    pub(super) paused: bool,
    /// Who has ended the run, and whether everything stays as it is.
    pub(super) aborted: Option<(String, bool)>,
    pub(super) tally: Tally,
    /// Why the stage stops, once enough has failed.
    pub(super) met: Option<String>,
    pub(super) differs: BTreeSet<HostName>,
    pub(super) over_drift: bool,
    /// When each host that is switched off was tried last.
    pub(super) tried: BTreeMap<HostName, i64>,
    /// What was asked for and has no answer yet. It is no part of the fold: whoever resumes asks again.
    pub(super) asked: BTreeSet<HostName>,
    /// Of the present wave, so that no step looks at all of its hosts.
    pub(super) wave: Wave,
    /// Who planned the run; their approval may not count.
    pub(super) planner: String,
    /// The stage that a person lets go on beyond its window, or begin in one that is too short for it.
    pub(super) excused: Option<usize>,
    /// The stage that the run is held because of.
    pub(super) held: Option<usize>,
    pub(super) approvals: BTreeMap<String, Vec<Approval>>,
    pub(super) ticked: BTreeMap<String, BTreeSet<String>>,
    pub(super) probed: Probed,
}

/// The hosts of the present wave by what is to be done with them.
#[derive(Clone, Debug, Default)]
pub(super) struct Wave {
    pub(super) idle: BTreeSet<(usize, HostName)>,
    pub(super) cut_off: BTreeSet<HostName>,
    pub(super) waits: BTreeSet<HostName>,
    pub(super) ready: BTreeSet<HostName>,
    pub(super) failed: BTreeSet<HostName>,
    pub(super) order: BTreeMap<HostName, usize>,
}

impl Rollout {
    /// A run of these stages, not begun. `sites` names the site of each host that has one.
    pub fn new(parts: Vec<Part>, sites: BTreeMap<HostName, String>) -> Rollout {
        Rollout {
            stages: parts.into_iter().map(Stage::new).collect(),
            sites,
            phase: Phase::New,
            at_ms: 0,
            closed_ms: 0,
            paused: false,
            aborted: None,
            tally: Tally::default(),
            met: None,
            differs: BTreeSet::new(),
            over_drift: false,
            tried: BTreeMap::new(),
            asked: BTreeSet::new(),
            wave: Wave::default(),
            planner: String::new(),
            excused: None,
            held: None,
            approvals: BTreeMap::new(),
            ticked: BTreeMap::new(),
            probed: Probed::default(),
        }
    }

    /// Forgets what was asked for, that hosts wait for persons, and when hosts that are switched off were tried: whoever
    /// drives it from now on asks again.
    pub fn wake(&mut self) {
        self.asked.clear();
        self.tried.clear();
        self.look_again();
        if let Phase::Wave(stage, wave) = self.phase {
            for host in std::mem::take(&mut self.wave.waits) {
                if let Some(cell) = self.stages[stage].cell(&host) {
                    cell.fate = Fate::Idle;
                }
            }
            self.list(stage, wave);
        }
        for cell in self.stages.iter_mut().flat_map(|stage| stage.cells.values_mut()) {
            if let (Fate::Waits(_), Phase::Before(_)) = (&cell.fate, &self.phase) {
                cell.fate = Fate::Offline;
            }
        }
    }

    /// If the clock was set back: what waits from a time that is yet to come waits from now on, not until the clock shows
    /// that time once more.
    pub(super) fn notice(&mut self, now_ms: i64) {
        if now_ms < self.at_ms {
            self.at_ms = now_ms;
            self.closed_ms = self.closed_ms.min(now_ms);
            self.tried.values_mut().for_each(|tried| *tried = (*tried).min(now_ms));
        }
    }

    /// The same, planned by this person.
    #[must_use]
    pub fn planned_by(self, planner: &str) -> Rollout {
        Rollout { planner: planner.to_owned(), ..self }
    }

    /// What the run waits for.
    pub fn standing(&self, now_ms: i64) -> Standing {
        if let Phase::Ended(outcome) = self.phase {
            return Standing::Ended(outcome);
        }
        if !self.asked.is_empty() {
            return Standing::Working;
        }
        match &self.phase {
            _ if self.aborted.is_some() => Standing::Working,
            Phase::Held(_, reason) => Standing::Held(reason.clone()),
            Phase::Back { .. } | Phase::New => Standing::Working,
            _ if self.paused => Standing::Paused,
            Phase::Wave(..) if !self.wave.waits.is_empty() => Standing::Manual,
            Phase::Before(stage) if *stage == self.stages.len() => match self.offline().count() {
                0 if self.waiting().next().is_some() => Standing::Manual,
                hosts => Standing::Offline(hosts),
            },
            _ => self.gated(now_ms).unwrap_or_else(|| self.standing_in_time(now_ms)),
        }
    }

    fn standing_in_time(&self, now_ms: i64) -> Standing {
        self.due_ms(now_ms).filter(|due| *due > now_ms).map_or(Standing::Working, Standing::Until)
    }

    fn gated(&self, now_ms: i64) -> Option<Standing> {
        let at = self.upcoming(now_ms)?;
        let missing = self.lacks(at, now_ms);
        (!missing.is_empty()).then(|| Standing::Gate { stage: self.stages[at].name.clone(), missing })
    }

    /// When [`Rollout::next`] has to be asked again though nothing has happened.
    pub fn due_ms(&self, now_ms: i64) -> Option<i64> {
        if let Some(next) = self.upcoming(now_ms) {
            let May::At(start_ms) = self.may_begin(next, now_ms) else { return None };
            return Some(start_ms);
        }
        match self.phase {
            Phase::Wave(stage, wave) if self.asked.is_empty() && !self.paused => {
                let rules = &self.stages[stage].rules;
                let last = wave + 1 >= self.stages[stage].waves.len();
                Some(self.closed_ms + if last { rules.hold_ms } else { rules.pause_ms })
            }
            Phase::Before(stage) if stage == self.stages.len() => {
                let again = |(host, at): (HostName, usize)| {
                    let next = self.catches_up(&host, at, now_ms);
                    [next, self.deadline(at)].into_iter().flatten().min()
                };
                self.offline().filter(|(host, _)| !self.asked.contains(host)).filter_map(again).min()
            }
            _ => None,
        }
    }

    /// How the run ended, if it did.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.phase {
            Phase::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// The stage that is at work, or between its waves; `None` before and behind stages, and on the way back.
    pub fn stage(&self) -> Option<usize> {
        match self.phase {
            Phase::Wave(stage, _) => Some(stage),
            _ => None,
        }
    }

    /// The same, also while a person is waited for, who has paused it or has to decide: where it has stopped behind a
    /// stage, that one.
    pub fn under_way(&self) -> Option<usize> {
        match &self.phase {
            Phase::Held(from, _) => match **from {
                Phase::Wave(stage, _) => Some(stage),
                Phase::Before(next) => next.checked_sub(1),
                _ => None,
            },
            _ => self.stage(),
        }
    }

    /// When a stage started, in milliseconds since the epoch.
    pub fn started_ms(&self, stage: usize) -> Option<i64> {
        self.stages.get(stage)?.started_ms
    }

    /// Whether it waits for a person to let it go on.
    pub fn is_stopped(&self) -> bool {
        self.paused || matches!(self.phase, Phase::Held(..))
    }

    /// As if nobody had to be waited for any more before a stage: for reckoning what is left.
    pub fn open_gates(&mut self) {
        self.stages.iter_mut().for_each(|stage| stage.rules.gate = None);
    }

    /// Whether the run is going backward.
    pub fn turning_back(&self) -> bool {
        matches!(self.phase, Phase::Back { .. })
    }

    /// What became of each host's part of each stage.
    pub fn cells(&self) -> impl Iterator<Item = (&str, &HostName, &Cell)> {
        let of = |stage| {
            let stage: &Stage = stage;
            stage.cells.iter().map(|(host, cell)| (stage.name.as_str(), host, cell))
        };
        self.stages.iter().flat_map(of)
    }

    /// The manual steps that persons are waited for.
    pub fn waiting(&self) -> impl Iterator<Item = (&HostName, &StepId)> {
        self.stages.iter().flat_map(|stage| &stage.cells).filter_map(|(host, cell)| match &cell.fate {
            Fate::Waits(step) => Some((host, step)),
            _ => None,
        })
    }
}

impl Wave {
    /// Whether nothing is left to be done in it.
    pub(super) fn is_through(&self) -> bool {
        let Wave { idle, cut_off, waits, ready, failed, order: _ } = self;
        idle.is_empty() && cut_off.is_empty() && waits.is_empty() && ready.is_empty() && failed.is_empty()
    }

    /// Puts a host where it belongs.
    pub(super) fn put(&mut self, host: &HostName, cell: &Cell) {
        let Some(order) = self.order.get(host) else { return };
        let place = (*order, host.clone());
        self.idle.remove(&place);
        self.cut_off.remove(host);
        self.waits.remove(host);
        self.ready.remove(host);
        self.failed.remove(host);
        match cell.fate {
            Fate::Idle if cell.begun => drop(self.cut_off.insert(host.clone())),
            Fate::Idle => drop(self.idle.insert(place)),
            Fate::Waits(_) => drop(self.waits.insert(host.clone())),
            Fate::Ready => drop(self.ready.insert(host.clone())),
            Fate::Failed if cell.begun => drop(self.failed.insert(host.clone())),
            _ => {}
        }
    }
}
