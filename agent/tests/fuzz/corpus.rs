//! Inputs that are always tried, and the ways in which bytes are damaged.
//!
//! A corpus is `tests/corpus/NAME/`: small files, one input each, the names say what they are. An input that was once
//! too much for the code is put there.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

/// All inputs of a corpus of this crate, with their names, in their order.
pub(crate) fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus {name} is empty");
    let file =
        |path: std::path::PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
    files.into_iter().map(file).collect()
}

/// One thing that happens to bytes.
#[derive(Clone, Debug)]
pub(crate) enum Damage {
    /// A byte becomes another.
    Byte(Index, u8),
    /// Some bytes become zeros or ones, as a sector that was never written reads.
    Run(Index, usize, bool),
    /// The rest is missing.
    Cut(Index),
    /// A part is missing.
    Gap(Index, usize),
    /// A part is there twice.
    Twice(Index, usize),
    /// Something is put between.
    Insert(Index, Vec<u8>),
}

/// Any damage.
pub(crate) fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        6 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        1 => (at(), 1..64_usize, any::<bool>()).prop_map(|(at, n, ones)| Damage::Run(at, n, ones)),
        1 => at().prop_map(Damage::Cut),
        2 => (at(), 1..64_usize).prop_map(|(at, n)| Damage::Gap(at, n)),
        2 => (at(), 1..64_usize).prop_map(|(at, n)| Damage::Twice(at, n)),
        2 => (at(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, new)| Damage::Insert(at, new)),
    ]
}

impl Damage {
    /// Does it.
    pub(crate) fn happen(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let len = bytes.len();
        let range = |at: &Index, n: usize| at.index(len)..(at.index(len) + n).min(len);
        match self {
            Damage::Byte(at, byte) => bytes[at.index(len)] = *byte,
            Damage::Run(at, n, ones) => bytes[range(at, *n)].fill(if *ones { 0xff } else { 0 }),
            Damage::Cut(at) => bytes.truncate(at.index(len)),
            Damage::Gap(at, n) => drop(bytes.drain(range(at, *n))),
            Damage::Twice(at, n) => {
                let part = bytes[range(at, *n)].to_vec();
                bytes.splice(at.index(len)..at.index(len), part);
            }
            Damage::Insert(at, new) => drop(bytes.splice(at.index(len)..at.index(len), new.iter().copied())),
        }
    }
}

/// So many cases, or `WEICHE_FUZZ_TIMES` times as many, of which none is remembered: what fails is put into the corpus by
/// hand.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let times = std::env::var("WEICHE_FUZZ_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    ProptestConfig {
        cases: cases.saturating_mul(times),
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    }
}
