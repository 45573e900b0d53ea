//! The journal: cut at every byte, damaged in the middle, from the future; and every record after every status.

use std::io::Read;

use serde_json::json;
use weiche_agent::digest::Digest;
use weiche_agent::engine;
use weiche_agent::fault::{Fault, FaultCode};
use weiche_agent::host::Host;
use weiche_agent::host::fake::{FakeHost, Moment};
use weiche_agent::journal::{Guard, Journal, Record, Standing};
use weiche_agent::protocol::{RunId, Status, Step, StepId};

const JOURNAL: &str = "runs/run-1/journal";

fn run() -> RunId {
    RunId::try_from(String::from("run-1")).unwrap()
}

fn steps() -> Vec<Step> {
    let step = |id: &str, kind: &str, spec| Step {
        id: StepId(id.into()),
        kind: kind.into(),
        spec,
        watches: Vec::new(),
        anchor: false,
        timeout_ms: 1000,
        inject: None,
    };
    vec![
        step("s.0", "directory", json!({ "path": "/srv/data" })),
        step("s.1", "symlink", json!({ "path": "/srv/now", "target": "then" })),
        step("s.2", "unit", json!({ "name": "cron", "running": false })),
    ]
}

fn text(host: &mut FakeHost) -> Vec<u8> {
    let mut bytes = Vec::new();
    host.state_open(JOURNAL).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn applied() -> FakeHost {
    let mut host = FakeHost::debian();
    let mut journal = Journal::open(&run(), &mut host).unwrap();
    assert!(engine::apply(&steps(), &mut journal, &mut host, &mut |_| {}).unwrap());
    host
}

#[test]
fn a_journal_cut_at_any_byte_is_read_up_to_its_last_whole_line() {
    let mut host = applied();
    let whole = text(&mut host);
    for cut in 0..=whole.len() {
        let mut host = host.clone();
        host.state_write(JOURNAL, &mut &whole[..cut]).unwrap();
        let mut journal = Journal::open(&run(), &mut host).unwrap();
        let lines = whole[..cut].iter().filter(|b| **b == b'\n').count();
        // Header, Begin and Done of the first two steps together, Begin and Done of the third.
        let expected = [0, 0, 1, 2, 2, 2, 3, 3][lines];
        assert_eq!(journal.steps.len(), expected, "cut at byte {cut} of {}", whole.len());
        // Appending heals it, and undo works from there.
        assert_eq!(engine::undo(None, false, &mut journal, &mut host, &mut |_| {}).unwrap(), Vec::new());
        let again = Journal::open(&run(), &mut host).unwrap();
        assert!(again.statuses().iter().all(|s| s.status == Status::Undone), "cut at byte {cut}");
    }
}

#[test]
fn damage_before_the_last_line_needs_a_person() {
    let mut host = applied();
    let whole = text(&mut host);
    let last = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').unwrap();
    for at in (0..last).step_by(7).filter(|at| whole[*at] != b'\n') {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        if damaged[at] == b'\n' {
            continue;
        }
        host.state_write(JOURNAL, &mut damaged.as_slice()).unwrap();
        let fault = Journal::open(&run(), &mut host).unwrap_err();
        assert_eq!(fault.code, FaultCode::Corrupt, "damage at byte {at}");
    }
}

#[test]
fn a_newer_major_version_is_refused() {
    let mut host = FakeHost::debian();
    let header = r#"{"header":{"version":[2,0],"run":"run-1","build":"x"}}"#;
    let sum = weiche_agent::digest::Digest::of(header.as_bytes());
    host.state_append(JOURNAL, format!("{} {header}\n", &sum.as_str()[..16]).as_bytes()).unwrap();
    assert_eq!(Journal::open(&run(), &mut host).unwrap_err().code, FaultCode::Unsupported);
}

#[test]
fn a_record_follows_a_status_or_the_journal_is_corrupt() {
    use Status::{Begun, Done, Failed, Stuck, Undoing, Undone};
    let id = StepId("s.0".into());
    let fault = Fault::new(FaultCode::Io, "x");
    let state = json!({});
    let records = [
        Record::Begin { step: steps().remove(0), before: state.clone(), wanted: state.clone() },
        Record::Done { step: id.clone(), after: state },
        Record::Failed { step: id.clone(), fault: fault.clone() },
        Record::UndoStarted { step: id.clone() },
        Record::Undone { step: id.clone() },
        Record::UndoFailed { step: id, fault },
    ];
    // In the order of `records`; `None` is corrupt.
    let table = [
        (None, [Some(Begun), None, None, None, None, None]),
        (Some(Begun), [None, Some(Done), Some(Failed), Some(Undoing), None, None]),
        (Some(Done), [None, None, None, Some(Undoing), None, None]),
        (Some(Failed), [None, None, None, Some(Undoing), None, None]),
        (Some(Undoing), [None, None, None, Some(Undoing), Some(Undone), Some(Stuck)]),
        (Some(Undone), [Some(Begun), None, None, None, None, None]),
        (Some(Stuck), [None, None, None, Some(Undoing), None, None]),
    ];
    for (now, row) in table {
        for (record, expected) in records.iter().zip(row) {
            let next = Status::next(now, record);
            assert_eq!(next.as_ref().ok().copied(), expected, "{record:?} after {now:?}");
            assert!(next.is_ok() || next.is_err_and(|f| f.code == FaultCode::Corrupt));
        }
    }
}

#[test]
fn a_record_follows_a_guard_or_the_journal_is_corrupt() {
    let armed = |nonce: &[u8], deadline_boottime_ms| Record::Armed {
        stage: "s".into(),
        nonce: Digest::of(nonce),
        boot_id: "boot".into(),
        deadline_boottime_ms,
        wall_deadline_ms: 0,
    };
    let stuck = vec![StepId("s.0".into())];
    let records = [
        armed(b"nonce", 2),
        armed(b"other", 2),
        Record::Confirmed { stage: "s".into() },
        Record::Fired { stage: "s".into(), stuck: Vec::new() },
        Record::Fired { stage: "s".into(), stuck: stuck.clone() },
        Record::Undone { step: stuck[0].clone() },
    ];
    let of = |standing| Some(Guard { standing, ..Guard::next(None, &armed(b"nonce", 1)).unwrap() });
    use Standing::{Armed, Confirmed, Fired};
    let (back, left) = (Fired(Vec::new()), Fired(stuck));
    // In the order of `records`; `None` is corrupt.
    let table = [
        (None, [Some(Armed), Some(Armed), None, None, None, None]),
        (of(Armed), [Some(Armed), None, Some(Confirmed), Some(back.clone()), Some(left.clone()), None]),
        (of(Confirmed), [None, None, None, None, None, None]),
        (of(back.clone()), [None, None, None, Some(back.clone()), Some(left.clone()), None]),
        (of(left.clone()), [None, None, None, Some(back), Some(left), None]),
    ];
    for (now, row) in table {
        for (record, expected) in records.iter().zip(row) {
            let next = Guard::next(now.as_ref(), record);
            assert_eq!(next.as_ref().ok().map(|guard| &guard.standing), expected.as_ref(), "{record:?} after {now:?}");
            assert!(next.is_ok() || next.is_err_and(|f| f.code == FaultCode::Corrupt));
        }
    }
    assert_eq!(Guard::next(of(Armed).as_ref(), &records[0]).unwrap().deadline_boottime_ms, 2, "the later record holds");
}

#[test]
fn an_anchor_is_journalled_only_before_a_change() {
    let mut host = FakeHost::debian();
    let anchor = Step { anchor: true, spec: json!({ "name": "cron", "settle": true }), ..steps().remove(2) };
    let mut journal = Journal::open(&run(), &mut host).unwrap();
    let effects = host.effects();
    assert!(engine::apply(std::slice::from_ref(&anchor), &mut journal, &mut host, &mut |_| {}).unwrap());
    assert_eq!(host.effects(), effects);
    let stage = [anchor, steps().remove(0)];
    assert!(engine::apply(&stage, &mut journal, &mut host, &mut |_| {}).unwrap());
    let order: Vec<String> = journal.statuses().iter().map(|s| s.step.0.clone()).collect();
    assert_eq!(order, ["s.2", "s.0"]);
}

#[test]
fn an_append_that_is_cut_off_is_no_harm() {
    let before = FakeHost::debian();
    for n in 1.. {
        let mut host = before.clone();
        host.crash_at(n, Moment::Within);
        let mut journal = Journal::open(&run(), &mut host).unwrap();
        let _ = engine::apply(&steps(), &mut journal, &mut host, &mut |_| {});
        let crashed = host.crashed();
        host.reboot();
        // Once more, cut off at the same place of what is left; then to the end; then back.
        host.crash_at(n.div_ceil(2), Moment::Within);
        let _ = Journal::open(&run(), &mut host)
            .and_then(|mut journal| engine::apply(&steps(), &mut journal, &mut host, &mut |_| {}));
        host.reboot();
        let mut journal = Journal::open(&run(), &mut host).unwrap();
        assert!(engine::apply(&steps(), &mut journal, &mut host, &mut |_| {}).unwrap());
        assert_eq!(engine::undo(None, false, &mut journal, &mut host, &mut |_| {}).unwrap(), Vec::new());
        assert_eq!(host.snapshot(), before.snapshot(), "cut off at effect {n}");
        if !crashed {
            return;
        }
    }
}
