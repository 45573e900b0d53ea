//! No run of a plan that is called safe ends after its window, whatever takes how long within its bounds, whatever fails,
//! and whenever a person aborts it in time. A plan that is called unsafe has a run that does.

use std::cell::Cell;

use super::scene::{Draw, FRIDAY_MS, MINUTE, plan};
use crate::forecast::clockwork::{Clockwork, Played, Trouble};
use crate::forecast::foresee::{Options, settle};
use crate::forecast::lengths::{Lengths, Pace};
use crate::forecast::model::{Model, Step};
use crate::forecast::weekend::{Margin, Weekend};
use crate::plan::Plan;
use crate::rollout::rules::Overrun;
use crate::rollout::{Outcome, Standing};

/// Random plans.
const PLANS: u64 = 10_000;

pub(super) fn each(plans: u64, test: impl Fn(u64, &Plan, Options, &mut Draw)) {
    for seed in 0..plans {
        let mut draw = Draw(fastrand::Rng::with_seed(seed));
        let plan = plan(&mut draw);
        let technicians = draw.chance(50).then(|| draw.0.u32(1..4));
        let start_ms = FRIDAY_MS + draw.ms(4 * 24 * 60) as i64 * MINUTE;
        test(seed, &plan, Options { start_ms, technicians, ..Options::default() }, &mut draw);
    }
}

/// A plan as the forecast reckons with it.
struct Planned {
    /// Nothing begins where it does not fit.
    heeded: Model,
    naive: Model,
    bound: Lengths,
    weekend: Weekend,
    margins: Vec<Margin>,
}

impl Planned {
    fn new(plan: &Plan, options: &Options) -> Planned {
        let mut naive = Model::new(plan, options);
        naive.declare();
        let bound = Lengths::new(&naive, &mut Pace::Bound);
        let weekend = Weekend::of(&naive, &bound, options.start_ms);
        let margins: Vec<Margin> = weekend.margins(&naive, &bound).collect();
        let mut heeded = naive.clone();
        heeded.heed(&margins, &weekend);
        Planned { heeded, naive, bound, weekend, margins }
    }

    fn fits(&self) -> bool {
        self.weekend.fits(&self.naive, &self.bound)
    }
}

fn drawn(model: &Model, draw: &mut Draw) -> Lengths {
    Lengths::new(model, &mut Pace::Drawn(draw.0.fork()))
}

#[test]
fn what_is_reckoned_at_once_is_what_the_machine_does() {
    let begun = Cell::new(0);
    each(PLANS / 3, |seed, plan, options, draw| {
        let model = Planned::new(plan, &options).heeded;
        let lengths = drawn(&model, draw);
        let weekend = Weekend::of(&model, &lengths, options.start_ms);
        let played = Clockwork::play(&model, &lengths, &Trouble::default(), options.start_ms);
        let reckoned: Vec<(i64, i64)> = weekend.stages.iter().map(|stage| (stage.start_ms, stage.end_ms)).collect();
        let ends = played.starts.iter().zip(&played.ends);
        let played_stages: Vec<(i64, i64)> = ends.map_while(|(start, end)| Some(((*start)?, (*end)?))).collect();
        assert_eq!(reckoned, played_stages, "seed {seed}");
        let held = matches!(played.stands, Some(Standing::Held(_)));
        assert_eq!(held, weekend.never.is_some(), "seed {seed}: {:?}", played.stands);
        assert!(held || played.ended.is_some(), "seed {seed}: {:?}", played.stands);
        begun.set(begun.get() + reckoned.len());
    });
    assert!(begun.get() > 6_000, "only {} stages began: the plans are too small", begun.get());
}

#[test]
fn a_run_heeds_what_its_forecast_heeds() {
    let heeded = Cell::new(0);
    each(PLANS / 10, |seed, plan, options, _| {
        let planned = Planned::new(plan, &options);
        let mut plan = plan.clone();
        plan.crew.technicians = options.technicians.or(plan.crew.technicians);
        settle(&mut plan);
        let stages = planned.heeded.stages.iter().zip(&plan.stages).take(planned.weekend.stages.len());
        for (foreseen, stage) in stages.filter(|(_, stage)| !stage.rules.windows.is_empty()) {
            assert_eq!(foreseen.rules.takes_ms, stage.rules().takes_ms, "seed {seed}, {}", stage.name);
            heeded.set(heeded.get() + 1);
        }
    });
    assert!(heeded.get() > 500, "only {} stages with a window", heeded.get());
}

/// When the window closes of the stage in which a run turned back, less the reserve.
fn closes(model: &Model, played: &Played) -> Option<i64> {
    let last = played.starts.iter().rposition(Option::is_some)?;
    Some(model.stages[last].opening(played.starts[last]?)?.close_ms)
}

/// Something fails, or a person ends the run at a time that the plan allows.
fn trouble(planned: &Planned, lengths: &Lengths, draw: &mut Draw, start_ms: i64) -> Trouble {
    let model = &planned.heeded;
    let mut trouble = Trouble::default();
    let at = draw.0.usize(0..model.stages.len());
    if draw.chance(60) {
        for (host, part) in model.stages[at].parts.iter().enumerate() {
            let first = part.steps.iter().position(Step::manual).unwrap_or(part.steps.len());
            if first > 0 && draw.chance(40) {
                trouble.fails.insert((at, host), draw.0.usize(0..first));
            }
        }
        return trouble;
    }
    let calm = Clockwork::play(model, lengths, &Trouble::default(), start_ms);
    let Some(start) = calm.starts[at] else { return trouble };
    let next = calm.starts[at + 1..].iter().flatten().next();
    let Some(opening) = model.stages[at].opening(start) else { return trouble };
    // Until this time, the plan says, an abort in this stage fits.
    let of_stage = planned.margins.iter().filter(|margin| margin.stage == at);
    let latest = of_stage.map(|margin| opening.close_ms - margin.back_ms).min().unwrap_or(start);
    let latest = next.map_or(latest, |next| latest.min(*next));
    // Often at the very last moment.
    let last = draw.chance(30);
    let span = u64::try_from(latest - start).unwrap_or(0).max(1);
    let after = if last { span } else { 1 + draw.ms(span - 1) };
    trouble.abort_ms = Some(start + after as i64);
    trouble
}

#[test]
fn no_run_of_a_safe_plan_ends_after_its_window_rollback_included() {
    let (safe, back) = (Cell::new(0), Cell::new(0));
    each(PLANS, |seed, plan, options, draw| {
        let planned = Planned::new(plan, &options);
        if !planned.fits() {
            return;
        }
        safe.set(safe.get() + 1);
        let lengths = drawn(&planned.heeded, draw);
        let trouble = trouble(&planned, &lengths, draw, options.start_ms);
        let played = Clockwork::play(&planned.heeded, &lengths, &trouble, options.start_ms);
        let (end, outcome) = played.ended.unwrap_or_else(|| panic!("seed {seed}: {:?}", played.stands));
        if let (Some(close), false) = (closes(&planned.heeded, &played), outcome == Outcome::Done) {
            back.set(back.get() + 1);
            assert!(end <= close, "seed {seed}: {outcome:?} ends {} ms too late: {trouble:?}", end - close);
        }
    });
    assert!(safe.get() > 2_000 && back.get() > 500, "{} safe plans, {} rollbacks: too few", safe.get(), back.get());
}

#[test]
fn for_an_unsafe_plan_there_is_a_run_that_ends_too_late() {
    let witnessed = Cell::new(0);
    each(PLANS, |seed, plan, options, _| {
        let planned = Planned::new(plan, &options);
        let Some(margin) = planned.margins.iter().find(|margin| !margin.fits()) else { return };
        let played = &planned.weekend.stages[margin.stage];
        let end_ms = played.waves[margin.wave];
        if end_ms != margin.end_ms {
            // Only so many failures as are tolerated make it late: which ones is not looked for.
            return;
        }
        // Everything takes as long as it can, and in the end a person wants it all back.
        let trouble = Trouble { abort_ms: Some(end_ms), ..Trouble::default() };
        let mut model = planned.naive.clone();
        // The machine would stop what is still at work when the window closes.
        model.stages[margin.stage].rules.overrun = Overrun::Rollback;
        let witness = Clockwork::play(&model, &planned.bound, &trouble, options.start_ms);
        let (end, outcome) = witness.ended.unwrap_or_else(|| panic!("seed {seed}: {:?}", witness.stands));
        assert!(end > margin.close_ms, "seed {seed}: {outcome:?} at {end}, its window closes at {}", margin.close_ms);
        witnessed.set(witnessed.get() + 1);
    });
    assert!(witnessed.get() > 1_000, "only {} unsafe plans: too few", witnessed.get());
}
