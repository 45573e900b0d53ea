//! `weiche report`: a run as a report for programs.

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::view::View;

/// Print a run's report
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
    /// The form
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Write it into this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<std::path::PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Json,
    Junit,
    Markdown,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    if context.json && !matches!(args.format, Format::Json) {
        return Err(Failure::new("a report has one form").hint("leave `--json` or `--format` out"));
    }
    let store = work::store(context, None).await?;
    let (run, plan) = work::find_run(store.as_ref(), &args.run).await?;
    let events = store.events(&run.id).await.map_err(|e| Failure::of("read the run log", &e))?;
    let view = View::of(&run.id, &events);
    let text = match args.format {
        Format::Json => crate::show::report::json(&plan, &events),
        Format::Junit => crate::show::junit::run(&plan, &view),
        Format::Markdown => crate::show::markdown::run(&view),
    };
    match args.output {
        Some(path) => super::output::whole(&path, &text)?,
        None => work::print(&text),
    }
    Ok(Exit::Done)
}
