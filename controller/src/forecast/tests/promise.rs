//! No run of a plan that is called safe ends after its window, whatever takes how long within its bounds, whatever fails,
//! and whenever a person aborts it in time. A plan that is called unsafe has a run that does.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::scene::{Draw, FRIDAY_MS, MINUTE, plan};
use crate::forecast::Between;
use crate::forecast::clockwork::{Clockwork, Played, Trouble};
use crate::forecast::foresee::{Options, of, settle};
use crate::forecast::lengths::{Lengths, Pace};
use crate::forecast::model::{Model, Step};
use crate::forecast::weekend::{Margin, Weekend};
use crate::plan::Plan;
use crate::rollout::rules::{Over, Overrun};
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

#[test]
fn a_forecast_tells_times_that_are_to_come_also_of_what_does_not_fit() {
    let unfit = Cell::new(0);
    each(PLANS / 20, |seed, plan, options, _| {
        let forecast = of(plan, &options);
        unfit.set(unfit.get() + usize::from(!forecast.fits));
        for stage in &forecast.stages {
            let steps = stage.hosts.values().flatten();
            let times = steps.flat_map(|step| [step.start, step.end]).chain([stage.start, stage.end, forecast.end]);
            for Between { earliest_ms, usual_ms, latest_ms } in times {
                let to_come = [earliest_ms, usual_ms, latest_ms].into_iter().all(|at| at >= options.start_ms);
                assert!(to_come, "seed {seed}, stage {}: {earliest_ms}, {usual_ms}, {latest_ms}", stage.stage);
            }
        }
    });
    assert!(unfit.get() > 100, "only {} do not fit", unfit.get());
}

/// When the window closes of the stage in which a run turned back, less the reserve.
fn closes(model: &Model, played: &Played) -> Option<i64> {
    // A stage without hosts has nothing to be late with.
    let begun = played.starts.iter().zip(&model.stages);
    let last =
        begun.collect::<Vec<_>>().iter().rposition(|(start, stage)| start.is_some() && !stage.hosts.is_empty())?;
    Some(model.stages[last].opening(played.starts[last]?)?.close_ms)
}

/// Something fails, or a person ends the run at a time that the plan allows.
fn trouble(planned: &Planned, lengths: &Lengths, draw: &mut Draw, start_ms: i64) -> Trouble {
    let model = &planned.heeded;
    let mut trouble = Trouble::default();
    let at = draw.0.usize(0..model.stages.len());
    let of = &model.stages[at];
    if draw.chance(10) && of.rules.guarded() && !of.hosts.is_empty() {
        trouble.lost = Some((at, draw.0.usize(0..of.hosts.len())));
        return trouble;
    }
    if draw.chance(20) && !of.rules.probes.is_empty() && !of.waves.is_empty() {
        let wave = draw.0.usize(0..of.waves.len());
        let most = of.services_fail_ms(lengths.stages[at].services, wave + 1 == of.waves.len());
        let most = most.max(of.rules.pause_ms);
        trouble.service = Some((at, wave, draw.ms(most as u64) as i64));
        return trouble;
    }
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

/// What may go wrong in the last wave of a stage, and make it turn back as late as it can.
fn last_troubles(planned: &Planned, margin: &Margin) -> Vec<Trouble> {
    let (at, stage) = (margin.stage, &planned.naive.stages[margin.stage]);
    // Whatever goes back by itself: a person wants it all back meanwhile.
    let abort = |ms: i64| Trouble { abort_ms: Some(ms), ..Trouble::default() };
    let mut found = vec![abort(margin.through_ms)];
    for host in stage.waves[margin.wave].iter().copied() {
        let steps = stage.parts[host].steps.iter().enumerate();
        let looks = steps.filter(|(_, step)| step.limit_ms.is_some()).map(|(step, _)| step);
        // Or it is lost as its last step ends.
        let first = stage.parts[host].steps.iter().position(Step::manual).unwrap_or(stage.parts[host].steps.len());
        let looks = looks.chain(first.checked_sub(1)).map(|step| [((at, host), step)].into());
        found.extend(looks.map(|fails| Trouble { fails, ..abort(margin.through_ms) }));
        if stage.rules.guarded() {
            found.push(Trouble { lost: Some((at, host)), ..abort(margin.through_ms) });
        }
    }
    let after_ms = stage.services_fail_ms(planned.bound.stages[at].services, true);
    if after_ms > 0 {
        found.push(abort(margin.through_ms + after_ms - 1));
    }
    found
}

/// As many hosts fail in these stages as are tolerated, as late as they can: those that then take longest.
fn tolerated(planned: &Planned, stages: RangeInclusive<usize>) -> Trouble {
    let mut trouble = Trouble::default();
    let mut gone = BTreeSet::new();
    let (from, to) = stages.into_inner();
    for (at, stage) in planned.naive.stages.iter().enumerate().take(to + 1).skip(from) {
        let lengths = &planned.bound.stages[at];
        let mut left = stage
            .tolerates_in_all(Over::Stage, stage.hosts.len())
            .min(stage.tolerates_in_all(Over::Run, planned.naive.hosts).saturating_sub(gone.len()));
        for wave in &stage.waves {
            let latest = |host: &usize| {
                let steps = stage.parts[*host].steps.iter().zip(&lengths.steps[*host]).enumerate();
                let (mut before, mut found) = (0, None);
                for (n, (step, ms)) in steps.take_while(|(_, (step, _))| !step.manual()) {
                    found = found.max(Some((before + step.fails_ms(*ms), n)));
                    before += ms;
                }
                found.map(|(ms, step)| (lengths.begin[*host] + ms + lengths.back[*host], *host, step))
            };
            let new = wave.iter().filter(|host| !gone.contains(&stage.hosts[**host]));
            let mut hosts: Vec<(i64, usize, usize)> = new.filter_map(latest).collect();
            hosts.sort_unstable_by_key(|(ms, ..)| Reverse(*ms));
            for (_, host, step) in hosts.into_iter().take(stage.tolerates(wave.len(), planned.naive.hosts).min(left)) {
                left -= 1;
                gone.insert(stage.hosts[host].clone());
                trouble.fails.insert((at, host), step);
            }
        }
    }
    trouble
}

/// All of that, also if before it as many hosts fail as are tolerated. The first of them is no failure but a person.
fn attacks(planned: &Planned, margin: &Margin, play: impl Fn(&Trouble) -> Played) -> Vec<Trouble> {
    let mut troubles = last_troubles(planned, margin);
    // Or a host is lost when it is to be confirmed, which is tolerated, and others go on.
    for (at, stage) in planned.naive.stages.iter().enumerate().take(margin.stage + 1) {
        let tolerates = |wave: &&Vec<usize>| stage.tolerates(wave.len(), planned.naive.hosts) > 0;
        for wave in stage.waves.iter().filter(|_| stage.rules.guarded()).filter(tolerates) {
            let longest = wave.iter().max_by_key(|host| planned.bound.stages[at].back[**host]);
            let base = Trouble { lost: longest.map(|host| (at, *host)), ..Trouble::default() };
            let through_ms = play(&base).ends[margin.stage].unwrap_or(margin.through_ms);
            troubles.push(Trouble { abort_ms: Some(through_ms), ..base });
        }
    }
    // All that is tolerated, or what is left of it for the last stage.
    for from in BTreeSet::from([0, margin.stage]) {
        let base = tolerated(planned, from..=margin.stage);
        if base.fails.is_empty() {
            continue;
        }
        let through_ms = play(&base).ends[margin.stage].unwrap_or(margin.through_ms);
        troubles.push(Trouble { abort_ms: Some(through_ms), ..base.clone() });
        for last in last_troubles(planned, margin).into_iter().skip(1) {
            let fails = last.fails.into_iter().chain(base.fails.clone()).collect();
            let abort_ms = last.abort_ms.map(|ms| ms - margin.through_ms + through_ms);
            troubles.push(Trouble { fails, abort_ms, ..last });
        }
    }
    troubles
}

#[test]
fn the_worst_that_can_happen_to_a_safe_plan_ends_in_time() {
    let played = Cell::new(0);
    each(PLANS, |seed, plan, options, _| {
        let planned = Planned::new(plan, &options);
        let tightest = planned.margins.iter().filter(|margin| margin.windowed());
        let tightest = tightest.min_by_key(|margin| margin.close_ms - margin.end_ms - margin.back_ms);
        let Some(margin) = tightest.filter(|_| planned.fits()) else { return };
        let Some(margin) = planned.margins.iter().rfind(|of| of.stage == margin.stage) else { return };
        let play = |trouble: &Trouble| Clockwork::play(&planned.heeded, &planned.bound, trouble, options.start_ms);
        for trouble in attacks(&planned, margin, play) {
            let of = play(&trouble);
            // What failed before may have kept the stage from beginning, or let it begin in another opening.
            let Some(close_ms) = closes(&planned.heeded, &of) else { continue };
            let Some((end, outcome)) = of.ended else { continue };
            // Between two windows nobody aborts in time.
            if trouble.abort_ms.is_some_and(|at| at > close_ms) {
                continue;
            }
            assert!(
                outcome == Outcome::Done || end <= close_ms,
                "seed {seed}: {} ms late: {trouble:?}",
                end - close_ms
            );
            played.set(played.get() + 1);
        }
    });
    assert!(played.get() > 5_000, "only {} played", played.get());
}

#[test]
fn for_an_unsafe_plan_there_is_a_run_that_ends_too_late() {
    let (witnessed, by_failures, cautious) = (Cell::new(0), Cell::new(0), Cell::new(0));
    each(PLANS, |seed, plan, options, _| {
        let planned = Planned::new(plan, &options);
        let Some(first) = planned.margins.iter().find(|margin| !margin.fits()) else { return };
        // The last wave of the stage ends later, and more has to go back.
        let Some(margin) = planned.margins.iter().rfind(|margin| margin.stage == first.stage) else { return };
        // Everything takes as long as it can, and then something fails, or a person wants it all back.
        let mut model = planned.naive.clone();
        // The machine would stop what is still at work when the window closes.
        model.stages.iter_mut().for_each(|stage| stage.rules.overrun = Overrun::Rollback);
        let play = |trouble: &Trouble| Clockwork::play(&model, &planned.bound, trouble, options.start_ms);
        let late = |trouble: &Trouble| {
            let played = play(trouble);
            let (end, outcome) = played.ended.unwrap_or_else(|| panic!("seed {seed}: {:?}", played.stands));
            outcome != Outcome::Done && end > margin.close_ms
        };
        let troubles = attacks(&planned, margin, play);
        let found = troubles.iter().position(late);
        let surely = margin.through_ms + margin.back_ms > margin.close_ms;
        assert!(!surely || found == Some(0), "seed {seed}: {margin:?}, {found:?}");
        match found {
            Some(0) => witnessed.set(witnessed.get() + 1),
            Some(_) => by_failures.set(by_failures.get() + 1),
            // Several failures, each at its worst, but not all of them can be: it is called unsafe out of caution.
            None => cautious.set(cautious.get() + 1),
        }
    });
    let (witnessed, by_failures, cautious) = (witnessed.get(), by_failures.get(), cautious.get());
    assert!(witnessed > 1_000 && by_failures > 50, "{witnessed}, {by_failures}: too few");
    assert!(
        cautious * 10 < witnessed + by_failures,
        "{cautious} without a witness, {witnessed} + {by_failures} with one"
    );
}
