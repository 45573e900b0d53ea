//! What becomes of a playbook for given inputs.

mod centre;
mod direct;
mod turns;
mod uses;

use serde_json::json;

use super::{Keys, expand};
use crate::input::diagnostic::{Problems, render};
use crate::input::files::Files as _;
use crate::input::source::Sources;
use crate::input::target::HostName;
use crate::input::tests::{Texts, fleet, good};
use crate::plan::procedure::{Action, Content, Procedure};

fn given(inputs: &[(&str, &str)]) -> Vec<(String, String)> {
    inputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn run(texts: &Texts, playbook: &str, inputs: &[(&str, &str)]) -> Result<Procedure, Problems> {
    let keys = Keys { nonce: "n".into(), seed: [7; 32] };
    expand(&fleet(texts), playbook, &given(inputs), texts, &keys)
}

fn complaint(texts: &Texts, playbook: &str, inputs: &[(&str, &str)]) -> String {
    render(&run(texts, playbook, inputs).unwrap_err(), &Sources::default(), false)
}

/// A procedure, an action a line.
fn outline(procedure: &Procedure) -> String {
    let mut lines = Vec::new();
    for stage in &procedure.stages {
        for (host, actions) in &stage.hosts {
            lines.push(format!("{} on {host}", stage.name));
            for action in actions {
                let text = match action {
                    Action::Resource(step) => {
                        let named =
                            ["path", "name"].iter().find_map(|key| step.spec[*key].as_str()).unwrap_or_default();
                        let watches: Vec<&str> = step.watches.iter().map(|id| id.0.as_str()).collect();
                        let anchor = if step.anchor { " (anchor)" } else { "" };
                        let watching =
                            if watches.is_empty() { String::new() } else { format!(" watches {}", watches.join(", ")) };
                        format!("{} {named}{anchor}{watching}", step.kind)
                    }
                    Action::Transfer(t) => format!("transfer {} from {}, delete {}", t.path, t.from, t.delete),
                    Action::Check(check) => format!("check {:?} within {:?}", check.probe, check.within),
                    Action::Reboot(reboot) => format!("reboot {:?} within {:?}", reboot.reason, reboot.within),
                    Action::Manual(manual) => format!("manual {manual}"),
                };
                lines.push(format!("  {} {text}", action.id()));
            }
        }
    }
    lines.join("\n")
}

#[test]
fn converge_renders_contents() {
    let texts = good();
    let procedure = run(&texts, "converge", &[("hosts", "fs-old, alpha/fs-new")]).unwrap();
    insta::assert_snapshot!(outline(&procedure), @r###"
converge on alpha/fs-new
  converge.1 file /etc/motd
converge on alpha/fs-old
  converge.1 file /etc/motd
"###);
    assert_eq!(procedure.inputs["hosts"], json!(["alpha/fs-new", "alpha/fs-old"]));
    let texts: Vec<&Content> = procedure.contents.values().collect();
    assert!(texts.contains(&&Content::Text("hello fs-new\n".into())), "{texts:?}");
    assert!(texts.contains(&&Content::Text("hello fs-old\n".into())), "{texts:?}");
}

#[test]
fn the_server_swap() {
    let mut texts = good();
    let member = texts["members/alpha.yaml"].replace("profile: demo", "profile: file-server");
    texts.insert("members/alpha.yaml", member);
    let inputs = [("old", "fs-old"), ("new", "alpha/fs-new")];
    let procedure = run(&texts, "copy-swap", &inputs).unwrap();
    insta::assert_snapshot!(outline(&procedure), @r###"
preflight on alpha/fs-new
  preflight.1 check Command(["test", "-d", "/etc"]) within 10s
preflight on alpha/fs-old
  preflight.1 check Command(["test", "-d", "/etc"]) within 10s
build on alpha/fs-new
  build.1 file /etc/motd
  build.2 unit nginx (anchor)
  build.3 package nginx
  build.4 directory /srv
  build.5 directory /srv/intranet
  build.6 directory /srv/landing
  build.7 file /srv/landing/index.html
  build.8 directory /etc/nginx
  build.9 directory /etc/nginx/conf.d
  build.10 file /etc/nginx/conf.d/intranet.conf
  build.11 unit nginx watches build.3, build.10
  build.12 group verwaltung
  build.13 user scan
  build.14 unit smbd (anchor)
  build.15 package samba
  build.16 directory /srv/files
  build.17 directory /etc/samba
  build.18 file /etc/samba/smb.conf
  build.19 unit smbd watches build.15, build.18
presync on alpha/fs-new
  presync.1 transfer /srv/files from alpha/fs-old, delete false
  presync.2 transfer /srv/intranet from alpha/fs-old, delete false
stop on alpha/fs-old
  stop.1 unit smbd
  stop.2 unit nginx
cutover on alpha/fs-new
  cutover.1 transfer /srv/files from alpha/fs-old, delete true
  cutover.2 transfer /srv/intranet from alpha/fs-old, delete true
  cutover.3 unit smbd
  cutover.4 unit nginx
verify on alpha/fs-new
  verify.1 check Tcp("192.0.2.12:445") within 60s
  verify.2 check Http { url: "http://192.0.2.12:80/", status: 200 } within 60s
"###);
    assert_eq!(procedure, run(&texts, "copy-swap", &inputs).unwrap());
}

#[test]
fn every_digest_has_its_content() {
    let mut texts = good();
    texts.insert("files/logo", "image".into());
    let profile = format!("{}  - file: {{ path: /logo, source: logo }}\n", texts["profiles/demo.yaml"]);
    texts.insert("profiles/demo.yaml", profile);
    let procedure = run(&texts, "converge", &[("hosts", "{kind: server}")]).unwrap();
    let (digest, size) = texts.digest("logo").unwrap();
    assert_eq!(procedure.contents[&digest], Content::File { path: "files/logo".into(), size });
    for action in procedure.stages.iter().flat_map(|stage| stage.hosts.values()).flatten() {
        let Action::Resource(step) = action else { panic!("{action:?}") };
        let digest = serde_json::from_value(step.spec["blob"]["digest"].clone()).unwrap();
        assert!(procedure.contents.contains_key(&digest), "{step:?}");
        assert!(step.spec.get("content").is_none());
    }
}

#[test]
fn inputs_given_again_mean_the_same() {
    let procedure = run(&good(), "converge", &[("hosts", "all")]).unwrap();
    let again = procedure.inputs["hosts"].to_string();
    assert_eq!(procedure, run(&good(), "converge", &[("hosts", &again)]).unwrap());
    assert_eq!(procedure.stages[0].hosts.len(), 2);
    assert!(!procedure.stages[0].hosts.contains_key(&HostName::new("alpha", "pc-1")));
}

#[test]
fn steps_of_every_sort() {
    let mut texts = good();
    let playbook = "\
playbook: x
inputs: { on: hosts, n: { type: int, default: 3 }, list: { type: list, default: [/a, /b] } }
stages:
  - stage: one
    on: \"{{on}}\"
    steps:
      - apply: { profile: demo, parameters: { greeting: \"{{member.title}}\" } }
        timeout: 90s
      - directory: { path: \"/srv/{{host.name}}-{{n}}\" }
      - command: { argv: [touch, /x], creates: /x, undo: [rm, -f, /x] }
      - transfer: { from: alpha/fs-old, paths: \"{{list}}\" }
      - check: { http: \"http://{{host.address}}/\", status: 204 }
        within: 5s
      - check: { command: [test, -e, /x] }
      - manual: \"look at {{host.id}}\"
        by: \"{{member.name}}\"
        takes: 90m
  - stage: two
    on: { name: fs-old }
    steps: [ { manual: wait } ]
";
    texts.insert("playbooks/x.yaml", playbook.into());
    let procedure = run(&texts, "x", &[("on", "fs-new")]).unwrap();
    insta::assert_snapshot!(outline(&procedure), @r###"
one on alpha/fs-new
  one.1 file /etc/motd
  one.2 directory /srv/fs-new-3
  one.3 command 
  one.4 transfer /a from alpha/fs-old, delete false
  one.5 transfer /b from alpha/fs-old, delete false
  one.6 check Http { url: "http://192.0.2.12/", status: 204 } within 5s
  one.7 check Command(["test", "-e", "/x"]) within 30s
  one.8 manual look at alpha/fs-new (alpha, about 1h 30m)
two on alpha/fs-old
  two.1 manual wait
"###);
    let Action::Resource(step) = &procedure.stages[0].hosts[&HostName::new("alpha", "fs-new")][0] else { panic!() };
    assert_eq!(step.timeout_ms, 90_000);
}

#[test]
fn ways_to_look_and_restarts() {
    let mut texts = good();
    let playbook = "
playbook: x
inputs: { on: host }
stages:
  - stage: one
    on: on
    steps:
      - check: { dns: { name: fs.example, server: \"{{host.address}}\", expect: 192.0.2.12 } }
      - check: { dns: { name: example, type: MX, expect: [\"10 a.example\", \"20 b.example\"] } }
      - check: { certificate: { endpoint: \"x.example:443\" } }
      - check: { certificate: { path: /etc/x.pem, name: x.example, days_left: 3 } }
      - check: { unit: smbd }
      - check: { postgres: {} }
        every: 2s
      - reboot: new kernel for {{host.name}}
        within: 5m
      - reboot:
      - wait_for: { postgres: { database: intranet, query: SELECT 2, expect: \"2\" } }
";
    texts.insert("playbooks/x.yaml", playbook.into());
    let procedure = run(&texts, "x", &[("on", "fs-new")]).unwrap();
    let lines = |action: &Action| match action {
        Action::Check(c) => format!("{} {:?} {:?} {}", c.probe, c.within, c.every, c.waits),
        action => format!("{action:?}"),
    };
    let lines: Vec<String> = procedure.stages[0].hosts.values().flatten().map(lines).collect();
    insta::assert_snapshot!(lines.join("\n"), @r###"
dns A fs.example is 192.0.2.12 at 192.0.2.12 30s 500ms false
dns MX example is 10 a.example, 20 b.example 30s 500ms false
certificate of x.example:443, valid for 14 days 30s 500ms false
certificate of /etc/x.pem for x.example, valid for 3 days 30s 500ms false
unit smbd is active 30s 500ms false
postgres postgres: SELECT 1 30s 2s false
Reboot(Reboot { id: StepId("one.7"), reason: Some("new kernel for fs-new"), within: 300s })
Reboot(Reboot { id: StepId("one.8"), reason: None, within: 600s })
postgres intranet: SELECT 2 answers 2 600s 5s true
"###);

    let wrong = "
playbook: x
inputs: { on: host }
stages:
  - stage: one
    on: on
    steps:
      - check: { unit: --all }
      - wait_for: { dns: { name: a.example, type: B } }
      - check: { tcp: \"a:1\" }
        every: 0s
      - reboot: []
      - manual: x
        every: 1s
      - reboot: x
        timeout: 1s
";
    texts.insert("playbooks/x.yaml", wrong.into());
    insta::assert_snapshot!(crate::input::tests::complaint(&texts), @r###"
  x `--all` is no name of a unit
   ,-[playbooks/x.yaml:8:9]
 7 |     steps:
 8 |       - check: { unit: --all }
   :         ^^^^^
 9 |       - wait_for: { dns: { name: a.example, type: B } }
   `----

  x unknown value `B`
    ,-[playbooks/x.yaml:9:51]
  8 |       - check: { unit: --all }
  9 |       - wait_for: { dns: { name: a.example, type: B } }
    :                                                   ^
 10 |       - check: { tcp: "a:1" }
    `----
  help: did you mean `A`?

  x `every` must be longer than nothing
    ,-[playbooks/x.yaml:11:16]
 10 |       - check: { tcp: "a:1" }
 11 |         every: 0s
    :                ^^
 12 |       - reboot: []
    `----

  x expected a text, found a list
    ,-[playbooks/x.yaml:12:17]
 11 |         every: 0s
 12 |       - reboot: []
    :                 ^
 13 |       - manual: x
    `----

  x `every` belongs to a `check` or a `wait_for`
    ,-[playbooks/x.yaml:14:9]
 13 |       - manual: x
 14 |         every: 1s
    :         ^^^^^
 15 |       - reboot: x
    `----

  x `reboot` has no timeout
    ,-[playbooks/x.yaml:16:9]
 15 |       - reboot: x
 16 |         timeout: 1s
    :         ^^^^^^^
    `----
  help: use `within`

6 errors
"###);
}

#[test]
fn bad_inputs() {
    insta::assert_snapshot!(complaint(&good(), "server-swop", &[]), @r###"
  x command line: there is no playbook `server-swop`
  help: did you mean `server-swap`?

1 error
"###);
    insta::assert_snapshot!(complaint(&good(), "copy-swap", &[("odl", "x"), ("new", "fs-nwe")]), @r###"
  x command line: the playbook `copy-swap` has no input `odl`
  help: did you mean `old`?

  x command line: the input `new`: there is no host `fs-nwe`
  help: did you mean `fs-new`?

  x command line: the playbook `copy-swap` needs the input `old`
  help: give it as old=...: the server that is replaced

3 errors
"###);
    insta::assert_snapshot!(complaint(&good(), "converge", &[("hosts", "{kind: printer, sit: x}")]), @r###"
  x command line: the input `hosts`: unknown value `printer`
  help: there is `pc`, `server`

  x command line: the input `hosts`: unknown key `sit`
  help: did you mean `site`?

2 errors
"###);
    insta::assert_snapshot!(complaint(&good(), "converge", &[("hosts", "{member: beta}")]), @r###"
  x command line: the input `hosts`: there is no member `beta` in the fleet
  help: there is `alpha`

1 error
"###);
    insta::assert_snapshot!(complaint(&good(), "converge", &[("hosts", "pc-1")]), @r###"
  x command line: the input `hosts`: `alpha/pc-1` has no `address` yet, so it cannot be reached
  help: add `address` and `host_key` in the member's file, or select fewer hosts

1 error
"###);
}

#[test]
fn what_a_playbook_lacks_for_these_hosts() {
    let mut texts = good();
    let member = texts["members/alpha.yaml"].replace(", profile: demo", "");
    texts.insert("members/alpha.yaml", member);
    insta::assert_snapshot!(complaint(&texts, "converge", &[("hosts", "fs-old")]), @r###"
  x shipped/converge.yaml:10:16: `alpha/fs-old` has no profile
  help: add `profile: ...` in the member's file, or select other hosts

1 error
"###);
    insta::assert_snapshot!(complaint(&texts, "copy-swap", &[("old", "fs-old"), ("new", "fs-old")]), @r###"
  x shipped/copy-swap.yaml:19:17: there is no variable `old.profile` here: `old` has no `profile`
  help: there is `address`, `id`, `kind`, `member`, `name`, `parameters`, `port`

  x shipped/copy-swap.yaml:25:27: `alpha/fs-old` cannot transfer from itself
  help: run this stage on the other host

  x shipped/copy-swap.yaml:25:40: there is no variable `old.data` here: `old` has no `data`
  help: there is `address`, `id`, `kind`, `member`, `name`, `parameters`, `port`

  x shipped/copy-swap.yaml:38:27: `alpha/fs-old` cannot transfer from itself
  help: run this stage on the other host

  x shipped/copy-swap.yaml:38:40: there is no variable `old.data` here: `old` has no `data`
  help: there is `address`, `id`, `kind`, `member`, `name`, `parameters`, `port`

  x shipped/copy-swap.yaml:45:40: there is no variable `new.smb_port` here: `new` has no
  | `smb_port`
  help: there is `address`, `id`, `kind`, `member`, `name`, `parameters`, `port`

  x shipped/copy-swap.yaml:47:48: there is no variable `new.intranet_port` here: `new` has no
  | `intranet_port`
  help: there is `address`, `id`, `kind`, `member`, `name`, `parameters`, `port`

7 errors
"###);
}

#[test]
fn what_a_guard_could_not_take_back_has_no_place_in_its_stage() {
    let mut texts = good();
    let playbook = "\
playbook: guarded
inputs: { hosts: hosts }
stages:
  - stage: s
    on: hosts
    guard: 2m
    steps:
      - file: { path: /etc/motd, content: \"new\\n\" }
      - apply: final
  - stage: windowed
    on: hosts
    window: nights
    steps: [ { file: { path: /etc/motd, content: \"new\\n\" } } ]
";
    texts.insert("playbooks/guarded.yaml", playbook.into());
    // What a playbook says itself is found without a plan.
    let r#final = "profile: final\nresources: [ { command: { argv: [/usr/bin/true], irreversible: true } } ]\n";
    texts.insert("profiles/final.yaml", r#final.into());
    let said = complaint(&texts, "guarded", &[("hosts", "fs-old")]);
    for part in ["has a guard and an irreversible step", "`alpha` has no window `nights`", "2 errors"] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
}
