//! `weiche status`: all runs, or one in full, with what is safe to do now.

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::calendar::Zone;
use crate::drive::clock::now_ms;
use crate::forecast;
use crate::view::{State, View};

/// Show runs and where they stand, and what can be done now
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`; all if left out
    run: Option<String>,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let store = work::store(context, None).await?;
    let read = |e| Failure::of("read the run log", &e);
    let runs = match &args.run {
        Some(name) => vec![work::find_run(store.as_ref(), name).await?.0],
        None => store.runs().await.map_err(read)?,
    };
    let mut views = Vec::new();
    let mut zone = Zone::UTC;
    for run in &runs {
        let events = store.events(&run.id).await.map_err(read)?;
        let mut view = View::of(&run.id, &events);
        let plan = if args.run.is_some() || view.started_ms == 0 { crate::plan::read(&run.plan).ok() } else { None };
        if view.started_ms == 0 {
            view.started_ms = run.created_ms;
            view.playbook = plan.as_ref().map(|plan| plan.playbook.clone()).unwrap_or_default();
        }
        if let (true, Some(plan)) = (args.run.is_some(), plan) {
            zone = plan.zone();
            if let State::Forward(_) = view.state {
                // As it lies now, not when somebody looked last.
                view.reckoning = forecast::now(&plan, events.iter().map(|event| (event.at_ms, &event.what)), now_ms());
            }
        }
        views.push(view);
    }
    if context.json {
        let lines: Vec<String> = views.iter().filter_map(|view| serde_json::to_string(view).ok()).collect();
        work::print(&(lines.join("\n") + "\n"));
    } else if args.run.is_some() {
        views.iter().for_each(|view| work::print(&crate::show::status::one(view, &zone)));
    } else {
        work::print(&crate::show::status::list(&views));
    }
    Ok(Exit::Done)
}
