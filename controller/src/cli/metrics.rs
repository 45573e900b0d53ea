//! `weiche metrics`: runs, services and the outbox for Prometheus.

use std::path::PathBuf;

use super::exit::{Exit, Failure};
use super::{Context, output, work};
use crate::view::View;

/// Print metrics for Prometheus (text format; as a file for node_exporter's textfile collector)
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write them into this file: whole, and renamed; its name should end with `.prom`
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    if context.json {
        return Err(Failure::new("metrics are told as Prometheus reads them").hint("as JSON: `weiche status --json`"));
    }
    let store = work::store(context, None).await?;
    let read = |e| Failure::of("read the run log", &e);
    let mut views = Vec::new();
    for run in store.runs().await.map_err(read)? {
        views.push(View::of(&run.id, &store.events(&run.id).await.map_err(read)?));
    }
    // A run of which nothing is in the log has not begun.
    views.retain(|view| view.last_seq > 0);
    let text = crate::show::metrics::runs(&views, &store.mailboxes().await.map_err(read)?);
    match args.output {
        Some(path) => output::whole(&path, &text)?,
        None => work::print(&text),
    }
    Ok(Exit::Done)
}
