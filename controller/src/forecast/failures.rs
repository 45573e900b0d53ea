//! How late failures make what is through, or turns back: those that stop rules tolerate, and the one behind which nothing goes
//! on. Looks fail at their limit, hosts are looked for in vain, services are probed on.

use super::lengths::{Lengths, StageLengths};
use super::model::{self, Model, Stage};
use super::weekend::{Times, all_begin};
use super::work;
use crate::plan::rules::{OnStop, Over, Scope};

/// When a wave turns back at the latest, if something fails in it or a person wants it, as long as nothing before it was late.
pub(super) fn turns_back_ms(
    model: &Model,
    at: usize,
    lengths: &StageLengths,
    (wave, times, last): (&[usize], &Times, bool),
) -> i64 {
    let stage = &model.stages[at];
    let part_ms = part_fails_ms(stage, lengths, wave, times);
    // Those that did not fail are confirmed all the same.
    let stays = matches!(stage.rules.on_stop, OnStop::Hold | OnStop::Rollback(Scope::Host));
    let part_ms = if stays { part_ms + times.through_ms - times.worked_ms } else { part_ms };
    let lost_ms = if stage.rules.guarded() { lost_ms(model, at, lengths, wave, times) } else { 0 };
    let services_ms = times.through_ms + stage.services_fail_ms(lengths.services, last);
    times.through_ms.max(part_ms).max(lost_ms).max(services_ms)
}

/// When the last step is over if one fails.
fn part_fails_ms(stage: &Stage, lengths: &StageLengths, wave: &[usize], times: &Times) -> i64 {
    if !stage.turns.is_empty() {
        let begun_ms = times.from_ms + all_begin(lengths, wave);
        let looks_ms = begun_ms + stage.bounded(turn_fails_ms(stage, lengths));
        return looks_ms.max(times.worked_ms + model::lost_ms());
    }
    let pieces = || wave.iter().map(|host| &lengths.pieces[*host]);
    if stage.at_once >= wave.len() && pieces().all(|piece| !piece.by_hand) {
        // Nobody waits for anybody.
        return times.from_ms + pieces().map(|piece| piece.fails_ms).max().unwrap_or(0);
    }
    // A piece that is longer makes no end later by more than that.
    let longer = pieces().map(|piece| piece.fails_ms - piece.work_ms);
    let later = pieces().map(|piece| piece.later_ms);
    times.worked_ms + longer.max().unwrap_or(0).max(0).max(later.max().unwrap_or(0))
}

/// How long hosts that take turns are at work once all have begun, if a look of one fails.
fn turn_fails_ms(stage: &Stage, lengths: &StageLengths) -> i64 {
    let (mut before, mut longest) = (0, 0);
    for (host, steps) in &stage.turns {
        for step in steps {
            let ms = lengths.steps[*host][*step];
            longest = longest.max(before + stage.parts[*host].steps[*step].fails_ms(ms));
            before += ms;
        }
        before += lengths.between[*host];
    }
    longest
}

/// When a host counts as not confirmed.
fn lost_ms(model: &Model, at: usize, lengths: &StageLengths, wave: &[usize], times: &Times) -> i64 {
    let stage = &model.stages[at];
    let limit = |host: &usize| stage.confirm_fails_ms(lengths.confirm[*host]);
    if stage.turns.is_empty() && model.connections >= wave.len() {
        return times.worked_ms + wave.iter().map(limit).max().unwrap_or(0);
    }
    times.through_ms + wave.iter().map(|host| limit(host) - lengths.confirm[*host]).max().unwrap_or(0)
}

/// How much later a wave may be through because hosts fail that are tolerated, and go back while others work.
pub(super) fn tolerated_ms(model: &Model, at: usize, lengths: &StageLengths, wave: &[usize]) -> i64 {
    let stage = &model.stages[at];
    let tolerated = stage.tolerates(wave.len(), model.hosts);
    if tolerated == 0 {
        return 0;
    }
    let unconfirmed = unconfirmed_ms(model, stage, lengths, (wave, tolerated));
    // Where hosts take turns one that fails at work is the end for all.
    if !stage.turns.is_empty() && tolerated < wave.len() {
        return unconfirmed;
    }
    // A piece more in a list makes its end later by what it takes at most.
    let more_ms = |host: &usize| lengths.pieces[*host].more_ms(lengths.back[*host]);
    let few = longest(wave.iter().map(more_ms), tolerated);
    if !stage.turns.is_empty() || wave.iter().any(|host| lengths.pieces[*host].by_hand) {
        return few.max(unconfirmed);
    }
    // Or as if all of them did.
    let works = |host: &usize| lengths.pieces[*host].work_ms;
    let calm = work::last_end(stage.at_once, 0, wave.iter().map(works));
    let more = |host: &usize| works(host) + more_ms(host);
    let all = work::last_end(stage.at_once, 0, wave.iter().map(more));
    few.min(all - calm).max(unconfirmed)
}

/// The same where they are lost when they are to be confirmed: they are looked for at the same time, and go back.
fn unconfirmed_ms(model: &Model, stage: &Stage, lengths: &StageLengths, (wave, tolerated): (&[usize], usize)) -> i64 {
    if !stage.rules.guarded() {
        return 0;
    }
    let looked_for = |host: &usize| stage.confirm_fails_ms(lengths.confirm[*host]) - lengths.confirm[*host];
    let alone = stage.turns.is_empty() && model.connections >= wave.len();
    let looked_for_ms = longest(wave.iter().map(looked_for), if alone { 1 } else { tolerated });
    looked_for_ms + longest(wave.iter().map(|host| lengths.back[*host]), tolerated)
}

/// What a host of the stage needs at most that catches up with it by itself, and goes back.
pub(super) fn alone_ms(model: &Model, at: usize, lengths: &Lengths) -> i64 {
    let (stage, lengths) = (&model.stages[at], &lengths.stages[at]);
    let of = |host: usize| {
        let piece = &lengths.pieces[host];
        let rest: i64 = lengths.steps[host][piece.count..].iter().sum();
        let begins = stage.parts[host].steps.iter().filter(|step| step.manual()).count();
        let begins_ms = lengths.begin[host] * i64::try_from(begins).unwrap_or(0);
        let confirm_ms = if stage.rules.guarded() { stage.confirm_fails_ms(lengths.confirm[host]) } else { 0 };
        piece.work_ms.max(piece.fails_ms) + rest + begins_ms + piece.later_ms + confirm_ms + lengths.back[host]
    };
    (0..stage.hosts.len()).map(of).max().unwrap_or(0)
}

/// How much later tolerated failures may make anything in all, whatever each wave allows.
#[derive(Clone)]
pub(super) struct Allowed(i64);

impl Allowed {
    pub(super) fn of_stage(model: &Model, at: usize, lengths: &StageLengths) -> Allowed {
        let stage = &model.stages[at];
        let count = stage.tolerates_in_all(Over::Stage, stage.hosts.len());
        Allowed(longest(each(stage, lengths), count))
    }

    pub(super) fn of_run(model: &Model, lengths: &Lengths) -> Allowed {
        let counts = model.stages.iter().map(|stage| stage.tolerates_in_all(Over::Run, model.hosts));
        // Each stage has rules of its own: the most that any of them allows.
        let count = counts.max().unwrap_or(usize::MAX);
        Allowed(longest(model.stages.iter().zip(&lengths.stages).flat_map(|(stage, of)| each(stage, of)), count))
    }

    pub(super) fn take(&mut self, ms: i64) -> i64 {
        let taken = ms.min(self.0);
        self.0 -= taken;
        taken
    }

    /// What a wait has made up for may come later all the same.
    pub(super) fn give_back(&mut self, ms: i64) {
        self.0 = self.0.saturating_add(ms);
    }
}

fn each<'a>(stage: &'a Stage, lengths: &'a StageLengths) -> impl Iterator<Item = i64> + 'a {
    let guarded = stage.rules.guarded();
    let hosts = lengths.pieces.iter().zip(lengths.back.iter().zip(&lengths.confirm));
    hosts.map(move |(piece, (back_ms, confirm_ms))| {
        let lost_ms = if guarded { stage.confirm_fails_ms(*confirm_ms) - confirm_ms + back_ms } else { 0 };
        piece.more_ms(*back_ms).max(lost_ms)
    })
}

/// The sum of the so many longest.
fn longest(pieces: impl Iterator<Item = i64>, count: usize) -> i64 {
    let mut pieces: Vec<i64> = pieces.collect();
    if count < pieces.len() {
        pieces.sort_unstable_by_key(|ms| std::cmp::Reverse(*ms));
    }
    pieces.iter().take(count).sum()
}
