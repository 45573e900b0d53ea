//! Frames, and whole conversations with an agent.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use weiche_agent::digest::Digest;
use weiche_agent::engine;
use weiche_agent::fault::FaultCode;
use weiche_agent::host::fake::FakeHost;
use weiche_agent::journal::{Journal, runs};
use weiche_agent::protocol::{
    Expect, Frame, HostPath, MAX_DATA, MAX_MESSAGE, Reply, Request, Scope, read_frame, write_data, write_message,
};
use weiche_agent::serve::serve;

use super::corpus::{cases, corpus, damage};
use super::{heap, id, step};

/// A frame of so many bytes may cost so much: a number of JSON becomes a value of 32 bytes, in a list that doubles.
fn of_frame(bytes: usize) -> usize {
    (64 << 10) + 64 * bytes
}

/// A conversation of so many bytes may cost so much: the buffers of the agent, what it parses, and what it writes onto
/// the fake host, which is memory here.
fn of_conversation(bytes: usize) -> usize {
    (2 << 20) + 128 * bytes
}

/// Reads frames to the first error or the end.
fn frames(name: &str, bytes: &[u8]) {
    heap::within(of_frame(bytes.len()), name, || {
        let (mut as_values, mut as_requests, mut as_replies) = (bytes, bytes, bytes);
        let mut all = 0;
        while let Ok(Some(frame)) = read_frame::<Value>(&mut as_values) {
            all += 1;
            if let Frame::Data(data) = frame {
                assert!(data.len() <= MAX_DATA);
            }
        }
        assert!(all <= bytes.len() / 5, "a frame has a header");
        while let Ok(Some(_)) = read_frame::<Request>(&mut as_requests) {}
        while let Ok(Some(_)) = read_frame::<Reply>(&mut as_replies) {}
    });
}

/// Lets an agent hear it; whatever it made of it can be taken back, unless the agent says otherwise.
fn conversation(name: &str, bytes: &[u8]) {
    let mut host = FakeHost::debian();
    let before = host.snapshot();
    let mut said = Vec::new();
    let heard = heap::within(of_conversation(bytes.len()), name, || serve(&mut host, &mut &*bytes, &mut said));
    // What is no protocol is an error; a stream that ends inside a frame as well. Nothing else.
    if let Err(error) = heard {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        assert!(matches!(error.kind(), InvalidData | UnexpectedEof), "{name}: {error}");
    }
    let hello = said.iter().position(|b| *b == b'\n').unwrap();
    let mut replies = &said[hello + 1..];
    while read_frame::<Reply>(&mut replies).unwrap_or_else(|e| panic!("{name}: a reply that is none: {e}")).is_some() {}
    host.reboot();
    for run in runs(&mut host).unwrap().into_iter().rev() {
        let mut journal = Journal::open(&run, &mut host).unwrap();
        let stuck = engine::undo(None, true, &mut journal, &mut host, &mut |_| {}).unwrap();
        if !stuck.is_empty() {
            return;
        }
    }
    assert_eq!(host.snapshot(), before, "{name}: all runs were taken back");
}

/// A payload before it is framed.
#[derive(Clone)]
enum Said {
    Message(Vec<u8>),
    Data(Vec<u8>),
}

/// Every request, as a controller would make them.
fn requests() -> Vec<Said> {
    let message = |request: &Request| Said::Message(serde_json::to_vec(request).unwrap());
    let content = b"Moin\n".to_vec();
    let blob = json!({ "digest": Digest::of(&content), "size": content.len() });
    let steps = vec![
        step("s.0", "directory", json!({ "path": "/srv/data", "mode": "0750" })),
        step("s.1", "file", json!({ "path": "/srv/data/a", "blob": blob })),
        step("s.2", "symlink", json!({ "path": "/srv/now", "target": "data/a" })),
        step("s.3", "line", json!({ "path": "/etc/hosts", "line": "192.0.2.7 print" })),
    ];
    let run = id("run-1");
    let scope = Scope { steps: steps.clone(), watch: vec!["/etc".into()], ..Scope::default() };
    let digest = Digest::of(&content);
    let (text, bytes) = (HostPath::Text("/etc/hosts".into()), HostPath::Bytes(b"/srv/\xff".to_vec()));
    vec![
        message(&Request::Facts),
        message(&Request::Observe { steps: steps.clone() }),
        message(&Request::Witness { run: run.clone(), expect: Expect::default(), scope }),
        message(&Request::Blob { run: run.clone(), digest: digest.clone(), size: content.len() as u64 }),
        Said::Data(content.clone()),
        message(&Request::BlobStream { run: run.clone() }),
        Said::Data(content.clone()),
        message(&Request::BlobEnd { digest }),
        message(&Request::Stage {
            run: run.clone(),
            expect: Expect::default(),
            steps,
            crash_after_records: None,
            confirm_ms: None,
        }),
        message(&Request::Journal { run: run.clone() }),
        message(&Request::Drift),
        message(&Request::Scan { path: "/srv".into() }),
        message(&Request::Fetch { paths: vec![text, bytes] }),
        message(&Request::Check { argv: vec!["test".into(), "-d".into(), "/srv/data".into()], timeout_ms: 1000 }),
        message(&Request::Undo {
            run: run.clone(),
            expect: Expect::default(),
            stage: None,
            only: Vec::new(),
            over_drift: false,
            crash_after_records: None,
        }),
        message(&Request::Verify { run: run.clone() }),
        message(&Request::Export { run }),
    ]
}

fn wire(said: &[Said]) -> Vec<u8> {
    let mut wire = Vec::new();
    for part in said {
        match part {
            Said::Data(data) => write_data(&mut wire, data).unwrap(),
            Said::Message(text) => {
                wire.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
                wire.push(b'J');
                wire.extend_from_slice(text);
            }
        }
    }
    wire
}

#[test]
fn the_undamaged_conversation_is_heard_to_its_end() {
    let bytes = wire(&requests());
    let (mut host, mut said) = (FakeHost::debian(), Vec::new());
    serve(&mut host, &mut bytes.as_slice(), &mut said).unwrap();
    let hello = said.iter().position(|b| *b == b'\n').unwrap();
    let (mut replies, mut faults, mut ends) = (&said[hello + 1..], Vec::new(), 0);
    while let Some(frame) = read_frame::<Reply>(&mut replies).unwrap() {
        let Frame::Message(reply) = frame else { continue };
        ends += usize::from(reply.ends());
        faults.extend(if let Reply::Fault(fault) = reply { Some(fault.code) } else { None });
    }
    // One of the two paths that are fetched is not there.
    assert_eq!((faults, ends), (vec![FaultCode::NotFound], 12));
}

#[test]
fn the_corpus_is_read() {
    for (name, bytes) in corpus("frames") {
        frames(&name, &bytes);
        conversation(&name, &bytes);
    }
}

#[test]
fn a_frame_over_its_bound_is_not_read() {
    for (kind, bound) in [(b'D', MAX_DATA), (b'J', MAX_MESSAGE)] {
        let mut bytes = u32::try_from(bound + 1).unwrap().to_be_bytes().to_vec();
        bytes.push(kind);
        bytes.resize(bound + 6, b' ');
        let read = heap::within(of_frame(0), "a frame over its bound", || read_frame::<Value>(&mut bytes.as_slice()));
        assert!(read.is_err(), "{bound}");
    }
}

#[test]
fn a_list_of_a_million_numbers_stays_in_its_bound() {
    let mut bytes = Vec::new();
    write_message(&mut bytes, &vec![0_u8; 1 << 20]).unwrap();
    frames("a list", &bytes);
    conversation("a list", &bytes);
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn random_bytes_are_read(mut bytes in prop::collection::vec(any::<u8>(), 0..400), framed in any::<bool>()) {
        if framed && bytes.len() > 5 {
            // A header that may be right: its type is, and its length is small.
            (bytes[0], bytes[1], bytes[2], bytes[4]) = (0, 0, bytes[2] & 3, if bytes[4] & 1 == 0 { b'J' } else { b'D' });
        }
        frames("random bytes", &bytes);
    }
}

proptest! {
    #![proptest_config(cases(400))]

    /// Damage to the stream: lengths, types, and what is in the frames.
    #[test]
    fn a_damaged_stream_does_no_harm(damages in prop::collection::vec(damage(), 1..4)) {
        let mut bytes = wire(&requests());
        damages.iter().for_each(|damage| damage.happen(&mut bytes));
        frames("a damaged stream", &bytes);
        conversation("a damaged stream", &bytes);
    }

    /// Damage within the frames, which are whole; and frames that come in another order.
    #[test]
    fn damaged_requests_do_no_harm(
        damages in prop::collection::vec((any::<Index>(), damage()), 0..4),
        order in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        let mut said = requests();
        for at in &order {
            let part = said[at.index(said.len())].clone();
            said.insert(at.index(said.len()) / 2, part);
        }
        for (at, damage) in &damages {
            let at = at.index(said.len());
            let (Said::Message(bytes) | Said::Data(bytes)) = &mut said[at];
            damage.happen(bytes);
        }
        conversation("damaged requests", &wire(&said));
    }
}
