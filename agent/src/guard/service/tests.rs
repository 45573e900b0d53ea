//! What is made on a host with systemd, with cron, with neither, and that nothing of it stays.

use std::io::Read;

use super::*;
use crate::digest::Digest;
use crate::host::Clock;
use crate::host::fake::{FakeHost, Moment};
use crate::journal::Record;
use crate::protocol::RunId;

fn journal(run: &str, records: &[Record], host: &mut FakeHost) {
    let mut journal = Journal::open(&RunId::try_from(run.to_owned()).unwrap(), host).unwrap();
    journal.append(records, host).unwrap();
}

fn armed() -> Record {
    Record::Armed {
        stage: "s".into(),
        nonce: Digest::of(b"nonce"),
        boot_id: "boot".into(),
        deadline_boottime_ms: 1,
        wall_deadline_ms: Clock::default().wall_ms,
    }
}

fn text(host: &mut FakeHost, path: &str) -> String {
    let mut text = String::new();
    host.open(Path::new(path)).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn units_come_with_the_first_guard_and_go_with_the_last() {
    let mut host = FakeHost::debian();
    host.has("/run/systemd/system/x", "");
    host.has("/etc/systemd/system/multi-user.target.wants/cron.service", "");
    let before = host.snapshot();
    make(&mut host).unwrap();
    let (once, program) = (host.snapshot(), "/var/lib/weiche/guard/weiche-agent");
    for (unit, phase) in [("weiche-guard", "early"), ("weiche-guard-late", "late")] {
        let text = text(&mut host, &format!("/etc/systemd/system/{unit}.service"));
        let line = format!("ExecStart=/usr/bin/env {program} guard --boot {phase} --state /var/lib/weiche\n");
        assert!(text.contains(&line) && text.contains(&format!("ConditionPathExists={program}\n")), "{text}");
    }
    let wants = "/etc/systemd/system/sysinit.target.wants/weiche-guard.service";
    assert_eq!(host.read_link(Path::new(wants)).unwrap(), Path::new("../weiche-guard.service"));
    for run in ["a", "b"] {
        journal(run, &[armed()], &mut host);
        make(&mut host).unwrap();
    }
    let without_times = |lines: &std::collections::BTreeMap<String, String>| lines.keys().cloned().collect::<Vec<_>>();
    assert_eq!(without_times(&host.snapshot()), without_times(&once), "twice is once");
    journal("a", &[Record::Confirmed { stage: "s".into() }], &mut host);
    settle(&mut host).unwrap();
    assert_ne!(host.snapshot(), before, "one is armed still");
    journal("b", &[Record::Fired { stage: "s".into(), stuck: Vec::new() }], &mut host);
    settle(&mut host).unwrap();
    assert_eq!(host.snapshot(), before);
    assert!(host.state_open(MADE).unwrap().is_none() && host.state_open(PROGRAM).unwrap().is_none());
}

#[test]
fn a_power_cut_while_they_come_or_go_leaves_nothing_for_good() {
    let mut before = FakeHost::debian();
    before.has("/run/systemd/system/x", "");
    let mut installed = before.clone();
    make(&mut installed).unwrap();
    for (start, act) in [(&before, make as fn(&mut dyn Host) -> Result<(), Fault>), (&installed, settle)] {
        for n in 1.. {
            let mut crashed = false;
            for moment in [Moment::Before, Moment::Within, Moment::After, Moment::Unsynced, Moment::UnsyncedState] {
                let mut host = start.clone();
                host.crash_at(n, moment);
                let _ = act(&mut host);
                crashed |= host.crashed();
                host.reboot();
                settle(&mut host).unwrap();
                assert_eq!(host.snapshot(), before.snapshot(), "{moment:?} effect {n}");
            }
            if !crashed {
                break;
            }
        }
    }
}

#[test]
fn a_directory_that_others_use_by_now_stays() {
    let mut host = FakeHost::debian();
    host.has("/run/systemd/system/x", "");
    make(&mut host).unwrap();
    host.has("/etc/systemd/system/sysinit.target.wants/other.service", "");
    settle(&mut host).unwrap();
    assert!(host.lstat(Path::new("/etc/systemd/system/sysinit.target.wants/other.service")).unwrap().is_some());
    assert!(host.lstat(Path::new("/etc/systemd/system/multi-user.target.wants")).unwrap().is_none());
}

#[test]
fn a_journal_that_cannot_be_read_may_be_armed() {
    let mut host = FakeHost::debian();
    host.has("/run/systemd/system/x", "");
    make(&mut host).unwrap();
    let made = host.snapshot();
    host.state_append("runs/a/journal", b"damaged\nand more\n").unwrap();
    settle(&mut host).unwrap();
    assert_eq!(host.snapshot(), made);
}

#[test]
fn without_systemd_cron_looks_and_without_both_it_is_refused() {
    let mut host = FakeHost::debian();
    let fault = make(&mut host).unwrap_err();
    assert_eq!(fault.code, FaultCode::Unsupported);
    assert!(fault.hint.is_some() && host.state_open(MADE).unwrap().is_none());
    host.has("/usr/sbin/cron", "");
    let before = host.snapshot();
    make(&mut host).unwrap();
    let program = "/var/lib/weiche/guard/weiche-agent";
    let run = |phase: &str| format!("{program} guard --boot {phase} --state /var/lib/weiche");
    assert!(text(&mut host, CRON).ends_with(&format!("\n@reboot root {} ; {}\n", run("early"), run("late"))));
    settle(&mut host).unwrap();
    assert_eq!(host.snapshot(), before);
}

#[test]
fn odd_paths_are_refused() {
    for (path, good) in [("/var/lib/weiche", true), ("/a b", false), ("/a%b", false), ("/a$b", false), ("/ä", false)] {
        assert_eq!(plain(Path::new(path)).is_ok(), good, "{path}");
    }
}
