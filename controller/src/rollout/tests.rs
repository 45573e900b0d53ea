//! Laws of the machine: whatever hosts answer, in whatever order, and wherever the controller dies.

mod cases;
mod clock;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use weiche_agent::protocol::{Digest, Fault, FaultCode, StepId};

use super::rules::{Amount, OnStop, Over, Rules, Scope, ServiceProbe, StopRule};
use super::*;
use crate::plan::procedure::Probe;

/// What a simulated host answers to one action.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Good,
    Bad,
    /// Switched off.
    Away,
}

fn host(n: usize) -> HostName {
    HostName(format!("m/h{n:03}"))
}

fn part(name: usize, hosts: usize, rules: &Rules) -> Part {
    Part { name: format!("s{name}"), hosts: (0..hosts).map(host).collect(), rules: rules.clone(), alone_ms: 0 }
}

fn parts(sizes: &[usize], rules: &Rules) -> Vec<Part> {
    sizes.iter().enumerate().map(|(at, n)| part(at, *n, rules)).collect()
}

fn new(sizes: &[usize], rules: &Rules) -> Rollout {
    Rollout::new(parts(sizes, rules), BTreeMap::new())
}

fn start() -> Happening {
    Happening::RunStarted { plan: Digest::of(b"plan"), playbook: "p".into() }
}

/// A run as it is played: the machine, its log, the time, and what hosts are asked for.
struct Play<'a> {
    rollout: Rollout,
    log: Vec<(i64, Happening)>,
    now: i64,
    open: Vec<Action>,
    answers: std::iter::Cycle<std::slice::Iter<'a, Answer>>,
    order: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl<'a> Play<'a> {
    fn new(rollout: Rollout, log: &[(i64, Happening)], answers: &'a [Answer], order: &'a [usize]) -> Play<'a> {
        let now = log.last().map_or(0, |(at, _)| *at);
        let (answers, order) = (answers.iter().cycle(), order.iter().cycle());
        Play { rollout, log: log.to_vec(), now, open: Vec::new(), answers, order }
    }

    fn happens(&mut self, happening: Happening) {
        self.rollout.on(self.now, &happening);
        self.log.push((self.now, happening));
    }

    /// Until the run has ended, or waits for a person.
    fn play(&mut self) -> Standing {
        for _ in 0..20_000 {
            let actions = self.rollout.next(self.now);
            if !actions.is_empty() {
                for action in actions {
                    match action {
                        Action::Record(happening) => self.happens(happening),
                        other => self.open.push(other),
                    }
                }
                continue;
            }
            if !self.open.is_empty() {
                let at = self.order.next().unwrap_or(&0) % self.open.len();
                let action = self.open.remove(at);
                self.now += 1;
                let answered = answer(action, *self.answers.next().unwrap_or(&Answer::Good));
                for happening in answered {
                    self.happens(happening);
                }
                continue;
            }
            if let Some(works) = services_work(&self.rollout) {
                self.now += 1;
                self.happens(works);
                continue;
            }
            match self.rollout.standing(self.now) {
                Standing::Until(_) | Standing::Offline(_) => {
                    self.now = self.rollout.due_ms(self.now).expect("what waits for a time has one").max(self.now);
                }
                Standing::Working => panic!("it does nothing and does not say why: {:?}", self.log),
                standing => return standing,
            }
        }
        panic!("a run must end: {:?}", self.log.iter().rev().take(20).collect::<Vec<_>>());
    }
}

/// The services work, if that is what is waited for.
fn services_work(rollout: &Rollout) -> Option<Happening> {
    let (stage, wave) = rollout.probing().filter(|(stage, wave)| !rollout.services_work(*stage, *wave))?;
    Some(Happening::ServicesWork { stage: format!("s{stage}"), wave })
}

fn answer(action: Action, answer: Answer) -> Vec<Happening> {
    let fault = Fault::new(FaultCode::Io, "simulated");
    let begun = |host: &HostName, stage: &str| Happening::HostBegun { host: host.clone(), stage: stage.into() };
    match (action, answer) {
        (Action::Record(happening), _) => vec![happening],
        (Action::Run { host, stage }, Answer::Good) => {
            vec![begun(&host, &stage), Happening::HostDone { host, stage }]
        }
        (Action::Run { host, stage }, Answer::Bad) => {
            vec![begun(&host, &stage), Happening::HostFailed { host, stage, fault }]
        }
        (Action::Run { host, stage }, Answer::Away) => vec![Happening::HostOffline { host, stage, fault }],
        (Action::Confirm { host, stage }, Answer::Good) => vec![Happening::HostConfirmed { host, stage }],
        (Action::Confirm { host, stage }, _) => vec![Happening::HostFailed { host, stage, fault }],
        (Action::Undo { host, stage, .. }, Answer::Good | Answer::Away) => {
            vec![Happening::HostUndone { host, stage }]
        }
        (Action::Undo { host, stage, .. }, Answer::Bad) => {
            vec![Happening::HostStuck { host, stage, steps: Vec::new(), fault }]
        }
    }
}

/// Plays a whole run.
fn play(sizes: &[usize], rules: &Rules, answers: &[Answer], order: &[usize]) -> (Rollout, Vec<(i64, Happening)>) {
    let mut play = Play::new(new(sizes, rules), &[], answers, order);
    play.happens(start());
    play.play();
    (play.rollout, play.log)
}

fn fates(rollout: &Rollout) -> BTreeMap<(String, HostName), Fate> {
    rollout.cells().map(|(stage, host, cell)| ((stage.to_owned(), host.clone()), cell.fate.clone())).collect()
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    prop::collection::vec(prop_oneof![9 => Just(Answer::Good), 1 => Just(Answer::Bad)], 1..60)
}

fn with_offline() -> impl Strategy<Value = Vec<Answer>> {
    let one = prop_oneof![8 => Just(Answer::Good), 1 => Just(Answer::Bad), 2 => Just(Answer::Away)];
    prop::collection::vec(one, 1..60)
}

fn orders() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..8_usize, 1..9)
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..6_usize, 1..5)
}

fn scopes() -> impl Strategy<Value = OnStop> {
    let rollback = [Scope::Host, Scope::Wave, Scope::Stage, Scope::Run].map(OnStop::Rollback);
    prop::sample::select(rollback.into_iter().chain([OnStop::Hold, OnStop::SetAside]).collect::<Vec<_>>())
}

fn amounts() -> impl Strategy<Value = Amount> {
    prop_oneof![(1..5_usize).prop_map(Amount::Hosts), (1..=100_u8).prop_map(Amount::Percent)]
}

fn service() -> ServiceProbe {
    ServiceProbe { service: "m/files".into(), probe: Probe::Tcp("files.example:445".into()) }
}

fn rules() -> impl Strategy<Value = Rules> {
    let over = prop::sample::select(vec![Over::Wave, Over::Stage, Over::Run, Over::Member]);
    let stop = (amounts(), over).prop_map(|(failed, over)| StopRule { failed, over });
    let waves = prop::collection::vec(0..3_usize, 0..3);
    let fields = (
        prop::collection::vec(stop, 0..3),
        scopes(),
        waves,
        prop::option::of(1..4_usize),
        any::<bool>(),
        prop::option::of(Just(86_400_000_i64)),
        any::<bool>(),
    );
    fields.prop_map(|(stop, on_stop, waves, at_once, guarded, offline_ms, probed)| {
        let mut next = 0;
        let mut wave = |n: usize| {
            next += n;
            (next - n..next).map(host).collect::<Vec<_>>()
        };
        Rules {
            waves: waves.into_iter().map(&mut wave).collect(),
            at_once,
            pause_ms: 1000,
            stop,
            on_stop,
            offline_ms,
            within_ms: None,
            guard_ms: guarded.then_some(60_000),
            hold_ms: 500,
            probes: if probed { vec![service()] } else { Vec::new() },
            ..Rules::default()
        }
    })
}

/// How a run must end, given what became of the hosts.
fn expected(rollout: &Rollout) -> Outcome {
    let all: Vec<Fate> = rollout.cells().map(|(_, _, cell)| cell.fate.clone()).collect();
    if all.contains(&Fate::Stuck) {
        Outcome::Stuck
    } else if all.iter().all(|fate| *fate == Fate::Done) {
        Outcome::Done
    } else if all.contains(&Fate::Done) {
        Outcome::Partial
    } else {
        Outcome::RolledBack
    }
}

/// What holds of every log: order of stages and waves, nothing forward behind a stop, nobody asked twice.
fn lawful(log: &[(i64, Happening)], rules: &Rules) -> Result<(), TestCaseError> {
    let (mut stage, mut wave) = (None::<usize>, 0);
    let mut back = false;
    let mut closed: BTreeSet<(String, HostName)> = BTreeSet::new();
    for (_, happening) in log {
        match happening {
            Happening::StageStarted { stage: name } => {
                prop_assert!(!back);
                prop_assert_eq!(name, &format!("s{}", stage.map_or(0, |at| at + 1)));
                (stage, wave) = (Some(stage.map_or(0, |at| at + 1)), 0);
            }
            Happening::WaveStarted { wave: next, .. } => {
                prop_assert!(!back);
                prop_assert_eq!(*next, wave + 1);
                wave = *next;
            }
            Happening::HostBegun { .. } => prop_assert!(!back, "a host is begun behind a stop: {:?}", log),
            Happening::HostDone { host, stage } => {
                prop_assert!(!back);
                prop_assert!(closed.insert((stage.clone(), host.clone())), "{} done twice in {}", host, stage);
            }
            Happening::RollbackStarted { .. } | Happening::Held { .. } => back = true,
            Happening::Continued { .. } => back = false,
            _ => {}
        }
    }
    let _ = rules;
    Ok(())
}

proptest! {
    #[test]
    fn every_run_ends_in_a_named_outcome(
        sizes in sizes(), rules in rules(), answers in with_offline(), order in orders(),
    ) {
        // The driver says that a host is switched off only where that is waited for; elsewhere it has failed.
        let late = |answer: &Answer| if rules.offline_ms.is_some() || *answer != Answer::Away { *answer } else { Answer::Bad };
        let answers: Vec<Answer> = answers.iter().map(late).collect();
        let (rollout, log) = play(&sizes, &rules, &answers, &order);
        lawful(&log, &rules)?;
        match log.last() {
            Some((_, Happening::RunEnded { outcome })) => prop_assert_eq!(*outcome, expected(&rollout)),
            // Late hosts that fail are no reason to take back what is through long since.
            Some((_, Happening::Held { .. })) => {
                prop_assert!(matches!(rules.on_stop, OnStop::Hold | OnStop::SetAside) || rules.offline_ms.is_some());
            }
            other => prop_assert!(false, "no end: {:?}", other),
        }
        // Whoever was begun is new, old or stuck, or the run is held for a person.
        if rollout.outcome().is_some() {
            for (stage, host, cell) in rollout.cells().filter(|(_, _, cell)| cell.begun) {
                prop_assert!(
                    matches!(cell.fate, Fate::Done | Fate::Undone | Fate::Stuck),
                    "{} of {} ended as {:?}: {:?}", host, stage, cell.fate, log
                );
            }
        }
    }

    #[test]
    fn the_usual_rules_take_everything_back_last_stage_first(
        sizes in sizes(), answers in answers(), order in orders(),
    ) {
        let (_, log) = play(&sizes, &Rules::default(), &answers, &order);
        let failed = log.iter().any(|(_, h)| matches!(h, Happening::HostFailed { .. }));
        let stuck = log.iter().any(|(_, h)| matches!(h, Happening::HostStuck { .. }));
        let outcome = match (failed, stuck) {
            (false, _) => Outcome::Done,
            (true, false) => Outcome::RolledBack,
            (true, true) => Outcome::Stuck,
        };
        prop_assert_eq!(&log.last().map(|(_, h)| h.clone()), &Some(Happening::RunEnded { outcome }));
        let back: Vec<(&String, &HostName)> = log.iter().filter_map(|(_, h)| match h {
            Happening::HostUndone { host, stage } | Happening::HostStuck { host, stage, .. } => Some((stage, host)),
            _ => None,
        }).collect();
        prop_assert!(back.windows(2).all(|w| w[0].0 >= w[1].0), "{:?}", back);
        let distinct: BTreeSet<_> = back.iter().collect();
        prop_assert_eq!(distinct.len(), back.len());
    }

    #[test]
    fn a_controller_that_dies_anywhere_ends_like_one_that_does_not(
        sizes in prop::collection::vec(1..4_usize, 1..4), rules in rules(), answers in answers(),
    ) {
        // One after the other, and answering by who they are: so the interrupted run has asked the same hosts. (Of many
        // that work at once, those that are not begun when the stage stops are not begun by whoever resumes.)
        let rules = Rules { at_once: Some(1), ..rules };
        let whole = by_host(new(&sizes, &rules), &[], &answers);
        for cut in 1..whole.1.len() {
            let log = &whole.1[..cut];
            let mut rollout = new(&sizes, &rules);
            log.iter().for_each(|(at, h)| rollout.on(*at, h));
            rollout.wake();
            let resumed = by_host(rollout, log, &answers);
            prop_assert_eq!(fates(&resumed.0), fates(&whole.0), "cut at {} of {:?}", cut, whole.1);
            prop_assert_eq!(resumed.0.outcome(), whole.0.outcome());
        }
    }

    #[test]
    fn a_stage_stops_at_its_rule_and_not_before(
        all in 1..=200_usize, failed in amounts(), bad in prop::collection::btree_set(0..200_usize, 0..40),
    ) {
        let rules = Rules {
            waves: vec![vec![host(0)], (1..all.div_ceil(3)).map(host).collect()],
            stop: vec![StopRule { failed, over: Over::Stage }],
            on_stop: OnStop::Rollback(Scope::Host),
            ..Rules::default()
        };
        let answers: BTreeMap<HostName, Answer> = bad.iter().map(|n| (host(*n), Answer::Bad)).collect();
        let (rollout, log) = by_name(new(&[all], &rules), &[], &answers);
        let bad = bad.iter().filter(|n| **n < all).count();
        let stopped = log.iter().any(|(_, h)| matches!(h, Happening::RollbackStarted { .. }));
        prop_assert_eq!(stopped, failed.reached(bad, all), "{} of {} with {:?}", bad, all, failed);
        // No wave begins behind the stop.
        let stop = log.iter().position(|(_, h)| matches!(h, Happening::RollbackStarted { .. }));
        if let Some(stop) = stop {
            let later = log[stop..].iter().any(|(_, h)| matches!(h, Happening::WaveStarted { .. }));
            prop_assert!(!later, "a wave behind the stop");
        }
        let fates = fates(&rollout);
        prop_assert_eq!(fates.len(), all);
        prop_assert!(fates.values().all(|fate| matches!(fate, Fate::Done | Fate::Undone | Fate::Idle)));
        prop_assert_eq!(fates.values().any(|fate| *fate == Fate::Idle) && !stopped, false);
    }

    #[test]
    fn a_done_run_can_be_taken_back_later(sizes in prop::collection::vec(1..4_usize, 1..4)) {
        let (rollout, log) = play(&sizes, &Rules::default(), &[Answer::Good], &[0]);
        let mut play = Play::new(rollout, &log, &[Answer::Good], &[0]);
        play.happens(Happening::RollbackStarted { reason: "later".into(), scope: Scope::Run, over_drift: false });
        prop_assert_eq!(play.play(), Standing::Ended(Outcome::RolledBack));
        prop_assert!(fates(&play.rollout).values().all(|fate| *fate == Fate::Undone));
    }
}

/// Plays with hosts that answer the same whenever they are asked: taking the `n`th answer of the list for host `n`.
fn by_host(rollout: Rollout, log: &[(i64, Happening)], answers: &[Answer]) -> (Rollout, Vec<(i64, Happening)>) {
    let named = answers.iter().enumerate().map(|(n, answer)| (host(n), *answer)).collect();
    by_name(rollout, log, &named)
}

fn by_name(
    mut rollout: Rollout,
    log: &[(i64, Happening)],
    answers: &BTreeMap<HostName, Answer>,
) -> (Rollout, Vec<(i64, Happening)>) {
    let mut log = log.to_vec();
    let mut now = log.last().map_or(0, |(at, _)| *at);
    if log.is_empty() {
        rollout.on(now, &start());
        log.push((now, start()));
    }
    loop {
        let actions = rollout.next(now);
        let idle = actions.is_empty();
        for action in actions {
            let good = match &action {
                Action::Run { host, .. } => answers.get(host).copied().unwrap_or(Answer::Good),
                _ => Answer::Good,
            };
            for happening in answer(action, good) {
                rollout.on(now, &happening);
                log.push((now, happening));
            }
        }
        if idle {
            match rollout.standing(now) {
                Standing::Until(at) => now = at,
                Standing::Offline(_) => now = rollout.due_ms(now).unwrap_or(now),
                _ => return (rollout, log),
            }
        }
    }
}
