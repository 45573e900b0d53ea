//! `weiche log`: the events of a run, a JSON line or a readable line each.

use weiche_agent::protocol::RunId;

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::calendar::Zone;
use crate::rollout::Happening;
use crate::show::service::{name as seen, seconds, why};

/// Print the events of a run
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let store = work::store(context, None).await?;
    let (run, _) = work::find_run(store.as_ref(), &args.run).await?;
    let events = store.events(&run.id).await.map_err(|e| Failure::of("read the run log", &e))?;
    for event in &events {
        let line = if context.json {
            serde_json::to_string(event).unwrap_or_default()
        } else {
            format!("{:>5}  {}  {}", event.seq, crate::show::time(event.at_ms), words(&event.what, &event.run))
        };
        work::print(&(line + "\n"));
    }
    Ok(Exit::Done)
}

fn words(what: &Happening, run: &RunId) -> String {
    match what {
        Happening::RunStarted { playbook, plan } => format!("run of {playbook} started, plan {}", plan.short()),
        Happening::StageStarted { stage } => format!("stage {stage} started"),
        Happening::Step { host, event } => {
            format!("{host} {} {} ({} us)", event.step, crate::show::outcome(&event.what), event.took_us)
        }
        Happening::WaveStarted { stage, wave } => format!("stage {stage} wave {} started", wave + 1),
        Happening::HostBegun { host, stage } => format!("{host} {stage} begun"),
        Happening::HostConfirmed { host, stage } => format!("{host} {stage} confirmed"),
        Happening::HostOffline { host, stage, fault } => format!("{host} {stage} waits, switched off: {fault}"),
        Happening::HostGivenUp { host, stage } => format!("{host} {stage} is not waited for any more"),
        Happening::ServicesWork { stage, wave } => {
            format!("the services work after wave {} of stage {stage}", wave + 1)
        }
        Happening::ServiceFailed { stage, service, fault } => {
            format!("{service} does not work in stage {stage}: {fault}")
        }
        Happening::ServiceAway { service, vantage, gap } => {
            format!("{} is away: {}", seen(service, vantage.as_ref()), gap.error)
        }
        Happening::ServiceBack { service, vantage, gap } => {
            format!("{} is back after {}", seen(service, vantage.as_ref()), seconds(gap.away_ms))
        }
        Happening::ServiceUntold { service, vantage, blank } => {
            format!("{} is not measured: {}", seen(service, Some(vantage)), why(blank))
        }
        Happening::ServiceTold { service, vantage, blank } => {
            format!("{} is measured again after {}", seen(service, Some(vantage)), seconds(blank.length_ms))
        }
        Happening::ServiceMeasured { service, vantage, measure } => {
            crate::show::service::text(&seen(service, vantage.as_ref()), measure)
        }
        Happening::Reckoned { reckoning } => {
            crate::show::reckoning::text(reckoning, run, &Zone::UTC).trim_start().to_owned()
        }
        Happening::Held { stage, reason } => format!("held in stage {stage}: {reason}"),
        Happening::Approved { stage, approval, .. } => format!("stage {stage} approved by {}", approval.principal),
        Happening::Ticked { stage, item, by } => format!("stage {stage}: {item}: ticked off by {by}"),
        Happening::Paused { by } => format!("paused by {by}"),
        Happening::Aborted { by, leave: true } => format!("aborted by {by}, everything stays as it is"),
        Happening::Aborted { by, .. } => format!("aborted by {by}"),
        Happening::Continued { by } => format!("goes on, says {by}"),
        Happening::HostSettled { host, by, how, reason } => format!("{host} {how} by {by}: {reason}"),
        Happening::HostDone { host, stage } => format!("{host} {stage} done"),
        Happening::HostFailed { host, stage, fault } => format!("{host} {stage} failed: {fault}"),
        Happening::HostWaits { host, step, text, .. } => format!("{host} {step} waits for a person: {text}"),
        Happening::HostWitnessed { host, manifest } => {
            format!("{host} listed: {} paths, sha256 {}", manifest.entries, manifest.digest.short())
        }
        Happening::HostVerified { host, verdict } if verdict.identical() => format!("{host} is identical to before"),
        Happening::HostVerified { host, verdict } => format!("{host} DIFFERS in {} place(s)", verdict.differences),
        Happening::RollbackStarted { reason, over_drift: false, .. } => format!("taking back: {reason}"),
        Happening::RollbackStarted { reason, .. } => format!("taking back, also over drift: {reason}"),
        Happening::Rebooting { host, step, boot_id } => format!("{host} {step} restarts, boot id until now {boot_id}"),
        Happening::HostUndone { host, stage } => format!("{host} {stage} taken back"),
        Happening::HostStuck { host, stage, fault, .. } => format!("{host} {stage} STUCK: {fault}"),
        Happening::RunEnded { outcome } => format!("run ended: {outcome:?}"),
    }
}
