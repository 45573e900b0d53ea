//! How late failures make what is through, or turns back: those that stop rules tolerate, and the one behind which nothing goes
//! on. Looks fail at their limit, hosts are looked for in vain, services are probed on.

use super::lengths::{Lengths, StageLengths};
use super::model::{Model, Stage, Step};
use super::weekend::{Rounds, Times, all_begin, bounded};
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
        return times.worked_ms.max(begun_ms + bounded(stage, turn_fails_ms(stage, lengths)));
    }
    let alone = stage.at_once >= wave.len() && wave.iter().all(|host| !by_hand(stage, *host));
    let fails = wave.iter().map(|host| fails_ms(stage, lengths, *host));
    if alone {
        // Nobody waits for anybody.
        return fails.max().map_or(times.worked_ms, |ms| times.worked_ms.max(times.from_ms + ms));
    }
    // A piece that is longer makes no end later by more than that.
    let longer = fails.zip(wave).map(|(ms, host)| ms - first_work_ms(stage, lengths, *host));
    let later = wave.iter().map(|host| limits_ms(stage, lengths, *host));
    times.worked_ms + longer.max().unwrap_or(0).max(0).max(later.max().unwrap_or(0))
}

/// How long a host's part takes up to its first manual step, if one of its looks fails there; 0: it has none.
fn fails_ms(stage: &Stage, lengths: &StageLengths, host: usize) -> i64 {
    let steps = stage.parts[host].steps.iter().zip(&lengths.steps[host]);
    let (mut before, mut longest) = (0, None);
    for (step, ms) in steps.take_while(|(step, _)| !step.manual()) {
        if step.limit_ms.is_some() {
            longest = longest.max(Some(before + step.fails_ms(*ms)));
        }
        before += ms;
    }
    longest.map_or(0, |ms| lengths.begin[host] + bounded(stage, ms + lengths.between[host]))
}

/// The same where hosts take turns, once all have begun.
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

/// By how much the host's part takes longer if a look behind a manual step fails.
fn limits_ms(stage: &Stage, lengths: &StageLengths, host: usize) -> i64 {
    let steps = stage.parts[host].steps.iter().zip(&lengths.steps[host]);
    let behind = steps.skip_while(|(step, _)| !step.manual());
    behind.map(|(step, ms)| step.fails_ms(*ms) - ms).max().unwrap_or(0)
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

fn by_hand(stage: &Stage, host: usize) -> bool {
    stage.parts[host].steps.iter().any(Step::manual)
}

fn first_work_ms(stage: &Stage, lengths: &StageLengths, host: usize) -> i64 {
    Rounds::new(stage, lengths, host).work()
}

/// How much later a wave may be through because hosts fail that are tolerated, and go back while others work.
pub(super) fn tolerated_ms(model: &Model, at: usize, lengths: &StageLengths, wave: &[usize]) -> i64 {
    let stage = &model.stages[at];
    let tolerated = stage.tolerates(wave.len(), model.hosts);
    // Where hosts take turns one that fails is the end for all.
    if tolerated == 0 || !stage.turns.is_empty() && tolerated < wave.len() {
        return 0;
    }
    // A piece more in a list makes its end later by what it takes at most.
    let few = longest(wave.iter().map(|host| more_ms(stage, lengths, *host)), tolerated);
    if !stage.turns.is_empty() || wave.iter().any(|host| by_hand(stage, *host)) {
        return few;
    }
    // Or as if all of them did.
    let works = |host: &usize| first_work_ms(stage, lengths, *host);
    let calm = work::last_end(stage.at_once, 0, wave.iter().map(works));
    let more = |host: &usize| works(host) + more_ms(stage, lengths, *host);
    let all = work::last_end(stage.at_once, 0, wave.iter().map(more));
    few.min(all - calm)
}

/// How much longer a host keeps its hand if its part fails: its last look may fail late, and it goes back.
fn more_ms(stage: &Stage, lengths: &StageLengths, host: usize) -> i64 {
    let later = (fails_ms(stage, lengths, host) - first_work_ms(stage, lengths, host)).max(0);
    later.max(limits_ms(stage, lengths, host)) + lengths.back[host]
}

/// How much later tolerated failures may make anything in all, whatever each wave allows.
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
}

fn each<'a>(stage: &'a Stage, lengths: &'a StageLengths) -> impl Iterator<Item = i64> + 'a {
    (0..stage.hosts.len()).map(|host| more_ms(stage, lengths, host))
}

/// The sum of the so many longest.
fn longest(pieces: impl Iterator<Item = i64>, count: usize) -> i64 {
    let mut pieces: Vec<i64> = pieces.collect();
    if count < pieces.len() {
        pieces.sort_unstable_by_key(|ms| std::cmp::Reverse(*ms));
    }
    pieces.iter().take(count).sum()
}
