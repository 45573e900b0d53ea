//! The shipped playbook `data-centre-move`, whole: a server with directories, a database and a web application moves to another
//! site and network, while users who look its name up write rows over HTTP, fifty a second, and one who never looks anything
//! up again writes straight into PostgreSQL, at the old address. They write on through the way back. Nothing that was
//! acknowledged is lost or there twice, and nobody is refused.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;

use weiche_tests::hall::users::{Users, meanwhile, put};
use weiche_tests::hall::{CLERK, UNIT, WRITE, Writer, program, sql, verifier};
use weiche_tests::lab::{HostOptions, Lab, LabHost, Site};
use weiche_tests::town::Ran;
use weiche_tests::until;

use crate::fleet::{Fleet, assert_same, etc};
use crate::handover::{SECRET, name_server};
use crate::names::Resolver;
use crate::swap::{all_there, approved, approver, figures};

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

/// The old server, the new one at the other site, and people with their name server.
fn boot(lab: &Lab) -> Vec<LabHost> {
    let at = |name: &str, site: Site| HostOptions::named(name).at(site);
    lab.boot_all(&[at("old", Site::Routed), at("new", Site::Centre), at("user", Site::Routed)])
}

/// A town hall that is at work.
fn town<'a>(lab: &'a Lab, hosts: &[LabHost]) -> Fleet<'a> {
    let [old, new, user] = hosts else { unreachable!("three hosts") };
    std::thread::scope(|scope| {
        scope.spawn(|| install(old));
        scope.spawn(|| install(new));
        scope.spawn(|| {
            user.run(&["apt-get", "install", "-q", "-y", "postgresql-client-15"]);
            name_server(user, ZONE);
        });
    });
    let fleet = fleet(lab, old, new, user);
    set_up(&fleet, old);
    fleet
}

#[test]
fn a_server_moves_to_another_site_and_nobody_notices() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_server_moves_to_another_site_and_nobody_notices", &why);
    }
    let lab = Lab::alone("centre-move");
    let hosts = boot(&lab);
    let [old, new, user] = hosts.as_slice() else { unreachable!("three hosts") };
    let fleet = town(&lab, &hosts);
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

#[test]
fn a_cutover_that_fails_is_made_again_and_the_old_server_is_retired() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_cutover_that_fails_is_made_again_and_the_old_server_is_retired", &why);
    }
    let lab = Lab::new("centre-retire");
    let hosts = boot(&lab);
    let [old, new, user] = hosts.as_slice() else { unreachable!("three hosts") };
    let fleet = town(&lab, &hosts);
    let shipped = fs::read_to_string(fleet.path().join("playbooks/data-centre-move.yaml")).expect("read");
    assert_eq!(shipped.matches("hold: 2d\n").count(), 1);
    fleet.write("playbooks/data-centre-move.yaml", &shipped.replace("hold: 2d\n", "hold: 2s\n"));
    let key = approver(&fleet);
    let names = Resolver::new(user.address, NAME);
    let find = || lab.inside(|| names.find());
    let clerk = Writer::new(user, CLERK, "/root/go", "/root/acknowledged");
    let apply =
        |more: &[&str], code: i32| fleet.weiche(&[&["apply"], &MOVE[..], &["--yes"], more].concat()).expect(code);

    // The last step but one: the new server takes writes already, and nobody has come to it.
    let plan = fleet.weiche(&[&["plan"], &MOVE[..3]].concat()).expect(2).stdout;
    let relay = plan.lines().find_map(|line| {
        let step = line.split_whitespace().find(|word| word.starts_with("cutover."))?;
        line.contains("relay").then(|| format!("rathaus/old:{step}=fail"))
    });
    apply(&["--inject", &relay.expect("a step that passes on")], 3);
    assert_eq!([old, new].map(|host| sql(host, "SELECT pg_is_in_recovery()")), ["f", "t"], "it follows still");
    assert_eq!(find(), Ok(TOWN));
    let rows = clerk.written().len();
    until("rows are written on the old server", || clerk.written().len() > rows + 5);

    // Once more, and it works.
    apply(&[], 6);
    let rows = clerk.written().len();
    until("rows are written through the old one", || clerk.written().len() > rows + 5);
    until("the name is forgotten", || find() == Ok(CENTRE));
    let expected: BTreeSet<u32> = clerk.end().into_keys().collect();
    all_there(new, &expected);

    let items = [
        "the services work",
        "a backup of the new server was restored on trial",
        "nobody comes to the old address any more (on the old server: nft list table inet weiche-relay-move)",
    ];
    approved(&fleet, &key, &items);
    let server = format!("@{}", user.address);
    let lookup = old.run(&["dig", &server, "+noall", "+answer", NAME]);
    assert_eq!(
        lookup.split_whitespace().collect::<Vec<_>>()[1..],
        ["5", "IN", "A", &CENTRE.to_string()],
        "the usual time"
    );
    assert!(lab.inside(|| put(4_000_001, TOWN)).is_err(), "nobody is passed on");
    assert_eq!(lab.inside(|| put(4_000_002, CENTRE)).as_deref(), Ok("new"));
    let left = "ls -A /etc/weiche/mirror; grep -o 'weiche-mirror[^ ]*' /root/.ssh/authorized_keys
        ls -d /srv/*.weiche* /var/lib/postgresql/15/*.weiche* /var/lib/postgresql/.pgpass-standby
        systemctl list-units --all --plain --no-legend 'weiche*' | cut -d ' ' -f 1 | grep -v ^weiche-address-
        nft list ruleset; ip rule | grep -v lookup";
    for host in [old, new] {
        let left = String::from_utf8_lossy(&host.exec(&["sh", "-c", left]).stdout).into_owned();
        assert_eq!(left, "", "{}", host.name);
    }
    assert_eq!(sql(new, "SELECT count(*) FROM pg_replication_slots"), "0");
    fleet.weiche(&["done", "latest", "rathaus/old:wipe.1"]).expect(0);
    fleet.weiche(&["resume", "latest"]).expect(0);
    all_there(new, &expected);
}
