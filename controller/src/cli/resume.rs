//! `weiche resume`: goes on with a run that was cut off or waited for a person.

use std::sync::Arc;

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::drive::run::{Job, Start};
use crate::plan::Plan;
use crate::view::{State, View};

/// Go on with a run that was cut off, or that waited for a person
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
    #[command(flatten)]
    rehearse: super::apply::Rehearse,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let loaded = work::load_fleet(context)?;
    let store = work::store(context, Some(&loaded)).await?;
    let (stored, plan) = work::find_run(store.as_ref(), &args.run).await?;
    let _lock = work::lock_run(&work::store_dir(context, &loaded), &stored.id)?;
    let events = store.events(&stored.id).await.map_err(|e| Failure::of("read the run log", &e))?;
    let view = View::of(&stored.id, &events);
    if let State::Ended(_) = view.state {
        return Err(Failure::new(format!("run {} has ended: there is nothing to go on with", stored.id))
            .hint(format!("weiche status {}", stored.id)));
    }
    let forward = view.state != State::Backward;
    let contents = if forward { contents(&loaded, &plan, stored.id.as_str())? } else { Default::default() };
    let pool = Arc::new(work::pool(&loaded, &work::hosts_of_plan(&plan))?);
    let rehearsal = args.rehearse.parse()?;
    let fleet_dir = loaded.dir().to_owned();
    let job = Job { run: stored.id.clone(), plan, contents, fleet_dir, pool, store, rehearsal };
    let ending = work::drive(context, job, Start::Resume).await?;
    Ok(work::tell(context, &stored.id, ending))
}

/// The contents that the rest of the run needs: the fleet must still say what it said.
fn contents(
    loaded: &crate::input::load::Loaded,
    plan: &Plan,
    run: &str,
) -> Result<std::collections::BTreeMap<weiche_agent::digest::Digest, crate::plan::procedure::Content>, Failure> {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let inputs: Vec<(String, String)> = plan.inputs.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    let procedure = work::expand(loaded, &plan.playbook, &inputs)?;
    let planned: Vec<_> = plan.steps().map(|(stage, host, step)| (stage, host, &step.action)).collect();
    let now: Vec<_> = procedure
        .stages
        .iter()
        .flat_map(|s| s.hosts.iter().flat_map(move |(h, a)| a.iter().map(move |a| (s.name.as_str(), h, a))))
        .collect();
    if planned != now {
        return Err(Failure::new("the fleet's files have changed since the plan was made")
            .hint(format!("restore them, or take the run back: weiche rollback {run}")));
    }
    Ok(procedure.contents)
}
