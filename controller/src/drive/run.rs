//! Drives a run: one loop that takes every happening, writes it into the run log, feeds the rollout machine and starts
//! what that asks for. What is not in the run log has not happened.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use weiche_agent::digest::Digest;
use weiche_agent::protocol::RunId;

use super::clock::now_ms;
use super::host;
use super::pool::Pool;
use super::shared::{Events, Shared, Told};
use crate::input::target::HostName;
use crate::plan::Plan;
use crate::plan::procedure::Content;
use crate::rollout::{Action, Happening, Outcome, Rollout};
use crate::store::{EVENT_VERSION, Event, Store, StoreError};

pub use super::shared::Rehearsal;

/// Most events in one write of the run log.
const BATCH: usize = 512;

/// Everything that a run needs.
pub struct Job {
    /// Its name.
    pub run: RunId,
    /// Its plan.
    pub plan: Plan,
    /// Contents by digest; none are needed to roll back.
    pub contents: BTreeMap<Digest, Content>,
    /// Relative content paths start here.
    pub fleet_dir: PathBuf,
    /// Connections.
    pub pool: Arc<Pool>,
    /// The run log.
    pub store: Arc<dyn Store>,
    /// Rehearsed faults.
    pub rehearsal: Rehearsal,
}

/// What is to be done with a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Begin it.
    New,
    /// Go on where it was cut off, forward or back.
    Resume,
    /// Take it back.
    Rollback {
        /// Why, in words.
        reason: String,
        /// Also what others have changed since.
        over_drift: bool,
    },
}

/// How driving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The run is through.
    Ended(Outcome),
    /// Hosts wait for persons; the run can be resumed.
    Waiting,
}

/// Asked when all that is left to do waits for persons: `true` if a step was confirmed and the run goes on.
pub type Confirm<'a> = &'a mut (dyn FnMut(&HostName, &str, &str) -> bool + Send);

/// Drives a run to its end, or until it waits for a person.
///
/// # Errors
/// If the run log cannot be written; the hosts finish the step they own, and the run can be resumed.
pub async fn run(
    job: Job,
    start: Start,
    sink: &mut (dyn FnMut(&Event) + Send),
    confirm: Confirm<'_>,
) -> Result<Ending, StoreError> {
    let past = job.store.events(&job.run).await?;
    let stages = job.plan.stages.iter().map(|s| (s.name.clone(), s.hosts.keys().cloned().collect::<BTreeSet<_>>()));
    let mut rollout = Rollout::new(stages.collect());
    past.iter().for_each(|event| drop(rollout.on(&event.what)));
    rollout.wake();
    let mut log = Log {
        run: job.run.clone(),
        seq: past.last().map_or(0, |event| event.seq),
        store: Arc::clone(&job.store),
        crash_after: job.rehearsal.crash_after_event,
    };
    let begun = Happening::RunStarted { plan: job.plan.digest(), playbook: job.plan.playbook.clone() };
    let mut actions: VecDeque<Action> = match start {
        _ if past.is_empty() => [Action::Record(begun)].into(),
        Start::New | Start::Resume => rollout.outstanding().into(),
        Start::Rollback { reason, over_drift } => {
            [Action::Record(Happening::RollbackStarted { reason, over_drift })].into()
        }
    };
    let shared = Arc::new(Shared {
        run: job.run,
        plan: job.plan,
        contents: job.contents,
        fleet_dir: job.fleet_dir,
        pool: job.pool,
        store: job.store,
        rehearsal: job.rehearsal,
    });
    let (events, mut happened) = Events::channel();
    let mut tasks = JoinSet::new();
    let mut asked = BTreeMap::new();
    // What the machine knows and the run log does not have yet: written in one go, before anything comes of it.
    let mut unwritten = Unwritten::default();
    let mut told: Vec<Told> = Vec::new();
    loop {
        while let Some(action) = actions.pop_front() {
            if !matches!(action, Action::Record(_)) {
                log.write(&mut unwritten, sink).await?;
            }
            let (shared, events) = (Arc::clone(&shared), events.clone());
            match action {
                Action::Record(happening) => {
                    actions.extend(rollout.on(&happening));
                    unwritten.happenings.push(happening);
                }
                Action::Run { host, stage } => {
                    tasks.spawn(async move { host::run(&shared, &host, &stage, &events).await });
                }
                Action::Undo { host, stage, over_drift } => {
                    tasks.spawn(async move { host::undo(&shared, &host, &stage, over_drift, &events).await });
                }
            }
        }
        log.write(&mut unwritten, sink).await?;
        if let Some(outcome) = rollout.outcome() {
            return Ok(Ending::Ended(outcome));
        }
        if rollout.only_waiting() {
            let go_on =
                asked.iter().filter(|((host, step), text): &(&(HostName, String), &String)| confirm(host, step, text));
            let confirmed: Vec<(HostName, String)> = go_on.map(|(key, _)| key.clone()).collect();
            if confirmed.is_empty() {
                return Ok(Ending::Waiting);
            }
            for (host, step) in &confirmed {
                shared.store.confirm(&shared.run, &format!("{host}:{step}"), "terminal", now_ms()).await?;
                asked.remove(&(host.clone(), step.clone()));
            }
            rollout.wake();
            actions.extend(rollout.outstanding());
            continue;
        }
        tokio::select! {
            _ = happened.recv_many(&mut told, BATCH) => {}
            Some(Err(panic)) = tasks.join_next() => {
                // A host's task that panics says nothing any more: it must not be waited for.
                std::panic::resume_unwind(panic.into_panic());
            }
        }
        for Told { happening, written } in told.drain(..) {
            unwritten.happenings.push(happening);
            unwritten.waiting.extend(written);
        }
        for happening in &unwritten.happenings {
            if let Happening::HostWaits { host, step, text, .. } = happening {
                asked.insert((host.clone(), step.to_string()), text.clone());
            }
        }
        for happening in &unwritten.happenings {
            actions.extend(rollout.on(happening));
        }
    }
}

/// What has happened and is not in the run log yet, and who waits for it to be there.
#[derive(Default)]
struct Unwritten {
    happenings: Vec<Happening>,
    waiting: Vec<oneshot::Sender<()>>,
}

struct Log {
    run: RunId,
    seq: u64,
    store: Arc<dyn Store>,
    crash_after: Option<u64>,
}

impl Log {
    async fn write(&mut self, all: &mut Unwritten, sink: &mut (dyn FnMut(&Event) + Send)) -> Result<(), StoreError> {
        if !all.happenings.is_empty() {
            self.append(std::mem::take(&mut all.happenings), sink).await?;
            for waiting in all.waiting.drain(..) {
                let _ = waiting.send(());
            }
        }
        Ok(())
    }

    async fn append(&mut self, batch: Vec<Happening>, sink: &mut (dyn FnMut(&Event) + Send)) -> Result<(), StoreError> {
        let at_ms = now_ms();
        let number = |(what, n)| Event { v: EVENT_VERSION, run: self.run.clone(), seq: self.seq + n, at_ms, what };
        let events: Vec<Event> = batch.into_iter().zip(1..).map(number).collect();
        let last = events.last().map_or(self.seq, |event| event.seq);
        if let Some(crash) = self.crash_after.filter(|crash| *crash <= last) {
            let part: Vec<Event> = events.into_iter().filter(|event| event.seq <= crash).collect();
            self.store.append(&part).await?;
            // The rehearsal of a controller that dies here: no destructor, no goodbye.
            std::process::abort();
        }
        self.store.append(&events).await?;
        self.seq = last;
        events.iter().for_each(sink);
        Ok(())
    }
}
