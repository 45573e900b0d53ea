//! `weiche pause`: nothing more of a run begins; what has begun ends.

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::rollout::Happening;

/// Let nothing more of a run begin; what has begun ends
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let by = context.who.clone();
    work::decide(context, &args.run, |_, _| Ok(vec![Happening::Paused { by }]), None).await
}
