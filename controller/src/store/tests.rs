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
    let dir =
        std::env::temp_dir().join(format!("weiche-store-{}-{:?}", std::process::id(), std::thread::current().id()));
    #[expect(clippy::disallowed_methods, reason = "shell")]
    std::fs::create_dir_all(&dir).expect("a directory");
    law(&SqliteStore::open(&dir.join("weiche.db")).await.expect("a database")).await;
    #[expect(clippy::disallowed_methods, reason = "shell")]
    std::fs::remove_dir_all(&dir).expect("remove");
}

#[tokio::test]
async fn a_plan_is_used_once() {
    each(async |store: &dyn Store| {
        let plan = Digest::of(b"plan");
        assert!(store.add_run(&run("a", 1), &plan).await.unwrap());
        assert!(!store.add_run(&run("b", 2), &plan).await.unwrap());
        assert!(store.add_run(&run("c", 3), &Digest::of(b"other")).await.unwrap());
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
        assert_eq!(store.confirmed(&a.id).await.unwrap(), ["m/h:move.2"]);
        assert!(store.confirmed(&b.id).await.unwrap().is_empty());
    })
    .await;
}
