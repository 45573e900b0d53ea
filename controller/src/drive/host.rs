//! One host's part of one stage, forward and back: consecutive resource steps are one request to its agent; checks,
//! transfers and manual steps are carried out from here, in between.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use weiche_agent::digest::Digest;
use weiche_agent::protocol::{Fault, FaultCode, Injection, Reply, Request, RunId, StepEvent, StepId, StepOutcome};
use weiche_agent::resource::kind;

use super::link::LinkError;
use super::observe::unknown;
use super::pool::{HostError, Pool};
use super::session::{Blob, Session, SessionError, Source};
use super::{probe, transfer};
use crate::input::target::HostName;
use crate::plan::procedure::{Action, Content};
use crate::plan::{Plan, Step};
use crate::rollout::Happening;
use crate::store::Store;

/// Time for the machinery around a stage's steps: connection, contents, journal.
const GRACE: Duration = Duration::from_secs(60);

/// Least time for taking one stage back, and how long an agent that still owns a step is waited for.
const UNDO: Duration = Duration::from_secs(600);

/// What every host's task shares.
pub(super) struct Shared {
    /// The run.
    pub(super) run: RunId,
    /// Its plan.
    pub(super) plan: Plan,
    /// Contents by digest.
    pub(super) contents: BTreeMap<Digest, Content>,
    /// Relative content paths start here.
    pub(super) fleet_dir: PathBuf,
    /// Connections.
    pub(super) pool: Arc<Pool>,
    /// For confirmations of manual steps.
    pub(super) store: Arc<dyn Store>,
    /// Rehearsed faults.
    pub(super) rehearsal: Rehearsal,
}

impl Shared {
    fn blob(&self, digest: Digest) -> Option<Blob> {
        let (size, source) = match self.contents.get(&digest)? {
            Content::Text(text) => (text.len() as u64, Source::Bytes(text.clone().into_bytes())),
            Content::File { path, size } => (*size, Source::File(self.fleet_dir.join(path))),
        };
        Some(Blob { digest, size, source })
    }
}

/// Faults to inject; agents on a real `/` refuse them.
#[derive(Clone, Debug, Default)]
pub struct Rehearsal {
    /// Step on a host -> what goes wrong.
    pub inject: BTreeMap<(HostName, StepId), Injection>,
    /// The agent of this host kills itself after so many journal records of a request.
    pub crash_agent: Option<(HostName, u64)>,
    /// The controller kills itself after this event of the run log.
    pub crash_after_event: Option<u64>,
}

/// Sends what happens to the dispatcher.
pub(super) type Events = mpsc::UnboundedSender<Happening>;

/// Carries out the host's part of a stage.
pub(super) async fn run(shared: &Shared, host: &HostName, stage: &str, events: &Events) {
    let what = match forward(shared, host, stage, events).await {
        Ok(None) => Happening::HostDone { host: host.clone(), stage: stage.into() },
        Ok(Some((step, text))) => Happening::HostWaits { host: host.clone(), stage: stage.into(), step, text },
        Err(fault) => Happening::HostFailed { host: host.clone(), stage: stage.into(), fault },
    };
    let _ = events.send(what);
}

/// Takes back the host's part of a stage.
pub(super) async fn undo(shared: &Shared, host: &HostName, stage: &str, events: &Events) {
    let begin = Instant::now();
    let what = loop {
        match backward(shared, host, stage, events).await {
            Ok(stuck) if stuck.is_empty() => {
                break Happening::HostUndone { host: host.clone(), stage: stage.into() };
            }
            Ok(steps) => {
                let fault = Fault::new(FaultCode::Io, "a step could not be taken back");
                break Happening::HostStuck { host: host.clone(), stage: stage.into(), steps, fault };
            }
            // The agent of a cut connection still finishes its step; its journal is ours when it is through.
            Err(HostError::Session(SessionError::Fault(fault)))
                if fault.code == FaultCode::Busy && begin.elapsed() < UNDO => {}
            Err(error) => {
                let fault = as_fault(error).hint(format!("once the host answers: weiche rollback {}", shared.run));
                break Happening::HostStuck { host: host.clone(), stage: stage.into(), steps: Vec::new(), fault };
            }
        }
    };
    let _ = events.send(what);
}

/// `Some` if the host now waits for a person.
async fn forward(
    shared: &Shared,
    host: &HostName,
    stage: &str,
    events: &Events,
) -> Result<Option<(StepId, String)>, Fault> {
    let stages = shared.plan.stages.iter().find(|s| s.name == stage);
    let steps: &[Step] = stages.and_then(|s| s.hosts.get(host)).map_or(&[], Vec::as_slice);
    let mut rest = steps;
    while let Some(first) = rest.first() {
        let resource = |step: &&Step| matches!(step.action, Action::Resource(_));
        let size = rest.iter().take_while(resource).count().max(1);
        let (part, after) = rest.split_at(size);
        rest = after;
        let begin = Instant::now();
        let outcome = match &first.action {
            Action::Resource(_) => {
                resources(shared, host, part, events).await?;
                continue;
            }
            Action::Transfer(transfer) => transfer::run(shared, host, transfer, events).await?,
            Action::Check(check) => {
                let session = || async { shared.pool.hold(host).await.ok_or_else(|| as_fault(unknown().into())) };
                probe::check(check, session).await?;
                StepOutcome::Unchanged
            }
            Action::Manual(manual) => {
                let name = format!("{host}:{}", manual.id);
                let confirmed = shared.store.confirmed(&shared.run).await.map_err(|e| {
                    Fault::new(FaultCode::Io, e.to_string()).within("ask the run log for a confirmation")
                })?;
                if !confirmed.contains(&name) {
                    return Ok(Some((manual.id.clone(), manual.text.clone())));
                }
                StepOutcome::Unchanged
            }
        };
        if !matches!(first.action, Action::Transfer(_)) {
            report(events, host, first.action.id(), outcome, begin);
        }
    }
    Ok(None)
}

async fn resources(shared: &Shared, host: &HostName, part: &[Step], events: &Events) -> Result<(), Fault> {
    let (mut held, _permit) = shared.pool.hold(host).await.ok_or_else(|| as_fault(unknown().into()))?;
    let session = held.session().await.map_err(|e| as_fault(e.into()))?;
    let (mut steps, mut contents) = (Vec::new(), Vec::new());
    let mut bound = GRACE;
    for planned in part {
        let Action::Resource(step) = &planned.action else { continue };
        let mut step = step.clone();
        bound += Duration::from_millis(step.timeout_ms) * 2;
        step.inject = shared.rehearsal.inject.get(&(host.clone(), step.id.clone())).copied();
        if planned.outlook.changes {
            let needed = kind(&step.kind).map(|k| blobs(k, &step.spec)).unwrap_or_default();
            contents.extend(needed.into_iter().filter_map(|digest| shared.blob(digest)));
        }
        steps.push(step);
    }
    let mut failed = None;
    let mut on_event = |event: StepEvent| {
        if let StepOutcome::Failed(fault) | StepOutcome::UndoFailed(fault) = &event.what {
            failed = Some(fault.clone().within(format!("step {}", event.step)));
        }
        let _ = events.send(Happening::Step { host: host.clone(), event });
    };
    let ok = stage(shared, host, session, (contents, steps), bound, &mut on_event).await?;
    if ok { Ok(()) } else { Err(failed.unwrap_or_else(|| Fault::new(FaultCode::Unknown, "the stage failed"))) }
}

/// Sends contents and steps to the host's agent: one round trip. Returns whether all steps succeeded.
pub(super) async fn stage(
    shared: &Shared,
    host: &HostName,
    session: &mut Session,
    (contents, steps): (Vec<Blob>, Vec<weiche_agent::protocol::Step>),
    within: Duration,
    on_event: &mut (dyn FnMut(StepEvent) + Send),
) -> Result<bool, Fault> {
    let crash_after_records = shared.rehearsal.crash_agent.as_ref().filter(|(name, _)| name == host).map(|(_, n)| *n);
    let request = Request::Stage { run: shared.run.clone(), steps, crash_after_records };
    let reply = session.carry_out(&shared.run, contents, &request, on_event, within).await;
    match reply.map_err(|e| as_fault(e.into()))? {
        Reply::StageEnd { ok } => Ok(ok),
        Reply::Fault(fault) => Err(fault),
        other => Err(Fault::new(FaultCode::Unknown, format!("the agent answered a stage with {other:?}"))),
    }
}

/// The contents that a spec names, whatever the state.
fn blobs(kind: &dyn weiche_agent::resource::Kind, spec: &serde_json::Value) -> Vec<Digest> {
    let absent = serde_json::json!({ "type": "absent" });
    let named = kind.want(spec, &absent, Default::default()).and_then(|wanted| kind.contents(spec, &wanted));
    named.unwrap_or_default()
}

async fn backward(shared: &Shared, host: &HostName, stage: &str, events: &Events) -> Result<Vec<StepId>, HostError> {
    let (mut held, _permit) = shared.pool.hold(host).await.ok_or_else(unknown)?;
    let session = held.session().await?;
    let mut on_event = |event: StepEvent| {
        let _ = events.send(Happening::Step { host: host.clone(), event });
    };
    Ok(session.undo(&shared.run, Some(stage), &mut on_event, UNDO).await?)
}

pub(super) fn report(events: &Events, host: &HostName, step: &StepId, what: StepOutcome, begin: Instant) {
    let took_us = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
    let event = StepEvent { step: step.clone(), what, took_us };
    let _ = events.send(Happening::Step { host: host.clone(), event });
}

/// What crosses into the run log is data.
pub(super) fn as_fault(error: HostError) -> Fault {
    match error {
        HostError::Session(SessionError::Fault(fault)) => fault,
        HostError::Session(error) => {
            let fault = Fault::new(FaultCode::Io, chain(&error));
            match &error {
                SessionError::Link(LinkError::Ended { how, .. }) if how.contains("KILL") || how == "status 137" => {
                    fault.hint("someone killed it, or the host ran out of memory (`journalctl -k` on it)")
                }
                _ => fault,
            }
        }
        HostError::Connect(error) => Fault::new(FaultCode::Io, chain(&error)),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
