//! The run log in memory, for tests and for the planner's dry runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use weiche_agent::digest::Digest;
use weiche_agent::protocol::RunId;

use super::{Answer, Confirmed, Event, LEASE_MS, Lease, Letter, Mailbox, Run, Store, StoreError, Waiting};
use crate::history::{LAST, Sample};
use crate::rollout::Happening;

/// Forgets everything with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    runs: Vec<(Run, Digest)>,
    events: BTreeMap<RunId, Vec<Event>>,
    confirmed: BTreeMap<RunId, Vec<Confirmed>>,
    orders: BTreeMap<RunId, Vec<(i64, Happening)>>,
    leases: BTreeMap<String, (Lease, u64)>,
    durations: BTreeSet<Sample>,
    letters: Vec<(Waiting, bool)>,
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

    fn append_with<'a>(&'a self, events: &'a [Event], letters: &'a [Letter]) -> Answer<'a, ()> {
        let mut inner = self.inner();
        let clash =
            events.iter().find(|e| inner.events.get(&e.run).is_some_and(|old| old.iter().any(|o| o.seq == e.seq)));
        let result = match clash {
            Some(event) => Err(StoreError::Contended { run: event.run.clone(), seq: event.seq }),
            None => {
                events.iter().for_each(|e| inner.events.entry(e.run.clone()).or_default().push(e.clone()));
                for letter in letters {
                    let same =
                        |(w, _): &(Waiting, bool)| w.letter.webhook == letter.webhook && w.letter.key == letter.key;
                    if !inner.letters.iter().any(same) {
                        let n = i64::try_from(inner.letters.len()).unwrap_or(i64::MAX);
                        let waiting = Waiting { n, letter: letter.clone(), tries: 0, next_ms: 0, said: String::new() };
                        inner.letters.push((waiting, false));
                    }
                }
                Ok(())
            }
        };
        Box::pin(async move { result })
    }

    fn mailboxes(&self) -> Answer<'_, Vec<Mailbox>> {
        let mut found: BTreeMap<String, Mailbox> = BTreeMap::new();
        for (waiting, _) in self.inner().letters.iter().filter(|(_, gone)| !gone) {
            let first = || Mailbox { webhook: waiting.letter.webhook.clone(), waiting: 0, first: waiting.clone() };
            found.entry(waiting.letter.webhook.clone()).or_insert_with(first).waiting += 1;
        }
        Box::pin(async move { Ok(found.into_values().collect()) })
    }

    fn first_letter<'a>(&'a self, webhook: &'a str) -> Answer<'a, Option<Waiting>> {
        let inner = self.inner();
        let first = inner.letters.iter().find(|(waiting, gone)| !gone && waiting.letter.webhook == webhook);
        let first = first.map(|(waiting, _)| waiting.clone());
        Box::pin(async move { Ok(first) })
    }

    fn delivered(&self, letter: i64, _at_ms: i64) -> Answer<'_, ()> {
        if let Some((_, gone)) = self.inner().letters.iter_mut().find(|(waiting, _)| waiting.n == letter) {
            *gone = true;
        }
        Box::pin(async move { Ok(()) })
    }

    fn refused<'a>(&'a self, letter: i64, why: &'a str, next_ms: i64) -> Answer<'a, ()> {
        if let Some((waiting, _)) = self.inner().letters.iter_mut().find(|(waiting, _)| waiting.n == letter) {
            (waiting.tries, waiting.next_ms) = (waiting.tries + 1, next_ms);
            waiting.said = why.to_owned();
        }
        Box::pin(async move { Ok(()) })
    }

    fn events<'a>(&'a self, run: &'a RunId) -> Answer<'a, Vec<Event>> {
        let events = self.inner().events.get(run).cloned().unwrap_or_default();
        Box::pin(async move { Ok(events) })
    }

    fn runs(&self) -> Answer<'_, Vec<Run>> {
        let runs = self.inner().runs.iter().rev().map(|(run, _)| run.clone()).collect();
        Box::pin(async move { Ok(runs) })
    }

    fn confirm<'a>(&'a self, run: &'a RunId, step: &'a str, by: &'a str, at_ms: i64) -> Answer<'a, ()> {
        let confirmed = Confirmed { step: step.to_owned(), by: by.to_owned(), at_ms };
        self.inner().confirmed.entry(run.clone()).or_default().push(confirmed);
        Box::pin(async move { Ok(()) })
    }

    fn confirmed<'a>(&'a self, run: &'a RunId) -> Answer<'a, Vec<Confirmed>> {
        let steps = self.inner().confirmed.get(run).cloned().unwrap_or_default();
        Box::pin(async move { Ok(steps) })
    }

    fn order<'a>(&'a self, run: &'a RunId, order: &'a Happening, _at_ms: i64) -> Answer<'a, ()> {
        let mut inner = self.inner();
        let orders = inner.orders.entry(run.clone()).or_default();
        let number = orders.last().map_or(1, |(number, _)| number + 1);
        orders.push((number, order.clone()));
        Box::pin(async move { Ok(()) })
    }

    fn orders<'a>(&'a self, run: &'a RunId) -> Answer<'a, Vec<(i64, Happening)>> {
        let orders = self.inner().orders.get(run).cloned().unwrap_or_default();
        Box::pin(async move { Ok(orders) })
    }

    fn taken<'a>(&'a self, run: &'a RunId, order: i64) -> Answer<'a, ()> {
        if let Some(orders) = self.inner().orders.get_mut(run) {
            orders.retain(|(number, _)| *number > order);
        }
        Box::pin(async move { Ok(()) })
    }

    fn lease<'a>(&'a self, members: &'a [String], holder: &'a str, now_ms: i64) -> Answer<'a, Result<u64, Lease>> {
        let mut inner = self.inner();
        let leases = || members.iter().filter_map(|member| inner.leases.get(member));
        let held = leases().find(|(lease, _)| lease.holder != holder && lease.until_ms > now_ms);
        let result = match held {
            Some((lease, _)) => Err(lease.clone()),
            None => {
                let epoch = leases().map(|(_, epoch)| epoch + 1).max().unwrap_or(1).max(now_ms.unsigned_abs());
                for member in members {
                    let lease =
                        Lease { member: member.clone(), holder: holder.to_owned(), until_ms: now_ms + LEASE_MS };
                    inner.leases.insert(member.clone(), (lease, epoch));
                }
                Ok(epoch)
            }
        };
        Box::pin(async move { Ok(result) })
    }

    fn renew<'a>(&'a self, members: &'a [String], epoch: u64, now_ms: i64) -> Answer<'a, bool> {
        let mut inner = self.inner();
        let ours = members.iter().all(|member| inner.leases.get(member).is_some_and(|(_, have)| *have == epoch));
        for member in members.iter().filter(|_| ours) {
            if let Some((lease, _)) = inner.leases.get_mut(member) {
                lease.until_ms = now_ms + LEASE_MS;
            }
        }
        Box::pin(async move { Ok(ours) })
    }

    fn release<'a>(&'a self, members: &'a [String], epoch: u64) -> Answer<'a, ()> {
        let mut inner = self.inner();
        for member in members {
            if let Some((lease, have)) = inner.leases.get_mut(member)
                && *have == epoch
            {
                lease.until_ms = 0;
            }
        }
        Box::pin(async move { Ok(()) })
    }

    fn expire<'a>(&'a self, lease: &'a Lease) -> Answer<'a, ()> {
        if let Some((have, _)) = self.inner().leases.get_mut(&lease.member)
            && have == lease
        {
            have.until_ms = 0;
        }
        Box::pin(async move { Ok(()) })
    }

    fn add_durations<'a>(&'a self, samples: &'a [Sample]) -> Answer<'a, ()> {
        let durations = &mut self.inner().durations;
        durations.extend(samples.iter().cloned());
        let like = |a: &Sample, b: &Sample| {
            (&a.what, a.way, &a.title, &a.class, &a.member) == (&b.what, b.way, &b.title, &b.class, &b.member)
        };
        let all = durations.clone();
        let newer = |one: &Sample| -> usize {
            let newer = all.iter().filter(|other| like(one, other) && other.run() > one.run());
            newer.map(Sample::run).collect::<BTreeSet<i64>>().len()
        };
        durations.retain(|one| newer(one) < LAST);
        Box::pin(async { Ok(()) })
    }

    fn forget_durations<'a>(&'a self, what: &'a str, title: Option<&'a str>) -> Answer<'a, u64> {
        let durations = &mut self.inner().durations;
        let before = durations.len();
        durations.retain(|one| one.what != what || title.is_some_and(|title| one.title != title));
        let forgotten = (before - durations.len()) as u64;
        Box::pin(async move { Ok(forgotten) })
    }

    fn durations(&self) -> Answer<'_, Vec<Sample>> {
        let durations = self.inner().durations.iter().cloned().collect();
        Box::pin(async { Ok(durations) })
    }
}
