//! What is to be done now, given where a run stands and what time it is.

use std::collections::{BTreeMap, BTreeSet};

use weiche_agent::protocol::{Fault, FaultCode};

use super::machine::{Phase, RETRY_MS, Rollout};
use super::rules::{May, OnStop, Overrun, Scope};
use super::stage::{Cell, Fate, Stage};
use super::{Action, Happening, Outcome};
use crate::approval::gate;
use crate::input::target::HostName;

impl Rollout {
    /// What is to be done now. What was asked for before is not asked for again until there is an answer.
    pub fn next(&mut self, now_ms: i64) -> Vec<Action> {
        self.notice(now_ms);
        if let (Some((by, leave)), false) = (&self.aborted, matches!(self.phase, Phase::Back { .. } | Phase::Ended(_)))
        {
            if !self.asked.is_empty() {
                return Vec::new();
            }
            let reason = format!("aborted by {by}");
            return vec![Action::Record(match leave {
                true => Happening::RunEnded { outcome: Outcome::Left },
                false => Happening::RollbackStarted { reason, scope: Scope::Run, over_drift: false },
            })];
        }
        match self.phase.clone() {
            Phase::New | Phase::Held(..) | Phase::Ended(_) => Vec::new(),
            Phase::Before(stage) if stage == self.stages.len() => self.catch_up(now_ms),
            Phase::Before(stage) => self.begin(stage, now_ms),
            Phase::Wave(stage, wave) => self.work(stage, wave, now_ms),
            Phase::Back { at, scope, stage, wave } => self.go_back(at, scope, (stage, wave)),
        }
    }

    pub(super) fn begin(&mut self, stage: usize, now_ms: i64) -> Vec<Action> {
        if self.paused || !self.lacks(stage, now_ms).is_empty() {
            return Vec::new();
        }
        let name = self.stages[stage].name.clone();
        let (may, stage) = (self.may_begin(stage, now_ms), name);
        match may {
            May::Now { .. } => vec![Action::Record(Happening::StageStarted { stage })],
            May::At(_) => Vec::new(),
            May::Never => {
                let reason = format!("no window of stage {stage} opens for long enough");
                vec![Action::Record(Happening::Held { stage, reason })]
            }
        }
    }

    /// As far as its windows say; whoever lets it go on though it does not fit takes any time that they are open.
    pub(super) fn may_begin(&self, stage: usize, now_ms: i64) -> May {
        let rules = &self.stages[stage].rules;
        if self.excused == Some(stage) { rules.may_begin_for(now_ms, 0) } else { rules.may_begin(now_ms) }
    }

    /// What is missing before a stage may begin, as far as persons are concerned.
    pub(super) fn lacks(&self, stage: usize, now_ms: i64) -> Vec<String> {
        let Stage { name, rules, .. } = &self.stages[stage];
        let Some(gate) = &rules.gate else { return Vec::new() };
        let approvals = self.approvals.get(name).map_or(&[][..], Vec::as_slice);
        let none = BTreeSet::new();
        let ticked = self.ticked.get(name).unwrap_or(&none);
        gate::open(gate, approvals, ticked, &self.planner, now_ms).err().unwrap_or_default()
    }

    /// The stage that begins next, if nothing else is to be done before.
    pub(super) fn upcoming(&self, now_ms: i64) -> Option<usize> {
        let next = match self.phase {
            Phase::Before(stage) => stage,
            Phase::Wave(stage, wave) => {
                let last = wave + 1 >= self.stages[stage].waves.len();
                let through = self.asked.is_empty() && self.wave.is_through() && self.met.is_none();
                let soaked = now_ms >= self.closed_ms + self.stages[stage].rules.hold_ms;
                (last && through && soaked && self.services_work(stage, wave)).then_some(stage + 1)?
            }
            _ => return None,
        };
        (next < self.stages.len()).then_some(next)
    }

    /// Why the stage may not go on, if it is still at work at the end of its window.
    pub(super) fn overrun(&self, stage: usize, now_ms: i64) -> Option<String> {
        let Stage { name, rules, started_ms, .. } = &self.stages[stage];
        let May::Now { close_ms } = rules.may_begin((*started_ms)?) else { return None };
        let late = now_ms > close_ms && self.excused != Some(stage);
        late.then(|| format!("stage {name} was still at work at the end of its window"))
    }

    pub(super) fn work(&mut self, stage: usize, wave: usize, now_ms: i64) -> Vec<Action> {
        let name = self.stages[stage].name.clone();
        let rules = &self.stages[stage].rules;
        let (at_once, pause_ms, hold_ms) = (rules.at_once.unwrap_or(usize::MAX), rules.pause_ms, rules.hold_ms);
        // Whoever was begun when the controller died is asked what became of it, whatever has happened meanwhile.
        let cut_off = self.wave.cut_off.iter().filter(|host| !self.asked.contains(*host));
        let again = |host: &HostName| Action::Run { host: host.clone(), stage: name.clone() };
        let mut actions: Vec<Action> = cut_off.map(again).collect();
        let overrun = self.overrun(stage, now_ms);
        if self.met.is_none() {
            // Those that failed and are tolerated go back while the others work.
            for host in self.wave.failed.iter().filter(|host| !self.asked.contains(*host)) {
                actions.push(self.undo(host, stage));
            }
            let room = if self.paused || overrun.is_some() {
                0
            } else {
                at_once.saturating_sub(self.asked.len() + actions.len())
            };
            let idle = self.wave.idle.iter().map(|(_, host)| host).filter(|host| !self.asked.contains(*host));
            actions.extend(idle.take(room).map(|host| Action::Run { host: host.clone(), stage: name.clone() }));
        }
        if !actions.is_empty() || !self.asked.is_empty() {
            return self.ask(actions);
        }
        let on_stop = self.stages[stage].rules.on_stop;
        let stays = self.met.is_none() || matches!(on_stop, OnStop::Hold | OnStop::Rollback(Scope::Host));
        if !self.wave.ready.is_empty() && stays && (self.met.is_some() || self.wave.waits.is_empty()) {
            let confirm = |host: &HostName| Action::Confirm { host: host.clone(), stage: name.clone() };
            return self.ask(self.wave.ready.iter().map(confirm).collect());
        }
        if let Some(reason) = self.met.clone() {
            return vec![Action::Record(match on_stop {
                OnStop::Rollback(scope) => Happening::RollbackStarted { reason, scope, over_drift: false },
                OnStop::SetAside => Happening::RollbackStarted { reason, scope: Scope::Stage, over_drift: false },
                OnStop::Hold => Happening::Held { stage: name, reason },
            })];
        }
        let last = wave + 1 >= self.stages[stage].waves.len();
        if let Some(reason) = overrun.filter(|_| !last || !self.wave.is_through()) {
            return vec![Action::Record(match self.stages[stage].rules.overrun {
                Overrun::Hold => Happening::Held { stage: name, reason },
                Overrun::Rollback => Happening::RollbackStarted { reason, scope: Scope::Stage, over_drift: false },
            })];
        }
        if !self.wave.waits.is_empty() || !self.wave.idle.is_empty() {
            return Vec::new();
        }
        if self.paused || !self.services_work(stage, wave) {
            return Vec::new();
        }
        if !last {
            let due = now_ms >= self.closed_ms + pause_ms;
            return if due {
                vec![Action::Record(Happening::WaveStarted { stage: name, wave: wave + 1 })]
            } else {
                Vec::new()
            };
        }
        if now_ms < self.closed_ms + hold_ms {
            return Vec::new();
        }
        if stage + 1 < self.stages.len() {
            return self.begin(stage + 1, now_ms);
        }
        if self.offline().next().is_some() {
            self.phase = Phase::Before(self.stages.len());
            return self.catch_up(now_ms);
        }
        self.end()
    }

    /// Hosts that were switched off, each with the first stage that it has to catch up with.
    pub(super) fn offline(&self) -> impl Iterator<Item = (HostName, usize)> {
        let mut found: BTreeMap<HostName, usize> = BTreeMap::new();
        for (at, stage) in self.stages.iter().enumerate() {
            for (host, _) in stage.cells.iter().filter(|(_, cell)| cell.fate == Fate::Offline) {
                found.entry(host.clone()).or_insert(at);
            }
        }
        // One thing at a time: who waits for a person in one stage does not begin the next.
        for (host, _) in self.waiting() {
            found.remove(host);
        }
        found.into_iter()
    }

    pub(super) fn deadline(&self, stage: usize) -> Option<i64> {
        let stage = &self.stages[stage];
        Some(stage.started_ms? + stage.rules.offline_ms?)
    }

    pub(super) fn catch_up(&mut self, now_ms: i64) -> Vec<Action> {
        let mut actions = Vec::new();
        for (at, stage) in self.stages.iter().enumerate() {
            let failed = stage.cells.iter().filter(|(_, cell)| cell.fate == Fate::Failed && cell.begun);
            let failed = failed.map(|(host, _)| host).filter(|host| !self.asked.contains(*host));
            actions.extend(failed.map(|host| self.undo(host, at)));
            let ready =
                stage.cells.iter().filter(|(host, cell)| cell.fate == Fate::Ready && !self.asked.contains(*host));
            let confirm = |host: &HostName| Action::Confirm { host: host.clone(), stage: stage.name.clone() };
            actions.extend(ready.map(|(host, _)| confirm(host)));
        }
        if let (Some(reason), true) = (self.met.clone(), self.asked.is_empty() && actions.is_empty()) {
            // What is through long since does not go back for the sake of a late host: a person decides.
            let stage = self.stages.last().map(|stage| stage.name.clone()).unwrap_or_default();
            return vec![Action::Record(Happening::Held { stage, reason })];
        }
        let late: Vec<(HostName, usize)> = self.offline().collect();
        let rest = !late.is_empty() || self.waiting().next().is_some();
        let stays = self.paused || self.met.is_some();
        let late = late.into_iter().filter(|(host, _)| !stays && !self.asked.contains(host)).collect::<Vec<_>>();
        // Noted before anything is asked for: what is asked for and not begun would be waited for.
        if let Some((host, at)) = late.iter().find(|(_, at)| self.deadline(*at).is_some_and(|end| now_ms >= end)) {
            return vec![Action::Record(self.give_up(host, *at))];
        }
        // One thing at a time: a host's next stage begins when the one before is confirmed.
        let mut actions = self.ask(actions);
        for (host, at) in late {
            if !self.asked.contains(&host) && self.catches_up(&host, at, now_ms).is_some_and(|due| due <= now_ms) {
                actions.push(Action::Run { host, stage: self.stages[at].name.clone() });
            }
        }
        if !actions.is_empty() || !self.asked.is_empty() || rest {
            return self.ask(actions);
        }
        self.end()
    }

    /// When a host that is switched off is tried next: late or not, it is changed in the stage's window. What was left
    /// half-way is not left so until that opens again. `None`: no window is long enough.
    pub(super) fn catches_up(&self, host: &HostName, at: usize, now_ms: i64) -> Option<i64> {
        let stage = &self.stages[at];
        let retry = self.tried.get(host).map_or(0, |tried| tried + RETRY_MS);
        if stage.cells.get(host).is_some_and(|cell| cell.begun) {
            return Some(retry);
        }
        match stage.rules.may_begin_for(now_ms.max(retry), stage.alone_ms) {
            May::Now { .. } => Some(retry),
            May::At(opens) => Some(opens),
            May::Never => None,
        }
    }

    /// A host was switched off for too long. If that was in the middle of a stage it has failed: something is to be taken
    /// back.
    fn give_up(&self, host: &HostName, at: usize) -> Happening {
        let (host, stage) = (host.clone(), self.stages[at].name.clone());
        if self.stages[at].cells.get(&host).is_some_and(|cell| cell.begun) {
            let fault = Fault::new(FaultCode::Timeout, "it was switched off in the middle of the stage, for too long");
            return Happening::HostFailed { host, stage, fault };
        }
        Happening::HostGivenUp { host, stage }
    }

    /// Takes back the last stage in which something of the scope is left to be taken back.
    pub(super) fn go_back(&mut self, end: usize, scope: Scope, (stage, wave): (usize, usize)) -> Vec<Action> {
        if !self.asked.is_empty() {
            return Vec::new();
        }
        let stuck: BTreeSet<HostName> = self.hosts_that_are(&Fate::Stuck);
        for at in (0..end.min(self.stages.len())).rev() {
            let part = &self.stages[at];
            let inside = |host: &HostName, cell: &Cell| match scope {
                // What is not through does not stay half-way, however little is to be taken back.
                _ if cell.fate != Fate::Done => true,
                Scope::Run => true,
                Scope::Host => false,
                Scope::Wave => at == stage && part.waves.get(wave).is_some_and(|wave| wave.contains(host)),
                Scope::Stage => at == stage,
            };
            let rest =
                part.cells.iter().filter(|(host, cell)| cell.changed() && !stuck.contains(*host) && inside(host, cell));
            let actions: Vec<Action> = rest.map(|(host, _)| self.undo(host, at)).collect();
            if !actions.is_empty() {
                self.phase = Phase::Back { at: at + 1, scope, stage, wave };
                return self.ask(actions);
            }
        }
        let of = self.stages.get(stage).filter(|of| scope == Scope::Stage && of.rules.on_stop == OnStop::SetAside);
        if let Some(Stage { name, .. }) = of.filter(|_| stuck.is_empty()) {
            let reason =
                format!("stage {name} was taken back; its hosts have no part in what comes if the run goes on");
            return vec![Action::Record(Happening::Held { stage: name.clone(), reason })];
        }
        self.end()
    }

    pub(super) fn undo(&self, host: &HostName, at: usize) -> Action {
        let others = self.stages.iter().enumerate().filter(|(stage, _)| *stage != at);
        let verify = !others.filter_map(|(_, stage)| stage.cells.get(host)).any(Cell::changed);
        let stage = self.stages[at].name.clone();
        Action::Undo { host: host.clone(), stage, over_drift: self.over_drift, verify }
    }

    pub(super) fn hosts_that_are(&self, fate: &Fate) -> BTreeSet<HostName> {
        let all = self.stages.iter().flat_map(|stage| &stage.cells);
        all.filter(|(_, cell)| cell.fate == *fate).map(|(host, _)| host.clone()).collect()
    }

    pub(super) fn end(&self) -> Vec<Action> {
        let cells = || self.stages.iter().flat_map(|stage| stage.cells.values());
        let any = |fate: &dyn Fn(&Cell) -> bool| cells().any(fate);
        let new = any(&|cell| matches!(cell.fate, Fate::Done | Fate::Left));
        let complete = cells().all(|cell| matches!(cell.fate, Fate::Done));
        let outcome = if any(&|cell| cell.fate == Fate::Stuck) {
            Outcome::Stuck
        } else if complete {
            Outcome::Done
        } else if !self.differs.is_empty() {
            Outcome::Differs
        } else if new {
            Outcome::Partial
        } else {
            Outcome::RolledBack
        };
        vec![Action::Record(Happening::RunEnded { outcome })]
    }

    pub(super) fn ask(&mut self, actions: Vec<Action>) -> Vec<Action> {
        for action in &actions {
            match action {
                Action::Run { host, .. } | Action::Undo { host, .. } | Action::Confirm { host, .. } => {
                    self.asked.insert(host.clone());
                }
                Action::Record(_) => {}
            }
        }
        actions
    }
}
