//! The seeds: ten thousand, those that once failed, and one on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use weiche::rollout::{Happening, Outcome};

use crate::world::World;

/// Seeds that once failed, and why.
const FAILED: &[(u64, &str)] = &[
    (56, "the run ended while a late host waited for a person"),
    (74, "a late host left out a stage without `offline`"),
    (80, "a late host began a stage while it waited for a person in the one before"),
    (116, "rolled back, said the run, and a late host waited half-way"),
    (964, "a host that was begun when it was switched off was given up as never begun"),
    (2190, "a question was taken for asked and never sent, because another host was given up at that moment"),
    (2334, "a host switched off in the middle of a stage stayed half-way when a later stage was taken back"),
    (7302, "the same with a rollback of the wave"),
    (8562, "whoever resumed ended the run though a late host was not confirmed yet"),
    (8836, "a late host waited half-way for a person"),
    (22116, "whoever resumed forgot that a late host was given up in the middle of a stage"),
    (27128, "the same, and it was new"),
    (42638, "a late host's failure did not count in its wave"),
    (45466, "the same in a later stage"),
    (21695, "a host that was taken back half-way went on when another stage was set aside"),
    (8856, "whoever resumed took a late failure for one of the last wave, and took that back"),
];

/// How many seeds are played unless `SEEDS` says otherwise.
const SEEDS: u64 = 10_000;

struct Played {
    events: usize,
    ways: BTreeSet<(String, String)>,
    fates: BTreeSet<(String, String)>,
    failed: Vec<(u64, String)>,
}

#[expect(clippy::disallowed_methods, reason = "shell")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn play(seeds: impl Iterator<Item = u64>) -> Played {
    let mut played = Played { events: 0, ways: BTreeSet::new(), fates: BTreeSet::new(), failed: Vec::new() };
    for seed in seeds {
        let mut world = World::new(seed, false);
        match world.play() {
            Ok(events) => played.events += events,
            Err(wrong) => played.failed.push((seed, wrong)),
        }
        played.ways.append(&mut world.ways);
        played.fates.append(&mut world.fates);
    }
    played
}

/// What went wrong, the same things together: digits do not count.
fn told(failed: &[(u64, String)]) -> String {
    let mut kinds: BTreeMap<String, Vec<&(u64, String)>> = BTreeMap::new();
    for one in failed {
        let kind = one.1.chars().filter(|c| !c.is_ascii_digit()).take(70).collect();
        kinds.entry(kind).or_default().push(one);
    }
    let line = |all: &Vec<&(u64, String)>| format!("{} times, first SEED={}: {}", all.len(), all[0].0, all[0].1);
    kinds.values().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn ten_thousand_rollouts_keep_every_promise() {
    if let Some(seed) = setting("SEED") {
        let wrong = World::new(seed, true).play().err();
        assert_eq!(wrong, None, "SEED={seed}");
        return;
    }
    let begin = Instant::now();
    let seeds = setting("SEEDS").unwrap_or(SEEDS);
    let (even, odd) = std::thread::scope(|scope| {
        let even = scope.spawn(|| play((0..seeds).step_by(2)));
        (even.join(), play((1..seeds).step_by(2)))
    });
    let even = even.expect("no panic");
    println!("{seeds} seeds, {} events in {:?}", even.events + odd.events, begin.elapsed());
    let failed = [even.failed, odd.failed].concat();
    assert!(failed.is_empty(), "{} of {seeds} seeds failed:\n{}", failed.len(), told(&failed));
    if seeds == SEEDS {
        diagram("what a run waits for", &even.ways | &odd.ways);
        diagram("what becomes of a host", &even.fates | &odd.fates);
    }
}

/// The state diagram of this name in ARCHITECTURE.md has just these arrows. `INSTA_UPDATE=always` writes it.
#[expect(clippy::disallowed_methods, reason = "shell")]
fn diagram(name: &str, arrows: BTreeSet<(String, String)>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).expect("ARCHITECTURE.md");
    let begin = format!("<!-- {name} -->\n");
    let (head, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin:?} in ARCHITECTURE.md"));
    let (_, tail) = rest.split_once("<!-- end -->").expect("the end of the diagram");
    let arrows: String = arrows.iter().map(|(from, to)| format!("    {from} --> {to}\n")).collect();
    let wanted = format!("{head}{begin}```mermaid\nstateDiagram-v2\n{arrows}```\n<!-- end -->{tail}");
    if std::env::var("INSTA_UPDATE").is_ok_and(|value| value == "always") {
        std::fs::write(path, wanted).expect("write ARCHITECTURE.md");
    } else {
        assert!(
            text == wanted,
            "the diagram {name:?} in ARCHITECTURE.md is not what runs do (`make bless`):\n{arrows}"
        );
    }
}

#[test]
fn what_once_failed_is_played_again() {
    let failed = play(FAILED.iter().map(|(seed, _)| *seed)).failed;
    assert!(failed.is_empty(), "{}", told(&failed));
}

/// Most memory that fifty thousand hosts may take, in KiB: 2 GiB.
const MOST_KIB: u64 = 2 * 1024 * 1024;

#[test]
#[expect(clippy::disallowed_methods, reason = "shell")]
fn fifty_thousand_hosts_go_through_in_waves() {
    let begin = Instant::now();
    let mut world = World::big(50_000);
    let events = world.play().expect("every promise is kept");
    let done = world.log.iter().filter(|(_, happening)| matches!(happening, Happening::HostConfirmed { .. })).count();
    assert_eq!(done, 50_000);
    assert!(matches!(world.log.last(), Some((_, Happening::RunEnded { outcome: Outcome::Done }))));
    let status = std::fs::read_to_string("/proc/self/status").expect("proc(5)");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("proc(5) has VmHWM");
    let peak: u64 = peak.trim().trim_end_matches("kB").trim().parse().expect("a number");
    println!(
        "50000 hosts: {events} events, {} of them logged, in {:?}; peak {peak} KiB",
        world.log.len(),
        begin.elapsed()
    );
    assert!(peak < MOST_KIB, "{peak} KiB");
}
