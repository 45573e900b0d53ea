//! What a rollout waits for: services that work, persons who approve.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;

use crate::rollout::{APPLY, HOSTS, MOTD, events, town};

/// Changes the member's file.
fn member(town: &Town, change: impl FnOnce(String) -> String) {
    let name = "members/rathaus.yaml";
    let text = fs::read_to_string(town.fleet().join(name)).unwrap();
    town.write(name, &change(text));
}

#[test]
fn no_wave_begins_unless_the_services_work_after_the_one_before() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("no_wave_begins_unless_the_services_work_after_the_one_before", &why);
    }
    let town = town("    waves: [1, rest]\n    probes: [intranet]\n", &[MOTD]);
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = service.local_addr().unwrap().to_string();
    member(&town, |text| text + &format!("services: {{ intranet: {{ probe: {{ tcp: \"{at}\" }} }} }}\n"));
    let before = town.manifests(&HOSTS);
    let ran = town.weiche(&APPLY).expect(0);
    assert!(ran.stdout.contains(&format!("after each wave must work: rathaus/intranet (tcp {at})")), "{}", ran.stdout);
    assert_eq!(events(&town, "the services work after wave").len(), 2);
    town.weiche(&["rollback", "latest"]).expect(0);

    drop(service);
    let ran = town.weiche(&APPLY).expect(3);
    assert!(ran.stderr.contains("rathaus/intranet does not work after wave 1 of stage s"), "{}", ran.stderr);
    assert_eq!(events(&town, " begun").len(), 1, "the second wave never began");
    assert_eq!(town.manifests(&HOSTS), before);

    member(&town, |text| text.replace("intranet:", "mail:"));
    let wrong = town.weiche(&APPLY).expect(1);
    assert!(wrong.stderr.contains("the member `rathaus` has no service `intranet`"), "{}", wrong.stderr);
}

#[test]
fn a_gate_opens_for_who_may_approve_and_only_as_long_as_they_may() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_gate_opens_for_who_may_approve_and_only_as_long_as_they_may", &why);
    }
    let town = town("    gate: { approve: 1, role: member, not_by: planner }\n", &[MOTD]);
    let before = town.manifests(&HOSTS);
    let key = |name: &str| {
        let key = town.fleet().join(name);
        let mut made = Command::new("ssh-keygen");
        made.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&key);
        assert!(made.status().unwrap().success());
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        (key, format!("anna@rathaus.example namespaces=\"weiche\" {}\n", public.trim()))
    };
    let ((key, signer), (_, other)) = (key("anna"), key("another"));
    town.write("allowed_signers", &signer);
    let fleet = fs::read_to_string(town.fleet().join("weiche.yaml")).unwrap();
    town.write("weiche.yaml", &format!("{fleet}approvers: allowed_signers\n"));
    member(&town, |text| text + "approvers: [anna@rathaus.example]\n");

    let ran = town.weiche(&[&APPLY[..], &["--as", "frida"]].concat()).expect(6);
    assert!(ran.stderr.contains("1 of 1 approval with the role member is missing"), "{}", ran.stderr);
    assert_eq!(town.manifests(&HOSTS), before);
    // Approved with a key that is withdrawn then: it does not count any more.
    town.weiche(&["approve", "latest", "--stage", "s", "--key", key.to_str().unwrap()]).expect(0);
    town.write("allowed_signers", &other);
    let resumed = town.weiche(&["resume", "latest"]).expect(6);
    assert!(resumed.stderr.contains("does not count"), "{}", resumed.stderr);
    assert_eq!(town.manifests(&HOSTS), before);
    town.write("allowed_signers", &signer);
    town.weiche(&["resume", "latest"]).expect(0);
    assert_ne!(town.manifests(&HOSTS), before);
}
