//! Stages whose hosts take turns.

use super::{complaint, good, outline, run};
use crate::input::tests::{Texts, spoiled};

const HEAD: &str = "playbook: x\ninputs: { old: host, new: host }\nstages:\n  - stage: s\n";

fn texts(stage: &str) -> Texts {
    let mut texts = good();
    texts.insert("playbooks/x.yaml", format!("{HEAD}{stage}"));
    texts
}

const GIVEN: [(&str, &str); 2] = [("old", "fs-old"), ("new", "fs-new")];

#[test]
fn steps_are_counted_over_the_hosts_and_neighbours_are_one_turn() {
    let texts = texts(
        "    on: [old, new]
    within: 60s
    steps:
      - unit: { name: smbd, running: false }
        on: old
      - apply: demo
        on: \"{{old.name}}\"
      - file: { path: /etc/smb.conf, content: \"new\\n\" }
        on: new
        back: beside
      - command: { argv: [\"true\"], undo: [\"true\"] }
        on: new
      - check: { command: [\"true\"] }
        on: old
      - unit: { name: smbd, running: true, restart_on: [file /etc/smb.conf] }
        on: new
",
    );
    let procedure = run(&texts, "x", &GIVEN).unwrap();
    insta::assert_snapshot!(outline(&procedure), @r###"
s on alpha/fs-new
  s.3 unit smbd (anchor)
  s.4 file /etc/smb.conf
  s.5 command 
  s.7 unit smbd watches s.4
s on alpha/fs-old
  s.1 unit smbd
  s.2 file /etc/motd
  s.6 check Command(["true"]) within 30s
"###);
    let turns = procedure.stages[0].turns.iter().map(|turn| {
        let steps: Vec<&str> = turn.steps.iter().map(|id| id.0.as_str()).collect();
        format!("{}: {}{}", turn.host, steps.join(", "), if turn.beside { ", beside" } else { "" })
    });
    insta::assert_snapshot!(turns.collect::<Vec<_>>().join("\n"), @r###"
alpha/fs-old: s.1, s.2
alpha/fs-new: s.3, s.4, beside
alpha/fs-new: s.5
alpha/fs-old: s.6
alpha/fs-new: s.7
"###);
}

#[test]
fn what_hosts_that_take_turns_cannot_have() {
    let stage = "    on: [old, new]
    waves: [1, rest]
    guard: 2m
    on_stop: { rollback: host }
    steps:
      - command: { argv: [\"true\"], undo: [\"true\"] }
        on: old
      - command: { argv: [\"true\"], undo: [\"true\"] }
      - manual: look at the lamp
        on: odl
";
    let said = spoiled("playbooks/x.yaml", format!("{HEAD}{stage}"));
    let alone = "    on: old\n    steps:\n      - manual: look at the lamp\n        back: beside\n      - manual: switch it off\n        back: after\n";
    let alone = spoiled("playbooks/x.yaml", format!("{HEAD}{alone}"));
    for part in ["take no turns, so nobody would wait", "`back` must be `beside`"] {
        assert!(alone.contains(part), "{part} is missing in {alone}");
    }
    for part in [
        "take turns, and it has `waves`",
        "take turns, and it has `on_stop: { rollback: host }`",
        "take turns, and it has `guard`",
        "help: use `within`",
        "this step of the stage `s` does not say on which host",
        "take turns, and one would wait for a person",
        "`odl` is neither an input of type host nor a host of the fleet",
        "did you mean `old`?",
        "6 errors",
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
}

#[test]
fn a_turn_is_one_of_the_stage_s_hosts() {
    let stage = "    on: [old, new]
    steps:
      - command: { argv: [\"true\"], undo: [\"true\"] }
        on: old
      - command: { argv: [\"true\"], undo: [\"true\"] }
        on: new
";
    insta::assert_snapshot!(complaint(&texts(&stage.replace("[old, new]", "old")), "x", &GIVEN), @r###"
  x playbooks/x.yaml:10:13: `alpha/fs-new` is not among the hosts of the stage `s`
  help: add it to the stage's `on:`

1 error
"###);
    insta::assert_snapshot!(complaint(&texts(&stage.replace("on: new", "on: old")), "x", &GIVEN), @r###"
  x playbooks/x.yaml:5:9: no step of the stage `s` is on `alpha/fs-new`
  help: leave it out of `on:`

1 error
"###);
}
