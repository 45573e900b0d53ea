//! Archives, good and hostile.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs;
use std::io::Write as _;

use ::tar::{Builder, EntryType, Header};
use ::zip::write::SimpleFileOptions;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const SMALL: Limits = Limits { entries: 8, bytes: 10_000, ratio: 10, ratio_from: 5_000 };

fn try_unpack(place: &TempDir, bytes: &[u8], strip: u8, limits: Limits) -> Result<Entries, String> {
    let archive = place.path().join("archive");
    fs::write(&archive, bytes).unwrap();
    let cache = Cache::new(place.path());
    let unpacked = unpack(&archive, &Digest::of(bytes), strip, limits, &cache).map_err(|error| error.told());
    for entry in unpacked.iter().flat_map(Entries::values) {
        if let Entry::File { digest, size, .. } = entry {
            let content = fs::read(cache.path(digest)).unwrap();
            assert_eq!((Digest::of(&content), content.len() as u64), (digest.clone(), *size));
        }
    }
    // Nothing half-written is left, and nothing was written anywhere else.
    let names: Vec<String> =
        fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| name == "archive" || name == ".weiche"), "{names:?}");
    if let Ok(cached) = fs::read_dir(place.path().join(".weiche/cache")) {
        for entry in cached {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with(".part"), "{name}");
        }
    }
    unpacked
}

/// Name, type, mode, link target or content.
type Member<'a> = (&'a str, EntryType, u32, &'a str);

/// Name, mode with type, link target or content.
type Zipped<'a> = (&'a str, u32, &'a str);

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_cksum();
    header
}

fn tar_of(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, mode, text) in members {
        let link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let mut header = header(*kind, *mode, if link { 0 } else { text.len() as u64 });
        // As they are: the crate's own functions refuse what is hostile.
        header.as_mut_bytes()[..name.len().min(100)].copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
        if link {
            header.set_link_name_literal(text).unwrap();
        }
        header.set_cksum();
        builder.append(&header, if link { &b""[..] } else { text.as_bytes() }).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn zip_of(members: &[Zipped<'_>]) -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, mode, text) in members {
        let options = SimpleFileOptions::default().unix_permissions(*mode & 0o777);
        if mode & 0o170_000 == 0o120_000 {
            writer.add_symlink(*name, *text, options).unwrap();
        } else if name.ends_with('/') {
            writer.add_directory(*name, options).unwrap();
        } else {
            writer.start_file(*name, options).unwrap();
            writer.write_all(text.as_bytes()).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

const F: EntryType = EntryType::Regular;
const D: EntryType = EntryType::Directory;
const L: EntryType = EntryType::Symlink;
const H: EntryType = EntryType::Link;

fn file(text: &str, executable: bool) -> Entry {
    Entry::File { digest: Digest::of(text.as_bytes()), size: text.len() as u64, executable }
}

#[test]
fn every_format_comes_to_the_same() {
    let place = tempfile::tempdir().unwrap();
    let tar = tar_of(&[
        ("app/", D, 0o755, ""),
        ("app/run", F, 0o4755, "run\n"),
        ("app/doc/readme", F, 0o644, "read me\n"),
        ("app/again", H, 0o755, "./app/run"),
        ("app/link", L, 0o777, "doc/readme"),
    ]);
    let zip = zip_of(&[
        ("app/", 0o755, ""),
        ("app/run", 0o755, "run\n"),
        ("app/doc/readme", 0o644, "read me\n"),
        ("app/again", 0o755, "run\n"),
        ("app/link", 0o120_777, "doc/readme"),
    ]);
    let two_frames = [zst(&tar[..700]), b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec(), zst(&tar[700..])].concat();
    let expected = Entries::from([
        ("again".to_owned(), file("run\n", true)),
        ("doc".to_owned(), Entry::Directory),
        ("doc/readme".to_owned(), file("read me\n", false)),
        ("link".to_owned(), Entry::Symlink("doc/readme".into())),
        ("run".to_owned(), file("run\n", true)),
    ]);
    for (name, bytes) in
        [("tar", tar.clone()), ("gz", gz(&tar)), ("zst", zst(&tar)), ("zst2", two_frames), ("zip", zip)]
    {
        let entries = try_unpack(&place, &bytes, 1, LIMITS);
        assert_eq!(entries.as_ref(), Ok(&expected), "{name}");
        assert_eq!(try_unpack(&place, &bytes, 1, LIMITS), entries, "{name}, remembered");
    }
}

#[test]
fn long_names_are_read() {
    let place = tempfile::tempdir().unwrap();
    let long = "directory/".repeat(15) + "file";
    let mut builder = Builder::new(Vec::new());
    builder.append_data(&mut header(F, 0o644, 2), &long, &b"x\n"[..]).unwrap();
    builder.append_pax_extensions([("path", b"by/pax".as_slice()), ("comment", b"none")]).unwrap();
    let mut short = header(F, 0o644, 2);
    short.set_path("short").unwrap();
    short.set_cksum();
    builder.append(&short, &b"y\n"[..]).unwrap();
    let entries = try_unpack(&place, &builder.into_inner().unwrap(), 0, LIMITS).unwrap();
    assert_eq!(entries.get(&long), Some(&file("x\n", false)));
    assert_eq!(entries.get("by/pax"), Some(&file("y\n", false)));
}

#[test]
fn hostile_archives_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let large = "x".repeat(9_999);
    let many: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    let many: Vec<Member<'_>> = many.iter().map(|name| (name.as_str(), F, 0o644, "")).collect();
    #[rustfmt::skip]
    let tars: [(&str, Vec<Member<'_>>); 17] = [
        ("is absolute", vec![("/etc/passwd", F, 0o644, "x")]),
        ("has `..` in it", vec![("a/../../x", F, 0o644, "x")]),
        ("has `..` in it", vec![("..", D, 0o644, "")]),
        ("leads out", vec![("a", L, 0o777, "../x")]),
        ("is not relative", vec![("a", L, 0o777, "/etc")]),
        ("is not relative", vec![("a", L, 0o777, "")]),
        ("lies behind `a`", vec![("a", L, 0o777, "b"), ("a/x", F, 0o644, "x")]),
        ("lies behind `a`", vec![("a", F, 0o644, "b"), ("a/x", F, 0o644, "x")]),
        ("there twice", vec![("a", L, 0o777, "b"), ("a", F, 0o644, "x")]),
        ("there twice", vec![("a/x", F, 0o644, "x"), ("a", L, 0o777, "b")]),
        ("leads out", vec![("d/e", D, 0o755, ""), ("d/e/up", L, 0o777, "../.."), ("x", L, 0o777, "d/e/up/../y")]),
        ("which is no file in it", vec![("a", H, 0o644, "b")]),
        ("is absolute", vec![("a", H, 0o644, "/etc/shadow")]),
        ("is a device", vec![("a", EntryType::Char, 0o644, "")]),
        ("is a device", vec![("a", EntryType::Fifo, 0o644, "")]),
        ("is of type `S`", vec![("a", EntryType::GNUSparse, 0o644, "")]),
        ("nothing is in it", vec![]),
    ];
    for (why, members) in tars {
        let said = try_unpack(&place, &tar_of(&members), 0, LIMITS).unwrap_err();
        assert!(said.contains(why), "{members:?}: {said}");
    }
    let zips: [(&str, Vec<Zipped<'_>>); 6] = [
        ("is absolute", vec![("/etc/passwd", 0o644, "x")]),
        ("has `..` in it", vec![("../x", 0o644, "x")]),
        ("has a `\\` in it", vec![("a\\..\\x", 0o644, "x")]),
        ("leads out", vec![("a", 0o120_777, "../x")]),
        ("lies behind `a`", vec![("a", 0o120_777, "b"), ("a/x", 0o644, "x")]),
        ("there twice", vec![("a//b", 0o644, "b"), ("a/b", 0o644, "x")]),
    ];
    for (why, members) in zips {
        let said = try_unpack(&place, &zip_of(&members), 0, LIMITS).unwrap_err();
        assert!(said.contains(why), "{members:?}: {said}");
    }
    let sized = |size: &str| {
        let mut builder = Builder::new(Vec::new());
        builder.append_pax_extensions([("size", size.as_bytes())]).unwrap();
        builder.append(&header(F, 0o644, 0), &b""[..]).unwrap();
        builder.into_inner().unwrap()
    };
    let mut name = Builder::new(Vec::new());
    name.append(&header(EntryType::GNULongName, 0o644, 70_000), "x".repeat(70_000).as_bytes()).unwrap();
    let said = try_unpack(&place, &name.into_inner().unwrap(), 0, LIMITS).unwrap_err();
    assert!(said.contains("too long"), "{said}");
    let bomb = tar_of(&[("a", F, 0o644, &large)]);
    // One file's worth of bytes, many times.
    let links = tar_of(&[("a", F, 0o644, &large[..6_000]), ("b", H, 0o644, "a")]);
    let too_large = "x".repeat(10_001);
    #[rustfmt::skip]
    let others = [
        ("sizes in extended headers", sized("9999999999")),
        ("more than 8 entries", tar_of(&many)),
        ("more than 8 entries", zip_of(&(0..9).map(|n| (["0", "1", "2", "3", "4", "5", "6", "7", "8"][n], 0o644, "")).collect::<Vec<_>>())),
        ("may not", gz(&bomb)),
        ("may not", zst(&bomb)),
        ("may not", zip_of(&[("a", 0o644, &large)])),
        ("may not", tar_of(&[("a", F, 0o644, &too_large)])),
        ("file of its size may", links),
        ("cannot read it", gz(&tar_of(&[("a", F, 0o644, "x")]))[..30].to_vec()),
        ("cannot read it", b"this is no archive at all, but long enough to be looked at".repeat(20)),
        ("without an end", zip_of(&[("a", 0o644, "x")])[..30].to_vec()),
    ];
    for (why, bytes) in others {
        let said = try_unpack(&place, &bytes, 0, SMALL).unwrap_err();
        assert!(said.contains(why), "{why}: {said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is in it: an error, or entries that stay inside; bounded, and no panic.
    #[test]
    fn damaged_archives_do_no_harm(
        format in 0..4_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let place = tempfile::tempdir().unwrap();
        let members = [("d/", D, 0o755, ""), ("d/a", F, 0o755, "text text text\n"), ("l", L, 0o777, "d/a"), ("h", H, 0o644, "d/a")];
        let tar = tar_of(&members);
        let mut bytes = match format {
            0 => tar,
            1 => gz(&tar),
            2 => zst(&tar),
            _ => zip_of(&[("d/", 0o755, ""), ("d/a", 0o755, "text text text\n"), ("l", 0o120_777, "d/a")]),
        };
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(entries) = try_unpack(&place, &bytes, 0, SMALL) {
            prop_assert!(entries.keys().all(|name| super::super::listing::name(name.as_bytes()).as_deref() == Ok(name)));
        }
    }

    /// Any members at all: what is accepted has directories above everything and no link that leads out.
    #[test]
    fn any_members_stay_inside(members in prop::collection::vec(
        ("[ab.]{1,2}(/[ab.]{1,2}){0,3}", 0..4_usize, "[ab./]{1,9}"), 1..7)) {
        let place = tempfile::tempdir().unwrap();
        let members: Vec<Member<'_>> =
            members.iter().map(|(name, kind, text)| (name.as_str(), [F, D, L, H][*kind], 0o644, if *kind == 1 { "" } else { text.as_str() })).collect();
        if let Ok(entries) = try_unpack(&place, &tar_of(&members), 0, SMALL) {
            // An independent judge: the kernel, in a directory of its own.
            let root = place.path().join(".weiche/root/x");
            fs::create_dir_all(&root).unwrap();
            for (name, entry) in &entries {
                match entry {
                    Entry::Directory => fs::create_dir(root.join(name)).unwrap(),
                    Entry::File { .. } => fs::write(root.join(name), "").unwrap(),
                    Entry::Symlink(target) => std::os::unix::fs::symlink(target, root.join(name)).unwrap(),
                }
            }
            for (name, _) in entries.iter().filter(|(_, entry)| matches!(entry, Entry::Symlink(_))) {
                if let Ok(real) = root.join(name).canonicalize() {
                    prop_assert!(real.starts_with(root.canonicalize().unwrap()), "{name} leads to {real:?}");
                }
            }
        }
    }
}
