//! Kinds that own a part of what others own too: what others do to the rest stays, and what cannot be is refused before
//! anything changes.

use std::path::Path;

use serde_json::{Value, json};
use weiche_agent::engine;
use weiche_agent::fault::{Fault, FaultCode};
use weiche_agent::host::fake::FakeHost;
use weiche_agent::host::{Host, read_text};
use weiche_agent::journal::Journal;
use weiche_agent::protocol::{RunId, Step, StepEvent, StepId, StepOutcome};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f frida";
const KEYS: &str = "/root/.ssh/authorized_keys";

fn journal(host: &mut FakeHost) -> Journal {
    Journal::open(&RunId::try_from(String::from("run-1")).unwrap(), host).unwrap()
}

/// The last event of carrying out one step.
fn apply(host: &mut FakeHost, kind: &str, spec: Value) -> StepOutcome {
    let id = StepId("s.0".into());
    let step = Step { id, kind: kind.into(), spec, watches: Vec::new(), anchor: false, timeout_ms: 1000, inject: None };
    let mut events: Vec<StepEvent> = Vec::new();
    let mut journal = journal(host);
    engine::apply(&[step], &mut journal, host, &mut |e| events.push(e)).unwrap();
    events.pop().unwrap().what
}

fn undo(host: &mut FakeHost) -> StepOutcome {
    let mut events: Vec<StepEvent> = Vec::new();
    let mut journal = journal(host);
    engine::undo(None, false, &mut journal, host, &mut |e| events.push(e)).unwrap();
    events.pop().unwrap().what
}

/// Why a step is refused, nothing having changed.
fn refused(host: &mut FakeHost, kind: &str, spec: Value) -> Fault {
    let before = host.snapshot();
    let StepOutcome::Failed(fault) = apply(host, kind, spec) else { panic!("it was carried out") };
    assert_eq!(host.snapshot(), before, "it was refused and has changed something");
    fault
}

fn text(host: &mut FakeHost, path: &str) -> String {
    read_text(host, Path::new(path)).unwrap().unwrap()
}

fn there(host: &mut FakeHost, path: &str) -> bool {
    host.lstat(Path::new(path)).unwrap().is_some()
}

#[test]
fn a_key_of_others_stays_with_its_directory() {
    let mut host = FakeHost::debian();
    assert_eq!(apply(&mut host, "authorized_key", json!({ "user": "root", "key": KEY })), StepOutcome::Changed);
    let with_others = format!("{}ssh-rsa AAAA theirs\n", text(&mut host, KEYS));
    host.has(KEYS, &with_others);
    host.chmod(KEYS, 0o600);
    assert_eq!(undo(&mut host), StepOutcome::Undone);
    assert_eq!(text(&mut host, KEYS), "ssh-rsa AAAA theirs\n");
}

#[test]
fn what_others_put_into_ssh_stays() {
    let mut host = FakeHost::debian();
    assert_eq!(apply(&mut host, "authorized_key", json!({ "user": "root", "key": KEY })), StepOutcome::Changed);
    host.has("/root/.ssh/known_hosts", "x\n");
    assert_eq!(undo(&mut host), StepOutcome::Undone);
    assert!(there(&mut host, "/root/.ssh/known_hosts") && !there(&mut host, KEYS));
}

#[test]
fn only_the_modes_of_a_key_go_back_where_the_key_was_there() {
    let mut host = FakeHost::debian();
    assert_eq!(apply(&mut host, "authorized_key", json!({ "user": "root", "key": KEY })), StepOutcome::Changed);
    let mut host = host.without_state();
    host.chmod(KEYS, 0o644);
    assert_eq!(apply(&mut host, "authorized_key", json!({ "user": "root", "key": KEY })), StepOutcome::Changed);
    let with_others = format!("{}ssh-rsa AAAA theirs\n", text(&mut host, KEYS));
    host.has(KEYS, &with_others);
    host.chmod(KEYS, 0o600);
    assert_eq!(undo(&mut host), StepOutcome::Undone);
    assert_eq!(text(&mut host, KEYS), with_others);
    assert_eq!(host.lstat(Path::new(KEYS)).unwrap().unwrap().attributes.mode, Some(0o644));
}

#[test]
fn nothing_is_followed_out_of_a_home() {
    let mut host = FakeHost::debian();
    let link = json!({ "path": "/root/.ssh", "target": "/srv" });
    assert_eq!(apply(&mut host, "symlink", link), StepOutcome::Changed);
    let mut host = host.without_state();
    let fault = refused(&mut host, "authorized_key", json!({ "user": "root", "key": KEY }));
    assert_eq!((fault.code, fault.message.as_str()), (FaultCode::Conflict, "/root/.ssh is not a directory"));
}

#[test]
fn a_key_needs_its_user_and_the_plan_does_not() {
    let mut host = FakeHost::debian();
    let spec = json!({ "user": "frida", "key": KEY });
    let id = StepId("s.0".into());
    let kind = String::from("authorized_key");
    let step = Step { id, kind, spec: spec.clone(), watches: vec![], anchor: false, timeout_ms: 1000, inject: None };
    let seen = engine::observe(&[step], &mut host).remove(0).result.unwrap();
    assert_ne!(seen.state, seen.wanted);
    let fault = refused(&mut host, "authorized_key", spec);
    assert_eq!((fault.code, fault.message.as_str()), (FaultCode::NotFound, "there is no user `frida` in /etc/passwd"));
}

#[test]
fn testparm_has_the_last_word() {
    let mut host = FakeHost::debian();
    let spec = json!({ "name": "s", "path": "/srv", "options": { "no such thing": "1" } });
    assert_eq!(refused(&mut host, "samba_share", spec.clone()).code, FaultCode::Unsupported);
    host.does("apt-get install -y samba");
    let fault = refused(&mut host, "samba_share", spec);
    assert_eq!(fault.code, FaultCode::Invalid);
    assert!(fault.causes.iter().any(|c| c.contains("no such thing")), "{fault:?}");
    // What was wrong before is not ours.
    host.has("/etc/samba/smb.conf", "[global]\n   no such other = 1\n");
    assert_eq!(apply(&mut host, "samba_share", json!({ "name": "s", "path": "/srv" })), StepOutcome::Changed);
}

#[test]
fn shares_of_others_stay() {
    let mut host = FakeHost::debian();
    host.does("apt-get install -y samba");
    host.has("/etc/samba/smb.conf", "[a]\n   path = /a\n");
    assert_eq!(apply(&mut host, "samba_share", json!({ "name": "s", "path": "/srv" })), StepOutcome::Changed);
    let theirs = format!("{}\n[b]\n   path = /b\n", text(&mut host, "/etc/samba/smb.conf"));
    host.has("/etc/samba/smb.conf", &theirs);
    assert_eq!(undo(&mut host), StepOutcome::Undone);
    assert_eq!(text(&mut host, "/etc/samba/smb.conf"), "[a]\n   path = /a\n\n[b]\n   path = /b\n");
}

#[test]
fn the_kernel_is_asked_before_the_file_is_written() {
    let mut host = FakeHost::debian();
    let fault = refused(&mut host, "sysctl", json!({ "key": "vm.no_such", "value": 1 }));
    assert_eq!((fault.code, fault.message.as_str()), (FaultCode::NotFound, "the kernel has no parameter `vm.no_such`"));
    let mut host = host.without_state();
    let fault = refused(&mut host, "sysctl", json!({ "key": "vm.swappiness", "value": "invalid" }));
    assert_eq!(fault.code, FaultCode::CommandFailed);
    let mut host = host.without_state();
    host.has("/proc/self/mountinfo", "9 1 0:2 / /proc rw - proc proc rw\n10 9 0:2 /sys /proc/sys ro - proc proc rw\n");
    let fault = refused(&mut host, "sysctl", json!({ "key": "vm.swappiness", "value": 1 }));
    assert_eq!(fault.code, FaultCode::ReadOnly);
    // The value that it has can be written down all the same.
    assert_eq!(apply(&mut host, "sysctl", json!({ "key": "vm.swappiness", "value": 60 })), StepOutcome::Changed);
}

#[test]
fn a_value_that_others_set_is_drift() {
    let mut host = FakeHost::debian();
    assert_eq!(apply(&mut host, "sysctl", json!({ "key": "vm.swappiness", "value": 1 })), StepOutcome::Changed);
    host.has("/proc/sys/vm/swappiness", "30\n");
    let found = engine::drift::of_host(&mut host).unwrap();
    assert_eq!(found.iter().map(|d| d.kind.as_str()).collect::<Vec<_>>(), ["sysctl"]);
    assert!(matches!(undo(&mut host), StepOutcome::UndoFailed(fault) if fault.code == FaultCode::Drifted));
}

#[test]
fn what_others_have_taken_back_is_back() {
    let mut host = FakeHost::debian();
    let spec = json!({ "address": "192.0.2.9", "names": ["print"] });
    assert_eq!(apply(&mut host, "hosts_entry", spec), StepOutcome::Changed);
    host.has("/etc/hosts", "127.0.0.1 localhost\n");
    assert_eq!(undo(&mut host), StepOutcome::Undone);
    assert_eq!(text(&mut host, "/etc/hosts"), "127.0.0.1 localhost\n");
}

#[test]
fn a_language_has_to_be_generated() {
    let mut host = FakeHost::debian();
    let fault = refused(&mut host, "locale", json!({ "lang": "de_DE.UTF-8" }));
    assert_eq!(fault.message, "the locale `de_DE.UTF-8` is not generated");
    let mut host = host.without_state();
    let fault = refused(&mut host, "locale", json!({ "generate": ["tlh_QO.UTF-8"] }));
    assert_eq!(fault.message, "/usr/share/i18n/SUPPORTED has no `tlh_QO.UTF-8 UTF-8`");
}

#[test]
fn half_a_block_stops_the_step() {
    let mut host = FakeHost::debian();
    host.has("/etc/motd", "# BEGIN weiche notice\nx\n");
    let fault = refused(&mut host, "block", json!({ "path": "/etc/motd", "name": "notice", "text": "y" }));
    assert_eq!(fault.code, FaultCode::Conflict);
}

#[test]
fn a_secret_value_is_in_no_state() {
    let mut host = FakeHost::debian();
    host.has("/etc/app.conf", "[api]\ntoken = old-secret\n");
    let spec = json!({ "path": "/etc/app.conf", "section": "api", "key": "token", "value": "new", "sensitive": true });
    let id = StepId("s.0".into());
    let step = Step { id, kind: "ini".into(), spec, watches: vec![], anchor: false, timeout_ms: 1000, inject: None };
    let seen = engine::observe(&[step], &mut host).remove(0).result.unwrap();
    assert_ne!(seen.state, seen.wanted);
    assert!(!format!("{}{}", seen.state, seen.wanted).contains("secret"));
}
