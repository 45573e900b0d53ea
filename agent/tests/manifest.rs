//! The manifest: what it lists, what it finds, and that runs do not pile up.

use std::path::Path;

use serde_json::{Value, json};
use weiche_agent::engine;
use weiche_agent::host::fake::FakeHost;
use weiche_agent::host::{Attributes, Command, Host};
use weiche_agent::journal::{Journal, KEPT_IN_EFFECT, KEPT_UNDONE, prune, runs};
use weiche_agent::manifest;
use weiche_agent::protocol::{RunId, Scope, Step, StepId};

fn id(run: &str) -> RunId {
    RunId::try_from(run.to_owned()).unwrap()
}

fn step(id: &str, kind: &str, spec: Value) -> Step {
    let id = StepId(id.into());
    Step { id, kind: kind.into(), spec, watches: Vec::new(), anchor: false, timeout_ms: 1000, inject: None }
}

fn scope() -> Scope {
    Scope {
        steps: vec![
            step("s.1", "directory", json!({ "path": "/srv/data" })),
            step("s.2", "package", json!({ "name": "nginx" })),
            step("s.3", "unit", json!({ "name": "cron", "running": true })),
        ],
        listed: Vec::new(),
        watch: vec!["/etc".into()],
        except: vec!["/etc/systemd".into()],
    }
}

fn host() -> FakeHost {
    let mut host = FakeHost::debian();
    host.has("/etc/motd", "Welcome\n");
    host
}

/// What differs after something happened to the host.
fn after(happens: impl FnOnce(&mut FakeHost)) -> Vec<String> {
    let mut host = host();
    let taken = manifest::take(&id("r"), &scope(), &mut host).unwrap();
    happens(&mut host);
    let mut told = Vec::new();
    let verified = manifest::verify(&id("r"), &mut host, &mut |d| told.push(d)).unwrap();
    let (manifest, count) = verified.unwrap();
    assert_eq!((manifest, count), (taken, told.len() as u64));
    told.into_iter()
        .map(|d| format!("{}{}{}", "-".repeat(d.was.iter().count()), "+".repeat(d.is.iter().count()), d.subject))
        .collect()
}

fn run(host: &mut FakeHost, line: &str) {
    let command = Command::changing(line.split(' '), std::time::Duration::from_secs(1));
    assert!(host.run(&command).unwrap().ok(), "{line}");
}

#[test]
fn an_untouched_host_is_identical() {
    assert_eq!(after(|_| {}), Vec::<String>::new());
}

#[test]
fn every_kind_of_difference_is_found() {
    let motd = Path::new("/etc/motd");
    let noted = || Some([("user.note".to_owned(), b"x".to_vec())].into());
    assert_eq!(after(|h| h.has("/etc/motd", "Moin\n")), ["-+/etc/motd"]);
    assert_eq!(after(|h| h.has("/etc/motd.d", "new\n")), ["+/etc/motd.d"]);
    assert_eq!(after(|h| h.remove(motd).unwrap()), ["-/etc/motd"]);
    let mode = Attributes { mode: Some(0o4755), ..Attributes::default() };
    assert_eq!(after(|h| h.set_attributes(motd, &mode).unwrap()), ["-+/etc/motd"]);
    let xattrs = Attributes { xattrs: noted(), ..Attributes::default() };
    assert_eq!(after(|h| h.set_attributes(motd, &xattrs).unwrap()), ["-+/etc/motd"]);
    let time = Attributes { mtime: Some((1, 2)), ..Attributes::default() };
    assert_eq!(after(|h| h.set_attributes(motd, &time).unwrap()), ["-+/etc/motd"]);
    assert_eq!(after(|h| h.symlink(motd, Path::new("x"), &Attributes::default()).unwrap()), ["-+/etc/motd"]);
    assert_eq!(after(|h| h.make_dir(Path::new("/srv/data"), &Attributes::default()).unwrap()), ["+/srv/data"]);
    assert_eq!(after(|h| run(h, "systemctl stop cron.service")), ["-+unit cron.service"]);
    let packages = after(|h| run(h, "apt-get install -y telnet"));
    assert_eq!(packages, ["+package telnet:amd64"]);
}

#[test]
fn what_is_left_out_or_elsewhere_is_not_looked_at() {
    assert_eq!(after(|h| h.has("/etc/systemd/system.conf", "x")), Vec::<String>::new());
    assert_eq!(after(|h| h.has("/var/log/syslog", "x")), Vec::<String>::new());
}

#[test]
fn a_manifest_is_taken_once() {
    let mut host = host();
    let first = manifest::take(&id("r"), &scope(), &mut host).unwrap();
    host.has("/etc/motd", "Moin\n");
    assert_eq!(manifest::take(&id("r"), &scope(), &mut host).unwrap(), first);
    assert_eq!(manifest::verify(&id("none"), &mut host, &mut |_| {}).unwrap(), None);
}

#[test]
fn runs_do_not_pile_up() {
    let mut host = FakeHost::debian();
    let mut apply = |n: usize, undo: bool| {
        let run = id(&format!("run-{n}"));
        let mut journal = Journal::open(&run, &mut host).unwrap();
        prune(&run, &mut host).unwrap();
        let spec = json!({ "path": format!("/srv/{n}") });
        assert!(engine::apply(&[step("s.1", "directory", spec)], &mut journal, &mut host, &mut |_| {}).unwrap());
        if undo {
            assert_eq!(engine::undo(None, false, &mut journal, &mut host, &mut |_| {}).unwrap(), []);
        }
        let kept = runs(&mut host).unwrap();
        assert!(kept.contains(&run));
        kept
    };
    // Not in the order of their names: what counts is when they came.
    let mut kept = Vec::new();
    for n in (0..100).rev() {
        kept = apply(n, n % 2 == 0);
    }
    // One more than the bound: the newest came after the last pruning.
    assert_eq!(kept.len(), KEPT_IN_EFFECT + KEPT_UNDONE + 1, "{kept:?}");
    assert_eq!(kept.last(), Some(&id("run-0")));
}

#[test]
fn a_run_that_is_stuck_is_never_forgotten() {
    let mut host = FakeHost::debian();
    let mut journal = Journal::open(&id("stuck"), &mut host).unwrap();
    let spec = json!({ "path": "/srv/stuck" });
    assert!(engine::apply(&[step("s.1", "directory", spec)], &mut journal, &mut host, &mut |_| {}).unwrap());
    host.has("/srv/stuck/file", "users' data");
    assert_eq!(engine::undo(None, true, &mut journal, &mut host, &mut |_| {}).unwrap().len(), 1);
    for n in 0..50 {
        let run = id(&format!("run-{n}"));
        prune(&run, &mut host).unwrap();
        let mut journal = Journal::open(&run, &mut host).unwrap();
        let steps = [step("s.1", "directory", json!({ "path": format!("/srv/{n}") }))];
        assert!(engine::apply(&steps, &mut journal, &mut host, &mut |_| {}).unwrap());
    }
    assert!(runs(&mut host).unwrap().contains(&id("stuck")));
}
