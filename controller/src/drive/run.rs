//! Drives a run: one loop that takes every happening, writes it into the run log, feeds the rollout machine and starts
//! what that asks for. What is not in the run log has not happened.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use weiche_agent::digest::Digest;
use weiche_agent::protocol::RunId;

use super::clock::now_ms;
use super::meter::Meters;
use super::pool::Pool;
use super::post::Receiver;
use super::reckon::Reckoner;
use super::shared::{Events, Shared, Told};
use super::turns::Turns;
use super::watch::Watch;
use super::{guard, host};
use crate::approval::Approval;
use crate::input::target::HostName;
use crate::notice::{self, Notice};
use crate::plan::Plan;
use crate::plan::procedure::Content;
use crate::rollout::reckoning::Decide;
use crate::rollout::rules::Scope;
use crate::rollout::{self, Action, Fate, Happening, Outcome, Rollout, Standing};
use crate::store::{EVENT_VERSION, Event, LEASE_MS, Letter, Store, StoreError};

pub use super::shared::{CrashAfter, Rehearsal};

/// Most events in one write of the run log.
const BATCH: usize = 512;

/// A run looks for what persons have decided whenever something happens, and at least so often.
const ORDERS: Duration = Duration::from_millis(500);

/// How often it renews its leases.
const RENEW: Duration = Duration::from_millis(LEASE_MS as u64 / 3);

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
    /// How long it may be waited for.
    pub patience: Patience,
    /// The leases that it holds, to be renewed.
    pub lease: Option<Held>,
    /// Whether an approval in the run log counts.
    pub proof: Proof,
    /// Who else is told.
    pub receivers: Vec<Receiver>,
}

/// Whether the signature of an approval of a stage is what the run log says it is.
pub type Proof = Arc<dyn Fn(&str, &Approval, &str) -> bool + Send + Sync>;

/// Whether something of the run log counts.
fn counts(proof: &Proof, happening: &Happening) -> bool {
    match happening {
        Happening::Approved { stage, approval, signature, .. } => proof(stage, approval, signature),
        _ => true,
    }
}

/// The leases of a run's members.
#[derive(Clone, Debug)]
pub struct Held {
    /// The members.
    pub members: Vec<String>,
    /// Their epoch: hosts refuse a lower one once they have seen it.
    pub epoch: u64,
}

/// What is to be done with a run.
#[derive(Clone, Debug, PartialEq)]
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
    /// Go on after a person has decided something.
    Decided(Happening),
}

/// How long a run may be waited for without anything happening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// So long.
    Upto(Duration),
    /// Until it is through: also hosts that are switched off are waited for.
    Follow,
}

/// How driving ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The run is through.
    Ended(Outcome),
    /// It waits for something; it can be resumed.
    Waiting(Standing),
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
    // Whoever would only wait for a connection is not asked yet: a stage that stops meanwhile must not begin it.
    let parts = rollout::parts(&job.plan, job.pool.limit());
    let mut rollout = Rollout::new(parts, job.plan.sites.clone()).planned_by(&job.plan.planner);
    let proof = Arc::clone(&job.proof);
    past.iter().filter(|event| counts(&proof, &event.what)).for_each(|event| rollout.on(event.at_ms, &event.what));
    rollout.wake();
    let mut log = Log {
        run: job.run.clone(),
        seq: past.last().map_or(0, |event| event.seq),
        store: Arc::clone(&job.store),
        crash_after: job.rehearsal.crash_after_event.clone(),
        of: of(&job.plan, &past),
        receivers: job.receivers,
        last_ms: past.last().map_or(0, |event| event.at_ms),
    };
    let first = match start {
        _ if past.is_empty() => {
            Some(Happening::RunStarted { plan: job.plan.digest(), playbook: job.plan.playbook.clone() })
        }
        Start::New | Start::Resume => None,
        Start::Rollback { reason, over_drift } => {
            Some(Happening::RollbackStarted { reason, scope: Scope::Run, over_drift })
        }
        Start::Decided(happening) => Some(happening),
    };
    let (patience, lease) = (job.patience, job.lease);
    let turns = Turns::new(&job.plan);
    for (stage, host, cell) in rollout.cells() {
        match cell.fate {
            Fate::Idle | Fate::Waits(_) => {}
            Fate::Ready | Fate::Done => turns.was_through(stage, host),
            Fate::Stuck => turns.was_stuck(stage, host),
            // Nobody's turn comes after one that has failed.
            Fate::Failed | Fate::Offline | Fate::GivenUp | Fate::Skipped(_) | Fate::Undone | Fate::Left => {
                turns.fail(stage, host);
            }
        }
    }
    let shared = Arc::new(Shared {
        run: job.run,
        plan: job.plan,
        contents: job.contents,
        fleet_dir: job.fleet_dir,
        pool: job.pool,
        store: job.store,
        rehearsal: job.rehearsal,
        turns,
    });
    let (events, mut happened) = Events::channel();
    let mut tasks = JoinSet::new();
    let mut asked = BTreeMap::new();
    // What the machine knows and the run log does not have yet: written in one go, before anything comes of it.
    let start_ms = past.first().map_or_else(now_ms, |event| event.at_ms);
    let reckoner = Reckoner::new(&shared.plan.with_connections(shared.pool.limit()), start_ms);
    let mut unwritten = Unwritten { happenings: Vec::new(), waiting: Vec::new(), reckoner };
    past.iter().for_each(|event| unwritten.reckoner.on(event.at_ms, &event.what));
    let mut told: Vec<Told> = Vec::new();
    if let Some(happening) = first {
        unwritten.take(happening, &mut rollout);
    }
    let mut look = tokio::time::interval(ORDERS);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut renewed = Instant::now();
    let mut watch = Watch::default();
    let meters = Meters::start(&shared.plan.meter, &shared.pool, &events);
    let ending = 'driven: loop {
        // What persons have decided meanwhile, wherever they said so: before anything new begins.
        let orders = shared.store.orders(&shared.run).await?;
        if let Some((last, _)) = orders.last().cloned() {
            for (_, order) in orders {
                // What does not count has been said all the same.
                match counts(&proof, &order) {
                    true => unwritten.take(order, &mut rollout),
                    false => unwritten.happenings.push((now_ms(), order)),
                }
            }
            log.write(&mut unwritten, sink).await?;
            shared.store.taken(&shared.run, last).await?;
        }
        if let Some(lease) = &lease
            && renewed.elapsed() > RENEW
        {
            renewed = Instant::now();
            if !shared.store.renew(&lease.members, lease.epoch, now_ms()).await? {
                return Err(StoreError::Superseded { run: shared.run.clone() });
            }
        }
        loop {
            let actions = rollout.next(now_ms());
            if actions.is_empty() {
                break;
            }
            for action in &actions {
                match action {
                    Action::Undo { host, stage, .. } => shared.turns.goes_back(stage, host),
                    Action::Confirm { host, stage } => shared.turns.confirms(stage, host),
                    Action::Run { .. } | Action::Record(_) => {}
                }
            }
            for action in actions {
                if !matches!(action, Action::Record(_)) {
                    log.write(&mut unwritten, sink).await?;
                }
                let (shared, events) = (Arc::clone(&shared), events.clone());
                match action {
                    Action::Record(happening) => unwritten.take(happening, &mut rollout),
                    Action::Run { host, stage } => {
                        tasks.spawn(async move { host::run(&shared, &host, &stage, &events).await });
                    }
                    Action::Confirm { host, stage } => {
                        tasks.spawn(async move { guard::confirm(&shared, &host, &stage, &events).await });
                    }
                    Action::Undo { host, stage, over_drift, verify } => {
                        tasks.spawn(async move {
                            host::undo(&shared, (&host, &stage), over_drift, verify, &events).await;
                        });
                    }
                }
            }
        }
        if let Some(reckoned) = unwritten.reckoner.look(&rollout, now_ms()) {
            unwritten.take(reckoned, &mut rollout);
        }
        log.write(&mut unwritten, sink).await?;
        watch.follow(rollout.probing(), &shared, &events);
        let now = now_ms();
        let until = match rollout.standing(now) {
            Standing::Working => None,
            Standing::Ended(outcome) => break 'driven Ending::Ended(outcome),
            Standing::Manual => {
                // People take their time over each: when they said so counts.
                let go_on = asked
                    .iter()
                    .filter(|((host, step), text): &(&(HostName, String), &String)| confirm(host, step, text));
                let confirmed: Vec<(HostName, String, i64)> =
                    go_on.map(|((host, step), _)| (host.clone(), step.clone(), now_ms())).collect();
                if confirmed.is_empty() {
                    break 'driven Ending::Waiting(Standing::Manual);
                }
                for (host, step, at_ms) in &confirmed {
                    shared.store.confirm(&shared.run, &format!("{host}:{step}"), "terminal", *at_ms).await?;
                    asked.remove(&(host.clone(), step.clone()));
                }
                rollout.wake();
                continue;
            }
            standing @ (Standing::Paused | Standing::Held(_) | Standing::Gate { .. }) => {
                break 'driven Ending::Waiting(standing);
            }
            standing @ (Standing::Until(_) | Standing::Offline(_)) => {
                let due = rollout.due_ms(now).unwrap_or(now);
                let wait = Duration::from_millis(u64::try_from(due - now).unwrap_or(0));
                let enough = match (patience, &standing) {
                    (Patience::Follow, _) => true,
                    (Patience::Upto(longest), Standing::Until(_)) => wait <= longest,
                    (Patience::Upto(_), _) => false,
                };
                if !enough {
                    break 'driven Ending::Waiting(standing);
                }
                Some(wait)
            }
        };
        let timer = async {
            match until {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = happened.recv_many(&mut told, BATCH) => {}
            () = timer => {}
            _ = look.tick() => {}
            Some(Err(panic)) = tasks.join_next() => {
                // A host's task that panics says nothing any more: it must not be waited for.
                std::panic::resume_unwind(panic.into_panic());
            }
        }
        for Told { happening, written } in told.drain(..) {
            if let Happening::HostWaits { host, step, text, .. } = &happening {
                asked.insert((host.clone(), step.to_string()), text.clone());
            }
            unwritten.take(happening, &mut rollout);
            unwritten.waiting.extend(written);
        }
    };
    for measured in meters.end().await {
        unwritten.take(measured, &mut rollout);
    }
    // Nobody looks any more until a person has decided: until when, they are told now.
    if let (Ending::Waiting(_), Some(reckoned)) = (&ending, unwritten.reckoner.finally(&rollout, now_ms())) {
        unwritten.take(reckoned, &mut rollout);
    }
    log.write(&mut unwritten, sink).await?;
    if let Ending::Waiting(Standing::Gate { stage, missing }) = &ending {
        log.waits(stage, missing).await?;
    }
    Ok(ending)
}

/// What notices say of the plan, after these events.
fn of(plan: &Plan, past: &[Event]) -> notice::Of {
    let members = plan.hosts().iter().map(|host| host.member().to_owned()).collect();
    let (fleet, playbook, zone) = (plan.fleet.clone(), plan.playbook.clone(), plan.zone());
    let mut of = notice::Of { fleet, playbook, members, zone, decide: Decide::NotNow };
    past.iter().for_each(|event| drop(of.notice(event)));
    of
}

/// What has happened and is not in the run log yet, and who waits for it to be there.
struct Unwritten {
    happenings: Vec<(i64, Happening)>,
    waiting: Vec<oneshot::Sender<()>>,
    reckoner: Reckoner,
}

impl Unwritten {
    /// Tells the machine; the run log will say the same, and at the same time.
    fn take(&mut self, happening: Happening, rollout: &mut Rollout) {
        let now = now_ms();
        rollout.on(now, &happening);
        self.reckoner.on(now, &happening);
        self.happenings.push((now, happening));
    }
}

struct Log {
    run: RunId,
    seq: u64,
    store: Arc<dyn Store>,
    crash_after: Option<CrashAfter>,
    of: notice::Of,
    receivers: Vec<Receiver>,
    last_ms: i64,
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

    async fn append(
        &mut self,
        batch: Vec<(i64, Happening)>,
        sink: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<(), StoreError> {
        let number =
            |((at_ms, what), n)| Event { v: EVENT_VERSION, run: self.run.clone(), seq: self.seq + n, at_ms, what };
        let events: Vec<Event> = batch.into_iter().zip(1..).map(number).collect();
        let last = events.last().map_or(self.seq, |event| event.seq);
        if let Some(crash) = self.crash_after.as_ref().and_then(|crash| crash.found(&events)) {
            let part: Vec<Event> = events.into_iter().filter(|event| event.seq <= crash).collect();
            let letters = self.letters(&part);
            self.store.append_with(&part, &letters).await?;
            // The rehearsal of a controller that dies here: no destructor, no goodbye.
            std::process::abort();
        }
        let letters = self.letters(&events);
        self.store.append_with(&events, &letters).await?;
        self.last_ms = events.last().map_or(self.last_ms, |event| event.at_ms);
        self.seq = last;
        events.iter().for_each(sink);
        Ok(())
    }

    /// What webhooks are told of events.
    fn letters(&mut self, events: &[Event]) -> Vec<Letter> {
        if self.receivers.is_empty() {
            return Vec::new();
        }
        let notices: Vec<Notice> = events.iter().filter_map(|event| self.of.notice(event)).collect();
        notices.iter().flat_map(|notice| self.to_all(notice)).collect()
    }

    fn to_all(&self, notice: &Notice) -> Vec<Letter> {
        notice::letters(notice, self.receivers.iter().map(|to| (to.name.as_str(), &to.on))).collect()
    }

    /// Tells webhooks, once, that a stage waits for people.
    async fn waits(&self, stage: &str, missing: &[String]) -> Result<(), StoreError> {
        let notice = self.of.waits((&self.run, self.seq, self.last_ms), stage, missing);
        self.store.append_with(&[], &self.to_all(&notice)).await
    }
}
