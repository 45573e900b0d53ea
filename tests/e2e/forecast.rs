//! What a plan is expected to take: learned from runs, held against windows, refused where it does not fit.

use serde_json::Value;
use weiche_tests::sshd::Sshd;
use weiche_tests::town::{Town, ran, weiche};

use crate::ci::valid;

/// A member whose window is open whenever this test runs, but for the last hours of the 31st of December 2199.
const ALWAYS: &str = "windows: { always: { from: \"2020-01-01 00:00\", to: \"2199-12-31 20:00\" } }\n";

const PLAYBOOK: &str = "\
playbook: office
inputs: { at: host }
stages:
  - stage: prepare
    on: at
    steps:
      - package: { name: samba }
  - stage: change
    on: at
    window: always
    steps:
      - file: { path: /etc/office.conf, content: \"new\\n\" }
      - check: { unit: smbd.service }
";

const APPLY: [&str; 4] = ["apply", "office", "at=fs", "--yes"];

fn town() -> Town {
    let town = Town::new(&["fs"]);
    let member = std::fs::read_to_string(town.fleet().join("members/rathaus.yaml")).unwrap();
    town.write("members/rathaus.yaml", &(member + ALWAYS));
    town.write("playbooks/office.yaml", PLAYBOOK);
    town
}

fn whatif(town: &Town, more: &[&str], code: i32) -> Value {
    let asked = [&["--json", "whatif", "office", "at=fs"], more].concat();
    serde_json::from_str(&town.weiche(&asked).expect(code).stdout).unwrap()
}

fn bounds(forecast: &Value) -> Vec<(&Value, &Value)> {
    let stages = forecast["stages"].as_array().unwrap().iter();
    let steps = stages.flat_map(|stage| stage["hosts"]["rathaus/fs"].as_array().unwrap());
    steps.map(|step| (&step["bound_ms"], &step["from"])).collect()
}

#[test]
fn three_runs_tell_what_the_next_one_takes() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("three_runs_tell_what_the_next_one_takes", &why);
    }
    let town = town();
    let unknown = whatif(&town, &[], 0);
    let assumed = bounds(&unknown);
    assert!(assumed.iter().all(|(_, from)| **from == "assumed"), "{assumed:?}");
    for _ in 0..3 {
        town.weiche(&APPLY).expect(0);
        town.weiche(&["rollback", "latest"]).expect(0);
    }
    let told = town.weiche(&["history", "show", "package"]).expect(0).stdout;
    assert!(told.contains("package (back)") && told.contains("(3 run(s))"), "{told}");
    let known = whatif(&town, &[], 0);
    valid(&town, "forecast", std::slice::from_ref(&known));
    let lines = town.weiche(&["--json", "history"]).expect(0).stdout;
    let samples: Vec<Value> = lines.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    valid(&town, "duration", &samples);
    valid(&town, "report", &[serde_json::from_str(&town.weiche(&["report", "latest"]).expect(0).stdout).unwrap()]);
    for ((bound, from), (before, _)) in bounds(&known).iter().zip(&assumed) {
        assert_eq!(**from, serde_json::json!({ "runs": 3 }));
        assert!(bound.as_u64() < before.as_u64(), "{bound} after three runs, {before} before");
    }

    // Another provider begins with what was learned here, and is told no names.
    let exported = town.weiche(&["history", "export"]).expect(0).stdout;
    assert!(!exported.contains("samba") && !exported.contains("rathaus"), "{exported}");
    let other = self::town();
    let file = other.fleet().join("history.jsonl");
    std::fs::write(&file, &exported).unwrap();
    other.weiche(&["history", "import", file.to_str().unwrap()]).expect(0);
    other.weiche(&["history", "import", file.to_str().unwrap()]).expect(0);
    let forecast = whatif(&other, &[], 0);
    let from: Vec<&Value> = bounds(&forecast).into_iter().map(|(_, from)| from).collect();
    let learned = serde_json::json!({ "runs": 3 });
    assert_eq!(from, [&learned, &learned, &Value::from("assumed")], "a package, a file; what is waited for elsewhere");
    other.weiche(&["history", "forget", "file"]).expect(0);
    other.weiche(&["history", "forget", "file"]).expect(1);
    assert_eq!(bounds(&whatif(&other, &[], 0))[1].1, "assumed");
    std::fs::write(&file, exported.replace("forward", "sideways")).unwrap();
    let wrong = other.weiche(&["history", "import", file.to_str().unwrap()]).expect(1);
    assert!(wrong.stderr.contains("is no sample"), "{}", wrong.stderr);
}

#[test]
fn what_does_not_fit_is_refused_and_what_would_is_told() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("what_does_not_fit_is_refused_and_what_would_is_told", &why);
    }
    let town = town();
    let before = town.manifests(&["fs"]);
    // A minute every night.
    let member = std::fs::read_to_string(town.fleet().join("members/rathaus.yaml")).unwrap();
    let minute = "windows: { always: { from: \"00:00\", to: \"00:01\" } }\n";
    town.write("members/rathaus.yaml", &member.replace(ALWAYS, minute));
    town.write(
        "playbooks/office.yaml",
        &PLAYBOOK.replace("window: always\n    steps:", "window: always\n    steps:\n      - package: { name: nginx }"),
    );
    let plan = town.weiche(&["plan", "office", "at=fs"]).expect(5);
    assert!(plan.stdout.contains("DOES NOT FIT: stage change may be at work"), "{}", plan.stdout);
    assert!(plan.stdout.contains("the window of stage change"), "{}", plan.stdout);
    let refused = town.weiche(&APPLY).expect(5);
    assert!(refused.stderr.contains("nothing was changed"), "{}", refused.stderr);
    assert_eq!(town.manifests(&["fs"]), before);
    whatif(&town, &["--without", "fs"], 0);
    // It begins all the same, and the stage with the window waits for one that is long enough: there is none.
    let waits = town.weiche(&[&APPLY[..], &["--even-if-late"]].concat()).expect(6);
    assert!(waits.stderr.contains("no window of stage change opens for long enough"), "{}", waits.stderr);
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&["fs"]), before);
}

#[test]
fn a_saved_plan_is_reckoned_with_the_connections_that_there_are_now() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_saved_plan_is_reckoned_with_the_connections_that_there_are_now", &why);
    }
    let hosts = ["a", "b", "c"];
    let town = Town::new(&hosts);
    let before = town.manifests(&hosts);
    let member = std::fs::read_to_string(town.fleet().join("members/rathaus.yaml")).unwrap();
    // Long enough for a package on three hosts at once, and not for one after the other.
    town.write("members/rathaus.yaml", &(member + "windows: { night: { from: \"00:00\", to: \"00:12\" } }\n"));
    let playbook = "playbook: office\ninputs: { at: hosts }\nstages:\n  - stage: change\n    on: at\n    window: night\n    \
                    steps: [ { package: { name: samba } } ]\n";
    town.write("playbooks/office.yaml", playbook);
    let plan = town.fleet().join("plan.json");
    let plan = plan.to_str().unwrap();
    town.weiche(&["plan", "office", "at=all", "--output", plan]).expect(2);
    let fleet = std::fs::read_to_string(town.fleet().join("weiche.yaml")).unwrap();
    town.write("weiche.yaml", &(fleet + "limits: { connections: 1 }\n"));
    let refused = town.weiche(&["apply", "--plan", plan]).expect(5);
    assert!(refused.stdout.contains("DOES NOT FIT: stage change"), "{}", refused.stdout);
    assert!(refused.stderr.contains("nothing was changed"), "{}", refused.stderr);
    assert_eq!(town.manifests(&hosts), before);
}

#[test]
fn two_weekends_of_one_member_do_not_collide() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("two_weekends_of_one_member_do_not_collide", &why);
    }
    let town = town();
    let before = town.manifests(&["fs"]);
    let member = std::fs::read_to_string(town.fleet().join("members/rathaus.yaml")).unwrap();
    let saturdays = "windows: { always: { from: sat 08:00, to: sat 20:00 } }\n";
    town.write("members/rathaus.yaml", &member.replace(ALWAYS, saturdays));
    town.write("plans/.keep", "");
    let plan = |name: &str, start: &str, code: i32| {
        let path = town.fleet().join("plans").join(name).to_str().unwrap().to_owned();
        let planned =
            town.weiche(&["plan", "office", "at=fs", "--output", &path, "--start", start]).expect(code).stdout;
        assert!(planned.contains(&format!("to begin Sat {start}")), "{planned}");
        path
    };
    let first = plan("one.json", "2199-11-02 08:00", 2);
    plan("two.json", "2199-11-09 08:00", 2);
    let shown = town.weiche(&["calendar"]).expect(0).stdout;
    assert!(shown.contains("Sat 2199-11-02 08:00") && shown.contains("Sat 2199-11-09 08:00"), "{shown}");
    // A copy is the same work.
    std::fs::copy(&first, town.fleet().join("plans/one-again.json")).unwrap();
    assert_eq!(town.weiche(&["calendar"]).expect(0).stdout, shown);
    // What cannot be read hides nothing else.
    town.write("plans/bad.json", "{");
    let more = town.weiche(&["calendar"]).expect(1);
    assert!(more.stderr.contains("bad.json cannot be used") && more.stdout == shown, "{} {}", more.stderr, more.stdout);
    let asked = town.weiche(&["--json", "whatif", "--plan", &first]).expect(0).stdout;
    let asked: Value = serde_json::from_str(&asked).unwrap();
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(&first).unwrap()).unwrap();
    assert_eq!(asked["start_ms"], saved["plan"]["start_ms"]);
    let early = town.weiche(&["apply", "--plan", &first]).expect(1).stderr;
    assert!(early.contains("is to begin Sat 2199-11-02 08:00") && early.contains("--even-if-early"), "{early}");
    assert_eq!(town.manifests(&["fs"]), before);
}

/// Reads an iCalendar file with another's parser; a line for each event.
fn events(path: &std::path::Path) -> Vec<String> {
    let program = "import sys, icalendar\n\
        calendar = icalendar.Calendar.from_ical(open(sys.argv[1], 'rb').read())\n\
        for event in calendar.walk('VEVENT'):\n    \
            print(event['UID'], event['SUMMARY'], event['DTSTART'].dt.isoformat(), event['DTEND'].dt > event['DTSTART'].dt, sep='|')\n";
    let ran = std::process::Command::new("/usr/bin/python3").args(["-c", program]).arg(path).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_calendar_shows_what_collides_and_other_calendars_read_it() {
    let reads = std::process::Command::new("/usr/bin/python3").args(["-c", "import icalendar"]).status();
    if !reads.is_ok_and(|status| status.success()) {
        return weiche_tests::skip(
            "the_calendar_shows_what_collides_and_other_calendars_read_it",
            "no python3-icalendar",
        );
    }
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("the_calendar_shows_what_collides_and_other_calendars_read_it", &why);
    }
    let town = town();
    let member = std::fs::read_to_string(town.fleet().join("members/rathaus.yaml")).unwrap();
    // Open for two days at Christmas every year that a test can be run in.
    let christmas = "windows: { always: { from: \"2199-12-24 18:00\", to: \"2199-12-26 20:00\", reserve: 2h } }\n";
    town.write("members/rathaus.yaml", &member.replace(ALWAYS, christmas));
    let fleet = std::fs::read_to_string(town.fleet().join("weiche.yaml")).unwrap();
    town.write("weiche.yaml", &(fleet + "holidays: DE-ST\ntechnicians: 1\n"));
    let ics = town.fleet().join("weiche.ics");
    let calendar = ["calendar", "--ics", ics.to_str().unwrap()];
    let empty = town.weiche(&calendar).expect(0);
    assert!(empty.stdout.contains("No plan needs a window"), "{}", empty.stdout);
    assert!(events(&ics).is_empty());
    town.write("plans/.keep", "");
    let plan = |name: &str| town.fleet().join("plans").join(name).to_str().unwrap().to_owned();
    town.weiche(&["plan", "office", "at=fs", "--output", &plan("one.json")]).expect(2);
    let one = town.weiche(&calendar).expect(0).stdout;
    assert!(one.contains("2199-12-25 1. Weihnachtstag"), "{one}");
    assert!(one.contains("rathaus: office (change)"), "{one}");
    town.weiche(&["plan", "office", "at=fs", "--output", &plan("two.json")]).expect(2);
    let two = town.weiche(&calendar).expect(5).stdout;
    assert!(two.contains("CONFLICT between 1 and 2: one weiche at a time works for rathaus"), "{two}");
    assert!(two.contains("2 people are needed at once, there are 1"), "{two}");
    valid(&town, "calendar", &[serde_json::from_str(&town.weiche(&["--json", "calendar"]).expect(5).stdout).unwrap()]);
    let of_it = town.weiche(&["calendar", "--member", "rathaus"]).expect(5).stdout;
    assert!(of_it.contains("CONFLICT between 1 and 2"), "{of_it}");
    assert!(town.weiche(&["calendar", "--member", "rathhaus"]).expect(1).stderr.contains("no member `rathhaus`"));
    let events = events(&ics);
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events[0].contains("|office: rathaus|2199-12-24T17:00:00+00:00|True"), "{events:?}");
}

#[test]
fn the_papers_of_a_run_and_of_one_that_was_taken_back_elsewhere() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("the_papers_of_a_run_and_of_one_that_was_taken_back_elsewhere", &why);
    }
    let town = town();
    let plan = town.fleet().join("plan.json");
    let plan = plan.to_str().unwrap();
    town.weiche(&["plan", "office", "at=fs", "--output", plan]).expect(2);
    valid(&town, "plan", &[serde_json::from_str(&std::fs::read_to_string(plan).unwrap()).unwrap()]);
    let before = town.manifests(&["fs"]);
    let paper = |arguments: &[&str]| town.weiche(&[&["paper"], arguments].concat()).expect(0).stdout;
    let sheet = paper(&["run-sheet", "--plan", plan, "--language", "de", "--start", "2199-12-30 20:00"]);
    assert!(sheet.contains("Ablaufplan") && sheet.contains("30.12.2199, 20:00 Uhr MEZ"), "{sheet}");
    assert!(sheet.contains("Paket samba installieren") && sheet.contains("/etc/office.conf"), "{sheet}");
    assert!(paper(&["summary", "--plan", plan]).contains("Summary for the management"));
    let wrong = town.weiche(&["paper", "hand-over", "--plan", plan]).expect(1);
    assert!(wrong.stderr.contains("of a run that has begun"), "{}", wrong.stderr);
    town.weiche(&["apply", "--plan", plan]).expect(0);
    let report = paper(&["hand-over", "latest"]);
    assert!(report.contains("Hand-over report") && report.contains("new"), "{report}");
    let data = |arguments: &[&str]| {
        serde_json::from_str::<Value>(&town.weiche(&[&["--json", "paper"], arguments].concat()).expect(0).stdout)
            .unwrap()
    };
    for (schema, of) in
        [("run-sheet", "run-sheet"), ("run-sheet", "summary"), ("hand-over", "hand-over"), ("gantt", "gantt")]
    {
        valid(&town, schema, &[data(&[of, "latest"])]);
    }
    assert!(paper(&["gantt", "latest", "--text", "80"]).lines().all(|line| line.chars().count() <= 80));

    // A template of the fleet's own is tried before anybody needs it.
    town.write("papers/summary.html.hbs", "<h1>{{member}}</h1>\n{{#if no_return}}{{no_return.when}}{{/if}}\n");
    let wrong = town.weiche(&["check"]).expect(1);
    assert!(wrong.stderr.contains("papers/summary.html.hbs:2"), "{}", wrong.stderr);
    town.write("papers/summary.html.hbs", "<h1>{{member}}</h1>\n{{#if no_return}}{{no_return.at}}{{/if}}\n");
    town.weiche(&["check"]).expect(0);
    assert!(paper(&["summary", "--plan", plan]).starts_with("<h1>"));

    // As the run sheet says: a copy of the fleet's directory takes the run back from anywhere.
    let elsewhere = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp").arg("-a").arg(town.fleet()).arg(elsewhere.path()).status().unwrap();
    assert!(copied.success());
    let there = |arguments: &[&str]| {
        let mut command = std::process::Command::new(weiche());
        command.arg("-C").arg(elsewhere.path().join("fleet")).args(arguments).env_remove("SSH_AUTH_SOCK");
        ran(command.output().unwrap()).expect(0)
    };
    let said = there(&["rollback", "latest"]);
    assert!(said.stderr.contains("every host is as it was"), "{}", said.stderr);
    assert_eq!(town.manifests(&["fs"]), before);
    let report = there(&["paper", "hand-over", "latest"]).stdout;
    assert!(report.contains("taken back"), "{report}");
}
