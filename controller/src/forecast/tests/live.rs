//! What is reckoned while a run is under way.

use weiche_agent::protocol::{Step, StepEvent, StepId, StepOutcome};

use super::scene::{self, Draw, FRIDAY_MS, MINUTE, plan};
use crate::forecast::{Live, Options, now, of};
use crate::input::target::HostName;
use crate::plan::Plan;
use crate::plan::procedure::{Action, Turn};
use crate::plan::takes::{Around, Basis, Estimate, Takes};
use crate::rollout::reckoning::Decide;
use crate::rollout::{self, Happening, Rollout};

fn started(plan: &Plan, at_ms: i64) -> Rollout {
    let mut rollout = Rollout::new(rollout::parts(plan, usize::MAX), plan.sites.clone());
    rollout.on(at_ms, &Happening::RunStarted { plan: plan.digest(), playbook: "p".into() });
    rollout
}

/// A plan whose first stage has hosts and a window that is open at once, and fits.
fn scene() -> (crate::plan::Plan, i64) {
    (0..)
        .find_map(|seed| {
            let mut plan = plan(&mut Draw(fastrand::Rng::with_seed(seed)));
            plan.connections = 0;
            let first = plan.stages.first()?;
            let opening = first.rules.windows.first()?.opening(FRIDAY_MS)?;
            let forecast = of(&plan, &Options { start_ms: opening.start_ms, ..Options::default() });
            let busy = forecast.stages.first().is_some_and(|of| of.end.usual_ms > of.start.usual_ms + 600_000);
            let plain = first.turns.is_empty() && !first.rules.guarded() && first.rules.at_once.is_none();
            let one = Rollout::new(Vec::new(), Default::default()).stage().is_none();
            (forecast.fits && busy && plain && one).then_some((plan, opening.start_ms))
        })
        .expect("one of many")
}

#[test]
fn a_run_that_has_just_begun_lies_as_planned_and_one_that_does_nothing_falls_behind() {
    let (mut plan, start_ms) = scene();
    crate::forecast::settle(&mut plan);
    let options = Options { start_ms, ..Options::default() };
    let forecast = of(&plan, &options);
    let mut live = Live::new(&plan, &options).expect("it has a window");
    let mut rollout = started(&plan, start_ms);
    let begun = Happening::StageStarted { stage: plan.stages[0].name.clone() };
    rollout.on(start_ms, &begun);
    live.on(start_ms, &begun);
    let first = live.reckon(&rollout, start_ms).expect("a window is open");
    let last = forecast.stages.iter().find(|stage| stage.stage == first.stage).expect("a stage");
    assert_eq!((first.ahead_ms, first.expected_ms), (0, last.end.usual_ms), "{first:?}");
    assert_eq!(first.latest_ms, last.end.latest_ms);
    assert_eq!(first.decide, Decide::NotNow);
    let abort = first.abort_by_ms.expect("a latest abort");
    assert!(abort > start_ms, "{first:?}");

    // The machine has asked all hosts of the wave, and none of them answers for a while.
    rollout.next(start_ms);
    let late_ms = 30 * 60_000;
    let later = live.reckon(&rollout, start_ms + late_ms).expect("a window is open");
    assert!(later.ahead_ms < 0 && later.expected_ms > first.expected_ms, "{later:?}");

    // In the end there is nothing left to decide.
    let over = live.reckon(&rollout, abort.max(later.abort_by_ms.unwrap_or(abort)) + 1);
    assert!(over.is_none_or(|over| over.decide == Decide::TooLate));
}

#[test]
fn people_are_told_in_time() {
    let reckoning = |latest_ms| crate::rollout::reckoning::Reckoning {
        stage: "s".into(),
        expected_ms: 0,
        latest_ms,
        ahead_ms: 0,
        abort_by_ms: Some(3_600_000),
        no_way_back_ms: None,
        decide: Decide::NotNow,
    };
    let at = |latest_ms, minute: i64| reckoning(latest_ms).decide(minute * 60_000);
    let late = 4_000_000;
    assert_eq!(
        [20, 31, 51, 60].map(|minute| at(late, minute)),
        [Decide::NotNow, Decide::Soon, Decide::Now, Decide::TooLate]
    );
    let done = [20, 31, 51].map(|minute| at(0, minute));
    assert_eq!(done, [Decide::NotNow, Decide::Soon, Decide::Now], "whoever soaks it may still want it back");
}

/// Two hosts whose one step takes forty minutes each, in a window; hosts in turns, or side by side.
fn forty_minutes(in_turns: bool) -> (Plan, Live, Rollout) {
    let mut plan = scene::big(2, 2, &mut Draw(fastrand::Rng::with_seed(1)));
    plan.stages.remove(0);
    (plan.connections, plan.crew.technicians) = (0, None);
    let stage = &mut plan.stages[0];
    (stage.rules.waves, stage.rules.stop, stage.rules.hold_ms) = (Vec::new(), Vec::new(), 3 * 60 * MINUTE);
    stage.around = Some(Around {
        begin: Estimate::NOTHING,
        first: Estimate::NOTHING,
        between: Estimate::NOTHING,
        confirm: Estimate::NOTHING,
        back: Estimate::NOTHING,
        verify: Estimate::NOTHING,
        services: Estimate::NOTHING,
    });
    for step in stage.hosts.values_mut().flatten() {
        let forward = Estimate::just(40 * 60_000, Basis::Declared);
        step.takes = Some(Takes { forward, back: Estimate::NOTHING });
    }
    if in_turns {
        let turn = |(host, steps): (&HostName, &Vec<crate::plan::Step>)| Turn {
            host: host.clone(),
            steps: steps.iter().map(|step| step.action.id().clone()).collect(),
            beside: false,
        };
        stage.turns = stage.hosts.iter().map(turn).collect();
    }
    let start_ms = plan.stages[0].rules.windows[0].openings(FRIDAY_MS).next().expect("it opens").start_ms;
    let mut live = Live::new(&plan, &Options { start_ms, ..Options::default() }).expect("it has a window");
    let mut rollout = started(&plan, start_ms);
    let begun = Happening::StageStarted { stage: plan.stages[0].name.clone() };
    let hosts = plan.stages[0].hosts.keys();
    let hosts = hosts.map(|host| Happening::HostBegun { host: host.clone(), stage: plan.stages[0].name.clone() });
    for what in std::iter::once(begun).chain(hosts) {
        rollout.on(start_ms, &what);
        live.on(start_ms, &what);
    }
    rollout.next(start_ms);
    (plan, live, rollout)
}

fn through(plan: &Plan, host: usize) -> Happening {
    let (host, steps) = plan.stages[0].hosts.iter().nth(host).expect("a host");
    let (step, what) = (steps[0].action.id().clone(), StepOutcome::Unchanged);
    Happening::Step { host: host.clone(), event: StepEvent { step, what, took_us: 1 } }
}

#[test]
fn who_waits_for_a_turn_has_done_nothing_yet() {
    let (plan, mut live, rollout) = forty_minutes(true);
    let begin_ms = plan.stages[0].rules.windows[0].openings(FRIDAY_MS).next().expect("it opens").start_ms;
    let at = |minutes: i64| begin_ms + minutes * MINUTE;
    let expected = |live: &Live, minutes| live.reckon(&rollout, at(minutes)).expect("in its window").expected_ms;
    assert_eq!(expected(&live, 10), at(80));
    live.on(at(40), &through(&plan, 0));
    assert_eq!(expected(&live, 41), at(80), "a minute of the second turn has passed");
}

#[test]
fn what_is_told_twice_is_done_once() {
    let (mut plan, _, rollout) = forty_minutes(false);
    let begin_ms = plan.stages[0].rules.windows[0].openings(FRIDAY_MS).next().expect("it opens").start_ms;
    let at = |minutes: i64| begin_ms + minutes * MINUTE;
    // A step more for each host.
    for steps in plan.stages[0].hosts.values_mut() {
        let mut more = steps[0].clone();
        more.action = match more.action {
            Action::Resource(step) => Action::Resource(Step { id: StepId("s1.9".into()), ..step }),
            other => other,
        };
        steps.push(more);
    }
    let mut twice = Live::new(&plan, &Options { start_ms: begin_ms, ..Options::default() }).expect("it has a window");
    for _ in 0..2 {
        (0..2).for_each(|host| twice.on(at(40), &through(&plan, host)));
    }
    let rest = twice.reckon(&rollout, at(40)).expect("in its window").expected_ms;
    assert_eq!(rest, at(80), "its second step is still to be done");
}

#[test]
fn who_is_through_early_is_not_behind_while_it_soaks() {
    let (plan, mut live, mut rollout) = forty_minutes(false);
    let begin_ms = plan.stages[0].rules.windows[0].openings(FRIDAY_MS).next().expect("it opens").start_ms;
    for host in plan.stages[0].hosts.keys() {
        let done = Happening::HostDone { host: host.clone(), stage: plan.stages[0].name.clone() };
        live.on(begin_ms + 30 * MINUTE, &done);
        rollout.on(begin_ms + 30 * MINUTE, &done);
    }
    let soaks = live.reckon(&rollout, begin_ms + 120 * MINUTE).expect("in its window");
    assert_eq!((soaks.expected_ms, soaks.ahead_ms), (begin_ms + 30 * MINUTE, 10 * MINUTE), "{soaks:?}");
}

#[test]
fn behind_what_cannot_be_taken_back_nobody_is_asked_to() {
    let (mut plan, live, rollout) = forty_minutes(false);
    let begin_ms = plan.stages[0].rules.windows[0].openings(FRIDAY_MS).next().expect("it opens").start_ms;
    assert!(live.reckon(&rollout, begin_ms).expect("in its window").abort_by_ms.is_some());
    plan.stages[0].hosts.values_mut().flatten().for_each(|step| step.outlook.irreversible = true);
    let mut live = Live::new(&plan, &Options { start_ms: begin_ms, ..Options::default() }).expect("it has a window");
    live.on(begin_ms + MINUTE, &through(&plan, 0));
    let after = live.reckon(&rollout, begin_ms + 2 * MINUTE).expect("in its window");
    assert_eq!((after.abort_by_ms, after.no_way_back_ms), (None, Some(begin_ms + MINUTE)));
    assert_eq!(after.decide, Decide::NotNow);
    // An abort stops no host that is at work: as soon as it has begun it will come to that.
    let mut live = Live::new(&plan, &Options { start_ms: begin_ms, ..Options::default() }).expect("it has a window");
    let (host, stage) = (plan.stages[0].hosts.keys().next().expect("a host").clone(), plan.stages[0].name.clone());
    live.on(begin_ms, &Happening::HostBegun { host, stage });
    let begun = live.reckon(&rollout, begin_ms + MINUTE).expect("in its window");
    assert_eq!((begun.abort_by_ms, begun.no_way_back_ms), (None, Some(begin_ms)));
}

#[test]
fn who_has_to_decide_is_told_until_when() {
    let (plan, live, mut rollout) = forty_minutes(false);
    let begin_ms = plan.stages[0].rules.windows[0].openings(FRIDAY_MS).next().expect("it opens").start_ms;
    let calm = live.reckon(&rollout, begin_ms).expect("in its window");
    let events = [
        Happening::RunStarted { plan: plan.digest(), playbook: "p".into() },
        Happening::StageStarted { stage: plan.stages[0].name.clone() },
    ];
    let told = now(&plan, events.iter().map(|what| (begin_ms, what)), begin_ms);
    assert_eq!(told, Some(calm.clone()), "the log says the same");
    rollout.on(begin_ms, &Happening::Paused { by: "frida".into() });
    assert_eq!(live.reckon(&rollout, begin_ms), Some(calm.clone()), "paused: as if it went on now");
    let (stage, reason) = (plan.stages[0].name.clone(), String::from("a service does not work"));
    rollout.on(begin_ms, &Happening::Held { stage, reason });
    assert_eq!(live.reckon(&rollout, begin_ms), Some(calm), "held");
}

#[test]
fn whose_window_is_over_is_too_late_also_while_another_is_open() {
    let (mut plan, _, _) = forty_minutes(false);
    let begin_ms = plan.stages[0].rules.windows[0].openings(FRIDAY_MS).next().expect("it opens").start_ms;
    let first = plan.stages[0].rules.windows[0].clone();
    let pattern = crate::calendar::Pattern::new("00:00".parse().unwrap(), "23:59".parse().unwrap()).unwrap();
    let wide = crate::calendar::Window { pattern, ..first.clone() };
    plan.stages[0].rules.windows.push(wide);
    let live = Live::new(&plan, &Options { start_ms: begin_ms, ..Options::default() }).expect("it has a window");
    let mut rollout = started(&plan, begin_ms);
    rollout.on(begin_ms, &Happening::StageStarted { stage: plan.stages[0].name.clone() });
    let closed_ms = first.opening(begin_ms).expect("it is open").end_ms + MINUTE;
    let late = live.reckon(&rollout, closed_ms).expect("it is under way");
    assert_eq!(late.decide, Decide::TooLate, "{late:?}");
}
