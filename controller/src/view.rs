//! Where a run stands, for every reader: a pure fold over its events that takes each event once, whatever it is given.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use weiche_agent::digest::Digest;
use weiche_agent::protocol::{Fault, Manifest, RunId, StepId, StepOutcome};

use crate::input::target::HostName;
use crate::plan::Plan;
use crate::plan::procedure::Action;
use crate::rollout::meter::{Blank, Gap, Measure};
use crate::rollout::reckoning::Reckoning;
use crate::rollout::{Happening, Outcome, Verdict};
use crate::store::Event;

/// A run as `status` and `report` show it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct View {
    /// The run.
    pub run: RunId,
    /// Digest of its plan.
    pub plan: Option<Digest>,
    /// Its playbook.
    pub playbook: String,
    /// First event, in milliseconds since the epoch.
    pub started_ms: i64,
    /// Last event, in milliseconds since the epoch.
    pub last_ms: i64,
    /// Where it stands.
    pub state: State,
    /// Why it turned back, if it did.
    pub reason: Option<String>,
    /// Why nothing begins any more until a person decides, if so.
    pub halted: Option<String>,
    /// How it lies in time, as it was reckoned last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reckoning: Option<Reckoning>,
    /// By name.
    pub hosts: BTreeMap<HostName, Host>,
    /// The services that were measured, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, Service>,
    /// Sequence number of the last event taken.
    pub last_seq: u64,
}

/// How a service did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Service {
    /// Seen from the controller.
    #[serde(flatten)]
    pub here: Sight,
    /// Seen from hosts in the users' network, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vantages: BTreeMap<HostName, Sight>,
}

/// How a service did, seen from one place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Sight {
    /// What was measured while the run was driven.
    pub measure: Measure,
    /// It is away now, as far as is known.
    pub away: Option<Gap>,
    /// It is not measured now, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<Blank>,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not begun.
    New,
    /// In this stage, or cut off in it.
    Forward(String),
    /// On the way back, or cut off on it.
    Backward,
    /// Through.
    Ended(Outcome),
}

/// What a run did to one host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Host {
    /// Stages that are through here.
    pub done: Vec<String>,
    /// Steps by number: changed, left as they were, taken back.
    pub counts: Counts,
    /// Steps in the order of their last event.
    pub steps: Vec<(StepId, StepOutcome, u64)>,
    /// Steps that have failed, also if they were taken back since.
    pub failed: BTreeMap<StepId, Failed>,
    /// The manual step that waits for a person.
    pub waits: Option<(StepId, String)>,
    /// Why the host's part failed.
    pub fault: Option<Fault>,
    /// The stage of which that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_in: Option<String>,
    /// Steps that could not be taken back.
    pub stuck: Vec<StepId>,
    /// Why the host could not be taken back.
    pub stuck_fault: Option<Fault>,
    /// It is switched off, and waited for: what was tried last.
    pub offline: Option<Fault>,
    /// It was switched off for too long.
    pub given_up: bool,
    /// How a person has dealt with it when it was stuck.
    pub settled: Option<String>,
    /// What was listed before the first change.
    pub manifest: Option<Manifest>,
    /// The last comparison with that list.
    pub verdict: Option<Verdict>,
}

/// How a step failed.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Failed {
    /// Why.
    pub fault: Fault,
    /// After so long, in microseconds.
    pub took_us: u64,
}

/// Steps by what happened to them last; one that has failed and was taken back is both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// Changed.
    pub changed: usize,
    /// As wanted already.
    pub unchanged: usize,
    /// Taken back.
    pub undone: usize,
    /// Failed, or not to be taken back.
    pub failed: usize,
}

impl View {
    /// A run of which nothing is known.
    pub fn new(run: RunId) -> View {
        View {
            run,
            plan: None,
            playbook: String::new(),
            started_ms: 0,
            last_ms: 0,
            state: State::New,
            reason: None,
            halted: None,
            reckoning: None,
            hosts: BTreeMap::new(),
            services: BTreeMap::new(),
            last_seq: 0,
        }
    }

    /// Folds events in order.
    pub fn of<'a>(run: &RunId, events: impl IntoIterator<Item = &'a Event>) -> View {
        let mut view = View::new(run.clone());
        events.into_iter().for_each(|event| view.take(event));
        view
    }

    /// Of looks, and of what was lost, no step tells: then the first one without an outcome is the one that failed.
    pub fn untold<'a>(&'a self, plan: &'a Plan) -> BTreeMap<&'a HostName, &'a StepId> {
        let mut found = BTreeMap::new();
        for (stage, host, step) in plan.steps() {
            let Some(seen) = self.hosts.get(host) else { continue };
            let id = step.action.id();
            // What stays as it is was done by nobody.
            let acts = step.outlook.changes || !matches!(step.action, Action::Resource(_) | Action::Transfer(_));
            let untold = acts && !seen.done.iter().any(|done| done == stage) && !seen.tells_of(id);
            if untold && seen.fault.is_some() && seen.failed.is_empty() && seen.failed_in.as_deref() == Some(stage) {
                found.entry(host).or_insert(id);
            }
        }
        found
    }

    /// Takes the next event; one that was taken before changes nothing.
    pub fn take(&mut self, event: &Event) {
        if event.seq <= self.last_seq {
            return;
        }
        self.last_seq = event.seq;
        // A look at what a run left is no part of it.
        let looks = matches!(self.state, State::Ended(_)) && matches!(event.what, Happening::HostVerified { .. });
        if !looks {
            self.last_ms = event.at_ms;
        }
        match &event.what {
            Happening::RunStarted { plan, playbook } => {
                self.plan = Some(plan.clone());
                self.playbook.clone_from(playbook);
                self.started_ms = event.at_ms;
            }
            Happening::StageStarted { stage } => self.state = State::Forward(stage.clone()),
            Happening::Reckoned { reckoning } => self.reckoning = Some(reckoning.clone()),
            Happening::ServicesWork { .. } | Happening::ServiceFailed { .. } => {}
            Happening::ServiceAway { service, vantage, gap } => {
                self.sight(service, vantage.as_ref()).away = Some(gap.clone());
            }
            Happening::ServiceBack { service, vantage, .. } => self.sight(service, vantage.as_ref()).away = None,
            Happening::ServiceUntold { service, vantage, blank } => {
                let sight = self.sight(service, Some(vantage));
                (sight.away, sight.untold) = (None, Some(blank.clone()));
            }
            Happening::ServiceTold { service, vantage, .. } => self.sight(service, Some(vantage)).untold = None,
            Happening::ServiceMeasured { service, vantage, measure } => {
                let sight = self.sight(service, vantage.as_ref());
                let measure = std::mem::take(&mut sight.measure).and(measure);
                *sight = Sight { measure, ..Sight::default() };
            }
            Happening::WaveStarted { .. } | Happening::Approved { .. } | Happening::Ticked { .. } => {}
            Happening::HostBegun { host, .. } | Happening::HostConfirmed { host, .. } => drop(self.host(host)),
            Happening::HostOffline { host, fault, .. } => self.host(host).offline = Some(fault.clone()),
            Happening::HostGivenUp { host, .. } => self.host(host).given_up = true,
            Happening::Held { reason, stage } => {
                // A stage that was set aside is back, and what comes behind it may go on.
                if self.state == State::Backward {
                    self.state = State::Forward(stage.clone());
                }
                self.halted = Some(reason.clone());
            }
            Happening::Paused { by } => self.halted = Some(format!("paused by {by}")),
            Happening::Aborted { by, .. } => self.halted = Some(format!("aborted by {by}")),
            Happening::Continued { .. } => self.halted = None,
            Happening::HostSettled { host, how, by, reason } => {
                let host = self.host(host);
                host.stuck.clear();
                host.stuck_fault = None;
                host.settled = Some(format!("{how} by {by}: {reason}"));
            }
            Happening::Step { host, event } => self.host(host).step(event),
            Happening::HostDone { host, stage } => {
                let host = self.host(host);
                host.waits = None;
                host.offline = None;
                host.done.push(stage.clone());
            }
            Happening::HostFailed { host, stage, fault, .. } => {
                let host = self.host(host);
                host.offline = None;
                host.failed_in = Some(stage.clone());
                host.fault = Some(fault.clone());
            }
            Happening::HostWaits { host, step, text, .. } => {
                self.host(host).waits = Some((step.clone(), text.clone()));
            }
            Happening::Rebooting { host, .. } => drop(self.host(host)),
            Happening::HostWitnessed { host, manifest } => self.host(host).manifest = Some(manifest.clone()),
            // A host that is new differs from what it was: that says nothing of a way back.
            Happening::HostVerified { host, .. } if looks && !self.host(host).done.is_empty() => {}
            Happening::HostVerified { host, verdict } => self.host(host).verdict = Some(verdict.clone()),
            Happening::RollbackStarted { reason, .. } => {
                self.state = State::Backward;
                self.reason = Some(reason.clone());
                self.reckoning = None;
                self.halted = None;
                self.hosts.values_mut().for_each(|host| {
                    host.stuck.clear();
                    host.stuck_fault = None;
                    host.waits = None;
                });
            }
            Happening::HostUndone { host, stage } => self.host(host).done.retain(|done| done != stage),
            Happening::HostStuck { host, steps, fault, .. } => {
                let host = self.host(host);
                host.stuck.clone_from(steps);
                host.stuck_fault = Some(fault.clone());
            }
            Happening::RunEnded { outcome } => {
                self.state = State::Ended(*outcome);
                self.reckoning = None;
            }
        }
    }

    /// Counts over all hosts.
    pub fn counts(&self) -> Counts {
        self.hosts.values().fold(Counts::default(), |sum, host| Counts {
            changed: sum.changed + host.counts.changed,
            unchanged: sum.unchanged + host.counts.unchanged,
            undone: sum.undone + host.counts.undone,
            failed: sum.failed + host.counts.failed,
        })
    }

    fn sight(&mut self, service: &str, vantage: Option<&HostName>) -> &mut Sight {
        let service = self.services.entry(service.to_owned()).or_default();
        match vantage {
            None => &mut service.here,
            Some(host) => service.vantages.entry(host.clone()).or_default(),
        }
    }

    fn host(&mut self, name: &HostName) -> &mut Host {
        self.hosts.entry(name.clone()).or_default()
    }
}

impl Host {
    /// Whether a step has an outcome.
    fn tells_of(&self, step: &StepId) -> bool {
        self.steps.iter().any(|(id, ..)| id == step)
    }

    fn step(&mut self, event: &weiche_agent::protocol::StepEvent) {
        // What a step says on its way is no outcome.
        if matches!(event.what, StepOutcome::Note(_)) {
            return;
        }
        // What a resumed session finds done was counted when it was done.
        if event.what == StepOutcome::AlreadyDone && self.tells_of(&event.step) {
            return;
        }
        match &event.what {
            StepOutcome::Failed(fault) => {
                let failed = Failed { fault: fault.clone(), took_us: event.took_us };
                self.failed.insert(event.step.clone(), failed);
            }
            // Another try has mended it.
            StepOutcome::Changed | StepOutcome::Unchanged | StepOutcome::AlreadyDone => {
                self.failed.remove(&event.step);
            }
            StepOutcome::Undone
            | StepOutcome::UndoneDrifted { .. }
            | StepOutcome::UndoFailed(_)
            | StepOutcome::Note(_) => {}
        }
        self.steps.retain(|(id, ..)| *id != event.step);
        self.steps.push((event.step.clone(), event.what.clone(), event.took_us));
        let mut counts = Counts { failed: self.failed.len(), ..Counts::default() };
        for (id, what, _) in &self.steps {
            match what {
                StepOutcome::Changed | StepOutcome::AlreadyDone => counts.changed += 1,
                StepOutcome::Unchanged => counts.unchanged += 1,
                StepOutcome::Undone | StepOutcome::UndoneDrifted { .. } => counts.undone += 1,
                StepOutcome::UndoFailed(_) if !self.failed.contains_key(id) => counts.failed += 1,
                StepOutcome::Failed(_) | StepOutcome::UndoFailed(_) | StepOutcome::Note(_) => {}
            }
        }
        self.counts = counts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::rules::Scope;
    use crate::store::EVENT_VERSION;
    use weiche_agent::protocol::StepEvent;

    fn events() -> Vec<Event> {
        let run = RunId::try_from(String::from("r")).expect("a run id");
        let host = HostName(String::from("m/h"));
        let stage = String::from("build");
        let step = |n: u32, what: StepOutcome| {
            let event = StepEvent { step: StepId(format!("build.{n}")), what, took_us: 5 };
            Happening::Step { host: host.clone(), event }
        };
        let all = vec![
            Happening::RunStarted { plan: Digest::of(b"p"), playbook: "p".into() },
            Happening::StageStarted { stage: stage.clone() },
            step(1, StepOutcome::Changed),
            step(2, StepOutcome::Unchanged),
            Happening::HostDone { host: host.clone(), stage: stage.clone() },
            Happening::RollbackStarted { reason: "asked for".into(), scope: Scope::Run, over_drift: false },
            step(1, StepOutcome::Undone),
            Happening::HostUndone { host: host.clone(), stage },
            Happening::RunEnded { outcome: Outcome::RolledBack },
        ];
        let number = |(what, seq)| Event { v: EVENT_VERSION, run: run.clone(), seq, at_ms: 10, what };
        all.into_iter().zip(1..).map(number).collect()
    }

    #[test]
    fn events_taken_twice_give_the_same_view() {
        let events = events();
        let run = events[0].run.clone();
        let once = View::of(&run, &events);
        let twice = View::of(&run, events.iter().flat_map(|e| [e, e]).chain(&events));
        assert_eq!(once, twice);
        assert_eq!(once.state, State::Ended(Outcome::RolledBack));
        let expected = Counts { changed: 0, unchanged: 1, undone: 1, failed: 0 };
        assert_eq!(once.counts(), expected);
    }

    #[test]
    fn reading_on_from_any_event_gives_the_same_view() {
        let events = events();
        let run = events[0].run.clone();
        for cut in 0..events.len() {
            let mut view = View::of(&run, &events[..cut]);
            events[cut..].iter().for_each(|event| view.take(event));
            assert_eq!(view, View::of(&run, &events), "cut at {cut}");
        }
    }

    #[test]
    fn what_failed_is_told_also_when_it_was_taken_back() {
        let mut host = Host::default();
        let step = |what: StepOutcome, took_us| StepEvent { step: StepId("s.1".into()), what, took_us };
        let fault = Fault::new(weiche_agent::protocol::FaultCode::CommandFailed, "no");
        host.step(&step(StepOutcome::Failed(fault.clone()), 2_000_000));
        host.step(&step(StepOutcome::Undone, 5));
        assert_eq!(host.failed[&StepId("s.1".into())], Failed { fault, took_us: 2_000_000 });
        assert_eq!((host.counts.failed, host.counts.undone), (1, 1));
        host.step(&step(StepOutcome::Changed, 7));
        assert_eq!((host.counts.failed, host.counts.changed), (0, 1), "another try has mended it");
    }
}
