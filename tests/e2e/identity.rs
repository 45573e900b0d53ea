//! Nobody changes the wrong machine: the inventory's serial number and machine id are compared before the first change.

use std::fs;

use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;

const PROFILE: &str = "profile: p\nresources:\n  - file: { path: /etc/motd, content: \"new\\n\" }\n";

/// Servers with further keys each; all have the profile.
fn town(hosts: &[(&str, &str)]) -> Town {
    let names: Vec<&str> = hosts.iter().map(|(name, _)| *name).collect();
    let town = Town::new(&names);
    town.write("profiles/p.yaml", PROFILE);
    let mut member = String::from("member: rathaus\nname: T\nsites: { a: { address: x } }\nservers:\n");
    for (name, more) in hosts {
        member += &town.server(name, &format!(", profile: p{more}"));
    }
    town.write("members/rathaus.yaml", &member);
    town
}

/// Lets a host's firmware tell this serial number.
fn tells(town: &Town, host: &str, serial: &str) {
    let dmi = town.root(host).join("sys/class/dmi/id");
    fs::create_dir_all(&dmi).unwrap();
    fs::write(dmi.join("product_serial"), format!("{serial}\n")).unwrap();
}

#[test]
fn all_wrong_machines_are_named_before_anything_is_changed() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("all_wrong_machines_are_named_before_anything_is_changed", &why);
    }
    let id = "0123456789abcdef0123456789abcdef";
    let town = town(&[
        ("a", ", serial: CZC0000001"),
        ("b", ", serial: CZC0000002"),
        ("c", &format!(", machine_id: \"{id}\"")),
        ("untold", ", serial: CZC0000004"),
    ]);
    tells(&town, "a", "CZC0000001");
    tells(&town, "b", "CZC0000009");
    fs::write(town.root("c").join("etc/machine-id"), format!("{}\n", "f".repeat(32))).unwrap();
    let hosts = ["a", "b", "c", "untold"];
    let before = town.manifests(&hosts);
    for command in ["plan", "apply"] {
        let refused = town.weiche(&[command, "converge", "hosts=all"]).expect(1);
        for part in ["rathaus/b", "CZC0000009", "CZC0000002", "rathaus/c", "machine id", "hint: "] {
            assert!(refused.stderr.contains(part), "{part} is missing in {}", refused.stderr);
        }
        assert!(!refused.stderr.contains("rathaus/a"), "{}", refused.stderr);
    }
    assert_eq!(town.manifests(&hosts), before);

    // Put right, they are worked on; a simulated host that tells nothing is, too, and the plan says so.
    tells(&town, "b", "CZC0000002");
    fs::write(town.root("c").join("etc/machine-id"), format!("{id}\n")).unwrap();
    let plan = town.weiche(&["plan", "converge", "hosts=all"]).expect(2);
    let note = "not compared with the inventory's serial number: rathaus/untold\n";
    assert!(plan.stdout.contains(note), "{}", plan.stdout);
    town.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(0);
    let facts = town.weiche(&["facts", "rathaus/b", "--json"]).expect(0);
    let facts: serde_json::Value = serde_json::from_str(&facts.stdout).unwrap();
    assert_eq!(facts["rathaus/b"]["hardware"]["serial"], "CZC0000002");
    let shown = town.weiche(&["facts", "rathaus/c"]).expect(0);
    assert!(shown.stdout.contains(&format!("machine_id: \"{id}\"")), "{}", shown.stdout);
}

#[test]
fn another_machine_under_the_same_address_is_not_taken_back_either() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("another_machine_under_the_same_address_is_not_taken_back_either", &why);
    }
    let town = town(&[("a", ", serial: CZC0000001")]);
    tells(&town, "a", "CZC0000001");
    let before = town.manifest("a");
    town.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(0);
    tells(&town, "a", "CZC0000003");
    let applied = town.manifest("a");
    let refused = town.weiche(&["rollback", "latest"]).expect(4);
    assert!(refused.stderr.contains("this is another machine"), "{}", refused.stderr);
    assert_eq!(town.manifest("a"), applied);
    tells(&town, "a", "CZC0000001");
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(fs::read(town.root("a").join("etc/motd")).unwrap(), b"before\n");
    assert_eq!(town.manifest("a"), before);
}
