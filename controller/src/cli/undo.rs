//! `weiche undo`: deals with a host that is stuck.

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::input::target::HostName;
use crate::rollout::{Happening, Settled};
use crate::view::{Host, View};

/// Deal with a host that is stuck: try again, or say how it was settled
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
    /// The host: MEMBER/HOST
    host: String,
    /// Take it back once more: the cause is mended
    #[arg(long, group = "how", required_unless_present_any = ["mark_done", "forward"])]
    retry: bool,
    /// It was taken back by hand
    #[arg(long, group = "how", requires = "reason")]
    mark_done: bool,
    /// It stays as it is
    #[arg(long, group = "how", requires = "reason")]
    forward: bool,
    /// Why, for the run log
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    rehearse: super::apply::Rehearse,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let how = match (args.mark_done, args.forward) {
        (true, _) => Settled::ByHand,
        (_, true) => Settled::Forward,
        _ => Settled::Retry,
    };
    let (host, by) = (HostName(args.host.clone()), context.who.clone());
    let reason = args.reason.unwrap_or_else(|| "the cause is mended".into());
    let decision = |_: &_, view: &View| {
        let stuck = |host: &Host| host.stuck_fault.is_some();
        if !view.hosts.get(&host).is_some_and(stuck) {
            let all: Vec<String> =
                view.hosts.iter().filter(|(_, h)| stuck(h)).map(|(name, _)| name.to_string()).collect();
            let hint = if all.is_empty() { "no host is".into() } else { format!("these are: {}", all.join(", ")) };
            return Err(Failure::new(format!("{host} is not stuck in run {}", view.run)).hint(hint));
        }
        Ok(vec![Happening::HostSettled { host, by, how, reason }])
    };
    work::decide(context, &args.run, decision, Some(&args.rehearse)).await
}
