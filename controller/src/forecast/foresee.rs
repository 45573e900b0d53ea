//! Makes the forecast of a plan.

use std::collections::{BTreeMap, BTreeSet};

use weiche_agent::digest::Digest;

use super::advice;
use super::clockwork::{Clockwork, Played, Times, Trouble};
use super::failures;
use super::lengths::{Lengths, Pace};
use super::model::{FAR_MS, HostPart, Model, Stage, Step, lost_ms};
use super::weekend::{Margin, Weekend};
use super::work;
use super::{Bases, Between, Chance, Forecast, NoReturn, Note, Problem, StageForecast, StepForecast, Technicians};
use crate::input::target::HostName;
use crate::plan::Plan;
use crate::plan::procedure::Action;
use crate::plan::rules::{OnStop, Scope};
use crate::plan::takes::Basis;

/// What a forecast is made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// When the run is begun, in milliseconds since the epoch.
    pub start_ms: i64,
    /// How many persons do manual steps; `None`: as many as the plan says.
    pub technicians: Option<u32>,
    /// Hosts that are left out.
    pub without: BTreeSet<HostName>,
    /// So many weekends are sampled.
    pub weekends: u32,
    /// Nothing is proposed to begin before this time; 0: not known.
    pub now_ms: i64,
}

/// Foresees the run of a plan.
pub fn of(plan: &Plan, options: &Options) -> Forecast {
    let mut model = Model::new(plan, options);
    model.declare();
    let lengths = [Pace::Least, Pace::Usual, Pace::Bound].map(|mut pace| Lengths::new(&model, &mut pace));
    // As if every stage began as soon as its window is open: only so it is seen what does not fit.
    let weekend = Weekend::of(&model, &lengths[2], options.start_ms);
    let margins: Vec<Margin> = weekend.margins(&model, &lengths[2]).collect();
    let problems = problems(&model, &weekend, &margins);
    let fits = problems.is_empty();
    let advice = if fits { Vec::new() } else { advice::find(&model, plan, options, &weekend) };
    let chance = (options.weekends > 0).then(|| chance(plan, &model, options, weekend.never.is_some()));
    if fits {
        // In earnest it does not begin where it does not fit, should it come there earlier than foreseen.
        model.heed(&margins, &weekend);
    }
    // What does not fit is told to its end all the same.
    let calm = Trouble { goes_on: !fits, ..Trouble::default() };
    let played = [0, 1, 2].map(|at| Clockwork::play(&model, &lengths[at], &calm, options.start_ms));
    let foresight =
        Foresight { plan, model: &model, played: &played, bound: &lengths[2], weekend: &weekend, margins: &margins };
    let stages: Vec<StageForecast> = (0..weekend.stages.len()).map(|at| foresight.stage(at)).collect();
    let end = stages.iter().map(|stage| stage.end).next_back();
    let start = Between { earliest_ms: options.start_ms, usual_ms: options.start_ms, latest_ms: options.start_ms };
    Forecast {
        start_ms: options.start_ms,
        end: end.unwrap_or(start),
        fits,
        problems,
        notes: notes(&model, &lengths[1], &weekend),
        no_return: foresight.no_return(&stages),
        chance,
        technicians: technicians(plan, options, played[2].persons),
        basis: bases(&model),
        stages,
        advice,
    }
}

/// Notes in the plan what each stage and the way back from it take: it will not begin where that does not fit.
pub fn settle(plan: &mut Plan) {
    let mut model = Model::new(plan, &Options::default());
    model.declare();
    model.stages.iter_mut().for_each(Stage::forget_windows);
    let lengths = Lengths::new(&model, &mut Pace::Bound);
    let weekend = Weekend::of(&model, &lengths, 0);
    plan.stages.iter_mut().for_each(|stage| (stage.needs_ms, stage.alone_ms) = (0, 0));
    for margin in weekend.margins(&model, &lengths) {
        let needs_ms = &mut plan.stages[margin.stage].needs_ms;
        *needs_ms = (*needs_ms).max(margin.needs_ms(weekend.stages[margin.stage].start_ms));
    }
    for (at, stage) in plan.stages.iter_mut().enumerate() {
        match stage.rules.windows.is_empty() {
            true => stage.needs_ms = 0,
            false if stage.rules.offline_ms.is_some() => stage.alone_ms = failures::alone_ms(&model, at, &lengths),
            false => {}
        }
    }
}

fn problems(model: &Model, weekend: &Weekend, margins: &[Margin]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for at in 0..weekend.stages.len() {
        let of = margins.iter().filter(|margin| margin.stage == at && margin.windowed());
        let late = |ms: i64| u64::try_from(ms).ok().filter(|ms| *ms > 0);
        let forward = of.clone().filter_map(|margin| late(margin.end_ms - margin.close_ms)).max();
        let back = of.filter_map(|margin| late(margin.end_ms + margin.back_ms - margin.close_ms)).max();
        let stage = model.stages[at].name.clone();
        match (forward, back) {
            (Some(by_ms), _) => problems.push(Problem::Late { stage, by_ms }),
            (None, Some(by_ms)) => problems.push(Problem::NoWayBack { stage, by_ms }),
            (None, None) => {}
        }
    }
    let never = weekend.never.map(|at| Problem::NoWindow { stage: model.stages[at].name.clone() });
    problems.into_iter().chain(never).collect()
}

fn notes(model: &Model, usual: &Lengths, weekend: &Weekend) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut windowed = false;
    for (at, (stage, lengths)) in model.stages.iter().zip(&usual.stages).enumerate() {
        let name = || stage.name.clone();
        let longest =
            (0..stage.hosts.len()).map(|host| lengths.steps[host].iter().sum::<i64>() + lengths.between[host]);
        let turns: i64 = (0..stage.hosts.len()).map(|host| lengths.steps[host].iter().sum::<i64>()).sum();
        let usual = if stage.turns.is_empty() { longest.max().unwrap_or(0) } else { turns };
        if let Some(within) = stage.rules.within_ms.filter(|within| usual > *within) {
            let ms = |ms: i64| u64::try_from(ms).unwrap_or(0);
            notes.push(Note::TakesItselfBack { stage: name(), within_ms: ms(within), usual_ms: ms(usual) });
        }
        if stage.rules.windows.is_empty() {
            let goes_back = matches!(stage.rules.on_stop, OnStop::Rollback(Scope::Run));
            if windowed && goes_back && !stage.hosts.is_empty() {
                notes.push(Note::BackOutside { stage: name() });
            }
        } else {
            windowed = true;
            if let Some(of) = weekend.stages.get(at).filter(|_| !stage.hosts.is_empty()) {
                let open = |earlier: &&Stage| {
                    let opening = earlier.opening(of.start_ms);
                    earlier.hosts.is_empty() || opening.is_some_and(|opening| opening.close_ms >= of.close_ms)
                };
                let before = model.stages[..at].iter().filter(|earlier| !earlier.rules.windows.is_empty());
                let over = before.rev().find(|earlier| !open(earlier)).map(|earlier| earlier.name.clone());
                notes.extend(over.map(|earlier| Note::BackElsewhere { stage: name(), earlier }));
            }
        }
    }
    notes
}

/// What a forecast is put together from.
struct Foresight<'a> {
    plan: &'a Plan,
    model: &'a Model,
    /// At the least, the usual, and the longest durations.
    played: &'a [Played; 3],
    bound: &'a Lengths,
    weekend: &'a Weekend,
    margins: &'a [Margin],
}

impl Foresight<'_> {
    fn between(&self, of: impl Fn(&Played) -> Option<i64>) -> Between {
        let latest_ms = of(&self.played[2]).unwrap_or_default();
        let [earliest_ms, usual_ms] = [0, 1].map(|at| of(&self.played[at]).unwrap_or(latest_ms));
        Between { earliest_ms, usual_ms, latest_ms }
    }

    fn stage(&self, at: usize) -> StageForecast {
        let (stage, played) = (&self.model.stages[at], &self.weekend.stages[at]);
        let start = self.between(|played| played.starts[at]);
        let own: Vec<&Margin> = self.margins.iter().filter(|margin| margin.stage == at).collect();
        let last = own.last();
        let hosts = stage.hosts.iter().enumerate();
        let slack = self.slack(at);
        let hosts: BTreeMap<HostName, Vec<StepForecast>> =
            hosts.map(|(number, host)| (host.clone(), self.host(at, number, slack[number], &own))).collect();
        StageForecast {
            stage: stage.name.clone(),
            opening: stage.opening(played.start_ms),
            start,
            end: self.between(|played| played.ends[at]),
            hold_ms: stage.rules.hold_ms,
            back_ms: last.map_or(0, |margin| u64::try_from(margin.back_ms).unwrap_or(0)),
            latest_abort_ms: last
                .filter(|margin| margin.windowed() && (at == 0 || self.no_way_back(at - 1, 2).is_none()))
                // Whoever aborts before what cannot be taken back usually begins.
                .map(|margin| (margin.close_ms - margin.back_ms).min(self.no_way_back(at, 1).unwrap_or(i64::MAX))),
            failures_ms: last.map_or(0, |margin| u64::try_from(margin.end_ms - margin.through_ms).unwrap_or(0)),
            delayed_by: delayed_by(stage, &hosts),
            hosts,
        }
    }

    fn host(&self, at: usize, number: usize, slack_ms: i64, margins: &[&Margin]) -> Vec<StepForecast> {
        let stage = &self.model.stages[at];
        let Some(steps) = self.plan.stages.get(at).and_then(|of| of.hosts.get(&stage.hosts[number])) else {
            return Vec::new();
        };
        let wave = stage.waves.iter().position(|wave| wave.contains(&number));
        let margin = wave.and_then(|wave| margins.get(wave));
        let no_way_back = self.no_way_back(at, 2);
        let usually = self.no_way_back(at, 1).unwrap_or(i64::MAX);
        let longest = wave.map(|wave| self.longest(at, &stage.waves[wave])).unwrap_or_default();
        let step = |(n, step): (usize, &crate::plan::Step)| {
            let of = stage.parts[number].steps[n];
            let time = |end: bool| {
                move |of: &Played| of.steps[at][number].get(n).map(|(a, b): &Times| if end { *b } else { *a })
            };
            let start = self.between(time(false));
            let abort_by = |margin: &&Margin| {
                // All who take turns are waited for.
                let longest = if stage.turns.is_empty() { longest } else { i64::MAX };
                let rest = (margin.end_ms - start.latest_ms).min(longest).max(0);
                (margin.close_ms - margin.back_ms - rest).min(usually)
            };
            StepForecast {
                step: step.action.id().clone(),
                start,
                end: self.between(time(true)),
                usual_ms: of.forward.usual_ms,
                bound_ms: of.forward.bound_ms,
                back_ms: if of.changes { of.back.bound_ms } else { 0 },
                from: of.forward.from,
                slack_ms: u64::try_from(slack_ms).unwrap_or(0),
                abort_by_ms: margin
                    .filter(|margin| margin.windowed() && no_way_back.is_none_or(|from| start.latest_ms <= from))
                    .map(abort_by),
            }
        };
        steps.iter().enumerate().map(step).collect()
    }

    /// By how much each host may be late before its wave is, whoever waits for its hand included.
    fn slack(&self, at: usize) -> Vec<i64> {
        let stage = &self.model.stages[at];
        let mut slack = vec![0; stage.hosts.len()];
        for wave in stage.waves.iter().filter(|_| stage.turns.is_empty()) {
            let end = |host: usize| self.played[2].steps[at][host].last().map(|(_, end)| *end);
            let last = wave.iter().filter_map(|host| end(*host)).max().unwrap_or_default();
            wave.iter().for_each(|host| slack[*host] = end(*host).map_or(0, |end| last - end));
            let works = wave.iter().map(|host| self.bound.stages[at].pieces[*host].work_ms);
            // Who takes a hand begins behind whoever had it: in the order of the list.
            for (number, next) in work::successors(stage.at_once, works).into_iter().enumerate().rev() {
                if let Some(next) = next {
                    slack[wave[number]] = slack[wave[number]].min(slack[wave[next]]);
                }
            }
        }
        slack
    }

    /// When the first work begins that has a step which cannot be taken back, if it is in this stage or one before; at the
    /// pace of one of those that were played. An abort stops no work that has begun: up to a manual step it is done.
    fn no_way_back(&self, at: usize, pace: usize) -> Option<i64> {
        let stages = self.model.stages.iter().zip(&self.played[pace].steps).take(at + 1);
        let begins = stages.flat_map(|(stage, played)| {
            let turns = !stage.turns.is_empty();
            // Those that take turns begin together.
            let all = played.iter().filter_map(|steps| steps.first()).map(|(begin, _)| *begin).min();
            let parts = stage.parts.iter().zip(played);
            let of = move |(part, steps): (&HostPart, &Vec<Times>)| {
                let gone = part.steps.iter().position(|step| step.irreversible)?;
                let behind = part.steps[..gone].iter().rposition(Step::manual).map_or(0, |manual| manual + 1);
                let begin = steps.get(behind).map(|(begin, _)| *begin)?;
                Some(if turns { all.unwrap_or(begin).min(begin) } else { begin })
            };
            parts.filter_map(of).collect::<Vec<i64>>()
        });
        begins.min()
    }

    /// How long a host that has begun, or goes back, goes on at most before what it has done can go back.
    fn longest(&self, at: usize, wave: &[usize]) -> i64 {
        let around = &self.model.stages[at].around;
        let rest = [around.first, around.between, around.confirm].iter().map(|of| of.bound_ms).sum::<u64>();
        let of = |host: &usize| {
            let steps = &self.played[2].steps[at][*host];
            let works = steps.last().zip(steps.first()).map_or(0, |((_, end), (start, _))| end - start);
            let bound = |step: &Step| i64::try_from(step.forward.bound_ms).unwrap_or(FAR_MS);
            let steps = self.model.stages[at].parts[*host].steps.iter();
            works + steps.map(|step| step.fails_ms(bound(step)) - bound(step)).max().unwrap_or(0).max(lost_ms())
        };
        let longest = wave.iter().map(of).max().unwrap_or(0) + i64::try_from(rest).unwrap_or(FAR_MS);
        // Or one that has failed, which is tolerated, goes back.
        let goes_back = self.model.stages[at].tolerates(wave.len(), self.model.hosts) > 0;
        let back = wave.iter().map(|host| self.bound.stages[at].back[*host]).max();
        longest.max(back.filter(|_| goes_back).unwrap_or(0))
    }

    fn no_return(&self, stages: &[StageForecast]) -> Option<NoReturn> {
        for (at, stage) in stages.iter().enumerate() {
            let model = &self.model.stages[at];
            let irreversible = |host: &HostName, n: usize| {
                let number = model.hosts.binary_search(host).ok();
                number.and_then(|number| model.parts[number].steps.get(n)).is_some_and(|step| step.irreversible)
            };
            let steps =
                stage.hosts.iter().flat_map(|(host, steps)| steps.iter().enumerate().map(move |(n, s)| (host, n, s)));
            // Until what cannot be taken back begins is no matter of the window.
            let usually = self.no_way_back(at, 1);
            let late = |step: &StepForecast| {
                step.abort_by_ms.is_some_and(|by| by < step.start.latest_ms && Some(by) != usually)
            };
            let found = steps.filter(|(host, n, step)| irreversible(host, *n) || late(step));
            let first = found.min_by_key(|(_, _, step)| step.start.latest_ms);
            if let Some((host, n, step)) = first {
                let irreversible = irreversible(host, n);
                // What cannot be taken back is certain to be done once the work that it is in has begun.
                let begins = [0, 1, 2].map(|pace| self.no_way_back(at, pace));
                let at = match begins {
                    [Some(earliest_ms), Some(usual_ms), Some(latest_ms)] if irreversible => {
                        Between { earliest_ms, usual_ms, latest_ms }
                    }
                    _ => step.start,
                };
                return Some(NoReturn {
                    stage: stage.stage.clone(),
                    host: host.clone(),
                    step: step.step.clone(),
                    at,
                    irreversible,
                });
            }
        }
        None
    }
}

/// Who the others of the stage wait for, and for how long.
fn delayed_by(stage: &Stage, hosts: &BTreeMap<HostName, Vec<StepForecast>>) -> Option<(HostName, u64)> {
    if !stage.turns.is_empty() {
        return None;
    }
    // Where hosts wait for hands it is not one that they wait for.
    let wave = stage.waves.last().filter(|wave| wave.len() > 1 && wave.len() <= stage.at_once)?;
    let end = |host: &usize| {
        let name = &stage.hosts[*host];
        Some((hosts.get(name)?.last()?.end.latest_ms, name))
    };
    let mut ends: Vec<(i64, &HostName)> = wave.iter().filter_map(end).collect();
    ends.sort_unstable();
    let ((last, name), (before, _)) = (ends.pop()?, ends.pop()?);
    u64::try_from(last - before).ok().filter(|ms| *ms > 0).map(|ms| (name.clone(), ms))
}

fn technicians(plan: &Plan, options: &Options, at_once: usize) -> Technicians {
    let steps = plan.steps().filter(|(_, host, _)| !options.without.contains(*host));
    let named = steps.filter_map(|(.., step)| match &step.action {
        Action::Manual(manual) => manual.by.clone(),
        _ => None,
    });
    Technicians {
        available: options.technicians.or(plan.crew.technicians),
        at_once: u32::try_from(at_once).unwrap_or(u32::MAX),
        named: named.collect(),
    }
}

fn bases(model: &Model) -> Bases {
    let mut bases = Bases { fewest: u32::MAX, ..Bases::default() };
    for step in model.stages.iter().flat_map(Stage::steps).filter(|step| step.changes || step.manual()) {
        match step.forward.from {
            Basis::Runs(n) => {
                bases.runs += 1;
                bases.fewest = bases.fewest.min(n);
            }
            Basis::Declared => bases.declared += 1,
            Basis::Assumed => bases.assumed += 1,
        }
    }
    if bases.runs == 0 {
        bases.fewest = 0;
    }
    bases
}

/// Plays weekends with durations drawn within the bounds. The same plan always has the same ones.
fn chance(plan: &Plan, model: &Model, options: &Options, never: bool) -> Chance {
    if never {
        return Chance { weekends: options.weekends, fit: 0 };
    }
    let digest = Digest::of(plan.nonce.as_bytes()).to_string();
    let seed = digest.bytes().take(16).fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut pace = Pace::Drawn(fastrand::Rng::with_seed(seed));
    let mut lengths = Lengths::default();
    let mut fit = 0;
    for _ in 0..options.weekends {
        lengths.draw(model, &mut pace);
        fit += u32::from(Weekend::of(model, &lengths, options.start_ms).fits(model, &lengths));
    }
    Chance { weekends: options.weekends, fit }
}
