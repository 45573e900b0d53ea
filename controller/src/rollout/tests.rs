//! Laws of the machine: whatever hosts answer, in whatever order, and wherever the controller dies.

use proptest::prelude::*;

use super::*;
use weiche_agent::protocol::FaultCode;

/// What a simulated host answers to one action.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Good,
    Bad,
}

fn stages(sizes: &[usize]) -> Vec<(String, BTreeSet<HostName>)> {
    let hosts = |n: usize| (0..n).map(|h| HostName(format!("m/h{h}"))).collect();
    sizes.iter().enumerate().map(|(at, n)| (format!("s{at}"), hosts(*n))).collect()
}

fn start() -> Happening {
    Happening::RunStarted { plan: Digest::of(b"plan"), playbook: "p".into() }
}

/// Plays a run: takes actions in the order that `order` says, answers them as `answers` says.
fn play(sizes: &[usize], answers: &[Answer], order: &[usize]) -> Vec<Happening> {
    let mut rollout = Rollout::new(stages(sizes));
    let mut log = vec![start()];
    let mut todo = rollout.on(&log[0]);
    let (mut answers, mut order) = (answers.iter().cycle(), order.iter().cycle());
    while !todo.is_empty() {
        let action = todo.remove(order.next().unwrap_or(&0) % todo.len());
        let happening = answer(action, *answers.next().unwrap_or(&Answer::Good));
        log.push(happening.clone());
        todo.extend(rollout.on(&happening));
        assert!(log.len() < 1000, "a run must end: {log:?}");
    }
    log
}

fn answer(action: Action, answer: Answer) -> Happening {
    let fault = Fault::new(FaultCode::Io, "simulated");
    match (action, answer) {
        (Action::Record(happening), _) => happening,
        (Action::Run { host, stage }, Answer::Good) => Happening::HostDone { host, stage },
        (Action::Run { host, stage }, Answer::Bad) => Happening::HostFailed { host, stage, fault },
        (Action::Undo { host, stage, .. }, Answer::Good) => Happening::HostUndone { host, stage },
        (Action::Undo { host, stage, .. }, Answer::Bad) => {
            Happening::HostStuck { host, stage, steps: Vec::new(), fault }
        }
    }
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    prop::collection::vec(prop_oneof![9 => Just(Answer::Good), 1 => Just(Answer::Bad)], 1..60)
}

proptest! {
    #[test]
    fn every_run_ends_in_a_named_outcome(
        sizes in prop::collection::vec(1..5_usize, 1..5), answers in answers(), order in prop::collection::vec(0..8_usize, 1..9),
    ) {
        let log = play(&sizes, &answers, &order);
        let Some(Happening::RunEnded { outcome }) = log.last() else { panic!("no end: {log:?}") };
        let failed = log.iter().any(|h| matches!(h, Happening::HostFailed { .. }));
        let stuck = log.iter().any(|h| matches!(h, Happening::HostStuck { .. }));
        let expected = match (failed, stuck) {
            (false, _) => Outcome::Done,
            (true, false) => Outcome::RolledBack,
            (true, true) => Outcome::Stuck,
        };
        prop_assert_eq!(*outcome, expected);
    }

    #[test]
    fn stages_are_in_order_and_nothing_goes_forward_after_turning_back(
        sizes in prop::collection::vec(1..5_usize, 1..5), answers in answers(), order in prop::collection::vec(0..8_usize, 1..9),
    ) {
        let log = play(&sizes, &answers, &order);
        let turned = log.iter().position(|h| matches!(h, Happening::RollbackStarted { .. })).unwrap_or(log.len());
        let mut stage = 0;
        for (at, happening) in log.iter().enumerate() {
            match happening {
                Happening::StageStarted { stage: name } => {
                    prop_assert_eq!(name, &format!("s{stage}"));
                    stage += 1;
                    prop_assert!(at < turned);
                }
                Happening::HostDone { .. } | Happening::HostFailed { .. } => prop_assert!(at < turned),
                Happening::HostUndone { .. } | Happening::HostStuck { .. } => prop_assert!(at > turned),
                _ => {}
            }
        }
        // Taking back goes through the stages from the last to the first, and visits each host of each at most once.
        let back: Vec<(&String, &HostName)> = log.iter().filter_map(|h| match h {
            Happening::HostUndone { host, stage } | Happening::HostStuck { host, stage, .. } => Some((stage, host)),
            _ => None,
        }).collect();
        prop_assert!(back.windows(2).all(|w| w[0].0 >= w[1].0), "{:?}", back);
        let distinct: BTreeSet<_> = back.iter().collect();
        prop_assert_eq!(distinct.len(), back.len());
    }

    #[test]
    fn a_controller_that_dies_anywhere_finds_the_same_work(
        sizes in prop::collection::vec(1..4_usize, 1..4), answers in answers(),
    ) {
        let log = play(&sizes, &answers, &[0]);
        for cut in 1..log.len() {
            let mut rollout = Rollout::new(stages(&sizes));
            log[..cut].iter().for_each(|h| drop(rollout.on(h)));
            // Whoever resumes goes on until the end, hosts answering well from now on.
            let mut todo = rollout.outstanding();
            let mut ended = None;
            for _ in 0..500 {
                if todo.is_empty() {
                    break;
                }
                let happening = answer(todo.remove(0), Answer::Good);
                if let Happening::RunEnded { outcome } = &happening {
                    ended = Some(*outcome);
                }
                todo.extend(rollout.on(&happening));
            }
            let failed = log[..cut].iter().any(|h| matches!(h, Happening::HostFailed { .. }));
            let stuck = log[..cut].iter().any(|h| matches!(h, Happening::HostStuck { .. }));
            let expected = match (failed, stuck) {
                (false, _) => Outcome::Done,
                (true, false) => Outcome::RolledBack,
                (true, true) => Outcome::Stuck,
            };
            prop_assert_eq!(ended, Some(expected), "cut at {} of {:?}", cut, log);
        }
    }

    #[test]
    fn a_done_run_can_be_taken_back_later(sizes in prop::collection::vec(1..4_usize, 1..4)) {
        let log = play(&sizes, &[Answer::Good], &[0]);
        let mut rollout = Rollout::new(stages(&sizes));
        log.iter().for_each(|h| drop(rollout.on(h)));
        let mut todo = rollout.on(&Happening::RollbackStarted { reason: "later".into(), over_drift: false });
        let mut undone = 0;
        while !todo.is_empty() {
            let happening = answer(todo.remove(0), Answer::Good);
            undone += usize::from(matches!(happening, Happening::HostUndone { .. }));
            todo.extend(rollout.on(&happening));
        }
        prop_assert_eq!(rollout.outcome(), Some(Outcome::RolledBack));
        prop_assert_eq!(undone, sizes.iter().sum::<usize>());
    }
}

#[test]
fn only_waiting_hosts_end_the_driving_and_a_failure_elsewhere_ends_the_waiting() {
    let mut rollout = Rollout::new(stages(&[2]));
    rollout.on(&start());
    rollout.on(&Happening::StageStarted { stage: "s0".into() });
    let (a, b) = (HostName("m/h0".into()), HostName("m/h1".into()));
    let waits =
        Happening::HostWaits { host: a, stage: "s0".into(), step: StepId("s0.1".into()), text: "plug it in".into() };
    assert!(rollout.on(&waits).is_empty());
    assert!(!rollout.only_waiting());
    let failed = Happening::HostFailed { host: b, stage: "s0".into(), fault: Fault::new(FaultCode::Io, "simulated") };
    let next = rollout.on(&failed);
    assert!(matches!(next.as_slice(), [Action::Record(Happening::RollbackStarted { .. })]), "{next:?}");
}
