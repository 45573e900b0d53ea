//! What others did to the host between a run and its undo: their work stays where it is not in the way, is kept where
//! it is, and stops an undo that would destroy more than it brings back.

use std::path::Path;

use serde_json::{Value, json};
use weiche_agent::engine;
use weiche_agent::fault::FaultCode;
use weiche_agent::host::fake::FakeHost;
use weiche_agent::host::{Host, read_text};
use weiche_agent::journal::Journal;
use weiche_agent::protocol::{RunId, Step, StepEvent, StepId, StepOutcome};

fn step(kind: &str, spec: Value) -> Step {
    let id = StepId("s.0".into());
    Step { id, kind: kind.into(), spec, watches: Vec::new(), anchor: false, timeout_ms: 1000, inject: None }
}

fn journal(host: &mut FakeHost) -> Journal {
    Journal::open(&RunId::try_from(String::from("run-1")).unwrap(), host).unwrap()
}

fn applied(mut host: FakeHost, kind: &str, spec: Value) -> FakeHost {
    let mut journal = journal(&mut host);
    let mut events = Vec::new();
    let ok = engine::apply(&[step(kind, spec)], &mut journal, &mut host, &mut |e| events.push(e)).unwrap();
    assert!(ok, "{events:?}");
    host
}

fn undone(host: &mut FakeHost) -> StepEvent {
    undone_over(false, host)
}

fn undone_over(drift: bool, host: &mut FakeHost) -> StepEvent {
    let mut events = Vec::new();
    let mut journal = journal(host);
    engine::undo(None, drift, &mut journal, host, &mut |e| events.push(e)).unwrap();
    events.pop().unwrap()
}

fn text(host: &mut FakeHost, path: &str) -> String {
    read_text(host, Path::new(path)).unwrap().unwrap()
}

#[test]
fn what_someone_left_in_place_of_ours_is_kept() {
    let mut host = FakeHost::debian();
    host.has("/etc/old.conf", "before\n");
    let mut host = applied(host, "file", json!({ "path": "/etc/old.conf", "state": "absent" }));
    host.has("/etc/old.conf", "by hand\n");
    let effects = host.effects();
    let StepOutcome::UndoFailed(fault) = undone(&mut host).what else { panic!("it went over what others did") };
    assert_eq!((fault.code, host.effects()), (FaultCode::Drifted, effects), "an undo that stops changes nothing");
    let outcome = undone_over(true, &mut host).what;
    assert!(matches!(outcome, StepOutcome::UndoneDrifted { .. }), "{outcome:?}");
    assert_eq!(text(&mut host, "/etc/old.conf"), "before\n");
    let kept = weiche_agent::digest::Digest::of(b"by hand\n");
    assert!(host.state_open(&format!("runs/run-1/kept/{kept}")).unwrap().is_some());
}

#[test]
fn other_lines_of_an_edited_file_stay() {
    let mut host = FakeHost::debian();
    host.has("/etc/hosts", "127.0.0.1 localhost\n");
    let mut host = applied(host, "line", json!({ "path": "/etc/hosts", "line": "192.0.2.9 print" }));
    host.has("/etc/hosts", "# ours\n127.0.0.1 localhost\n192.0.2.9 print\n192.0.2.10 theirs\n");
    assert_eq!(undone(&mut host).what, StepOutcome::Undone);
    assert_eq!(text(&mut host, "/etc/hosts"), "# ours\n127.0.0.1 localhost\n192.0.2.10 theirs\n");
}

#[test]
fn an_edited_line_that_others_have_changed_is_drift() {
    let mut host = FakeHost::debian();
    host.has("/etc/hosts", "127.0.0.1 localhost\n");
    let spec = json!({ "path": "/etc/hosts", "line": "192.0.2.9 print", "replaces": "192.0.2.9" });
    let mut host = applied(host, "line", spec);
    host.has("/etc/hosts", "127.0.0.1 localhost\n192.0.2.9 printer\n");
    let found = engine::drift::of_host(&mut host).unwrap();
    assert_eq!(found.iter().map(|d| d.kind.as_str()).collect::<Vec<_>>(), ["line"]);
    let StepOutcome::UndoFailed(fault) = undone(&mut host).what else { panic!("it went over what others did") };
    assert_eq!(fault.code, FaultCode::Drifted);
    assert!(matches!(undone_over(true, &mut host).what, StepOutcome::UndoneDrifted { .. }));
    assert_eq!(text(&mut host, "/etc/hosts"), "127.0.0.1 localhost\n");
}

#[test]
fn other_accounts_stay() {
    let mut host = applied(FakeHost::debian(), "group", json!({ "name": "council" }));
    let before = text(&mut host, "/etc/group").replace("council:x:1000:\n", "");
    let others = format!("{}later:x:1001:\n", text(&mut host, "/etc/group"));
    host.has("/etc/group", &others);
    assert_eq!(undone(&mut host).what, StepOutcome::Undone);
    assert_eq!(text(&mut host, "/etc/group"), format!("{before}later:x:1001:\n"));
}

#[test]
fn a_group_that_has_become_someones_primary_group_stays() {
    let mut host = applied(FakeHost::debian(), "group", json!({ "name": "council" }));
    let passwd = format!("{}frida:x:1000:1000::/:/bin/sh\n", text(&mut host, "/etc/passwd"));
    host.has("/etc/passwd", &passwd);
    let StepOutcome::UndoFailed(fault) = undone(&mut host).what else { panic!("it was taken away") };
    assert_eq!((fault.code, fault.message.contains("frida")), (FaultCode::Conflict, true));
}

#[test]
fn a_package_that_others_need_by_now_stays() {
    let mut host = applied(FakeHost::debian(), "package", json!({ "name": "nginx-common" }));
    host.does("apt-get install -y nginx");
    let before = host.snapshot();
    let StepOutcome::UndoFailed(fault) = undone(&mut host).what else { panic!("it was removed") };
    assert_eq!(fault.message, "apt would also change nginx, which this step does not cover");
    assert_eq!(host.snapshot(), before);
}

#[test]
fn a_held_package_is_not_touched() {
    let mut host = FakeHost::debian();
    host.does("apt-get install -y samba=2:4.13.13+dfsg-1~deb11u6");
    host.does("apt-mark hold samba");
    let spec = json!({ "name": "samba", "version": "2:4.17.12+dfsg-0+deb12u1" });
    let seen = engine::observe(&[step("package", spec)], &mut host).remove(0);
    let fault = seen.result.unwrap_err();
    assert_eq!(fault.message, "package samba is held at 2:4.13.13+dfsg-1~deb11u6");
    assert!(fault.hint.unwrap().contains("apt-mark unhold samba"));
}

#[test]
fn a_password_never_leaves_the_host() {
    let mut host = FakeHost::debian();
    host.has("/etc/passwd", "root:x:0:0::/root:/bin/sh\nfrida:x:1000:100::/:/bin/sh\n");
    host.has("/etc/shadow", "root:*:::::::\nfrida:$y$j9T$secret:19900::::::\n");
    let shadow = text(&mut host, "/etc/shadow");
    let absent = json!({ "name": "frida", "state": "absent" });
    let seen = engine::observe(&[step("user", absent.clone())], &mut host).remove(0).result.unwrap();
    assert!(!seen.state.to_string().contains("secret"));
    let mut host = applied(host, "user", absent);
    assert_ne!(text(&mut host, "/etc/shadow"), shadow);
    assert_eq!(undone(&mut host).what, StepOutcome::Undone);
    assert_eq!(text(&mut host, "/etc/shadow"), shadow);
}

#[test]
fn an_unrelated_account_makes_no_plan_stale() {
    let look = |host: &mut FakeHost| {
        let steps =
            [step("user", json!({ "name": "frida", "group": "users" })), step("group", json!({ "name": "council" }))];
        engine::observe(&steps, host).into_iter().map(|o| o.result.unwrap()).collect::<Vec<_>>()
    };
    let mut host = FakeHost::debian();
    let before = look(&mut host);
    let passwd = format!("{}other:x:1000:100::/:/bin/sh\n", text(&mut host, "/etc/passwd"));
    host.has("/etc/passwd", &passwd);
    assert_eq!(look(&mut host), before);
}
