//! Stages that the hosts take back by themselves: armed before their first change, confirmed over a new connection once
//! their probes pass.

use std::time::Duration;

use tokio::time::Instant;
use weiche_agent::digest::Digest;
use weiche_agent::protocol::{Fault, FaultCode, GuardState};

use super::lost::Search;
use super::observe::unknown;
use super::shared::{Events, Shared, as_fault};
use super::{host, probe, turns};
use crate::input::target::HostName;
use crate::plan::procedure::Action;
use crate::plan::rules::LOST;
use crate::plan::{Stage, Step};
use crate::rollout::Happening;
use crate::rollout::rules::Rules;

/// How long a host may take to arm or to confirm.
const ANSWER: Duration = Duration::from_secs(30);

/// The only thing that confirms. Whoever has the plan and the name of the run can confirm, so a controller that takes over
/// can; and no other run can.
fn nonce(shared: &Shared, host: &HostName, stage: &str) -> String {
    Digest::of(format!("{}\n{}\n{stage}\n{host}", shared.plan.nonce, shared.run).as_bytes()).to_string()
}

fn stage<'a>(shared: &'a Shared, name: &str) -> Option<&'a Stage> {
    shared.plan.stages.iter().find(|stage| stage.name == name)
}

fn ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Until when the stage must be confirmed, from its beginning: `within`, or its steps' bounds and the time to confirm.
fn deadline(rules: &Rules, steps: &[Step]) -> Duration {
    match (rules.within_ms, rules.guard_ms) {
        (Some(within), _) => ms(within),
        (None, guard) => host::bound(steps) + ms(guard.unwrap_or(0)),
    }
}

/// Arms the stage's guard on the host, if it has one.
pub(super) async fn arm(shared: &Shared, host: &HostName, name: &str) -> Result<(), Fault> {
    let Some(stage) = stage(shared, name).filter(|stage| stage.rules.guarded()) else { return Ok(()) };
    let steps = stage.hosts.get(host).map_or(&[][..], Vec::as_slice);
    let deadline = deadline(&stage.rules, steps).saturating_sub(turns::ahead(stage, host));
    armed(shared, host, name, deadline).await
}

async fn armed(shared: &Shared, host: &HostName, name: &str, deadline: Duration) -> Result<(), Fault> {
    let arm = || async {
        let (mut held, _permit) = shared.pool.hold(host).await.ok_or_else(unknown)?;
        let session = held.session().await?;
        Ok(session.arm(&shared.run, name, &nonce(shared, host, name), deadline, ANSWER).await?)
    };
    match Search::upto(LOST).ask(host, arm).await.map_err(|error| as_fault(error).within("arm the guard"))? {
        GuardState::Armed { .. } => Ok(()),
        state => Err(Fault::new(FaultCode::TakenBack, format!("the guard is not armed but {state:?}"))),
    }
}

/// How long the stage may wait to be confirmed once it is through on a host.
pub(super) fn confirm_within(shared: &Shared, name: &str) -> Option<Duration> {
    stage(shared, name).and_then(|stage| stage.rules.guard_ms).map(ms)
}

/// The stage is through on the host: its own time to be confirmed begins.
pub(super) async fn through(shared: &Shared, host: &HostName, name: &str) -> Result<(), Fault> {
    match confirm_within(shared, name) {
        Some(guard) => armed(shared, host, name, guard).await,
        None => Ok(()),
    }
}

/// Confirms the host's part of a stage: over a new connection, after the stage's checks have passed once more.
pub(super) async fn confirm(shared: &Shared, host: &HostName, name: &str, events: &Events) {
    let (host, stage) = (host.clone(), name.to_owned());
    let confirmed = match shared.turns.turn_to_confirm(name, &host).await {
        Ok(()) => confirmed(shared, &host, name).await,
        Err(fault) => Err(fault),
    };
    events.send(match confirmed {
        Ok(()) => {
            shared.turns.confirmed(name, &host);
            Happening::HostConfirmed { host, stage }
        }
        Err(fault) => {
            shared.turns.fail(name, &host);
            Happening::HostFailed { host, stage, fault: fault.within("confirm the stage") }
        }
    });
}

/// What it says by then.
async fn by(until: Instant, checks: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
    let late = |_| Fault::new(FaultCode::Timeout, "the stage's checks did not pass once more in time");
    tokio::time::timeout_at(until, checks).await.map_err(late)?
}

/// Looks once more whether all is as the stage's checks want it.
async fn checks(shared: &Shared, host: &HostName, part: Option<&Stage>) -> Result<(), Fault> {
    for step in part.and_then(|stage| stage.hosts.get(host)).into_iter().flatten() {
        if let Action::Check(check) = &step.action {
            let session = || async { shared.pool.hold(host).await.ok_or_else(|| as_fault(unknown().into())) };
            probe::check(check, session).await.map_err(|fault| fault.within(format!("step {}", check.id)))?;
        }
    }
    Ok(())
}

async fn confirmed(shared: &Shared, host: &HostName, name: &str) -> Result<(), Fault> {
    let part = stage(shared, name);
    // As long as the host waits, a line that is cut can come back in time.
    let waits = part.and_then(|stage| stage.rules.guard_ms.or(stage.rules.within_ms)).map_or(LOST, ms);
    let waits = waits.max(LOST);
    let (until, mut search) = (Instant::now() + waits, Search::from_now(waits));
    let connect = || async {
        let (mut held, _permit) = shared.pool.hold(host).await.ok_or_else(unknown)?;
        held.close();
        held.session().await?;
        Ok(())
    };
    search.ask(host, connect).await.map_err(as_fault)?;
    // Behind its time the host is not confirmed any more, whatever they say.
    by(until, checks(shared, host, part)).await?;
    // A second time it says the same.
    let confirm = || async {
        let (mut held, _permit) = shared.pool.hold(host).await.ok_or_else(unknown)?;
        let session = held.session().await?;
        Ok(session.confirm(&shared.run, name, &nonce(shared, host, name), ANSWER).await?)
    };
    match search.ask(host, confirm).await.map_err(as_fault)? {
        GuardState::Confirmed => Ok(()),
        state => Err(Fault::new(FaultCode::TakenBack, format!("the guard is not confirmed but {state:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn checks_that_hang_do_not_keep_a_host_from_counting_as_not_confirmed() {
        let fault = by(Instant::now(), std::future::pending()).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::Timeout);
        by(Instant::now(), std::future::ready(Ok(()))).await.unwrap();
    }
}
