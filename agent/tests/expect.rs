//! The agent itself refuses to change a machine that is not the one meant: before it journals anything.

use weiche_agent::host::fake::FakeHost;
use weiche_agent::protocol::{
    BUILD, Expect, FaultCode, Frame, Reply, Request, RunId, Step, StepId, read_frame, write_data, write_message,
};
use weiche_agent::{digest::Digest, serve::serve};

/// Asks in one go; the answers without the events.
fn ask(host: &mut FakeHost, requests: &[Request], content: &[u8]) -> Vec<Reply> {
    let (mut input, mut output) = (Vec::new(), Vec::new());
    for request in requests {
        write_message(&mut input, request).unwrap();
        if matches!(request, Request::Blob { .. }) {
            write_data(&mut input, content).unwrap();
        }
    }
    serve(host, &mut input.as_slice(), &mut output).unwrap();
    let hello = output.iter().position(|b| *b == b'\n').unwrap() + 1;
    assert!(String::from_utf8_lossy(&output[..hello]).contains(BUILD));
    let mut rest = &output[hello..];
    let mut replies = Vec::new();
    while let Ok(Some(Frame::Message(reply))) = read_frame::<Reply>(&mut rest) {
        if reply.ends() {
            replies.push(reply);
        }
    }
    replies
}

fn requests(expect: &Expect) -> Vec<Request> {
    let run = RunId::try_from(String::from("r-1")).unwrap();
    let (content, id) = (b"new\n", StepId("build.1".into()));
    let digest = Digest::of(content);
    let spec = serde_json::json!({ "path": "/etc/motd", "blob": { "digest": digest, "size": content.len() } });
    let step =
        Step { id, kind: "file".into(), spec, watches: Vec::new(), anchor: false, timeout_ms: 1000, inject: None };
    let (expect, crash_after_records) = (expect.clone(), None);
    vec![
        Request::Blob { run: run.clone(), digest, size: content.len() as u64 },
        Request::Stage { run: run.clone(), steps: vec![step], expect: expect.clone(), crash_after_records },
        Request::Undo { run, stage: None, over_drift: false, expect, crash_after_records },
    ]
}

#[test]
fn a_wrong_machine_is_not_touched() {
    let right = Expect { serial: Some("CZC0000001".into()), machine_id: None };
    let by_id = Expect { machine_id: Some("f".repeat(32)), ..Expect::default() };
    for expect in [right, by_id] {
        let mut host = FakeHost::debian();
        host.has("/sys/class/dmi/id/product_serial", "CZC0000002\n");
        let before = host.snapshot();
        let replies = ask(&mut host, &requests(&expect), b"new\n");
        for reply in &replies {
            let Reply::Fault(fault) = reply else { panic!("{reply:?}") };
            assert_eq!(fault.code, FaultCode::WrongHost, "{fault}");
            assert!(fault.message.contains("the inventory says") && fault.hint.is_some(), "{fault:?}");
        }
        assert_eq!(replies.len(), 2);
        assert_eq!(host.snapshot(), before);
        let run = ask(&mut host, &[Request::Journal { run: RunId::try_from(String::from("r-1")).unwrap() }], b"");
        assert_eq!(run, [Reply::Journal(Vec::new())], "nothing is journalled");
    }
}

#[test]
fn the_right_machine_is_changed_and_taken_back() {
    let mut host = FakeHost::debian();
    host.has("/sys/class/dmi/id/product_serial", "CZC0000001\n");
    let expect =
        Expect { serial: Some("CZC0000001".into()), machine_id: Some("0123456789abcdef0123456789abcdef".into()) };
    let before = host.snapshot();
    let replies = ask(&mut host, &requests(&expect), b"new\n");
    assert_eq!(replies, [Reply::StageEnd { ok: true }, Reply::UndoEnd { stuck: Vec::new() }]);
    assert_eq!(host.snapshot(), before);
}
