//! A town hall at work: a server that has files over SMB, rows in PostgreSQL and an application over HTTP, a new one beside it,
//! their fleet, and people who write; and what they find later.

pub mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Child;
use std::time::Duration;

use self::users::SERVICE;
use crate::fleet::Fleet;
use crate::lab::{Lab, LabHost};
use crate::town::Ran;
use crate::until;

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

/// What `write(number)` is where the database is on the same server.
pub const WRITE: &str = r#"import psycopg2
def write(number):
    with psycopg2.connect("dbname=town") as connection:
        connection.cursor().execute("INSERT INTO row VALUES (%s)", (number,))
"#;

/// `PUT /N` writes the row N and answers when it is there for good.
const HANDLER: &str = r#"import http.server, socket
class Rows(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        write(int(self.path[1:]))
        self.send_response(201)
        self.send_header("X-Server", socket.gethostname())
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *words):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512
Server(("", 80), Rows).serve_forever()
"#;

/// The service [`UNIT`]'s program; `write` defines `write(number)`, in Python.
pub fn program(write: &str) -> String {
    format!("{write}{HANDLER}")
}

/// The unit of an application that the user `postgres` runs.
pub const UNIT: &str = "[Service]\nUser=postgres\nAmbientCapabilities=CAP_NET_BIND_SERVICE\nExecStart=/usr/bin/python3 /usr/local/bin/rows\n\
    [Install]\nWantedBy=multi-user.target\n";

/// Writes rows straight into the database until it is told to stop, and says when each was acknowledged, in milliseconds.
/// One that was not is never tried again.
pub const CLERK: &str = r#"touch /root/go; i=1000000
while [ -e /root/go ]; do
    i=$((i + 1))
    sleep 0.05
    /usr/lib/postgresql/15/bin/psql -qX "host=192.0.2.100 user=clerk dbname=town connect_timeout=5" -c "INSERT INTO row VALUES ($i)" 2>/dev/null \
        && echo $i $(date +%s%3N)
done >/root/acknowledged"#;

/// Writes file after file to the share until it is told to stop, each over a connection of its own, and says when each was
/// acknowledged, in milliseconds. One that was not is never tried again.
const SECRETARY: &str = r#"touch /root/on; i=0
while [ -e /root/on ]; do
    i=$((i + 1)); sleep 0.2
    echo $i >/root/letter
    smbclient //192.0.2.100/ablage -U scan%geheim -c "put /root/letter letter-$i" >/root/said 2>&1 \
        && echo $i $(date +%s%3N) || { echo $i; cat /root/said; } >>/root/unwritten
done >/root/filed"#;

/// What the packages of two servers need beforehand, so that the run itself is about the swap.
fn install(host: &LabHost) {
    host.run(&["apt-get", "install", "-q", "-y", "postgresql", "samba", "python3-psycopg2", "rsync", "cron"]);
    host.run(&["sh", "-c", "echo host all clerk 192.0.2.0/24 trust >>/etc/postgresql/15/main/pg_hba.conf"]);
}

/// The verifier of the password `geheim`, as PostgreSQL keeps it.
pub fn verifier(host: &LabHost) -> String {
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
    fleet.write("files/rows.py", &program(WRITE));
    fleet.write("files/rows.service", UNIT);
    fleet.write("files/secrets/standby.pgpass", "*:*:replication:standby:geheim\n");
    fleet
}

/// A town hall whose old server is at work, with accounts, files, rows and a backup; a new one beside it; and people at a
/// third host.
pub struct Hall<'a> {
    /// The server that is at work.
    pub old: &'a LabHost,
    /// The one beside it.
    pub new: &'a LabHost,
    /// Where people sit.
    pub user: &'a LabHost,
    /// The two servers' fleet.
    pub fleet: Fleet<'a>,
}

impl<'a> Hall<'a> {
    /// Sets it up on three hosts that were booted; the packages take most of its half a minute.
    pub fn new(lab: &'a Lab, hosts: &'a [LabHost]) -> Hall<'a> {
        let [old, new, user] = hosts else { unreachable!("three hosts") };
        std::thread::scope(|scope| {
            scope.spawn(|| install(old));
            scope.spawn(|| install(new));
            scope.spawn(|| user.run(&["apt-get", "install", "-q", "-y", "postgresql-client-15", "smbclient"]));
        });
        let fleet = fleet(lab, old, new);
        fleet.write("files/secrets/standby.scram", &(verifier(old) + "\n"));
        fleet.weiche(&["apply", "converge", "hosts=rathaus/old", "--yes", "--quiet"]).expect(0);
        sql(old, "CREATE TABLE row (number bigint); CREATE ROLE clerk LOGIN; GRANT ALL ON row TO clerk");
        old.run(&["sh", "-c", "gpasswd -a scan verwaltung; printf 'geheim\\ngeheim\\n' | smbpasswd -s -a scan"]);
        old.run(&["sh", "-c", "runuser -u postgres -- pg_dump -f /srv/backup/town.dump town"]);
        Hall { old, new, user, fleet }
    }

    /// Carries out a playbook of a swap.
    pub fn apply(&self, playbook: &str, more: &[&str]) -> Ran {
        self.fleet.weiche(&[&swap(playbook), more].concat())
    }

    /// The clerk begins to write, and the secretary.
    pub fn writers(&self) -> [Writer<'a>; 2] {
        [
            Writer::new(self.user, CLERK, "/root/go", "/root/acknowledged"),
            Writer::new(self.user, SECRETARY, "/root/on", "/root/filed"),
        ]
    }
}

/// The words for `weiche` that carry out a playbook of a swap.
pub fn swap(playbook: &str) -> [&str; 6] {
    ["apply", playbook, "old=rathaus/old", "new=rathaus/new", "--yes", "--quiet"]
}

/// Somebody at the third host, who writes until sent home.
pub struct Writer<'a> {
    host: &'a LabHost,
    at_work: &'static str,
    list: &'static str,
    child: Child,
}

impl<'a> Writer<'a> {
    /// Starts a script that makes the file `at_work` and writes while that is there, and a line into `list` for each number
    /// that was acknowledged; returns when it has begun.
    pub fn new(host: &'a LabHost, script: &str, at_work: &'static str, list: &'static str) -> Writer<'a> {
        let child = host.command(&["sh", "-c", script]).spawn().expect("start");
        let writer = Writer { host, at_work, list, child };
        until("they write", || writer.written().len() > 5);
        writer
    }

    /// Numbers, and when each was acknowledged, in milliseconds.
    pub fn written(&self) -> BTreeMap<u32, u64> {
        written_by(self.host, self.list)
    }

    /// How many were acknowledged; from outside the host, so that looking costs it nothing.
    pub fn count(&self) -> usize {
        let list = self.host.root().join(self.list.trim_start_matches('/'));
        fs::read(list).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
    }

    /// Sends them home; all that was acknowledged.
    pub fn end(mut self) -> BTreeMap<u32, u64> {
        self.host.run(&["rm", self.at_work]);
        self.child.wait().expect("they end");
        self.written()
    }
}

/// Says which acknowledged files are not there with what was written into them; `None` if all are.
pub fn lost_letters(host: &LabHost, letters: &BTreeMap<u32, u64>) -> Option<String> {
    let wrong = "cd /srv/files; for i in $0; do [ \"$(cat letter-$i)\" = $i ] || echo $i; done";
    let numbers: Vec<String> = letters.keys().map(u32::to_string).collect();
    let lost = host.run(&["sh", "-c", wrong, &numbers.join(" ")]);
    if lost.is_empty() { None } else { Some(format!("acknowledged, and not there: {lost}")) }
}

/// Numbers that a writer had acknowledged, and when.
pub fn written_by(host: &LabHost, list: &str) -> BTreeMap<u32, u64> {
    let text = host.run(&["sh", "-c", "cat $0 2>/dev/null || true", list]);
    let line = |line: &str| line.split_once(' ').and_then(|(row, at)| Some((row.parse().ok()?, at.parse().ok()?)));
    text.lines().filter_map(line).collect()
}

/// The longest time between two acknowledgements.
pub fn longest(of: &BTreeMap<u32, u64>) -> Duration {
    let times: Vec<u64> = of.values().copied().collect();
    Duration::from_millis(times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or(0))
}

/// Says which acknowledged rows are not there, or twice; `None` if all are there once.
pub fn lost_rows(on: &LabHost, expected: &BTreeSet<u32>) -> Option<String> {
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    for row in sql(on, "SELECT number FROM row").lines() {
        *counts.entry(row.parse().expect("a number")).or_default() += 1;
    }
    let lost: Vec<&u32> = expected.iter().filter(|row| !counts.contains_key(row)).collect();
    if let Some(first) = lost.first() {
        return Some(format!("{} acknowledged, and not there, from {first}", lost.len()));
    }
    let doubled = counts.iter().find(|(_, count)| **count > 1);
    doubled.map(|(row, count)| format!("there {count} times: {row}"))
}

/// What its database says.
pub fn sql(host: &LabHost, sql: &str) -> String {
    host.run(&["runuser", "-u", "postgres", "--", "psql", "-qXAt", "town", "-c", sql])
}
