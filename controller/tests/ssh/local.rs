//! The same conversation without SSH: an agent in a thread, as driver tests use it.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::json;
use weiche::drive::link::LocalLink;
use weiche::drive::session::{Blob, Session, SessionError, Source};
use weiche_agent::host::RealHost;
use weiche_agent::protocol::Digest;
use weiche_agent::serve::serve;

use crate::openssh::Scratch;
use crate::{WITHIN, run_id, step};

/// A session, and what is waited for until its agent has ended.
async fn local(scratch: &Scratch) -> (Session, Receiver<()>) {
    let (root, state) = (scratch.path("root"), scratch.path("state"));
    let (ends, ended) = channel();
    let link = LocalLink::start(move |input, output| {
        let mut host = RealHost::open(&root, &state, true).unwrap();
        let _ = serve(&mut host, input, output);
        drop(ends);
    });
    (Session::new(link.await.unwrap()), ended)
}

#[tokio::test]
async fn a_stage_with_its_contents_is_one_round_trip() {
    let scratch = Scratch::new();
    let (mut session, _) = local(&scratch).await;
    // More than a socket holds: the sender has to wait for the agent.
    let bytes = vec![42; 3 << 20];
    let digest = Digest::of(&bytes);
    let size = bytes.len() as u64;
    let spec = json!({ "path": "/file", "blob": { "digest": digest, "size": size } });
    let blob = Blob { digest, size, source: Source::Bytes(bytes) };
    let steps = vec![step(0, "file", spec)];
    assert!(session.stage(&run_id(), vec![blob], steps, &mut |_| {}, WITHIN).await.unwrap());
    assert_eq!(session.traffic().round_trips, 1);
    let entries = session.scan("/etc", WITHIN).await.unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(session.undo(&run_id(), (Some("build"), &[]), false, &mut |_| {}, WITHIN).await.unwrap(), []);
}

#[tokio::test]
async fn an_abandoned_call_ends_the_session() {
    let scratch = Scratch::new();
    let (mut session, ended) = local(&scratch).await;
    let mut slow = step(0, "directory", json!({ "path": "/slow" }));
    (slow.inject, slow.timeout_ms) = (Some(weiche_agent::protocol::Injection::Hang), 2_000);
    let run = run_id();
    let mut on_event = |_| {};
    let call = session.stage(&run, Vec::new(), vec![slow], &mut on_event, WITHIN);
    assert!(tokio::time::timeout(Duration::from_millis(100), call).await.is_err());
    assert!(matches!(session.facts(WITHIN).await, Err(SessionError::Over)));
    // It still owns its step, and writes into the directory until that is over.
    drop(session);
    assert!(ended.recv().is_err());
}

#[tokio::test]
async fn an_agent_that_is_gone_is_no_endless_wait() {
    let link = LocalLink::start(|_, output| {
        let hello = weiche_agent::protocol::Hello { build: "b".into() };
        writeln!(output, "{hello}").unwrap();
    });
    let mut session = Session::new(link.await.unwrap());
    let blob = Blob { digest: Digest::of(b""), size: 64 << 20, source: Source::Bytes(vec![0; 64 << 20]) };
    assert!(matches!(session.blob(&run_id(), blob, WITHIN).await, Err(SessionError::Link(_))));
}
