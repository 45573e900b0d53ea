//! kill -9 of the agent, of the controller, and of both, in a run with three stages: a plain one, one in waves, and one
//! that is guarded. The later a stage, the more records has its journal, so that killing an agent behind its nth record
//! of a request reaches every stage.

use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;

use super::{apply, file, log, noted, playbook, take_notes};

const HOSTS: [&str; 2] = ["a", "b"];
const STAGES: [&str; 3] = ["prepare", "change", "cutover"];

fn town() -> Town {
    let town = Town::new(&HOSTS);
    let steps = |stage: &str, files: usize| {
        let files = (0..files).map(|n| file(&format!("/etc/{stage}-{n}")));
        files.chain([noted(&town, stage)]).collect::<Vec<_>>()
    };
    let [prepare, change, cutover] = STAGES;
    playbook(
        &town,
        &[
            (prepare, &[], &steps(prepare, 0)),
            (change, &["waves: [1, rest]"], &steps(change, 1)),
            // Its guard is never what takes it back here: that is waited for elsewhere.
            (cutover, &["guard: 10m"], &steps(cutover, 2)),
        ],
    );
    town
}

/// No command ran a second time unless it was taken back in between; returns how often each ran.
#[track_caller]
fn never_twice(town: &Town, when: &str) -> Vec<usize> {
    let mut ran = Vec::new();
    for (host, stage) in HOSTS.iter().flat_map(|host| STAGES.map(|stage| (*host, stage))) {
        let notes = take_notes(town, host, stage);
        let twice = notes.windows(2).any(|two| two[0] == "do" && two[1] == "do");
        assert!(!twice, "{stage} ran twice on {host} {when}: {notes:?}");
        ran.push(notes.iter().filter(|note| *note == "do").count());
    }
    ran
}

/// The events at which something begins or ends, of the run that was just carried out; the others are single steps.
fn boundaries(town: &Town) -> Vec<u64> {
    let is_step = |line: &&String| line.contains(" us)");
    let number = |line: String| line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number");
    log(town).iter().filter(|line| !is_step(line)).cloned().map(number).collect()
}

/// The hosts before and after, and the boundaries.
fn rehearse(town: &Town) -> [std::collections::BTreeMap<String, String>; 2] {
    let before = town.manifests(&HOSTS);
    town.weiche(&apply(&[])).expect(0);
    let after = town.manifests(&HOSTS);
    assert!(HOSTS.iter().all(|host| before[*host] != after[*host]));
    [before, after]
}

#[test]
fn a_controller_killed_at_every_boundary_goes_on_or_back() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_controller_killed_at_every_boundary_goes_on_or_back", &why);
    }
    let town = town();
    let [before, after] = rehearse(&town);
    let boundaries = boundaries(&town);
    assert!(boundaries.len() > 15, "{:?}", log(&town));
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&HOSTS), before);
    assert_eq!(never_twice(&town, "at all"), [1; 6]);
    for (n, event) in boundaries.into_iter().enumerate() {
        let event = event.to_string();
        let arguments = [&apply(&[])[..], &["--crash-after-event", &event]].concat();
        town.weiche(&arguments).expect(128 + 6);
        let status = town.weiche(&["status", "latest"]).expect(0).stdout;
        assert!(status.contains("next: weiche"), "{status}");
        if n % 2 == 0 && !status.contains(": done") {
            town.weiche(&["resume", "latest"]).expect(0);
            assert_eq!(town.manifests(&HOSTS), after, "resumed after event {event}");
            let ran = never_twice(&town, &format!("resumed after event {event}"));
            // What an agent has done is never done again, whoever asks: also not after it was taken back.
            assert_eq!(ran, [1; 6], "resumed after event {event}");
        }
        town.weiche(&["rollback", "latest"]).expect(0);
        assert_eq!(town.manifests(&HOSTS), before, "taken back after event {event}");
        never_twice(&town, &format!("taken back after event {event}"));
    }
}

#[test]
fn an_agent_killed_in_any_stage_takes_every_host_back() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("an_agent_killed_in_any_stage_takes_every_host_back", &why);
    }
    let town = town();
    let [before, _] = rehearse(&town);
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&HOSTS), before);
    never_twice(&town, "at all");
    let mut reached = std::collections::BTreeSet::new();
    for (record, host) in (0..).flat_map(|record| HOSTS.map(|host| (record, host))) {
        let crash = format!("rathaus/{host}={record}");
        let ran = town.weiche(&[&apply(&[])[..], &["--crash-agent", &crash]].concat());
        if ran.code == 0 {
            town.weiche(&["rollback", "latest"]).expect(0);
            break;
        }
        let ran = ran.expect(3);
        let stage = STAGES.iter().find(|stage| ran.stderr.contains(&format!("rathaus/{host} failed in stage {stage}")));
        reached.insert(*stage.unwrap_or_else(|| panic!("{}", ran.stderr)));
        assert_eq!(town.manifests(&HOSTS), before, "{host} killed after record {record}");
        never_twice(&town, &format!("{host} killed after record {record}"));
    }
    assert_eq!(reached.len(), STAGES.len(), "{reached:?}");
}

#[test]
fn an_agent_and_the_controller_killed_in_one_run_leave_hosts_new_or_as_they_were() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip(
            "an_agent_and_the_controller_killed_in_one_run_leave_hosts_new_or_as_they_were",
            &why,
        );
    }
    let town = town();
    let [before, after] = rehearse(&town);
    let boundaries = boundaries(&town);
    town.weiche(&["rollback", "latest"]).expect(0);
    never_twice(&town, "at all");
    let mut outcomes = std::collections::BTreeMap::new();
    for (n, event) in boundaries.into_iter().enumerate() {
        // All three stages, one after the other, on both hosts.
        let crash = format!("rathaus/{}={}", HOSTS[n % 2], n % 6);
        let when = format!("agent {crash}, controller after event {event}");
        let event = event.to_string();
        let ran = town.weiche(&[&apply(&[])[..], &["--crash-agent", &crash, "--crash-after-event", &event]].concat());
        // A controller that is not reached by its death takes back what the agent's has left.
        if ran.code == 3 {
            assert_eq!(town.manifests(&HOSTS), before, "{when}");
            never_twice(&town, &when);
            *outcomes.entry("taken back at once").or_insert(0) += 1;
            continue;
        }
        ran.expect(128 + 6);
        let ended = town.weiche(&["status", "latest"]).expect(0).stdout.contains(": taken back\n");
        let resumed = if n % 4 < 2 && !ended { Some(town.weiche(&["resume", "latest"])) } else { None };
        match resumed {
            Some(resumed) if resumed.code == 0 => {
                assert_eq!(town.manifests(&HOSTS), after, "{when}, resumed");
                town.weiche(&["rollback", "latest"]).expect(0);
                *outcomes.entry("resumed to the end").or_insert(0) += 1;
            }
            Some(resumed) => {
                resumed.expect(3);
                *outcomes.entry("resumed back").or_insert(0) += 1;
            }
            None if ended => *outcomes.entry("taken back at once").or_insert(0) += 1,
            None => {
                town.weiche(&["rollback", "latest"]).expect(0);
                *outcomes.entry("taken back").or_insert(0) += 1;
            }
        }
        assert_eq!(town.manifests(&HOSTS), before, "{when}");
        never_twice(&town, &when);
    }
    assert!(outcomes.len() >= 3, "{outcomes:?}");
}
