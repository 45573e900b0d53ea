//! The shipped playbook `server-swap`, whole: a server with files, a database and a web application changes its hardware
//! while users write rows over HTTP, fifty a second, others straight into PostgreSQL, and others files over SMB. They write
//! on through the way back. Nothing that was acknowledged is lost or there twice, and nobody is refused: with patience all are served.

use std::collections::{BTreeMap, BTreeSet};

use weiche_tests::hall::users::{Users, meanwhile, one_server};
use weiche_tests::hall::{Hall, sql};
use weiche_tests::lab::{HostOptions, Lab, LabHost};

use crate::fleet::assert_same;
use crate::swap::{all_files, all_there, figures, traces, unwritten};

/// How often it goes there and back without users besides: not at all, or as often as there is time for it.
fn times() -> u32 {
    std::env::var("WEICHE_SWAPS").map_or(0, |text| text.parse().expect("WEICHE_SWAPS is a number"))
}

/// What is there beside users' data.
fn residue(host: &LabHost) -> String {
    let text = traces(host);
    let own = |line: &&str| !line.contains(" /srv") && !line.starts_with("/srv");
    text.lines().filter(own).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_server_with_files_rows_and_a_database_is_swapped_and_nobody_notices() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_server_with_files_rows_and_a_database_is_swapped_and_nobody_notices", &why);
    }
    let lab = Lab::alone("server-swap");
    let hosts = lab.boot_all(&["old", "new", "user"].map(HostOptions::named));
    let hall = Hall::new(&lab, &hosts);
    let Hall { old, new, fleet, .. } = &hall;
    let before = [residue(old), traces(new)];
    let is_as_before = |what: &str| {
        assert_same(&residue(old), &before[0], &format!("the old server {what}"));
        assert_same(&traces(new), &before[1], &format!("the new server {what}"));
    };
    let [clerk, secretary] = hall.writers();
    let users = Users::default();
    let mut said = String::new();

    // There, and it waits while it soaks.
    let swap = || said = hall.apply("server-swap", &[]).expect(6).stderr;
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
    let rollback = || said = fleet.weiche(&["rollback", "latest"]).expect(0).stderr;
    let back = one_server(old, new, || meanwhile(&lab, &users, rollback));
    figures("back", &back, &[later(clerk.written(), &rows), later(secretary.written(), &letters)]);
    back.few_lost_patience(&said);
    assert_eq!(back.servers(), ["new", "old"], "{said}");

    let mut expected: BTreeSet<u32> = clerk.end().into_keys().chain(2_000_001..=2_010_000).collect();
    expected.extend(there.acknowledged.union(&back.acknowledged));
    all_there(old, &expected);
    let refused = unwritten(&hall, &secretary);
    assert!(refused.is_empty(), "files that were not acknowledged: {refused}");
    let mut letters = secretary.end();
    letters.extend((500_000..=500_100).map(|number| (number, 0)));
    all_files(old, &letters);
    is_as_before("is back");

    for number in 1..=times() {
        hall.apply("server-swap", &[]).expect(6);
        sql(new, &format!("INSERT INTO row VALUES ({})", 3_000_000 + number));
        fleet.weiche(&["rollback", "latest"]).expect(0);
        expected.insert(3_000_000 + number);
        is_as_before(&format!("after swap {number}"));
    }
    all_there(old, &expected);
    all_files(old, &letters);
}
