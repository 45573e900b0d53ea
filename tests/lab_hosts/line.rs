//! A line that drops all packets and closes nothing: in a step, between two, ahead of the confirmation.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use weiche_tests::lab::{HostOptions, Lab, LabHost};
use weiche_tests::until;

use crate::fleet::{Fleet, assert_same};
use crate::witness::{manifest, taken_back, watch_all};

const APPLY: [&str; 4] = ["apply", "x", "hosts=all", "--yes"];

/// Where the commands count; what is below `/var` is nobody's configuration.
const COUNT: &str = "/var/tmp/wl-count";

/// What the run log says of a stage that was confirmed.
const CONFIRMED: &str = "rathaus/srv s confirmed";

/// Begins, goes on when `/run/wl-go` is there, ends.
fn slow() -> String {
    let script = format!("echo begun >>{COUNT}; until test -e /run/wl-go; do sleep 0.1; done; echo ended >>{COUNT}");
    format!("command: {{ argv: [sh, -c, {script:?}], undo: [sh, -c, \"echo undone >>{COUNT}\"] }}")
}

fn count(host: &LabHost) -> String {
    fs::read_to_string(host.root().join(COUNT.trim_start_matches('/'))).unwrap_or_default()
}

fn is_there(host: &LabHost, path: &str) -> bool {
    host.exec(&["test", "-e", path]).status.success()
}

/// Drops all packets until weiche has given the connection up.
fn drop_the_line(lab: &Lab, host: &LabHost) {
    host.mute();
    let address = host.address.to_string();
    until("the line counts as cut", || {
        let mut ss = lab.command("ss");
        let sockets = ss.args(["-Htn", "state", "established", "dst", &address]).output().expect("run ss");
        assert!(sockets.status.success(), "ss: {}", String::from_utf8_lossy(&sockets.stderr));
        sockets.stdout.is_empty()
    });
}

fn set_up<'a>(lab: &'a Lab, host: &LabHost) -> Fleet<'a> {
    let fleet = Fleet::new(lab, "weiche", &[(host, "base")]).impatient();
    watch_all(&fleet);
    fleet
}

#[test]
fn a_line_that_drops_in_and_between_steps_changes_nothing_of_the_run() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_line_that_drops_in_and_between_steps_changes_nothing_of_the_run", &why);
    }
    let lab = Lab::new("line");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = set_up(&lab, &host);
    let before = manifest(&host);
    let (slow, ready) = (slow(), SocketAddr::from((Lab::CONTROLLER, 4711)));
    fleet.write(
        "playbooks/x.yaml",
        &format!(
            "\
playbook: x
inputs: {{ hosts: hosts }}
stages:
  - stage: one
    on: hosts
    steps:
      - file: {{ path: /etc/motd, content: \"new\\n\" }}
      - {slow}
      - check: {{ command: [touch, /run/wl-looked] }}
      - wait_for: {{ tcp: \"{ready}\" }}
        within: 5m
        every: 1s
  - stage: two
    on: hosts
    guard: 2m
    steps:
      - file: {{ path: /etc/issue, content: \"new\\n\" }}
      - command: {{ argv: [sh, -c, \"echo second >>{COUNT}\"], undo: [sh, -c, \"echo undone >>{COUNT}\"] }}
"
        ),
    );
    let run = fleet.start(&APPLY);
    until("the step works", || count(&host) == "begun\n");

    // The step ends while nobody hears of it.
    drop_the_line(&lab, &host);
    host.run(&["touch", "/run/wl-go"]);
    until("the step ends", || count(&host) == "begun\nended\n");
    host.unmute();
    until("weiche goes on", || is_there(&host, "/run/wl-looked"));

    // While weiche looks elsewhere; then the next stage begins without a line.
    drop_the_line(&lab, &host);
    let listener = lab.inside(|| TcpListener::bind(ready).expect("a port"));
    until("the next stage begins", || {
        fleet.weiche(&["log", "latest"]).expect(0).stdout.contains("rathaus/srv two begun")
    });
    host.unmute();
    run.end().expect(0);
    drop(listener);
    assert_eq!(count(&host), "begun\nended\nsecond\n");
    assert_eq!(host.run(&["cat", "/etc/motd", "/etc/issue"]), "new\nnew");

    taken_back(&fleet, &host, &before);
    assert_eq!(count(&host), "begun\nended\nsecond\nundone\nundone\n");
}

#[test]
fn a_line_that_drops_ahead_of_the_confirmation_is_back_in_time_or_too_late() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_line_that_drops_ahead_of_the_confirmation_is_back_in_time_or_too_late", &why);
    }
    let lab = Lab::new("confirm");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = set_up(&lab, &host);
    let before = manifest(&host);
    let guarded = |guard: &str| {
        let slow = slow();
        let text = format!(
            "\
playbook: x
inputs: {{ hosts: hosts }}
stages:
  - stage: s
    on: hosts
    guard: {guard}
    steps:
      - file: {{ path: /etc/motd, content: \"new\\n\" }}
      - group: {{ name: council, gid: 1500 }}
      - {slow}
"
        );
        fleet.write("playbooks/x.yaml", &text);
        host.run(&["rm", "-f", "/run/wl-go", COUNT]);
        let run = fleet.start(&APPLY);
        until("the step works", || count(&host) == "begun\n");
        // Confirmed is over a new connection: now nobody gets one.
        let sshd = host.run(&["systemctl", "show", "--property=MainPID", "--value", "ssh"]);
        host.run(&["kill", "-STOP", &sshd]);
        host.run(&["touch", "/run/wl-go"]);
        until("the stage is through", || fleet.weiche(&["log", "latest"]).expect(0).stdout.contains("s done"));
        drop_the_line(&lab, &host);
        host.run(&["kill", "-CONT", &sshd]);
        assert!(!fleet.weiche(&["log", "latest"]).expect(0).stdout.contains(CONFIRMED));
        run
    };

    // Back in time.
    let run = guarded("2m");
    host.unmute();
    run.end().expect(0);
    assert!(fleet.weiche(&["log", "latest"]).expect(0).stdout.contains(CONFIRMED));
    assert_eq!(count(&host), "begun\nended\n");
    assert_eq!(host.run(&["cat", "/etc/motd"]), "new");
    taken_back(&fleet, &host, &before);

    // Too late.
    let mut run = guarded("10s");
    until("the host takes it back", || !host.root().join("var/lib/weiche/guard").exists());
    assert_same(&manifest(&host), &before, "nobody has confirmed");
    assert!(!run.is_over(), "weiche does not know yet");
    host.unmute();
    let ran = run.end().expect(3);
    assert!(ran.stderr.contains("this host has taken it back"), "{}", ran.stderr);
    assert!(ran.stderr.contains("rathaus/srv: identical to before ("), "{}", ran.stderr);
    assert!(!fleet.weiche(&["log", "latest"]).expect(0).stdout.contains(CONFIRMED));
    assert_same(&manifest(&host), &before, "taken back");
    assert_eq!(count(&host), "begun\nended\nundone\n");
}
