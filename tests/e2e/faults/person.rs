//! A person presses Ctrl-C: once pauses safely, twice leaves the run to the hosts.

use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;

use super::{Under, agents, apply, count, door, file, log, noted, open, playbook, shut, take_notes, until};

const HOSTS: [&str; 4] = ["a", "b", "c", "d"];

fn town() -> Town {
    let town = Town::new(&HOSTS);
    let steps = [file("/etc/motd"), door(&town), noted(&town, "s")];
    playbook(&town, &[("s", &["waves: [{ name: a }, 1, rest]"], &steps)]);
    town
}

/// Starts it and waits until host a is in the middle of its stage.
fn started(town: &Town) -> Under {
    let old = town.manifest("a");
    let mut running = Under::start(town, &apply(&[]));
    until("the canary works", || {
        assert!(!running.is_over(), "{}", running.said());
        town.manifest("a") != old
    });
    running
}

#[test]
fn ctrl_c_once_lets_what_has_begun_end_and_begins_nothing_more() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("ctrl_c_once_lets_what_has_begun_end_and_begins_nothing_more", &why);
    }
    let town = town();
    let before = town.manifests(&HOSTS);
    let mut running = started(&town);
    running.interrupt();
    until("it says so", || running.said().contains("Pausing run"));
    open(&town);
    let ended = running.end().expect(6);
    assert!(ended.stderr.contains("is paused. Go on: weiche continue"), "{}", ended.stderr);
    let paused = log(&town);
    assert_eq!((count(&paused, " begun"), count(&paused, " s done")), (1, 1), "{paused:?}");
    let now = town.manifests(&HOSTS);
    assert_eq!(HOSTS.map(|host| now[host] == before[host]), [false, true, true, true]);
    assert_eq!(agents(&town), Vec::<u32>::new(), "nothing is orphaned on the hosts");
    // It stays so until somebody says otherwise.
    let resumed = town.weiche(&["resume", "latest"]).expect(6);
    assert!(resumed.stderr.contains("is paused"), "{}", resumed.stderr);
    town.weiche(&["continue", "latest"]).expect(0);
    HOSTS.iter().for_each(|host| assert_eq!(take_notes(&town, host, "s"), ["do"]));
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&HOSTS), before);
}

#[test]
fn ctrl_c_twice_leaves_the_run_to_the_hosts_and_it_can_go_on_or_back() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("ctrl_c_twice_leaves_the_run_to_the_hosts_and_it_can_go_on_or_back", &why);
    }
    let town = town();
    let before = town.manifests(&HOSTS);
    for on in [true, false] {
        shut(&town);
        let mut running = started(&town);
        running.interrupt();
        until("it says so", || running.said().contains("Pausing run"));
        // The door is shut: nothing but the second one can end it.
        running.interrupt();
        let ended = running.end().expect(4);
        let hints = ["weiche continue", "weiche rollback"].map(|hint| ended.stderr.contains(hint));
        assert_eq!(hints, [true, true], "{}", ended.stderr);
        until("the agents end", || agents(&town).is_empty());
        open(&town);
        if on {
            town.weiche(&["continue", "latest"]).expect(0);
            HOSTS.iter().for_each(|host| assert_eq!(take_notes(&town, host, "s"), ["do"]));
        }
        town.weiche(&["rollback", "latest"]).expect(0);
        assert_eq!(town.manifests(&HOSTS), before);
        HOSTS.iter().for_each(|host| drop(take_notes(&town, host, "s")));
    }
}
