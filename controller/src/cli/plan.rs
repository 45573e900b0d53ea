//! `weiche plan`: looks at the hosts and prints what a playbook would change.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::path::PathBuf;

use super::exit::{Exit, Failure};
use super::expect::When;
use super::{Context, work};

/// Show what a playbook would change, with the undo beside it (exit code 2 if anything, 5 if it does not fit its windows)
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The playbook
    playbook: String,
    /// Its inputs, NAME=VALUE each
    inputs: Vec<String>,
    /// Save the plan for `weiche apply --plan FILE`
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    when: When,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let prepared = work::prepare(context, &args.playbook, &work::inputs(&args.inputs)?, None).await?;
    prepared.pool.close().await;
    let forecast = args.when.forecast(&prepared.plan, &prepared.loaded)?;
    let saved = crate::plan::write(&prepared.plan);
    if let Some(path) = &args.output {
        std::fs::write(path, &saved).map_err(|e| Failure::of(&format!("write {}", path.display()), &e))?;
    }
    if context.json {
        work::print(&saved);
    } else {
        work::print(&crate::show::plan::text(&prepared.plan));
        if prepared.plan.changes() > 0 {
            work::print(&crate::show::forecast::text(&forecast, prepared.loaded.fleet().zone()));
        }
        if let Some(path) = &args.output {
            work::print(&format!("Saved. Carry it out with: weiche apply --plan {}\n", path.display()));
        }
    }
    Ok(match prepared.plan.changes() {
        0 => Exit::Done,
        _ if !forecast.fits => Exit::DoesNotFit,
        _ => Exit::Pending,
    })
}
