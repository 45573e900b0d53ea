//! `weiche stuck`: the hosts of a run that could not be taken back, why, and what can be done.

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::view::View;

/// List the hosts that could not be taken back, why, and what can be done
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let store = work::store(context, None).await?;
    let (run, _) = work::find_run(store.as_ref(), &args.run).await?;
    let events = store.events(&run.id).await.map_err(|e| Failure::of("read the run log", &e))?;
    let view = View::of(&run.id, &events);
    let stuck: Vec<_> = view.hosts.iter().filter(|(_, host)| host.stuck_fault.is_some()).collect();
    if context.json {
        let all: std::collections::BTreeMap<_, _> = stuck.iter().copied().collect();
        work::print(&(serde_json::to_string(&all).unwrap_or_default() + "\n"));
    } else if stuck.is_empty() {
        work::print(&format!("No host of run {} is stuck.\n", run.id));
    } else {
        work::print(&crate::show::status::stuck(&view));
    }
    Ok(if stuck.is_empty() { Exit::Done } else { Exit::Stuck })
}
