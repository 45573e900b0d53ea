//! What is replaced and taken back is as it was: contents, metadata, names, holes.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use weiche_agent::digest::Digest;
use weiche_tests::disk::{self, Disk, alone};

use crate::bench::{Bench, assert_same, file};

const NEW: &[u8] = b"new\n";

/// A capability that the file `/etc/tool` has.
const CAPABILITY: &str = "cap_net_raw=ep";

/// Every sort of entry with every sort of metadata.
fn seed(bench: &Bench) {
    let write = |path: &str, mode: u32| {
        let path = bench.at(path);
        fs::write(&path, format!("content of {path}\n")).unwrap();
        chown(&path, Some(1234), Some(2345)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let tool = write("/etc/tool", 0o6755);
    disk::run("setcap", &[CAPABILITY, &tool]);
    // chown and setcap clear the setuid bit.
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o6755)).unwrap();
    for (name, value) in [("user.note", "0x00ff0a"), ("trusted.note", "0x74"), ("security.selinux", "0x6c6162656c00")] {
        disk::run("setfattr", &["-n", name, "-v", value, &tool]);
    }
    disk::run("setfacl", &["-m", "u:1234:r-x,g:55:---", &write("/etc/acl", 0o640)]);
    write("/etc/plain", 0o600);
    write("/etc/gone", 0o444);
    write("/etc/becomes-link", 0o1644);
    write("/etc/becomes-directory", 0o2640);
    write("/etc/new\nline", 0o644);
    symlink(std::ffi::OsStr::from_bytes(b"no\xffwhere"), bench.at("/etc/link")).unwrap();
    lchown(bench.at("/etc/link"), Some(1234), Some(2345)).unwrap();
    disk::run("setfattr", &["-h", "-n", "trusted.note", "-v", "0x6c", &bench.at("/etc/link")]);
    disk::run("touch", &["-h", "-d", "2001-02-03T04:05:06.789", &bench.at("/etc/link")]);
    fs::create_dir(bench.at("/srv/empty")).unwrap();
    fs::set_permissions(bench.at("/srv/empty"), fs::Permissions::from_mode(0o3770)).unwrap();
    disk::run("setfacl", &["-m", "d:u:1234:rwx", &bench.at("/srv/empty")]);
    fs::hard_link(write("/etc/one-of-two", 0o640), bench.at("/srv/the-other")).unwrap();
    fs::hard_link(write("/etc/both-a", 0o640), bench.at("/etc/both-b")).unwrap();
    let image = File::create(bench.at("/srv/image")).unwrap();
    for at in [0, 5 << 20, (9 << 20) + 512] {
        image.write_all_at(b"data", at).unwrap();
    }
    image.set_len(16 << 20).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    for name in ["/etc/tool", "/etc/acl", "/etc/plain", "/etc/one-of-two", "/srv/image", "/etc/both-a"] {
        File::options().write(true).open(bench.at(name)).unwrap().set_modified(old).unwrap();
    }
}

/// Replaces all of it.
fn steps() -> Vec<(&'static str, Value)> {
    let with_mode = |path, mode| {
        let mut spec = file(path, NEW);
        spec["mode"] = mode;
        spec
    };
    vec![
        ("file", with_mode("/etc/tool", json!("0700"))),
        ("file", with_mode("/etc/acl", json!("0600"))),
        ("file", with_mode("/etc/plain", json!("4711"))),
        ("file", json!({ "path": "/etc/gone", "state": "absent" })),
        ("file", file("/etc/new\nline", NEW)),
        ("file", file("/etc/link", NEW)),
        ("file", file("/srv/empty", NEW)),
        ("file", file("/etc/one-of-two", NEW)),
        ("file", file("/etc/both-a", NEW)),
        ("file", json!({ "path": "/etc/both-b", "state": "absent" })),
        ("file", file("/srv/image", NEW)),
        ("symlink", json!({ "path": "/etc/becomes-link", "target": "plain" })),
        ("file", json!({ "path": "/etc/becomes-directory", "state": "absent" })),
        ("file", file("/srv/was-not-there", NEW)),
    ]
}

#[test]
fn everything_about_a_file_comes_back() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("everything_about_a_file_comes_back", &why);
    }
    for (kind, megabytes) in [("ext4", 64), ("xfs", 320), ("btrfs", 128)] {
        alone(|| {
            let disk = Disk::new(kind, megabytes);
            let bench = Bench::new(&disk.path(), &disk.path());
            seed(&bench);
            let before = bench.manifest();
            for telling in ["one of 2 names", "sparse", "security.capability", "posix_acl_default", "no\\xFFwhere"] {
                assert!(before.contains(telling), "{kind}: the test's own seed lacks {telling}: {before}");
            }
            bench.apply(&steps(), &[NEW]).unwrap_or_else(|fault| panic!("{kind}: {fault}"));
            let after = bench.manifest();
            let shared = |line: &&str| line.starts_with("\"etc/") && line.contains("names of");
            assert!(!after.contains("sparse") && after.lines().find(shared).is_none(), "{kind}: {after}");
            assert_eq!(fs::read(bench.at("/etc/new\nline")).unwrap(), NEW);
            bench.undo();
            assert_same(&bench.manifest(), &before, kind);
            let capability = disk::run("getcap", &[&bench.at("/etc/tool")]);
            assert!(capability.contains(CAPABILITY), "{kind}: {capability}");
        });
    }
}

#[test]
fn a_file_becomes_a_directory_and_a_file_again() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("a_file_becomes_a_directory_and_a_file_again", &why);
    }
    alone(|| {
        let disk = Disk::new("ext4", 32);
        let bench = Bench::new(&disk.path(), &disk.path());
        seed(&bench);
        let before = bench.manifest();
        // Directories do not replace files of themselves; a procedure says so in two steps.
        let absent = json!({ "path": "/etc/becomes-directory", "state": "absent" });
        let directory = json!({ "path": "/etc/becomes-directory", "mode": "0750" });
        let replaced = bench.apply(&[("file", absent), ("directory", directory)], &[]);
        replaced.unwrap_or_else(|fault| panic!("{fault}"));
        assert!(Path::new(&bench.at("/etc/becomes-directory")).is_dir());
        bench.undo();
        assert_same(&bench.manifest(), &before, "undone");
    });
}

#[test]
fn metadata_alone_is_changed_in_place_for_all_names() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("metadata_alone_is_changed_in_place_for_all_names", &why);
    }
    alone(|| {
        let disk = Disk::new("ext4", 32);
        // Nothing need be kept, so that the state directory may be elsewhere.
        let elsewhere = Disk::tmpfs("size=4m");
        let bench = Bench::new(&disk.path(), &elsewhere.path());
        seed(&bench);
        let before = bench.manifest();
        let mut spec = file("/etc/one-of-two", &fs::read(bench.at("/etc/one-of-two")).unwrap());
        spec["mode"] = json!("0604");
        bench.apply(&[("file", spec)], &[]).unwrap_or_else(|fault| panic!("{fault}"));
        let mode = fs::metadata(bench.at("/srv/the-other")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o604);
        bench.undo();
        assert_same(&bench.manifest(), &before, "undone");
    });
}

#[test]
fn a_tree_comes_back_with_links_holes_and_odd_names() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("a_tree_comes_back_with_links_holes_and_odd_names", &why);
    }
    alone(|| {
        let disk = Disk::new("ext4", 64);
        let bench = Bench::new(&disk.path(), &disk.path());
        seed(&bench);
        fs::write(bench.root.join(std::ffi::OsStr::from_bytes(b"srv/not\xfeUTF-8")), "x").unwrap();
        symlink("image", bench.at("/srv/link")).unwrap();
        let before = bench.manifest();
        let wanted = json!({ "manifest": null, "entries": 0, "bytes": 0 });
        let manifest = json!({ "digest": Digest::of(b""), "size": 0 });
        let spec = json!({ "path": "/srv", "wanted": wanted, "manifest": manifest });
        bench.apply(&[("replica", spec)], &[b""]).unwrap_or_else(|fault| panic!("{fault}"));
        assert!(!Path::new(&bench.at("/srv")).exists());
        bench.undo();
        assert_same(&bench.manifest(), &before, "undone");
    });
}

#[test]
fn what_a_killed_agent_left_beside_a_file_is_swept() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("what_a_killed_agent_left_beside_a_file_is_swept", &why);
    }
    alone(|| {
        let disk = Disk::new("ext4", 32);
        let bench = Bench::new(&disk.path(), &disk.path());
        seed(&bench);
        let before = bench.manifest();
        disk::run("chattr", &["+i", &bench.at("/etc/plain")]);
        bench.apply(&[("file", file("/etc/plain", NEW))], &[NEW]).expect_err("it is immutable");
        disk::run("chattr", &["-i", &bench.at("/etc/plain")]);
        // As if it had not failed, but died.
        fs::write(bench.at("/etc/.weiche-plain~"), "half of it").unwrap();
        bench.undo();
        assert_same(&bench.manifest(), &before, "undone");
    });
}

#[test]
fn what_is_open_keeps_working() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("what_is_open_keeps_working", &why);
    }
    alone(|| {
        let disk = Disk::new("ext4", 32);
        let bench = Bench::new(&disk.path(), &disk.path());
        seed(&bench);
        let old = fs::read(bench.at("/etc/plain")).unwrap();
        let mut reader = File::open(bench.at("/etc/plain")).unwrap();
        bench.apply(&[("file", file("/etc/plain", NEW))], &[NEW]).unwrap_or_else(|fault| panic!("{fault}"));
        let mut replacing = File::open(bench.at("/etc/plain")).unwrap();
        bench.undo();
        let mut seen = (Vec::new(), Vec::new());
        reader.read_to_end(&mut seen.0).unwrap();
        replacing.read_to_end(&mut seen.1).unwrap();
        assert_eq!(seen, (old, NEW.to_vec()));
    });
}
