//! Where a run stands: the fold of what has happened.

use std::collections::BTreeSet;

use weiche_agent::protocol::StepOutcome;

use super::machine::{Phase, Rollout, Wave};
use super::rules::{OnStop, Over, Scope};
use super::stage::{Cell, Fate, Stage};
use super::tally::Group;
use super::{Happening, Settled};
use crate::input::target::HostName;

impl Rollout {
    /// Takes note of what happened, and when, in milliseconds since the epoch.
    pub fn on(&mut self, at_ms: i64, happening: &Happening) {
        self.notice(at_ms);
        self.at_ms = at_ms;
        match happening {
            Happening::RunStarted { .. } => self.phase = Phase::Before(0),
            Happening::StageStarted { stage } => {
                if let Some(at) = self.find(stage) {
                    self.start(at);
                }
            }
            Happening::WaveStarted { stage, wave } => {
                if let Some(at) = self.find(stage) {
                    self.enter(at, *wave);
                }
            }
            Happening::HostBegun { host, stage } => {
                self.late(host, stage);
                self.change(host, stage, |cell| cell.begun = true);
            }
            // Logs of older versions do not say that a host was begun.
            Happening::Step { host, event } if event.what != StepOutcome::Unchanged => {
                if let Some((stage, _)) = event.step.0.rsplit_once('.') {
                    self.change(host, stage, |cell| cell.begun = true);
                }
            }
            Happening::Step { .. } | Happening::HostWitnessed { .. } | Happening::Rebooting { .. } => {}
            Happening::HostVerified { host, verdict } => {
                if verdict.identical() {
                    self.differs.remove(host);
                } else {
                    self.differs.insert(host.clone());
                }
            }
            Happening::HostDone { host, stage } => {
                let guarded = self.find(stage).is_some_and(|at| self.stages[at].rules.guarded());
                let fate = if guarded { Fate::Ready } else { Fate::Done };
                self.settle(host, stage, fate);
            }
            Happening::HostConfirmed { host, stage } => self.settle(host, stage, Fate::Done),
            Happening::HostOffline { host, stage, .. } => {
                self.tried.insert(host.clone(), at_ms);
                self.settle(host, stage, Fate::Offline);
            }
            Happening::HostGivenUp { host, stage } => {
                self.settle(host, stage, Fate::GivenUp);
                self.skip_rest(host, stage);
            }
            Happening::HostFailed { host, stage, .. } => {
                self.change(host, stage, |cell| cell.failed = true);
                self.settle(host, stage, Fate::Failed);
                self.count(host, stage);
                self.skip_rest(host, stage);
            }
            Happening::HostWaits { host, stage, step, .. } => self.settle(host, stage, Fate::Waits(step.clone())),
            Happening::ServicesWork { stage, wave } => self.work_seen(stage, *wave),
            Happening::ServiceFailed { stage, service, fault } => {
                self.service_failed(stage, service, &fault.to_string());
            }
            // What is measured decides nothing.
            Happening::ServiceAway { .. } | Happening::ServiceBack { .. } | Happening::ServiceMeasured { .. } => {}
            Happening::ServiceUntold { .. } | Happening::ServiceTold { .. } | Happening::Reckoned { .. } => {}
            Happening::Held { stage, reason } => {
                self.held = self.find(stage);
                if let Phase::Back { stage, .. } = self.phase {
                    self.set_aside(stage);
                }
                let from = std::mem::replace(&mut self.phase, Phase::New);
                self.phase = Phase::Held(Box::new(from), reason.clone());
            }
            Happening::Approved { stage, approval, .. } => {
                self.approvals.entry(stage.clone()).or_default().push(approval.clone());
            }
            Happening::Ticked { stage, item, .. } => {
                self.ticked.entry(stage.clone()).or_default().insert(item.clone());
            }
            Happening::Paused { .. } => self.paused = true,
            Happening::Aborted { by, leave } => self.aborted = Some((by.clone(), *leave)),
            Happening::Continued { .. } => {
                self.spare_services();
                self.paused = false;
                self.met = None;
                self.tally.forget();
                let held = self.held.take();
                if let Phase::Held(from, _) = &self.phase {
                    self.phase = (**from).clone();
                }
                // Only of what no window is long enough for, and of what has reached the end of its window, a person says
                // by this that it may.
                let unbegun = held.filter(|at| self.stages[*at].started_ms.is_none());
                let overrun = self.stage().filter(|at| self.overrun(*at, at_ms).is_some());
                self.excused = unbegun.or(overrun).or(self.excused);
            }
            Happening::RollbackStarted { over_drift, scope, .. } => self.turn(*scope, *over_drift),
            Happening::HostUndone { host, stage } => self.settle(host, stage, Fate::Undone),
            Happening::HostStuck { host, stage, .. } => self.settle(host, stage, Fate::Stuck),
            Happening::HostSettled { host, how, .. } => self.settled(host, *how),
            Happening::RunEnded { outcome } => {
                self.phase = Phase::Ended(*outcome);
                self.asked.clear();
            }
        }
    }

    pub(super) fn find(&self, stage: &str) -> Option<usize> {
        self.stages.iter().position(|s| s.name == stage)
    }

    pub(super) fn change(&mut self, host: &HostName, stage: &str, change: impl FnOnce(&mut Cell)) {
        if let Some(cell) = self.find(stage).and_then(|at| self.stages[at].cell(host)) {
            change(cell);
        }
    }

    /// The stage has started: hosts that are already lost or switched off have no part in it.
    pub(super) fn start(&mut self, at: usize) {
        let offline: BTreeSet<HostName> = self.offline().map(|(host, _)| host).collect();
        self.stages[at].started_ms = Some(self.at_ms);
        for (host, cell) in &mut self.stages[at].cells {
            if cell.fate == Fate::Idle && offline.contains(host) {
                cell.fate = Fate::Offline;
            }
        }
        self.enter(at, 0);
    }

    pub(super) fn enter(&mut self, stage: usize, wave: usize) {
        self.phase = Phase::Wave(stage, wave);
        self.closed_ms = self.at_ms;
        self.list(stage, wave);
    }

    /// Sorts the hosts of a wave by what is to be done with them.
    pub(super) fn list(&mut self, stage: usize, wave: usize) {
        let mut listed = Wave::default();
        let stage = &self.stages[stage];
        for (order, host) in stage.waves.get(wave).into_iter().flatten().enumerate() {
            listed.order.insert(host.clone(), order);
            if let Some(cell) = stage.cells.get(host) {
                listed.put(host, cell);
            }
        }
        self.wave = listed;
    }

    /// Only who catches up is heard of again after it was switched off: whoever resumes goes on with that.
    fn late(&mut self, host: &HostName, stage: &str) {
        let offline = |at: usize| self.stages[at].cells.get(host).is_some_and(|cell| cell.fate == Fate::Offline);
        if matches!(self.phase, Phase::Wave(..)) && self.find(stage).is_some_and(offline) {
            self.phase = Phase::Before(self.stages.len());
        }
    }

    pub(super) fn settle(&mut self, host: &HostName, stage: &str, fate: Fate) {
        self.asked.remove(host);
        self.late(host, stage);
        let Some(at) = self.find(stage) else { return };
        let Some(cell) = self.stages[at].cell(host) else { return };
        // What an agent has done or left half-way was begun, whatever the log says.
        cell.begun |= matches!(fate, Fate::Ready | Fate::Done | Fate::Waits(_) | Fate::Stuck);
        cell.fate = fate;
        if matches!(self.phase, Phase::Wave(now, _) if now == at) {
            let cell = cell.clone();
            self.wave.put(host, &cell);
            self.closed_ms = self.at_ms;
        }
    }

    pub(super) fn count(&mut self, host: &HostName, stage: &str) {
        let Some(at) = self.find(stage) else { return };
        let of = &self.stages[at];
        let wave = match self.phase {
            Phase::Wave(stage, wave) if stage == at => Some(wave),
            _ => of.waves.iter().position(|wave| wave.contains(host)),
        };
        let member = host.member();
        let among = |is: &dyn Fn(&HostName) -> bool| of.cells.keys().filter(|host| is(host)).count();
        let rules = &of.rules.stop;
        let wants = |over| rules.iter().any(|rule| rule.over == over);
        let mut groups = vec![(Group::Run, self.hosts()), (Group::Stage(at), of.cells.len())];
        if let Some(wave) = wave {
            groups.push((Group::Wave(at, wave), of.waves.get(wave).map_or(0, Vec::len)));
        }
        // Counting a group costs a look at all hosts: only where a rule asks.
        if wants(Over::Member) {
            groups.push((Group::Member(at, member.to_owned()), among(&|host| host.member() == member)));
        }
        if let Some(site) = self.sites.get(host).filter(|_| wants(Over::Site)) {
            let same = |other: &HostName| other.member() == member && self.sites.get(other) == Some(site);
            groups.push((Group::Site(at, format!("{member}/{site}")), among(&same)));
        }
        let rules = rules.clone();
        if let Some(why) = self.tally.count(host, &groups, &rules)
            && self.met.is_none()
        {
            let first = format!("{host} failed in stage {stage}");
            self.met = Some(if rules.is_empty() { first } else { format!("{first}: {why}") });
        }
    }

    /// Number of the run's hosts.
    pub(super) fn hosts(&self) -> usize {
        match self.stages.as_slice() {
            [only] => only.cells.len(),
            all => all.iter().flat_map(|stage| stage.cells.keys()).collect::<BTreeSet<_>>().len(),
        }
    }

    /// A host that is lost has no part in the stages behind.
    pub(super) fn skip_rest(&mut self, host: &HostName, stage: &str) {
        let Some(at) = self.find(stage) else { return };
        for later in &mut self.stages[at + 1..] {
            if let Some(cell) = later.cell(host)
                && matches!(cell.fate, Fate::Idle | Fate::Offline)
            {
                cell.fate = Fate::Skipped(stage.to_owned());
            }
        }
    }

    /// The stage was taken back, and the run may go on without its hosts, and without those that were half-way through an
    /// earlier one and taken back too. Nor do those have a part that would work with them: who shares a later stage of this
    /// kind with one of them.
    fn set_aside(&mut self, at: usize) {
        self.phase = Phase::Before(at + 1);
        let back = self.hosts_that_are(&Fate::Undone);
        let Some(Stage { name, cells, .. }) = self.stages.get(at) else { return };
        let name = name.clone();
        let mut hosts: BTreeSet<HostName> = cells.keys().chain(&back).cloned().collect();
        let mut known = 0;
        while known < hosts.len() {
            known = hosts.len();
            for later in self.stages[at..].iter().filter(|stage| stage.rules.on_stop == OnStop::SetAside) {
                if later.cells.keys().any(|host| hosts.contains(host)) {
                    hosts.extend(later.cells.keys().cloned());
                }
            }
        }
        for (number, stage) in self.stages.iter_mut().enumerate() {
            let out = if number < at { &back } else { &hosts };
            for (_, cell) in stage.cells.iter_mut().filter(|(host, _)| out.contains(*host)) {
                if matches!(cell.fate, Fate::Idle | Fate::Offline) {
                    cell.fate = Fate::Skipped(name.clone());
                }
            }
        }
    }

    pub(super) fn turn(&mut self, scope: Scope, over_drift: bool) {
        let from = if let Phase::Held(from, _) = &self.phase { from } else { &self.phase };
        let (stage, wave) = match *from {
            Phase::Wave(stage, wave) | Phase::Back { stage, wave, .. } => (stage, wave),
            _ => (self.stages.len().saturating_sub(1), 0),
        };
        self.over_drift = over_drift;
        self.aborted = None;
        self.paused = false;
        self.met = None;
        self.differs.clear();
        self.asked.clear();
        for cell in self.stages.iter_mut().flat_map(|stage| stage.cells.values_mut()) {
            match cell.fate {
                Fate::Waits(_) => cell.fate = Fate::Idle,
                Fate::Stuck => cell.fate = Fate::Failed,
                _ => {}
            }
        }
        self.phase = Phase::Back { at: self.stages.len(), scope, stage, wave };
    }

    pub(super) fn settled(&mut self, host: &HostName, how: Settled) {
        let fate = match how {
            Settled::Retry => Fate::Failed,
            Settled::ByHand => Fate::Undone,
            Settled::Forward => Fate::Left,
        };
        for cell in self.stages.iter_mut().filter_map(|stage| stage.cell(host)) {
            if cell.fate == Fate::Stuck {
                cell.fate = fate.clone();
            }
        }
        if let Phase::Ended(_) = self.phase {
            // Where other hosts are to be taken back they were: only this one has something left.
            self.phase = Phase::Back { at: self.stages.len(), scope: Scope::Host, stage: 0, wave: 0 };
        }
    }
}
