//! A weekend reckoned at once, without the machine: what it does when nothing goes wrong follows from the plan. A test
//! holds both against one another; ten thousand weekends are reckoned this way.

use super::failures::{self, Allowed};
use super::lengths::{Lengths, Pace, StageLengths};
use super::model::{HOPS, Model, Stage};
use super::work;
use crate::plan::rules::May;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Weekend {
    /// As far as they could begin.
    pub(super) stages: Vec<Played>,
    /// The window of this stage never opens for long enough.
    pub(super) never: Option<usize>,
}

/// A stage of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Played {
    pub(super) start_ms: i64,
    /// All before it was through; then it waits for its window.
    pub(super) ready_ms: i64,
    /// Its last host is through, and confirmed.
    pub(super) end_ms: i64,
    /// Its window closes, less the reserve; `i64::MAX`: it has none.
    pub(super) close_ms: i64,
    pub(super) waves: Vec<Times>,
}

/// A wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) from_ms: i64,
    /// Its last step is done.
    pub(super) worked_ms: i64,
    /// It is confirmed, if it has to be.
    pub(super) through_ms: i64,
}

impl Weekend {
    /// Reckons it, begun at this time.
    pub(super) fn of(model: &Model, lengths: &Lengths, start_ms: i64) -> Weekend {
        let mut weekend = Weekend::default();
        let mut now = start_ms;
        for (at, (stage, lengths)) in model.stages.iter().zip(&lengths.stages).enumerate() {
            let ready_ms = now;
            let mut hops = 0;
            let close_ms = loop {
                hops += 1;
                match stage.may_begin(now) {
                    May::Now { close_ms } => break close_ms,
                    May::At(later) if hops <= HOPS => now = later.max(now + 1),
                    May::At(_) | May::Never => {
                        weekend.never = Some(at);
                        return weekend;
                    }
                }
            };
            let (played, next) = stage_of(model, stage, lengths, (now, close_ms));
            weekend.stages.push(Played { ready_ms, ..played });
            now = next;
        }
        weekend
    }

    /// What there is to say of each wave of each stage.
    pub(super) fn margins<'a>(&'a self, model: &'a Model, lengths: &'a Lengths) -> impl Iterator<Item = Margin> + 'a {
        let (mut behind, mut late_ms) = (0, 0);
        let mut allowed = Allowed::of_run(model, lengths);
        let of = move |(at, played): (usize, &'a Played)| {
            let (stage, lengths) = (&model.stages[at], &lengths.stages[at]);
            // What was late before may have had time to become late in: then it is as if nothing had failed yet.
            let made_up_for = late_ms.min(played.start_ms - played.ready_ms);
            late_ms -= made_up_for;
            allowed.give_back(made_up_for);
            let (late_before, mut alone) = (late_ms, allowed.clone());
            alone.give_back(late_before);
            let mut of_stage = Allowed::of_stage(model, at, lengths);
            let mut alone_ms = 0;
            let mut changed = vec![false; stage.hosts.len()];
            let (mut margins, mut own) = (Vec::new(), 0);
            for (number, (wave, times)) in stage.waves.iter().zip(&played.waves).enumerate() {
                wave.iter().for_each(|host| changed[*host] = true);
                own = back_ms(model, at, lengths, &changed);
                let extra = failures::tolerated_ms(model, at, lengths, wave);
                let extra = of_stage.take(extra);
                late_ms += allowed.take(extra);
                alone_ms += alone.take(extra);
                let last = number + 1 == stage.waves.len();
                let turns_back_ms = failures::turns_back_ms(model, at, lengths, (wave, times, last));
                margins.push(Margin {
                    stage: at,
                    wave: number,
                    through_ms: times.through_ms,
                    end_ms: late_ms + turns_back_ms,
                    alone_end_ms: alone_ms + turns_back_ms,
                    close_ms: played.close_ms,
                    back_ms: behind + own,
                });
            }
            behind += own;
            margins
        };
        self.stages.iter().enumerate().flat_map(of)
    }

    /// Whether every stage and its way back fit.
    pub(super) fn fits(&self, model: &Model, lengths: &Lengths) -> bool {
        self.never.is_none() && self.margins(model, lengths).all(|margin| margin.fits())
    }
}

/// A wave against its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Margin {
    pub(super) stage: usize,
    pub(super) wave: usize,
    /// When it is through if nothing fails.
    pub(super) through_ms: i64,
    /// When it is through if as much fails as is tolerated, and the way back begins because of something that fails last.
    pub(super) end_ms: i64,
    /// The same if nothing has failed before its stage.
    pub(super) alone_end_ms: i64,
    /// When its window closes, less the reserve; `i64::MAX`: it has none.
    pub(super) close_ms: i64,
    /// What taking back everything up to here takes.
    pub(super) back_ms: i64,
}

impl Margin {
    /// Whether it has a window.
    pub(super) fn windowed(&self) -> bool {
        self.close_ms != i64::MAX
    }

    /// Whether everything is back in the window when it is aborted as late as it can be.
    pub(super) fn fits(&self) -> bool {
        !self.windowed() || self.end_ms + self.back_ms <= self.close_ms
    }

    /// How long the stage and the way back take up to here, if it begins at this time.
    pub(super) fn needs_ms(&self, start_ms: i64) -> i64 {
        self.alone_end_ms + self.back_ms - start_ms
    }
}

/// What taking a stage back takes on the hosts that were changed.
pub(super) fn back_ms(model: &Model, at: usize, lengths: &StageLengths, changed: &[bool]) -> i64 {
    let pieces: Vec<i64> =
        lengths.back.iter().zip(changed).filter(|(_, changed)| **changed).map(|(ms, _)| *ms).collect();
    match model.stages[at].turns.is_empty() {
        true => work::last_end(model.connections, 0, pieces.into_iter()),
        // One after the other.
        false => pieces.into_iter().sum(),
    }
}

/// What a stage takes by its bounds.
pub(super) fn natural_ms(model: &Model, at: usize) -> Option<i64> {
    let lengths = Lengths::new(model, &mut Pace::Bound);
    let (played, _) = stage_of(model, model.stages.get(at)?, &lengths.stages[at], (0, i64::MAX));
    Some(played.end_ms)
}

/// Plays a stage that begins at this time; returns when the next one may begin.
fn stage_of(model: &Model, stage: &Stage, lengths: &StageLengths, (start_ms, close_ms): (i64, i64)) -> (Played, i64) {
    let mut played = Played {
        start_ms,
        ready_ms: start_ms,
        end_ms: start_ms,
        close_ms,
        waves: Vec::with_capacity(stage.waves.len()),
    };
    let rest = |through: i64, rest: i64| {
        let seen = if stage.rules.probes.is_empty() { through } else { through + lengths.services };
        seen.max(through + rest)
    };
    for wave in &stage.waves {
        let from = if played.waves.is_empty() { start_ms } else { rest(played.end_ms, stage.rules.pause_ms) };
        let worked_ms = match stage.turns.is_empty() {
            true => in_parallel(model, stage, lengths, wave, from),
            false => in_turns(stage, lengths, wave, from),
        };
        let through_ms = confirmed(model, stage, lengths, wave, worked_ms);
        played.end_ms = through_ms;
        played.waves.push(Times { from_ms: from, worked_ms, through_ms });
    }
    let next = rest(played.end_ms, stage.rules.hold_ms);
    (played, next)
}

/// Rounds of work; between two of them persons do what is waited for.
fn in_parallel(model: &Model, stage: &Stage, lengths: &StageLengths, wave: &[usize], from_ms: i64) -> i64 {
    let mut rounds: Vec<Rounds<'_>> = wave.iter().map(|host| Rounds::new(stage, lengths, *host)).collect();
    let first = rounds.iter_mut().map(Rounds::work).collect::<Vec<_>>();
    let mut now = work::last_end(stage.at_once, from_ms, first.into_iter());
    loop {
        let waits: Vec<(Option<usize>, i64)> = rounds.iter_mut().filter_map(Rounds::waits).collect();
        if waits.is_empty() {
            return now;
        }
        now = work::by_people(model.technicians, now, &waits, |_| ());
        let again: Vec<i64> = rounds.iter_mut().filter(|of| of.again).map(Rounds::work).collect();
        now = work::last_end(model.connections, now, again.into_iter());
    }
}

/// A host's part on its way: work up to the next manual step, a person, work again.
struct Rounds<'a> {
    stage: &'a Stage,
    lengths: &'a StageLengths,
    host: usize,
    next: usize,
    /// It has waited for a person, who is through now.
    again: bool,
}

impl<'a> Rounds<'a> {
    fn new(stage: &'a Stage, lengths: &'a StageLengths, host: usize) -> Rounds<'a> {
        Rounds { stage, lengths, host, next: 0, again: false }
    }

    fn work(&mut self) -> i64 {
        self.again = false;
        if self.next == 0 {
            let piece = &self.lengths.pieces[self.host];
            self.next = piece.count;
            return piece.work_ms;
        }
        let (steps, begin) = (&self.lengths.steps[self.host], self.lengths.begin[self.host]);
        let rest = self.stage.parts[self.host].steps[self.next..].iter().zip(&steps[self.next..]);
        let (mut ms, mut count) = (self.lengths.between[self.host], 0);
        for (_, step) in rest.take_while(|(step, _)| !step.manual()) {
            ms += step;
            count += 1;
        }
        self.next += count;
        begin + self.stage.bounded(ms)
    }

    fn waits(&mut self) -> Option<(Option<usize>, i64)> {
        let ms = self.lengths.steps[self.host].get(self.next)?;
        let person = self.stage.parts[self.host].steps[self.next].person();
        self.next += 1;
        self.again = true;
        Some((person, *ms))
    }
}

/// How long it takes until all hosts of a stage with turns have begun.
pub(super) fn all_begin(lengths: &StageLengths, wave: &[usize]) -> i64 {
    wave.iter().map(|host| lengths.begin[*host]).max().unwrap_or(0)
}

/// All begin; then one after the other.
fn in_turns(stage: &Stage, lengths: &StageLengths, wave: &[usize], from_ms: i64) -> i64 {
    let begin = all_begin(lengths, wave);
    let turn = |(host, steps): &(usize, Vec<usize>)| {
        lengths.between[*host] + steps.iter().map(|step| lengths.steps[*host][*step]).sum::<i64>()
    };
    from_ms + begin + stage.bounded(stage.turns.iter().map(turn).sum())
}

/// When the wave is confirmed, if it has to be.
fn confirmed(model: &Model, stage: &Stage, lengths: &StageLengths, wave: &[usize], through_ms: i64) -> i64 {
    if !stage.rules.guarded() {
        return through_ms;
    }
    let hands = if stage.turns.is_empty() { model.connections } else { 1 };
    work::last_end(hands, through_ms, wave.iter().map(|host| lengths.confirm[*host]))
}
