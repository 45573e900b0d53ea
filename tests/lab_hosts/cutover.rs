//! A cutover that nobody notices: users keep writing over HTTP while a server is swapped and swapped back, and no request
//! fails, and no write that was acknowledged is lost.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use weiche_tests::lab::{HostOptions, Lab, LabHost};
use weiche_tests::until;

use crate::fleet::Fleet;

/// What users know.
const SERVICE: &str = "192.0.2.100";

/// As long as an ordinary program waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between the beginnings of two requests: fifty a second.
const PERIOD: Duration = Duration::from_millis(20);

/// Takes files by PUT, as WebDAV does; rows are files with numbers for names.
const NGINX: &str =
    "server {\n  listen 80;\n  root /srv/rows;\n  dav_methods PUT;\n  add_header X-Server $hostname always;\n}\n";

/// What became of the users' requests.
#[derive(Debug, Default)]
struct Written {
    /// The rows whose writing was acknowledged.
    acknowledged: BTreeSet<u32>,
    failed: Vec<String>,
    slowest: Duration,
}

/// Writes row after row until it is told to stop, each over a connection of its own, whatever becomes of the others.
fn write(lab: &Lab, stop: &AtomicBool, begun: &AtomicU32) -> Written {
    let first = begun.load(Ordering::Relaxed);
    lab.inside(|| {
        let (sender, answers) = mpsc::channel();
        std::thread::scope(|scope| {
            let begin = Instant::now();
            for row in first.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                begun.store(row, Ordering::Relaxed);
                let sender = sender.clone();
                scope.spawn(move || {
                    let start = Instant::now();
                    let answer = put(row).map_err(|error| format!("row {row} after {:?}: {error}", start.elapsed()));
                    let _ = sender.send((row, start.elapsed(), answer));
                });
                std::thread::sleep((begin + PERIOD * (row - first + 1)).saturating_duration_since(Instant::now()));
            }
        });
        drop(sender);
        let mut written = Written::default();
        for (row, took, answer) in answers {
            written.slowest = written.slowest.max(took);
            match answer {
                Ok(()) => drop(written.acknowledged.insert(row)),
                Err(error) => written.failed.push(error),
            }
        }
        written
    })
}

fn put(row: u32) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    let address = SocketAddr::new(SERVICE.parse().expect("an address"), 80);
    let said = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(said)?;
    let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left)).map_err(said)?;
    let body = format!("{row}\n");
    let head = format!(
        "PUT /{row} HTTP/1.1\r\nHost: rows.example\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).map_err(said)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(said)?;
    let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    if line.starts_with("HTTP/1.1 20") { Ok(()) } else { Err(format!("answered `{line}`")) }
}

/// Installs the service; both servers could do it.
fn set_up(host: &LabHost) {
    host.run(&["apt-get", "install", "-q", "-y", "nginx"]);
    let site = host.root().join("etc/nginx/sites-available/default");
    std::fs::write(site, NGINX).expect("write");
    host.run(&["sh", "-c", "install -d -o www-data /srv/rows && systemctl reload nginx"]);
}

/// The rows that a server has.
fn rows(host: &LabHost) -> BTreeSet<u32> {
    let names = host.run(&["ls", "/srv/rows"]);
    names.lines().filter_map(|name| name.parse().ok()).collect()
}

/// The stages of a swap; without a freeze, and with a pause where it would have mattered.
fn playbook(fleet: &Fleet, name: &str, freeze: bool) {
    let hold = |on: &str, rest: &str| match freeze {
        true => format!("      - hold: {{ name: rows, {rest} }}\n        on: {on}\n"),
        false => format!("      - check: {{ command: [sleep, \"1\"] }}\n        on: {on}\n"),
    };
    let (held, holds, opens) = match freeze {
        true => ("      - hold: { name: rows, ports: [80] }\n", hold("old", "ports: [80]"), hold("new", "state: open")),
        false => ("", String::new(), String::new()),
    };
    let pause = if freeze { String::new() } else { hold("old", "") };
    fleet.write(&format!("playbooks/{name}.yaml"), &format!(
        "playbook: {name}\ninputs: {{ old: host, new: host }}\nmeter: [rows]\nstages:\n  - stage: presync\n    on: new\n    steps:\n{held}      \
         - transfer: {{ from: old, paths: /srv/rows }}\n  - stage: cutover\n    on: [old, new]\n    within: 30s\n    steps:\n\
         {holds}      - transfer: {{ from: old, paths: /srv/rows, delete: true }}\n        on: new\n{pause}      \
         - service_address: {{ address: {SERVICE}/24, state: absent }}\n        on: old\n      \
         - service_address: {{ address: {SERVICE}/24 }}\n        on: new\n{opens}"
    ));
}

/// A town hall with two servers, of which the first has the service.
fn town(lab: &Lab) -> (Vec<LabHost>, Fleet<'_>) {
    let hosts = lab.boot_all(&["old", "new"].map(HostOptions::named));
    std::thread::scope(|scope| {
        for host in &hosts {
            scope.spawn(move || set_up(host));
        }
    });
    let fleet = Fleet::new(lab, "weiche", &[(&hosts[0], "base"), (&hosts[1], "base")]);
    let path = fleet.path().join("members/rathaus.yaml");
    let member = std::fs::read_to_string(&path).expect("read");
    let service = format!(
        "services:\n  rows: {{ probe: {{ http: \"http://{SERVICE}/\", status: 403 }}, downtime_budget: 10s }}\n"
    );
    std::fs::write(path, member + &service).expect("write");
    fleet.write(
        "playbooks/place.yaml",
        &format!(
            "playbook: place\ninputs: {{ old: host }}\nstages:\n  - stage: s\n    on: old\n    steps:\n      \
         - service_address: {{ address: {SERVICE}/24 }}\n"
        ),
    );
    fleet.weiche(&["apply", "place", "old=old", "--yes", "--quiet"]).expect(0);
    (hosts, fleet)
}

/// Sends the users home, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Users write while this happens, for a while before and behind it; never the same row.
fn meanwhile(lab: &Lab, begun: &AtomicU32, act: impl FnOnce()) -> Written {
    let stop = AtomicBool::new(false);
    begun.fetch_add(1, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let users = scope.spawn(|| write(lab, &stop, begun));
        let stop = Stop(&stop);
        let more = |rows: u32| {
            let from = begun.load(Ordering::Relaxed);
            until("users have written", || begun.load(Ordering::Relaxed) >= from + rows);
        };
        more(50);
        act();
        more(100);
        drop(stop);
        users.join().expect("the users")
    })
}

#[test]
fn users_write_on_while_a_server_is_swapped() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("users_write_on_while_a_server_is_swapped", &why);
    }
    let lab = Lab::new("cutover");
    let (hosts, fleet) = town(&lab);
    let [old, new] = hosts.as_slice() else { unreachable!("two hosts") };
    playbook(&fleet, "swap", true);
    let swap = ["apply", "swap", "old=old", "new=new", "--yes"];
    let rows_begun = AtomicU32::new(0);
    let mut said = String::new();
    let written = meanwhile(&lab, &rows_begun, || said = fleet.weiche(&swap).expect(0).stderr);
    eprintln!("{} rows, the slowest after {:?}\n{said}", written.acknowledged.len(), written.slowest);
    assert_eq!(written.failed, Vec::<String>::new(), "{said}");
    let lost: Vec<u32> = written.acknowledged.difference(&rows(new)).copied().collect();
    assert_eq!(lost, Vec::<u32>::new(), "acknowledged, and not on the new server");
    assert!(rows(new).len() > rows(old).len(), "the new server has gone on");
    assert!(said.contains("rathaus/rows: "), "{said}");

    // Back it does not go by itself: what was written since would be lost. That is said, and users write on.
    let mut said = String::new();
    let more = meanwhile(&lab, &rows_begun, || said = fleet.weiche(&["rollback", "latest"]).expect(4).stderr);
    assert!(said.contains("rathaus/new: STUCK: step cutover.2: replica /srv/rows/** was changed since"), "{said}");
    assert!(said.contains("rathaus/old: STUCK: rathaus/new is stuck, so what came before it stays as well"), "{said}");
    assert_eq!(more.failed, Vec::<String>::new());
    assert!(rows(new).is_superset(&more.acknowledged));
    // Who wants it all the same keeps a copy, and users notice nothing of it.
    let back = ["rollback", "latest", "--take-back-anyway"];
    let written = meanwhile(&lab, &rows_begun, || drop(fleet.weiche(&back).expect(0)));
    assert_eq!(written.failed, Vec::<String>::new());
    assert!(rows(old).contains(written.acknowledged.last().expect("rows")), "the old server has gone on");
}

#[test]
fn without_a_freeze_writes_are_lost() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("without_a_freeze_writes_are_lost", &why);
    }
    let lab = Lab::new("no-freeze");
    let (hosts, fleet) = town(&lab);
    playbook(&fleet, "swap", false);
    let swap = ["apply", "swap", "old=old", "new=new", "--yes", "--quiet"];
    let rows_begun = AtomicU32::new(0);
    let written = meanwhile(&lab, &rows_begun, || drop(fleet.weiche(&swap).expect(0)));
    let lost = written.acknowledged.difference(&rows(&hosts[1])).count();
    assert!(lost > 0, "{} requests failed, but nothing was lost", written.failed.len());
}
