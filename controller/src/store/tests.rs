//! Laws of the run log, the same for every store behind the fence.

use super::*;
use crate::rollout::Outcome;

fn run(name: &str, created_ms: i64) -> Run {
    Run { id: RunId::try_from(name.to_owned()).expect("a run id"), plan: format!("plan of {name}"), created_ms }
}

fn event(run: &Run, seq: u64) -> Event {
    let what = Happening::RunEnded { outcome: Outcome::Done };
    Event { v: EVENT_VERSION, run: run.id.clone(), seq, at_ms: 7, what }
}

/// Runs a law on both stores.
async fn each(law: impl AsyncFn(&dyn Store)) {
    law(&MemoryStore::default()).await;
    // Removed also if the law is broken.
    let dir = tempfile::tempdir().expect("a directory");
    law(&SqliteStore::open(&dir.path().join("weiche.db")).await.expect("a database")).await;
}

#[tokio::test]
async fn a_plan_is_used_once() {
    each(async |store: &dyn Store| {
        let plan = Digest::of(b"plan");
        assert!(store.add_run(&run("a", 1), &plan).await.unwrap());
        assert!(!store.add_run(&run("b", 2), &plan).await.unwrap());
        // The clock was set back meanwhile.
        assert!(store.add_run(&run("c", 0), &Digest::of(b"other")).await.unwrap());
        let names: Vec<String> = store.runs().await.unwrap().iter().map(|run| run.id.to_string()).collect();
        assert_eq!(names, ["c", "a"], "newest first, the refused one not at all");
    })
    .await;
}

#[tokio::test]
async fn events_come_back_in_order_and_none_is_written_twice() {
    each(async |store: &dyn Store| {
        let (a, b) = (run("a", 1), run("b", 2));
        store.add_run(&a, &Digest::of(b"a")).await.unwrap();
        store.add_run(&b, &Digest::of(b"b")).await.unwrap();
        store.append(&[event(&a, 1), event(&a, 2)]).await.unwrap();
        store.append(&[event(&b, 1)]).await.unwrap();
        // Two controllers on one run: the second one's whole batch is refused.
        let contended = store.append(&[event(&a, 3), event(&a, 2)]).await;
        assert!(matches!(contended, Err(StoreError::Contended { seq: 2, .. })), "{contended:?}");
        assert_eq!(store.events(&a.id).await.unwrap(), [event(&a, 1), event(&a, 2)]);
        assert_eq!(store.events(&b.id).await.unwrap(), [event(&b, 1)]);
    })
    .await;
}

#[tokio::test]
async fn confirmations_belong_to_their_run() {
    each(async |store: &dyn Store| {
        let (a, b) = (run("a", 1), run("b", 2));
        store.add_run(&a, &Digest::of(b"a")).await.unwrap();
        store.add_run(&b, &Digest::of(b"b")).await.unwrap();
        store.confirm(&a.id, "m/h:move.2", "somebody", 9).await.unwrap();
        let confirmed = Confirmed { step: "m/h:move.2".into(), by: "somebody".into(), at_ms: 9 };
        assert_eq!(store.confirmed(&a.id).await.unwrap(), [confirmed]);
        assert!(store.confirmed(&b.id).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn orders_are_taken_once_and_in_order() {
    each(async |store: &dyn Store| {
        let run = run("r-1", 1);
        store.add_run(&run, &Digest::of(b"plan")).await.expect("add");
        let orders = ["frida", "hans"].map(|by| Happening::Paused { by: by.to_owned() });
        for order in &orders {
            store.order(&run.id, order, 5).await.expect("order");
        }
        let left = store.orders(&run.id).await.expect("orders");
        assert_eq!(left.iter().map(|(_, order)| order.clone()).collect::<Vec<_>>(), orders);
        store.taken(&run.id, left[0].0).await.expect("taken");
        let left = store.orders(&run.id).await.expect("orders");
        assert_eq!(left.iter().map(|(_, order)| order.clone()).collect::<Vec<_>>(), orders[1..]);
    })
    .await;
}

#[tokio::test]
async fn a_member_has_one_controller_and_epochs_only_rise() {
    each(async |store: &dyn Store| {
        let both = ["a".to_owned(), "b".to_owned()];
        let only = ["b".to_owned()];
        let first = store.lease(&only, "one", 1000).await.expect("lease").expect("free");
        let held = store.lease(&both, "two", 2000).await.expect("lease").expect_err("held");
        assert_eq!((held.member.as_str(), held.holder.as_str()), ("b", "one"));
        // All or none: the other member is free.
        let free = store.lease(&both[..1], "three", 2000).await.expect("lease").expect("free");
        store.release(&both[..1], free).await.expect("release");
        assert!(store.renew(&only, first, 50_000).await.expect("renew"));
        assert!(store.lease(&both, "two", 1000 + LEASE_MS).await.expect("lease").is_err(), "it was renewed");
        // Nobody renews it: the next one has a higher epoch, whatever the clock says, and the first one has lost it.
        let second = store.lease(&both, "two", 50_000 + LEASE_MS).await.expect("lease").expect("lapsed");
        assert!(second > first);
        assert!(!store.renew(&only, first, 50_001 + LEASE_MS).await.expect("renew"));
        store.release(&both, second).await.expect("release");
        let third = store.lease(&both, "three", 10).await.expect("lease").expect("given back");
        assert!(third > second, "the clock was set back");
        let lease = Lease { member: "a".into(), holder: "three".into(), until_ms: 10 + LEASE_MS };
        store.expire(&lease).await.expect("expire");
        assert!(store.lease(&both[..1], "four", 11).await.expect("lease").is_ok());
    })
    .await;
}

#[tokio::test]
async fn what_steps_took_is_kept_once_and_only_the_newest_of_like_ones() {
    use crate::history::{LAST, Way};
    each(async |store: &dyn Store| {
        let sample = |title: &str, at_ms: i64| Sample {
            what: "package".into(),
            title: title.into(),
            way: Way::Back,
            class: "server".into(),
            member: "alpha".into(),
            size: crate::plan::takes::Size { bytes: 7, items: 2 },
            took_us: 5,
            at_ms,
            run_ms: 0,
        };
        let many: Vec<Sample> =
            (0..30).map(|at| sample("package nginx", at)).chain([sample("package cups", 1)]).collect();
        store.add_durations(&many).await.unwrap();
        store.add_durations(&many[20..]).await.unwrap();
        let mut found = store.durations().await.unwrap();
        found.sort_by_key(|sample| (sample.title.clone(), sample.at_ms));
        let mut expected: Vec<Sample> = vec![sample("package cups", 1)];
        expected.extend((30 - i64::try_from(LAST).unwrap()..30).map(|at| sample("package nginx", at)));
        assert_eq!(found, expected);
        assert_eq!(store.forget_durations("package", Some("package apache")).await.unwrap(), 0);
        assert_eq!(store.forget_durations("package", Some("package nginx")).await.unwrap(), LAST as u64);
        assert_eq!(store.durations().await.unwrap(), [sample("package cups", 1)]);
        assert_eq!(store.forget_durations("package", None).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_many_hosts_took_in_one_run_does_not_drive_out_the_runs_before() {
    use crate::history::{LAST, Way};
    each(async |store: &dyn Store| {
        let last = i64::try_from(LAST).unwrap();
        let of_run = |run: i64| {
            let sample = move |host: i64| Sample {
                what: "package".into(),
                title: "package nginx".into(),
                way: Way::Forward,
                class: "pc".into(),
                member: "alpha".into(),
                size: crate::plan::takes::Size::default(),
                took_us: 5,
                at_ms: run * 1_000 + host,
                run_ms: run * 1_000,
            };
            (0..30).map(sample)
        };
        let all: Vec<Sample> = (1..=last + 1).flat_map(of_run).collect();
        store.add_durations(&all).await.unwrap();
        let mut found = store.durations().await.unwrap();
        found.sort_by_key(|sample| sample.at_ms);
        assert_eq!(found, all[30..], "the first run is gone, all others are whole");
    })
    .await;
}

#[tokio::test]
async fn letters_come_with_their_events_or_not_at_all() {
    each(async |store: &dyn Store| {
        let a = run("a", 1);
        store.add_run(&a, &Digest::of(b"a")).await.unwrap();
        let letter = |to: &str, key: &str| Letter { webhook: to.into(), key: key.into(), body: format!("of {key}") };
        store.append_with(&[event(&a, 1)], &[letter("x", "a-1"), letter("y", "a-1")]).await.unwrap();
        store.append_with(&[event(&a, 2)], &[letter("x", "a-2")]).await.unwrap();
        store.append_with(&[event(&a, 2)], &[letter("x", "a-3")]).await.expect_err("somebody else's event");
        // What waits is said again by whoever finds it waiting, and kept once.
        store.append_with(&[], &[letter("x", "a-2")]).await.unwrap();
        let boxes: Vec<_> = store.mailboxes().await.unwrap().into_iter().map(|m| (m.webhook, m.waiting)).collect();
        assert_eq!(boxes, [("x".to_owned(), 2), ("y".to_owned(), 1)]);
        let first = store.first_letter("x").await.unwrap().unwrap();
        assert_eq!((first.letter.key.as_str(), first.letter.body.as_str(), first.tries), ("a-1", "of a-1", 0));
        store.refused(first.n, "503", 77).await.unwrap();
        let again = store.first_letter("x").await.unwrap().unwrap();
        assert_eq!((again.n, again.tries, again.next_ms, again.said.as_str()), (first.n, 1, 77, "503"));
        store.delivered(first.n, 5).await.unwrap();
        assert_eq!(store.first_letter("x").await.unwrap().unwrap().letter.key, "a-2");
        // What was received is not put there again.
        store.append_with(&[], &[letter("x", "a-1")]).await.unwrap();
        assert_eq!(store.mailboxes().await.unwrap()[0].waiting, 1);
    })
    .await;
}

#[tokio::test]
async fn a_run_log_of_before_gets_what_is_new() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("weiche.db");
    let store = SqliteStore::open(&path).await.expect("a database");
    store.back_to_version_2().await;
    drop(store);
    let store = SqliteStore::open(&path).await.expect("a database of before");
    assert_eq!(store.mailboxes().await.unwrap(), []);
    assert_eq!(store.durations().await.unwrap(), []);
    // What was learned is kept, though it does not tell its run.
    let sample = Sample {
        what: "package".into(),
        title: "package nginx".into(),
        way: crate::history::Way::Same,
        class: "server".into(),
        member: "alpha".into(),
        size: crate::plan::takes::Size { bytes: 7, items: 2 },
        took_us: 5,
        at_ms: 9,
        run_ms: 8,
    };
    store.add_durations(std::slice::from_ref(&sample)).await.unwrap();
    store.back_to_version_3().await;
    drop(store);
    let store = SqliteStore::open(&path).await.expect("a database of before");
    assert_eq!(store.durations().await.unwrap(), [Sample { run_ms: 0, ..sample }]);
}

/// The task that looks for connections that are too old spins for ever in rare cases, and a process never ends.
#[tokio::test]
async fn no_task_looks_for_old_connections() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = SqliteStore::open(&dir.path().join("weiche.db")).await.expect("a database");
    assert_eq!(store.aging(), [None, None]);
}
