//! A forecast beside what happened: for the report, and for whoever wants to know what forecasts are worth.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weiche_agent::protocol::{StepId, StepOutcome};

use super::{Options, of};
use crate::input::target::HostName;
use crate::plan::Plan;
use crate::plan::takes::Basis;
use crate::rollout::Happening;

/// A stage: what it was to take, and took, until its last host was through. In milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageActual {
    /// Its name.
    pub stage: String,
    /// Usually.
    pub usual_ms: u64,
    /// At most.
    pub bound_ms: u64,
    /// What it took.
    pub took_ms: u64,
    /// Its steps, as far as they were done.
    pub steps: Vec<StepActual>,
}

/// A step. In milliseconds, begun ones counting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepActual {
    /// The host.
    pub host: HostName,
    /// The step.
    pub step: StepId,
    /// What it was to take usually.
    pub usual_ms: u64,
    /// At most.
    pub bound_ms: u64,
    /// What that rested on.
    pub from: Basis,
    /// What it took.
    pub took_ms: u64,
}

/// When each stage was begun, and when the last host so far was through (and confirmed). In milliseconds since the epoch.
pub fn times<'a>(events: impl IntoIterator<Item = (i64, &'a Happening)>) -> BTreeMap<&'a str, (i64, Option<i64>)> {
    let mut stages: BTreeMap<&str, (i64, Option<i64>)> = BTreeMap::new();
    for (at_ms, happening) in events {
        match happening {
            Happening::StageStarted { stage } => drop(stages.insert(stage, (at_ms, None))),
            Happening::HostDone { stage, .. } | Happening::HostConfirmed { stage, .. } => {
                if let Some((_, end)) = stages.get_mut(stage.as_str()) {
                    *end = Some(at_ms);
                }
            }
            _ => {}
        }
    }
    stages
}

/// Puts them beside one another, for the stages that are through.
pub fn actual<'a>(plan: &Plan, events: impl IntoIterator<Item = (i64, &'a Happening)>) -> Vec<StageActual> {
    let events: Vec<(i64, &Happening)> = events.into_iter().collect();
    let stages = times(events.iter().copied());
    let mut steps: BTreeMap<(&HostName, &StepId), u64> = BTreeMap::new();
    for (_, happening) in &events {
        if let Happening::Step { host, event } = happening
            && matches!(event.what, StepOutcome::Changed | StepOutcome::Unchanged)
        {
            steps.insert((host, &event.step), event.took_us.div_ceil(1000));
        }
    }
    let Some((start_ms, _)) = events.first().copied() else { return Vec::new() };
    let forecast = of(plan, &Options { start_ms, ..Options::default() });
    let length = |from: i64, to: i64| u64::try_from(to - from).unwrap_or(0);
    let stage = |of: &super::StageForecast| {
        let (begun, Some(end)) = *stages.get(of.stage.as_str())? else { return None };
        let step = |(host, step): (&HostName, &super::StepForecast)| {
            let took_ms = *steps.get(&(host, &step.step))?;
            let (host, id) = (host.clone(), step.step.clone());
            Some(StepActual {
                host,
                step: id,
                usual_ms: step.usual_ms,
                bound_ms: step.bound_ms,
                from: step.from,
                took_ms,
            })
        };
        let steps = of.hosts.iter().flat_map(|(host, steps)| steps.iter().map(move |step| (host, step)));
        Some(StageActual {
            stage: of.stage.clone(),
            usual_ms: length(of.start.usual_ms, of.end.usual_ms),
            bound_ms: length(of.start.latest_ms, of.end.latest_ms),
            took_ms: length(begun, end),
            steps: steps.filter_map(step).collect(),
        })
    };
    forecast.stages.iter().filter_map(stage).collect()
}
