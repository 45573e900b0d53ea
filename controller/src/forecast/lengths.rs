//! How long everything takes in one weekend: each estimate made a number.

use super::model::{HostPart, Model, Stage, lost_ms};
use crate::plan::takes::Estimate;

/// Which of the weekends that can be.
pub(super) enum Pace {
    /// Everything goes as fast as it ever went.
    Least,
    /// As it usually does.
    Usual,
    /// Everything takes as long as its bound.
    Bound,
    /// Drawn: half of the time between the least and the usual, half between the usual and the bound.
    Drawn(fastrand::Rng),
}

impl Pace {
    pub(super) fn of(&mut self, estimate: &Estimate) -> i64 {
        let ms = match self {
            Pace::Least => estimate.least_ms,
            Pace::Usual => estimate.usual_ms,
            Pace::Bound => estimate.bound_ms,
            Pace::Drawn(_) if estimate.least_ms == estimate.bound_ms => estimate.bound_ms,
            Pace::Drawn(rng) => {
                // 32 random bits: the highest says which half, the others where in it.
                let bits = u64::from(rng.u32(..));
                let (low, high) = match bits >> 31 {
                    0 => (estimate.least_ms, estimate.usual_ms),
                    _ => (estimate.usual_ms, estimate.bound_ms),
                };
                let span = (high - low).min(u64::from(u32::MAX));
                low + ((span * (bits & 0x7fff_ffff)) >> 31)
            }
        };
        i64::try_from(ms).unwrap_or(i64::MAX / 1024)
    }
}

/// One weekend.
#[derive(Clone, Debug, Default)]
pub(super) struct Lengths {
    pub(super) stages: Vec<StageLengths>,
}

/// A stage in it; by host.
#[derive(Clone, Debug, Default)]
pub(super) struct StageLengths {
    /// Until the first step, and again until the first one behind a manual one.
    pub(super) begin: Vec<i64>,
    /// Each step.
    pub(super) steps: Vec<Vec<i64>>,
    /// What follows from its steps.
    pub(super) pieces: Vec<Piece>,
    /// Between and behind the steps.
    pub(super) between: Vec<i64>,
    /// To be confirmed.
    pub(super) confirm: Vec<i64>,
    /// To take its part back, what is around it included.
    pub(super) back: Vec<i64>,
    /// Until the stage's services are seen to work.
    pub(super) services: i64,
}

impl Lengths {
    pub(super) fn new(model: &Model, pace: &mut Pace) -> Lengths {
        let mut lengths = Lengths::default();
        lengths.draw(model, pace);
        lengths
    }

    /// The same for another weekend, in the same memory.
    pub(super) fn draw(&mut self, model: &Model, pace: &mut Pace) {
        self.stages.resize_with(model.stages.len(), StageLengths::default);
        for (of, stage) in self.stages.iter_mut().zip(&model.stages) {
            of.draw(stage, pace);
        }
    }
}

/// What follows from the lengths of a host's steps, reckoned once: a weekend asks for it again and again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Piece {
    /// So many steps come before the first manual one.
    pub(super) count: usize,
    /// Whether there is a manual one.
    pub(super) by_hand: bool,
    /// The work up to there.
    pub(super) work_ms: i64,
    /// How long that takes at most if a step of it fails.
    pub(super) fails_ms: i64,
    /// By how much the rest takes longer if a step of it fails.
    pub(super) later_ms: i64,
}

impl Piece {
    fn of(stage: &Stage, part: &HostPart, steps: &[i64], (begin_ms, between_ms): (i64, i64)) -> Piece {
        let mut piece = Piece::default();
        let (mut before_ms, mut longest_ms) = (0, 0);
        for (step, ms) in part.steps.iter().zip(steps) {
            piece.by_hand |= step.manual();
            if piece.by_hand {
                piece.later_ms = piece.later_ms.max(step.fails_ms(*ms) - ms);
                continue;
            }
            longest_ms = longest_ms.max(before_ms + step.fails_ms(*ms));
            before_ms += ms;
            piece.count += 1;
        }
        piece.work_ms = begin_ms + stage.bounded(before_ms + between_ms);
        // The host may be lost just before it is through.
        let looked_for_ms = stage.bounded(before_ms + between_ms) + lost_ms();
        piece.fails_ms = begin_ms + stage.bounded(longest_ms + between_ms).max(looked_for_ms);
        if piece.by_hand {
            piece.later_ms = piece.later_ms.max(lost_ms());
        }
        piece
    }

    /// How much longer the host keeps its hand if its part fails: its last look may fail late, and it goes back.
    pub(super) fn more_ms(&self, back_ms: i64) -> i64 {
        (self.fails_ms - self.work_ms).max(self.later_ms).max(0) + back_ms
    }
}

impl StageLengths {
    fn draw(&mut self, stage: &Stage, pace: &mut Pace) {
        let around = &stage.around;
        let hosts = stage.hosts.len();
        for list in [&mut self.begin, &mut self.between, &mut self.confirm, &mut self.back] {
            list.clear();
            list.reserve(hosts);
        }
        self.pieces.clear();
        self.steps.resize_with(hosts, Vec::new);
        self.services = pace.of(&around.services);
        for (part, steps) in stage.parts.iter().zip(&mut self.steps) {
            let begin = pace.of(if part.first { &around.first } else { &around.begin });
            self.begin.push(begin);
            let between = pace.of(&around.between);
            self.between.push(between);
            self.confirm.push(pace.of(&around.confirm));
            steps.clear();
            steps.extend(part.steps.iter().map(|step| pace.of(&step.forward)));
            self.pieces.push(Piece::of(stage, part, steps, (begin, between)));
            self.back.push(back(part, stage, pace));
        }
    }
}

/// What taking a host's part back takes.
fn back(part: &HostPart, stage: &Stage, pace: &mut Pace) -> i64 {
    let steps: i64 = part.steps.iter().filter(|step| step.changes).map(|step| pace.of(&step.back)).sum();
    let verify = if part.first { pace.of(&stage.around.verify) } else { 0 };
    pace.of(&stage.around.back) + steps + verify
}
