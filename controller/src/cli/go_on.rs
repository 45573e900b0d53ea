//! `weiche continue`: lets a paused or held run go on.

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::rollout::Happening;

/// Let a run go on that was paused, or that stopped itself
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
    #[command(flatten)]
    rehearse: super::apply::Rehearse,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let by = context.who.clone();
    work::decide(context, &args.run, |_, _| Ok(vec![Happening::Continued { by }]), Some(&args.rehearse)).await
}
