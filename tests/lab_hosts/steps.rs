//! Steps on real hosts: a restart through systemd, a unit that is looked at, facts and the identity of a container.

use weiche_tests::lab::{HostOptions, Lab};

use crate::fleet::Fleet;

const HEAD: &str = "playbook: x\ninputs: { hosts: hosts }\nstages:\n  - stage: s\n    on: hosts\n    steps:\n";

#[test]
fn a_host_is_restarted_and_its_units_are_looked_at() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_host_is_restarted_and_its_units_are_looked_at", &why);
    }
    let lab = Lab::new("steps");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = Fleet::new(&lab, "weiche", &[(&host, "base")]).impatient();
    let boot_id = || host.run(&["cat", "/proc/sys/kernel/random/boot_id"]);
    let (before, boots, motd) = (boot_id(), host.boots(), host.run(&["cat", "/etc/motd"]));
    let apply = |steps: &str| {
        fleet.write("playbooks/x.yaml", &format!("{HEAD}{steps}"));
        fleet.weiche(&["apply", "x", "hosts=all", "--yes"])
    };
    apply(
        "      - file: { path: /etc/motd, content: \"new\\n\" }
      - reboot: to see it come back
        within: 5m
      - wait_for: { unit: ssh }
        within: 2m
        every: 1s
",
    )
    .expect(0);
    host.wait_boots(boots + 1);
    assert_ne!(boot_id(), before);
    assert_eq!(host.boots(), boots + 1, "once");
    assert_eq!(host.run(&["cat", "/etc/motd"]), "new");

    fleet.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(host.run(&["cat", "/etc/motd"]), motd.trim_end());
    assert_eq!(host.boots(), boots + 1, "taking back restarts nothing");

    // A run that changes nothing does not even begin.
    let file = "      - file: { path: /etc/motd, content: \"other\\n\" }\n";
    let failed = apply(&format!("{file}      - check: {{ unit: no-such-unit }}\n        within: 1s\n")).expect(3);
    assert!(failed.stderr.contains("systemctl is-active no-such-unit"), "{}", failed.stderr);

    let facts = fleet.weiche(&["facts", "--json"]).expect(0);
    let facts: serde_json::Value = serde_json::from_str(&facts.stdout).expect("JSON");
    let facts = &facts["rathaus/srv"];
    assert_eq!(facts["boot_id"], boot_id());
    assert_eq!(facts["machine_id"], host.run(&["cat", "/etc/machine-id"]));
    assert_eq!((&facts["os"]["id"], &facts["package_manager"]), (&"debian".into(), &"apt".into()));
    assert_eq!(facts["virtualisation"]["kind"], "container");
    let address = format!("{}/", host.address);
    let interfaces = facts["network"]["interfaces"].to_string();
    assert!(interfaces.contains(&address), "{interfaces}");
    fleet.weiche(&["facts"]).expect(0);
}
