//! A plan as far as time is concerned: hosts and steps as numbers, estimates instead of work.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Options;
use super::assumed;
use super::weekend::{self, Margin, Weekend};
use crate::calendar::Opening;
use crate::input::target::HostName;
use crate::plan::procedure::{Action, Manual};
use crate::plan::rules::{LOST, May, Rules, SERVICE_FAILS};
use crate::plan::takes::{Around, Basis, Estimate};
use crate::plan::{self, Plan};
use crate::rollout::Part;
use crate::rollout::rules::{Amount, Over};

/// Longer than anything, and far from where sums overflow.
pub(super) const FAR_MS: i64 = i64::MAX / 1024;

/// Where several windows open again and again and never together, so many times are looked at: more than a year of nights.
pub(super) const HOPS: usize = 400;

/// So many openings of each window are looked at in vain before the window itself is asked.
const OPENINGS: usize = 12;

/// A plan as far as time is concerned.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) stages: Vec<Stage>,
    /// Hosts that are worked on at once, at most.
    pub(super) connections: usize,
    /// Manual steps that are done at once, at most.
    pub(super) technicians: usize,
    pub(super) sites: BTreeMap<HostName, String>,
    /// Number of the run's hosts.
    pub(super) hosts: usize,
}

/// A stage of it. Hosts are numbered in the order of their names.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) name: String,
    pub(super) rules: Rules,
    pub(super) hosts: Vec<HostName>,
    pub(super) parts: Vec<HostPart>,
    pub(super) waves: Vec<Vec<usize>>,
    pub(super) at_once: usize,
    /// Hosts take turns: one after the other, once all have begun.
    pub(super) turns: Vec<(usize, Vec<usize>)>,
    pub(super) around: Around,
    /// By so much its windows close later than they do.
    pub(super) longer_ms: i64,
    /// For each window, in order.
    openings: Vec<Vec<Opening>>,
}

/// A host's part of a stage.
#[derive(Clone, Debug)]
pub(super) struct HostPart {
    /// The run has not touched the host before: it begins with its manifest, and ends its way back with it.
    pub(super) first: bool,
    pub(super) steps: Vec<Step>,
}

impl HostPart {
    /// Whether the work that goes on with this step, up to the next manual one, has something that cannot be taken back.
    pub(super) fn cannot_go_back_from(&self, step: usize) -> bool {
        self.steps.iter().skip(step).take_while(|step| !step.manual()).any(|step| step.irreversible)
    }
}

/// A step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) forward: Estimate,
    pub(super) back: Estimate,
    /// A look that fails, or a restart, ends then.
    pub(super) limit_ms: Option<i64>,
    pub(super) by: By,
    pub(super) changes: bool,
    pub(super) irreversible: bool,
}

/// Who does a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Weiche,
    /// Somebody who is free.
    Anybody,
    /// This person of the crew.
    Person(usize),
}

impl Model {
    pub(super) fn new(plan: &Plan, options: &Options) -> Model {
        let connections = if plan.connections == 0 { usize::MAX } else { plan.connections };
        let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX).max(1);
        let mut touched = BTreeSet::new();
        let persons: Vec<&str> = plan.crew.persons.iter().map(String::as_str).collect();
        let stage = |stage| Stage::new(stage, (connections, options), &persons, &mut touched);
        Model {
            stages: plan.stages.iter().map(stage).collect(),
            connections,
            technicians: options.technicians.or(plan.crew.technicians).map_or(usize::MAX, count),
            sites: plan.sites.clone(),
            hosts: plan.hosts().iter().filter(|host| !options.without.contains(*host)).count(),
        }
    }

    /// Without these hosts.
    pub(super) fn leave_out(&mut self, gone: &[HostName]) {
        for stage in &mut self.stages {
            // Whoever is left keeps its number: parts without steps take no time, and are in no wave.
            let out: BTreeSet<usize> = gone.iter().filter_map(|host| stage.hosts.binary_search(host).ok()).collect();
            stage.waves.iter_mut().for_each(|wave| wave.retain(|host| !out.contains(host)));
            stage.waves.retain(|wave| !wave.is_empty());
            stage.turns.retain(|(host, _)| !out.contains(host));
        }
    }

    /// As the rollout machine wants it. Gates are open: how long people think nobody knows.
    pub(super) fn parts(&self) -> Vec<Part> {
        let part = |stage: &Stage| {
            let waves = stage.waves.iter().map(|wave| wave.iter().map(|host| stage.hosts[*host].clone()).collect());
            let rules = Rules { at_once: Some(stage.at_once), waves: waves.collect(), ..stage.rules.clone() };
            let hosts = stage.hosts.iter().cloned().collect();
            Part { name: stage.name.clone(), hosts, rules, alone_ms: 0 }
        };
        self.stages.iter().map(part).collect()
    }

    /// Nothing begins any more that does not fit into its window together with its way back.
    pub(super) fn heed(&mut self, margins: &[Margin], weekend: &Weekend) {
        for margin in margins {
            let Some(played) = weekend.stages.get(margin.stage) else { continue };
            let takes = &mut self.stages[margin.stage].rules.takes_ms;
            *takes = (*takes).max(margin.needs_ms(played.start_ms));
        }
    }

    /// What the author of a stage says it takes replaces what is assumed of its steps; never what is known of them. If those
    /// that are known take longer by themselves, the author was wrong.
    pub(super) fn declare(&mut self) {
        for at in 0..self.stages.len() {
            let stage = &self.stages[at];
            let pauses = stage.rules.pause_ms * i64::try_from(stage.waves.len().saturating_sub(1)).unwrap_or(0);
            let declared = stage.rules.takes_ms - pauses;
            if declared <= 0 || !stage.steps().any(Step::assumed) {
                continue;
            }
            let alone = Model { stages: vec![stage.clone()], sites: BTreeMap::new(), ..*self };
            let with = |scale: u64| {
                let mut model = alone.clone();
                model.stages[0].assume(|estimate| scaled(estimate, scale));
                weekend::natural_ms(&model, 0).map_or(0, |ms| ms - pauses)
            };
            if with(0) >= declared {
                continue;
            }
            // The smallest scale with which the stage takes what its author says.
            let enough = (0..30).map(|power| ONCE << power).find(|scale| with(*scale) >= declared).unwrap_or(ONCE);
            let (mut low, mut high) = (0, enough);
            while low < high {
                let middle = low + (high - low) / 2;
                if with(middle) >= declared { high = middle } else { low = middle + 1 }
            }
            self.stages[at].assume(|estimate| Estimate { from: Basis::Declared, ..scaled(estimate, high) });
        }
    }
}

/// A scale of 1: scales are whole numbers.
const ONCE: u64 = 1024;

fn scaled(estimate: Estimate, scale: u64) -> Estimate {
    let bound_ms = estimate.bound_ms.saturating_mul(scale).div_ceil(ONCE);
    let usual_ms = estimate.usual_ms.min(bound_ms);
    Estimate { bound_ms, usual_ms, least_ms: estimate.least_ms.min(usual_ms), from: estimate.from }
}

impl Stage {
    fn new(
        stage: &plan::Stage,
        (connections, options): (usize, &Options),
        persons: &[&str],
        touched: &mut BTreeSet<HostName>,
    ) -> Stage {
        let taken = |host: &&HostName| !options.without.contains(*host);
        let hosts: Vec<HostName> = stage.hosts.keys().filter(taken).cloned().collect();
        let number = |host: &HostName| hosts.binary_search(host).ok();
        let part = |host: &HostName| HostPart {
            first: touched.insert(host.clone()),
            steps: stage.hosts.get(host).into_iter().flatten().map(|step| Step::new(step, persons)).collect(),
        };
        let parts = hosts.iter().map(part).collect();
        let mut rules = stage.rules.clone();
        rules.gate = None;
        // Whoever is in no wave comes last, as in the machine.
        let mut rest: BTreeSet<usize> = (0..hosts.len()).collect();
        let named = std::mem::take(&mut rules.waves).into_iter();
        let numbered = named.map(|wave| wave.iter().filter_map(number).filter(|host| rest.remove(host)).collect());
        let mut waves: Vec<Vec<usize>> = numbered.collect();
        waves.push(rest.into_iter().collect());
        waves.retain(|wave| !wave.is_empty());
        let turn = |turn: &plan::procedure::Turn| {
            let steps = stage.hosts.get(&turn.host)?;
            let of = |id| steps.iter().position(|step| step.action.id() == id);
            Some((number(&turn.host)?, turn.steps.iter().filter_map(of).collect()))
        };
        let turns: Vec<(usize, Vec<usize>)> = stage.turns.iter().filter_map(turn).collect();
        let least = if turns.is_empty() { 1 } else { hosts.len() };
        let at_once = rules.at_once.unwrap_or(connections).min(connections).max(least).max(1);
        let openings = rules.windows.iter().map(|window| window.openings(options.start_ms).take(OPENINGS).collect());
        Stage {
            name: stage.name.clone(),
            longer_ms: 0,
            openings: openings.collect(),
            around: stage.around.unwrap_or(assumed::AROUND),
            rules,
            hosts,
            parts,
            waves,
            at_once,
            turns,
        }
    }

    /// As if it had no windows.
    pub(super) fn forget_windows(&mut self) {
        self.openings.clear();
        self.rules.windows.clear();
    }

    /// Puts something else in the place of what is assumed of its steps.
    fn assume(&mut self, other: impl Fn(Estimate) -> Estimate) {
        for step in self.parts.iter_mut().flat_map(|part| &mut part.steps).filter(|step| step.assumed()) {
            step.forward = other(step.forward);
        }
    }

    /// How long its services take at most to be seen not to work once a wave is through, and as long as it soaks.
    pub(super) fn services_fail_ms(&self, services_ms: i64, last: bool) -> i64 {
        match self.rules.probes.is_empty() {
            true => 0,
            false => (services_ms + whole_ms(SERVICE_FAILS)).max(if last { self.rules.hold_ms } else { 0 }),
        }
    }

    /// How long a host may be looked for before it counts as not confirmed.
    pub(super) fn confirm_fails_ms(&self, confirm_ms: i64) -> i64 {
        let waits = self.rules.guard_ms.or(self.rules.within_ms).unwrap_or(0);
        waits.max(whole_ms(LOST)).max(confirm_ms)
    }

    /// How long a host's part may be at work: its guard takes it back then.
    pub(super) fn bounded(&self, ms: i64) -> i64 {
        self.rules.within_ms.map_or(ms, |within| ms.min(within))
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.parts.iter().flat_map(|part| &part.steps)
    }

    /// Whether it may begin then, as [`Rules::may_begin`] says.
    pub(super) fn may_begin(&self, now_ms: i64) -> May {
        let longer_ms = self.longer_ms;
        let (mut close_ms, mut later) = (i64::MAX, None);
        for openings in &self.openings {
            // The list ends before the window does: then the window itself is asked.
            let Some(fits) = openings.iter().find(|opening| {
                let start = opening.start_ms.max(now_ms);
                opening.end_ms + longer_ms > now_ms && start + self.rules.room() <= opening.close_ms + longer_ms
            }) else {
                return self.rules.may_begin(now_ms);
            };
            if fits.start_ms <= now_ms {
                close_ms = close_ms.min(fits.close_ms + longer_ms);
            } else {
                later = later.max(Some(fits.start_ms));
            }
        }
        later.map_or(May::Now { close_ms }, May::At)
    }

    /// What its windows have in common then; `None` if it has none, or not all of them are open.
    pub(super) fn opening(&self, at_ms: i64) -> Option<Opening> {
        let open = |window: &crate::calendar::Window| window.opening(at_ms).filter(|opening| opening.contains(at_ms));
        let both = |one: Opening, other: Opening| Opening {
            start_ms: one.start_ms.max(other.start_ms),
            end_ms: one.end_ms.min(other.end_ms),
            close_ms: one.close_ms.min(other.close_ms),
        };
        let mut openings = self.rules.windows.iter().map(open);
        let first = openings.next()??;
        openings.try_fold(first, |one, other| Some(both(one, other?)))
    }

    /// Hosts that may fail before the stage stops, however many waves it has: by its rules of this extent.
    pub(super) fn tolerates_in_all(&self, over: Over, whole: usize) -> usize {
        let rules = self.rules.stop.iter().filter(|rule| rule.over == over);
        rules.map(|rule| before(rule.failed, whole)).min().unwrap_or(usize::MAX)
    }

    /// Hosts of a wave that may fail, and go back while the others work, before the stage stops.
    pub(super) fn tolerates(&self, wave: usize, run: usize) -> usize {
        let tolerated = self.rules.stop.iter().map(|rule| match rule.over {
            Over::Wave => before(rule.failed, wave),
            Over::Stage => before(rule.failed, self.hosts.len()),
            Over::Run => before(rule.failed, run),
            // Counted among few: all of a wave may fail without many of them having failed.
            Over::Member | Over::Site => wave,
        });
        tolerated.min().unwrap_or(0).min(wave)
    }
}

fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(FAR_MS)
}

/// How long a host that is lost at work is looked for before its part has failed.
pub(super) fn lost_ms() -> i64 {
    whole_ms(LOST)
}

/// How many may fail before an amount of them is reached.
fn before(amount: Amount, whole: usize) -> usize {
    match amount {
        Amount::Hosts(hosts) => hosts.saturating_sub(1),
        Amount::Percent(_) => (1..=whole).find(|failed| amount.reached(*failed, whole)).map_or(whole, |n| n - 1),
    }
}

impl Step {
    fn new(step: &plan::Step, persons: &[&str]) -> Step {
        let takes = step.takes.unwrap_or_else(|| assumed::takes(step));
        let (changes, irreversible) = (step.outlook.changes, step.outlook.irreversible);
        let by = match &step.action {
            Action::Manual(Manual { by: Some(by), .. }) => {
                persons.binary_search(&by.as_str()).map_or(By::Anybody, By::Person)
            }
            Action::Manual(_) => By::Anybody,
            _ => By::Weiche,
        };
        let limit = match &step.action {
            Action::Check(check) => Some(check.within),
            Action::Reboot(reboot) => Some(reboot.within),
            _ => None,
        };
        let limit_ms = limit.map(whole_ms);
        Step { forward: takes.forward, back: takes.back, limit_ms, by, changes, irreversible }
    }

    /// Whether nobody knows how long it takes. What changes nothing takes no time worth a word.
    fn assumed(&self) -> bool {
        self.forward.from == Basis::Assumed && self.forward.bound_ms > assumed::SAME.bound_ms
    }

    /// How long it takes if it fails, where it would take so long if it did not.
    pub(super) fn fails_ms(&self, ms: i64) -> i64 {
        self.limit_ms.map_or(ms, |limit| limit.max(ms))
    }

    /// Whether a person does it.
    pub(super) fn manual(&self) -> bool {
        self.by != By::Weiche
    }

    /// Which person of the crew, if it has to be one.
    pub(super) fn person(&self) -> Option<usize> {
        match self.by {
            By::Person(number) => Some(number),
            By::Weiche | By::Anybody => None,
        }
    }
}
