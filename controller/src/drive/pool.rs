//! The connections of a process: one per host, opened when first needed, kept for the next stage, opened anew when
//! broken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

use super::link::Traffic;
use super::session::{Session, SessionError};
use super::ssh::{ConnectError, Connector, Tunnel};
use crate::input::target::{HostName, Target, Wake};

/// A place for a connection, used by one task at a time.
type Slot = Arc<Mutex<Line>>;

/// The connection to a host, and how many there were.
#[derive(Debug, Default)]
struct Line {
    session: Option<Session>,
    number: u64,
}

/// Connections by host.
#[derive(Debug)]
pub struct Pool {
    connector: Arc<Connector>,
    hosts: BTreeMap<HostName, (Target, Slot)>,
    working: Semaphore,
    limit: usize,
    /// 0: none.
    epoch: Arc<AtomicU64>,
}

/// Why a host was not reached or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// It was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It did not answer as asked.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// A host's connection, in use by one task.
#[derive(Debug)]
pub struct Held {
    slot: OwnedMutexGuard<Line>,
    target: Target,
    connector: Arc<Connector>,
    epoch: Arc<AtomicU64>,
}

impl Pool {
    /// A pool for these hosts that works on at most `limit` of them at once.
    pub fn new(targets: impl IntoIterator<Item = Target>, limit: usize) -> Pool {
        let entry = |target: Target| (target.name.clone(), (target, Slot::default()));
        Pool {
            connector: Arc::new(Connector::default()),
            hosts: targets.into_iter().map(entry).collect(),
            working: Semaphore::new(limit.max(1)),
            limit: limit.max(1),
            epoch: Arc::default(),
        }
    }

    /// How a host is woken, if it can be.
    pub fn wake(&self, host: &HostName) -> Option<&Wake> {
        self.hosts.get(host)?.0.wake.as_ref()
    }

    /// A connection of its own to a host, to look through; `None`: it is not known how to reach it. Nobody waits for it, and
    /// it is none of those that are counted.
    ///
    /// # Errors
    /// If the host is not reached.
    pub async fn tunnel(&self, host: &HostName) -> Option<Result<Tunnel, ConnectError>> {
        let (target, _) = self.hosts.get(host)?;
        Some(self.connector.tunnel(target).await)
    }

    /// Most hosts that are worked on at once.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Comes to every host with this epoch from now on: a host refuses lower ones once it has seen it.
    pub fn set_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    /// Waits for a free place and the host's connection (which may not be open yet).
    pub async fn hold(&self, host: &HostName) -> Option<(Held, tokio::sync::SemaphorePermit<'_>)> {
        let permit = self.working.acquire().await.ok()?;
        Some((self.slot(host).await?, permit))
    }

    /// Holds two hosts, in the order of their names, so that two tasks never wait for each other.
    pub async fn hold_both(&self, a: &HostName, b: &HostName) -> Option<(Held, Held)> {
        if a < b {
            let first = self.slot(a).await?;
            Some((first, self.slot(b).await?))
        } else {
            let first = self.slot(b).await?;
            Some((self.slot(a).await?, first))
        }
    }

    async fn slot(&self, host: &HostName) -> Option<Held> {
        let (target, slot) = self.hosts.get(host)?;
        let slot = Arc::clone(slot).lock_owned().await;
        let (connector, epoch) = (Arc::clone(&self.connector), Arc::clone(&self.epoch));
        Some(Held { slot, target: target.clone(), connector, epoch })
    }

    /// What each host that is connected has cost so far.
    pub async fn traffic(&self) -> BTreeMap<HostName, Traffic> {
        let mut found = BTreeMap::new();
        for (name, (_, slot)) in &self.hosts {
            if let Some(session) = slot.lock().await.session.as_ref() {
                found.insert(name.clone(), session.traffic());
            }
        }
        found
    }

    /// Closes every connection that is open, all at once.
    pub async fn close(&self) {
        for (_, slot) in self.hosts.values() {
            drop(slot.lock().await.session.take());
        }
    }
}

impl Held {
    /// Ends the connection; the next question goes over a new one.
    pub fn close(&mut self) {
        self.slot.session = None;
    }

    /// The connection, opened now if need be.
    ///
    /// # Errors
    /// If the host is not reached; the operator can fix that.
    pub async fn session(&mut self) -> Result<&mut Session, ConnectError> {
        let Line { session, number } = &mut *self.slot;
        if session.as_ref().is_some_and(Session::is_over) {
            *session = None;
        }
        let session = match session {
            Some(session) => session,
            none => {
                let link = self.connector.connect(&self.target).await?;
                *number += 1;
                none.insert(Session::new(link).expecting(self.target.expect.clone()))
            }
        };
        let epoch = Some(self.epoch.load(Ordering::Relaxed)).filter(|epoch| *epoch > 0);
        session.set_epoch(epoch, *number);
        Ok(session)
    }
}
