//! A run in its window that waits for a person: until when what may be decided, and what people took is remembered.

use std::process::Command;

use serde_json::Value;
use weiche_tests::receiver::Receiver;
use weiche_tests::sshd::Sshd;
use weiche_tests::town::{Town, ended};

use crate::ci::valid;
use crate::webhook::{SECRET, told, weiche};

const PLAYBOOK: &str = "\
playbook: cable
inputs: { at: host }
stages:
  - stage: change
    on: at
    window: always
    steps:
      - file: { path: /etc/office.conf, content: \"new\\n\" }
      - manual: plug it in
        by: frida
        takes: 10m
      - file: { path: /etc/moved, content: \"yes\\n\" }
";

#[test]
fn who_is_waited_for_is_told_until_when() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("who_is_waited_for_is_told_until_when", &why);
    }
    let town = Town::new(&["fs"]);
    let member = std::fs::read_to_string(town.fleet().join("members/rathaus.yaml")).unwrap();
    let always = "windows: { always: { from: \"2020-01-01 00:00\", to: \"2199-12-31 20:00\" } }\n";
    let people = "people: { frida: { name: Frida Beispiel } }\n";
    town.write("members/rathaus.yaml", &format!("{member}{always}{people}"));
    town.write("playbooks/cable.yaml", PLAYBOOK);

    let plan = town.weiche(&["plan", "cable", "at=fs", "--technicians", "3"]).expect(2);
    assert!(plan.stdout.contains("People who have something to do at once: 1 (frida), there are 3"), "{}", plan.stdout);
    let waits = town.weiche(&["apply", "cable", "at=fs", "--yes"]).expect(6);
    let told = [waits.stdout, waits.stderr].concat();
    assert!(told.contains("change through by") && told.contains("abort by Tue 2199-12-31"), "{told}");
    let status = town.weiche(&["status", "latest"]).expect(0).stdout;
    assert!(status.contains("abort by Tue 2199-12-31") && status.contains("weiche done"), "{status}");
    let lines = |text: &str| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let log = lines(&town.weiche(&["--json", "log", "latest"]).expect(0).stdout);
    assert!(log.last().is_some_and(|last| last["what"].get("reckoned").is_some()), "{:?}", log.last());
    valid(&town, "event", &log);
    valid(&town, "status", &lines(&town.weiche(&["--json", "status", "latest"]).expect(0).stdout));

    town.weiche(&["done", "latest", "change.2", "--by", "frida"]).expect(0);
    let again = town.weiche(&["done", "latest", "change.2", "--by", "otto"]).expect(1);
    assert!(again.stderr.contains("is done already, says frida"), "{again:?}");
    town.weiche(&["resume", "latest"]).expect(0);
    let history = town.weiche(&["history", "show", "manual"]).expect(0).stdout;
    assert!(history.contains("manual plug it in") && history.contains("(1 run(s), too few to go by)"), "{history}");
    let exported = town.weiche(&["history", "export"]).expect(0).stdout;
    assert!(!exported.contains("manual") && !exported.contains("frida"), "{exported}");
    let report = town.weiche(&["paper", "hand-over", "latest"]).expect(0).stdout;
    assert!(report.contains("done by hand (frida)"), "{report}");
    // What was done by hand is taken back by hand.
    town.weiche(&["rollback", "latest"]).expect(0);
    let report = town.weiche(&["paper", "hand-over", "latest"]).expect(0).stdout;
    assert!(report.contains("rathaus/fs: change.2 was done by hand and is to be taken back by hand"), "{report}");
}

#[test]
fn at_the_point_of_decision_a_clear_question_is_asked_and_its_answer_works() {
    if let Err(why) = Sshd::available() {
        let name = "at_the_point_of_decision_a_clear_question_is_asked_and_its_answer_works";
        return weiche_tests::skip(name, &why);
    }
    let town = Town::new(&["fs"]);
    let before = town.manifest("fs");
    let mut receiver = Receiver::down();
    receiver.start(&[]);
    // The window closes so soon that there is something to decide as soon as it has begun.
    let close = Command::new("date").args(["-u", "-d", "+10 minutes", "+%F %H:%M"]).output().expect("date").stdout;
    let close = String::from_utf8(close).expect("a time");
    let config = std::fs::read_to_string(town.fleet().join("weiche.yaml")).unwrap().replace("Europe/Berlin", "UTC");
    town.write("weiche.yaml", &config);
    told(&town, &receiver);
    let member = std::fs::read_to_string(town.fleet().join("members/rathaus.yaml")).unwrap();
    let always = format!("windows: {{ always: {{ from: \"2020-01-01 00:00\", to: {:?} }} }}\n", close.trim());
    let people = "people: { frida: { name: Frida Beispiel } }\n";
    town.write("members/rathaus.yaml", &format!("{member}{always}{people}"));
    town.write("playbooks/cable.yaml", &PLAYBOOK.replace("takes: 10m", "takes: 1m"));

    let waits = weiche(&town, &["apply", "cable", "at=fs", "--yes"]).expect(6);
    let asked = waits.stderr.split_once("== DECIDE BY ").unwrap_or_else(|| panic!("{waits:?}")).1;
    let (_, answer) = asked.split_once("Then: weiche ").unwrap_or_else(|| panic!("{asked}"));
    assert!(town.root("fs").join("etc/office.conf").exists());
    let decided = |got: &&weiche_tests::receiver::Got| got.body.contains("A person has to decide by");
    assert_eq!(receiver.got().iter().filter(decided).count(), 1, "told once: {receiver:?}");
    let status = town.weiche(&["status", "latest"]).expect(0).stdout;
    assert!(status.contains("== DECIDE BY "), "{status}");
    // Whoever answers types what stands there.
    let answer: Vec<&str> = answer.lines().next().unwrap_or_default().split_whitespace().collect();
    let mut answer = town.command(&answer);
    // A pipeline may have no name: it is somebody all the same.
    let nameless = ["WEICHE_AS", "USER", "LOGNAME"].iter().fold(&mut answer, |answer, name| answer.env_remove(name));
    let back = ended(nameless.env("OPS_SECRET", SECRET)).expect(3);
    assert!(back.stderr.contains("aborted by uid "), "{back:?}");
    assert_eq!(town.manifest("fs"), before);
}

const LOOKS: &str = "\
playbook: looks
inputs: { at: host }
stages:
  - stage: one
    on: at
    steps:
      - file: { path: /etc/one.conf, content: \"one\\n\" }
      - check: { tcp: \"127.0.0.1:1\" }
        within: 1s
      - file: { path: /etc/two.conf, content: \"two\\n\" }
  - stage: two
    on: at
    steps:
      - file: { path: /etc/three.conf, content: \"three\\n\" }
";

#[test]
fn the_look_that_failed_is_named_and_what_came_behind_it_was_not_begun() {
    if let Err(why) = Sshd::available() {
        let name = "the_look_that_failed_is_named_and_what_came_behind_it_was_not_begun";
        return weiche_tests::skip(name, &why);
    }
    let town = Town::new(&["fs"]);
    town.write("playbooks/looks.yaml", LOOKS);
    town.weiche(&["apply", "looks", "at=fs", "--yes"]).expect(3);
    let json = town.weiche(&["--json", "paper", "hand-over", "latest"]).expect(0).stdout;
    let paper: Value = serde_json::from_str(&json).unwrap();
    let why = |what: &str| {
        let rows = paper["not_done"].as_array().unwrap().iter();
        let row = rows.filter(|row| row["what"].as_str().unwrap().contains(what)).collect::<Vec<_>>();
        assert_eq!(row.len(), 1, "{what}: {json}");
        row[0]["why"].as_str().unwrap().to_owned()
    };
    assert!(why("127.0.0.1:1").starts_with("failed: "), "{json}");
    assert!(why("one.conf").contains("taken back"), "{json}");
    assert_eq!([why("two.conf"), why("three.conf")], ["not begun", "not begun"]);
    let xml = town.weiche(&["report", "latest", "--format", "junit"]).expect(0).stdout;
    let case = xml.split_once("name=\"one.2\"").unwrap_or_else(|| panic!("no case of its own: {xml}")).1;
    assert!(case.split_once('>').is_some_and(|(_, rest)| rest.trim_start().starts_with("<failure")), "{xml}");
}

#[test]
fn what_would_not_be_heeded_is_refused() {
    let town = Town::new(&["fs"]);
    for (asked, said) in [
        (&["--json", "metrics"] as &[&str], "as Prometheus reads them"),
        (&["--json", "report", "latest", "--format", "junit"], "a report has one form"),
        (&["paper", "gantt", "latest", "--start", "20:00"], "a run has begun when it did"),
        (&["--json", "paper", "gantt", "latest", "--text", "80"], "as text or as JSON"),
    ] {
        let refused = town.weiche(asked).expect(1).stderr;
        assert!(refused.contains(said) && refused.contains("hint"), "{asked:?}: {refused}");
    }
}
