//! `weiche report`: a run as a report for programs.

use super::exit::{Exit, Failure};
use super::{Context, work};

/// Print a run's report
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
    /// The form
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Json,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let store = work::store(context, None).await?;
    let (run, plan) = work::find_run(store.as_ref(), &args.run).await?;
    let events = store.events(&run.id).await.map_err(|e| Failure::of("read the run log", &e))?;
    match args.format {
        Format::Json => work::print(&crate::show::report::json(&plan, &events)),
    }
    Ok(Exit::Done)
}
