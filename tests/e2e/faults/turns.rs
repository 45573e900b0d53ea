//! Hosts that take turns: each step begins when the one before it is through, on whichever host; back in the reverse order,
//! whatever happens and whoever takes it back.

use std::fs;

use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;

use super::{Under, agents, until};

const HOSTS: [&str; 2] = ["a", "b"];

const INPUTS: [&str; 4] = ["apply", "x", "old=a", "new=b"];

/// Two hosts that take turns, each step of theirs noted in one list.
fn town(keys: &str, last: &str) -> Town {
    let town = Town::new(&HOSTS);
    town.write(
        "files/note.sh",
        "set -e\necho \"$1 $2\" >>\"$3\"\ncase $1 in\ndo) touch \"$4\" ;;\n*) rm -f \"$4\" ;;\nesac\n",
    );
    let (script, list) = (town.fleet().join("files/note.sh"), town.fleet().join("list"));
    let step = |input: &str, name: &str| {
        let mark = town.root("{{host.name}}").join("srv").join(name);
        let argv = |way: &str| format!("[sh, {script:?}, {way}, {name}, {list:?}, {mark:?}]");
        format!("      - command: {{ argv: {}, undo: {} }}\n        on: {input}\n", argv("do"), argv("undo"))
    };
    let steps: String = [("old", "a1"), ("old", "a2"), ("new", "b3"), ("old", "a4"), ("new", "b5"), ("new", "b6")]
        .map(|(input, name)| step(input, name))
        .concat();
    town.write("playbooks/x.yaml", &format!(
        "playbook: x\ninputs: {{ old: host, new: host }}\nstages:\n  - stage: s\n    on: [old, new]\n{keys}    steps:\n{steps}{last}"
    ));
    town
}

/// What the steps have noted, and forgets it.
fn list(town: &Town) -> String {
    let path = town.fleet().join("list");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let _ = fs::remove_file(path);
    text.lines().collect::<Vec<_>>().join(", ")
}

const THERE: &str = "do a1, do a2, do b3, do a4, do b5, do b6";
const BACK: &str = "undo b6, undo b5, undo a4, undo b3, undo a2, undo a1";

fn run(more: &[&'static str]) -> Vec<&'static str> {
    [&INPUTS[..], &["--yes", "--quiet"], more].concat()
}

#[test]
fn hosts_take_turns_there_and_back() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("hosts_take_turns_there_and_back", &why);
    }
    for keys in ["", "    within: 60s\n"] {
        let town = town(keys, "");
        let before = town.manifests(&HOSTS);
        let plan = town.weiche(&["plan", "x", "old=a", "new=b"]).expect(2);
        let turns =
            "in turns: rathaus/a, then rathaus/b, then rathaus/a, then rathaus/b; taken back in the reverse order";
        assert!(plan.stdout.contains(turns), "{}", plan.stdout);
        town.weiche(&run(&[])).expect(0);
        assert_eq!(list(&town), THERE);
        town.weiche(&["rollback", "latest"]).expect(0);
        assert_eq!(list(&town), BACK);
        assert_eq!(town.manifests(&HOSTS), before);
    }
}

/// `back: beside`: the turns before it go back meanwhile. Here it even waits for them.
#[test]
fn nobody_waits_for_a_turn_that_goes_back_beside() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("nobody_waits_for_a_turn_that_goes_back_beside", &why);
    }
    let town = town("", "");
    let before = town.manifests(&HOSTS);
    let playbook = fs::read_to_string(town.fleet().join("playbooks/x.yaml")).unwrap();
    let (head, b3) = playbook.split_once("undo, b3,").expect("its step");
    let b3 = b3.replacen("        on: new\n", "        on: new\n        back: beside\n", 1);
    town.write("playbooks/x.yaml", &format!("{head}wait, b3,{b3}"));
    let script = fs::read_to_string(town.fleet().join("files/note.sh")).unwrap();
    let wait = "if [ $1 = wait ]; then n=0; until grep -q 'undo a1' \"$3\"; do n=$((n + 1)); [ $n -lt 600 ]; sleep 0.1; done; fi\n";
    town.write("files/note.sh", &script.replacen("set -e\n", &format!("set -e\n{wait}"), 1));
    let plan = town.weiche(&["plan", "x", "old=a", "new=b"]).expect(2);
    assert!(plan.stdout.contains("    then nobody waits for turn 2, of rathaus/b\n"), "{}", plan.stdout);
    town.weiche(&run(&[])).expect(0);
    assert_eq!(list(&town), THERE);
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(list(&town), "undo b6, undo b5, undo a4, undo a2, undo a1, wait b3");
    assert_eq!(town.manifests(&HOSTS), before);
}

#[test]
fn a_turn_that_fails_takes_all_of_them_back_in_order() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_turn_that_fails_takes_all_of_them_back_in_order", &why);
    }
    let fails = "      - check: { command: [\"false\"] }\n        within: 1s\n        on: old\n";
    let town = town("    within: 60s\n", fails);
    let before = town.manifests(&HOSTS);
    let ran = town.weiche(&run(&[])).expect(3);
    assert_eq!(list(&town), format!("{THERE}, {BACK}"));
    assert_eq!(town.manifests(&HOSTS), before);
    assert!(ran.stderr.contains("rathaus/a failed, so no further turn of the stage came"), "{}", ran.stderr);
    // A host that is away fails before anybody's turn.
    let key = fs::read_to_string(town.fleet().join("members/rathaus.yaml")).unwrap();
    let away = key.replacen("name: b, address: 127.0.0.1", "name: b, address: 127.0.0.9", 1);
    assert_ne!(away, key);
    town.write("members/rathaus.yaml", &away);
    town.weiche(&run(&[])).expect(7);
    assert_eq!(list(&town), "");
}

#[test]
fn whenever_the_controller_dies_turns_stay_in_order() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("whenever_the_controller_dies_turns_stay_in_order", &why);
    }
    let town = town("    within: 10m\n", "");
    let before = town.manifests(&HOSTS);
    for event in 1.. {
        let number = event.to_string();
        let crash = [&run(&["--crash-after-event"])[..], &[&*number]].concat();
        let ran = town.weiche(&crash);
        if ran.code == 0 {
            assert!(event > 8, "the run has {event} events only");
            return;
        }
        ran.expect(128 + 6);
        if event % 2 == 0 {
            town.weiche(&["resume", "latest"]).expect(0);
            assert_eq!(list(&town), THERE, "event {event}");
            town.weiche(&["rollback", "latest"]).expect(0);
            assert_eq!(list(&town), BACK, "event {event}");
        } else {
            town.weiche(&["rollback", "latest"]).expect(0);
            let (there, back) = (list(&town), BACK);
            let done: Vec<&str> = there.split(", ").filter(|step| step.starts_with("do ")).collect();
            let undone: Vec<&str> = there.split(", ").filter(|step| step.starts_with("undo ")).collect();
            assert!(THERE.starts_with(&done.join(", ")), "event {event}: {there}");
            assert!(back.ends_with(&undone.join(", ")) && undone.len() == done.len(), "event {event}: {there}");
        }
        assert_eq!(town.manifests(&HOSTS), before, "event {event}");
    }
}

#[test]
fn whenever_the_controller_dies_while_a_turn_fails_all_go_back() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("whenever_the_controller_dies_while_a_turn_fails_all_go_back", &why);
    }
    let fails = "      - check: { command: [\"false\"] }\n        within: 100ms\n        on: old\n";
    let town = town("    within: 10m\n", fails);
    let before = town.manifests(&HOSTS);
    for event in 1.. {
        let number = event.to_string();
        let ran = town.weiche(&[&run(&["--crash-after-event"])[..], &[&*number]].concat());
        if ran.code == 3 {
            assert!(event > 10, "the run has {event} events only");
            return;
        }
        ran.expect(128 + 6);
        // Also where one host is known to have failed, and the other one has not said anything yet.
        let ended = town.weiche(&["resume", "latest"]);
        let is_back = matches!(ended.code, 0 | 3) && ended.stderr.contains("every host is as it was");
        // What died behind its last event has nothing to go on with.
        assert!(
            is_back || ended.stderr.contains("has ended: there is nothing to go on with"),
            "event {event}: {ended:?}"
        );
        let noted = list(&town);
        let undone: Vec<&str> = noted.split(", ").filter(|step| step.starts_with("undo ")).collect();
        assert_eq!(undone.join(", "), BACK, "event {event}: {noted}");
        assert_eq!(town.manifests(&HOSTS), before, "event {event}");
    }
}

#[test]
fn hosts_that_nobody_confirms_go_back_one_after_the_other() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("hosts_that_nobody_confirms_go_back_one_after_the_other", &why);
    }
    let door = "      - wait_for: { command: [test, -e, /nowhere] }\n        within: 10m\n        on: old\n";
    let town = town("    within: 10s\n", door);
    let before = town.manifests(&HOSTS);
    let mut under = Under::start(&town, &run(&[]));
    let path = town.fleet().join("list");
    until("all turns but the last", || fs::read_to_string(&path).is_ok_and(|text| text.ends_with("do b6\n")));
    let pid = rustix::process::Pid::from_child(under.child());
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until("both are back", || fs::read_to_string(&path).is_ok_and(|text| text.ends_with("undo a1\n")));
    assert_eq!(list(&town), format!("{THERE}, undo b6, undo b5, undo b3, undo a4, undo a2, undo a1"));
    drop(under);
    until("no agent is left", || agents(&town).is_empty());
    assert_eq!(town.manifests(&HOSTS), before);
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(list(&town), "");
}
