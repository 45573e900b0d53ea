//! The run log in memory, for tests and for the planner's dry runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use weiche_agent::digest::Digest;
use weiche_agent::protocol::RunId;

use super::{Answer, Event, Run, Store, StoreError};

/// Forgets everything with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    runs: Vec<(Run, Digest)>,
    events: BTreeMap<RunId, Vec<Event>>,
    confirmed: BTreeMap<RunId, Vec<String>>,
}

impl MemoryStore {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn add_run<'a>(&'a self, run: &'a Run, plan: &'a Digest) -> Answer<'a, bool> {
        let mut inner = self.inner();
        let fresh = inner.runs.iter().all(|(_, used)| used != plan);
        if fresh {
            inner.runs.push((run.clone(), plan.clone()));
        }
        Box::pin(async move { Ok(fresh) })
    }

    fn append<'a>(&'a self, events: &'a [Event]) -> Answer<'a, ()> {
        let mut inner = self.inner();
        let clash =
            events.iter().find(|e| inner.events.get(&e.run).is_some_and(|old| old.iter().any(|o| o.seq == e.seq)));
        let result = match clash {
            Some(event) => Err(StoreError::Contended { run: event.run.clone(), seq: event.seq }),
            None => {
                events.iter().for_each(|e| inner.events.entry(e.run.clone()).or_default().push(e.clone()));
                Ok(())
            }
        };
        Box::pin(async move { result })
    }

    fn events<'a>(&'a self, run: &'a RunId) -> Answer<'a, Vec<Event>> {
        let events = self.inner().events.get(run).cloned().unwrap_or_default();
        Box::pin(async move { Ok(events) })
    }

    fn runs(&self) -> Answer<'_, Vec<Run>> {
        let runs = self.inner().runs.iter().rev().map(|(run, _)| run.clone()).collect();
        Box::pin(async move { Ok(runs) })
    }

    fn confirm<'a>(&'a self, run: &'a RunId, step: &'a str, _by: &'a str, _at_ms: i64) -> Answer<'a, ()> {
        self.inner().confirmed.entry(run.clone()).or_default().push(step.to_owned());
        Box::pin(async move { Ok(()) })
    }

    fn confirmed<'a>(&'a self, run: &'a RunId) -> Answer<'a, Vec<String>> {
        let steps = self.inner().confirmed.get(run).cloned().unwrap_or_default();
        Box::pin(async move { Ok(steps) })
    }
}
