//! The laws: every kind x every example x several hosts, and procedures of several steps, with the power failing
//! before, within and after every effect. Undo restores the host to the byte; what was done is not done again.

#[path = "laws/bench.rs"]
mod bench;
#[path = "laws/scenario.rs"]
mod scenario;

use bench::{Bench, RUN, bench, statuses, without_times};
use weiche_agent::host::fake::Moment;
use weiche_agent::protocol::{Status, StepOutcome};
use weiche_agent::resource::{Circumstances, Cx, kind};

const MOMENTS: [Moment; 5] = [Moment::Before, Moment::Within, Moment::After, Moment::Unsynced, Moment::UnsyncedState];

/// Runs `law` on every case and tells all cases that break it.
fn for_all(law: impl Fn(&Bench) -> Result<(), String>) {
    let cases = bench();
    let count = cases.len();
    let broken: Vec<String> =
        cases.iter().filter_map(|case| law(case).err().map(|why| format!("{}: {why}", case.name))).collect();
    assert!(broken.is_empty(), "{} of {count} cases break the law:\n{}", broken.len(), broken.join("\n\n"));
}

/// Runs `at` for every effect of what it does, and every moment; it says how many effects there were.
fn for_every_crash(mut at: impl FnMut(u64, Moment) -> Result<bool, String>) -> Result<(), String> {
    for n in 1..10_000 {
        for moment in MOMENTS {
            let crashed = at(n, moment).map_err(|why| format!("crash {moment:?} effect {n}: {why}"))?;
            if !crashed {
                return Ok(());
            }
        }
    }
    Err("it never ends".into())
}

#[test]
fn undo_after_a_crash_anywhere_restores_the_host() {
    for_all(|case| {
        for_every_crash(|n, moment| {
            let mut host = case.host.clone();
            host.crash_at(n, moment);
            let _ = case.apply(RUN, &mut host);
            let crashed = host.crashed();
            host.reboot();
            case.undo(&mut host)?;
            case.is_as_before(&host)?;
            match statuses(&mut host).iter().find(|s| **s != Status::Undone) {
                Some(status) => Err(format!("a step is left {status:?}")),
                None => Ok(crashed),
            }
        })
    });
}

#[test]
fn undo_after_apply_restores_the_host() {
    for_all(|case| {
        let mut host = case.host.clone();
        let ok = case.apply(RUN, &mut host).map_err(|e| e.to_string())?.ok;
        if !ok && !case.half_way {
            case.is_as_before(&host).map_err(|why| format!("a step that failed has changed the host: {why}"))?;
        }
        if ok == case.half_way {
            return Err(format!("whether it succeeds should be {}", !case.half_way));
        }
        case.undo(&mut host)?;
        case.is_as_before(&host)
    });
}

#[test]
fn a_second_run_changes_nothing() {
    for_all(|case| {
        let mut host = case.host.clone();
        if !case.apply(RUN, &mut host).map_err(|e| e.to_string())?.ok {
            return Ok(());
        }
        case.send("second", &mut host);
        let effects = host.effects();
        let again = case.apply("second", &mut host).map_err(|e| e.to_string())?;
        match again.events.iter().find(|e| e.what != StepOutcome::Unchanged) {
            Some(event) => Err(format!("{event:?}")),
            None if host.effects() != effects => Err(format!("{} effects", host.effects() - effects)),
            None => Ok(()),
        }
    });
}

#[test]
fn going_on_after_a_crash_comes_to_the_same() {
    for_all(|case| {
        let mut straight = case.host.clone();
        let ok = case.apply(RUN, &mut straight).map_err(|e| e.to_string())?.ok;
        for_every_crash(|n, moment| {
            let mut host = case.host.clone();
            host.crash_at(n, moment);
            let _ = case.apply(RUN, &mut host);
            let crashed = host.crashed();
            host.reboot();
            let resumed = case.apply(RUN, &mut host).map_err(|e| e.to_string())?;
            if resumed.ok != ok {
                return Err(format!("uninterrupted it says {ok}, resumed {:?}", resumed.events));
            }
            bench::same(&without_times(&straight.snapshot()), &without_times(&host.snapshot()))?;
            case.undo(&mut host)?;
            case.is_as_before(&host)?;
            Ok(crashed)
        })
    });
}

#[test]
fn undo_that_crashes_anywhere_can_be_done_again() {
    for_all(|case| {
        let mut applied = case.host.clone();
        let _ = case.apply(RUN, &mut applied).map_err(|e| e.to_string())?;
        for_every_crash(|n, moment| {
            let mut host = applied.clone();
            host.crash_at(n, moment);
            let _ = case.undo(&mut host);
            let crashed = host.crashed();
            host.reboot();
            case.undo(&mut host)?;
            case.is_as_before(&host)?;
            Ok(crashed)
        })
    });
}

#[test]
fn wanting_twice_is_wanting_once() {
    for_all(|case| {
        let mut host = case.host.clone();
        for step in case.steps(RUN) {
            let kind = kind(&step.kind).unwrap();
            let timeout = std::time::Duration::from_secs(1);
            let mut cx = Cx::looking(&mut host, timeout);
            let Ok(state) = kind.get(&step.spec, &mut cx) else { continue };
            for watched_changed in [false, true] {
                let given = Circumstances { watched_changed };
                let Ok(once) = kind.want(&step.spec, &state, given) else { continue };
                let twice = kind.want(&step.spec, &once, given).map_err(|e| e.to_string())?;
                if once != twice {
                    return Err(format!("{} wants {once}, then {twice}", step.kind));
                }
            }
        }
        Ok(())
    });
}

#[test]
fn every_example_has_no_problems() {
    for (kind, example) in weiche_agent::resource::examples() {
        assert_eq!(kind.problems(&example), Vec::<String>::new(), "{} {example}", kind.name());
    }
}
