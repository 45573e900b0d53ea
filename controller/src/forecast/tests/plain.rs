//! Single forecasts whose numbers can be told beforehand.

use super::scene::{self, Draw, FRIDAY_MS, MINUTE};
use crate::forecast::{Forecast, Note, Options, of};
use crate::plan::Plan;
use crate::plan::procedure::Probe;
use crate::plan::rules::{Rules, ServiceProbe};
use crate::plan::takes::{Around, Basis, Estimate, Takes};

/// A stage in a window, with a host for each of these numbers of minutes.
fn hosts(minutes: &[i64]) -> Plan {
    let mut plan = scene::big(minutes.len(), 2, &mut Draw(fastrand::Rng::with_seed(1)));
    plan.stages.remove(0);
    (plan.connections, plan.crew.technicians) = (0, None);
    let nothing = Estimate::NOTHING;
    let (begin, first, between, confirm) = (nothing, nothing, nothing, nothing);
    let (back, verify, services) = (nothing, nothing, nothing);
    let stage = &mut plan.stages[0];
    stage.around = Some(Around { begin, first, between, confirm, back, verify, services });
    stage.rules = Rules { windows: std::mem::take(&mut stage.rules.windows), ..Rules::default() };
    for (step, minutes) in stage.hosts.values_mut().flatten().zip(minutes) {
        let forward = Estimate::just((minutes * MINUTE).unsigned_abs(), Basis::Runs(3));
        step.takes = Some(Takes { forward, back: Estimate::just(MINUTE.unsigned_abs(), Basis::Runs(3)) });
        step.outlook.changes = true;
    }
    plan
}

fn forecast(plan: &Plan) -> Forecast {
    of(plan, &Options { start_ms: FRIDAY_MS, ..Options::default() })
}

fn slack(plan: &Plan) -> Vec<i64> {
    let steps = forecast(plan).stages[0].hosts.values().flatten().map(|step| step.slack_ms).collect::<Vec<_>>();
    steps.into_iter().map(|ms| i64::try_from(ms).unwrap() / MINUTE).collect()
}

#[test]
fn who_waits_for_a_hand_makes_whoever_has_it_critical() {
    let mut plan = hosts(&[10, 4, 5]);
    assert_eq!(slack(&plan), [0, 6, 5], "side by side");
    assert_eq!(forecast(&plan).stages[0].delayed_by.as_ref().map(|(host, _)| host.name()), Some("pc-000"));
    plan.stages[0].rules.at_once = Some(2);
    assert_eq!(slack(&plan), [0, 1, 1], "the third takes the hand of the second");
    plan.stages[0].rules.at_once = Some(1);
    assert_eq!(slack(&plan), [0, 0, 0]);
    assert_eq!(forecast(&plan).stages[0].delayed_by, None, "all wait for all");
}

#[test]
fn a_service_may_fail_as_long_as_it_is_looked_at() {
    let mut plan = hosts(&[10]);
    let stage = &mut plan.stages[0];
    stage.rules.hold_ms = 30 * 24 * 60 * MINUTE;
    assert!(forecast(&plan).fits, "nobody looks while it soaks: people decide");
    let probe = Probe::Tcp("fs.example:445".into());
    plan.stages[0].rules.probes = vec![ServiceProbe { service: "m/files".into(), probe }];
    let long = forecast(&plan);
    assert!(!long.fits && long.stages[0].failures_ms > 29 * 24 * 3_600_000, "{:?}", long.problems);
    plan.stages[0].rules.hold_ms = 60 * MINUTE;
    let short = forecast(&plan);
    assert!(short.fits);
    let stage = &short.stages[0];
    assert!(stage.failures_ms >= 50 * MINUTE.unsigned_abs(), "{}", stage.failures_ms);
    let back_ms = i64::try_from(stage.failures_ms + stage.back_ms).unwrap();
    let in_calendar = crate::forecast::agenda::entries(&plan, &short)[0].back_by_ms;
    assert_eq!(in_calendar, stage.end.latest_ms + back_ms, "the calendar says so, too");
}

#[test]
fn what_takes_itself_back_and_what_goes_back_outside_is_told() {
    let mut plan = hosts(&[10]);
    plan.stages[0].rules.within_ms = Some(5 * MINUTE);
    let mut behind = plan.stages[0].clone();
    behind.name = "behind".into();
    behind.rules = Rules::default();
    plan.stages.push(behind);
    let takes_back = Note::TakesItselfBack { stage: "s1".into(), within_ms: 300_000, usual_ms: 600_000 };
    assert_eq!(forecast(&plan).notes, [takes_back, Note::BackOutside { stage: "behind".into() }]);
}

#[test]
fn what_an_author_says_replaces_assumptions_and_nothing_else() {
    let with = |takes: i64, second: Basis| {
        let mut plan = hosts(&[60, 90]);
        plan.stages[0].rules.at_once = Some(1);
        plan.stages[0].rules.takes_ms = takes * MINUTE;
        if let Some(step) = plan.stages[0].hosts.values_mut().flatten().nth(1) {
            step.takes = step.takes.map(|takes| Takes { forward: Estimate { from: second, ..takes.forward }, ..takes });
        }
        let stage = forecast(&plan).stages.remove(0);
        let bounds =
            stage.hosts.values().flatten().map(|step| (step.bound_ms / 60_000, step.from, step.back_ms / 60_000));
        bounds.collect::<Vec<_>>()
    };
    let known = (60, Basis::Runs(3), 1);
    assert_eq!(with(80, Basis::Assumed), [known, (20, Basis::Declared, 1)], "the rest of what is declared");
    assert_eq!(with(80, Basis::Runs(3)), [known, (90, Basis::Runs(3), 1)], "all is known");
    assert_eq!(with(30, Basis::Assumed), [known, (90, Basis::Assumed, 1)], "the author was wrong");
    assert_eq!(with(0, Basis::Assumed), [known, (90, Basis::Assumed, 1)], "nothing is said");
}

#[test]
fn parts_that_wait_together_take_what_each_of_them_takes() {
    let mut plan = hosts(&[40]);
    let step = plan.stages[0].hosts.values_mut().flatten().next().unwrap();
    step.takes = step.takes.map(|takes| Takes { forward: Estimate { from: Basis::Assumed, ..takes.forward }, ..takes });
    // An opening a day: three times half an hour has room in it, and the way back.
    let pattern = crate::calendar::Pattern::new("20:00".parse().unwrap(), "21:40".parse().unwrap()).unwrap();
    let of_part = |room: i64| {
        let mut stage = plan.stages[0].clone();
        (stage.rules.windows[0].pattern, stage.rules.windows[0].reserve_ms) = (pattern, 0);
        (stage.name, stage.rules.takes_ms, stage.rules.room_ms) = (format!("s{room}"), 30 * MINUTE, room * MINUTE);
        stage
    };
    plan.stages = [90, 60, 0].map(of_part).into();
    let forecast = forecast(&plan);
    let from_ms = forecast.stages[0].start.earliest_ms;
    let ends = forecast.stages.iter().map(|stage| (stage.end.latest_ms - from_ms) / MINUTE);
    assert_eq!((ends.collect::<Vec<_>>(), forecast.fits), (vec![30, 60, 90], true), "{:?}", forecast.problems);
    // Where only two have room none begins.
    plan.stages[0].rules.room_ms = 101 * MINUTE;
    assert!(!self::forecast(&plan).fits);
}

#[test]
fn windows_that_never_open_together_are_no_window() {
    let mut plan = hosts(&[10]);
    let other = crate::calendar::Pattern::new("09:00".parse().unwrap(), "11:00".parse().unwrap()).unwrap();
    let rules = &mut plan.stages[0].rules;
    rules.windows[0].pattern =
        crate::calendar::Pattern::new("20:00".parse().unwrap(), "22:00".parse().unwrap()).unwrap();
    let window = crate::calendar::Window { pattern: other, ..rules.windows[0].clone() };
    rules.windows.push(window);
    let forecast = of(&plan, &Options { start_ms: FRIDAY_MS, weekends: 10, ..Options::default() });
    assert!(
        matches!(forecast.problems.as_slice(), [crate::forecast::Problem::NoWindow { .. }]),
        "{:?}",
        forecast.problems
    );
}
