//! `weiche catch-up`: does a run on the hosts that were switched off.

use super::exit::{Exit, Failure};
use super::{Context, work};

/// Do a run on the hosts that were switched off and are on now
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
    #[command(flatten)]
    rehearse: super::apply::Rehearse,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    work::decide(context, &args.run, |_, _| Ok(Vec::new()), Some(&args.rehearse)).await
}
