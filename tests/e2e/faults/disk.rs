//! Full disks, at every point: of a host's agent, and of the controller's run log. The disk has room for a little more in
//! every round, until there is enough; in each, hosts are new or exactly as they were, and what is full is said.

use std::fs;
use std::io::{ErrorKind, Write};

use weiche_tests::disk::{self, Disk};
use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;

use super::{apply, file, noted, playbook, take_notes};

/// Fills the disk but for so many KiB.
fn leave(disk: &Disk, kib: u64) {
    let path = disk.path().join("filler");
    let mut filler = fs::File::create(path).unwrap();
    let zeros = [0; 4096];
    loop {
        match filler.write(&zeros) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => break,
            Err(error) => panic!("{error}"),
        }
    }
    let size = filler.metadata().unwrap().len();
    filler.set_len(size.saturating_sub(kib << 10)).unwrap();
}

fn make_room(disk: &Disk) {
    fs::remove_file(disk.path().join("filler")).unwrap();
}

fn available(test: &str) -> bool {
    let why = Sshd::available().and_then(|()| disk::available());
    if let Err(why) = &why {
        weiche_tests::skip(test, why);
    }
    why.is_ok()
}

/// A town with one host whose agent keeps what it has to remember on this disk. The agent itself is there already.
fn town(disk: &Disk, steps: impl Fn(&Town) -> Vec<String>) -> Town {
    let town = Town::new(&["a"]);
    playbook(&town, &[("s", &[], &steps(&town))]);
    let path = town.fleet().join("members/rathaus.yaml");
    let member = fs::read_to_string(&path).unwrap();
    let [ours, full] = [town.state("a"), disk.path()].map(|path| format!("{path:?}"));
    assert!(member.contains(&ours));
    fs::write(path, member.replace(&ours, &full)).unwrap();
    // What users have is larger than what takes its place.
    fs::write(town.root("a").join("etc/large"), "0123456789abcdef".repeat(5000)).unwrap();
    town.weiche(&["plan", "x", "hosts=all"]).expect(2);
    town
}

/// Applies with more and more room until there is enough; returns what the command has noted in each round before.
fn more_and_more(disk: &Disk, town: &Town) -> Vec<Vec<String>> {
    let before = town.manifest("a");
    let mut refused = Vec::new();
    for kib in (0..).step_by(8) {
        assert!(kib < 1024, "it never has enough");
        leave(disk, kib);
        let ran = town.weiche(&apply(&[]));
        make_room(disk);
        if ran.code == 0 {
            break;
        }
        assert!(matches!(ran.code, 1 | 3 | 7), "{kib} KiB: {ran:?}");
        let said = ["No space left", "is full"].iter().any(|text| ran.stderr.contains(text));
        assert!(said && ran.stderr.contains("make room"), "{kib} KiB: {}", ran.stderr);
        assert!(ran.stderr.contains(&disk.path().display().to_string()), "{kib} KiB: {}", ran.stderr);
        assert_eq!(town.manifest("a"), before, "{kib} KiB");
        refused.push(take_notes(town, "a", "s"));
    }
    assert_ne!(town.manifest("a"), before);
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifest("a"), before);
    refused
}

#[test]
fn a_disk_too_full_for_the_journal_is_said_before_anything_changes() {
    if !available("a_disk_too_full_for_the_journal_is_said_before_anything_changes") {
        return;
    }
    disk::alone(|| {
        let disk = Disk::tmpfs("size=64m");
        let town = town(&disk, |town| vec![file("/etc/motd"), noted(town, "s")]);
        let noted = more_and_more(&disk, &town);
        assert!(noted.len() > 3 && noted.iter().all(Vec::is_empty), "{noted:?}");
    });
}

#[test]
fn a_disk_too_full_for_what_an_undo_needs_takes_back_what_was_done_before() {
    if !available("a_disk_too_full_for_what_an_undo_needs_takes_back_what_was_done_before") {
        return;
    }
    disk::alone(|| {
        let disk = Disk::tmpfs("size=64m");
        let town = town(&disk, |town| vec![noted(town, "s"), file("/etc/large"), file("/etc/motd")]);
        let noted = more_and_more(&disk, &town);
        assert!(noted.iter().any(Vec::is_empty) && noted.iter().any(|notes| *notes == ["do", "undo"]), "{noted:?}");
        assert!(noted.iter().all(|notes| notes.is_empty() || *notes == ["do", "undo"]), "{noted:?}");
    });
}

#[test]
fn a_run_log_on_a_full_disk_stops_the_run_loudly_and_loses_nothing() {
    if !available("a_run_log_on_a_full_disk_stops_the_run_loudly_and_loses_nothing") {
        return;
    }
    disk::alone(|| {
        let hosts = ["a", "b"];
        let disk = Disk::tmpfs("size=8m");
        let town = Town::new(&hosts);
        let steps = |stage| [file(&format!("/etc/{stage}")), noted(&town, stage)];
        playbook(&town, &[("s", &["waves: [1, rest]"], &steps("s")), ("t", &["guard: 10m"], &steps("t"))]);
        let store = disk.path().join("weiche.db");
        let store = store.to_str().unwrap();
        let on = |arguments: &[&str]| town.weiche(&[&["--store", store], arguments].concat());
        let before = town.manifests(&hosts);
        on(&["status"]).expect(0);
        let (mut in_vain, mut in_the_middle) = (0, 0);
        for kib in (0..).step_by(4) {
            assert!(kib < 4096, "it never has enough");
            leave(&disk, kib);
            let ran = on(&apply(&[]));
            make_room(&disk);
            let runs = on(&["status"]).expect(0).stdout;
            // Also one that is through, but could not say so any more.
            let is_open = |line: &&str| line.contains("cut off there") || line.ends_with(" done");
            let open = runs.lines().find(|line| ran.code != 0 && is_open(line));
            if ran.code != 0 {
                assert!(matches!(ran.code, 1 | 4), "{kib} KiB: {ran:?}");
                assert!(ran.stderr.contains("the disk that holds the run log"), "{kib} KiB: {}", ran.stderr);
            }
            match open.and_then(|line| line.split_whitespace().next()) {
                None if ran.code == 0 => break,
                None => in_vain += 1,
                Some(run) => {
                    in_the_middle += 1;
                    if in_the_middle % 2 == 0 && !runs.lines().any(|line| line.ends_with(" done")) {
                        on(&["resume", run]).expect(0);
                        assert_ne!(town.manifests(&hosts), before, "{kib} KiB");
                    }
                    on(&["rollback", run]).expect(0);
                }
            }
            assert_eq!(town.manifests(&hosts), before, "{kib} KiB");
            for (host, stage) in hosts.iter().flat_map(|host| ["s", "t"].map(|stage| (host, stage))) {
                let notes = take_notes(&town, host, stage);
                assert!(notes.iter().filter(|note| *note == "do").count() <= 1, "{kib} KiB: {notes:?}");
            }
        }
        assert!(in_vain > 0 && in_the_middle > 1, "{in_vain} {in_the_middle}");
        on(&["rollback", "latest"]).expect(0);
        assert_eq!(town.manifests(&hosts), before);
    });
}
