//! The run log: events by (run, sequence number), never edited. [`Store`] is the fence; SQLite is behind it in earnest,
//! memory in tests.

mod durations;
mod memory;
mod outbox;
mod sqlite;

use std::future::Future;
use std::pin::Pin;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weiche_agent::digest::Digest;
use weiche_agent::protocol::RunId;

use crate::history::Sample;
use crate::rollout::Happening;

pub use memory::MemoryStore;
pub use outbox::{Letter, Mailbox, Waiting};
pub use sqlite::SqliteStore;

/// Major version of [`Event`] as JSON: raised when a reader of the old form would be wrong.
pub const EVENT_VERSION: u32 = 1;

/// One line of the run log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// [`EVENT_VERSION`].
    pub v: u32,
    /// The run.
    pub run: RunId,
    /// 1, 2, 3, ... within the run.
    pub seq: u64,
    /// When it was written, in milliseconds since the epoch.
    pub at_ms: i64,
    /// What happened.
    pub what: Happening,
}

/// A run as the store lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// Its plan, as [`crate::plan::write`] wrote it.
    pub plan: String,
    /// When it was made, in milliseconds since the epoch.
    pub created_ms: i64,
}

/// A manual step that a person has confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// `HOST:STEP`.
    pub step: String,
    /// Who said so.
    pub by: String,
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
}

/// What the store answers, in the future.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps runs and their events.
pub trait Store: Send + Sync {
    /// Adds a run; `false` (and nothing added) if a run has used that plan already.
    fn add_run<'a>(&'a self, run: &'a Run, plan: &'a Digest) -> Answer<'a, bool>;
    /// Appends events, all or none, durably. A sequence number that exists is an error: someone else writes this run.
    fn append<'a>(&'a self, events: &'a [Event]) -> Answer<'a, ()> {
        self.append_with(events, &[])
    }
    /// The same, and what is to be sent of them goes into the outbox with them: all or none. A letter that was put there
    /// before is not put there again.
    fn append_with<'a>(&'a self, events: &'a [Event], letters: &'a [Letter]) -> Answer<'a, ()>;
    /// The outbox's webhooks that have letters waiting, by name.
    fn mailboxes(&self) -> Answer<'_, Vec<Mailbox>>;
    /// The first letter that waits for this webhook.
    fn first_letter<'a>(&'a self, webhook: &'a str) -> Answer<'a, Option<Waiting>>;
    /// Notes that a letter was received. Its body is forgotten, its key is not.
    fn delivered(&self, letter: i64, at_ms: i64) -> Answer<'_, ()>;
    /// Notes that a try to send a letter failed: why, and when the next one is due.
    fn refused<'a>(&'a self, letter: i64, why: &'a str, next_ms: i64) -> Answer<'a, ()>;
    /// All events of a run, in order.
    fn events<'a>(&'a self, run: &'a RunId) -> Answer<'a, Vec<Event>>;
    /// All runs, the one that was added last first.
    fn runs(&self) -> Answer<'_, Vec<Run>>;
    /// Notes that a person has confirmed a manual step.
    fn confirm<'a>(&'a self, run: &'a RunId, step: &'a str, by: &'a str, at_ms: i64) -> Answer<'a, ()>;
    /// The confirmed steps of a run, in the order in which they were confirmed.
    fn confirmed<'a>(&'a self, run: &'a RunId) -> Answer<'a, Vec<Confirmed>>;
    /// Leaves what a person has decided for whoever drives the run.
    fn order<'a>(&'a self, run: &'a RunId, order: &'a Happening, at_ms: i64) -> Answer<'a, ()>;
    /// What persons have decided and nobody has taken up yet, in order, each with its number.
    fn orders<'a>(&'a self, run: &'a RunId) -> Answer<'a, Vec<(i64, Happening)>>;
    /// Notes that orders up to this number are in the run log.
    fn taken<'a>(&'a self, run: &'a RunId, order: i64) -> Answer<'a, ()>;
    /// Takes the lease of every one of these members for `holder`, all or none. Returns the epoch, which is higher than that
    /// of every lease before, or who holds one of them. A lease that `holder` has already is taken anew.
    fn lease<'a>(&'a self, members: &'a [String], holder: &'a str, now_ms: i64) -> Answer<'a, Result<u64, Lease>>;
    /// Keeps the leases with this epoch for [`LEASE_MS`] more; `false` if somebody else has one by now.
    fn renew<'a>(&'a self, members: &'a [String], epoch: u64, now_ms: i64) -> Answer<'a, bool>;
    /// Gives the leases with this epoch back.
    fn release<'a>(&'a self, members: &'a [String], epoch: u64) -> Answer<'a, ()>;
    /// Takes a lease away from a holder that is known to be gone.
    fn expire<'a>(&'a self, lease: &'a Lease) -> Answer<'a, ()>;
    /// Adds what steps took; what is known already is not added twice, and of like samples only those of the
    /// newest [`crate::history::LAST`] runs are kept.
    fn add_durations<'a>(&'a self, samples: &'a [Sample]) -> Answer<'a, ()>;
    /// Forgets what steps of this kind took, with a title only those of this one. Returns how many samples that were.
    fn forget_durations<'a>(&'a self, what: &'a str, title: Option<&'a str>) -> Answer<'a, u64>;
    /// What steps took, in any order.
    fn durations(&self) -> Answer<'_, Vec<Sample>>;
}

/// How long a lease lasts that nobody renews, in milliseconds.
pub const LEASE_MS: i64 = 60_000;

/// One controller's right to change a member's hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The member.
    pub member: String,
    /// Whose it is.
    pub holder: String,
    /// Until when, in milliseconds since the epoch.
    pub until_ms: i64,
}

/// Why the store did not answer; the operator can fix all of these.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database.
    #[error("the run log {place} cannot be used")]
    Database {
        /// Where it is.
        place: String,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
    /// No room for what has to be noted.
    #[error("the disk that holds the run log {place} is full")]
    Full {
        /// Where it is.
        place: String,
    },
    /// What is stored is not what this weiche writes.
    #[error("the run log holds an event that this weiche cannot read")]
    Unreadable(#[source] serde_json::Error),
    /// Another controller appends to the same run.
    #[error("event {seq} of run {run} exists already: another weiche works on this run")]
    Contended {
        /// The run.
        run: RunId,
        /// The event.
        seq: u64,
    },
    /// Another controller has taken the lease.
    #[error("another weiche has taken over the members of run {run}")]
    Superseded {
        /// The run.
        run: RunId,
    },
    /// Of a newer weiche.
    #[error("the run log has format {found}, this weiche reads {known}")]
    Version {
        /// What it has.
        found: i64,
        /// What we know.
        known: i64,
    },
}

#[cfg(test)]
mod tests;
