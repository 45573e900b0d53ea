//! What every host's task of a run shares, and what checks, transfers and stages need alike.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use weiche_agent::digest::Digest;
use weiche_agent::protocol::{Fault, FaultCode, Injection, Reply, Request, RunId, StepEvent, StepId, StepOutcome};

use super::link::LinkError;
use super::pool::{HostError, Pool};
use super::session::{Blob, Session, SessionError, Source};
use super::turns::Turns;
use crate::input::target::HostName;
use crate::plan::Plan;
use crate::plan::procedure::Content;
use crate::rollout::Happening;
use crate::store::{Event, Store};

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
    /// How the stages stand whose hosts take turns.
    pub(super) turns: Turns,
}

impl Shared {
    /// The content of this digest, if the plan has it.
    pub(super) fn blob(&self, digest: Digest) -> Option<Blob> {
        let (size, source) = match self.contents.get(&digest)? {
            Content::Text(text) => (text.len() as u64, Source::Bytes(text.clone().into_bytes())),
            // Fetched before the run began, see `cli::work::fetch`.
            Content::Url(_) => return None,
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
    /// The controller kills itself once this is in the run log.
    pub crash_after_event: Option<CrashAfter>,
}

/// What is in the run log when a controller that rehearses its death dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrashAfter {
    /// The event of this number.
    Event(u64),
    /// That a step has changed its host.
    Step(StepId),
}

impl CrashAfter {
    /// The number of the event that it is, if it is among these or before them.
    pub(super) fn found(&self, events: &[Event]) -> Option<u64> {
        let is_it = |event: &&Event| match (&event.what, self) {
            (Happening::Step { event, .. }, CrashAfter::Step(step)) => {
                event.step == *step && event.what == StepOutcome::Changed
            }
            (_, CrashAfter::Event(seq)) => event.seq >= *seq,
            _ => false,
        };
        events.iter().find(is_it).map(|event| event.seq)
    }
}

/// As the run log counts.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Sends what happens to the dispatcher.
#[derive(Clone)]
pub(super) struct Events(mpsc::UnboundedSender<Told>);

/// What happened, and who wants to know when it is in the run log.
pub(super) struct Told {
    pub(super) happening: Happening,
    pub(super) written: Option<oneshot::Sender<()>>,
}

impl Events {
    /// A way to the dispatcher, and its end.
    pub(super) fn channel() -> (Events, mpsc::UnboundedReceiver<Told>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Events(sender), receiver)
    }

    /// Tells; nobody listens any more once the run is through.
    pub(super) fn send(&self, happening: Happening) {
        let _ = self.0.send(Told { happening, written: None });
    }

    /// Tells, and waits until it is in the run log.
    ///
    /// # Errors
    /// If it could not be written.
    pub(super) async fn record(&self, happening: Happening) -> Result<(), Fault> {
        let (written, wait) = oneshot::channel();
        let _ = self.0.send(Told { happening, written: Some(written) });
        wait.await.map_err(|_| Fault::new(FaultCode::Io, "the run log was not written"))
    }
}

/// Sends contents and steps to the host's agent: one round trip. Returns whether all steps succeeded. `confirm`: they are the
/// last of a guarded stage, which has to be confirmed in this time from their end on.
pub(super) async fn stage(
    shared: &Shared,
    host: &HostName,
    session: &mut Session,
    (contents, steps, confirm): (Vec<Blob>, Vec<weiche_agent::protocol::Step>, Option<Duration>),
    within: Duration,
    on_event: &mut (dyn FnMut(StepEvent) + Send),
) -> Result<bool, HostError> {
    let crash_after_records = shared.rehearsal.crash_agent.as_ref().filter(|(name, _)| name == host).map(|(_, n)| *n);
    let expect = session.expected().clone();
    let confirm_ms = confirm.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let request = Request::Stage { run: shared.run.clone(), steps, expect, crash_after_records, confirm_ms };
    let reply = session.carry_out(&shared.run, contents, &request, on_event, within).await;
    match reply? {
        Reply::StageEnd { ok } => Ok(ok),
        Reply::Fault(fault) => Err(SessionError::Fault(fault).into()),
        other => Err(SessionError::Unexpected(format!("{other:?}")).into()),
    }
}

/// Tells what became of a step that the controller carried out itself.
pub(super) fn report(events: &Events, host: &HostName, step: &StepId, what: StepOutcome, begin: Instant) {
    let took_us = micros(begin.elapsed());
    let event = StepEvent { step: step.clone(), what, took_us };
    events.send(Happening::Step { host: host.clone(), event });
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

/// An error with its causes, outermost first, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
