//! Two servers in one run, by a playbook of five lines that uses `server-swap`: the database before the application that talks
//! to it, while users write rows over HTTP through the one into the other, and a clerk straight into the database.

use std::collections::BTreeSet;
use std::fs;

use weiche_tests::hall::users::{SERVICE, Users, meanwhile, one_server};
use weiche_tests::hall::{CLERK, UNIT, Writer, program, sql, verifier};
use weiche_tests::lab::{HostOptions, Lab, LabHost};
use weiche_tests::town::Ran;

use crate::fleet::{Fleet, assert_same, etc};
use crate::swap::{all_there, figures};

/// Where users find the database; the application is at [`SERVICE`].
const DATABASE: &str = "192.0.2.101";

/// No more may give up than are served: two freezes in a run, on a machine that is busy with five hosts. Strict runs allow none.
const GAVE_UP: usize = 1;

/// The application's server: nothing of the database is there but its address.
const APPLICATION: &str = r#"profile: hall-application
parameters:
  data: { type: list, default: [/srv/rows] }
  backup: { type: path, default: /srv/rows }
includes: [service-address]
resources:
  - package: { name: python3-psycopg2 }
  - directory: { path: /srv/rows }
  - file: { path: /usr/local/bin/rows, source: rows.py, mode: "0644" }
  - file: { path: /etc/systemd/system/rows.service, source: rows.service, mode: "0644" }
  - unit: { name: rows, enabled: true, running: true }
"#;

/// How it writes a row, and is through when that is there for good. The database is another server's and may move: whoever
/// loses the connection asks anew, while the user can still be answered in time, and only some at once. Asked twice it is there once.
const WRITE: &str = r#"import threading, time
import psycopg2
ROOM = threading.Semaphore(32)
def write(number):
    end = time.monotonic() + 4
    while time.monotonic() < end and ROOM.acquire(timeout=max(0.1, end - time.monotonic())):
        try:
            with psycopg2.connect("host=DATABASE user=clerk dbname=town connect_timeout=2") as connection:
                connection.cursor().execute("INSERT INTO row VALUES (%s) ON CONFLICT DO NOTHING", (number,))
            return
        except psycopg2.Error:
            time.sleep(0.1)
        finally:
            ROOM.release()
    time.sleep(10)
    raise TimeoutError
"#;

const HALL: &str = "playbook: hall-swap
inputs: { database_old: host, database_new: host, application_old: host, application_new: host }
stages:
  - use: server-swap
    on_stop: set_aside
    parts:
      - { part: database, inputs: { old: database_old, new: database_new } }
      - { part: application, inputs: { old: application_old, new: application_new } }
";

const SWAP: [&str; 5] = [
    "hall-swap",
    "database_old=rathaus/db-old",
    "database_new=rathaus/db-new",
    "application_old=rathaus/app-old",
    "application_new=rathaus/app-new",
];

/// Companions of a server: those of the database are shipped, the application only follows in its directory.
fn companions(fleet: &Fleet<'_>) {
    for part in ["ready", "follows", "rests", "serves", "leaves", "alone"] {
        let write = |profile: &str, includes: &str| {
            let text = format!("profile: {profile}-{part}\nincludes: [{includes}]\nresources: []\n");
            fleet.write(&format!("profiles/{profile}-{part}.yaml"), &text);
        };
        write("hall-database", &format!("town-database-{part}"));
        let shared = if matches!(part, "ready" | "follows") { format!("swap-{part}") } else { String::new() };
        write("hall-application", &shared);
    }
}

/// The fleet of these hosts, each with its profile, ports and address, and whether it serves now.
fn fleet<'a>(lab: &'a Lab, hosts: &[LabHost]) -> Fleet<'a> {
    let [db_old, db_new, app_old, app_new, _] = hosts else { unreachable!("five hosts") };
    let (database, application) = ("hall-database", "hall-application");
    let of = [(db_old, database), (db_new, database), (app_old, application), (app_new, application)];
    let fleet = Fleet::new(lab, "root", &of);
    let path = fleet.path().join("members/rathaus.yaml");
    let mut member = fs::read_to_string(&path).expect("read");
    for (host, profile) in of {
        let service = if host.name.ends_with("old") { "present" } else { "absent" };
        let values = match profile {
            "hall-database" => {
                format!(
                    "database: town, listen: \"*\", connections: 400, service_address: {DATABASE}, service_ports: [5432]"
                )
            }
            _ => format!("service_address: {SERVICE}, service_ports: [80]"),
        };
        let from = format!("name: {}, ", host.name);
        member = member.replace(&from, &format!("{from}parameters: {{ {values}, service: {service} }}, "));
    }
    let probe =
        |address: &str, port: u16| format!("{{ probe: {{ tcp: \"{address}:{port}\" }}, downtime_budget: 10s }}");
    let services = format!("services:\n  rows: {}\n  database: {}\n", probe(SERVICE, 80), probe(DATABASE, 5432));
    let window = "windows: { weekend: { from: 2026-01-01 00:00, to: 2126-01-01 00:00 } }\n";
    fs::write(path, member + &services + window).expect("write");
    let data = "parameters:\n  data: { type: list, default: [/srv/backup] }\n";
    let text = format!("profile: hall-database\n{data}includes: [town-database, service-address]\nresources: []\n");
    fleet.write("profiles/hall-database.yaml", &text);
    fleet.write("profiles/hall-application.yaml", APPLICATION);
    companions(&fleet);
    fleet.write("files/rows.py", &program(&WRITE.replace("DATABASE", DATABASE)));
    fleet.write("files/rows.service", UNIT);
    fleet.write("files/secrets/standby.pgpass", "*:*:replication:standby:geheim\n");
    fleet.write("playbooks/hall-swap.yaml", HALL);
    fleet
}

/// A town hall whose old servers are at work, with rows and backups.
fn set_up(fleet: &Fleet<'_>, hosts: &[LabHost]) {
    let [db_old, db_new, app_old, app_new, user] = hosts else { unreachable!("five hosts") };
    let install = |host: &LabHost, packages: &[&str]| {
        host.run(&[&["apt-get", "install", "-q", "-y"], packages].concat());
    };
    std::thread::scope(|scope| {
        for host in [db_old, db_new] {
            scope.spawn(move || {
                install(host, &["postgresql", "rsync", "cron"]);
                host.run(&["sh", "-c", "echo host all clerk 192.0.2.0/24 trust >>/etc/postgresql/15/main/pg_hba.conf"]);
            });
        }
        // Its user is `postgres`, who comes with postgresql-common.
        for host in [app_old, app_new] {
            scope.spawn(move || install(host, &["postgresql-common", "python3-psycopg2", "rsync", "cron"]));
        }
        scope.spawn(|| install(user, &["postgresql-client-15"]));
    });
    fleet.write("files/secrets/standby.scram", &(verifier(db_old) + "\n"));
    fleet.weiche(&["apply", "converge", "hosts=rathaus/db-old,rathaus/app-old", "--yes", "--quiet"]).expect(0);
    sql(db_old, "CREATE TABLE row (number bigint PRIMARY KEY); CREATE ROLE clerk LOGIN; GRANT ALL ON row TO clerk");
    db_old.run(&["sh", "-c", "runuser -u postgres -- pg_dump -f /srv/backup/town.dump town"]);
    app_old.run(&["sh", "-c", "echo kept >/srv/rows/kept"]);
}

/// The stages that began, in order, of those whose name ends so.
fn began(fleet: &Fleet<'_>, end: &str) -> Vec<String> {
    let log = fleet.weiche(&["log", "latest"]).expect(0).stdout;
    let stage = |line: &str| Some(line.split_once("stage ")?.1.strip_suffix(" started")?.to_owned());
    log.lines().filter_map(stage).filter(|stage| stage.ends_with(end)).collect()
}

#[test]
fn two_servers_are_swapped_in_one_window_and_nothing_is_lost() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("two_servers_are_swapped_in_one_window_and_nothing_is_lost", &why);
    }
    let lab = Lab::alone("town-swap");
    let hosts = lab.boot_all(&["db-old", "db-new", "app-old", "app-new", "user"].map(HostOptions::named));
    let [db_old, db_new, app_old, app_new, user] = hosts.as_slice() else { unreachable!("five hosts") };
    let fleet = fleet(&lab, &hosts);
    set_up(&fleet, &hosts);
    let before = [db_new, app_new].map(etc);
    let run = |words: &[&str], code: i32| -> Ran { fleet.weiche(words).expect(code) };
    let clerk = Writer::new(user, &CLERK.replace(SERVICE, DATABASE), "/root/go", "/root/acknowledged");
    let users = Users::default();
    let mut said = String::new();

    // There, and it waits while they soak: once, behind the last.
    let swap = || said = run(&[&["apply"], &SWAP[..], &["--yes", "--quiet"]].concat(), 6).stderr;
    let there = one_server(app_old, app_new, || meanwhile(&lab, &users, swap));
    figures("there", &there, &[clerk.written()]);
    there.lost_patience(GAVE_UP, &said);
    assert_eq!(there.servers(), ["app-old", "app-new"], "{said}");
    assert_eq!([db_old, db_new].map(|host| sql(host, "SELECT pg_is_in_recovery()")), ["t", "f"]);
    assert_eq!(app_new.run(&["cat", "/srv/rows/kept"]), "kept");
    assert_eq!(began(&fleet, "-approach"), ["database-approach", "application-approach"]);
    assert_eq!(began(&fleet, "-cutover"), ["database-cutover", "application-cutover"]);
    let all = began(&fleet, "");
    let at = |name: &str| all.iter().position(|stage| stage == name);
    assert!(at("application-approach") < at("database-cutover"), "all follow before the first cutover: {all:?}");

    // Much more is written there; and back, the application first.
    sql(db_new, "INSERT INTO row SELECT generate_series(2000001, 2010000)");
    app_new.run(&["sh", "-c", "echo new >/srv/rows/new"]);
    let rollback = || said = run(&["rollback", "latest"], 0).stderr;
    let back = one_server(app_old, app_new, || meanwhile(&lab, &users, rollback));
    figures("back", &back, &[clerk.written()]);
    back.lost_patience(GAVE_UP, &said);
    assert_eq!(back.servers(), ["app-new", "app-old"], "{said}");
    let log = run(&["log", "latest"], 0).stdout;
    let undone = |host: &str, stage: &str| {
        log.lines().position(|line| line.contains(host) && line.contains(stage) && line.contains("taken back"))
    };
    let order = [undone("app-old", "application-cutover"), undone("db-old", "database-cutover")];
    assert!(order[0].is_some() && order[0] < order[1], "{order:?}\n{log}");

    let mut expected: BTreeSet<u32> = clerk.end().into_keys().chain(2_000_001..=2_010_000).collect();
    expected.extend(there.acknowledged.union(&back.acknowledged));
    all_there(db_old, &expected);
    assert_eq!(app_old.run(&["cat", "/srv/rows/kept", "/srv/rows/new"]), "kept\nnew");
    for (host, before) in [db_new, app_new].into_iter().zip(&before) {
        assert_same(&etc(host), before, &host.name);
    }
}
