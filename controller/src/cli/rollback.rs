//! `weiche rollback`: takes a run back, also long after it is done.

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::drive::run::{Ending, Start};
use crate::rollout::Outcome;
use crate::view::State;

/// Take a run back, last step first
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
    /// Also where others have changed since what the run had made; a copy of theirs is kept on the host
    #[arg(long)]
    take_back_anyway: bool,
    #[command(flatten)]
    rehearse: super::apply::Rehearse,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let opened = work::open_run(context, &args.run).await?;
    let (id, state) = (opened.id.clone(), &opened.view.state);
    if matches!(state, State::Ended(Outcome::RolledBack | Outcome::Differs)) {
        return Err(Failure::new(format!("run {id} was taken back already")));
    }
    if opened.view.last_seq == 0 {
        return Err(Failure::new(format!("run {id} was never begun: there is nothing to take back")));
    }
    let start = Start::Rollback { reason: "asked for by the operator".into(), over_drift: args.take_back_anyway };
    let ending =
        opened.drive(context, Default::default(), (args.rehearse.parse()?, args.rehearse.patience()), start).await?;
    match ending {
        Ending::Ended(Outcome::RolledBack) => Ok(Exit::Done),
        other => Ok(work::tell(context, &id, other)),
    }
}
