//! `weiche resume`: goes on with a run that was cut off or waited for a person.

use super::apply::Rehearse;
use super::exit::{Exit, Failure};
use super::work::Opened;
use super::{Context, work};
use crate::drive::run::Start;
use crate::plan::Plan;
use crate::view::State;

/// Go on with a run that was cut off, or that waited for a person
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
    #[command(flatten)]
    rehearse: super::apply::Rehearse,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let opened = work::open_run(context, &args.run).await?;
    if let State::Ended(_) = opened.view.state {
        let id = &opened.id;
        return Err(Failure::new(format!("run {id} has ended: there is nothing to go on with"))
            .hint(format!("weiche status {id}")));
    }
    go_on(context, opened, &args.rehearse).await
}

/// Goes on with a run, forward or back.
pub(super) async fn go_on(context: &Context, opened: Opened, how: &Rehearse) -> Result<Exit, Failure> {
    let id = opened.id.clone();
    let forward = !matches!(opened.view.state, State::Backward | State::Ended(_));
    let mut contents = if forward { contents(&opened.loaded, &opened.plan, id.as_str())? } else { Default::default() };
    work::fetch(&opened.plan, &mut contents, opened.loaded.dir()).await?;
    let ending = opened.drive(context, contents, (how.parse()?, how.patience()), Start::Resume).await?;
    Ok(work::tell(context, &id, ending))
}

/// The contents that the rest of the run needs: the fleet must still say what it said.
fn contents(
    loaded: &crate::input::load::Loaded,
    plan: &Plan,
    run: &str,
) -> Result<std::collections::BTreeMap<weiche_agent::digest::Digest, crate::plan::procedure::Content>, Failure> {
    let procedure = work::expand(loaded, &plan.playbook, &work::inputs_of(plan), Some(&plan.nonce))?;
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
