//! The shipped playbook `data-centre-move`, whole: a server with directories, a database and a web application moves to another
//! site and network, while users who look its name up write rows over HTTP, fifty a second, and one who never looks anything
//! up again writes straight into PostgreSQL, at the old address. They write on through the way back. Nothing that was
//! acknowledged is lost or there twice, and nobody is refused.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;

use weiche_tests::hall::{CLERK, UNIT, WRITE, Writer, program, sql, verifier};
use weiche_tests::lab::{HostOptions, Lab, LabHost, Site};
use weiche_tests::town::Ran;

use crate::fleet::{Fleet, assert_same, etc};
use crate::handover::{SECRET, name_server};
use crate::names::Resolver;
use crate::swap::{all_there, figures};
use weiche_tests::hall::users::{Users, meanwhile, put};

/// The service's address at either site.
const TOWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const CENTRE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 100);

const NAME: &str = "records.town.example";
const ZONE: &str = "$TTL 300\n@ IN SOA ns.town.example. admin.town.example. 1 3600 600 86400 60\n@ IN NS ns\nns IN A 192.0.2.13\n\
    records 5 IN A 192.0.2.100\n";

/// A server of this fleet.
const PROFILE: &str = r#"profile: rows-server
parameters:
  data: { type: list, default: [/srv/letters] }
includes: [town-database, service-address, service-name]
resources:
  - directory: { path: /srv/letters }
  - package: { name: python3-psycopg2 }
  - file: { path: /usr/local/bin/rows, source: rows.py, mode: "0644" }
  - file: { path: /etc/systemd/system/rows.service, source: rows.service, mode: "0644" }
  - unit: { name: rows, enabled: true, running: true }
"#;

const COMPANIONS: [&str; 6] = ["ready", "follows", "rests", "serves", "leaves", "alone"];

const MOVE: [&str; 4] = ["data-centre-move", "old=rathaus/old", "new=rathaus/new", "--quiet"];

/// What the packages of a server need beforehand, so that the run itself is about the move.
fn install(host: &LabHost) {
    host.run(&["apt-get", "install", "-q", "-y", "postgresql", "python3-psycopg2", "rsync", "bind9-dnsutils"]);
    host.run(&["sh", "-c", "echo host all clerk 192.0.2.0/24 trust >>/etc/postgresql/15/main/pg_hba.conf"]);
}

fn fleet<'a>(lab: &'a Lab, old: &LabHost, new: &LabHost, ns: &LabHost) -> Fleet<'a> {
    let fleet = Fleet::new(lab, "root", &[(old, "rows-server"), (new, "rows-server")]).impatient();
    let path = fleet.path().join("members/rathaus.yaml");
    let mut member = fs::read_to_string(&path).expect("read");
    for (host, address) in [(old, TOWN), (new, CENTRE)] {
        let from = format!("name: {}, ", host.name);
        let values = format!(
            "database: town, listen: \"*\", connections: 400, service: present, service_address: {address}, \
             service_ports: [80, 5432], service_name: {NAME}, service_zone: town.example, service_ttl: 5, moving_ttl: 2, \
             name_server: {}, name_key: weiche.town.example",
            ns.address
        );
        member = member.replace(&from, &format!("{from}parameters: {{ {values} }}, "));
    }
    member += &format!("services:\n  rows: {{ probe: {{ tcp: \"{TOWN}:80\" }}, downtime_budget: 10s }}\n");
    member += "windows: { weekend: { from: 2026-01-01 00:00, to: 2126-01-01 00:00 } }\n";
    fs::write(path, member).expect("write");
    fleet.write("profiles/rows-server.yaml", PROFILE);
    for name in COMPANIONS {
        let text = format!("profile: rows-server-{name}\nincludes: [town-database-{name}]\nresources: []\n");
        fleet.write(&format!("profiles/rows-server-{name}.yaml"), &text);
    }
    // As shipped; only what takes a day takes as long as the old record may be remembered.
    let shipped = include_str!("../../playbooks/data-centre-move.yaml");
    assert_eq!(shipped.matches("hold: 1d\n").count(), 1);
    fleet.write("playbooks/data-centre-move.yaml", &shipped.replace("hold: 1d\n", "hold: 5s\n"));
    fleet.write("files/rows.py", &program(WRITE));
    fleet.write("files/rows.service", UNIT);
    fleet.write("files/secrets/name.tsig", SECRET);
    fleet.write("files/secrets/standby.pgpass", "*:*:replication:standby:geheim\n");
    fleet
}

/// A town hall whose old server is at work, with letters, rows and a backup.
fn set_up(fleet: &Fleet<'_>, old: &LabHost) {
    fleet.write("files/secrets/standby.scram", &(verifier(old) + "\n"));
    fleet.weiche(&["apply", "converge", "hosts=rathaus/old", "--yes", "--quiet"]).expect(0);
    sql(old, "CREATE TABLE row (number bigint); CREATE ROLE clerk LOGIN; GRANT ALL ON row TO clerk");
    old.run(&[
        "sh",
        "-c",
        "runuser -u postgres -- pg_dump -f /srv/backup/town.dump town; echo old >/srv/letters/first",
    ]);
}

#[test]
fn a_server_moves_to_another_site_and_nobody_notices() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_server_moves_to_another_site_and_nobody_notices", &why);
    }
    let lab = Lab::alone("centre-move");
    let at = |name: &str, site: Site| HostOptions::named(name).at(site);
    let hosts = lab.boot_all(&[at("old", Site::Routed), at("new", Site::Centre), at("user", Site::Routed)]);
    let [old, new, user] = hosts.as_slice() else { unreachable!("three hosts") };
    std::thread::scope(|scope| {
        scope.spawn(|| install(old));
        scope.spawn(|| install(new));
        scope.spawn(|| {
            user.run(&["apt-get", "install", "-q", "-y", "postgresql-client-15"]);
            name_server(user, ZONE);
        });
    });
    let fleet = fleet(&lab, old, new, user);
    set_up(&fleet, old);
    let before = [old, new].map(etc);
    let run = |words: &[&str], code: i32| -> Ran { fleet.weiche(words).expect(code) };
    let write = |row: u32, address: Ipv4Addr| lab.inside(|| put(row, address));
    let clerk = Writer::new(user, CLERK, "/root/go", "/root/acknowledged");
    let names = Resolver::new(user.address, NAME);
    let find = || names.find();
    let users = Users::who_find(&find);
    let mut said = String::new();

    // There, and it waits while it soaks.
    let there = meanwhile(&lab, &users, || said = run(&[&["apply"], &MOVE[..], &["--yes"]].concat(), 6).stderr);
    figures("there", &there, &[clerk.written()]);
    there.few_lost_patience(&said);
    assert_eq!(there.servers(), ["old", "new"], "{said}");
    assert_eq!(names.told(), [TOWN, CENTRE]);
    assert_eq!(sql(new, "SELECT pg_is_in_recovery()"), "f");
    assert_eq!(write(3_000_001, TOWN).as_deref(), Ok("new"), "at the old address");
    assert_eq!(write(3_000_002, CENTRE).as_deref(), Ok("new"), "at the new address");

    // Much more is written there; and back.
    sql(new, "INSERT INTO row SELECT generate_series(2000001, 2010000)");
    new.run(&["sh", "-c", "echo new >/srv/letters/second"]);
    let back = meanwhile(&lab, &users, || said = run(&["rollback", "latest"], 0).stderr);
    figures("back", &back, &[]);
    back.few_lost_patience(&said);
    assert_eq!(back.servers(), ["new", "old"], "{said}");
    assert_eq!(names.told(), [TOWN, CENTRE, TOWN]);

    let mut expected: BTreeSet<u32> = clerk.end().into_keys().chain(2_000_001..=2_010_000).collect();
    expected.extend(there.acknowledged.union(&back.acknowledged).copied().chain([3_000_001, 3_000_002]));
    all_there(old, &expected);
    assert_eq!(old.run(&["sh", "-c", "cd /srv/letters && cat first second"]), "old\nnew");
    old.run(&["rm", "/srv/letters/second"]);
    for (host, before) in [old, new].into_iter().zip(&before) {
        assert_same(&etc(host), before, &host.name);
    }
    let rules = [old, new].map(|host| host.run(&["nft", "list", "ruleset"]));
    assert_eq!(rules, ["", ""]);
}
