//! `weiche plan`: looks at the hosts and prints what a playbook would change.

use std::path::PathBuf;

use super::exit::{Exit, Failure};
use super::expect::When;
use super::output::{self, Files};
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
    #[command(flatten)]
    files: Files,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let what = format!("weiche plan {}", args.playbook);
    let inputs = work::inputs(&args.inputs)?;
    args.files.begin(&what)?;
    let mut prepared = match work::prepare(context, &args.playbook, &inputs, None).await {
        Ok(prepared) => prepared,
        Err(failure) => return args.files.fail(&what, failure),
    };
    prepared.pool.close().await;
    args.when.note(&mut prepared.plan, prepared.loaded.fleet().zone())?;
    let forecast = args.when.forecast(&prepared.plan, &prepared.loaded)?;
    let saved = crate::plan::write(&prepared.plan);
    if let Some(path) = &args.output {
        output::whole(path, &saved)?;
    }
    let exit = match prepared.plan.changes() {
        0 => Exit::Done,
        _ if !forecast.fits => Exit::DoesNotFit,
        _ => Exit::Pending,
    };
    let told = match exit {
        Exit::Done => String::new(),
        _ => crate::show::forecast::text(&forecast, prepared.loaded.fleet().zone()),
    };
    let junit = || crate::show::junit::plan(&prepared.plan, &told, exit != Exit::DoesNotFit);
    args.files.write(junit, || crate::show::markdown::plan(&prepared.plan, &told, exit.code()))?;
    if context.json {
        work::print(&saved);
    } else {
        work::print(&crate::show::plan::text(&prepared.plan));
        work::print(&told);
        if let Some(path) = &args.output {
            work::print(&format!("Saved. Carry it out with: weiche apply --plan {}\n", path.display()));
        }
    }
    Ok(exit)
}
