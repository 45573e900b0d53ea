//! What is left of a run, reckoned again while it is under way: the same machine goes on from where it stands.

use std::collections::{BTreeMap, HashMap};

use weiche_agent::protocol::{StepId, StepOutcome};

use super::clockwork::{Clockwork, Through, Trouble};
use super::foresee::{self, Options};
use super::lengths::{Lengths, Pace};
use super::model::Model;
use crate::input::target::HostName;
use crate::plan::Plan;
use crate::rollout::reckoning::{Decide, Reckoning};
use crate::rollout::{self, Happening, Rollout};

/// Reckons what is left of a run.
#[derive(Debug)]
pub struct Live {
    model: Model,
    usual: Lengths,
    bound: Lengths,
    /// When each stage was to be through usually, and when its window closes.
    planned: Vec<(i64, Option<i64>)>,
    /// How many of each host's steps are through, by stage, and when it went on with the next.
    through: BTreeMap<(usize, HostName), (usize, i64)>,
    /// When the last host so far was through with each stage.
    ended: BTreeMap<usize, i64>,
    /// Stage and number of each step.
    steps: HashMap<(HostName, StepId), (usize, usize)>,
    /// Since when something cannot be taken back, or is certain to be done that cannot.
    no_way_back_ms: Option<i64>,
}

/// How a run lies in time now, by its plan and what has happened; `None` while nothing of it is under way in a window, or on its
/// way back.
pub fn now<'a>(
    plan: &Plan,
    events: impl Iterator<Item = (i64, &'a Happening)> + Clone,
    now_ms: i64,
) -> Option<Reckoning> {
    let (start_ms, _) = events.clone().next()?;
    let mut live = Live::new(plan, &Options { start_ms, ..Options::default() })?;
    let connections = if plan.connections == 0 { usize::MAX } else { plan.connections };
    let mut rollout = Rollout::new(rollout::parts(plan, connections), plan.sites.clone());
    for (at_ms, what) in events {
        rollout.on(at_ms, what);
        live.on(at_ms, what);
    }
    live.reckon(&rollout, now_ms)
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
        let mut steps = HashMap::new();
        for (at, stage) in plan.stages.iter().enumerate() {
            for (host, of) in &stage.hosts {
                let numbered = of.iter().enumerate();
                steps.extend(numbered.map(|(n, step)| ((host.clone(), step.action.id().clone()), (at, n))));
            }
        }
        Some(Live {
            planned: planned.collect(),
            usual: Lengths::new(&model, &mut Pace::Usual),
            bound: Lengths::new(&model, &mut Pace::Bound),
            through: BTreeMap::new(),
            ended: BTreeMap::new(),
            steps,
            no_way_back_ms: None,
            model,
        })
    }

    /// Takes note of what happened.
    pub fn on(&mut self, at_ms: i64, happening: &Happening) {
        match happening {
            Happening::HostBegun { host, stage } => {
                let Some(at) = self.model.stages.iter().position(|of| of.name == *stage) else { return };
                let (steps, since_ms) = self.through.entry((at, host.clone())).or_insert((0, at_ms));
                *since_ms = at_ms;
                let stage = &self.model.stages[at];
                // An abort stops no part that is at work: what cannot be taken back in it is done.
                let part = stage.hosts.binary_search(host).ok().map(|host| &stage.parts[host]);
                if part.is_some_and(|part| part.cannot_go_back_from(*steps)) {
                    self.no_way_back_ms.get_or_insert(at_ms);
                }
            }
            Happening::Step { host, event } if !matches!(event.what, StepOutcome::Note(_)) => {
                let Some((at, n)) = self.steps.get(&(host.clone(), event.step.clone())).copied() else { return };
                let of = self.through.entry((at, host.clone())).or_insert((0, at_ms));
                of.1 = at_ms;
                // Whoever goes on tells once more what is through.
                if let StepOutcome::Changed | StepOutcome::Unchanged | StepOutcome::AlreadyDone = event.what {
                    of.0 = of.0.max(n + 1);
                    let stage = &self.model.stages[at];
                    let step = stage.hosts.binary_search(host).ok().and_then(|host| stage.parts[host].steps.get(n));
                    if step.is_some_and(|step| step.irreversible) {
                        self.no_way_back_ms.get_or_insert(at_ms);
                    }
                }
            }
            Happening::HostDone { stage, .. } | Happening::HostConfirmed { stage, .. } => {
                if let Some(at) = self.model.stages.iter().position(|of| of.name == *stage) {
                    self.ended.insert(at, at_ms);
                }
            }
            _ => {}
        }
    }

    /// How the run lies in time, if it goes on now; `None` while nothing of it is under way in a window, or on its way back.
    pub fn reckon(&self, rollout: &Rollout, now_ms: i64) -> Option<Reckoning> {
        let at = rollout.under_way()?;
        let stage = &self.model.stages[at];
        // If it is over, nothing fits into it any more.
        let began = || stage.opening(rollout.started_ms(at)?);
        let close_ms = stage.opening(now_ms).or_else(began)?.close_ms;
        // All that is done in this window.
        let is_same = |(_, close): &&(i64, Option<i64>)| *close == Some(close_ms);
        let last = self.planned.iter().skip(at + 1).take_while(is_same).count() + at;
        let (planned_ms, _) = *self.planned.get(last)?;
        let end = |lengths: &Lengths| {
            let played = self.play(lengths, &Trouble::default(), (rollout, now_ms));
            let before = || self.ended.get(&last).copied();
            played.ends.get(last).copied().flatten().or_else(before).unwrap_or(now_ms)
        };
        let (expected_ms, latest_ms) = (end(&self.usual), end(&self.bound));
        let abort = Trouble { abort_ms: Some(now_ms), ..Trouble::default() };
        let back = self.play(&self.bound, &abort, (rollout, now_ms));
        let abort_by_ms = back.ended.map(|(back_ms, _)| now_ms + close_ms - back_ms);
        let no_way_back_ms = self.no_way_back_ms;
        let mut reckoning = Reckoning {
            stage: self.model.stages[last].name.clone(),
            expected_ms,
            latest_ms: latest_ms.max(expected_ms),
            ahead_ms: planned_ms - expected_ms,
            abort_by_ms: abort_by_ms.filter(|_| no_way_back_ms.is_none()),
            no_way_back_ms,
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
        if rollout.is_stopped() {
            rollout.on(now_ms, &Happening::Continued { by: String::from("a person") });
        }
        Clockwork::resume(&self.model, lengths, trouble, (rollout, now_ms), stages.map(through).collect())
    }
}
