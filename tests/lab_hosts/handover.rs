//! What a service moves with: its address with real ARP and neighbour discovery, a hold of new connections, a record on
//! a real name server.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use weiche_tests::lab::{HostOptions, Lab, LabHost};
use weiche_tests::until;

use crate::fleet::{Fleet, assert_same, etc};

/// The service's addresses, and where the third host is in the network of the second.
const V4: &str = "192.0.2.100";
const V6: &str = "2001:db8::100";
const USER_V6: &str = "2001:db8::9/64";

fn sh(host: &LabHost, script: &str) -> String {
    host.run(&["sh", "-c", script])
}

fn addresses(host: &LabHost) -> String {
    sh(host, "ip -o address show dev eth0 scope global | awk '{print $4}'")
}

fn has_both(host: &LabHost) -> bool {
    let have = addresses(host);
    have.contains(&format!("{V4}/24")) && have.contains(&format!("{V6}/64"))
}

fn card(host: &LabHost) -> String {
    host.run(&["cat", "/sys/class/net/eth0/address"])
}

/// The card that a host takes for an address, and what it thinks of that.
fn neighbour(host: &LabHost, address: &str) -> String {
    sh(host, &format!("ip neighbour show {address} dev eth0"))
}

/// Whom a user reaches by both addresses.
fn reached(user: &LabHost) -> [String; 2] {
    [V4, V6].map(|address| {
        sh(user, &format!("ping -c 1 -W 5 {address} >/dev/null"));
        // Its host key says who it is.
        let key = sh(user, &format!("ssh-keyscan -T 5 -t ed25519 {address} 2>/dev/null"));
        key.split_once(' ').map(|(_, key)| key.to_owned()).unwrap_or_default()
    })
}

/// A step for each address, in a stage of its own for each host.
fn playbook(fleet: &Fleet, name: &str, stages: &[(&str, &str)]) {
    let mut text = format!("playbook: {name}\ninputs: {{ old: host, new: host }}\nstages:\n");
    for (host, state) in stages {
        text += &format!("  - stage: {state}-{host}\n    on: {host}\n    steps:\n");
        text += &format!("      - service_address: {{ address: {V4}/24, state: {state} }}\n");
        text += &format!("      - service_address: {{ address: \"{V6}/64\", interface: eth0, state: {state} }}\n");
    }
    fleet.write(&format!("playbooks/{name}.yaml"), &text);
}

#[test]
fn a_service_address_moves_and_comes_back() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_service_address_moves_and_comes_back", &why);
    }
    let lab = Lab::new("address");
    let hosts = lab.boot_all(&["old", "new", "user"].map(HostOptions::named));
    let [old, new, user] = hosts.as_slice() else { unreachable!("three hosts") };
    let fleet = Fleet::new(&lab, "weiche", &[(old, "base"), (new, "base")]);
    playbook(&fleet, "place", &[("old", "present")]);
    playbook(&fleet, "grab", &[("new", "present")]);
    playbook(&fleet, "move", &[("old", "absent"), ("new", "present")]);
    let apply = |name: &str| fleet.weiche(&["apply", name, "old=old", "new=new", "--yes"]);
    user.run(&["ip", "address", "add", USER_V6, "dev", "eth0", "nodad"]);
    let before = [old, new].map(|host| format!("{}\n{}", etc(host), addresses(host)));
    let all = |host: &LabHost| format!("{}\n{}", etc(host), addresses(host));

    apply("place").expect(0);
    assert!(has_both(old));
    fleet.weiche(&["plan", "place", "old=old", "new=new"]).expect(0);
    let is_on = |host: &LabHost| {
        let key = host.host_key.trim();
        assert!(reached(user).iter().all(|seen| seen == key), "{:?} is not {}, {key}", reached(user), host.name);
    };
    is_on(old);

    // Two would have it: refused, with the card of the one that has.
    let refused = apply("grab");
    assert_ne!(refused.code, 0);
    let says = format!("another machine has {V4}: the network card {} answers for it", card(old));
    assert!(refused.stderr.contains(&says), "{}", refused.stderr);
    assert_same(&all(new), &before[1], "refused");
    let v6_only = format!(
        "playbook: grab\ninputs: {{ old: host, new: host }}\nstages:\n  - stage: s\n    on: new\n    steps:\n      \
         - service_address: {{ address: \"{V6}/64\", interface: eth0 }}\n"
    );
    fleet.write("playbooks/grab.yaml", &v6_only);
    let refused = apply("grab");
    let says = format!("another machine has {V6}: the network card {} answers for it", card(old));
    assert!(refused.code != 0 && refused.stderr.contains(&says), "{}", refused.stderr);
    assert_same(&all(new), &before[1], "refused");

    // It is there after a reboot.
    old.reboot();
    // The kernel itself asks for the address of IPv6, and lets nobody use it meanwhile.
    let is_asking = |host: &LabHost| !sh(host, "ip -6 address show dev eth0 tentative").is_empty();
    until("the address is there at boot", || has_both(old) && !is_asking(old));
    assert_eq!(old.run(&["systemctl", "--failed", "--plain", "--no-legend"]), "");
    is_on(old);

    // It moves: the user's host has heard of it before it sends anything.
    let placed = all(old);
    apply("move").expect(0);
    for address in [V4, V6] {
        let entry = neighbour(user, address);
        assert!(entry.contains(&card(new)), "{entry} is not {}", card(new));
    }
    is_on(new);
    assert!(has_both(new) && !addresses(old).contains("100"), "{}", addresses(old));
    old.reboot();
    until("its boot is over", || old.run(&["systemctl", "list-jobs", "--no-legend"]).is_empty());
    assert!(!addresses(old).contains("100"), "{}", addresses(old));

    fleet.weiche(&["rollback", "latest"]).expect(0);
    for address in [V4, V6] {
        let entry = neighbour(user, address);
        assert!(entry.contains(&card(old)), "{entry} is not {}", card(old));
    }
    is_on(old);
    assert_same(&all(old), &placed, "back");
    assert_same(&all(new), &before[1], "given back");

    // What a host cannot do without stays.
    let own = format!(
        "playbook: own\ninputs: {{ old: host, new: host }}\nstages:\n  - stage: s\n    on: new\n    steps:\n      \
         - service_address: {{ address: {}/24, state: absent }}\n",
        new.address
    );
    fleet.write("playbooks/own.yaml", &own);
    let refused = fleet.weiche(&["plan", "own", "old=old", "new=new"]);
    assert!(format!("{}{}", refused.stdout, refused.stderr).contains("the only address of IPv4"), "{refused:?}");
    let runs = fleet.weiche(&["status", "--json"]).expect(0).stdout;
    let oldest: serde_json::Value = serde_json::from_str(runs.lines().last().expect("a run")).expect("JSON");
    fleet.weiche(&["rollback", oldest["run"].as_str().expect("its name")]).expect(0);
    assert_same(&all(old), &before[0], "as it was");
}

/// Configures the network of a host by systemd-networkd, carries out a guarded stage with a service address there, restarts
/// the host before anybody confirms, and wants it to be as it was. `before`: the address was there.
fn restarts_unconfirmed(lab: &Lab, host: &LabHost, address: &str, before: bool) {
    let own = format!("[Match]\nName=eth0\n\n[Network]\nAddress={}/24\n", host.address);
    fs::write(host.root().join("etc/systemd/network/50-eth0.network"), own).expect("write");
    host.run(&["systemctl", "enable", "--now", "systemd-networkd.service"]);
    until("the network is configured", || host.run(&["networkctl", "status", "eth0"]).contains("(configured)"));
    let fleet = Fleet::new(lab, "weiche", &[(host, "base")]).impatient();
    let playbook = |guard: &str, state: &str, more: &str| {
        fleet.write(
            "playbooks/x.yaml",
            &format!(
                "playbook: x\ninputs: {{ hosts: hosts }}\nstages:\n  - stage: s\n    on: hosts\n{guard}    steps:\n      \
                 - service_address: {{ address: {address}/24, state: {state} }}\n{more}"
            ),
        );
    };
    const APPLY: [&str; 4] = ["apply", "x", "hosts=all", "--yes"];
    if before {
        playbook("", "present", "");
        fleet.weiche(&APPLY).expect(0);
    }
    let was = format!("{}\n{}", etc(host), addresses(host));
    assert_eq!(addresses(host).contains(address), before);

    let look = "touch /run/wl-looked; test -e /run/wl-good";
    let more = format!("      - check: {{ command: [sh, -c, {look:?}] }}\n        within: 10m\n");
    playbook("    guard: 10m\n", if before { "absent" } else { "present" }, &more);
    let run = fleet.start(&APPLY);
    until("all is new", || host.exec(&["test", "-e", "/run/wl-looked"]).status.success());
    assert_eq!(addresses(host).contains(address), !before);
    host.mute();
    drop(run);
    host.power_off();
    host.power_on();
    host.unmute();
    until("the host takes it back", || !host.root().join("var/lib/weiche/guard").exists());
    until("its boot is over", || host.run(&["systemctl", "list-jobs", "--no-legend"]).is_empty());
    until("the network is configured", || host.run(&["networkctl", "status", "eth0"]).contains("(configured)"));
    assert_same(&format!("{}\n{}", etc(host), addresses(host)), &was, "up again");
    // Its unit went before the network came: the address was not there for a moment.
    let said = host.run(&["journalctl", "-b", "-o", "cat", "--no-pager", "_PID=1"]);
    assert!(!said.contains(&format!("Finished weiche-address-{address}")), "{said}");
    let ran = fleet.weiche(&["resume", "latest"]);
    assert!(ran.code != 0 && ran.stderr.contains("every host is as it was"), "{ran:?}");
}

#[test]
fn a_host_that_restarts_unconfirmed_has_the_addresses_that_it_had() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_host_that_restarts_unconfirmed_has_the_addresses_that_it_had", &why);
    }
    let lab = Lab::new("restart");
    let hosts = lab.boot_all(&["gave", "took"].map(HostOptions::named));
    std::thread::scope(|scope| {
        for (host, address, before) in [(&hosts[0], "192.0.2.101", true), (&hosts[1], "192.0.2.102", false)] {
            let lab = &lab;
            scope.spawn(move || restarts_unconfirmed(lab, host, address, before));
        }
    });
}

/// What every connection is given a `cat` by.
const ECHO: [(&str, &str); 2] = [
    ("wl-echo.socket", "[Socket]\nListenStream=7777\nAccept=yes\n"),
    ("wl-echo@.service", "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n"),
];

fn echoes(stream: &mut TcpStream) {
    let mut answer = [0; 3];
    stream.write_all(b"hi\n").and_then(|()| stream.read_exact(&mut answer)).expect("an echo");
    assert_eq!(&answer, b"hi\n");
}

#[test]
fn a_hold_lets_connections_end_and_keeps_new_ones_waiting() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_hold_lets_connections_end_and_keeps_new_ones_waiting", &why);
    }
    let lab = Lab::new("hold");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = Fleet::new(&lab, "weiche", &[(&host, "base")]);
    for (name, text) in ECHO {
        fs::write(host.root().join("etc/systemd/system").join(name), text).expect("write");
    }
    host.run(&["systemctl", "start", "wl-echo.socket"]);
    let rules = || host.run(&["nft", "list", "ruleset"]);
    fleet.write(
        "playbooks/fw.yaml",
        "playbook: fw\ninputs: { hosts: hosts }\nstages:\n  - stage: s\n    on: hosts\n    steps:\n      \
         - firewall: { ruleset: { content: \"flush ruleset\\ntable inet others {\\n}\\ntable ip zz {\\n}\\n\" } }\n",
    );
    fleet.weiche(&["apply", "fw", "hosts=all", "--yes"]).expect(0);
    let before = rules();
    assert!(before.contains("table inet others"), "{before}");
    let playbook = |drain: &str, more: &str| {
        let step = format!("      - hold: {{ name: echo, ports: [7777], drain: {drain}{more} }}\n");
        fleet.write(
            "playbooks/x.yaml",
            &format!(
                "playbook: x\ninputs: {{ hosts: hosts }}\nstages:\n  - stage: s\n    on: hosts\n    steps:\n{step}"
            ),
        );
    };
    const APPLY: [&str; 4] = ["apply", "x", "hosts=all", "--yes"];

    let address = SocketAddr::from((host.address, 7777));
    let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(60));
    let mut runs = lab.inside(|| connect().expect("a connection"));
    echoes(&mut runs);
    playbook("5m", "");
    let mut applying = fleet.start(&APPLY);
    until("it is held", || rules().contains("weiche-hold-echo"));
    // What runs goes on, and is waited for; who comes waits.
    echoes(&mut runs);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| lab.inside(|| connect().expect("a connection in the end")));
        let is_waiting = || {
            let asked = ["-Htn", "state", "syn-sent", "dport", "=", ":7777"];
            !lab.command("ss").args(asked).output().expect("run ss").stdout.is_empty()
        };
        until("a connection waits", is_waiting);
        echoes(&mut runs);
        assert!(!applying.is_over(), "it does not wait for what runs");
        assert!(is_waiting() && !waits.is_finished());
        runs.shutdown(std::net::Shutdown::Both).expect("an end");
        drop(runs);
        applying.end().expect(0);
        assert!(is_waiting() && !waits.is_finished(), "it is let in while it is held");
        // Over `lo` nobody waits.
        host.run(&[
            "bash",
            "-c",
            "exec 3<>/dev/tcp/127.0.0.1/7777; echo hi >&3; read -r word <&3; test \"$word\" = hi",
        ]);
        fleet.weiche(&["plan", "x", "hosts=all"]).expect(0);
        // To the firewall a hold is nothing.
        fleet.weiche(&["plan", "fw", "hosts=all"]).expect(0);
        playbook("5m", ", state: open");
        fleet.weiche(&APPLY).expect(0);
        assert_eq!(rules(), before);
        let mut late = waits.join().expect("it was let in");
        echoes(&mut late);
        // What does not end in time is not cut; taking the opening back holds again, with what was held.
        playbook("100ms", "");
        fleet.weiche(&APPLY).expect(0);
        echoes(&mut late);
    });
    fleet.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(rules(), before);
    let mut again = lab.inside(|| connect().expect("a connection"));
    echoes(&mut again);
}

/// The zone, its key, and another one of the same name.
pub(crate) const SECRET: &str = "d2VpY2hlLWxhYi1rZXktb2YtdGhlLXpvbmUtMDAwMDE=";
const WRONG: &str = "d2VpY2hlLWxhYi1rZXktdGhhdC1pcy13cm9uZy0wMDA=";
const ZONE: &str = "$TTL 300\n@ IN SOA ns.town.example. admin.town.example. 1 3600 600 86400 60\n@ IN NS ns\nns IN A 192.0.2.1\n\
    records IN A 192.0.2.7\nrecords IN A 192.0.2.8\n";

/// A host with BIND, the primary server of the zone `town.example`, of which a key may change one name.
pub(crate) fn name_server(host: &LabHost, zone: &str) {
    host.run(&["apt-get", "install", "-q", "-y", "bind9"]);
    let config = format!(
        "key \"weiche.town.example\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n\
         options {{ directory \"/var/cache/bind\"; listen-on {{ any; }}; recursion no; dnssec-validation no; }};\n\
         zone \"town.example\" {{ type primary; file \"/var/lib/bind/town.example\"; \
         update-policy {{ grant weiche.town.example name records.town.example. ANY; }}; }};\n"
    );
    fs::write(host.root().join("etc/bind/named.conf"), config).expect("write");
    fs::write(host.root().join("var/lib/bind/town.example"), zone).expect("write");
    sh(host, "chown -R bind:bind /var/lib/bind && systemctl restart named");
}

#[test]
fn a_record_is_changed_on_a_real_name_server_and_taken_back() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_record_is_changed_on_a_real_name_server_and_taken_back", &why);
    }
    let lab = Lab::new("dns");
    let hosts = lab.boot_all(&["ns", "srv"].map(HostOptions::named));
    let [ns, srv] = hosts.as_slice() else { unreachable!("two hosts") };
    name_server(ns, ZONE);
    let fleet = Fleet::new(&lab, "weiche", &[(srv, "base")]);
    let (server, mut said) = (ns.address, String::new());
    let playbook = |step: &str| {
        fleet.write(
            "playbooks/x.yaml",
            &format!(
                "playbook: x\ninputs: {{ hosts: hosts }}\nstages:\n  - stage: s\n    on: hosts\n    steps:\n{step}"
            ),
        );
    };
    let step = |name: &str, server: &str, key: &str| {
        format!(
            "      - dns_record:\n          server: {server}\n          zone: town.example\n          name: {name}\n          \
             type: A\n          values: [192.0.2.100]\n          ttl: 60\n          key: {{ name: weiche.town.example }}\n          \
             secret: {{ source: {key} }}\n"
        )
    };
    let (records, server) = ("records.town.example", server.to_string());
    fleet.write("files/tsig.key", &format!("{SECRET}\n"));
    fleet.write("files/wrong.key", WRONG);
    const APPLY: [&str; 4] = ["apply", "x", "hosts=all", "--yes"];
    let mut weiche = |arguments: &[&str], code: i32| {
        let ran = fleet.weiche(arguments).expect(code);
        said += &format!("{}{}", ran.stdout, ran.stderr);
        format!("{}{}", ran.stdout, ran.stderr)
    };

    playbook(&step(records, &server, "tsig.key"));
    let refused = weiche(&APPLY, 3);
    assert!(refused.contains("there is no `dig`") && refused.contains("bind9-dnsutils"), "{refused}");
    srv.run(&["apt-get", "install", "-q", "-y", "bind9-dnsutils"]);
    let ask = || sh(srv, &format!("dig +noall +answer @{server} {records} A | sort"));
    let before = ask();
    assert!(before.contains("192.0.2.7") && before.contains("192.0.2.8") && before.contains("300"), "{before}");

    let plan = weiche(&["plan", "x", "hosts=all"], 2);
    assert!(plan.contains("- 192.0.2.7 (ttl 300)") && plan.contains("+ 192.0.2.100 (ttl 60)"), "{plan}");
    weiche(&APPLY, 0);
    let after = ask();
    assert!(after.contains("\t60\tIN\tA\t192.0.2.100") && !after.contains("192.0.2.7"), "{after}");
    weiche(&["plan", "x", "hosts=all"], 0);
    weiche(&["rollback", "latest"], 0);
    assert_eq!(ask(), before);

    // Somebody else changes it meanwhile: taking it back stops, until somebody decides.
    weiche(&APPLY, 0);
    let other = format!(
        "server {server}\nzone town.example\nkey hmac-sha256:weiche.town.example {SECRET}\n\
         update add {records} 60 A 192.0.2.55\nsend\n"
    );
    sh(srv, &format!("printf '{other}' | nsupdate"));
    weiche(&["rollback", "latest"], 4);
    assert!(ask().contains("192.0.2.55"));
    weiche(&["rollback", "latest", "--take-back-anyway"], 0);
    assert_eq!(ask(), before);

    // A wrong key, a name that the key may not change, a server that is away.
    for (name, server, key, says) in [
        (
            records,
            server.as_str(),
            "wrong.key",
            "does not accept the key `weiche.town.example` for town.example (BADSIG)",
        ),
        ("other.town.example", server.as_str(), "tsig.key", "refuses to change town.example for the key"),
        (records, "192.0.2.200", "tsig.key", "the name server 192.0.2.200 (port 53) does not answer"),
    ] {
        playbook(&step(name, server, key));
        let refused = fleet.weiche(&APPLY);
        assert!(refused.code != 0 && refused.stderr.contains(says), "{says}: {}", refused.stderr);
        weiche(&["log", "latest"], 0);
        assert_eq!(ask(), before);
    }

    // The keys are where they have to be, and nowhere else.
    weiche(&["report", "latest"], 0);
    let journals = sh(srv, "cat /var/lib/weiche/runs/*/journal; journalctl -o export --no-pager");
    let stores = [".weiche", "."].map(|dir| fleet.path().join(dir));
    for secret in [SECRET, WRONG] {
        assert!(!said.contains(secret) && !journals.contains(secret), "the secret is shown");
        for file in stores.iter().flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten()) {
            let bytes = fs::read(file.path()).unwrap_or_default();
            let shows = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!shows, "{} has the secret", file.path().display());
        }
    }
}
