//! Hosts that say no: no sudo, a state directory that may not run programs, a full disk, a host that goes away.

use weiche_tests::lab::{HostOptions, Lab};

use crate::fleet::{Fleet, assert_same, etc};

const MOTD: &str = "profile: motd\nresources:\n  - file: { path: /etc/motd, content: \"new\\n\" }\n";
const APPLY: [&str; 4] = ["apply", "converge", "hosts=all", "--yes"];

#[test]
fn hosts_that_refuse_say_why_and_are_not_changed() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("hosts_that_refuse_say_why_and_are_not_changed", &why);
    }
    let lab = Lab::new("refuse");
    let hosts = lab.boot_all(&[
        HostOptions::named("plain"),
        HostOptions::named("noexec").tmpfs("/var/lib/weiche", "size=8m,noexec"),
        HostOptions::named("full").tmpfs("/var/lib/weiche", "size=64k"),
    ]);
    let [plain, noexec, full] = hosts.as_slice() else { panic!("three hosts") };
    let before: Vec<String> = hosts.iter().map(etc).collect();

    for (host, user, say) in [(plain, "nosudo", "sudo"), (noexec, "weiche", "noexec"), (full, "weiche", "is full")] {
        let fleet = Fleet::new(&lab, user, &[(host, "motd")]);
        fleet.write("profiles/motd.yaml", MOTD);
        let ran = fleet.weiche(&APPLY);
        assert!(matches!(ran.code, 1 | 7), "{}: {ran:?}", host.name);
        assert!(ran.stderr.to_lowercase().contains(say), "{}: {}", host.name, ran.stderr);
        assert!(ran.stderr.contains("hint"), "{}: {}", host.name, ran.stderr);
    }
    for (host, before) in hosts.iter().zip(&before) {
        assert_same(&etc(host), before, &host.name);
    }
}

#[test]
fn a_disk_that_fills_up_in_the_middle_is_taken_back() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_disk_that_fills_up_in_the_middle_is_taken_back", &why);
    }
    let lab = Lab::new("full");
    let host = lab.boot(HostOptions::named("srv").tmpfs("/srv", "size=1m").tmpfs("/var/lib/weiche", "size=8m"));
    let fleet = Fleet::new(&lab, "weiche", &[(&host, "files")]);
    fleet.write("files/large", &"0123456789abcdef".repeat(100_000));
    fleet.write(
        "profiles/files.yaml",
        "\
profile: files
resources:
  - file: { path: /etc/motd, content: \"new\\n\" }
  - file: { path: /srv/large, source: large }
",
    );
    let before = etc(&host);
    let ran = fleet.weiche(&APPLY).expect(3);
    assert!(ran.stderr.to_lowercase().contains("space"), "{}", ran.stderr);
    assert_same(&etc(&host), &before, "taken back");
}

#[test]
fn a_host_that_goes_away_is_stuck_until_it_is_back() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_host_that_goes_away_is_stuck_until_it_is_back", &why);
    }
    let lab = Lab::new("away");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = Fleet::new(&lab, "weiche", &[(&host, "motd")]);
    fleet.write("profiles/motd.yaml", MOTD);
    let before = etc(&host);
    fleet.weiche(&APPLY).expect(0);
    host.power_off();
    let ran = fleet.weiche(&["rollback", "latest"]).expect(4);
    assert!(ran.stderr.contains("weiche rollback"), "{}", ran.stderr);
    host.power_on();
    fleet.weiche(&["rollback", "latest"]).expect(0);
    assert_same(&etc(&host), &before, "taken back");
}
