//! An agent that is killed in the middle of many kinds, at each record of its journal. (`interrupted` kills it in the
//! middle of a package.)

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use weiche_tests::lab::{HostOptions, Lab, LabHost};

use crate::fleet::assert_same;
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
  - command: { argv: [touch, /srv/made], creates: /srv/made, undo: [rm, -f, /srv/made] }
",
    );
    let runs = host.root().join("var/lib/weiche/runs");
    let known =
        |runs: &Path| fs::read_dir(runs).into_iter().flatten().flatten().map(|run| run.path()).collect::<Vec<_>>();
    // One record more each time, until a run is through before it has so many.
    for records in 1.. {
        let old = known(&runs);
        let ran = std::thread::scope(|scope| {
            let apply = scope.spawn(|| fleet.weiche(&APPLY));
            let mut killed = false;
            while !killed && !apply.is_finished() {
                let new = known(&runs).into_iter().find(|run| !old.contains(run));
                let journal = new.and_then(|run| fs::read(run.join("journal")).ok()).unwrap_or_default();
                if journal.iter().filter(|byte| **byte == b'\n').count() >= records {
                    killed = kill_agent(&host);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            apply.join().expect("the thread of weiche")
        });
        if ran.code == 0 {
            assert!(records > 8, "killed at {} records only", records - 1);
            break;
        }
        let ran = ran.expect(3);
        assert!(ran.stderr.contains("the agent ended"), "{}", ran.stderr);
        assert!(ran.stderr.contains("rathaus/srv: identical to before ("), "{}", ran.stderr);
        assert_same(&manifest(&host), &before, &format!("killed at {records} records"));
    }
    taken_back(&fleet, &host, &before);
}

/// Kills the agents of a host from outside, as nothing inside would be quick enough.
fn kill_agent(host: &LabHost) -> bool {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let inside = namespace(&host.leader().expect("it is on").to_string());
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok());
    let is_agent = |pid: &String| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "weiche-agent\n")
            && namespace(pid) == inside
    };
    let agents: Vec<String> = pids.filter(is_agent).collect();
    let kill = |pid: &String| Command::new("kill").args(["-KILL", pid]).status().is_ok_and(|status| status.success());
    agents.iter().filter(|pid| kill(pid)).count() > 0
}
