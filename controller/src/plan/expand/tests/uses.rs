//! Playbooks that use others.

use super::{complaint, good, run};
use crate::input::tests::{MEMBER, Texts, spoiled};
use crate::plan::procedure::Procedure;
use crate::plan::rules::{OnStop, Scope};

/// What is used: stages that wait, and one that does not.
const ONE: &str = "playbook: one
inputs: { old: host, new: host, text: { type: string, default: usual } }
stages:
  - { stage: join, on: [old, new], steps: [ { check: { tcp: \"{{old.address}}:1\" } } ] }
  - stage: cutover
    on: new
    window: night
    takes: 10m
    gate: { approve: 1 }
    hold: 1h
    steps: [ { file: { path: /etc/motd, content: \"{{text}} {{old.name}}\" } } ]
";

/// Two pairs, the second only where it is given.
const BOTH: &str = "playbook: both
inputs: { a: host, b: host, c: { type: host, optional: true }, d: { type: host, optional: true } }
stages:
  - { stage: first, on: [a, b], steps: [ { manual: wait } ] }
  - use: one
    parts:
      - { part: database, inputs: { old: a, new: \"{{b}}\", text: \"of {{a.name}}\" } }
      - { part: files, inputs: { old: c, new: d } }
";

fn texts(both: &str) -> Texts {
    let mut texts = good();
    let (head, pcs) = MEMBER.split_once("pcs:").unwrap();
    let old = head.lines().find(|line| line.contains("fs-old")).unwrap();
    let more =
        ["a", "b"].map(|name| old.replace("fs-old", name).replace(".11,", if name == "a" { ".13," } else { ".14," }));
    let window = "windows: { night: { from: 20:00, to: 05:00 } }\n";
    texts.insert("members/alpha.yaml", format!("{window}{head}{}\npcs:{pcs}", more.join("\n")));
    texts.insert("playbooks/one.yaml", ONE.into());
    texts.insert("playbooks/both.yaml", both.into());
    texts
}

const TWO: [(&str, &str); 2] = [("a", "fs-old"), ("b", "fs-new")];
const FOUR: [(&str, &str); 4] = [("a", "fs-old"), ("b", "fs-new"), ("c", "alpha/a"), ("d", "alpha/b")];

fn names(procedure: &Procedure) -> Vec<&str> {
    procedure.stages.iter().map(|stage| stage.name.as_str()).collect()
}

#[test]
fn stage_by_stage_for_one_part_after_the_other() {
    let procedure = run(&texts(BOTH), "both", &FOUR).unwrap();
    insta::assert_snapshot!(super::outline(&procedure), @r###"
first on alpha/fs-new
  first.1 manual wait
first on alpha/fs-old
  first.1 manual wait
database-join on alpha/fs-new
  database-join.1 check Tcp("192.0.2.11:1") within 30s
database-join on alpha/fs-old
  database-join.1 check Tcp("192.0.2.11:1") within 30s
files-join on alpha/a
  files-join.1 check Tcp("192.0.2.13:1") within 30s
files-join on alpha/b
  files-join.1 check Tcp("192.0.2.13:1") within 30s
database-cutover on alpha/fs-new
  database-cutover.1 file /etc/motd
files-cutover on alpha/b
  files-cutover.1 file /etc/motd
"###);
}

#[test]
fn a_part_that_is_not_given_is_left_out_and_half_a_part_is_refused() {
    let procedure = run(&texts(BOTH), "both", &TWO).unwrap();
    assert_eq!(names(&procedure), ["first", "database-join", "database-cutover"]);
    insta::assert_snapshot!(complaint(&texts(BOTH), "both", &FOUR[..3]), @r###"
  x command line: the input `c` is given, and `d` is not
  help: the part `files` needs both: give it as d=...
        for this part: playbooks/both.yaml:8:17

1 error
"###);
    let none = complaint(&texts(BOTH), "town-hall-swap", &[]);
    assert!(none.contains("give the inputs of one at least: database_new, database_old, application_new"), "{none}");
}

#[test]
fn they_wait_once_and_fit_into_the_window_together() {
    let procedure = run(&texts(BOTH), "both", &FOUR).unwrap();
    let rules: Vec<_> =
        procedure.stages.iter().filter(|stage| stage.name.ends_with("cutover")).map(|s| &s.rules).collect();
    assert!(rules[0].gate.is_some() && rules[1].gate.is_none());
    assert_eq!([rules[0].takes_ms, rules[1].takes_ms], [600_000, 600_000]);
    assert_eq!([rules[0].room(), rules[1].room()], [1_200_000, 600_000]);
    assert_eq!([rules[0].hold_ms, rules[1].hold_ms], [0, 3_600_000]);
    assert!(rules.iter().all(|rules| rules.windows.len() == 1 && rules.on_stop == OnStop::Rollback(Scope::Run)));
}

#[test]
fn some_stages_only_and_what_happens_when_they_stop() {
    let text = BOTH.replace("  - use: one\n", "  - use: one\n    only: [join]\n    on_stop: set_aside\n");
    let procedure = run(&texts(&text), "both", &FOUR).unwrap();
    assert_eq!(names(&procedure), ["first", "database-join", "files-join"]);
    assert!(procedure.stages[1..].iter().all(|stage| stage.rules.on_stop == OnStop::SetAside));
}

#[test]
fn playbooks_that_use_playbooks_that_use_playbooks() {
    let mut texts = texts(BOTH);
    let outer = "playbook: outer\ninputs: { w: host, x: host, y: host, z: host }\nstages:\n  - use: both\n    parts: \
                 [ { part: hall, inputs: { a: w, b: x, c: y, d: z } } ]\n";
    texts.insert("playbooks/outer.yaml", outer.into());
    let given = [("w", "fs-old"), ("x", "fs-new"), ("y", "alpha/a"), ("z", "alpha/b")];
    let procedure = run(&texts, "outer", &given).unwrap();
    let expected = ["first", "database-join", "files-join", "database-cutover", "files-cutover"];
    assert_eq!(names(&procedure), expected.map(|name| format!("hall-{name}")));
    let fleet = crate::input::tests::fleet(&texts);
    let told = fleet.stage_names(&fleet.playbooks()["outer"]).unwrap();
    assert_eq!(
        told.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        names(&procedure),
        "as `weiche show` says"
    );
}

#[test]
fn a_host_is_in_one_part() {
    let given = [("a", "fs-old"), ("b", "fs-new"), ("c", "fs-old"), ("d", "alpha/b")];
    insta::assert_snapshot!(complaint(&texts(BOTH), "both", &given), @r###"
  x playbooks/both.yaml:8:17: `alpha/fs-old` has a part in `database` and in `files`
  help: give each part hosts of its own

1 error
"###);
}

#[test]
fn what_is_wrong_for_a_part_is_told_for_that_part() {
    let mut texts = texts(BOTH);
    texts.insert("playbooks/one.yaml", ONE.replace("window: night", "window: day"));
    insta::assert_snapshot!(complaint(&texts, "both", &TWO), @r###"
  x playbooks/one.yaml:7:13: the member `alpha` has no window `day`
  help: add it in its file: windows: { day: { from: fri 18:00, to: sun 22:00 } }
        for the part `database`: playbooks/both.yaml:7:17

1 error
"###);
}

#[test]
fn what_a_use_cannot_be() {
    let texts = |uses: &str| {
        spoiled(
            "playbooks/x.yaml",
            format!("playbook: x\ninputs: {{ a: host, b: {{ type: host, optional: true }} }}\nstages:\n{uses}"),
        )
    };
    insta::assert_snapshot!(texts("  - use: server-swop\n    parts: [ { part: p, inputs: { old: a, new: b } } ]
  - use: server-swap\n    only: [cutovers]\n    parts: [ { part: p, inputs: { old: a, now: b } }, { part: p, inputs: { old: [1], new: c } } ]
  - use: server-swap
  - { stage: s, on: [a, b], steps: [ { manual: \"{{b.name}}\" } ] }
"), @r###"
  x there is no playbook `server-swop`
   ,-[playbooks/x.yaml:4:10]
 3 | stages:
 4 |   - use: server-swop
   :          ^^^^^^^^^^^
 5 |     parts: [ { part: p, inputs: { old: a, new: b } } ]
   `----
  help: did you mean `server-swap`?

  x the playbook `server-swap` has no stage `cutovers`
   ,-[playbooks/x.yaml:7:12]
 6 |   - use: server-swap
 7 |     only: [cutovers]
   :            ^^^^^^^^
 8 |     parts: [ { part: p, inputs: { old: a, now: b } }, { part: p, inputs: { old: [1], new: c } } ]
   `----
  help: did you mean `cutover`?

  x the playbook `server-swap` needs the input `new`
   ,-[playbooks/x.yaml:8:22]
 7 |     only: [cutovers]
 8 |     parts: [ { part: p, inputs: { old: a, now: b } }, { part: p, inputs: { old: [1], new: c } } ]
   :                      ^
 9 |   - use: server-swap
   `----
  help: add it to the part's `inputs`: the server that takes its place

  x the playbook `server-swap` has no input `now`
   ,-[playbooks/x.yaml:8:43]
 7 |     only: [cutovers]
 8 |     parts: [ { part: p, inputs: { old: a, now: b } }, { part: p, inputs: { old: [1], new: c } } ]
   :                                           ^^^
 9 |   - use: server-swap
   `----
  help: did you mean `new`?

  x there are two parts `p`
   ,-[playbooks/x.yaml:8:22]
 7 |     only: [cutovers]
 8 |     parts: [ { part: p, inputs: { old: a, now: b } }, { part: p, inputs: { old: [1], new: c } } ]
   :                      |                                        ^
   :                      `-- first here
 9 |   - use: server-swap
   `----
  help: give one of them another name

  x `old` must be a host (`member/name`)
   ,-[playbooks/x.yaml:8:81]
 7 |     only: [cutovers]
 8 |     parts: [ { part: p, inputs: { old: a, now: b } }, { part: p, inputs: { old: [1], new: c } } ]
   :                                                                                 ^
 9 |   - use: server-swap
   `----
  help: name an input, or a host

  x `c` is neither an input of type host nor a host of the fleet
   ,-[playbooks/x.yaml:8:91]
 7 |     only: [cutovers]
 8 |     parts: [ { part: p, inputs: { old: a, now: b } }, { part: p, inputs: { old: [1], new: c } } ]
   :                                                                                           ^
 9 |   - use: server-swap
   `----
  help: did you mean `a`?

  x it is not said for what `server-swap` is used
    ,-[playbooks/x.yaml:9:10]
  8 |     parts: [ { part: p, inputs: { old: a, now: b } }, { part: p, inputs: { old: [1], new: c } } ]
  9 |   - use: server-swap
    :          ^^^^^^^^^^^
 10 |   - { stage: s, on: [a, b], steps: [ { manual: "{{b.name}}" } ] }
    `----
  help: add `parts: [ { part: NAME, inputs: { ... } } ]`

  x the input `b` need not be given, and this cannot be without it
    ,-[playbooks/x.yaml:10:21]
  9 |   - use: server-swap
 10 |   - { stage: s, on: [a, b], steps: [ { manual: "{{b.name}}" } ] }
    :                     ^
    `----
  help: only the parts of a `use` may name it: they are left out then

  x the input `b` need not be given, and this cannot be without it
    ,-[playbooks/x.yaml:10:49]
  9 |   - use: server-swap
 10 |   - { stage: s, on: [a, b], steps: [ { manual: "{{b.name}}" } ] }
    :                                                 ^^^^^^^^^^
    `----
  help: only the parts of a `use` may name it: they are left out then

10 errors
"###);
}

#[test]
fn no_playbook_uses_itself_or_has_no_end() {
    let uses = |name: &str, other: &str| {
        format!("playbook: {name}\nstages:\n  - use: {other}\n    parts: [ {{ part: p }}, {{ part: q }} ]\n")
    };
    let mut circle = good();
    for (file, name, other) in
        [("playbooks/x.yaml", "x", "y"), ("playbooks/y.yaml", "y", "z"), ("playbooks/z.yaml", "z", "x")]
    {
        circle.insert(file, uses(name, other));
    }
    insta::assert_snapshot!(crate::input::tests::complaint(&circle), @r###"
  x the playbook `x` uses itself: x -> y -> z -> x
   ,-[playbooks/x.yaml:3:10]
 2 | stages:
 3 |   - use: y
   :          ^
 4 |     parts: [ { part: p }, { part: q } ]
   `----
  help: take one of them out

  x the playbook `y` uses itself: y -> z -> x -> y
   ,-[playbooks/y.yaml:3:10]
 2 | stages:
 3 |   - use: z
   :          ^
 4 |     parts: [ { part: p }, { part: q } ]
   `----
  help: take one of them out

  x the playbook `z` uses itself: z -> x -> y -> z
   ,-[playbooks/z.yaml:3:10]
 2 | stages:
 3 |   - use: x
   :          ^
 4 |     parts: [ { part: p }, { part: q } ]
   `----
  help: take one of them out

3 errors
"###);
    // Two to the power of ten stages.
    let mut deep = good();
    let files = [
        "playbooks/a.yaml",
        "playbooks/b.yaml",
        "playbooks/c.yaml",
        "playbooks/d.yaml",
        "playbooks/e.yaml",
        "playbooks/f.yaml",
        "playbooks/g.yaml",
    ];
    for pair in files.windows(2) {
        let [name, other] = [pair[0], pair[1]].map(|file| &file[10..11]);
        let mut text = uses(name, other);
        text += &text.split_once("stages:\n").unwrap().1.replace("part: p", "part: r").replace("part: q", "part: s");
        deep.insert(pair[0], text);
    }
    deep.insert(
        "playbooks/g.yaml",
        "playbook: g\nstages: [ { stage: s, on: all, steps: [ { manual: wait } ] } ]\n".into(),
    );
    let said = crate::input::tests::complaint(&deep);
    assert!(said.contains("there are too many stages"), "{said}");
}

#[test]
fn a_fleet_may_have_a_swap_of_its_own_that_asks_for_something_else() {
    let mut texts = good();
    texts.insert(
        "playbooks/server-swap.yaml",
        ONE.replace("playbook: one", "playbook: server-swap")
            .replace("old: host", "server: host")
            .replace("[old, new]", "new")
            .replace("old.", "server."),
    );
    let fleet = crate::input::tests::fleet(&texts);
    assert!(fleet.playbooks().contains_key("server-swap") && !fleet.playbooks().contains_key("town-hall-swap"));
}
