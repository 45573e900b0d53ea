//! The agent itself refuses to change a machine that is not the one meant, and to hear controllers of the past: before it
//! journals anything. And it wakes others.

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
        Request::Stage {
            run: run.clone(),
            steps: vec![step],
            expect: expect.clone(),
            crash_after_records,
            confirm_ms: None,
        },
        Request::Undo { run, stage: None, only: Vec::new(), over_drift: false, expect, crash_after_records },
    ]
}

#[test]
fn a_wrong_machine_is_not_touched() {
    let right = Expect { serial: Some("CZC0000001".into()), ..Expect::default() };
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
    let machine_id = Some("0123456789abcdef0123456789abcdef".into());
    let expect = Expect { serial: Some("CZC0000001".into()), machine_id, ..Expect::default() };
    let before = host.snapshot();
    let replies = ask(&mut host, &requests(&expect), b"new\n");
    assert_eq!(replies, [Reply::StageEnd { ok: true }, Reply::UndoEnd { stuck: Vec::new() }]);
    assert_eq!(host.snapshot(), before);
}

/// What an epoch of a controller is answered: by requests that change, and by one that only looks.
fn answers(host: &mut FakeHost, epoch: Option<u64>) -> Vec<Result<(), FaultCode>> {
    let expect = Expect { epoch, ..Expect::default() };
    let run = RunId::try_from(String::from("r-2")).unwrap();
    let (stage, nonce) = (String::from("build"), Digest::of(b"nonce"));
    let within_ms = 1000;
    let mut all = requests(&expect);
    all.extend([
        Request::Witness { run: run.clone(), scope: Default::default(), expect: expect.clone() },
        Request::Reboot { boot_id: "of another boot".into(), expect: expect.clone() },
        Request::Arm { run: run.clone(), stage: stage.clone(), nonce, within_ms, expect: expect.clone() },
        Request::Confirm { run: run.clone(), stage: stage.clone(), nonce: "x".into(), expect: expect.clone() },
        Request::Cancel { run: run.clone(), stage, nonce: "nonce".into(), expect },
        Request::Journal { run },
    ]);
    let told = |reply: Reply| match reply {
        Reply::Fault(fault) => Err(fault.code),
        _ => Ok(()),
    };
    ask(host, &all, b"new\n").into_iter().map(told).collect()
}

#[test]
fn a_controller_of_the_past_is_refused_and_the_highest_epoch_is_durable() {
    use FaultCode::{Invalid, Stale, Superseded};
    let mut host = FakeHost::debian();
    let good = |arm| vec![Ok(()), Ok(()), Ok(()), Err(Stale), arm, Err(Invalid), Ok(()), Ok(())];
    assert_eq!(answers(&mut host, Some(9)), good(Ok(())));
    let before = host.state().clone();
    let refused: Vec<_> = std::iter::repeat_n(Err(Superseded), 7).chain([Ok(())]).collect();
    assert_eq!(answers(&mut host, Some(8)), refused);
    let contents = |name: &&String| !name.contains("/in/");
    assert!(host.state().keys().filter(contents).eq(before.keys().filter(contents)), "nothing was written");
    // Taken back in between, so that it is refused for that; but not as superseded.
    let again = |host: &mut FakeHost, epoch| {
        let answers = answers(host, epoch);
        assert!(!answers.contains(&Err(Superseded)), "{epoch:?}: {answers:?}");
    };
    again(&mut host, Some(9));
    again(&mut host, None);
    again(&mut host, Some(10));
    assert_eq!(answers(&mut host, Some(9)), refused);
}

#[test]
fn what_was_sent_over_a_line_that_its_controller_has_given_up_comes_too_late() {
    let mut host = FakeHost::debian();
    let before = host.snapshot();
    let over = |epoch, line| Expect { epoch: Some(epoch), line: Some(line), ..Expect::default() };
    let both = |epoch, line| requests(&over(epoch, line));
    let (stage, undo) = (|epoch, line| both(epoch, line)[..2].to_vec(), |epoch, line| both(epoch, line)[2..].to_vec());
    let (changed, back) = (Reply::StageEnd { ok: true }, Reply::UndoEnd { stuck: Vec::new() });
    // The stage is sent, the line is cut, and the controller takes back over a new one what never arrived.
    assert_eq!(ask(&mut host, &undo(9, 2), b""), std::slice::from_ref(&back));
    let late = ask(&mut host, &stage(9, 1), b"new\n");
    let [Reply::Fault(fault)] = &late[..] else { panic!("{late:?}") };
    assert_eq!((fault.code, host.snapshot() == before), (FaultCode::Stale, true), "{fault}");
    assert!(fault.message.contains("connection 1 < 2"), "{fault}");
    // The line that is in use goes on; so does the first one of the next controller.
    assert_eq!(ask(&mut host, &stage(9, 2), b"new\n"), [changed]);
    assert_eq!(ask(&mut host, &undo(10, 1), b""), [back]);
}

#[test]
fn a_power_cut_never_forgets_an_epoch_that_something_was_done_for() {
    for n in 1.. {
        let mut host = FakeHost::debian();
        answers(&mut host, Some(7));
        host.crash_at(n, weiche_agent::host::fake::Moment::Unsynced);
        let changed = answers(&mut host, Some(9)).contains(&Ok(()));
        let crashed = host.crashed();
        host.reboot();
        let refused = answers(&mut host, Some(8)).contains(&Err(FaultCode::Superseded));
        assert!(refused || !changed, "effect {n}: epoch 9 changed the host, and 8 is heard again");
        if !crashed {
            return;
        }
    }
}

#[test]
fn a_damaged_epoch_lets_nobody_in() {
    use weiche_agent::host::Host;
    let mut host = FakeHost::debian();
    host.state_write("epoch", &mut "nine\n".as_bytes()).unwrap();
    assert!(answers(&mut host, Some(10))[..7].iter().all(|answer| *answer == Err(FaultCode::Corrupt)));
}

#[test]
fn the_magic_packet_goes_to_everybody_on_the_network() {
    let mut host = FakeHost::debian();
    let wake = |mac: &str| Request::Wake { mac: mac.into() };
    assert_eq!(ask(&mut host, &[wake("00:00:5e:00:53:01")], b""), [Reply::Woken { packets: 1 }]);
    let packet: Vec<u8> =
        [255; 6].into_iter().chain(std::iter::repeat_n([0, 0, 0x5e, 0, 0x53, 1], 16).flatten()).collect();
    assert_eq!(host.sent(), [("192.0.2.255:9".parse().unwrap(), packet)]);
    let Reply::Fault(fault) = &ask(&mut host, &[wake("printer")], b"")[0] else { panic!("no fault") };
    assert_eq!((fault.code, host.sent().len()), (FaultCode::Invalid, 1));
}
