//! How long everything takes in one weekend: each estimate made a number.

use super::model::{HostPart, Model, Stage};
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

impl StageLengths {
    fn draw(&mut self, stage: &Stage, pace: &mut Pace) {
        let around = &stage.around;
        let hosts = stage.hosts.len();
        for list in [&mut self.begin, &mut self.between, &mut self.confirm, &mut self.back] {
            list.clear();
            list.reserve(hosts);
        }
        self.steps.resize_with(hosts, Vec::new);
        self.services = pace.of(&around.services);
        for (part, steps) in stage.parts.iter().zip(&mut self.steps) {
            let begin = pace.of(if part.first { &around.first } else { &around.begin });
            self.begin.push(begin);
            self.between.push(pace.of(&around.between));
            self.confirm.push(pace.of(&around.confirm));
            steps.clear();
            steps.extend(part.steps.iter().map(|step| pace.of(&step.forward)));
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
