//! `weiche abort`: ends a run and takes everything back, or leaves it as it is.

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::rollout::Happening;
use crate::view::{State, View};

/// End a run: what works ends its part, then everything is taken back
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
    /// Leave every host as it is instead
    #[arg(long)]
    leave: bool,
    #[command(flatten)]
    rehearse: super::apply::Rehearse,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let (by, leave) = (context.who.clone(), args.leave);
    let decision = |_: &_, view: &View| match &view.state {
        State::Ended(_) => {
            Err(Failure::new("the run has ended").hint(format!("take it back with: weiche rollback {}", view.run)))
        }
        _ => Ok(vec![Happening::Aborted { by, leave }]),
    };
    work::decide(context, &args.run, decision, Some(&args.rehearse)).await
}
