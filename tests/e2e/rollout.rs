//! Stages in waves that stop themselves, hosts that are switched off, guards, pauses, and one controller at a time.

use std::net::TcpListener;
use std::process::Stdio;

use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;
use weiche_tests::until;

pub(crate) const HOSTS: [&str; 4] = ["a", "b", "c", "d"];

pub(crate) const APPLY: [&str; 4] = ["apply", "x", "hosts=all", "--yes"];

/// A town whose playbook `x` has one stage with these keys and steps.
pub(crate) fn town(keys: &str, steps: &[&str]) -> Town {
    let town = Town::new(&HOSTS);
    let head = "playbook: x\ninputs: { hosts: hosts }\nstages:\n  - stage: s\n    on: hosts\n";
    let steps: String = steps.iter().map(|step| format!("      - {step}\n")).collect();
    town.write("playbooks/x.yaml", &format!("{head}{keys}    steps:\n{steps}"));
    town
}

pub(crate) const MOTD: &str = "file: { path: /etc/motd, content: \"new\\n\" }";

/// The events of the last run that hold this text.
pub(crate) fn events(town: &Town, with: &str) -> Vec<String> {
    let log = town.weiche(&["log", "latest"]).expect(0).stdout;
    log.lines().filter(|line| line.contains(with)).map(str::to_owned).collect()
}

#[test]
fn a_canary_that_fails_stops_the_stage_before_the_others_begin() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_canary_that_fails_stops_the_stage_before_the_others_begin", &why);
    }
    let town = town("    waves: [{ name: c }, 50%, rest]\n", &[MOTD]);
    let before = town.manifests(&HOSTS);
    let ran = town.weiche(&[&APPLY[..], &["--inject", "rathaus/c:s.1=fail"]].concat()).expect(3);
    assert!(ran.stderr.contains("rathaus/c failed in stage s"), "{}", ran.stderr);
    assert_eq!(events(&town, " begun").len(), 1, "{:?}", events(&town, ""));
    assert_eq!(town.manifests(&HOSTS), before);
    // Without the fault: the canary, two, the last one.
    town.weiche(&APPLY).expect(0);
    let waves = events(&town, " wave ");
    assert_eq!(waves.len(), 2, "{waves:?}");
    assert!(events(&town, " begun")[0].contains("rathaus/c"), "{:?}", events(&town, " begun"));
}

#[test]
fn failures_below_the_rule_are_taken_back_alone() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("failures_below_the_rule_are_taken_back_alone", &why);
    }
    let town = town("    stop: [{ failed: 2, over: stage }]\n", &[MOTD]);
    let before = town.manifests(&HOSTS);
    let ran = town.weiche(&[&APPLY[..], &["--inject", "rathaus/b:s.1=fail"]].concat()).expect(3);
    assert!(ran.stderr.contains("some hosts are new, every other is as it was"), "{}", ran.stderr);
    let after = town.manifests(&HOSTS);
    let same: Vec<&str> = HOSTS.into_iter().filter(|host| after[*host] == before[*host]).collect();
    assert_eq!(same, ["b"]);
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&HOSTS), before);
}

#[test]
fn a_held_run_goes_on_or_goes_back_as_a_person_says() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_held_run_goes_on_or_goes_back_as_a_person_says", &why);
    }
    let town = town("    waves: [1, rest]\n    on_stop: hold\n", &[MOTD]);
    let before = town.manifests(&HOSTS);
    let inject = [&APPLY[..], &["--inject", "rathaus/a:s.1=fail"]].concat();
    let ran = town.weiche(&inject).expect(6);
    assert!(ran.stderr.contains("has stopped"), "{}", ran.stderr);
    assert!(town.weiche(&["status", "latest"]).expect(0).stdout.contains("HALTED in stage s"));
    // On, in spite of it: the canary is taken back, the others become new.
    town.weiche(&["continue", "latest", "--as", "frida"]).expect(3);
    let after = town.manifests(&HOSTS);
    assert_eq!(HOSTS.map(|host| after[host] == before[host]), [true, false, false, false]);
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&HOSTS), before);

    town.weiche(&inject).expect(6);
    town.weiche(&["abort", "latest"]).expect(3);
    assert_eq!(town.manifests(&HOSTS), before);
}

#[test]
fn hosts_that_are_switched_off_are_caught_up_with() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("hosts_that_are_switched_off_are_caught_up_with", &why);
    }
    let town = town("    offline: { wait_until: 14d }\n", &[MOTD]);
    let before = town.manifests(&HOSTS);
    let member = std::fs::read_to_string(town.fleet().join("members/rathaus.yaml")).unwrap();
    // Nobody listens there once the listener is gone.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let lines = member.lines().map(|line| match line.contains("name: b,") {
        true => line.replace(&format!("port: {},", town.sshd.port), &format!("port: {free},")) + "\n",
        false => format!("{line}\n"),
    });
    town.write("members/rathaus.yaml", &lines.collect::<String>());
    let plan = town.weiche(&["plan", "x", "hosts=all"]).expect(2);
    assert!(plan.stdout.contains("switched off"), "{}", plan.stdout);
    let ran = town.weiche(&APPLY).expect(6);
    assert!(ran.stderr.contains("1 host(s) are switched off"), "{}", ran.stderr);
    let after = town.manifests(&HOSTS);
    assert_eq!(HOSTS.map(|host| after[host] == before[host]), [false, true, false, false]);

    town.write("members/rathaus.yaml", &member);
    town.weiche(&["catch-up", "latest"]).expect(0);
    assert_ne!(town.manifest("b"), before["b"]);
    let back = town.weiche(&["rollback", "latest"]).expect(0);
    assert!(back.stderr.contains("rathaus/b: identical to before"), "{}", back.stderr);
    assert_eq!(town.manifests(&HOSTS), before);
}

#[test]
fn a_guarded_stage_is_confirmed_or_the_host_takes_it_back_by_itself() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_guarded_stage_is_confirmed_or_the_host_takes_it_back_by_itself", &why);
    }
    let town = town("    guard: 2s\n", &[MOTD]);
    let before = town.manifests(&HOSTS);
    town.weiche(&APPLY).expect(0);
    assert_eq!(events(&town, " confirmed").len(), 4);
    assert_ne!(town.manifests(&HOSTS), before);
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&HOSTS), before);

    // The controller dies when every host is through and none is confirmed.
    let events = events(&town, "s done");
    let last = events.last().unwrap().split_whitespace().next().unwrap().to_owned();
    town.weiche(&[&APPLY[..], &["--crash-after-event", &last]].concat());
    until("the hosts take it back", || town.manifests(&HOSTS) == before);
    // Whoever comes back finds it so, and does not do it again.
    let resumed = town.weiche(&["resume", "latest"]).expect(3);
    assert!(resumed.stderr.contains("taken back"), "{}", resumed.stderr);
    assert_eq!(town.manifests(&HOSTS), before);
}

#[test]
fn a_member_has_one_controller_at_a_time() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_member_has_one_controller_at_a_time", &why);
    }
    // It waits for somebody who never listens.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let check = format!("check: {{ tcp: \"127.0.0.1:{port}\" }}\n        within: 10m");
    let town = town("", &[MOTD, &check]);
    let before = town.manifests(&HOSTS);
    let mut first = town.command(&APPLY).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the first one works", || town.manifests(&HOSTS) != before);
    town.write("playbooks/y.yaml", "playbook: y\ninputs: { hosts: hosts }\nstages:\n  - stage: s\n    on: hosts\n    steps:\n      - file: { path: /etc/other, content: \"x\" }\n");
    let second = town.weiche(&["apply", "y", "hosts=all", "--yes"]).expect(1);
    assert!(second.stderr.contains("another weiche works on rathaus"), "{}", second.stderr);
    // It dies, and gives nothing back: its lease is worth nothing any more, and its hosts obey the next one.
    first.kill().unwrap();
    first.wait().unwrap();
    town.weiche(&["rollback", "latest"]).expect(1);
    let runs = town.weiche(&["status"]).expect(0).stdout;
    let run = runs.lines().find(|line| line.contains("in stage s")).unwrap().split_whitespace().next().unwrap();
    town.weiche(&["rollback", run]).expect(0);
    assert_eq!(town.manifests(&HOSTS), before);
}
