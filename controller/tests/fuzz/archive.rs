//! Archives, each in the memory that the formats need. What is in good and hostile ones is tried in
//! `content/unpack/tests.rs`; here it is what they cost, and those that were once too much.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs;
use std::io::Write as _;

use proptest::prelude::*;
use tempfile::TempDir;
use weiche::content::cache::Cache;
use weiche::content::unpack::{Limits, unpack};
use weiche_agent::digest::Digest;

use super::corpus::{cases, corpus, damage};
use super::heap;

const SMALL: Limits = Limits { entries: 100, bytes: 1 << 20, ratio: 250, ratio_from: 256 << 10 };

/// What an archive may cost, whatever it says of itself: buffers, a deflate window, the listing; a zstd window can be
/// as large as what is unpacked, or as a frame declares, up to 128 MiB, and is doubled while it grows.
const BOUND: usize = 8 << 20;

/// The same with a zstd window.
const BOUND_ZST: usize = 300 << 20;

fn is_zst(bytes: &[u8]) -> bool {
    bytes.get(1..4) == Some(&[0xb5, 0x2f, 0xfd]) || bytes.get(1..4) == Some(&[0x2a, 0x4d, 0x18])
}

/// Unpacks it; whether it was accepted.
fn unpacks(place: &TempDir, name: &str, bytes: &[u8], limits: Limits) -> bool {
    let archive = place.path().join("archive");
    fs::write(&archive, bytes).unwrap();
    let (cache, digest) = (Cache::new(place.path()), Digest::of(bytes));
    let bound = if is_zst(bytes) { BOUND_ZST } else { BOUND };
    let unpacked = heap::within(bound, name, || unpack(&archive, &digest, 0, limits, &cache));
    if let Ok(entries) = &unpacked {
        assert!(entries.len() <= 2 * limits.entries, "{name}: {} entries", entries.len());
        assert!(entries.keys().all(|name| !name.starts_with('/') && name.split('/').all(|part| part != "..")));
    }
    let around = fs::read_dir(place.path()).unwrap().count();
    assert!(around <= 2, "{name} has left something besides the cache");
    unpacked.is_ok()
}

#[test]
fn the_corpus_is_read() {
    let place = tempfile::tempdir().unwrap();
    for (name, bytes) in corpus("archive") {
        assert_eq!(unpacks(&place, &name, &bytes, SMALL), name.starts_with("good"), "{name}");
    }
}

/// Contents are streamed: what is allowed costs no more memory than what is refused.
#[test]
fn a_large_content_costs_no_memory() {
    let place = tempfile::tempdir().unwrap();
    let zeros = vec![0; 32 << 20];
    let mut header = tar::Header::new_gnu();
    header.set_size(zeros.len() as u64);
    header.set_mode(0o644);
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(gz);
    builder.append_data(&mut header, "zeros", zeros.as_slice()).unwrap();
    let gz = builder.into_inner().unwrap().finish().unwrap();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("zeros", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(&zeros).unwrap();
    let zip = zip.finish().unwrap().into_inner();
    drop(zeros);
    let large = Limits { entries: 1, bytes: 64 << 20, ratio: 1, ratio_from: 64 << 20 };
    for (name, bytes) in [("zeros in tar", gz), ("zeros in zip", zip)] {
        assert!(unpacks(&place, name, &bytes, large), "{name}");
        assert!(!unpacks(&tempfile::tempdir().unwrap(), name, &bytes, SMALL), "{name}");
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn damaged_archives_stay_in_their_bound(which in any::<prop::sample::Index>(), damages in prop::collection::vec(damage(), 1..5)) {
        let place = tempfile::tempdir().unwrap();
        let good: Vec<_> = corpus("archive").into_iter().filter(|(name, _)| name.starts_with("good")).collect();
        let (name, mut bytes) = good[which.index(good.len())].clone();
        damages.iter().for_each(|damage| damage.happen(&mut bytes));
        unpacks(&place, &name, &bytes, SMALL);
    }
}
