//! `weiche tick`: ticks off an item of a gate's checklist.

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::plan::Plan;
use crate::rollout::Happening;

/// Tick off an item of a stage's checklist
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
    /// The stage
    stage: String,
    /// The item, as the playbook has it
    item: String,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let by = context.who.clone();
    let decision = |plan: &Plan, _: &_| {
        let Args { stage, item, .. } = args.clone();
        let gate = plan.stages.iter().find(|s| s.name == stage).and_then(|s| s.rules.gate.clone());
        let items = gate.map(|gate| gate.checklist).unwrap_or_default();
        if !items.contains(&item) {
            return Err(Failure::new(format!("the stage `{stage}` has no `{item}` to tick off")).hint(
                if items.is_empty() { "it has no checklist".into() } else { format!("it has: {}", items.join(", ")) },
            ));
        }
        Ok(vec![Happening::Ticked { stage, item, by }])
    };
    work::decide(context, &args.run.clone(), decision, None).await
}
