//! What the operating system does not let us change is a clear fault (place, cause, hint), and the host is as it was.

use std::fs;

use serde_json::json;
use weiche_agent::fault::{Fault, FaultCode};
use weiche_tests::disk::{self, Disk, alone};

use crate::bench::{Bench, assert_same, file};

const NEW: &[u8] = b"new\n";

/// Applies one change that must fail, after one that succeeds; nothing may remain of either.
#[track_caller]
fn refused(bench: &Bench, path: &str, content: &[u8], code: FaultCode, words: &[&str]) {
    let before = bench.manifest();
    let steps = [("file", file("/srv/before", NEW)), ("file", file(path, content))];
    let fault = bench.apply(&steps, &[NEW, content]).expect_err("it was changed");
    bench.undo();
    assert_same(&bench.manifest(), &before, &format!("{fault:?}"));
    clear(&fault, code, words);
}

#[track_caller]
fn clear(fault: &Fault, code: FaultCode, words: &[&str]) {
    let text = format!("{fault}; {}", fault.hint.as_deref().unwrap_or_default());
    assert_eq!(fault.code, code, "{text}");
    assert!(fault.hint.is_some(), "no hint: {text}");
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
}

#[test]
fn files_that_chattr_marks() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("files_that_chattr_marks", &why);
    }
    alone(|| {
        let disk = Disk::new("ext4", 32);
        let bench = Bench::new(&disk.path(), &disk.path());
        fs::create_dir(bench.at("/srv/dir")).unwrap();
        for (mark, marked, path, word) in [
            ("i", "/etc/marked", "/etc/marked", "immutable"),
            ("a", "/etc/marked", "/etc/marked", "append-only"),
            ("i", "/srv/dir", "/srv/dir/file", "immutable"),
        ] {
            fs::write(bench.at(path), "old\n").unwrap();
            disk::run("chattr", &[&format!("+{mark}"), &bench.at(marked)]);
            refused(&bench, path, NEW, FaultCode::Denied, &[path, marked, word, &format!("chattr -{mark} {marked}")]);
            disk::run("chattr", &[&format!("-{mark}"), &bench.at(marked)]);
        }
        // Metadata alone, and removal.
        disk::run("chattr", &["+i", &bench.at("/etc/marked")]);
        let before = bench.manifest();
        let mut spec = file("/etc/marked", b"old\n");
        spec["mode"] = json!("0600");
        for spec in [spec, json!({ "path": "/etc/marked", "state": "absent" })] {
            let fault = bench.apply(&[("file", spec)], &[]).expect_err("it was changed");
            clear(&fault, FaultCode::Denied, &["/etc/marked is marked immutable"]);
            bench.undo();
            assert_same(&bench.manifest(), &before, "undone");
        }
        disk::run("chattr", &["-i", &bench.at("/etc/marked")]);
    });
}

#[test]
fn a_file_system_that_is_read_only() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("a_file_system_that_is_read_only", &why);
    }
    alone(|| {
        let (disk, elsewhere) = (Disk::new("ext4", 32), Disk::tmpfs("size=4m"));
        let bench = Bench::new(&disk.path(), &elsewhere.path());
        fs::write(bench.at("/etc/file"), "old\n").unwrap();
        disk.remount("ro");
        let before = bench.manifest();
        let fault = bench.apply(&[("file", file("/etc/file", NEW))], &[NEW]).expect_err("it was changed");
        clear(&fault, FaultCode::ReadOnly, &["/etc/file", "for writing"]);
        bench.undo();
        assert_same(&bench.manifest(), &before, "undone");
    });
}

#[test]
fn a_file_system_that_is_full() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("a_file_system_that_is_full", &why);
    }
    alone(|| {
        let large = vec![b'x'; 3 << 20];
        let (disk, elsewhere) = (Disk::tmpfs("size=1m"), Disk::tmpfs("size=8m"));
        let bench = Bench::new(&disk.path(), &elsewhere.path());
        fs::write(bench.at("/etc/file"), "old\n").unwrap();
        refused(&bench, "/etc/file", &large, FaultCode::NoSpace, &["/etc/file", "make room"]);

        // The old content cannot be kept: nothing is changed at all.
        let (disk, elsewhere) = (Disk::tmpfs("size=8m"), Disk::tmpfs("size=1m"));
        let bench = Bench::new(&disk.path(), &elsewhere.path());
        fs::write(bench.at("/etc/file"), &large).unwrap();
        refused(&bench, "/etc/file", NEW, FaultCode::NoSpace, &["state/runs", "make room"]);
    });
}

#[test]
fn a_quota_that_is_exceeded() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("a_quota_that_is_exceeded", &why);
    }
    alone(|| {
        // Quotas of users do not bind root; those of btrfs's subvolumes bind everyone.
        let (disk, elsewhere) = (Disk::new("btrfs", 128), Disk::tmpfs("size=16m"));
        let at = disk.path();
        let at = at.to_str().unwrap();
        disk::run("btrfs", &["quota", "enable", at]);
        disk::run("btrfs", &["subvolume", "create", &format!("{at}/root")]);
        disk::run("btrfs", &["qgroup", "limit", "2m", &format!("{at}/root")]);
        let bench = Bench::new(&disk.path(), &elsewhere.path());
        fs::write(bench.at("/etc/file"), "old\n").unwrap();
        let large: Vec<u8> = (0..4_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        refused(&bench, "/etc/file", &large, FaultCode::NoSpace, &["/etc/file", "quota"]);
    });
}

#[test]
fn a_group_of_hard_links_that_could_not_be_put_back() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("a_group_of_hard_links_that_could_not_be_put_back", &why);
    }
    alone(|| {
        let (disk, elsewhere) = (Disk::new("ext4", 32), Disk::tmpfs("size=4m"));
        let bench = Bench::new(&disk.path(), &elsewhere.path());
        fs::write(bench.at("/etc/file"), "old\n").unwrap();
        fs::hard_link(bench.at("/etc/file"), bench.at("/etc/other")).unwrap();
        refused(&bench, "/etc/file", NEW, FaultCode::Irreversible, &["/etc/file", "hard links", "same file system"]);
    });
}

#[test]
fn a_name_that_is_not_possible() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("a_name_that_is_not_possible", &why);
    }
    alone(|| {
        let disk = Disk::new("ext4", 32);
        let bench = Bench::new(&disk.path(), &disk.path());
        let before = bench.manifest();
        let name = format!("/etc/{}\n", "x".repeat(300));
        let fault = bench.apply(&[("file", file(&name, NEW))], &[NEW]).expect_err("it was made");
        let text = fault.to_string();
        assert!(!text.contains('\n') && text.contains("too long"), "{text}");
        bench.undo();
        assert_same(&bench.manifest(), &before, "undone");
    });
}
