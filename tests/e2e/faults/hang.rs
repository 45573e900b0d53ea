//! A step that never ends: its deadline ends it and all that it has started, its host goes back, the others go on.

use std::fs;

use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;

use super::{apply, count, file, is_alive, log, playbook, until};

const HOSTS: [&str; 4] = ["a", "b", "c", "d"];

/// On host b it hangs, and so does a program that it has started.
const HANG: &str = "\
if [ \"$1\" = b ]; then
  sleep 86400 &
  echo $$ $! >\"$2.new\"
  mv \"$2.new\" \"$2\"
  wait
fi
";

/// What the step has started; nothing of it outlives the test.
struct Started(Vec<u32>);

impl Drop for Started {
    fn drop(&mut self) {
        let left = self.0.iter().filter(|pid| is_alive(**pid));
        for pid in left.filter_map(|pid| rustix::process::Pid::from_raw(i32::try_from(*pid).ok()?)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

#[test]
fn a_step_that_hangs_in_a_wave_is_ended_with_all_it_started_and_the_others_go_on() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip(
            "a_step_that_hangs_in_a_wave_is_ended_with_all_it_started_and_the_others_go_on",
            &why,
        );
    }
    let town = Town::new(&HOSTS);
    town.write("files/hang.sh", HANG);
    let (script, pids) = (town.fleet().join("files/hang.sh"), town.fleet().join("pids"));
    let hang = format!(
        "command: {{ argv: [sh, {script:?}, \"{{{{host.name}}}}\", {pids:?}], undo: [\"true\"] }}\n        timeout: 3s"
    );
    let keys = ["waves: [2, rest]", "stop: [{ failed: 2, over: stage }]"];
    playbook(&town, &[("s", &keys, &[file("/etc/motd"), hang, file("/etc/after")])]);
    let before = town.manifests(&HOSTS);

    let ran = town.weiche(&apply(&[])).expect(3);
    assert!(ran.stderr.contains("some hosts are new, every other is as it was"), "{}", ran.stderr);
    let log = log(&town);
    assert!(log.iter().any(|line| line.contains("rathaus/b s failed") && line.contains("within")), "{log:?}");
    assert_eq!((count(&log, "wave 2 started"), count(&log, " s done")), (1, 3), "{log:?}");
    let after = town.manifests(&HOSTS);
    assert_eq!(HOSTS.map(|host| after[host] == before[host]), [false, true, false, false]);

    let pids = fs::read_to_string(pids).unwrap();
    let pids = Started(pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect());
    assert_eq!(pids.0.len(), 2);
    until("all that the step started is gone", || !pids.0.iter().any(|pid| is_alive(*pid)));

    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&HOSTS), before);
}
