//! Samples from a plan and its run log.

use std::collections::BTreeMap;

use weiche_agent::protocol::{StepId, StepOutcome};

use super::{Sample, Way};
use crate::input::target::HostName;
use crate::plan::procedure::Action;
use crate::plan::takes::Size;
use crate::plan::{Plan, Stage, Step};
use crate::rollout::Happening;

/// [`Sample::what`] of the machinery around steps.
pub(super) const AROUND: &str = "around";

/// The parts of the machinery: [`Sample::title`] of those.
pub(super) const BEGIN: &str = "begin";
pub(super) const FIRST: &str = "first";
pub(super) const BETWEEN: &str = "between";
pub(super) const CONFIRM: &str = "confirm";
pub(super) const BACK: &str = "back";
pub(super) const VERIFY: &str = "verify";
pub(super) const SERVICES: &str = "services";

/// What took longer around steps was waiting for something else: a person, a controller that was gone.
const WAITED_US: u64 = 5 * 60 * 1_000_000;

/// The same where all files of a host are listed or compared.
const LISTED_US: u64 = 60 * 60 * 1_000_000;

/// [`Sample::what`] of what persons do.
pub(super) const MANUAL: &str = "manual";

/// What a person did not say to be done for longer was left lying.
const LEFT_LYING_MS: i64 = 8 * 60 * 60 * 1000;

/// The same, as a multiple of what its author says it takes.
const LEFT_LYING: u32 = 4;

/// A manual step that a person said to be done.
#[derive(Clone, Copy, Debug)]
pub struct ByHand<'a> {
    /// `HOST:STEP`.
    pub step: &'a str,
    /// Who said so.
    pub by: &'a str,
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
}

/// What everything of a run took: by its plan, by its events with their times, and by what persons said to be done, in order.
pub fn fold<'a>(
    plan: &'a Plan,
    events: impl IntoIterator<Item = (i64, &'a Happening)>,
    by_hand: impl IntoIterator<Item = ByHand<'a>>,
) -> Vec<Sample> {
    let mut steps = BTreeMap::new();
    for (stage, host, step) in plan.steps() {
        steps.insert((host, step.action.id()), (stage, step));
    }
    let mut events = events.into_iter().peekable();
    let run_ms = events.peek().map_or(0, |(at_ms, _)| *at_ms);
    let mut fold = Fold { plan, steps, run_ms, found: Vec::new(), waits: BTreeMap::new(), run: Run::default() };
    events.for_each(|(at_ms, happening)| fold.take(at_ms, happening));
    fold.by_hand(by_hand);
    fold.found
}

/// What a sample of a step is named by.
pub(super) fn what(step: &Step) -> &str {
    match &step.action {
        Action::Resource(resource) => &resource.kind,
        Action::Transfer(_) => "transfer",
        Action::Check(_) => "check",
        Action::Reboot(_) => "reboot",
        Action::Manual(_) => MANUAL,
    }
}

/// A person who says later that a manual step is done had left it lying.
fn left_lying_ms(step: &Step) -> i64 {
    let declared = match &step.action {
        Action::Manual(manual) => manual.takes,
        _ => None,
    };
    let most = declared.and_then(|takes| i64::try_from((takes * LEFT_LYING).as_millis()).ok());
    most.unwrap_or(LEFT_LYING_MS).min(LEFT_LYING_MS)
}

struct Fold<'a> {
    plan: &'a Plan,
    steps: BTreeMap<(&'a HostName, &'a StepId), (&'a str, &'a Step)>,
    /// When the run began.
    run_ms: i64,
    found: Vec<Sample>,
    /// Since when each manual step was waited for.
    waits: BTreeMap<(&'a HostName, &'a StepId), i64>,
    run: Run<'a>,
}

/// Where the run stands, as far as durations are concerned.
#[derive(Default)]
struct Run<'a> {
    /// The present wave was begun then, and by so many hosts.
    wave_ms: i64,
    begun: usize,
    /// A host was begun again then that had begun the stage already: the controller was gone in between, or the line was.
    resumed_ms: Option<i64>,
    /// The last host of the wave was through, or confirmed.
    through_ms: i64,
    /// The last thing on the way back from which hosts go on.
    back_ms: i64,
    /// The last host was back then; and this is the stage that goes back.
    undone_ms: i64,
    going: &'a str,
    back: bool,
    hosts: BTreeMap<&'a HostName, Host<'a>>,
}

#[derive(Default)]
struct Host<'a> {
    /// The stage that the run has begun on it last; none: it has not touched it.
    stage: Option<&'a str>,
    begun_ms: i64,
    /// Its steps of the stage took so long.
    steps_us: u64,
    /// It has waited for a person.
    waited: bool,
    /// Steps taken back since, and when the last one was.
    back_us: u64,
    undone_ms: Option<i64>,
}

impl<'a> Fold<'a> {
    fn take(&mut self, at_ms: i64, happening: &'a Happening) {
        match happening {
            Happening::StageStarted { .. } | Happening::WaveStarted { .. } => {
                self.run.hosts.values_mut().for_each(|host| host.waited = false);
                (self.run.wave_ms, self.run.begun, self.run.through_ms) = (at_ms, 0, at_ms);
            }
            Happening::HostBegun { host, stage } => self.begun(at_ms, host, stage),
            Happening::HostWaits { host, step, .. } => {
                self.waits.entry((host, step)).or_insert(at_ms);
                self.host(host).waited = true;
            }
            Happening::Step { host, event } => self.step(at_ms, host, &event.step, (&event.what, event.took_us)),
            Happening::HostDone { host, stage } => self.done(at_ms, host, stage),
            Happening::HostConfirmed { host, stage } => {
                let turns = self.stage(stage).is_some_and(|stage| !stage.turns.is_empty());
                let from = self.run.through_ms;
                // Who takes turns is confirmed one after the other.
                if turns {
                    self.run.through_ms = at_ms;
                }
                self.work(at_ms, host, (CONFIRM, Way::Forward), from);
            }
            Happening::ServicesWork { .. } => {
                if let Some(host) = self.run.hosts.keys().next().copied() {
                    self.work(at_ms, host, (SERVICES, Way::Forward), self.run.through_ms);
                }
            }
            Happening::RollbackStarted { .. } => {
                (self.run.back, self.run.back_ms, self.run.going) = (true, at_ms, "");
                self.run.hosts.values_mut().for_each(|host| (host.back_us, host.undone_ms) = (0, None));
            }
            Happening::HostVerified { host, .. } => {
                if let Some(undone) = self.host(host).undone_ms {
                    self.around(at_ms, host, (VERIFY, Way::Back), since(undone, at_ms));
                }
            }
            Happening::HostUndone { host, stage } => self.undone(at_ms, host, stage),
            _ => {}
        }
    }

    fn host(&mut self, host: &'a HostName) -> &mut Host<'a> {
        self.run.hosts.entry(host).or_default()
    }

    fn stage(&self, name: &str) -> Option<&'a Stage> {
        self.plan.stages.iter().find(|stage| stage.name == name)
    }

    fn begun(&mut self, at_ms: i64, host: &'a HostName, stage: &'a str) {
        let at_once = self.stage(stage).and_then(|stage| stage.rules.at_once).unwrap_or(usize::MAX);
        let room = at_once.min(if self.plan.connections == 0 { usize::MAX } else { self.plan.connections });
        let at_first = self.run.begun < room;
        self.run.begun += 1;
        let of = self.host(host);
        let (before, again) = (of.stage, of.waited);
        *of = Host { stage: Some(stage), begun_ms: at_ms, waited: again, ..Host::default() };
        // Who had to wait for another host, or for a person, says nothing.
        if again {
            return;
        }
        if before == Some(stage) {
            self.run.resumed_ms = Some(at_ms);
        }
        if at_first {
            let from = self.run.wave_ms;
            self.work(at_ms, host, (if before.is_some() { BEGIN } else { FIRST }, Way::Forward), from);
        }
    }

    fn step(&mut self, at_ms: i64, host: &'a HostName, id: &'a StepId, (outcome, took_us): (&StepOutcome, u64)) {
        let Some((_, step)) = self.steps.get(&(host, id)).copied() else { return };
        if matches!(step.action, Action::Manual(_)) {
            return;
        }
        let of = self.host(host);
        let way = match outcome {
            StepOutcome::Changed => Way::Forward,
            StepOutcome::Unchanged if matches!(step.action, Action::Resource(_) | Action::Transfer(_)) => {
                if step.outlook.changes { Way::Idle } else { Way::Same }
            }
            StepOutcome::Unchanged => Way::Forward,
            StepOutcome::Undone | StepOutcome::UndoneDrifted { .. } => {
                of.back_us += took_us;
                of.undone_ms = Some(at_ms);
                Way::Back
            }
            StepOutcome::AlreadyDone | StepOutcome::Failed(_) | StepOutcome::UndoFailed(_) | StepOutcome::Note(_) => {
                return;
            }
        };
        if way != Way::Back {
            of.steps_us += took_us;
        }
        let (size, title) = (if way == Way::Back { Size::default() } else { step.outlook.size }, step.title.clone());
        self.push(host, Sample { what: what(step).into(), title, size, ..sample(way, took_us, at_ms) });
    }

    fn done(&mut self, at_ms: i64, host: &'a HostName, stage: &str) {
        let of = self.host(host);
        let (begun_ms, steps_us, waited) = (of.begun_ms, of.steps_us, of.waited);
        self.run.through_ms = at_ms;
        let Some(stage) = self.stage(stage) else { return };
        if waited {
            return;
        }
        if stage.turns.is_empty() {
            let took = since(begun_ms, at_ms).saturating_sub(steps_us);
            return self.around(at_ms, host, (BETWEEN, Way::Forward), took);
        }
        // All are through at once: what was no step is shared by all turns.
        let own = stage.hosts.keys().filter_map(|host| self.run.hosts.get(host));
        let (steps_us, begun) = own.fold((0, 0), |(us, ms), host| (us + host.steps_us, host.begun_ms.max(ms)));
        let turns = u64::try_from(stage.turns.len()).unwrap_or(1).max(1);
        let took = since(begun, at_ms).saturating_sub(steps_us) / turns;
        self.around(at_ms, host, (BETWEEN, Way::Forward), took);
    }

    fn undone(&mut self, at_ms: i64, host: &'a HostName, stage: &'a str) {
        if self.run.going != stage {
            if !self.run.going.is_empty() {
                self.run.back_ms = self.run.undone_ms;
            }
            self.run.going = stage;
        }
        let from = self.run.back_ms;
        let turns = self.stage(stage).is_some_and(|stage| !stage.turns.is_empty());
        let of = self.host(host);
        let (undone, back_us) = (of.undone_ms.take(), std::mem::take(&mut of.back_us));
        if let (Some(undone), true, false) = (undone, self.run.back, turns) {
            self.around(at_ms, host, (BACK, Way::Back), since(from, undone).saturating_sub(back_us));
        }
        // The stage before goes back once all hosts of this one are back.
        self.run.undone_ms = at_ms;
    }

    /// One after the other: who says that something is done began it when it was waited for, and nothing else was left to do.
    fn by_hand(&mut self, done: impl IntoIterator<Item = ByHand<'a>>) {
        let mut free: BTreeMap<&str, i64> = BTreeMap::new();
        let name = |(&(host, id), from_ms): (&(&'a HostName, &'a StepId), &i64)| {
            (format!("{host}:{id}"), (host, id, *from_ms))
        };
        let waits: BTreeMap<String, (&HostName, &StepId, i64)> = self.waits.iter().map(name).collect();
        for ByHand { step, by, at_ms } in done {
            let Some((host, id, from_ms)) = waits.get(step).copied() else { continue };
            let from_ms = free.insert(by, at_ms).map_or(from_ms, |free| free.max(from_ms));
            let Some((_, step)) = self.steps.get(&(host, id)) else { continue };
            if at_ms - from_ms > left_lying_ms(step) {
                continue;
            }
            let title = step.title.clone();
            self.push(
                host,
                Sample { what: MANUAL.into(), title, ..sample(Way::Forward, since(from_ms, at_ms), at_ms) },
            );
        }
    }

    /// The machinery was at work since then, unless the run was resumed in between.
    fn work(&mut self, at_ms: i64, host: &'a HostName, part: (&str, Way), from_ms: i64) {
        if self.run.resumed_ms.is_none_or(|resumed_ms| from_ms >= resumed_ms) {
            self.around(at_ms, host, part, since(from_ms, at_ms));
        }
    }

    fn around(&mut self, at_ms: i64, host: &'a HostName, (title, way): (&str, Way), took_us: u64) {
        let most = if [FIRST, VERIFY].contains(&title) { LISTED_US } else { WAITED_US };
        if took_us <= most {
            self.push(host, Sample { what: AROUND.into(), title: title.into(), ..sample(way, took_us, at_ms) });
        }
    }

    fn push(&mut self, host: &HostName, sample: Sample) {
        let class = self.plan.classes.get(host).cloned().unwrap_or_default();
        self.found.push(Sample { class, member: host.member().to_owned(), run_ms: self.run_ms, ..sample });
    }
}

fn sample(way: Way, took_us: u64, at_ms: i64) -> Sample {
    let (what, title, class, member, size) = Default::default();
    Sample { what, title, way, class, member, size, took_us, at_ms, run_ms: 0 }
}

/// Microseconds; a clock that was set back tells nothing.
fn since(from_ms: i64, to_ms: i64) -> u64 {
    u64::try_from(to_ms - from_ms).unwrap_or(0).saturating_mul(1000)
}
