//! The worst moments of a cutover: its controller, the new server or the line dies where the service is on neither server.
//! Users are served again by the old one, which takes it back by its own clock; nothing is lost, and never two servers
//! have the address.

use std::collections::BTreeSet;
use std::time::Duration;

use weiche_tests::lab::{HostOptions, Lab};
use weiche_tests::until;

use crate::postgres::sql;
use crate::swap::{CUTOVER, Town, all_there};
use crate::users::{Users, meanwhile, one_server};

/// What a stage has, by which its hosts take it back.
const WITHIN: Duration = Duration::from_secs(15);

/// What users wait beyond that.
const GRACE: Duration = Duration::from_secs(5);

/// What dies, and when.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The controller, when this event is in the run log.
    Controller(u64),
    /// The new server, with a primary on it and without the address.
    NewServer,
    /// The line from the controller to both servers, then.
    Line,
}

#[test]
fn users_are_served_again_whatever_dies_at_the_worst_moment() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("users_are_served_again_whatever_dies_at_the_worst_moment", &why);
    }
    let lab = Lab::new("worst");
    let hosts = lab.boot_all(&["old", "new", "user"].map(HostOptions::named));
    let town = Town::new(&lab, &hosts);
    let Town { old, new, fleet, .. } = &town;
    let cutover = CUTOVER.replace("within: 60s", "within: 15s");
    // Where a test can come in between: the database is promoted, the address not yet moved.
    let handover = "      - service_address: { address: \"192.0.2.100/24\", state: absent }\n";
    let gate = "      - check: { command: [test, -e, /run/go] }\n        within: 60s\n        on: new\n";
    fleet.write("playbooks/cutover.yaml", &cutover);
    let stops =
        cutover.replacen("playbook: cutover", "playbook: stops", 1).replacen(handover, &format!("{gate}{handover}"), 1);
    fleet.write("playbooks/stops.yaml", &stops);
    // Users come from where the controller is, but to another address.
    let route = |verb: &str| {
        for host in [old, new] {
            let to = format!("{}/32", host.address);
            let routed = lab.command("ip").args(["route", verb, "blackhole", &to]).status().expect("run ip");
            assert!(routed.success(), "ip route {verb} {to}");
        }
    };
    let writes = town.clerk_begins();
    let users = Users::default();
    let mut expected = BTreeSet::new();
    for fault in [Fault::Controller(7), Fault::Controller(9), Fault::Controller(10), Fault::NewServer, Fault::Line] {
        eprintln!("== {fault:?}");
        let acts = || match fault {
            Fault::Controller(event) => {
                let dies = town.apply("cutover", &["--crash-after-event", &event.to_string()]);
                assert!(![0, 2, 3, 4].contains(&dies.code), "it lives: {}", dies.stderr);
                users.are_served();
            }
            Fault::NewServer | Fault::Line => {
                let run = fleet.start(&["apply", "stops", "old=rathaus/old", "new=rathaus/new", "--yes", "--quiet"]);
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
                assert!(![0, 2].contains(&ended.code), "it is through: {}", ended.stderr);
            }
        };
        let written = one_server(old, new, || meanwhile(&lab, &users, acts));
        eprintln!("nothing was acknowledged for {:?}", written.gap());
        assert!(written.gap() < WITHIN + GRACE, "served again after {:?}", written.gap());
        assert_eq!(written.servers(), ["old"]);
        expected.extend(written.acknowledged);
        let settled = fleet.weiche(&["rollback", "latest"]);
        assert!([0, 1].contains(&settled.code), "{}", settled.stderr);
        all_there(old, &expected);
        if matches!(fault, Fault::Controller(9)) {
            a_strayed_server_is_not_promoted(&town);
            all_there(old, &expected);
        }
        // And the next attempt has a standby that follows.
        let again = town.apply("build", &[]).expect(0);
        until("the new server follows", || sql(old, "SELECT state FROM pg_stat_replication") == "streaming");
        drop(again);
    }
    town.clerk_ends(writes);
    expected.extend(town.clerk().into_keys());
    all_there(old, &expected);
    town.apply("cutover", &[]).expect(0);
    all_there(new, &expected);
}

/// A server whose promotion was taken back has a log of its own, which may even be longer than the other's and end with a
/// clean stop: that proves nothing.
fn a_strayed_server_is_not_promoted(town: &Town<'_>) {
    let Town { old, new, fleet, .. } = town;
    let signal = "/var/lib/postgresql/15/main/standby.signal";
    new.run(&[
        "sh",
        "-c",
        &format!("systemctl stop postgresql@15-main && rm {signal} && systemctl start postgresql@15-main"),
    ]);
    sql(new, "CREATE TABLE nobodys AS SELECT generate_series(1, 100000)");
    let touch = format!("install -o postgres -g postgres -m 600 /dev/null {signal}");
    new.run(&[
        "sh",
        "-c",
        &format!("systemctl stop postgresql@15-main && {touch} && systemctl start postgresql@15-main"),
    ]);
    // The other one answers.
    let step = "postgres_server: { cluster: 15/main, mode: primary, caught_up_within: 1s }";
    fleet.write(
        "playbooks/promote.yaml",
        &format!("playbook: promote\ninputs: {{ old: host, new: host }}\nstages:\n  - stage: s\n    on: new\n    steps:\n      - {step}\n"),
    );
    let said = town.apply("promote", &[]).expect(3).stderr;
    assert!(said.contains("the other server runs, and this one does not stream from it"), "{said}");
    // It does not.
    let patient = CUTOVER.replacen("playbook: cutover", "playbook: patient", 1);
    fleet.write("playbooks/patient.yaml", &patient.replace("mode: primary }", "mode: primary, caught_up_within: 1s }"));
    let said = town.apply("patient", &[]).expect(3).stderr;
    assert!(said.contains("may be missing here"), "{said}");
    assert_eq!((sql_or(old), sql_or(new)), ("f".to_owned(), "t".to_owned()));
}

/// Whether a server says that it takes no writes; nothing if it says nothing.
fn sql_or(host: &weiche_tests::lab::LabHost) -> String {
    let argv = ["runuser", "-u", "postgres", "--", "psql", "-qXAt", "town", "-c", "SELECT pg_is_in_recovery()"];
    String::from_utf8_lossy(&host.exec(&argv).stdout).trim().to_owned()
}
