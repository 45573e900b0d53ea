//! The shipped playbook `server-swap`, whole: a server with files, a database and a web application changes its hardware
//! while users write rows over HTTP, fifty a second, others straight into PostgreSQL, and others files over SMB. They write
//! on through the way back. Nothing that was acknowledged is lost or there twice, and nobody is refused: with patience all are served.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Child;

use weiche_tests::lab::{HostOptions, Lab, LabHost};
use weiche_tests::town::Ran;
use weiche_tests::until;

use crate::fleet::{Fleet, assert_same, etc};
use crate::postgres::sql;
use crate::swap::{APP, CLERK, UNIT, figures, written_by};
use crate::users::{SERVICE, Users, meanwhile, one_server};

/// A server of this fleet: two of the shipped parts, an application of its own, and an address.
const PROFILE: &str = r#"profile: rows-server
parameters:
  data: { type: list, default: [/srv/files, /var/lib/samba] }
includes: [town-files, town-database, service-address]
resources:
  - package: { name: python3-psycopg2 }
  - file: { path: /usr/local/bin/rows, source: rows.py, mode: "0644" }
  - file: { path: /etc/systemd/system/rows.service, source: rows.service, mode: "0644" }
  - unit: { name: rows, enabled: true, running: true }
"#;

/// The companions, of the same two parts.
const COMPANIONS: [(&str, &[&str]); 6] = [
    ("ready", &["database"]),
    ("follows", &["database", "files"]),
    ("rests", &["database", "files"]),
    ("serves", &["database", "files"]),
    ("leaves", &["database"]),
    ("alone", &["database"]),
];

/// Writes file after file to the share until it is told to stop, each over a connection of its own, and says when each was
/// acknowledged, in milliseconds. One that was not is never tried again.
const SECRETARY: &str = r#"touch /root/on; i=0
while [ -e /root/on ]; do
    i=$((i + 1)); sleep 0.2
    echo $i >/root/letter
    smbclient //192.0.2.100/ablage -U scan%geheim -c "put /root/letter letter-$i" >/root/said 2>&1 \
        && echo $i $(date +%s%3N) || { echo $i; cat /root/said; } >>/root/unwritten
done >/root/filed"#;

const SWAP: [&str; 4] = ["server-swap", "old=rathaus/old", "new=rathaus/new", "--quiet"];

/// What the packages of two servers need beforehand, so that the run itself is about the swap.
fn install(host: &LabHost) {
    host.run(&["apt-get", "install", "-q", "-y", "postgresql", "samba", "python3-psycopg2", "rsync", "cron"]);
    host.run(&["sh", "-c", "echo host all clerk 192.0.2.0/24 trust >>/etc/postgresql/15/main/pg_hba.conf"]);
}

/// The verifier of the password `geheim`, as PostgreSQL keeps it.
pub(crate) fn verifier(host: &LabHost) -> String {
    let ask = |sql: &str| host.run(&["runuser", "-u", "postgres", "--", "psql", "-qXAt", "-c", sql]);
    ask("CREATE ROLE made PASSWORD 'geheim'");
    let verifier = ask("SELECT rolpassword FROM pg_authid WHERE rolname = 'made'");
    ask("DROP ROLE made");
    verifier
}

fn fleet<'a>(lab: &'a Lab, old: &LabHost, new: &LabHost) -> Fleet<'a> {
    let fleet = Fleet::new(lab, "root", &[(old, "rows-server"), (new, "rows-server")]).impatient();
    let path = fleet.path().join("members/rathaus.yaml");
    let member = fs::read_to_string(&path).expect("read");
    let of = |host: &LabHost, service: &str| {
        let values = "database: town, listen: \"*\", connections: 400, service_address: 192.0.2.100, service_ports: [80, 445, 5432]";
        let from = format!("name: {}, ", host.name);
        (from.clone(), format!("{from}parameters: {{ {values}, service: {service} }}, "))
    };
    let (old, new) = (of(old, "present"), of(new, "absent"));
    let member = member.replace(&old.0, &old.1).replace(&new.0, &new.1);
    let probe = |port: u16| format!("{{ probe: {{ tcp: \"{SERVICE}:{port}\" }}, downtime_budget: 10s }}");
    let services = format!("services:\n  rows: {}\n  files: {}\n", probe(80), probe(445));
    let window = "windows: { weekend: { from: 2026-01-01 00:00, to: 2126-01-01 00:00 } }\n";
    fs::write(path, member + &services + window).expect("write");
    fleet.write("profiles/rows-server.yaml", PROFILE);
    for (name, parts) in COMPANIONS {
        let parts: Vec<String> = parts.iter().map(|part| format!("town-{part}-{name}")).collect();
        let text = format!("profile: rows-server-{name}\nincludes: [{}]\nresources: []\n", parts.join(", "));
        fleet.write(&format!("profiles/rows-server-{name}.yaml"), &text);
    }
    fleet.write("files/rows.py", APP);
    fleet.write("files/rows.service", UNIT);
    fleet.write("files/secrets/standby.pgpass", "*:*:replication:standby:geheim\n");
    fleet
}

/// A town hall whose old server is at work, with accounts, files, rows and a backup.
fn set_up(fleet: &Fleet<'_>, old: &LabHost) {
    fleet.write("files/secrets/standby.scram", &(verifier(old) + "\n"));
    fleet.weiche(&["apply", "converge", "hosts=rathaus/old", "--yes", "--quiet"]).expect(0);
    sql(old, "CREATE TABLE row (number bigint); CREATE ROLE clerk LOGIN; GRANT ALL ON row TO clerk");
    old.run(&["sh", "-c", "gpasswd -a scan verwaltung; printf 'geheim\\ngeheim\\n' | smbpasswd -s -a scan"]);
    old.run(&["sh", "-c", "runuser -u postgres -- pg_dump -f /srv/backup/town.dump town"]);
}

/// Somebody at the third host, who writes until sent home.
pub(crate) struct Writer<'a> {
    host: &'a LabHost,
    at_work: &'static str,
    list: &'static str,
    child: Child,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(host: &'a LabHost, script: &str, at_work: &'static str, list: &'static str) -> Writer<'a> {
        let child = host.command(&["sh", "-c", script]).spawn().expect("start");
        let writer = Writer { host, at_work, list, child };
        until("they write", || writer.written().len() > 5);
        writer
    }

    /// Numbers, and when each was acknowledged.
    pub(crate) fn written(&self) -> BTreeMap<u32, u64> {
        written_by(self.host, self.list)
    }

    pub(crate) fn end(mut self) -> BTreeMap<u32, u64> {
        self.host.run(&["rm", self.at_work]);
        self.child.wait().expect("they end");
        self.written()
    }
}

/// Every acknowledged file is there, with what was written into it.
#[track_caller]
fn all_files(host: &LabHost, letters: &BTreeMap<u32, u64>) {
    let wrong = "cd /srv/files; for i in $0; do [ \"$(cat letter-$i)\" = $i ] || echo $i; done";
    let numbers: Vec<String> = letters.keys().map(u32::to_string).collect();
    let lost = host.run(&["sh", "-c", wrong, &numbers.join(" ")]);
    assert!(lost.is_empty(), "acknowledged, and not there: {lost}");
}

#[test]
fn a_server_with_files_rows_and_a_database_is_swapped_and_nobody_notices() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_server_with_files_rows_and_a_database_is_swapped_and_nobody_notices", &why);
    }
    let lab = Lab::alone("server-swap");
    let hosts = lab.boot_all(&["old", "new", "user"].map(HostOptions::named));
    let [old, new, user] = hosts.as_slice() else { unreachable!("three hosts") };
    std::thread::scope(|scope| {
        scope.spawn(|| install(old));
        scope.spawn(|| install(new));
        scope.spawn(|| user.run(&["apt-get", "install", "-q", "-y", "postgresql-client-15", "smbclient"]));
    });
    let fleet = fleet(&lab, old, new);
    set_up(&fleet, old);
    let before = etc(new);
    let run = |words: &[&str], code: i32| -> Ran { fleet.weiche(words).expect(code) };
    let clerk = Writer::new(user, CLERK, "/root/go", "/root/acknowledged");
    let secretary = Writer::new(user, SECRETARY, "/root/on", "/root/filed");
    let users = Users::default();
    let mut said = String::new();

    // There, and it waits while it soaks.
    let swap = || said = run(&[&["apply"], &SWAP[..], &["--yes"]].concat(), 6).stderr;
    let there = one_server(old, new, || meanwhile(&lab, &users, swap));
    figures("there", &there, &[clerk.written(), secretary.written()]);
    there.few_lost_patience(&said);
    assert_eq!(there.servers(), ["old", "new"], "{said}");
    assert_eq!(sql(new, "SELECT pg_is_in_recovery()"), "f");

    // Much more is written there; and back.
    sql(new, "INSERT INTO row SELECT generate_series(2000001, 2010000)");
    new.run(&["sh", "-c", "cd /srv/files && for i in $(seq 500000 500100); do echo $i >letter-$i; done"]);
    let (rows, letters) = (clerk.written(), secretary.written());
    let later = |all: BTreeMap<u32, u64>, known: &BTreeMap<u32, u64>| {
        all.into_iter().filter(|(number, _)| !known.contains_key(number)).collect::<BTreeMap<_, _>>()
    };
    let rollback = || said = run(&["rollback", "latest"], 0).stderr;
    let back = one_server(old, new, || meanwhile(&lab, &users, rollback));
    figures("back", &back, &[later(clerk.written(), &rows), later(secretary.written(), &letters)]);
    back.few_lost_patience(&said);
    assert_eq!(back.servers(), ["new", "old"], "{said}");

    let unwritten = user.run(&["sh", "-c", "cat /root/unwritten 2>/dev/null || true"]);
    assert_eq!(unwritten, "", "files that were not acknowledged");
    let mut expected: BTreeSet<u32> = clerk.end().into_keys().chain(2_000_001..=2_010_000).collect();
    expected.extend(there.acknowledged.union(&back.acknowledged));
    crate::swap::all_there(old, &expected);
    let mut letters = secretary.end();
    letters.extend((500_000..=500_100).map(|number| (number, 0)));
    all_files(old, &letters);
    assert_same(&etc(new), &before, "the new server");
}
