//! Stages that the host takes back by itself: it cuts itself off, it is restarted, it loses its power.

use std::fs;

use weiche_tests::lab::{HostOptions, Lab, LabHost};
use weiche_tests::town::Ran;
use weiche_tests::until;

use crate::fleet::{Fleet, assert_same};
use crate::witness::{manifest, watch_all};

const APPLY: [&str; 4] = ["apply", "x", "hosts=all", "--yes"];

/// The host's own network.
const OWN: &str = "etc/systemd/network/50-eth0.network";

/// A host whose network is systemd-networkd's, and its fleet.
fn set_up<'a>(lab: &'a Lab, host: &LabHost) -> Fleet<'a> {
    let own = format!("[Match]\nName=eth0\n\n[Network]\nAddress={}/24\n", host.address);
    fs::write(host.root().join(OWN), own).expect("write");
    host.run(&["systemctl", "enable", "--now", "systemd-networkd.service"]);
    until("the network is configured", || host.run(&["networkctl", "status", "eth0"]).contains("(configured)"));
    let fleet = Fleet::new(lab, "weiche", &[(host, "base")]).impatient();
    watch_all(&fleet);
    fleet
}

/// A stage with these keys, of files, an account, a command and these addresses; then what follows.
fn playbook(fleet: &Fleet, keys: &str, addresses: &str, more: &str) {
    let text = format!(
        "\
playbook: x
inputs: {{ hosts: hosts }}
stages:
  - stage: net
    on: hosts
{keys}    steps:
      - file: {{ path: /etc/motd, content: \"new\\n\" }}
      - symlink: {{ path: /srv/current, target: forms }}
      - group: {{ name: council, gid: 1500 }}
      - command: {{ argv: [sh, -c, \"echo done >>{COUNT}\"], undo: [sh, -c, \"echo undone >>{COUNT}\"] }}
      - network: {{ interface: eth0, addresses: [{addresses}] }}
{more}"
    );
    fleet.write("playbooks/x.yaml", &text);
}

/// Where the command counts; what is below `/var` is nobody's configuration.
const COUNT: &str = "/var/tmp/wl-count";

/// The address of nobody's network.
const ELSEWHERE: &str = "198.51.100.9";

fn addresses(host: &LabHost) -> String {
    host.run(&["sh", "-c", "ip -o address show dev eth0 scope global; ip route"])
}

fn whole(host: &LabHost) -> String {
    format!("{}\n-- \n{}", manifest(host), addresses(host))
}

fn is_reached(host: &LabHost) -> bool {
    host.ssh("weiche").args(["-o", "ConnectTimeout=1", "true"]).output().expect("ssh").status.success()
}

/// The guard is settled on the host: nothing is armed any more.
fn wait_settled(host: &LabHost) {
    until("the host takes it back", || !host.root().join("var/lib/weiche/guard").exists());
    until("it is reached", || is_reached(host));
    until("its boot is over", || host.run(&["systemctl", "list-jobs", "--no-legend"]).is_empty());
}

/// What weiche says of a stage that the host has taken back, once; and twice it says the same.
#[track_caller]
fn told(ran: Ran, fleet: &Fleet, host: &LabHost, before: &str, round: usize) {
    let ran = ran.expect(3);
    assert!(ran.stderr.contains("this host has taken it back"), "{}", ran.stderr);
    assert!(ran.stderr.contains("every host is as it was"), "{}", ran.stderr);
    assert!(ran.stderr.contains("rathaus/srv: identical to before ("), "{}", ran.stderr);
    let log = fleet.weiche(&["log", "latest"]).expect(0).stdout;
    assert!(!log.contains("net confirmed"), "{log}");
    assert_same(&whole(host), before, "taken back");
    let count = fs::read_to_string(host.root().join(COUNT.trim_start_matches('/'))).expect("read");
    assert_eq!(count, "done\nundone\n".repeat(round), "once each way");
    assert_eq!(host.run(&["systemctl", "--failed", "--plain", "--no-legend"]), "");
}

#[test]
fn a_host_that_cuts_itself_off_comes_back_by_itself() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_host_that_cuts_itself_off_comes_back_by_itself", &why);
    }
    let lab = Lab::new("guard");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = set_up(&lab, &host);
    let before = whole(&host);
    // Its steps may take ten times as long; once they are through there is no more than this.
    playbook(&fleet, "    guard: 20s\n", &format!("{ELSEWHERE}/24"), "");
    let run = fleet.start(&APPLY);
    until("it is cut off", || addresses(&host).contains(ELSEWHERE));
    assert!(!is_reached(&host));
    let ran = run.end();
    wait_settled(&host);
    told(ran, &fleet, &host, &before, 1);
}

#[test]
fn a_host_that_restarts_before_it_is_confirmed_comes_up_as_it_was() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_host_that_restarts_before_it_is_confirmed_comes_up_as_it_was", &why);
    }
    let lab = Lab::new("unconfirmed");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = set_up(&lab, &host);
    let before = whole(&host);
    // A check that never succeeds, or nobody who could look.
    let look = "touch /run/wl-looked; test -e /run/wl-good";
    let check = format!("      - check: {{ command: [sh, -c, {look:?}] }}\n        within: 10m\n");
    let alone = format!("{ELSEWHERE}/24");
    let both = format!("{}/24, {ELSEWHERE}/24", host.address);
    for (round, power) in [(1, true), (2, false)] {
        playbook(&fleet, "    guard: 10m\n", if power { &both } else { &alone }, &check);
        let run = fleet.start(&APPLY);
        if power {
            until("all is new", || host.exec(&["test", "-e", "/run/wl-looked"]).status.success());
        }
        until("the address is new", || addresses(&host).contains(ELSEWHERE));
        // The host never hears of the controller's end: its agent still waits on the line as the host goes down.
        host.mute();
        drop(run);
        if power {
            host.power_off();
            assert!(fs::read_to_string(host.root().join("etc/motd")).expect("read") == "new\n");
            assert!(host.root().join("var/lib/weiche/guard").exists());
            host.power_on();
        } else {
            host.reboot();
        }
        host.unmute();
        wait_settled(&host);
        assert_same(&whole(&host), &before, "up again");
        before_the_network(&host);
        // Whoever comes back finds it so, and does not do it again.
        told(fleet.weiche(&["resume", "latest"]), &fleet, &host, &before, round);
    }
}

/// The files went back ahead of whoever reads the network's.
fn before_the_network(host: &LabHost) {
    let said = host.run(&["journalctl", "-b", "-o", "cat", "_PID=1"]);
    let at = |text: &str| said.lines().position(|line| line.starts_with(text));
    let (back, network) = (at("Finished weiche-guard.service"), at("Starting systemd-networkd.service"));
    assert!(back.is_some() && network.is_some() && back < network, "{said}");
}
