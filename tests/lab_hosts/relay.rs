//! Who still comes to an address that a service had, is passed on: with the real nftables and systemd, from one site to another.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use weiche_tests::lab::{HostOptions, Lab, LabHost, Site};
use weiche_tests::until;

use crate::fleet::{Fleet, assert_same, etc};

/// What every connection is told who answers by: `NAME ADDRESS`, the second as whom it sees.
fn answers(host: &LabHost) {
    let units = [
        ("wl-who.socket", "[Socket]\nListenStream=7777\nAccept=yes\n[Install]\nWantedBy=sockets.target\n"),
        (
            "wl-who@.service",
            "[Service]\nExecStart=/bin/sh -c 'read word; echo $word $(hostname) $REMOTE_ADDR'\nStandardInput=socket\n",
        ),
    ];
    for (name, text) in units {
        fs::write(host.root().join("etc/systemd/system").join(name), text).expect("write");
    }
    host.run(&["systemctl", "enable", "--now", "wl-who.socket"]);
}

/// What somebody in the lab's network is told at an address; `None` if there is no answer in time.
fn told(lab: &Lab, address: &str) -> Option<String> {
    lab.inside(|| {
        let address = SocketAddr::new(address.parse().expect("an address"), 7777);
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(20)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        stream.write_all(b"hi\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.trim().to_owned())
    })
}

#[test]
fn who_comes_to_an_old_address_is_passed_on() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("who_comes_to_an_old_address_is_passed_on", &why);
    }
    let lab = Lab::new("relay");
    let hosts = lab.boot_all(&[HostOptions::named("old").at(Site::Routed), HostOptions::named("new").at(Site::Centre)]);
    let [old, new] = hosts.as_slice() else { unreachable!("two hosts") };
    hosts.iter().for_each(answers);
    let fleet = Fleet::new(&lab, "weiche", &[(old, "base"), (new, "base")]);
    let (here, there) = (old.address.to_string(), new.address.to_string());
    // A firewall as servers have it: a packet for another port would not come in.
    let firewall = "table inet others { chain input { type filter hook input priority 0; policy drop; iif lo accept; \
        ct state established,related accept; icmpv6 type != echo-request accept; tcp dport { 22, 7777 } accept; }; }";
    old.run(&["nft", firewall]);
    let all = || format!("{}\n{}", etc(old), old.run(&["nft", "list", "ruleset"]));
    let playbook = |state: &str| {
        fleet.write(
            "playbooks/x.yaml",
            &format!(
                "playbook: x\ninputs: {{ hosts: hosts }}\nstages:\n  - stage: s\n    on: hosts\n    steps:\n      \
                 - relay: {{ name: who, address: {here}, ports: [7777], to: {there}, state: {state} }}\n"
            ),
        );
    };
    const APPLY: [&str; 4] = ["apply", "x", "hosts=rathaus/old", "--yes"];
    assert_eq!(told(&lab, &here), Some("hi old 192.0.2.1".into()));
    let before = all();
    playbook("present");
    fleet.weiche(&APPLY).expect(0);
    // It is passed on though the old server listens on the same port, and is its own as before to those on it.
    assert_eq!(told(&lab, &here), Some(format!("hi new {here}")));
    assert_eq!(told(&lab, &there), Some("hi new 198.51.100.1".into()));
    let own = "exec 3<>/dev/tcp/127.0.0.1/7777; echo hi >&3; cat <&3";
    assert!(old.run(&["bash", "-c", own]).starts_with("hi old"));
    let rules = old.run(&["nft", "list", "table", "inet", "weiche-relay-who"]);
    assert!(rules.contains("counter packets") && !rules.contains("counter packets 0 "), "{rules}");
    fleet.weiche(&["plan", "x", "hosts=rathaus/old"]).expect(0);

    // A reboot does not end it.
    old.reboot();
    until("it is passed on again", || told(&lab, &here) == Some(format!("hi new {here}")));
    fleet.weiche(&["plan", "x", "hosts=rathaus/old"]).expect(0);

    // It goes, also to come back, and in the end the host is as it was.
    playbook("absent");
    fleet.weiche(&APPLY).expect(0);
    assert_eq!(told(&lab, &here), Some("hi old 192.0.2.1".into()));
    assert_same(&all(), &before, "without it");
    fleet.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(told(&lab, &here), Some(format!("hi new {here}")));
    let runs = fleet.weiche(&["status", "--json"]).expect(0).stdout;
    let oldest: serde_json::Value = serde_json::from_str(runs.lines().last().expect("a run")).expect("JSON");
    fleet.weiche(&["rollback", oldest["run"].as_str().expect("its name")]).expect(0);
    assert_eq!(told(&lab, &here), Some("hi old 192.0.2.1".into()));
    assert_same(&all(), &before, "taken back");
    assert_eq!(old.run(&["sh", "-c", "systemctl list-units --all --plain --no-legend 'weiche-relay*' | wc -l"]), "0");
}
