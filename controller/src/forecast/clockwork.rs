//! Drives the rollout machine in virtual time: whatever it asks for takes as long as one weekend says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use weiche_agent::protocol::{Digest, Fault, FaultCode, StepId};

use super::lengths::Lengths;
use super::model::{HOPS, Model, Step, lost_ms};
use super::work;
use crate::input::target::HostName;
use crate::rollout::{Action, Happening, Outcome, Rollout, Standing};

/// What goes wrong in a weekend.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    /// Steps that fail when their time is over: by stage and host, the number of the step.
    pub(super) fails: BTreeMap<(usize, usize), usize>,
    /// This host, by stage, is not to be reached when it is to be confirmed.
    pub(super) lost: Option<(usize, usize)>,
    /// A service of this stage and wave does not work any more so long after the wave is through.
    pub(super) service: Option<(usize, usize, i64)>,
    /// A person aborts the run then.
    pub(super) abort_ms: Option<i64>,
    /// Where the run is held at the end of a window somebody lets it go on.
    pub(super) goes_on: bool,
}

/// When a step began and ended.
pub(super) type Times = (i64, i64);

/// Something that is going to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A host's work comes to its end, to a manual step, or fails.
    Works(usize, usize),
    Confirmed(usize, usize),
    Undone(usize, usize),
    /// The services of a stage were seen to work after a wave.
    Services(usize, usize),
    /// They were seen not to work.
    ServiceFails(usize, usize),
    /// Persons are through with what was waited for.
    Persons,
    Abort,
}

/// How far a host is with its part of a stage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Through {
    /// So many steps are through.
    pub(super) steps: usize,
    /// The next one has been at work for so long.
    pub(super) spent_ms: i64,
}

/// What a host's connection is used for.
#[derive(Clone, Copy, Debug)]
struct Task {
    takes_ms: i64,
    then: Event,
}

/// The machine and what it drives.
pub(super) struct Clockwork<'a> {
    model: &'a Model,
    lengths: &'a Lengths,
    trouble: &'a Trouble,
    rollout: Rollout,
    now: i64,
    queue: BinaryHeap<Reverse<(i64, usize, Event)>>,
    number: usize,
    busy: usize,
    waiting: VecDeque<Task>,
    /// How far each host is with its part of each stage.
    next: Vec<Vec<Through>>,
    probed: Option<(usize, usize)>,
    /// How often somebody has let it go on.
    went_on: usize,
    /// How often it has waited since anything happened.
    hops: usize,
    pub(super) played: Played,
}

/// What happened when.
#[derive(Clone, Debug, Default)]
pub(super) struct Played {
    /// By stage and host: its steps, as far as they were begun.
    pub(super) steps: Vec<Vec<Vec<Times>>>,
    /// When each stage began, as far as it did.
    pub(super) starts: Vec<Option<i64>>,
    /// When its last host was through and confirmed.
    pub(super) ends: Vec<Option<i64>>,
    /// Most persons that were waited for at once.
    pub(super) persons: usize,
    /// When the run ended, and how.
    pub(super) ended: Option<(i64, Outcome)>,
    /// What it waits for in vain.
    pub(super) stands: Option<Standing>,
}

impl<'a> Clockwork<'a> {
    /// Plays a whole run that is begun at this time.
    pub(super) fn play(model: &'a Model, lengths: &'a Lengths, trouble: &'a Trouble, start_ms: i64) -> Played {
        let mut rollout = Rollout::new(model.parts(), model.sites.clone());
        rollout.on(start_ms, &Happening::RunStarted { plan: Digest::of(b""), playbook: String::new() });
        Clockwork::resume(model, lengths, trouble, (rollout, start_ms), Vec::new())
    }

    /// Goes on with a run, whose hosts are so far with their part of each stage.
    pub(super) fn resume(
        model: &'a Model,
        lengths: &'a Lengths,
        trouble: &'a Trouble,
        (rollout, now): (Rollout, i64),
        through: Vec<Vec<Through>>,
    ) -> Played {
        let none = || model.stages.iter().map(|stage| vec![Through::default(); stage.hosts.len()]).collect();
        let steps = model.stages.iter().map(|stage| vec![Vec::new(); stage.hosts.len()]).collect();
        let unknown = vec![None; model.stages.len()];
        let mut clockwork = Clockwork {
            model,
            lengths,
            trouble,
            rollout,
            now,
            queue: BinaryHeap::new(),
            number: 0,
            busy: 0,
            waiting: VecDeque::new(),
            next: if through.is_empty() { none() } else { through },
            probed: None,
            went_on: 0,
            hops: 0,
            played: Played { steps, starts: unknown.clone(), ends: unknown, ..Played::default() },
        };
        if let Some(abort_ms) = trouble.abort_ms {
            clockwork.at(abort_ms, Event::Abort);
        }
        clockwork.run();
        clockwork.played
    }

    fn at(&mut self, at_ms: i64, event: Event) {
        self.number += 1;
        self.queue.push(Reverse((at_ms, self.number, event)));
    }

    fn run(&mut self) {
        loop {
            loop {
                let actions = self.rollout.next(self.now);
                if actions.is_empty() {
                    break;
                }
                self.hops = 0;
                self.begin(actions);
            }
            let probing = self.rollout.probing();
            if probing != self.probed {
                self.probed = probing;
                if let Some((stage, wave)) = probing {
                    self.probe(stage, wave);
                }
            }
            let due = match self.rollout.standing(self.now) {
                Standing::Ended(outcome) => {
                    self.played.ended = Some((self.now, outcome));
                    return;
                }
                Standing::Until(due) => Some(due),
                Standing::Manual if !self.queue.iter().any(|Reverse((.., event))| *event == Event::Persons) => {
                    self.persons();
                    None
                }
                Standing::Working | Standing::Manual => None,
                // Each stage is held once at most.
                Standing::Held(_) if self.trouble.goes_on && self.went_on < self.model.stages.len() => {
                    self.went_on += 1;
                    self.rollout.on(self.now, &Happening::Continued { by: String::from("a person") });
                    continue;
                }
                // Somebody aborts it there.
                Standing::Held(_) if self.queue.iter().any(|Reverse((.., event))| *event == Event::Abort) => None,
                standing => {
                    self.played.stands = Some(standing);
                    return;
                }
            };
            let next = self.queue.peek().map(|Reverse((at, ..))| *at);
            match (next, due) {
                (Some(next), due) if due.is_none_or(|due| next <= due) => self.happens(),
                // Several windows may open again and again, and never together.
                (_, Some(due)) if self.hops > HOPS => {
                    self.played.stands = Some(Standing::Until(due));
                    return;
                }
                (_, Some(due)) => {
                    self.hops += 1;
                    self.now = self.now.max(due);
                }
                (_, None) => {
                    self.played.stands = Some(self.rollout.standing(self.now));
                    return;
                }
            }
        }
    }

    /// The services of a stage are looked at after a wave.
    fn probe(&mut self, stage: usize, wave: usize) {
        let works_ms = self.lengths.stages[stage].services;
        let fails = self.trouble.service.filter(|(of, at, _)| (*of, *at) == (stage, wave));
        if let Some((.., after_ms)) = fails {
            self.at(self.now + after_ms, Event::ServiceFails(stage, wave));
        }
        if fails.is_none_or(|(.., after_ms)| after_ms > works_ms) {
            self.at(self.now + works_ms, Event::Services(stage, wave));
        }
    }

    /// Persons do what is waited for, as many at once as there are technicians.
    fn persons(&mut self) {
        let waits: Vec<(usize, usize)> =
            self.rollout.waiting().filter_map(|(host, step)| self.find(host, step)).collect();
        let pieces: Vec<(Option<usize>, i64)> = waits.iter().map(|(stage, host)| self.by_hand(*stage, *host)).collect();
        let named: BTreeSet<usize> = pieces.iter().filter_map(|(person, _)| *person).collect();
        let unnamed = pieces.iter().filter(|(person, _)| person.is_none()).count();
        self.played.persons = self.played.persons.max(named.len() + unnamed);
        let mut ends = Vec::new();
        let last = work::by_people(self.model.technicians, self.now, &pieces, |end| ends.push(end));
        for (((stage, host), end), (_, piece)) in waits.iter().zip(ends).zip(pieces) {
            self.played.steps[*stage][*host].push((end - piece, end));
            self.next[*stage][*host] = Through { steps: self.next[*stage][*host].steps + 1, spent_ms: 0 };
        }
        self.at(last, Event::Persons);
    }

    /// Who does the host's next step, and how long it takes.
    fn by_hand(&self, stage: usize, host: usize) -> (Option<usize>, i64) {
        let next = self.next[stage][host].steps;
        let person = self.model.stages[stage].parts[host].steps.get(next).and_then(Step::person);
        (person, self.lengths.stages[stage].steps[host].get(next).copied().unwrap_or(0))
    }

    fn find(&self, host: &HostName, step: &StepId) -> Option<(usize, usize)> {
        let name = step.0.rsplit_once('.').map(|(stage, _)| stage)?;
        let at = self.model.stages.iter().position(|stage| stage.name == name)?;
        Some((at, self.model.stages[at].hosts.binary_search(host).ok()?))
    }

    fn place(&self, stage: &str, host: &HostName) -> Option<(usize, usize)> {
        let at = self.model.stages.iter().position(|of| of.name == stage)?;
        Some((at, self.model.stages[at].hosts.binary_search(host).ok()?))
    }

    fn begin(&mut self, actions: Vec<Action>) {
        let (mut turns, mut back, mut confirm) = (Vec::new(), Vec::new(), Vec::new());
        for action in actions {
            match action {
                Action::Record(happening) => self.record(&happening),
                Action::Run { host, stage } => {
                    let Some((at, number)) = self.place(&stage, &host) else { continue };
                    self.rollout.on(self.now, &Happening::HostBegun { host, stage });
                    match self.model.stages[at].turns.is_empty() {
                        true => self.work(at, number),
                        false => turns.push((at, number)),
                    }
                }
                Action::Confirm { host, stage } => confirm.extend(self.place(&stage, &host)),
                Action::Undo { host, stage, .. } => back.extend(self.place(&stage, &host)),
            }
        }
        if let Some((stage, _)) = turns.first().copied() {
            self.in_turns(stage);
        }
        let mut confirmed = self.now;
        for (stage, host) in confirm {
            let takes_ms = self.lengths.stages[stage].confirm[host];
            let lost = self.trouble.lost == Some((stage, host));
            let takes_ms = if lost { self.model.stages[stage].confirm_fails_ms(takes_ms) } else { takes_ms };
            self.one_by_one((stage, takes_ms), &mut confirmed, Event::Confirmed(stage, host));
        }
        let mut undone = self.now;
        for (stage, host) in back {
            let takes_ms = self.lengths.stages[stage].back[host];
            self.one_by_one((stage, takes_ms), &mut undone, Event::Undone(stage, host));
        }
    }

    /// Where hosts take turns one comes after the other; else each as soon as a connection is free.
    fn one_by_one(&mut self, (stage, takes_ms): (usize, i64), last: &mut i64, then: Event) {
        if self.model.stages[stage].turns.is_empty() {
            return self.task(Task { takes_ms, then });
        }
        *last += takes_ms;
        self.busy += 1;
        self.at(*last, then);
    }

    fn task(&mut self, task: Task) {
        if self.busy >= self.model.connections {
            self.waiting.push_back(task);
            return;
        }
        self.busy += 1;
        // Its steps began when it did.
        if let Event::Works(stage, host) = task.then {
            self.note(stage, host, self.now);
        }
        self.at(self.now + task.takes_ms, task.then);
    }

    /// How far a host's work goes, and what that takes: to the next manual step, to one that fails, or to the end.
    fn ahead(&self, stage: usize, host: usize) -> (usize, i64) {
        let fails = self.trouble.fails.get(&(stage, host)).map_or(usize::MAX, |step| step + 1);
        let steps = &self.model.stages[stage].parts[host].steps;
        let Through { steps: from, spent_ms } = self.next[stage][host];
        let from = from.min(steps.len());
        let manual = steps[from..].iter().position(Step::manual).map_or(steps.len(), |n| from + n);
        let to = manual.min(fails).max(from);
        let rest: i64 = (from..to).map(|step| self.takes_ms(stage, host, step)).sum();
        let spent = if from < to { spent_ms.min(self.takes_ms(stage, host, from)) } else { 0 };
        (to, rest - spent)
    }

    /// How long a step takes, also if it fails.
    fn takes_ms(&self, stage: usize, host: usize, step: usize) -> i64 {
        let ms = self.lengths.stages[stage].steps[host][step];
        let fails = self.trouble.fails.get(&(stage, host)) == Some(&step);
        if fails { self.model.stages[stage].parts[host].steps[step].fails_ms(ms) } else { ms }
    }

    fn work(&mut self, stage: usize, host: usize) {
        let of = &self.lengths.stages[stage];
        let model = &self.model.stages[stage];
        let mut work_ms = model.bounded(self.ahead(stage, host).1 + of.between[host]);
        if let Some(step) = self.trouble.fails.get(&(stage, host)) {
            // Or the host is lost instead, as the step ends.
            let longer_ms = self.takes_ms(stage, host, *step) - of.steps[host][*step];
            let plain_ms = self.ahead(stage, host).1 - longer_ms + of.between[host];
            work_ms = work_ms.max(model.bounded(plain_ms) + lost_ms());
        }
        let takes_ms = of.begin[host] + work_ms;
        self.task(Task { takes_ms, then: Event::Works(stage, host) });
    }

    /// Notes when the steps of a host's work begin and end, which has begun itself.
    fn note(&mut self, stage: usize, host: usize, begun_ms: i64) {
        let (to, _) = self.ahead(stage, host);
        let of = &self.lengths.stages[stage];
        let mut at = begun_ms + of.begin[host];
        let limit = self.model.stages[stage].rules.within_ms.map_or(i64::MAX, |within| at.saturating_add(within));
        for step in self.next[stage][host].steps.min(to)..to {
            let ms = self.takes_ms(stage, host, step);
            self.played.steps[stage][host].push((at.min(limit), (at + ms).min(limit)));
            at += ms;
        }
    }

    /// All hosts of the stage begin, then one goes after the other; if a step fails nobody's turn comes any more.
    fn in_turns(&mut self, stage: usize) {
        let (of, model) = (&self.lengths.stages[stage], &self.model.stages[stage]);
        let begin = of.begin.iter().max().copied().unwrap_or(0);
        let mut at = self.now + begin;
        let limit = model.rules.within_ms.map_or(i64::MAX, |within| at.saturating_add(within));
        // One of them is at work, since the last that any of them has told.
        let mut spent_ms = self.next[stage].iter().map(|of| of.spent_ms).min().unwrap_or(0);
        let mut lost_at = None;
        'turns: for (host, steps) in &model.turns {
            let through = self.next[stage][*host].steps;
            for step in steps.iter().filter(|step| **step >= through) {
                let ms = self.takes_ms(stage, *host, *step);
                let ms = ms - std::mem::take(&mut spent_ms).min(ms);
                self.played.steps[stage][*host].push((at.min(limit), (at + ms).min(limit)));
                at += ms;
                if self.trouble.fails.get(&(stage, *host)) == Some(step) {
                    // Or the host is lost instead, as the step ends.
                    let longer_ms = self.takes_ms(stage, *host, *step) - of.steps[*host][*step];
                    lost_at = Some((at - longer_ms.min(ms)).min(limit) + lost_ms());
                    break 'turns;
                }
            }
            at += of.between[*host];
        }
        for host in 0..model.hosts.len() {
            self.busy += 1;
            self.at(lost_at.unwrap_or(0).max(at.min(limit)), Event::Works(stage, host));
        }
    }

    fn record(&mut self, happening: &Happening) {
        if let Happening::StageStarted { stage } = happening
            && let Some(at) = self.model.stages.iter().position(|of| of.name == *stage)
        {
            self.played.starts[at] = Some(self.now);
            self.played.ends[at] = Some(self.now);
        }
        self.rollout.on(self.now, happening);
    }

    fn happens(&mut self) {
        let Some(Reverse((at, _, event))) = self.queue.pop() else { return };
        self.now = at;
        let names = |stage: usize, host: usize| {
            let of = &self.model.stages[stage];
            (of.name.clone(), of.hosts[host].clone())
        };
        let happening = match event {
            Event::Works(at, number) => {
                let (stage, host) = names(at, number);
                let (to, _) = self.ahead(at, number);
                let steps = &self.model.stages[at].parts[number].steps;
                let turns = !self.model.stages[at].turns.is_empty();
                let failed = if turns {
                    self.trouble.fails.keys().any(|(of, _)| *of == at)
                } else {
                    self.trouble.fails.get(&(at, number)).is_some_and(|step| step + 1 == to)
                };
                self.next[at][number] = Through { steps: to, spent_ms: 0 };
                self.played.ends[at] = Some(self.now);
                if failed {
                    Happening::HostFailed { host, stage, fault: Fault::new(FaultCode::Unknown, "played") }
                } else if !turns && steps.get(to).is_some_and(Step::manual) {
                    let step = StepId(format!("{stage}.{to}"));
                    Happening::HostWaits { host, stage, step, text: String::new() }
                } else {
                    Happening::HostDone { host, stage }
                }
            }
            Event::Confirmed(at, number) => {
                let (stage, host) = names(at, number);
                if self.trouble.lost == Some((at, number)) {
                    Happening::HostFailed { host, stage, fault: Fault::new(FaultCode::Unknown, "lost") }
                } else {
                    self.played.ends[at] = Some(self.now);
                    Happening::HostConfirmed { host, stage }
                }
            }
            Event::Undone(at, number) => {
                let (stage, host) = names(at, number);
                Happening::HostUndone { host, stage }
            }
            Event::Services(at, wave) => Happening::ServicesWork { stage: self.model.stages[at].name.clone(), wave },
            Event::ServiceFails(at, _) => {
                let (stage, service) = (self.model.stages[at].name.clone(), String::new());
                Happening::ServiceFailed { stage, service, fault: Fault::new(FaultCode::Unknown, "played") }
            }
            Event::Abort => Happening::Aborted { by: String::from("a person"), leave: false },
            // Whoever has decided otherwise meanwhile does not go on because they are through.
            Event::Persons if self.rollout.standing(self.now) == Standing::Manual => return self.rollout.wake(),
            Event::Persons => return,
        };
        if matches!(event, Event::Works(..) | Event::Confirmed(..) | Event::Undone(..)) {
            self.busy = self.busy.saturating_sub(1);
            if let Some(task) = self.waiting.pop_front() {
                self.task(task);
            }
        }
        // Services that were looked at for a wave that is over say nothing.
        if let Event::Services(stage, wave) | Event::ServiceFails(stage, wave) = event
            && self.rollout.probing() != Some((stage, wave))
        {
            return;
        }
        self.rollout.on(self.now, &happening);
    }
}
