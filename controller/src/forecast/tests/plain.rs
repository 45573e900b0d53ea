//! Single forecasts whose numbers can be told beforehand.

use super::scene::{self, Draw, FRIDAY_MS, MINUTE};
use crate::forecast::{Forecast, Note, Options, of};
use crate::input::target::HostName;
use crate::plan::procedure::Probe;
use crate::plan::procedure::Turn;
use crate::plan::rules::{Rules, ServiceProbe};
use crate::plan::takes::{Around, Basis, Estimate, Takes};
use crate::plan::{Plan, Step};

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

/// A window that opens on these days from and to these times.
fn window(plan: &Plan, from: &str, to: &str) -> crate::calendar::Window {
    let pattern = crate::calendar::Pattern::new(from.parse().unwrap(), to.parse().unwrap()).unwrap();
    crate::calendar::Window { pattern, ..plan.stages[0].rules.windows[0].clone() }
}

#[test]
fn a_stage_whose_window_is_over_when_all_goes_back_is_named() {
    let mut plan = hosts(&[10]);
    let mut behind = plan.stages[0].clone();
    behind.name = "behind".into();
    behind.rules.windows = vec![window(&plan, "22:00", "23:30")];
    plan.stages[0].rules.windows = vec![window(&plan, "20:00", "22:00")];
    plan.stages.push(behind);
    let told = |plan: &Plan| forecast(plan).notes;
    let note = Note::BackElsewhere { stage: "behind".into(), earlier: "s1".into() };
    assert_eq!(told(&plan), [note]);
    plan.stages[0].rules.windows = vec![window(&plan, "20:00", "23:30")];
    assert_eq!(told(&plan), []);
}

#[test]
fn an_abort_is_promised_until_the_work_begins_that_has_what_cannot_be_taken_back() {
    let mut plan = hosts(&[60]);
    let stage = &mut plan.stages[0];
    let steps = stage.hosts.values_mut().next().unwrap();
    for n in 1..3 {
        let mut more = steps[0].clone();
        let crate::plan::procedure::Action::Resource(step) = &mut more.action else { panic!("{more:?}") };
        step.id = weiche_agent::protocol::StepId(format!("s1.{n}"));
        steps.push(more);
    }
    steps[2].outlook.irreversible = true;
    let foreseen = forecast(&plan);
    let stage = &foreseen.stages[0];
    let begins = stage.start.usual_ms;
    assert_eq!(stage.latest_abort_ms, Some(begins), "nobody stops a host that is at work");
    let steps: Vec<_> = stage.hosts.values().flatten().map(|step| step.abort_by_ms).collect();
    assert_eq!(steps, [Some(begins), None, None]);
    assert_eq!(foreseen.no_return.map(|point| point.at.usual_ms), Some(begins));
}

#[test]
fn what_one_stage_may_lose_to_failures_a_later_one_may_lose_as_well() {
    let mut plan = hosts(&[30, 30, 30, 30]);
    let opens = window(&plan, "08:00", "18:00");
    let rules = &mut plan.stages[0].rules;
    rules.at_once = Some(1);
    rules.stop = serde_json::from_value(serde_json::json!([{ "failed": 3, "over": "run" }])).unwrap();
    rules.windows = vec![opens];
    let mut later = plan.stages[0].clone();
    later.name = "later".into();
    later.rules.windows = vec![window(&plan, "20:00", "23:30")];
    let back = |plan: &mut Plan, minutes: i64| {
        for step in plan.stages.iter_mut().flat_map(|stage| stage.hosts.values_mut().flatten()) {
            let back = Estimate::just((minutes * MINUTE).unsigned_abs(), Basis::Runs(3));
            step.takes = step.takes.map(|takes| Takes { back, ..takes });
        }
    };
    plan.stages.push(later);
    back(&mut plan, 10);
    let both = forecast(&plan);
    plan.stages.remove(0);
    let alone = forecast(&plan);
    assert!(alone.stages[0].failures_ms > 20 * MINUTE.unsigned_abs(), "{}", alone.stages[0].failures_ms);
    assert_eq!(both.stages[1].failures_ms, alone.stages[0].failures_ms);
}

#[test]
fn a_host_that_is_lost_and_tolerated_makes_the_next_wave_late() {
    let mut plan = hosts(&[30, 30]);
    let waves = plan.hosts().into_iter().map(|host| vec![host]).collect();
    let rules = &mut plan.stages[0].rules;
    (rules.waves, rules.guard_ms) = (waves, Some(30 * MINUTE));
    rules.stop = serde_json::from_value(serde_json::json!([{ "failed": 2, "over": "stage" }])).unwrap();
    // 30 + 30 min of looking for the first + 1 of going back, 30 + 30 for the second.
    let foreseen = forecast(&plan);
    let stage = &foreseen.stages[0];
    let latest_ms = stage.end.latest_ms - stage.start.latest_ms + i64::try_from(stage.failures_ms).unwrap();
    assert_eq!(latest_ms, 121 * MINUTE);
}

#[test]
fn a_host_that_is_lost_in_its_turn_is_looked_for() {
    let mut plan = hosts(&[10, 10]);
    let stage = &mut plan.stages[0];
    let turn = |(host, steps): (&HostName, &Vec<Step>)| {
        let steps = steps.iter().map(|step| step.action.id().clone()).collect();
        Turn { host: host.clone(), steps, beside: false }
    };
    stage.turns = stage.hosts.iter().map(turn).collect();
    assert_eq!(forecast(&plan).stages[0].failures_ms, 2 * MINUTE.unsigned_abs());
}
