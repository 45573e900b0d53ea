//! `weiche rollback`: takes a run back, also long after it is done.

use std::sync::Arc;

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::drive::run::{Ending, Job, Rehearsal, Start};
use crate::rollout::Outcome;

/// Take a run back, last step first
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
    let view = crate::view::View::of(&stored.id, &events);
    if view.state == crate::view::State::Ended(Outcome::RolledBack) {
        return Err(Failure::new(format!("run {} was taken back already", stored.id)));
    }
    if events.is_empty() {
        return Err(Failure::new(format!("run {} was never begun: there is nothing to take back", stored.id)));
    }
    let pool = Arc::new(work::pool(&loaded, &work::hosts_of_plan(&plan))?);
    let rehearsal: Rehearsal = args.rehearse.parse()?;
    let fleet_dir = loaded.dir().to_owned();
    let job = Job { run: stored.id.clone(), plan, contents: Default::default(), fleet_dir, pool, store, rehearsal };
    let ending = work::drive(context, job, Start::Rollback("asked for by the operator".into())).await?;
    match ending {
        Ending::Ended(Outcome::RolledBack) => Ok(Exit::Done),
        other => Ok(work::tell(context, &stored.id, other)),
    }
}
