//! Mistakes of meaning: names, owners, paths, parameters, addresses; and many at once.

use super::*;

#[test]
fn two_devices_of_one_name() {
    let text = MEMBER.replace("name: pc-1", "name: fs-new");
    insta::assert_snapshot!(spoiled("members/alpha.yaml", text), @r###"
  x there are two devices `fs-new` in this member
   ,-[members/alpha.yaml:6:13]
 5 |   - { name: fs-old, address: 192.0.2.11, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, profile: demo }
 6 |   - { name: fs-new, address: 192.0.2.12, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, replaces: fs-old }
   :             ^^^|^^
   :                `-- first here
 7 | pcs:
 8 |   - { name: fs-new, site: rathaus }
   :             ^^^^^^
   `----
  help: servers, PCs and printers of a member share one set of names

1 error
"###);
}

#[test]
fn two_members_of_one_name() {
    insta::assert_snapshot!(spoiled("members/beta.yaml", "member: alpha\nname: Again\n"), @r###"
  x there are two members `alpha`
   ,-[members/beta.yaml:1:9]
 1 | member: alpha
   :         ^^^^^
 2 | name: Again
   `----
  help: give one of them another name
        first here: members/alpha.yaml:1:9

1 error
"###);
}

#[test]
fn two_profiles_of_one_name() {
    insta::assert_snapshot!(spoiled("profiles/other.yaml", "profile: demo\n"), @r###"
  x there are two profiles `demo`
   ,-[profiles/other.yaml:1:10]
 1 | profile: demo
   :          ^^^^
   `----
  help: give one of them another name
        first here: profiles/demo.yaml:1:10

1 error
"###);
}

#[test]
fn two_stages_of_one_name() {
    let stage = "{ stage: a, on: all, steps: [ { manual: wait } ] }";
    insta::assert_snapshot!(spoiled("playbooks/x.yaml", format!("playbook: x\nstages: [ {stage}, {stage} ]\n")), @r###"
  x there are two stages `a`
   ,-[playbooks/x.yaml:2:20]
 1 | playbook: x
 2 | stages: [ { stage: a, on: all, steps: [ { manual: wait } ] }, { stage: a, on: all, steps: [ { manual: wait } ] } ]
   :                    |                                                   ^
   :                    `-- first here
   `----
  help: give one of them another name

1 error
"###);
}

#[test]
fn two_owners_of_one_path() {
    let text = format!("{PROFILE}  - directory: {{ path: /etc/motd }}\n");
    insta::assert_snapshot!(spoiled("profiles/demo.yaml", text), @r###"
  x two resources own /etc/motd on the same host
   ,-[profiles/demo.yaml:5:5]
 4 | resources:
 5 |   - file: { path: /etc/motd, content: "{{greeting}} {{host.name}}\n" }
   :     ^^|^
   :       `-- the other owner
 6 |   - directory: { path: /etc/motd }
   :     ^^^^^^^^^
   `----
  help: remove one of them, or make one of both

1 error
"###);
}

#[test]
fn an_owner_and_an_editor_of_one_path() {
    let text = format!("{PROFILE}  - line: {{ path: /etc/motd, line: x }}\n");
    insta::assert_snapshot!(spoiled("profiles/demo.yaml", text), @r###"
  x one resource owns /etc/motd whole, another edits a part of it
   ,-[profiles/demo.yaml:5:5]
 4 | resources:
 5 |   - file: { path: /etc/motd, content: "{{greeting}} {{host.name}}\n" }
   :     ^^|^
   :       `-- the other resource
 6 |   - line: { path: /etc/motd, line: x }
   :     ^^^^
   `----
  help: put everything into the whole file, or only edit it

1 error
"###);
}

#[test]
fn two_owners_across_includes() {
    let text = PROFILE.replace("resources:", "includes: [base]\nresources:");
    insta::assert_snapshot!(spoiled("profiles/demo.yaml", text), @r###"
  x two resources own /etc/motd on the same host
   ,-[profiles/demo.yaml:6:5]
 5 | resources:
 6 |   - file: { path: /etc/motd, content: "{{greeting}} {{host.name}}\n" }
   :     ^^^^
   `----
  help: remove one of them, or make one of both
        the other owner: shipped/profiles/base.yaml:6:5

1 error
"###);
}

#[test]
fn relative_and_dotted_paths() {
    let text = format!("{PROFILE}  - directory: {{ path: etc/x }}\n  - directory: {{ path: /srv/../etc }}\n");
    insta::assert_snapshot!(spoiled("profiles/demo.yaml", text), @r###"
  x path `etc/x` is relative: write it from `/`
   ,-[profiles/demo.yaml:6:24]
 5 |   - file: { path: /etc/motd, content: "{{greeting}} {{host.name}}\n" }
 6 |   - directory: { path: etc/x }
   :                        ^^^^^
 7 |   - directory: { path: /srv/../etc }
   `----

  x path `/srv/../etc` has `.` or `..` in it: write it out
   ,-[profiles/demo.yaml:7:24]
 6 |   - directory: { path: etc/x }
 7 |   - directory: { path: /srv/../etc }
   :                        ^^^^^^^^^^^
   `----

2 errors
"###);
}

#[test]
fn bad_parameters() {
    let text = MEMBER.replace("profile: demo }", "profile: demo, parameters: { greeting: 7, greeing: x } }");
    insta::assert_snapshot!(spoiled("members/alpha.yaml", text), @r###"
  x `greeting` must be a text, not 7
   ,-[members/alpha.yaml:5:173]
 4 | servers:
 5 |   - { name: fs-old, address: 192.0.2.11, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, profile: demo, parameters: { greeting: 7, greeing: x } }
   :                                                                                                                                                                             ^
 6 |   - { name: fs-new, address: 192.0.2.12, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, replaces: fs-old }
   `----
  help: put it in quotes: "7"

  x the profile `demo` has no parameter `greeing`
   ,-[members/alpha.yaml:5:185]
 4 | servers:
 5 |   - { name: fs-old, address: 192.0.2.11, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, profile: demo, parameters: { greeting: 7, greeing: x } }
   :                                                                                                                                                                                         ^
 6 |   - { name: fs-new, address: 192.0.2.12, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, replaces: fs-old }
   `----
  help: did you mean `greeting`?

2 errors
"###);
}

#[test]
fn empty_fleet() {
    insta::assert_snapshot!(spoiled("members/alpha.yaml", "member: alpha\nname: Alpha\n"), @r###"
  x the fleet has no devices
   ,-[members/alpha.yaml:1:1]
 1 | member: alpha
   : ^
 2 | name: Alpha
   `----
  help: add a member: `members/NAME.yaml` with `servers`, `pcs` or `printers` (docs/fleet.md)

1 error
"###);
}

#[test]
fn one_address_twice() {
    let text = MEMBER.replace("name: pc-1", "name: pc-1, address: 192.0.2.12");
    insta::assert_snapshot!(spoiled("members/alpha.yaml", text), @r###"
  ! `alpha/pc-1` and `alpha/fs-new` have the address 192.0.2.12
   ,-[members/alpha.yaml:6:13]
 5 |   - { name: fs-old, address: 192.0.2.11, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, profile: demo }
 6 |   - { name: fs-new, address: 192.0.2.12, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, replaces: fs-old }
   :             ^^^|^^
   :                `-- the other one
 7 | pcs:
 8 |   - { name: pc-1, address: 192.0.2.12, site: rathaus }
   :             ^^^^
   `----
  help: is one of them a typing mistake?

1 warning
"###);
}

#[test]
fn many_problems_in_many_files() {
    let mut texts = good();
    texts.insert("weiche.yaml", CONFIG.replace("user:", "usr:"));
    texts.insert(
        "members/alpha.yaml",
        MEMBER.replace("profile: demo", "profil: demo").replace("site: rathaus", "site: [x]"),
    );
    texts.insert("profiles/demo.yaml", PROFILE.replace("content:", "contents:").replace("type: string", "type: text"));
    texts.insert("playbooks/x.yaml", "playbook: x y\nstages: 3\n".into());
    insta::assert_snapshot!(complaint(&texts), @r###"
  x unknown key `profil`
   ,-[members/alpha.yaml:5:134]
 4 | servers:
 5 |   - { name: fs-old, address: 192.0.2.11, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, profil: demo }
   :                                                                                                                                      ^^^^^^
 6 |   - { name: fs-new, address: 192.0.2.12, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, replaces: fs-old }
   `----
  help: did you mean `profile`?

  x expected a text, found a list
   ,-[members/alpha.yaml:8:25]
 7 | pcs:
 8 |   - { name: pc-1, site: [x] }
   :                         ^
   `----

  x `x y` is no name: letters, digits, `-` and `_`, at most 63, not starting with `-`
   ,-[playbooks/x.yaml:1:11]
 1 | playbook: x y
   :           ^^^
 2 | stages: 3
   `----

  x expected a list of stages, found the number 3
   ,-[playbooks/x.yaml:2:9]
 1 | playbook: x y
 2 | stages: 3
   :         ^
   `----
  help: write a list: [ 3 ]

  x unknown value `text`
   ,-[profiles/demo.yaml:3:21]
 2 | parameters:
 3 |   greeting: { type: text, default: hello }
   :                     ^^^^
 4 | resources:
   `----
  help: there is `bool`, `host`, `hosts`, `int`, `list`, `path`, `string`

  x `file` has no key `contents`
   ,-[profiles/demo.yaml:5:30]
 4 | resources:
 5 |   - file: { path: /etc/motd, contents: "{{greeting}} {{host.name}}\n" }
   :                              ^^^^^^^^
   `----
  help: did you mean `content`?

  x unknown key `usr`
   ,-[weiche.yaml:3:8]
 2 | timezone: Europe/Berlin
 3 | ssh: { usr: weiche }
   :        ^^^
   `----
  help: did you mean `user`?

7 errors
"###);
}

#[test]
fn problems_are_data_too() {
    let (result, _) = read(&Texts::from([("weiche.yaml", CONFIG.replace("fleet: test", "fleet: 7"))]));
    let json = serde_json::to_string_pretty(&result.unwrap_err()).unwrap();
    insta::assert_snapshot!(json, @r###"
[
  {
    "severity": "error",
    "file": "weiche.yaml",
    "span": {
      "start": 0,
      "len": 0
    },
    "line": 1,
    "column": 1,
    "message": "the fleet has no devices",
    "hint": "add a member: `members/NAME.yaml` with `servers`, `pcs` or `printers` (docs/fleet.md)"
  },
  {
    "severity": "error",
    "file": "weiche.yaml",
    "span": {
      "start": 7,
      "len": 1
    },
    "line": 1,
    "column": 8,
    "message": "expected a text, found the number 7",
    "hint": "put it in quotes: \"7\""
  }
]
"###);
}

#[test]
fn what_a_guard_waits_for_in_vain_is_found_without_a_plan() {
    let text = "\
playbook: guarded
inputs: { hosts: hosts }
stages:
  - stage: s
    on: hosts
    within: 2m
    steps:
      - manual: look at the lamp
      - reboot: new kernel
      - command: { argv: [/usr/bin/wipe, '{{ host.name }}'], irreversible: true }
";
    insta::assert_snapshot!(spoiled("playbooks/guarded.yaml", text), @r###"
  x the stage `s` has a guard and a manual step: the guard waits for no person
   ,-[playbooks/guarded.yaml:8:9]
 7 |     steps:
 8 |       - manual: look at the lamp
   :         ^^^^^^
 9 |       - reboot: new kernel
   `----
  help: put it into a stage of its own, without `guard` and `within`

  x the stage `s` has a guard and a restart: the host takes the stage back when it comes up
    ,-[playbooks/guarded.yaml:9:9]
  8 |       - manual: look at the lamp
  9 |       - reboot: new kernel
    :         ^^^^^^
 10 |       - command: { argv: [/usr/bin/wipe, '{{ host.name }}'], irreversible: true }
    `----
  help: put it into a stage of its own, without `guard` and `within`

  x the stage `s` has a guard and an irreversible step: it could not be taken back
    ,-[playbooks/guarded.yaml:10:9]
  9 |       - reboot: new kernel
 10 |       - command: { argv: [/usr/bin/wipe, '{{ host.name }}'], irreversible: true }
    :         ^^^^^^^
    `----
  help: put it into a stage of its own, without `guard` and `within`

3 errors
"###);
}
