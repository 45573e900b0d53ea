//! A cutover by itself, on servers of which the new one follows the old one already: an application over HTTP, its PostgreSQL,
//! and the address of both. [`server_swap`](crate::server_swap) is the whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Child;

use weiche_tests::lab::{HostOptions, Lab, LabHost};
use weiche_tests::town::Ran;
use weiche_tests::until;

use crate::fleet::{Fleet, assert_same, etc};
use crate::postgres::{OPEN, make_database, sql};
use crate::users::{SERVICE, Written};

/// `PUT /N` writes the row N and answers when it is there for good.
pub(crate) const APP: &str = r#"import http.server, socket
import psycopg2
class Rows(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with psycopg2.connect("dbname=town") as connection:
            connection.cursor().execute("INSERT INTO row VALUES (%s)", (int(self.path[1:]),))
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

pub(crate) const UNIT: &str = "[Service]\nUser=postgres\nAmbientCapabilities=CAP_NET_BIND_SERVICE\nExecStart=/usr/bin/python3 /usr/local/bin/rows\n\
    [Install]\nWantedBy=multi-user.target\n";

/// Before the weekend, behind [`OPEN`]: the new server is ready, follows the old one, and would keep users waiting.
const BUILD: &str = r#"  - stage: follow
    on: new
    steps:
      - postgres_server: { cluster: 15/main, mode: standby, of: { address: "{{old.address}}", user: standby, slot: new } }
      - hold: { name: town, ports: [80, 5432], to: [192.0.2.100] }
  - stage: serve
    on: old
    steps:
      - service_address: { address: "192.0.2.100/24" }
"#;

/// The whole cutover, one server after the other.
pub(crate) const CUTOVER: &str = r#"playbook: cutover
inputs: { old: host, new: host }
meter: [rows]
stages:
  - stage: cutover
    on: [old, new]
    within: 60s
    steps:
      - hold: { name: town, ports: [80, 5432], to: [192.0.2.100] }
        on: old
      - postgres_server: { cluster: 15/main, mode: stopped }
        on: old
      - postgres_server: { cluster: 15/main, mode: primary }
        on: new
      - service_address: { address: "192.0.2.100/24", state: absent }
        on: old
      - service_address: { address: "192.0.2.100/24" }
        on: new
      - postgres_server:
          { cluster: 15/main, mode: standby, data: own, of: { address: "{{new.address}}", user: standby, slot: old } }
        on: old
      - hold: { name: town, state: open }
        on: new
"#;

const HOSTS: [&str; 2] = ["old=rathaus/old", "new=rathaus/new"];

/// Writes rows straight into the database until it is told to stop, and says when each was acknowledged, in milliseconds.
/// One that was not is never tried again.
pub(crate) const CLERK: &str = r#"touch /root/go; i=1000000
while [ -e /root/go ]; do
    i=$((i + 1))
    sleep 0.05
    /usr/lib/postgresql/15/bin/psql -qX "host=192.0.2.100 user=clerk dbname=town connect_timeout=5" -c "INSERT INTO row VALUES ($i)" 2>/dev/null \
        && echo $i $(date +%s%3N)
done >/root/acknowledged"#;

fn set_up(host: &LabHost) {
    host.run(&["apt-get", "install", "-q", "-y", "postgresql", "python3-psycopg2"]);
    fs::write(host.root().join("usr/local/bin/rows"), APP).expect("write");
    fs::write(host.root().join("etc/systemd/system/rows.service"), UNIT).expect("write");
    host.run(&["systemctl", "enable", "--now", "rows"]);
}

/// A town hall with two servers, of which the first has the service, and a clerk who writes into the database.
pub(crate) struct Town<'a> {
    pub(crate) old: &'a LabHost,
    pub(crate) new: &'a LabHost,
    pub(crate) user: &'a LabHost,
    pub(crate) fleet: Fleet<'a>,
}

impl<'a> Town<'a> {
    /// Up to where the new server is ready to take over.
    pub(crate) fn new(lab: &'a Lab, hosts: &'a [LabHost]) -> Town<'a> {
        let [old, new, user] = hosts else { unreachable!("three hosts") };
        std::thread::scope(|scope| {
            scope.spawn(|| set_up(old));
            scope.spawn(|| set_up(new));
            scope.spawn(|| user.run(&["apt-get", "install", "-q", "-y", "postgresql-client-15"]));
        });
        let fleet = Fleet::new(lab, "root", &[(old, "base"), (new, "base")]).impatient();
        let path = fleet.path().join("members/rathaus.yaml");
        let member = fs::read_to_string(&path).expect("read");
        let service = format!("services:\n  rows: {{ probe: {{ tcp: \"{SERVICE}:80\" }}, downtime_budget: 10s }}\n");
        fs::write(path, member + &service).expect("write");
        let open = OPEN.replace("VERIFIER", &make_database(old)).replace("SETTINGS", "");
        fleet.write("playbooks/build.yaml", &format!("playbook: build\n{open}{BUILD}"));
        fleet.write("playbooks/cutover.yaml", CUTOVER);
        let town = Town { old, new, user, fleet };
        town.apply("build", &[]).expect(0);
        town
    }

    pub(crate) fn apply(&self, playbook: &str, more: &[&str]) -> Ran {
        let words = ["apply", playbook, HOSTS[0], HOSTS[1], "--yes", "--quiet"];
        self.fleet.weiche(&[&words, more].concat())
    }

    /// The clerk begins to write.
    pub(crate) fn clerk_begins(&self) -> Child {
        let writes = self.user.command(&["sh", "-c", CLERK]).spawn().expect("start the clerk");
        until("the clerk writes", || self.clerk().len() > 5);
        writes
    }

    pub(crate) fn clerk_ends(&self, mut writes: Child) {
        self.user.run(&["rm", "/root/go"]);
        writes.wait().expect("the clerk ends");
    }

    /// Rows and when each was acknowledged, of the clerk.
    pub(crate) fn clerk(&self) -> BTreeMap<u32, u64> {
        written_by(self.user, "/root/acknowledged")
    }
}

/// What users got, and how far apart two acknowledgements of each other writer were at most.
pub(crate) fn figures(what: &str, written: &Written, others: &[BTreeMap<u32, u64>]) {
    let (rows, failed) = (written.acknowledged.len(), written.failed.len());
    eprintln!("{what}: {rows} rows over HTTP, {failed} failed, the slowest after {:?}", written.slowest);
    for other in others {
        let times: Vec<u64> = other.values().copied().collect();
        let longest = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or(0);
        eprintln!("    another writer: {} acknowledged, at most {longest} ms apart", times.len());
    }
}

/// Numbers that a writer had acknowledged, and when.
pub(crate) fn written_by(host: &LabHost, list: &str) -> BTreeMap<u32, u64> {
    let text = host.run(&["sh", "-c", "cat $0 2>/dev/null || true", list]);
    let line = |line: &str| line.split_once(' ').and_then(|(row, at)| Some((row.parse().ok()?, at.parse().ok()?)));
    text.lines().filter_map(line).collect()
}

/// All that was acknowledged is there, and once.
#[track_caller]
pub(crate) fn all_there(on: &LabHost, expected: &BTreeSet<u32>) {
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    for row in sql(on, "SELECT number FROM row").lines() {
        *counts.entry(row.parse().expect("a number")).or_default() += 1;
    }
    let lost: Vec<&u32> = expected.iter().filter(|row| !counts.contains_key(row)).collect();
    assert!(lost.is_empty(), "{} acknowledged, and not there, from {:?}", lost.len(), lost[0]);
    let doubled = counts.iter().find(|(_, count)| **count > 1);
    assert!(doubled.is_none(), "there twice: {doubled:?}");
}

/// How often it goes there and back: once, or twenty times where there is time for it.
fn times() -> u32 {
    std::env::var("WEICHE_SWAPS").map_or(1, |text| text.parse().expect("WEICHE_SWAPS is a number"))
}

/// All that a swap could leave behind, beside the data.
fn traces(host: &LabHost) -> String {
    let script = "ls -A /var/lib/postgresql /var/lib/postgresql/15 /root/.ssh /etc/systemd/system; ip -o addr; ip neigh show proxy
        nft list ruleset; pg_lsclusters -h -s; cat /etc/postgresql/15/main/start.conf /var/lib/postgresql/15/main/postgresql.auto.conf
        runuser -u postgres -- psql -qXAt -c 'SELECT slot_name, active FROM pg_replication_slots' \
            -c 'SELECT rolname FROM pg_roles ORDER BY 1' -c 'SELECT pg_is_in_recovery()'
        systemctl list-units --all --plain --no-legend 'weiche*' | cut -d ' ' -f 1; pgrep -a weiche; ls -A /run/weiche* 2>/dev/null";
    format!("{}\n{}", String::from_utf8_lossy(&host.exec(&["sh", "-c", script]).stdout), etc(host))
}

#[test]
fn swaps_back_and_forth_leave_nothing_behind() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("swaps_back_and_forth_leave_nothing_behind", &why);
    }
    let lab = Lab::new("back-and-forth");
    let hosts = lab.boot_all(&["old", "new", "user"].map(HostOptions::named));
    let town = Town::new(&lab, &hosts);
    let Town { old, new, fleet, .. } = &town;
    let follows =
        || until("the new server follows", || sql(old, "SELECT state FROM pg_stat_replication") == "streaming");
    follows();
    let before = [old, new].map(|host| traces(host));
    for number in 0..times() {
        town.apply("cutover", &[]).expect(0);
        sql(new, &format!("INSERT INTO row VALUES ({number})"));
        fleet.weiche(&["rollback", "latest"]).expect(0);
        follows();
        for (host, before) in [old, new].into_iter().zip(&before) {
            assert_same(&traces(host), before, &format!("{}, after swap {number}", host.name));
        }
    }
    let expected = (0..times()).map(|number| number.to_string()).collect::<Vec<_>>().join("\n");
    assert_eq!(sql(old, "SELECT number FROM row ORDER BY 1"), expected);
}
