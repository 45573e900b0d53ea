//! A database moves from PostgreSQL 15 on Debian 12 to 17 on Debian 13 with the shipped playbook `server-swap`, while a clerk
//! writes rows straight into it, and back: what was acknowledged is there and once, on whichever server, and nothing of the
//! way is left.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use weiche_tests::hall::{CLERK, Writer, sql, swap, verifier};
use weiche_tests::lab::{HostOptions, Lab, LabHost, Release};
use weiche_tests::town::Ran;
use weiche_tests::until;

use crate::fleet::{Fleet, assert_same, etc};
use crate::swap::all_there;

/// A server of this fleet: the shipped database, an address, and a directory that comes along.
const PROFILE: &str = "profile: registry
parameters:
  data: { type: list, default: [/srv/papers] }
includes: [town-database, service-address]
resources:
  - directory: { path: /srv/papers }
";

/// What the clerk's registry has besides the rows that are counted: a key, numbers that are handed out, and somebody with a
/// password.
const REGISTRY: &str = "CREATE TABLE row (number bigint); CREATE ROLE clerk LOGIN; GRANT ALL ON row TO clerk;
    CREATE ROLE scribe LOGIN PASSWORD 'geheim'; CREATE TABLE paper (id serial PRIMARY KEY, title text, seen json);
    GRANT ALL ON paper, paper_id_seq TO scribe;
    INSERT INTO paper (title) SELECT 'paper ' || n FROM generate_series(1, 1000) n;
    CREATE SEQUENCE unused START 7; CREATE INDEX ON paper (title)";

fn install(host: &LabHost, version: &str) {
    host.run(&["apt-get", "install", "-q", "-y", "postgresql", "rsync"]);
    let hba = format!("echo host all clerk 192.0.2.0/24 trust >>/etc/postgresql/{version}/main/pg_hba.conf");
    host.run(&["sh", "-c", &hba]);
}

fn fleet<'a>(lab: &'a Lab, old: &LabHost, new: &LabHost) -> Fleet<'a> {
    let fleet = Fleet::new(lab, "root", &[(old, "registry"), (new, "registry")]).impatient();
    let path = fleet.path().join("members/rathaus.yaml");
    let mut member = fs::read_to_string(&path).expect("read");
    for (host, version, service) in [(old, "15", "present"), (new, "17", "absent")] {
        let values =
            "database: town, listen: \"*\", wal_level: logical, service_address: 192.0.2.100, service_ports: [5432]";
        let from = format!("name: {}, ", host.name);
        let more = format!("parameters: {{ {values}, postgres_version: \"{version}\", service: {service} }}, ");
        member = member.replace(&from, &(from.clone() + &more));
    }
    let service = "services:\n  registry: { probe: { tcp: \"192.0.2.100:5432\" }, downtime_budget: 20s }\n";
    let window = "windows: { weekend: { from: 2026-01-01 00:00, to: 2126-01-01 00:00 } }\n";
    fs::write(path, member + service + window).expect("write");
    fleet.write("profiles/registry.yaml", PROFILE);
    for name in ["ready", "follows", "rests", "serves", "leaves", "alone"] {
        let text = format!("profile: registry-{name}\nincludes: [town-database-major-{name}]\nresources: []\n");
        fleet.write(&format!("profiles/registry-{name}.yaml"), &text);
    }
    fleet.write("files/secrets/standby.pgpass", "*:*:*:standby:geheim\n");
    fleet
}

/// All that an upgrade could leave behind, beside the rows.
fn traces(host: &LabHost, version: &str) -> String {
    let script = "cd /; v=$0; ls -A /var/lib/postgresql /var/lib/postgresql/$v /etc/systemd/system; ip -o -4 addr; nft list ruleset
        cat /var/lib/postgresql/$v/main/postgresql.auto.conf; pg_lsclusters -h
        for db in postgres town; do runuser -u postgres -- psql -qXAt $db -c 'SELECT slot_name FROM pg_replication_slots' \
            -c 'SELECT pubname FROM pg_publication' -c 'SELECT subname FROM pg_subscription' \
            -c 'SELECT rolname FROM pg_roles ORDER BY 1' -c 'SELECT relacl FROM pg_class WHERE oid = 1260' \
            -c 'SELECT roleid::regrole, member::regrole FROM pg_auth_members ORDER BY 1, 2' \
            -c \"SELECT relname, relreplident FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1\" \
            -c 'SHOW default_transaction_read_only'; done
        systemctl list-units --plain --no-legend 'weiche-[!a]*' | cut -d ' ' -f 1; ls -A /run/weiche* 2>/dev/null";
    format!("{}\n{}", String::from_utf8_lossy(&host.exec(&["sh", "-c", script, version]).stdout), etc(host))
}

/// Somebody logs in with a password, and gets the next number.
fn next_number(host: &LabHost) -> String {
    let login = "PGPASSWORD=geheim psql -qXAt 'host=127.0.0.1 user=scribe dbname=town' \
                 -c \"INSERT INTO paper (title) VALUES ('new') RETURNING id\"";
    host.run(&["sh", "-c", login]).trim().to_owned()
}

#[test]
fn a_database_goes_to_a_newer_postgresql_and_back_without_losing_a_row() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_database_goes_to_a_newer_postgresql_and_back_without_losing_a_row", &why);
    }
    let lab = Lab::new("major");
    let hosts = lab.boot_all(&[
        HostOptions::named("old"),
        HostOptions::named("new").runs(Release::Trixie),
        HostOptions::named("user"),
    ]);
    let [old, new, user] = hosts.as_slice() else { unreachable!("three hosts") };
    std::thread::scope(|scope| {
        scope.spawn(|| install(old, "15"));
        scope.spawn(|| install(new, "17"));
        scope.spawn(|| user.run(&["apt-get", "install", "-q", "-y", "postgresql-client-15"]));
    });
    let fleet = fleet(&lab, old, new);
    fleet.write("files/secrets/standby.scram", &(verifier(old) + "\n"));
    fleet.weiche(&["apply", "converge", "hosts=rathaus/old", "--yes", "--quiet"]).expect(0);
    sql(old, REGISTRY);
    old.run(&["sh", "-c", "runuser -u postgres -- pg_dump -f /srv/backup/town.dump town"]);
    let before = [traces(old, "15"), traces(new, "17")];
    let is_as_before = |what: &str| {
        assert_same(&traces(old, "15"), &before[0], &format!("the old server {what}"));
        assert_same(&traces(new, "17"), &before[1], &format!("the new server {what}"));
    };
    let apply = |more: &[&str]| -> Ran { fleet.weiche(&[&swap("server-swap"), more].concat()) };

    // What would not come along is refused before any change, by name.
    sql(old, "CREATE UNLOGGED TABLE scratch (n int); SELECT lo_create(4711)");
    let refused = apply(&[]).expect(1);
    for word in ["unlogged table scratch", "1 large objects"] {
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
    sql(old, "DROP TABLE scratch; SELECT lo_unlink(4711)");
    is_as_before("after a refusal");

    // A cutover that fails when the new server could already be written to: the old one goes on, and the new one follows.
    let clerk = Writer::new(user, CLERK, "/root/go", "/root/acknowledged");
    let goes_on = || {
        let rows = clerk.written().len();
        until("the clerk writes on", || clerk.written().len() > rows + 5);
    };
    let said = apply(&["--inject", "rathaus/new:cutover.8=fail"]).expect(3).stderr;
    let run = said.split("Run ").last().and_then(|rest| rest.split(' ').next()).expect("its name").to_owned();
    goes_on();
    sql(old, "UPDATE row SET number = number WHERE number = 1000001; DELETE FROM row WHERE number < 0");
    // A row that the old server does not have: it does not take over, and the run can be taken back all the same.
    sql(new, "SET TRANSACTION READ WRITE; INSERT INTO row VALUES (-1)");
    let said = apply(&[]).expect(3).stderr;
    assert!(said.contains("rows differ from 192.0.2.11: public.row ("), "{said}");
    goes_on();
    for run in ["latest", &run] {
        fleet.weiche(&["rollback", run]).expect(0);
    }
    is_as_before("after a cutover that failed");

    // There.
    let said = apply(&[]).expect(6).stderr;
    assert!(said.contains("are the same on both servers, counted and digested"), "{said}");
    assert!(sql(new, "SHOW server_version").starts_with("17."));
    assert_eq!(next_number(new), "1001");
    assert_eq!(sql(new, "SELECT nextval('unused')"), "7");
    sql(new, "INSERT INTO row SELECT generate_series(2000001, 2010000)");
    sql(new, "UPDATE row SET number = number WHERE number = 2000001; UPDATE paper SET title = 'read' WHERE id = 1");

    // And back, with all that was written there.
    fleet.weiche(&["rollback", "latest"]).expect(0);
    goes_on();
    let mut expected: BTreeSet<u32> = clerk.end().into_keys().collect();
    expected.extend(2_000_001..=2_010_000);
    all_there(old, &expected);
    assert_eq!(sql(old, "SELECT title FROM paper WHERE id = 1"), "read");
    assert_eq!(next_number(old), "1002");
    assert_eq!(sql(old, "SELECT nextval('unused')"), "8");
    is_as_before("is back");

    // There for good: nothing of the way is left.
    fleet.write("playbooks/quick.yaml", &quick());
    fleet.weiche(&swap("quick")).expect(0);
    all_there(new, &expected);
    let left = "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM \
                pg_subscription) + (SELECT count(*) FROM pg_class WHERE relreplident = 'f') + (SELECT count(*) FROM pg_roles \
                WHERE rolname = 'standby')";
    assert_eq!(sql(new, left), "0");
    assert_eq!(new.run(&["ls", "-A", "/var/lib/postgresql", "/var/lib/postgresql/17"]).matches("weiche").count(), 0);
    assert_eq!(next_number(new), "1003");
    assert!(old.run(&["pg_lsclusters", "-h"]).contains("down"));
}

/// The shipped playbook up to the retirement, which nobody has to approve.
fn quick() -> String {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../playbooks/server-swap.yaml");
    let text = fs::read_to_string(shipped).expect("the shipped playbook");
    let text = text.replace("playbook: server-swap", "playbook: quick").replace("hold: 2d", "hold: 1s");
    let text = text.split("  - stage: wipe").next().expect("stages");
    text.lines().filter(|line| !line.contains("gate: {")).flat_map(|line| [line, "\n"]).collect()
}
