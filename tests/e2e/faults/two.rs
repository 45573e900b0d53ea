//! Two controllers at the same instant: one works, the other is refused and says who works.

use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;

use super::{Under, apply, door, file, noted, open, playbook, shut, take_notes, until};

const HOSTS: [&str; 2] = ["a", "b"];

fn town() -> Town {
    let town = Town::new(&HOSTS);
    let steps = [file("/etc/motd"), door(&town), noted(&town, "s")];
    playbook(&town, &[("s", &[], &steps)]);
    town
}

/// Two at once; the one that is refused, and the other one once it is through.
fn race(town: &Town, arguments: &[&str]) -> [weiche_tests::town::Ran; 2] {
    let mut both = [Under::start(town, arguments), Under::start(town, arguments)];
    until("one of them is refused", || both.iter_mut().any(Under::is_over));
    let [first, mut second] = both;
    let (refused, works) = if second.is_over() { (second, first) } else { (first, second) };
    open(town);
    [refused.end(), works.end()]
}

#[test]
fn of_two_controllers_started_at_once_exactly_one_works() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("of_two_controllers_started_at_once_exactly_one_works", &why);
    }
    let town = town();
    let before = town.manifests(&HOSTS);
    let mut after = None;
    for round in 0..4 {
        shut(&town);
        let [refused, works] = race(&town, &apply(&[]));
        let refused = refused.expect(1);
        assert!(refused.stderr.contains("another weiche works on rathaus"), "round {round}: {}", refused.stderr);
        let works = works.expect(0);
        for host in HOSTS {
            assert_eq!(take_notes(&town, host, "s"), ["do"], "round {round}");
        }
        let now = town.manifests(&HOSTS);
        assert_ne!(now, before);
        assert_eq!(*after.get_or_insert_with(|| now.clone()), now);
        let words = works.stderr.lines().rev().find(|line| line.contains("weiche rollback")).expect("a way back");
        let run = words.rsplit(' ').next().expect("the run").to_owned();
        town.weiche(&["rollback", &run]).expect(0);
        assert_eq!(town.manifests(&HOSTS), before);
        HOSTS.iter().for_each(|host| assert_eq!(take_notes(&town, host, "s"), ["undo"]));
    }
}

#[test]
fn of_two_that_resume_one_run_at_once_exactly_one_does() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("of_two_that_resume_one_run_at_once_exactly_one_does", &why);
    }
    let town = town();
    let before = town.manifests(&HOSTS);
    for event in ["1", "4"] {
        shut(&town);
        town.weiche(&apply(&["--crash-after-event"]).into_iter().chain([event]).collect::<Vec<_>>()).expect(128 + 6);
        let [refused, works] = race(&town, &["resume", "latest"]);
        let refused = refused.expect(1);
        assert!(refused.stderr.contains("another weiche works on"), "{}", refused.stderr);
        works.expect(0);
        HOSTS.iter().for_each(|host| assert_eq!(take_notes(&town, host, "s"), ["do"], "event {event}"));
        town.weiche(&["rollback", "latest"]).expect(0);
        assert_eq!(town.manifests(&HOSTS), before);
        HOSTS.iter().for_each(|host| assert_eq!(take_notes(&town, host, "s"), ["undo"]));
    }
}
