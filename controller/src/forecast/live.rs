//! What is left of a run, reckoned again while it is under way: the same machine goes on from where it stands.

use std::collections::BTreeMap;

use weiche_agent::protocol::{StepId, StepOutcome};

use super::clockwork::{Clockwork, Through, Trouble};
use super::foresee::{self, Options};
use super::lengths::{Lengths, Pace};
use super::model::Model;
use crate::input::target::HostName;
use crate::plan::Plan;
use crate::rollout::reckoning::{Decide, Reckoning};
use crate::rollout::{Happening, Rollout};

/// Reckons what is left of a run.
#[derive(Debug)]
pub struct Live {
    model: Model,
    usual: Lengths,
    bound: Lengths,
    /// When each stage was to be through usually, and when its window closes.
    planned: Vec<(i64, Option<i64>)>,
    /// Each host's steps that are through, by stage, and when it went on with the next.
    through: BTreeMap<(usize, HostName), (usize, i64)>,
    steps: BTreeMap<StepId, usize>,
}

impl Live {
    /// For a run of this plan that began at this time; `None` if no stage of it has a window.
    pub fn new(plan: &Plan, options: &Options) -> Option<Live> {
        if plan.stages.iter().all(|stage| stage.rules.windows.is_empty()) {
            return None;
        }
        let mut model = Model::new(plan, options);
        model.declare();
        let forecast = foresee::of(plan, options);
        let planned = forecast.stages.iter().map(|stage| (stage.end.usual_ms, stage.opening.map(|of| of.close_ms)));
        let stages = plan.stages.iter().enumerate();
        let steps =
            stages.flat_map(|(at, stage)| stage.hosts.values().flatten().map(move |s| (s.action.id().clone(), at)));
        Some(Live {
            planned: planned.collect(),
            usual: Lengths::new(&model, &mut Pace::Usual),
            bound: Lengths::new(&model, &mut Pace::Bound),
            through: BTreeMap::new(),
            steps: steps.collect(),
            model,
        })
    }

    /// Takes note of what happened.
    pub fn on(&mut self, at_ms: i64, happening: &Happening) {
        match happening {
            Happening::HostBegun { host, stage } => {
                if let Some(at) = self.model.stages.iter().position(|of| of.name == *stage) {
                    self.through.entry((at, host.clone())).or_insert((0, at_ms)).1 = at_ms;
                }
            }
            Happening::Step { host, event } if !matches!(event.what, StepOutcome::Note(_)) => {
                let Some(at) = self.steps.get(&event.step) else { return };
                let of = self.through.entry((*at, host.clone())).or_insert((0, at_ms));
                match event.what {
                    StepOutcome::Changed | StepOutcome::Unchanged | StepOutcome::AlreadyDone => of.0 += 1,
                    _ => {}
                }
                of.1 = at_ms;
            }
            _ => {}
        }
    }

    /// How the run lies in time; `None` while nothing of it is at work in a window, or on its way back.
    pub fn reckon(&self, rollout: &Rollout, now_ms: i64) -> Option<Reckoning> {
        let at = rollout.stage()?;
        let close_ms = self.model.stages[at].opening(now_ms)?.close_ms;
        // All that is done in this window.
        let is_same = |(_, close): &&(i64, Option<i64>)| *close == Some(close_ms);
        let last = self.planned.iter().skip(at + 1).take_while(is_same).count() + at;
        let (planned_ms, _) = *self.planned.get(last)?;
        let end = |lengths: &Lengths| {
            let played = self.play(lengths, &Trouble::default(), (rollout, now_ms));
            played.ends.get(last).copied().flatten().unwrap_or(now_ms)
        };
        let (expected_ms, latest_ms) = (end(&self.usual), end(&self.bound));
        let abort = Trouble { abort_ms: Some(now_ms), ..Trouble::default() };
        let back = self.play(&self.bound, &abort, (rollout, now_ms));
        let abort_by_ms = back.ended.map(|(back_ms, _)| now_ms + close_ms - back_ms);
        let mut reckoning = Reckoning {
            stage: self.model.stages[last].name.clone(),
            expected_ms,
            latest_ms: latest_ms.max(expected_ms),
            ahead_ms: planned_ms - expected_ms,
            abort_by_ms,
            decide: Decide::NotNow,
        };
        reckoning.decide = reckoning.decide(now_ms);
        Some(reckoning)
    }

    fn play(
        &self,
        lengths: &Lengths,
        trouble: &Trouble,
        (rollout, now_ms): (&Rollout, i64),
    ) -> super::clockwork::Played {
        let stages = self.model.stages.iter().enumerate();
        let through = |(at, stage): (usize, &super::model::Stage)| {
            let of = |host: &HostName| match self.through.get(&(at, host.clone())) {
                Some((steps, since_ms)) => Through { steps: *steps, spent_ms: (now_ms - since_ms).max(0) },
                None => Through::default(),
            };
            stage.hosts.iter().map(of).collect::<Vec<Through>>()
        };
        let mut rollout = rollout.clone();
        rollout.wake();
        rollout.open_gates();
        Clockwork::resume(&self.model, lengths, trouble, (rollout, now_ms), stages.map(through).collect())
    }
}
