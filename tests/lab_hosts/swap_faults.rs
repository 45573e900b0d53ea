//! The worst moments of the shipped playbook `server-swap`: its controller, the new server or the line dies where the service
//! is on neither server. Users are served again by the old one, which takes the cutover back by its own clock; nothing is lost, and
//! never two servers have the address. What was built stays, so that it is tried again; at last it works, and the old server
//! is retired.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use weiche_tests::hall::users::{Users, meanwhile, one_server};
use weiche_tests::hall::{Hall, sql, swap};
use weiche_tests::lab::{HostOptions, Lab, LabHost};
use weiche_tests::until;

use crate::swap::{all_files, all_there, approved, approver};

/// What the cutover has here, by which its hosts take it back.
const WITHIN: Duration = Duration::from_secs(15);

/// What users wait beyond that.
const GRACE: Duration = Duration::from_secs(5);

/// What dies, and when.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The controller, when this step is through.
    Controller(&'static str),
    /// The controller, when users work on the new server already and nobody has confirmed that: what they write there in
    /// the meantime comes along when it is taken back.
    Unconfirmed,
    /// The new server, with a primary on it and without the address.
    NewServer,
    /// The line from the controller to both servers, then.
    Line,
}

/// Behind the freeze; behind the last round; between the promotion and the hand-over; when users are let in.
const FAULTS: [Fault; 6] = [
    Fault::Controller("cutover.1"),
    Fault::Controller("cutover.5"),
    Fault::Controller("cutover.7"),
    Fault::Unconfirmed,
    Fault::NewServer,
    Fault::Line,
];

/// Where the old server gives the address up.
const HAND_OVER: &str =
    "      - service_address: { address: \"{{old.service_address}}/{{old.service_prefix}}\", state: absent }\n";

/// Where a test can come in between.
const STOP: &str = "      - check: { command: [test, -e, /run/go] }\n        within: 60s\n        on: new\n";

/// The shipped playbook, `quick`: its hosts take the cutover back sooner, and it soaks for seconds; and `stops`, which stops
/// before the hand-over.
fn playbooks(hall: &Hall<'_>) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../playbooks/server-swap.yaml");
    let mut quick = fs::read_to_string(shipped).expect("the shipped playbook");
    for (is, instead) in
        [("playbook: server-swap", "playbook: quick"), ("within: 60s", "within: 15s"), ("hold: 2d", "hold: 2s")]
    {
        assert!(quick.contains(is), "{is}");
        quick = quick.replacen(is, instead, 1);
    }
    let stops = quick.replacen("playbook: quick", "playbook: stops", 1);
    assert!(stops.contains(HAND_OVER));
    hall.fleet.write("playbooks/quick.yaml", &quick);
    hall.fleet.write("playbooks/stops.yaml", &stops.replacen(HAND_OVER, &format!("{STOP}{HAND_OVER}"), 1));
}

#[test]
fn users_are_served_again_whatever_dies_at_the_worst_moment() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("users_are_served_again_whatever_dies_at_the_worst_moment", &why);
    }
    let lab = Lab::new("worst");
    let hosts = lab.boot_all(&["old", "new", "user"].map(HostOptions::named));
    let hall = Hall::new(&lab, &hosts);
    let Hall { old, new, fleet, .. } = &hall;
    playbooks(&hall);
    let key = approver(fleet);
    // Users come from where the controller is, but to another address.
    let route = |verb: &str| {
        for host in [old, new] {
            let to = format!("{}/32", host.address);
            let routed = lab.command("ip").args(["route", verb, "blackhole", &to]).status().expect("run ip");
            assert!(routed.success(), "ip route {verb} {to}");
        }
    };
    let [clerk, secretary] = hall.writers();
    let users = Users::default();
    let mut expected = BTreeSet::new();
    for fault in FAULTS {
        eprintln!("== {fault:?}");
        let acts = || match fault {
            Fault::Controller(step) => {
                hall.apply("quick", &["--crash-after-event", step]).expect(128 + 6);
                users.are_served();
                // It learns that its hosts have taken the cutover back.
                fleet.weiche(&["resume", "latest"]).expect(3);
            }
            Fault::Unconfirmed => {
                hall.apply("quick", &["--crash-after-event", "cutover.14"]).expect(128 + 6);
                users.are_served();
                until("the old server has it again", || sql_or(old) == "f");
                users.are_served();
                fleet.weiche(&["resume", "latest"]).expect(3);
            }
            Fault::NewServer | Fault::Line => {
                let run = fleet.start(&swap("stops"));
                until("it is promoted", || sql_or(new) == "f");
                if matches!(fault, Fault::NewServer) {
                    new.power_off();
                } else {
                    route("add");
                }
                users.are_served();
                if matches!(fault, Fault::NewServer) {
                    new.power_on();
                } else {
                    route("del");
                }
                let ended = run.end();
                // Whoever was away for longer than the controller tried is stuck to it, until it asks again.
                if ended.code == 4 && matches!(fault, Fault::Line) {
                    fleet.weiche(&["rollback", "latest"]).expect(0);
                } else {
                    ended.expect(3);
                }
            }
        };
        let written = one_server(old, new, || meanwhile(&lab, &users, acts));
        eprintln!("nothing was acknowledged for {:?}", written.gap());
        assert!(written.gap() < WITHIN + GRACE, "served again after {:?}", written.gap());
        let both = matches!(fault, Fault::Unconfirmed);
        assert_eq!(written.servers(), if both { &["old", "new", "old"][..] } else { &["old"] });
        expected.extend(written.acknowledged);
        all_there(old, &expected);
        all_files(old, &secretary.written());
    }

    // What was built is still there; and now it works. Somebody has a file open: that is told, and who it is.
    let open = OpenFile::new(&hall, "letter-1");
    let mut said = String::new();
    let there = one_server(old, new, || meanwhile(&lab, &users, || said = hall.apply("quick", &[]).expect(6).stderr));
    let told = format!("/srv/files/letter-1: scan at {} since", hall.user.address);
    assert!(said.contains("1 file is open on a share") && said.contains(&told), "{said}");
    open.ends();
    assert_eq!(there.servers(), ["old", "new"]);
    expected.extend(there.acknowledged);
    expected.extend(clerk.end().into_keys());
    let letters = secretary.end();
    all_there(new, &expected);
    all_files(new, &letters);
    retire(&hall, &key);
    all_there(new, &expected);
    all_files(new, &letters);
}

/// The end of the way back: nothing of the swap is left, and nothing follows anything.
fn retire(hall: &Hall<'_>, key: &Path) {
    let Hall { old, new, fleet, .. } = hall;
    approved(fleet, key, &["the services work", "a backup of the new server was restored on trial"]);
    // A connection that rounds shared ends by itself within a minute.
    let left = "ls -A /etc/weiche/mirror; grep -o 'weiche-mirror[^ ]*' /root/.ssh/authorized_keys
        ls -d /srv/*.weiche* /var/lib/*.weiche* /var/lib/postgresql/15/*.weiche* /var/lib/postgresql/.pgpass-standby
        systemctl list-units --all --plain --no-legend 'weiche*' | cut -d ' ' -f 1";
    // The old one holds what would come to it until it is wiped.
    let of_new = "nft list tables; grep ^host.replication.standby /etc/postgresql/15/main/pg_hba.conf
        runuser -u postgres -- psql -qXAt -c 'SELECT slot_name FROM pg_replication_slots' \
            -c \"SELECT rolname FROM pg_roles WHERE rolname = 'standby'\"";
    for (host, script) in [(old, left.to_owned()), (new, format!("{left}; {of_new}"))] {
        let left = String::from_utf8_lossy(&host.exec(&["sh", "-c", &script]).stdout).into_owned();
        assert_eq!(left, "", "{}", host.name);
    }
    assert_eq!(sql_or(old), "", "it does not run");
    assert_eq!(sql(new, "SELECT pg_is_in_recovery()"), "f");
    fleet.weiche(&["done", "latest", "rathaus/old:wipe.1"]).expect(0);
    fleet.weiche(&["resume", "latest"]).expect(0);
}

/// A file that somebody at the third host has open, over a connection that lasts.
struct OpenFile(Child);

impl OpenFile {
    fn new(hall: &Hall<'_>, name: &str) -> OpenFile {
        let mut command = hall.user.command(&["smbclient", "//192.0.2.100/ablage", "-U", "scan%geheim"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("start");
        writeln!(child.stdin.as_mut().expect("its input"), "open {name}").expect("it reads");
        until("the file is open", || hall.old.run(&["smbstatus", "-L"]).contains(name));
        OpenFile(child)
    }

    /// Its server is another one now: the connection was ended, and nobody waits for an answer over it. The client has nothing
    /// else to end for: its input is still open.
    fn ends(mut self) {
        until("the client ends", || self.0.try_wait().expect("our child").is_some());
    }
}

/// Whether a server says that it takes no writes; nothing if it says nothing.
fn sql_or(host: &LabHost) -> String {
    let argv = ["runuser", "-u", "postgres", "--", "psql", "-qXAt", "town", "-c", "SELECT pg_is_in_recovery()"];
    String::from_utf8_lossy(&host.exec(&argv).stdout).trim().to_owned()
}
