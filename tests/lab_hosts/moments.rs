//! An agent that is killed in the middle of many kinds, at each record of its journal. (`interrupted` kills it in the
//! middle of a package.)

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use weiche_tests::lab::{HostOptions, Lab, LabHost};

use crate::fleet::{Fleet, assert_same};
use crate::kinds::set_up;
use crate::witness::{APPLY, manifest, taken_back};

#[test]
fn an_agent_that_is_killed_among_many_kinds_is_taken_back() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("an_agent_that_is_killed_among_many_kinds_is_taken_back", &why);
    }
    let lab = Lab::new("moments");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = set_up(&lab, &host);
    fleet.write("files/forms/a/b.txt", "b\n");
    fleet.write("files/forms/c.txt", "c\n");
    let theirs = "mkdir -p /srv/forms/a/old && echo theirs >/srv/forms/a/old/file && echo c >/srv/forms/c.txt";
    host.run(&["sh", "-c", theirs]);
    let before = manifest(&host);
    fleet.write(
        "profiles/kinds.yaml",
        "\
profile: kinds
resources:
  - file: { path: /etc/motd, content: \"new\\n\" }
  - group: { name: amt, gid: 1500 }
  - user: { name: amt, uid: 1500, group: amt }
  - hosts_entry: { address: 192.0.2.9, names: [drucker] }
  - tree: { path: /srv/forms, source: forms, purge: true }
  - sysctl: { key: net.ipv4.conf.all.accept_redirects, value: 0 }
  - mount: { path: /srv/data, device: data, type: tmpfs, options: [\"size=1m\"] }
  - timer: { name: wl-nightly, command: [/bin/true], on_calendar: 2099-01-01 }
  - ini: { path: /etc/systemd/journald.conf, section: Journal, key: SystemMaxUse, value: 64M }
  - file: { path: /etc/systemd/system/wl-wait.service, content: \"[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n\" }
  - unit: { name: wl-wait.service, enabled: true, running: true }
  - symlink: { path: /srv/current, target: data }
  - command: { argv: [sh, -c, touch /srv/made && sleep 2], creates: /srv/made, undo: [rm, -f, /srv/made] }
",
    );
    let runs = host.root().join("var/lib/weiche/runs");
    // A run that nobody kills says how many records there are to be killed at.
    let old = known(&runs);
    fleet.weiche(&APPLY).expect(0);
    let whole = newest_records(&runs, &old).expect("the run has a journal");
    assert!(whole > 8, "a whole run has {whole} records only");
    taken_back(&fleet, &host, &before);
    for records in 1..=whole {
        if !killed_when(&fleet, &host, records, &before) {
            assert!(records > whole - AFTER_THE_LAST_STEP, "the run of {whole} records was through at {records}");
            taken_back(&fleet, &host, &before);
        }
    }
}

/// Records that are written at once when the last step, a slow one, is over: the agent may be gone before it is killed.
const AFTER_THE_LAST_STEP: usize = 2;

/// Whether the agent was killed when its journal had so many records; then everything is as it was.
fn killed_when(fleet: &Fleet, host: &LabHost, records: usize, before: &str) -> bool {
    let runs = host.root().join("var/lib/weiche/runs");
    let old = known(&runs);
    let earlier = agents(host);
    let ran = std::thread::scope(|scope| {
        let apply = scope.spawn(|| fleet.weiche(&APPLY));
        let mut killed = false;
        while !killed && !apply.is_finished() {
            if newest_records(&runs, &old).is_some_and(|count| count >= records) {
                // Also somewhere behind the record, in the middle of what it announces.
                std::thread::sleep(Duration::from_millis(records as u64 * 7 % 20));
                killed = agents(host).into_iter().filter(|pid| !earlier.contains(pid)).filter(kill).count() > 0;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        apply.join().expect("the thread of weiche")
    });
    if ran.code == 0 {
        return false;
    }
    let ran = ran.expect(3);
    assert!(ran.stderr.contains("the agent ended"), "{}", ran.stderr);
    assert!(ran.stderr.contains("rathaus/srv: identical to before ("), "{}", ran.stderr);
    assert_same(&manifest(host), before, &format!("killed at {records} records"));
    true
}

fn known(runs: &Path) -> Vec<PathBuf> {
    fs::read_dir(runs).into_iter().flatten().flatten().map(|run| run.path()).collect()
}

/// The records in the journal of the run that is not among the old ones.
fn newest_records(runs: &Path, old: &[PathBuf]) -> Option<usize> {
    let new = known(runs).into_iter().find(|run| !old.contains(run))?;
    let journal = fs::read(new.join("journal")).ok()?;
    Some(journal.iter().filter(|byte| **byte == b'\n').count())
}

/// The agents that run on a host, seen from outside, as nothing inside would be quick enough.
fn agents(host: &LabHost) -> Vec<Pid> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let inside = namespace(&host.leader().expect("it is on").to_string());
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok());
    let is_agent = |pid: &String| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "weiche-agent\n")
            && namespace(pid) == inside
    };
    pids.filter(is_agent).filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw)).collect()
}

fn kill(pid: &Pid) -> bool {
    kill_process(*pid, Signal::KILL).is_ok()
}
