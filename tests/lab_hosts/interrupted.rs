//! Work that is cut off in the middle: an agent that is killed while dpkg runs, a line that is cut, a program that hangs.

use weiche_tests::lab::{HostOptions, Lab, LabHost};
use weiche_tests::until;

use crate::fleet::{Fleet, assert_same, state};

const APPLY: [&str; 4] = ["apply", "converge", "hosts=all", "--yes"];

#[test]
fn an_agent_that_is_killed_while_dpkg_runs_is_taken_back() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("an_agent_that_is_killed_while_dpkg_runs_is_taken_back", &why);
    }
    let lab = Lab::new("killed");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = Fleet::new(&lab, "weiche", &[(&host, "slow")]);
    fleet.write(
        "profiles/slow.yaml",
        "\
profile: slow
resources:
  - file: { path: /etc/motd, content: \"new\\n\" }
  - package: { name: wl-lib, version: \"2.0\" }
  - package: { name: wl-slow }
",
    );
    host.run(&["apt-get", "install", "-q", "-y", "wl-lib=1.0"]);
    host.run(&["apt-mark", "auto", "wl-lib"]);
    let before = state(&host);

    // Once apt goes on without the agent, and once dpkg dies with it and leaves the package half-configured.
    let postinst = "wl-slow[.]postinst";
    let with_dpkg = format!("pgrep -x 'weiche-agent|apt-get|dpkg'; pgrep -f {postinst}; pgrep -x sleep");
    for dying in ["pgrep -x weiche-agent", &with_dpkg] {
        let ran = std::thread::scope(|scope| {
            let apply = scope.spawn(|| fleet.weiche(&APPLY));
            until("dpkg runs", || host.exec(&["pgrep", "-f", postinst]).status.success());
            host.run(&["sh", "-c", &format!("kill -KILL $({dying})")]);
            apply.join().expect("the thread of weiche")
        });
        let ran = ran.expect(3);
        assert!(ran.stderr.contains("the agent ended"), "{}", ran.stderr);
        assert_same(&state(&host), &before, dying);
        host.run(&["dpkg", "--audit"]);
        gone(&host);
    }
}

#[test]
fn a_host_that_loses_its_power_while_dpkg_runs_is_taken_back_when_it_is_up_again() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip(
            "a_host_that_loses_its_power_while_dpkg_runs_is_taken_back_when_it_is_up_again",
            &why,
        );
    }
    let lab = Lab::new("power");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = Fleet::new(&lab, "weiche", &[(&host, "slow")]).impatient();
    fleet.write(
        "profiles/slow.yaml",
        "\
profile: slow
resources:
  - package: { name: wl-server, version: \"1.0\" }
  - package: { name: wl-slow }
",
    );
    let before = state(&host);
    let ran = std::thread::scope(|scope| {
        let apply = scope.spawn(|| fleet.weiche(&APPLY));
        until("dpkg runs", || host.exec(&["pgrep", "-f", "wl-slow[.]postinst"]).status.success());
        host.power_off();
        apply.join().expect("the thread of weiche")
    });
    assert!(ran.expect(4).stderr.contains("STUCK"));
    host.power_on();
    fleet.weiche(&["rollback", "latest"]).expect(0);
    assert_same(&state(&host), &before, "taken back");
}

#[test]
fn a_line_that_is_cut_leaves_the_run_stuck_until_it_is_back() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_line_that_is_cut_leaves_the_run_stuck_until_it_is_back", &why);
    }
    let lab = Lab::new("cut");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = Fleet::new(&lab, "weiche", &[(&host, "slow")]).impatient();
    fleet.write(
        "profiles/slow.yaml",
        "\
profile: slow
resources:
  - file: { path: /etc/motd, content: \"new\\n\" }
  - command:
      argv: [sh, -c, \"touch /etc/wl-begun; sleep 15; touch /etc/wl-ended\"]
      undo: [rm, -f, /etc/wl-begun, /etc/wl-ended]
  - file: { path: /etc/issue, content: \"new\\n\" }
",
    );
    let before = state(&host);
    let ran = std::thread::scope(|scope| {
        let apply = scope.spawn(|| fleet.weiche(&APPLY));
        until("the stage works", || host.root().join("etc/wl-begun").exists());
        host.cut();
        apply.join().expect("the thread of weiche")
    });
    let ran = ran.expect(4);
    assert!(
        ran.stderr.contains("rathaus/srv: STUCK: cannot reach") || ran.stderr.contains("STUCK: 192.0.2."),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("weiche rollback"), "{}", ran.stderr);
    let status = fleet.weiche(&["status", "latest"]).expect(0).stdout;
    assert!(status.contains("STUCK") && status.contains("rathaus/srv"), "{status}");

    // The agent was not harmed: it ends its step, and only then is anything taken back.
    host.uncut();
    fleet.weiche(&["rollback", "latest"]).expect(0);
    assert_same(&state(&host), &before, "taken back");
    gone(&host);
}

#[test]
fn a_program_that_hangs_is_ended_with_all_that_it_started() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_program_that_hangs_is_ended_with_all_that_it_started", &why);
    }
    let lab = Lab::new("hang");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = Fleet::new(&lab, "weiche", &[(&host, "hang")]);
    fleet.write(
        "profiles/hang.yaml",
        "\
profile: hang
resources:
  - file: { path: /etc/motd, content: \"new\\n\" }
  - command:
      argv: [sh, -c, \"touch /etc/wl-begun; sleep 4711 & sleep 4711\"]
      undo: [rm, -f, /etc/wl-begun]
    timeout: 1s
",
    );
    let before = state(&host);
    let ran = fleet.weiche(&APPLY).expect(3);
    assert!(ran.stderr.contains("did not end within 1s"), "{}", ran.stderr);
    assert_same(&state(&host), &before, "taken back");
    assert!(!host.exec(&["pgrep", "-f", "sleep 471[1]"]).status.success(), "a program is left");
    gone(&host);
}

/// The agent ends with its line, and leaves no program.
fn gone(host: &LabHost) {
    until("the agent is gone", || !host.exec(&["pgrep", "-x", "weiche-agent|apt-get|dpkg"]).status.success());
}
