//! What is reckoned while a run is under way.

use super::scene::{Draw, FRIDAY_MS, plan};
use crate::forecast::{Live, Options, of};
use crate::rollout::reckoning::Decide;
use crate::rollout::{Happening, Part, Rollout};

fn started(plan: &crate::plan::Plan, at_ms: i64) -> Rollout {
    let part = |stage: &crate::plan::Stage| Part {
        name: stage.name.clone(),
        hosts: stage.hosts.keys().cloned().collect(),
        rules: stage.rules(),
    };
    let mut rollout = Rollout::new(plan.stages.iter().map(part).collect(), plan.sites.clone());
    let started = Happening::RunStarted { plan: plan.digest(), playbook: "p".into() };
    rollout.on(at_ms, &started);
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
fn people_are_told_in_time_unless_the_work_is_through_before() {
    let reckoning = |latest_ms| crate::rollout::reckoning::Reckoning {
        stage: "s".into(),
        expected_ms: 0,
        latest_ms,
        ahead_ms: 0,
        abort_by_ms: Some(3_600_000),
        decide: Decide::NotNow,
    };
    let at = |latest_ms, minute: i64| reckoning(latest_ms).decide(minute * 60_000);
    let late = 4_000_000;
    assert_eq!(
        [20, 31, 51, 60].map(|minute| at(late, minute)),
        [Decide::NotNow, Decide::Soon, Decide::Now, Decide::TooLate]
    );
    assert_eq!([20, 31, 51].map(|minute| at(3_500_000, minute)), [Decide::NotNow; 3]);
}
