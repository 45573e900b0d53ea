//! Looks at every host of a procedure: facts, the state of each resource, the trees of each transfer.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use weiche_agent::protocol::{Entry, Facts, Fault, FaultCode, Proof, Step};
use weiche_agent::resources::replica::Manifest;

use super::pool::{HostError, Pool};
use super::session::{Session, SessionError};
use crate::input::target::HostName;
use crate::plan::procedure::{Action, Procedure, Transfer};
use crate::plan::{Seen, Tree, transfer_outlook};

/// How long looking at one host may take, besides what its steps allow themselves.
const LOOK: Duration = Duration::from_secs(120);

/// Looks at all hosts at once.
///
/// # Errors
/// One for each host that was not reached or did not answer; nothing was changed anywhere.
pub async fn observe(
    procedure: &Procedure,
    pool: &Arc<Pool>,
) -> Result<BTreeMap<HostName, Seen>, Vec<(HostName, HostError)>> {
    let mut work: BTreeMap<HostName, (Vec<Step>, Vec<Transfer>)> = BTreeMap::new();
    for (host, actions) in procedure.stages.iter().flat_map(|stage| &stage.hosts) {
        let (steps, transfers) = work.entry(host.clone()).or_default();
        for action in actions {
            match action {
                Action::Resource(step) => steps.push(step.clone()),
                Action::Transfer(transfer) => transfers.push(transfer.clone()),
                Action::Check(_) | Action::Manual(_) | Action::Reboot(_) => {}
            }
        }
    }
    let late = waited_for(procedure);
    each(work, |host, (steps, transfers)| {
        let (pool, late) = (Arc::clone(pool), late.contains(&host));
        async move {
            match look(&pool, &host, &steps, &transfers).await {
                Err(HostError::Connect(error)) if late && error.is_away() => Ok(Seen { away: true, ..Seen::default() }),
                other => other,
            }
        }
    })
    .await
}

/// The hosts that are waited for if they are switched off.
fn waited_for(procedure: &Procedure) -> BTreeSet<HostName> {
    let waits = |stage: &&crate::plan::procedure::Stage| stage.rules.offline_ms.is_some();
    let (late, now): (Vec<_>, Vec<_>) = procedure.stages.iter().partition(waits);
    let now: BTreeSet<&HostName> = now.into_iter().flat_map(|stage| stage.hosts.keys()).collect();
    let late = late.into_iter().flat_map(|stage| stage.hosts.keys());
    late.filter(|host| !now.contains(host)).cloned().collect()
}

/// What a host answers to one question, in the future.
pub type Answer<'s, T> = Pin<Box<dyn Future<Output = Result<T, SessionError>> + Send + 's>>;

/// Answers by host, and why others did not answer.
pub type Answers<T> = (BTreeMap<HostName, T>, Vec<(HostName, HostError)>);

/// Gathers the facts of hosts, all at once.
pub async fn facts(hosts: Vec<HostName>, pool: &Arc<Pool>) -> Answers<Facts> {
    ask(hosts, pool, |session| Box::pin(session.facts(LOOK))).await
}

/// Asks hosts one question, all at once.
pub async fn ask<T: Send + 'static>(
    hosts: Vec<HostName>,
    pool: &Arc<Pool>,
    question: impl for<'s> Fn(&'s mut Session) -> Answer<'s, T> + Clone + Send + Sync + 'static,
) -> Answers<T> {
    let mut tasks = JoinSet::new();
    for host in hosts {
        let (pool, question) = (Arc::clone(pool), question.clone());
        tasks.spawn(async move {
            let answer = async {
                let (mut held, _permit) = pool.hold(&host).await.ok_or_else(unknown)?;
                Ok(question(held.session().await?).await?)
            };
            let answer: Result<T, HostError> = answer.await;
            (host, answer)
        });
    }
    let (mut found, mut errors) = (BTreeMap::new(), Vec::new());
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok((host, Ok(answer))) => drop(found.insert(host, answer)),
            Ok((host, Err(error))) => errors.push((host, error)),
            Err(_) => {}
        }
    }
    errors.sort_by(|a, b| a.0.cmp(&b.0));
    (found, errors)
}

async fn look(pool: &Pool, host: &HostName, steps: &[Step], transfers: &[Transfer]) -> Result<Seen, HostError> {
    let mut seen = Seen::default();
    {
        let (mut held, _permit) = pool.hold(host).await.ok_or_else(unknown)?;
        let session = held.session().await?;
        let bound = steps.iter().fold(LOOK, |sum, step| sum + Duration::from_millis(step.timeout_ms).min(LOOK));
        (seen.facts, seen.observations) = session.look(steps.to_vec(), bound).await?;
        seen.unidentified = identified(session, &seen.facts)? == Proof::Untold;
    }
    let mut sources = BTreeSet::new();
    for transfer in transfers {
        let (mut here, mut from) = pool.hold_both(host, &transfer.from).await.ok_or_else(unknown)?;
        if sources.insert(&transfer.from) {
            // Nobody takes the data of the wrong machine, either.
            let from = from.session().await?;
            if !from.expected().is_empty() {
                let facts = from.facts(LOOK).await?;
                identified(from, &facts)?;
            }
        }
        let source: Manifest = manifest(from.session().await?.scan(&transfer.path, LOOK).await?);
        let here: Manifest = manifest(here.session().await?.scan(&transfer.path, LOOK).await?);
        if source.is_empty() {
            let message = format!("{} has no directory {}", transfer.from, transfer.path);
            return Err(SessionError::Fault(Fault::new(FaultCode::NotFound, message)).into());
        }
        let outlook = transfer_outlook(transfer, Tree { source: &source, here: &here });
        seen.transfers.insert(transfer.id.clone(), outlook);
    }
    Ok(seen)
}

/// Whether this is the machine that the inventory means.
fn identified(session: &Session, facts: &Facts) -> Result<Proof, SessionError> {
    let expect = session.expected();
    expect.check(&facts.hardware.serial, &facts.machine_id, facts.simulated).map_err(SessionError::Fault)
}

async fn each<W, T, F>(
    work: BTreeMap<HostName, W>,
    task: impl Fn(HostName, W) -> F,
) -> Result<BTreeMap<HostName, T>, Vec<(HostName, HostError)>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, HostError>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for (host, work) in work {
        let task = task(host.clone(), work);
        tasks.spawn(async move { (host, task.await) });
    }
    let (mut found, mut errors) = (BTreeMap::new(), Vec::new());
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok((host, Ok(value))) => drop(found.insert(host, value)),
            Ok((host, Err(error))) => errors.push((host, error)),
            // A task that panicked is our bug; its host is missing from the plan and says so there.
            Err(_) => {}
        }
    }
    if errors.is_empty() {
        return Ok(found);
    }
    errors.sort_by(|a, b| a.0.cmp(&b.0));
    Err(errors)
}

/// Entries by path.
pub(super) fn manifest(entries: Vec<Entry>) -> Manifest {
    entries.into_iter().map(|entry| (entry.path.clone(), entry)).collect()
}

/// A host that the pool was not made for: our bug, told as a fault.
pub(super) fn unknown() -> SessionError {
    SessionError::Fault(Fault::new(FaultCode::Unknown, "there is no connection for this host"))
}
