//! Stages whose hosts take turns: who waits for whom, forward, back, and when they are confirmed.
//!
//! Forward, nobody changes anything before all hosts of the stage are there (and their guards armed); then each turn waits
//! for those before it. Back, a turn is taken back when those behind it are, as far as their hosts go back at all; it does not wait for those that are `beside`. Whoever
//! had the first turn is confirmed last, and its guard fires last: what another host has taken over is given up before it
//! is taken back here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::watch;
use weiche_agent::protocol::{Fault, FaultCode, StepId};

use crate::input::target::HostName;
use crate::plan::procedure::Turn;
use crate::plan::{Plan, Stage};

/// How much earlier a guard fires than that of a host whose first turn comes earlier.
const AHEAD: Duration = Duration::from_secs(3);

/// How long the other hosts of a stage may take to begin: longer than any list of what is there takes.
const BEGIN: Duration = Duration::from_secs(1800);

/// How the turns of a stage stand, in this process: whoever resumes a run begins anew, and the journals of the hosts see to
/// it that nothing is done twice.
#[derive(Clone, Debug, Default)]
struct Standing {
    begun: BTreeSet<HostName>,
    through: BTreeSet<usize>,
    failed: BTreeSet<HostName>,
    /// Hosts that go back, with the turns of theirs that are taken back: from this one on.
    back: BTreeMap<HostName, usize>,
    /// Those of them that could not be taken back: what came before stays as well.
    stuck: BTreeSet<HostName>,
    /// Hosts that are being confirmed.
    confirming: BTreeSet<HostName>,
}

/// The turns of all stages of a run that have some.
pub(super) struct Turns(BTreeMap<String, Of>);

/// The turns of one stage.
struct Of {
    turns: Vec<Turn>,
    hosts: BTreeSet<HostName>,
    standing: watch::Sender<Standing>,
}

/// A turn of a host on its way back.
pub(super) struct Back {
    turn: usize,
    /// Its steps; empty: all that is left of the stage.
    pub(super) only: Vec<StepId>,
}

impl Turns {
    pub(super) fn new(plan: &Plan) -> Turns {
        let of = |stage: &Stage| Of {
            turns: stage.turns.clone(),
            hosts: stage.hosts.keys().cloned().collect(),
            standing: watch::Sender::default(),
        };
        Turns(plan.stages.iter().filter(|s| !s.turns.is_empty()).map(|s| (s.name.clone(), of(s))).collect())
    }

    fn change<T>(&self, stage: &str, how: impl FnOnce(&[Turn], &mut Standing) -> T) {
        if let Some(of) = self.0.get(stage) {
            of.standing.send_modify(|standing| {
                how(&of.turns, standing);
            });
        }
    }

    async fn wait(&self, stage: &str, until: impl Fn(&Of, &Standing) -> bool) -> Standing {
        let Some(of) = self.0.get(stage) else { return Standing::default() };
        let mut standing = of.standing.subscribe();
        // The sender lives as long as the run.
        let found = standing.wait_for(|standing| until(of, standing)).await.map(|standing| standing.clone());
        found.unwrap_or_default()
    }

    /// What a host does in turn: the number of the turn, if there are turns, and of how many steps it is.
    pub(super) fn of(&self, stage: &str, host: &HostName, steps: usize) -> Vec<(Option<usize>, usize)> {
        let Some(of) = self.0.get(stage) else { return vec![(None, steps)] };
        let own = of.turns.iter().enumerate().filter(|(_, turn)| turn.host == *host);
        own.map(|(at, turn)| (Some(at), turn.steps.len())).collect()
    }

    /// The host begins with its part of the stage, perhaps anew.
    pub(super) fn enter(&self, stage: &str, host: &HostName) {
        self.change(stage, |turns, standing| {
            standing.begun.remove(host);
            standing.failed.remove(host);
            standing.through.retain(|at| turns.get(*at).is_some_and(|turn| turn.host != *host));
        });
    }

    /// The host is there and may be changed.
    pub(super) fn begun(&self, stage: &str, host: &HostName) {
        self.change(stage, |_, standing| standing.begun.insert(host.clone()));
    }

    /// The host was through with its part already when this process took over.
    pub(super) fn was_through(&self, stage: &str, host: &HostName) {
        self.change(stage, |turns, standing| {
            standing.begun.insert(host.clone());
            let own = turns.iter().enumerate().filter(|(_, turn)| turn.host == *host);
            standing.through.extend(own.map(|(at, _)| at));
        });
    }

    /// The host could not be taken back when this process took over.
    pub(super) fn was_stuck(&self, stage: &str, host: &HostName) {
        self.goes_back(stage, host);
        self.leave(stage, host, true);
    }

    /// A turn is through.
    pub(super) fn through(&self, stage: &str, turn: usize) {
        self.change(stage, |_, standing| standing.through.insert(turn));
    }

    /// The host has failed in the stage, or could not be confirmed: nobody's turn comes any more.
    pub(super) fn fail(&self, stage: &str, host: &HostName) {
        self.change(stage, |_, standing| {
            standing.failed.insert(host.clone());
            standing.confirming.remove(host);
        });
    }

    /// Waits for the turn to come.
    ///
    /// # Errors
    /// If another host of the stage has failed, or does not begin.
    pub(super) async fn turn(&self, stage: &str, turn: usize) -> Result<(), Fault> {
        // A run that is paused, or is to end, begins no host any more; those that have begun do not wait for ever.
        let begun = |of: &Of, standing: &Standing| of.hosts.iter().all(|host| standing.begun.contains(host));
        let began = self.wait(stage, |of, standing| !standing.failed.is_empty() || begun(of, standing));
        if tokio::time::timeout(BEGIN, began).await.is_err() {
            let message = format!("another host of the stage did not begin within {BEGIN:?}");
            return Err(Fault::new(FaultCode::Timeout, message));
        }
        let ready = |_: &Of, standing: &Standing| (0..turn).all(|before| standing.through.contains(&before));
        let standing = self.wait(stage, |of, standing| !standing.failed.is_empty() || ready(of, standing)).await;
        standing.failed.first().map_or(Ok(()), |host| Err(others(host)))
    }

    /// Waits until the last turn of the stage is through, so that all of its hosts are confirmed or none.
    ///
    /// # Errors
    /// If another host of the stage has failed.
    pub(super) async fn all(&self, stage: &str) -> Result<(), Fault> {
        match self.0.get(stage) {
            Some(of) => self.turn(stage, of.turns.len()).await,
            None => Ok(()),
        }
    }

    /// The host will be taken back: said ahead of its task, so that no other one overtakes it.
    pub(super) fn goes_back(&self, stage: &str, host: &HostName) {
        self.change(stage, |turns, standing| {
            standing.stuck.remove(host);
            standing.back.insert(host.clone(), turns.len())
        });
    }

    /// The host's turns, last first.
    pub(super) fn back(&self, stage: &str, host: &HostName) -> Vec<Back> {
        let Some(of) = self.0.get(stage) else { return vec![Back { turn: 0, only: Vec::new() }] };
        let own = of.turns.iter().enumerate().filter(|(_, turn)| turn.host == *host);
        let mut own: Vec<Back> = own.map(|(turn, of)| Back { turn, only: of.steps.clone() }).collect();
        if let Some(first) = own.first_mut() {
            first.only.clear();
        }
        own.into_iter().rev().collect()
    }

    /// Waits until all that came behind a turn is taken back on the other hosts that go back.
    ///
    /// # Errors
    /// If one of them is stuck: what came before may be what it stands on.
    pub(super) async fn turn_back(&self, stage: &str, host: &HostName, back: &Back) -> Result<(), Fault> {
        let blocks = |of: &Of, standing: &Standing| -> BTreeSet<HostName> {
            let later = of.turns.iter().enumerate().skip(back.turn + 1);
            let later = later.filter(|(_, turn)| turn.host != *host && !turn.beside);
            let open = later.filter(|(at, turn)| standing.back.get(&turn.host).is_some_and(|from| at < from));
            open.map(|(_, turn)| turn.host.clone()).collect()
        };
        let stuck = |of: &Of, standing: &Standing| blocks(of, standing).intersection(&standing.stuck).next().cloned();
        let is_through =
            |of: &Of, standing: &Standing| blocks(of, standing).is_empty() || stuck(of, standing).is_some();
        let standing = self.wait(stage, is_through).await;
        self.0.get(stage).and_then(|of| stuck(of, &standing)).map_or(Ok(()), |other| {
            let message = format!("{other} is stuck, so what came before it stays as well");
            Err(Fault::new(FaultCode::Stopped, message).hint("once the cause is mended there, take the run back again"))
        })
    }

    /// A turn is taken back.
    pub(super) fn is_back(&self, stage: &str, host: &HostName, back: &Back) {
        self.change(stage, |_, standing| standing.back.insert(host.clone(), back.turn));
    }

    /// The host is back, or stuck.
    pub(super) fn leave(&self, stage: &str, host: &HostName, stuck: bool) {
        self.change(stage, |_, standing| {
            if stuck {
                // How far it came stays known.
                standing.stuck.insert(host.clone());
            } else {
                standing.back.remove(host);
            }
        });
    }

    /// The host will be confirmed: said ahead of its task.
    pub(super) fn confirms(&self, stage: &str, host: &HostName) {
        self.change(stage, |_, standing| standing.confirming.insert(host.clone()));
    }

    /// Waits until the hosts whose first turn came later are confirmed.
    ///
    /// # Errors
    /// If one of them could not be.
    pub(super) async fn turn_to_confirm(&self, stage: &str, host: &HostName) -> Result<(), Fault> {
        let ready = |of: &Of, standing: &Standing| {
            let later = standing.confirming.iter().filter(|other| first(&of.turns, other) > first(&of.turns, host));
            later.count() == 0
        };
        let standing = self.wait(stage, |of, standing| !standing.failed.is_empty() || ready(of, standing)).await;
        standing.failed.first().map_or(Ok(()), |host| Err(others(host)))
    }

    /// The host is confirmed.
    pub(super) fn confirmed(&self, stage: &str, host: &HostName) {
        self.change(stage, |_, standing| standing.confirming.remove(host));
    }
}

/// How much earlier the guard of a host fires than the stage's bound says: what it has taken over is given up before those
/// whose turns came earlier take it back, who do so at the bound.
pub(super) fn ahead(stage: &Stage, host: &HostName) -> Duration {
    let mine = first(&stage.turns, host);
    let earlier = stage.hosts.keys().filter(|other| first(&stage.turns, other) < mine).count();
    AHEAD * u32::try_from(earlier).unwrap_or(u32::MAX)
}

fn first(turns: &[Turn], host: &HostName) -> Option<usize> {
    turns.iter().position(|turn| turn.host == *host)
}

fn others(host: &HostName) -> Fault {
    Fault::new(FaultCode::Stopped, format!("{host} failed, so no further turn of the stage came"))
}
