//! The certificate of a run: each host's manifest, taken before its first change and compared once it is taken back.

use std::time::Duration;

use weiche_agent::protocol::{Fault, Scope};

use super::observe::unknown;
use super::pool::HostError;
use super::shared::{Events, Shared, as_fault};
use crate::input::target::HostName;
use crate::plan::Plan;
use crate::plan::procedure::Action;
use crate::rollout::{Happening, Verdict};

/// How long listing or comparing a host may take: disks full of files are read whole.
pub const LOOK: Duration = Duration::from_secs(3600);

/// Whether this is the first stage that the host has a part in.
pub(super) fn is_first(plan: &Plan, host: &HostName, stage: &str) -> bool {
    plan.stages.iter().find(|s| s.hosts.contains_key(host)).is_some_and(|s| s.name == stage)
}

/// What a run manages on a host, and what the member watches; `None` if the run changes nothing there.
fn scope(plan: &Plan, host: &HostName) -> Option<Scope> {
    let own = || plan.steps().filter(|(_, h, _)| *h == host).map(|(.., step)| step);
    if !own().any(|step| step.outlook.changes) {
        return None;
    }
    let watch = plan.watch.get(host).cloned().unwrap_or_default();
    let mut scope = Scope { watch: watch.paths, except: watch.except, ..Scope::default() };
    for step in own() {
        match &step.action {
            Action::Resource(step) => scope.steps.push(step.clone()),
            Action::Transfer(transfer) => scope.listed.push(transfer.path.clone()),
            _ => {}
        }
    }
    Some(scope)
}

/// Lets the agent take the host's manifest.
pub(super) async fn take(shared: &Shared, host: &HostName, events: &Events) -> Result<(), Fault> {
    let Some(scope) = scope(&shared.plan, host) else { return Ok(()) };
    let (mut held, _permit) = shared.pool.hold(host).await.ok_or_else(|| as_fault(unknown().into()))?;
    let session = held.session().await.map_err(|e| as_fault(e.into()))?;
    let taken = session.witness(&shared.run, scope, LOOK).await.map_err(|e| as_fault(e.into()))?;
    if let Some(manifest) = taken {
        events.send(Happening::HostWitnessed { host: host.clone(), manifest });
    }
    Ok(())
}

/// Lets the agent compare. That it cannot is no reason to call the host stuck: it is told as a difference.
pub(super) async fn verify(shared: &Shared, host: &HostName, events: &Events) {
    let verdict: Result<Option<Verdict>, HostError> = async {
        let (mut held, _permit) = shared.pool.hold(host).await.ok_or_else(unknown)?;
        Ok(held.session().await?.verify(&shared.run, LOOK).await?)
    }
    .await;
    match verdict {
        Ok(Some(verdict)) => {
            events.send(Happening::HostVerified { host: host.clone(), verdict });
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%host, "the host could not be compared with its manifest: {}", as_fault(error)),
    }
}
