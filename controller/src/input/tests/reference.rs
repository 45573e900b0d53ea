//! Mistakes of reference: to what is not there, or in a circle.

use super::*;

#[test]
fn missing_host() {
    let text = MEMBER.replace("replaces: fs-old", "replaces: fs-odl");
    insta::assert_snapshot!(spoiled("members/alpha.yaml", text), @r###"
  x there is no host `alpha/fs-odl`
   ,-[members/alpha.yaml:6:144]
 5 |   - { name: fs-old, address: 192.0.2.11, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, profile: demo }
 6 |   - { name: fs-new, address: 192.0.2.12, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, replaces: fs-odl }
   :                                                                                                                                                ^^^^^^
 7 | pcs:
   `----
  help: did you mean `fs-old`?

1 error
"###);
}

#[test]
fn missing_profile() {
    let text = MEMBER.replace("profile: demo", "profile: demoo");
    insta::assert_snapshot!(spoiled("members/alpha.yaml", text), @r###"
  x there is no profile `demoo`
   ,-[members/alpha.yaml:5:143]
 4 | servers:
 5 |   - { name: fs-old, address: 192.0.2.11, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, profile: demoo }
   :                                                                                                                                               ^^^^^
 6 |   - { name: fs-new, address: 192.0.2.12, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, replaces: fs-old }
   `----
  help: did you mean `demo`?

1 error
"###);
}

#[test]
fn missing_site() {
    let text = MEMBER.replace("site: rathaus", "site: schule");
    insta::assert_snapshot!(spoiled("members/alpha.yaml", text), @r###"
  x the member has no site `schule`
   ,-[members/alpha.yaml:8:25]
 7 | pcs:
 8 |   - { name: pc-1, site: schule }
   :                         ^^^^^^
   `----
  help: there is `rathaus`

1 error
"###);
}

#[test]
fn missing_file() {
    let text = format!("{PROFILE}  - file: {{ path: /a, template: a.conf }}\n  - file: {{ path: /b, source: ../b }}\n");
    insta::assert_snapshot!(spoiled("profiles/demo.yaml", text), @r###"
  x there is no file `a.conf`
   ,-[profiles/demo.yaml:6:33]
 5 |   - file: { path: /etc/motd, content: "{{greeting}} {{host.name}}\n" }
 6 |   - file: { path: /a, template: a.conf }
   :                                 ^^^^^^
 7 |   - file: { path: /b, source: ../b }
   `----
  help: paths are relative to the fleet's `files/`

  x `../b` must stay below `files/`: no `..`, `.` or empty parts
   ,-[profiles/demo.yaml:7:31]
 6 |   - file: { path: /a, template: a.conf }
 7 |   - file: { path: /b, source: ../b }
   :                               ^^^^
   `----
  help: paths are relative to the fleet's `files/`

2 errors
"###);
}

#[test]
fn missing_variable() {
    let text = PROFILE.replace("{{greeting}}", "{{greting}}");
    insta::assert_snapshot!(spoiled("profiles/demo.yaml", text), @r###"
  x there is no variable `greting` here
   ,-[profiles/demo.yaml:5:40]
 4 | resources:
 5 |   - file: { path: /etc/motd, content: "{{greting}} {{host.name}}\n" }
   :                                        ^^^^^^^^^^^
   `----
  help: did you mean `greeting`?

1 error
"###);
}

#[test]
fn missing_variable_in_a_template_file() {
    let mut texts = good();
    texts.insert("files/a.conf", "one\ntwo {{thre}}\n".into());
    texts.insert("profiles/demo.yaml", format!("{PROFILE}  - file: {{ path: /a, template: a.conf }}\n"));
    insta::assert_snapshot!(complaint(&texts), @r###"
  x there is no variable `thre` here
   ,-[files/a.conf:2:5]
 1 | one
 2 | two {{thre}}
   :     ^^^^^^^^
   `----
  help: there is `fleet`, `greeting`, `host`, `member`
        used here: profiles/demo.yaml:6:33

1 error
"###);
}

#[test]
fn missing_variable_in_a_playbook() {
    let text = "playbook: x\ninputs: { old: host }\nstages:\n  - { stage: a, on: old, steps: [ { manual: \"{{odl.name}} {{old.dta}}\" }, { manual: \"{{\" } ] }\n";
    insta::assert_snapshot!(spoiled("playbooks/x.yaml", text), @r###"
  x there is no variable `odl.name` here
   ,-[playbooks/x.yaml:4:46]
 3 | stages:
 4 |   - { stage: a, on: old, steps: [ { manual: "{{odl.name}} {{old.dta}}" }, { manual: "{{" } ] }
   :                                              ^^^^^^^^^^^^
   `----
  help: did you mean `old`?

  x `old.dta`: a host has no `dta`, and no profile has such a parameter
   ,-[playbooks/x.yaml:4:59]
 3 | stages:
 4 |   - { stage: a, on: old, steps: [ { manual: "{{odl.name}} {{old.dta}}" }, { manual: "{{" } ] }
   :                                                           ^^^^^^^^^^^
   `----
  help: did you mean `data`?

  x the template is broken: it is no valid Handlebars (an unclosed `{{`?)
   ,-[playbooks/x.yaml:4:85]
 3 | stages:
 4 |   - { stage: a, on: old, steps: [ { manual: "{{odl.name}} {{old.dta}}" }, { manual: "{{" } ] }
   :                                                                                     ^^^^
   `----
  help: write `\{{` for braces that are no expression

3 errors
"###);
}

#[test]
fn missing_input() {
    let text = "playbook: x\ninputs: { old: host, n: int }\nstages:\n  - { stage: a, on: new, steps: [] }\n  - { stage: b, on: n, steps: [] }\n";
    insta::assert_snapshot!(spoiled("playbooks/x.yaml", text), @r###"
  x there is no input `new`
   ,-[playbooks/x.yaml:4:21]
 3 | stages:
 4 |   - { stage: a, on: new, steps: [] }
   :                     ^^^
 5 |   - { stage: b, on: n, steps: [] }
   `----
  help: there is `all`, `old`

  x the input `n` is no host
   ,-[playbooks/x.yaml:5:21]
 4 |   - { stage: a, on: new, steps: [] }
 5 |   - { stage: b, on: n, steps: [] }
   :                     ^
   `----
  help: give it the type `host` or `hosts`

2 errors
"###);
}

#[test]
fn missing_reference_of_a_unit() {
    let text = format!("{PROFILE}  - unit: {{ name: x, running: true, restart_on: [file /etc/mtd] }}\n");
    insta::assert_snapshot!(spoiled("profiles/demo.yaml", text), @r###"
  x there is no resource `file /etc/mtd` above this unit
   ,-[profiles/demo.yaml:6:50]
 5 |   - file: { path: /etc/motd, content: "{{greeting}} {{host.name}}\n" }
 6 |   - unit: { name: x, running: true, restart_on: [file /etc/mtd] }
   :                                                  ^^^^^^^^^^^^^
   `----
  help: did you mean `file /etc/motd`?

1 error
"###);
}

#[test]
fn circle_of_replaces() {
    let text = MEMBER.replace("profile: demo }", "profile: demo, replaces: fs-new }");
    insta::assert_snapshot!(spoiled("members/alpha.yaml", text), @r###"
  x hosts replace each other in a circle: fs-old -> fs-new -> fs-old
   ,-[members/alpha.yaml:5:159]
 4 | servers:
 5 |   - { name: fs-old, address: 192.0.2.11, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, profile: demo, replaces: fs-new }
   :                                                                                                                                                               ^^^^^^
 6 |   - { name: fs-new, address: 192.0.2.12, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, replaces: fs-old }
   `----
  help: remove `replaces` from the oldest of them

1 error
"###);
}

#[test]
fn circle_of_includes() {
    let mut texts = good();
    texts.insert("profiles/demo.yaml", PROFILE.replace("resources:", "includes: [other]\nresources:"));
    texts.insert("profiles/other.yaml", "profile: other\nincludes: [demo]\n".into());
    insta::assert_snapshot!(complaint(&texts), @r###"
  x profiles include each other in a circle: demo -> other -> demo
   ,-[profiles/demo.yaml:4:12]
 3 |   greeting: { type: string, default: hello }
 4 | includes: [other]
   :            ^^^^^
 5 | resources:
   `----
  help: move what they share into a third profile

  x profiles include each other in a circle: other -> demo -> other
   ,-[profiles/other.yaml:2:12]
 1 | profile: other
 2 | includes: [demo]
   :            ^^^^
   `----
  help: move what they share into a third profile

2 errors
"###);
}

#[test]
fn missing_parameter() {
    let text = PROFILE.replace("string, default: hello", "string");
    insta::assert_snapshot!(spoiled("profiles/demo.yaml", text), @r###"
  x the profile `demo` needs the parameter `greeting`, which `alpha/fs-old` does not set
   ,-[members/alpha.yaml:5:13]
 4 | servers:
 5 |   - { name: fs-old, address: 192.0.2.11, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, profile: demo }
   :             ^^^^^^
 6 |   - { name: fs-new, address: 192.0.2.12, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, replaces: fs-old }
   `----
  help: add `parameters: { greeting: ... }`

  x the profile `demo` needs the parameter `greeting`, which `alpha/fs-new` does not set
   ,-[members/alpha.yaml:6:13]
 5 |   - { name: fs-old, address: 192.0.2.11, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, profile: demo }
 6 |   - { name: fs-new, address: 192.0.2.12, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, replaces: fs-old }
   :             ^^^^^^
 7 | pcs:
   `----
  help: add `parameters: { greeting: ... }`

2 errors
"###);
}

#[test]
fn circle_of_jumps() {
    let text = MEMBER
        .replace("replaces: fs-old }", "ssh: { jump: fs-old } }")
        .replace("profile: demo }", "ssh: { jump: fs-new } }");
    insta::assert_snapshot!(spoiled("members/alpha.yaml", text), @r###"
  x the jump hosts of `alpha/fs-old` lead in a circle
   ,-[members/alpha.yaml:5:147]
 4 | servers:
 5 |   - { name: fs-old, address: 192.0.2.11, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, ssh: { jump: fs-new } }
   :                                                                                                                                                   ^^^^^^
 6 |   - { name: fs-new, address: 192.0.2.12, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, ssh: { jump: fs-old } }
   `----
  help: a jump host must be reachable itself, without coming back

  x the jump hosts of `alpha/fs-new` lead in a circle
   ,-[members/alpha.yaml:6:147]
 5 |   - { name: fs-old, address: 192.0.2.11, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, ssh: { jump: fs-new } }
 6 |   - { name: fs-new, address: 192.0.2.12, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, ssh: { jump: fs-old } }
   :                                                                                                                                                   ^^^^^^
 7 | pcs:
   `----
  help: a jump host must be reachable itself, without coming back

2 errors
"###);
}

#[test]
fn a_vantage_host_that_is_not_there_not_the_members_or_not_in_reach() {
    let with = |name: &str| MEMBER.replace("servers:", &format!("vantage: {name}\nservers:"));
    insta::assert_snapshot!(spoiled("members/alpha.yaml", with("pc-2")), @r###"
  x there is no host `alpha/pc-2`
   ,-[members/alpha.yaml:4:10]
 3 | sites: { rathaus: { address: Main Street } }
 4 | vantage: pc-2
   :          ^^^^
 5 | servers:
   `----
  help: did you mean `pc-1`?

1 error
"###);
    insta::assert_snapshot!(spoiled("members/alpha.yaml", with("beta/pc-1")), @r###"
  x `beta/pc-1` is no host of the member `alpha`
   ,-[members/alpha.yaml:4:10]
 3 | sites: { rathaus: { address: Main Street } }
 4 | vantage: beta/pc-1
   :          ^^^^^^^^^
 5 | servers:
   `----
  help: name one of its own PCs or servers: what its users see is to be measured

1 error
"###);
    insta::assert_snapshot!(spoiled("members/alpha.yaml", with("pc-1")), @r###"
  x nothing can be measured from `alpha/pc-1`: it cannot be reached
   ,-[members/alpha.yaml:4:10]
 3 | sites: { rathaus: { address: Main Street } }
 4 | vantage: pc-1
   :          ^^^^
 5 | servers:
   `----
  help: give it an `address` and a `host_key`, or name another host

1 error
"###);
    let keyless = with("pc-1").replace("name: pc-1,", "name: pc-1, address: 192.0.2.21,");
    insta::assert_snapshot!(spoiled("members/alpha.yaml", keyless), @r###"
  x nothing can be measured from `alpha/pc-1`: it cannot be reached
   ,-[members/alpha.yaml:4:10]
 3 | sites: { rathaus: { address: Main Street } }
 4 | vantage: pc-1
   :          ^^^^
 5 | servers:
   `----
  help: give it its `host_key` from /etc/ssh/ssh_host_ed25519_key.pub, or name another host

1 error
"###);
}
