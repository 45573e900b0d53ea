//! Direct transfers: what both hosts do for them, in order, and what is refused.

use serde_json::json;

use super::{complaint, given, good, run};
use crate::input::tests::{Texts, fleet, spoiled};
use crate::plan::expand::{Keys, expand};
use crate::plan::procedure::{Action, Content, Procedure};

const GIVEN: [(&str, &str); 2] = [("old", "fs-old"), ("new", "fs-new")];

/// A playbook with a stage in turns for each of these steps.
fn playbook(steps: &[&str]) -> String {
    let stage = |(at, step): (usize, &&str)| {
        format!("  - stage: s{at}\n    on: [old, new]\n    steps:\n      - transfer: {{ {step} }}\n        on: new\n")
    };
    let stages: String = steps.iter().enumerate().map(stage).collect();
    format!("playbook: x\ninputs: {{ old: host, new: host }}\nstages:\n{stages}")
}

fn texts(steps: &[&str]) -> Texts {
    let mut texts = good();
    texts.insert("playbooks/x.yaml", playbook(steps));
    texts
}

const BEGIN: &str = "from: old, paths: [/srv/files, /srv/A b], via: direct, every: 5m, owners: number";
const FINAL: &str =
    "from: old, paths: [/srv/files, /srv/A b], via: direct, final: true, within: 90s, delete_at_most: 60";
const END: &str = "from: old, paths: [/srv/files, /srv/A b], via: direct, end: true";

/// Who does what in which order; keys and digests are left out.
fn turns(procedure: &Procedure) -> String {
    let mut lines = Vec::new();
    for stage in &procedure.stages {
        for turn in &stage.turns {
            lines.push(format!("{} {}", stage.name, turn.host));
            for action in &stage.hosts[&turn.host] {
                let Action::Resource(step) = action else { panic!("{action:?}") };
                if !turn.steps.contains(&step.id) {
                    continue;
                }
                let mut spec = step.spec.clone();
                let map = spec.as_object_mut().unwrap();
                map.remove("blob");
                map.remove("owner");
                map.remove("group");
                if let Some(key) = map.get_mut("key") {
                    *key = key.as_str().unwrap().rsplit(' ').next().unwrap().into();
                }
                let seconds = step.timeout_ms / 1000;
                lines.push(format!("  {} {} {spec} {seconds}s", step.id, step.kind));
            }
        }
    }
    lines.join("\n")
}

#[test]
fn a_transfer_there_the_way_back_armed_and_its_end() {
    let reverse = format!("{FINAL}, reverse: armed, every: 30s");
    let procedure = run(&texts(&[BEGIN, &reverse, END]), "x", &GIVEN).unwrap();
    insta::assert_snapshot!(turns(&procedure), @r###"
s0 alpha/fs-old
  s0.1 directory {"path":"/etc/weiche"} 300s
  s0.2 directory {"mode":"0700","path":"/etc/weiche/mirror"} 300s
  s0.3 directory {"mode":"0700","path":"/etc/weiche/mirror/srv-files"} 300s
  s0.4 file {"mode":"0600","path":"/etc/weiche/mirror/srv-files/rsyncd.conf"} 300s
  s0.5 authorized_key {"by_comment":true,"key":"weiche-mirror-srv-files@alpha/fs-new","options":"restrict,from=\"192.0.2.12\",command=\"rsync --server --daemon --config=/etc/weiche/mirror/srv-files/rsyncd.conf .\"","user":"root"} 300s
  s0.6 directory {"mode":"0700","path":"/etc/weiche/mirror/srv-a-b-9c70f695"} 300s
  s0.7 file {"mode":"0600","path":"/etc/weiche/mirror/srv-a-b-9c70f695/rsyncd.conf"} 300s
  s0.8 authorized_key {"by_comment":true,"key":"weiche-mirror-srv-a-b-9c70f695@alpha/fs-new","options":"restrict,from=\"192.0.2.12\",command=\"rsync --server --daemon --config=/etc/weiche/mirror/srv-a-b-9c70f695/rsyncd.conf .\"","user":"root"} 300s
s0 alpha/fs-new
  s0.9 directory {"path":"/etc/weiche"} 300s
  s0.10 directory {"mode":"0700","path":"/etc/weiche/mirror"} 300s
  s0.11 directory {"mode":"0700","path":"/etc/weiche/mirror/srv-files"} 300s
  s0.12 file {"mode":"0600","path":"/etc/weiche/mirror/srv-files/key","sensitive":true} 300s
  s0.13 file {"mode":"0600","path":"/etc/weiche/mirror/srv-files/known_hosts"} 300s
  s0.14 mirror {"data":"copy","every":"5m","mode":"follow","name":"srv-files","of":{"address":"192.0.2.11","port":22,"user":"root"},"owners":"number","path":"/srv/files"} 86400s
  s0.15 directory {"mode":"0700","path":"/etc/weiche/mirror/srv-a-b-9c70f695"} 300s
  s0.16 file {"mode":"0600","path":"/etc/weiche/mirror/srv-a-b-9c70f695/key","sensitive":true} 300s
  s0.17 file {"mode":"0600","path":"/etc/weiche/mirror/srv-a-b-9c70f695/known_hosts"} 300s
  s0.18 mirror {"data":"copy","every":"5m","mode":"follow","name":"srv-a-b-9c70f695","of":{"address":"192.0.2.11","port":22,"user":"root"},"owners":"number","path":"/srv/A b"} 86400s
s1 alpha/fs-new
  s1.1 file {"mode":"0600","path":"/etc/weiche/mirror/srv-files/rsyncd.conf"} 300s
  s1.2 authorized_key {"by_comment":true,"key":"weiche-mirror-srv-files@alpha/fs-old","options":"restrict,from=\"192.0.2.11\",command=\"rsync --server --daemon --config=/etc/weiche/mirror/srv-files/rsyncd.conf .\"","user":"root"} 300s
  s1.3 mirror {"delete_at_most":60,"mode":"own","name":"srv-files","owners":"number","path":"/srv/files","within":"90s"} 390s
  s1.4 file {"mode":"0600","path":"/etc/weiche/mirror/srv-a-b-9c70f695/rsyncd.conf"} 300s
  s1.5 authorized_key {"by_comment":true,"key":"weiche-mirror-srv-a-b-9c70f695@alpha/fs-old","options":"restrict,from=\"192.0.2.11\",command=\"rsync --server --daemon --config=/etc/weiche/mirror/srv-a-b-9c70f695/rsyncd.conf .\"","user":"root"} 300s
  s1.6 mirror {"delete_at_most":60,"mode":"own","name":"srv-a-b-9c70f695","owners":"number","path":"/srv/A b","within":"90s"} 390s
s1 alpha/fs-old
  s1.7 file {"mode":"0600","path":"/etc/weiche/mirror/srv-files/key","sensitive":true} 300s
  s1.8 file {"mode":"0600","path":"/etc/weiche/mirror/srv-files/known_hosts"} 300s
  s1.9 mirror {"data":"own","delete_at_most":60,"every":"30s","mode":"follow","name":"srv-files","of":{"address":"192.0.2.12","port":22,"user":"root"},"owners":"number","path":"/srv/files","within":"90s"} 300s
  s1.10 file {"mode":"0600","path":"/etc/weiche/mirror/srv-a-b-9c70f695/key","sensitive":true} 300s
  s1.11 file {"mode":"0600","path":"/etc/weiche/mirror/srv-a-b-9c70f695/known_hosts"} 300s
  s1.12 mirror {"data":"own","delete_at_most":60,"every":"30s","mode":"follow","name":"srv-a-b-9c70f695","of":{"address":"192.0.2.12","port":22,"user":"root"},"owners":"number","path":"/srv/A b","within":"90s"} 300s
s2 alpha/fs-old
  s2.1 mirror {"mode":"gone","name":"srv-files","path":"/srv/files"} 300s
  s2.2 authorized_key {"by_comment":true,"key":"weiche-mirror-srv-files@alpha/fs-new","state":"absent","user":"root"} 300s
  s2.3 file {"path":"/etc/weiche/mirror/srv-files/rsyncd.conf","state":"absent"} 300s
  s2.4 file {"path":"/etc/weiche/mirror/srv-files/key","sensitive":true,"state":"absent"} 300s
  s2.5 file {"path":"/etc/weiche/mirror/srv-files/known_hosts","state":"absent"} 300s
  s2.6 directory {"path":"/etc/weiche/mirror/srv-files","state":"absent"} 300s
  s2.7 mirror {"mode":"gone","name":"srv-a-b-9c70f695","path":"/srv/A b"} 300s
  s2.8 authorized_key {"by_comment":true,"key":"weiche-mirror-srv-a-b-9c70f695@alpha/fs-new","state":"absent","user":"root"} 300s
  s2.9 file {"path":"/etc/weiche/mirror/srv-a-b-9c70f695/rsyncd.conf","state":"absent"} 300s
  s2.10 file {"path":"/etc/weiche/mirror/srv-a-b-9c70f695/key","sensitive":true,"state":"absent"} 300s
  s2.11 file {"path":"/etc/weiche/mirror/srv-a-b-9c70f695/known_hosts","state":"absent"} 300s
  s2.12 directory {"path":"/etc/weiche/mirror/srv-a-b-9c70f695","state":"absent"} 300s
s2 alpha/fs-new
  s2.13 mirror {"mode":"gone","name":"srv-files","path":"/srv/files"} 300s
  s2.14 authorized_key {"by_comment":true,"key":"weiche-mirror-srv-files@alpha/fs-old","state":"absent","user":"root"} 300s
  s2.15 file {"path":"/etc/weiche/mirror/srv-files/rsyncd.conf","state":"absent"} 300s
  s2.16 file {"path":"/etc/weiche/mirror/srv-files/key","sensitive":true,"state":"absent"} 300s
  s2.17 file {"path":"/etc/weiche/mirror/srv-files/known_hosts","state":"absent"} 300s
  s2.18 directory {"path":"/etc/weiche/mirror/srv-files","state":"absent"} 300s
  s2.19 mirror {"mode":"gone","name":"srv-a-b-9c70f695","path":"/srv/A b"} 300s
  s2.20 authorized_key {"by_comment":true,"key":"weiche-mirror-srv-a-b-9c70f695@alpha/fs-old","state":"absent","user":"root"} 300s
  s2.21 file {"path":"/etc/weiche/mirror/srv-a-b-9c70f695/rsyncd.conf","state":"absent"} 300s
  s2.22 file {"path":"/etc/weiche/mirror/srv-a-b-9c70f695/key","sensitive":true,"state":"absent"} 300s
  s2.23 file {"path":"/etc/weiche/mirror/srv-a-b-9c70f695/known_hosts","state":"absent"} 300s
  s2.24 directory {"path":"/etc/weiche/mirror/srv-a-b-9c70f695","state":"absent"} 300s
"###);
}

#[test]
fn what_is_prepared_need_not_be_made_while_users_wait() {
    let armed = "from: old, paths: [/srv/files, /srv/A b], via: direct, reverse: armed";
    let cutover = format!("{FINAL} }}\n        on: new\n      - transfer: {{ {armed}");
    let begin = format!("{BEGIN}, reverse: prepared");
    let all = turns(&run(&texts(&[&begin, &cutover, END]), "x", &GIVEN).unwrap());
    assert!(!all.contains("fed_back"), "only behind one more round is there a time to prove it later: {all}");
    let own = all.lines().filter(|line| line.trim().starts_with("s1"));
    let own: Vec<&str> = own.map(|line| line.split(' ').nth(3).unwrap_or(line)).collect();
    assert_eq!(own, ["s1 alpha/fs-new", "mirror", "mirror", "s1 alpha/fs-old", "mirror", "mirror"]);
    // Whatever was made when is removed at the end.
    let at_once = turns(&run(&texts(&[BEGIN, &format!("{FINAL}, reverse: armed"), END]), "x", &GIVEN).unwrap());
    let end = |all: &str| all[all.find("\ns2").unwrap()..].to_owned();
    assert_eq!(end(&all), end(&at_once));
    let again = "from: old, paths: [/srv/files, /srv/A b], via: direct, again: true";
    let mut with_again = texts(&[&begin, again, &cutover, END]);
    let alone = with_again["playbooks/x.yaml"].replacen("stage: s1\n    on: [old, new]", "stage: s1\n    on: new", 1);
    with_again.insert("playbooks/x.yaml", alone);
    let with_again = turns(&run(&with_again, "x", &GIVEN).unwrap());
    assert_eq!(with_again.matches("\"fed_back\":true").count(), 2, "{with_again}");
    let early = flat(&refused(&texts(&[BEGIN, armed, FINAL])));
    assert!(early.contains("the last round of /srv/files comes before the way back"), "{early}");
}

#[test]
fn without_a_way_back_the_old_host_has_no_part_in_the_last_round() {
    let mut texts = texts(&[BEGIN, FINAL, END]);
    let alone = texts["playbooks/x.yaml"].replacen("stage: s1\n    on: [old, new]", "stage: s1\n    on: new", 1);
    let both = texts.insert("playbooks/x.yaml", alone).unwrap();
    let procedure = run(&texts, "x", &GIVEN).unwrap();
    let turns = turns(&procedure);
    let (_, later) = turns.split_once("s1 alpha/fs-new\n").unwrap();
    insta::assert_snapshot!(later, @r###"
  s1.1 mirror {"delete_at_most":60,"mode":"own","name":"srv-files","owners":"number","path":"/srv/files","within":"90s"} 390s
  s1.2 mirror {"delete_at_most":60,"mode":"own","name":"srv-a-b-9c70f695","owners":"number","path":"/srv/A b","within":"90s"} 390s
s2 alpha/fs-new
  s2.1 mirror {"mode":"gone","name":"srv-files","path":"/srv/files"} 300s
  s2.2 file {"path":"/etc/weiche/mirror/srv-files/key","sensitive":true,"state":"absent"} 300s
  s2.3 file {"path":"/etc/weiche/mirror/srv-files/known_hosts","state":"absent"} 300s
  s2.4 directory {"path":"/etc/weiche/mirror/srv-files","state":"absent"} 300s
  s2.5 mirror {"mode":"gone","name":"srv-a-b-9c70f695","path":"/srv/A b"} 300s
  s2.6 file {"path":"/etc/weiche/mirror/srv-a-b-9c70f695/key","sensitive":true,"state":"absent"} 300s
  s2.7 file {"path":"/etc/weiche/mirror/srv-a-b-9c70f695/known_hosts","state":"absent"} 300s
  s2.8 directory {"path":"/etc/weiche/mirror/srv-a-b-9c70f695","state":"absent"} 300s
s2 alpha/fs-old
  s2.9 authorized_key {"by_comment":true,"key":"weiche-mirror-srv-files@alpha/fs-new","state":"absent","user":"root"} 300s
  s2.10 file {"path":"/etc/weiche/mirror/srv-files/rsyncd.conf","state":"absent"} 300s
  s2.11 directory {"path":"/etc/weiche/mirror/srv-files","state":"absent"} 300s
  s2.12 authorized_key {"by_comment":true,"key":"weiche-mirror-srv-a-b-9c70f695@alpha/fs-new","state":"absent","user":"root"} 300s
  s2.13 file {"path":"/etc/weiche/mirror/srv-a-b-9c70f695/rsyncd.conf","state":"absent"} 300s
  s2.14 directory {"path":"/etc/weiche/mirror/srv-a-b-9c70f695","state":"absent"} 300s
"###);
    texts.insert("playbooks/x.yaml", both);
    let said = refused(&texts);
    assert!(said.contains("no step of the stage `s1` is on `alpha/fs-old`"), "{said}");
}

/// What is said, without line ends.
fn refused(texts: &Texts) -> String {
    flat(&complaint(texts, "x", &GIVEN))
}

fn flat(said: &str) -> String {
    said.replace("\n  | ", " ")
}

/// The contents of one file, by the end of its path.
fn content<'p>(procedure: &'p Procedure, host: &str, end: &str) -> &'p str {
    let steps = procedure.stages.iter().flat_map(|stage| &stage.hosts).filter(|(name, _)| name.0 == host);
    let file = |action: &Action| match action {
        Action::Resource(step) if step.spec["path"].as_str().is_some_and(|path| path.ends_with(end)) => {
            serde_json::from_value(step.spec["blob"]["digest"].clone()).ok()
        }
        _ => None,
    };
    let digest = steps.flat_map(|(_, actions)| actions).find_map(file).unwrap();
    let Content::Text(text) = &procedure.contents[&digest] else { panic!() };
    text
}

#[test]
fn a_key_may_read_one_directory_from_one_address_and_is_in_no_step() {
    let texts = texts(&[BEGIN]);
    let procedure = run(&texts, "x", &GIVEN).unwrap();
    let conf = content(&procedure, "alpha/fs-old", "srv-files/rsyncd.conf");
    assert!(conf.contains("\n[data]\npath = /srv/files\nread only = yes\n"), "{conf}");
    let known = content(&procedure, "alpha/fs-new", "srv-files/known_hosts");
    assert!(known.starts_with("192.0.2.11 ssh-ed25519 AAAA") && known.lines().count() == 1, "{known}");
    let private = content(&procedure, "alpha/fs-new", "srv-files/key");
    assert!(private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"), "{private}");
    let middle: Vec<&str> = private.lines().skip(1).filter(|line| line.len() > 20).collect();
    let stages = format!("{:?}", procedure.stages);
    assert!(middle.iter().all(|line| !stages.contains(line)));
    let options = procedure.stages[0].hosts.values().flatten().find_map(|action| match action {
        Action::Resource(step) if step.kind == "authorized_key" => step.spec["options"].as_str(),
        _ => None,
    });
    let wanted = "restrict,from=\"192.0.2.12\",command=\"rsync --server --daemon \
                  --config=/etc/weiche/mirror/srv-files/rsyncd.conf .\"";
    assert_eq!(options, Some(wanted));
    assert!(conf.contains(" SHA256:"), "{conf}");
    // Another plan has other keys, the same plan the same.
    let other = Keys { nonce: "m".into(), seed: [7; 32] };
    let other = expand(&fleet(&texts), "x", &given(&GIVEN), &texts, &other).unwrap();
    assert_ne!(content(&other, "alpha/fs-new", "srv-files/key"), private);
    assert_eq!(procedure, run(&texts, "x", &GIVEN).unwrap());
}

#[test]
fn another_port_is_in_brackets() {
    let mut texts = texts(&[BEGIN]);
    let member = texts["members/alpha.yaml"].replace("address: 192.0.2.11,", "address: \"2001:db8::11\", port: 2222,");
    texts.insert("members/alpha.yaml", member);
    let procedure = run(&texts, "x", &GIVEN).unwrap();
    let known = content(&procedure, "alpha/fs-new", "srv-files/known_hosts");
    assert!(known.starts_with("[2001:db8::11]:2222 ssh-ed25519 AAAA"), "{known}");
    let of = procedure.stages[0].hosts.values().flatten().find_map(|action| match action {
        Action::Resource(step) if step.kind == "mirror" => Some(step.spec["of"].clone()),
        _ => None,
    });
    assert_eq!(of, Some(json!({ "address": "2001:db8::11", "port": 2222, "user": "root" })));
}

#[test]
fn parts_in_another_order_are_refused() {
    for (steps, part) in [
        (&[FINAL][..], "no direct transfer of /srv/files from `alpha/fs-old` to `alpha/fs-new` has begun before"),
        (&[END][..], "no direct transfer of /srv/A b from `alpha/fs-old` to `alpha/fs-new` has begun before"),
        (&[BEGIN, BEGIN], "/srv/files is a part of a direct transfer already"),
        (&[BEGIN, FINAL, FINAL], "the last round of /srv/files was made already"),
        (&[BEGIN, FINAL, END, FINAL], "has begun before"),
        (&["from: old, paths: \"/srv/50%\", via: direct"], "`/srv/50%` cannot be transferred directly"),
        (&["from: old, paths: /, via: direct"], "the system's"),
        (&["from: new, paths: /srv/x, via: direct"], "`alpha/fs-new` cannot transfer from itself"),
    ] {
        let said = refused(&texts(steps));
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    let last = format!("{FINAL}, reverse: armed");
    run(&texts(&[BEGIN, &last, END, BEGIN]), "x", &GIVEN).unwrap();
    run(&texts(&[BEGIN, END]), "x", &GIVEN).unwrap();
}

#[test]
fn both_hosts_are_in_the_stage_and_the_reader_has_an_ip_address() {
    let mut texts = texts(&[BEGIN]);
    let only = texts["playbooks/x.yaml"].replace("on: [old, new]", "on: new");
    texts.insert("playbooks/x.yaml", only);
    let said = refused(&texts);
    assert!(said.contains("`alpha/fs-old` has a part in this transfer, and is not among the stage's hosts"), "{said}");
    let mut texts = self::texts(&[BEGIN]);
    let member = texts["members/alpha.yaml"].replace("192.0.2.12", "new.example");
    texts.insert("members/alpha.yaml", member);
    let said = refused(&texts);
    assert!(said.contains("a key for `new.example` only, and that is no IP address"), "{said}");
}

#[test]
fn what_a_transfer_cannot_have() {
    let steps = [
        "from: old, paths: /a, rounds: { at_most: 3 }, final: true, end: true",
        "from: old, paths: /a, via: drect",
        "from: old, paths: /a, via: direct, delete: true, within: 10s, reverse: prepared, forget_aside: true",
        "from: old, paths: /a, via: direct, reverse: armed, rounds: { at_most: 3 }, forget_aside: true",
        "from: old, paths: /a, via: direct, final: true, reverse: prepared",
        "from: old, paths: /a, via: direct, final: true, every: 5m, rounds: { at_most: 3 }",
        "from: old, paths: /a, via: direct, final: true, end: true, reverse: unarmed, delete_at_most: 5",
        "from: old, paths: /a, via: direct, end: yes, every: 5m, within: 10s",
        "from: old, paths: /a, via: direct, delete_at_most: 101, every: 5x, rounds: { at_most: 0 }, bandwidth: [ { from: \"6\" } ]",
    ];
    let text = playbook(&steps).replace("        on: new\n", "        on: new\n        timeout: 10m\n");
    let text = format!(
        "{text}  - stage: alone\n    on: new\n    steps:\n      - transfer: {{ from: old, paths: /a, via: direct }}\n"
    );
    let said = flat(&spoiled("playbooks/x.yaml", text));
    for part in [
        "`rounds` belongs to a transfer `via: direct`",
        "`final` belongs to a transfer `via: direct`",
        "`end` belongs to a transfer `via: direct`",
        "`transfer` has no timeout",
        "`via` must be `agents` or `direct`",
        "`delete` belongs to a transfer through the agents",
        "a transfer that begins has no `within`",
        "the way back of a transfer has no `rounds`",
        "the way back of a transfer has no `forget_aside`",
        "behind the last round nothing can be prepared any more",
        "a transfer that begins has no `forget_aside`",
        "the last round of a transfer has no `every`",
        "it would be for the way back: add `reverse: armed`, or leave it out",
        "the last round of a transfer has no `rounds`",
        "only a transfer that begins, and one more round, have a timeout",
        "a transfer is `final` or at its `end`, not both",
        "the end of a transfer has no `reverse`",
        "the end of a transfer has no `delete_at_most`",
        "`reverse` must be `armed` or `prepared`",
        "`end` must be `true` or `false`",
        "`every` is a time such as",
        "`delete_at_most` is a percentage",
        "`rounds` needs `until",
        "missing field `to`",
        "the hosts of the stage `alone` take no turns, and a direct transfer has steps on both its",
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
}
