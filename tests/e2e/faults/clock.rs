//! The controller's clock is set back an hour in the middle of a run: libfaketime(1) stands between it and the kernel.

use std::path::{Path, PathBuf};

use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;

use super::{Under, apply, count, door, file, log, noted, open, playbook, take_notes, until};

const HOSTS: [&str; 4] = ["a", "b", "c", "d"];

/// Debian's multiarch directories differ by architecture.
fn library() -> Result<PathBuf, String> {
    let path = Path::new("/usr/lib").join(format!("{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH));
    if path.exists() { Ok(path) } else { Err(format!("{} is missing: install faketime", path.display())) }
}

#[test]
fn a_clock_that_is_set_back_an_hour_neither_holds_up_a_run_nor_hurries_it() {
    if let Err(why) = Sshd::available().and(library()) {
        return weiche_tests::skip("a_clock_that_is_set_back_an_hour_neither_holds_up_a_run_nor_hurries_it", &why);
    }
    let town = Town::new(&HOSTS);
    let steps = [file("/etc/motd"), door(&town), noted(&town, "s")];
    playbook(&town, &[("s", &["waves: [{ name: a }, 1, rest]", "pause: 2s", "guard: 1m"], &steps)]);
    let before = town.manifests(&HOSTS);
    town.write("clock", "+0\n");
    let mut running = Under::with(&town, &apply(&[]), |weiche| {
        weiche.env("LD_PRELOAD", library().unwrap()).env("FAKETIME_TIMESTAMP_FILE", town.fleet().join("clock"));
        // Only the clock on the wall, and what it shows now.
        weiche.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_NO_CACHE", "1");
    });
    until("the canary works", || {
        assert!(!running.is_over(), "{}", running.said());
        town.manifest("a") != before["a"]
    });
    town.write("clock", "-3600\n");
    open(&town);
    let ended = running.end().expect(0);
    let all = log(&town);
    assert_eq!((count(&all, " begun"), count(&all, " confirmed"), count(&all, " wave ")), (4, 4, 2), "{all:?}");
    HOSTS.iter().for_each(|host| assert_eq!(take_notes(&town, host, "s"), ["do"]));
    assert_ne!(town.manifests(&HOSTS), before);
    // It did see the clock go back.
    let store = town.weiche(&["log", "latest", "--json"]).expect(0).stdout;
    let times: Vec<i64> = store
        .lines()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["at_ms"].as_i64().unwrap()
        })
        .collect();
    assert!(times.windows(2).any(|pair| pair[1] < pair[0] - 3_500_000), "{times:?} {}", ended.stderr);
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&HOSTS), before);
}
