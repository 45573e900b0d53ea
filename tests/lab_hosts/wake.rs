//! A host that is switched off is woken by another one on its site: the packet really goes over the network.

use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

use weiche_tests::lab::{HostOptions, Lab};

use crate::fleet::Fleet;

#[test]
fn a_host_that_is_switched_off_is_woken_by_one_on_its_site() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_host_that_is_switched_off_is_woken_by_one_on_its_site", &why);
    }
    let lab = Lab::new("wake");
    let hosts = lab.boot_all(&[HostOptions::named("srv"), HostOptions::named("pc")]);
    let fleet = Fleet::new(&lab, "root", &[(&hosts[0], "none"), (&hosts[1], "none")]);
    let name = "members/rathaus.yaml";
    let member = fs::read_to_string(fleet.path().join(name)).unwrap();
    let member = member.replace("servers:", "sites: { a: { address: \"made up\" } }\nservers:");
    let member = member.replace("profile: none", "site: a");
    fleet.write(name, &member.replace("name: pc,", "name: pc, mac: \"00:00:5e:00:53:0b\","));
    fleet.write(
        "playbooks/x.yaml",
        "\
playbook: x
inputs: { hosts: hosts }
stages:
  - stage: s
    on: hosts
    offline: { wait_until: 1d }
    steps: [ { file: { path: /etc/motd, content: \"new\\n\" } } ]
",
    );
    let pc = &hosts[1];
    pc.power_off();
    // Lab hosts have no network card that hears while they are off: the test listens for it, and switches on.
    let everybody = lab.inside(|| UdpSocket::bind("0.0.0.0:9").expect("the discard port of the lab"));
    everybody.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let wanted = [vec![0xff; 6], [0, 0, 0x5e, 0, 0x53, 0x0b].repeat(16)].concat();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut packet = [0; 200];
            let (size, from) = everybody.recv_from(&mut packet).expect("nobody has woken the PC");
            assert_eq!((&packet[..size], from.ip()), (&wanted[..], hosts[0].address.into()));
            pc.power_on();
        });
        fleet.weiche(&["apply", "x", "hosts=all", "--yes"]).expect(0);
    });
    assert_eq!(pc.run(&["cat", "/etc/motd"]), "new");
    let log = fleet.weiche(&["log", "latest"]).expect(0).stdout;
    assert!(!log.contains("waits, switched off"), "{log}");

    fleet.write(name, &member.replace("name: pc,", "name: pc, mac: \"00:00:5e:00:53\","));
    let wrong = fleet.weiche(&["check"]).expect(1);
    assert!(wrong.stderr.contains("`00:00:5e:00:53` is no address of a network card"), "{}", wrong.stderr);
}
