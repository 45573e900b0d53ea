//! `weiche plan`: looks at the hosts and prints what a playbook would change.

use std::path::PathBuf;

use super::exit::{Exit, Failure};
use super::output::{self, Files};
use super::{Context, work};

/// Show what a playbook would change, with the undo beside it (exit code 2 if anything)
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
    files: Files,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let what = format!("weiche plan {}", args.playbook);
    let inputs = work::inputs(&args.inputs)?;
    args.files.begin(&what)?;
    let prepared = match work::prepare(context, &args.playbook, &inputs, None).await {
        Ok(prepared) => prepared,
        Err(failure) => return args.files.fail(&what, failure),
    };
    prepared.pool.close().await;
    let saved = crate::plan::write(&prepared.plan);
    if let Some(path) = &args.output {
        output::whole(path, &saved)?;
    }
    let exit = if prepared.plan.changes() == 0 { Exit::Done } else { Exit::Pending };
    let junit = || crate::show::junit::plan(&prepared.plan);
    args.files.write(junit, || crate::show::markdown::plan(&prepared.plan, exit.code()))?;
    if context.json {
        work::print(&saved);
    } else {
        work::print(&crate::show::plan::text(&prepared.plan));
        if let Some(path) = &args.output {
            work::print(&format!("Saved. Carry it out with: weiche apply --plan {}\n", path.display()));
        }
    }
    Ok(exit)
}
