//! Packages and units on a host with systemd: applied, seen, taken back.

use weiche_tests::lab::{HostOptions, Lab};

use crate::fleet::{Fleet, assert_same, packages, state};

const V1: &str = "\
profile: server
resources:
  - package: { name: wl-server, version: \"1.0\" }
  - file: { path: /etc/motd, content: \"intranet\\n\", mode: \"0644\" }
  - file: { path: /etc/wl-extra.conf, content: \"one\\n\" }
  - user: { name: amt, uid: 1500, group: amt, home: /srv/amt }
  - directory: { path: /srv/amt, owner: amt, group: amt, mode: \"0750\" }
  - unit: { name: wl-server, enabled: true, running: true, restart_on: [\"file /etc/wl-extra.conf\"] }
";

fn profile(group: bool, text: &str) -> String {
    if group { text.replace("  - user:", "  - group: { name: amt, gid: 1500 }\n  - user:") } else { text.to_owned() }
}

#[test]
fn packages_and_units_are_applied_and_taken_back() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("packages_and_units_are_applied_and_taken_back", &why);
    }
    let lab = Lab::new("units");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = Fleet::new(&lab, "weiche", &[(&host, "server")]);
    let v1 = profile(true, V1);
    fleet.write("profiles/server.yaml", &v1);
    // A library that another package brought in, at an old version.
    host.run(&["apt-get", "install", "-q", "-y", "wl-lib=1.0"]);
    host.run(&["apt-mark", "auto", "wl-lib"]);
    let before = state(&host);

    fleet.weiche(&["facts"]).expect(0);
    fleet.weiche(&["plan", "converge", "hosts=all"]).expect(2);
    assert_same(&state(&host), &before, "plan");
    fleet.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(0);
    assert_eq!(host.run(&["systemctl", "is-active", "wl-server"]).trim(), "active");
    assert_eq!(host.run(&["systemctl", "is-enabled", "wl-server"]).trim(), "enabled");
    assert!(packages(&host).contains("wl-lib 1.0"), "{}", packages(&host));
    fleet.weiche(&["plan", "converge", "hosts=all"]).expect(0);
    // The administrator's own change of a configuration file that belongs to the package.
    host.run(&["sh", "-c", "echo 'greeting = moin' >>/etc/wl-server.conf"]);
    let at_v1 = state(&host);
    let instance = |what: &str| host.run(&["systemctl", "show", "-p", what, "wl-server"]);
    let first = instance("InvocationID");

    // An upgrade with a changed configuration: the unit is restarted, and again when that is taken back.
    fleet.write("profiles/server.yaml", &v1.replace("\"1.0\"", "\"2.0\"").replace("one", "two"));
    let plan = fleet.weiche(&["plan", "converge", "hosts=all"]).expect(2);
    assert!(plan.stdout.contains("wl-lib") && plan.stdout.contains("-one"), "{}", plan.stdout);
    fleet.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(0);
    assert!(packages(&host).contains("wl-lib 2.0"), "{}", packages(&host));
    let second = instance("InvocationID");
    assert_ne!(first, second);
    fleet.weiche(&["rollback", "latest"]).expect(0);
    assert_same(&state(&host), &at_v1, "upgrade taken back");
    assert_ne!(instance("InvocationID"), second, "the unit runs its old configuration again");
    assert_eq!(host.run(&["systemctl", "is-active", "wl-server"]).trim(), "active");

    // The first run as well, after a restart of the host.
    host.reboot();
    let runs = fleet.weiche(&["status", "--json"]).expect(0).stdout;
    let oldest: serde_json::Value = serde_json::from_str(runs.lines().last().expect("a run")).expect("JSON");
    fleet.weiche(&["rollback", oldest["run"].as_str().expect("its name")]).expect(0);
    assert_same(&state(&host), &before, "taken back");
}

#[test]
fn a_package_that_does_not_install_and_a_unit_that_does_not_start_are_taken_back() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip(
            "a_package_that_does_not_install_and_a_unit_that_does_not_start_are_taken_back",
            &why,
        );
    }
    let lab = Lab::new("broken");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = Fleet::new(&lab, "root", &[(&host, "server")]);
    let before = state(&host);

    fleet.write(
        "profiles/server.yaml",
        "\
profile: server
resources:
  - package: { name: wl-tool }
  - file: { path: /etc/motd, content: \"x\\n\" }
  - package: { name: wl-broken }
",
    );
    let ran = fleet.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(3);
    assert!(ran.stderr.contains("this package cannot be configured"), "{}", ran.stderr);
    assert_same(&state(&host), &before, "taken back");

    fleet.write(
        "profiles/server.yaml",
        "\
profile: server
resources:
  - package: { name: wl-server, version: \"1.0\" }
  - file: { path: /etc/wl-server.conf, content: \"broken\\n\" }
  - unit: { name: wl-server, enabled: true, running: true, restart_on: [\"file /etc/wl-server.conf\"] }
",
    );
    let ran = fleet.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(3);
    assert!(ran.stderr.contains("does not start: wl-server: /etc/wl-server.conf is broken"), "{}", ran.stderr);
    assert_same(&state(&host), &before, "taken back");
    assert!(!host.exec(&["systemctl", "is-active", "wl-server"]).status.success());
}

#[test]
fn a_version_that_the_source_has_dropped_is_brought_back() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_version_that_the_source_has_dropped_is_brought_back", &why);
    }
    let lab = Lab::new("dropped");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = Fleet::new(&lab, "root", &[(&host, "server")]);
    host.run(&["apt-get", "install", "-q", "-y", "wl-server=1.0"]);
    // The test itself changes the source.
    let seen = || state(&host).lines().filter(|line| !line.contains("/srv/apt")).collect::<Vec<_>>().join("\n");
    let before = seen();
    let profile = "profile: server\nresources:\n  - package: { name: wl-server, version: \"2.0\" }\n";
    fleet.write("profiles/server.yaml", profile);
    fleet.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(0);
    assert!(packages(&host).contains("wl-lib 2.0"), "{}", packages(&host));

    // The packages are gone, and so are they from the index.
    let drop = "find / -xdev -name 'wl-*_1.0_all.deb' ! -path '*/kept/*' -delete; apt-get clean; \
                sed -i '/^Version: 1\\.0$/s/1.0/0.9/' /var/lib/apt/lists/*_Packages; \
                apt-cache madison wl-server wl-lib";
    let offered = host.run(&["sh", "-c", drop]);
    assert!(!offered.contains(" 1.0 |") && offered.contains(" 2.0 |"), "{offered}");
    fleet.weiche(&["rollback", "latest"]).expect(0);
    assert_same(&seen(), &before, "taken back");

    // Now that nobody has it, nobody gives it up.
    let refused = fleet.weiche(&["apply", "converge", "hosts=all", "--yes"]);
    assert!(refused.stderr.contains("could not be brought back"), "{}", refused.stderr);
    assert_same(&seen(), &before, "refused");
}
