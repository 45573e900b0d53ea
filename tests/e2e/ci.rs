//! What pipelines and dashboards read, read by programs that are not ours: xmllint, junitparser, promtool. Also after the
//! process was killed.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;
use weiche_tests::until;

/// What junitparser counts: tests, failures, errors.
fn junit(path: &Path) -> [u64; 3] {
    let lint = Command::new("xmllint").args(["--noout", "--nonet"]).arg(path).output().expect("xmllint");
    assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stderr));
    let program = "import sys, junitparser\n\
                   x = junitparser.JUnitXml.fromfile(sys.argv[1])\n\
                   s = list(x)\n\
                   n = [sum(1 for u in s for _ in u)]\n\
                   kinds = [type(r).__name__ for u in s for c in u for r in c.result]\n\
                   n += [kinds.count('Failure'), kinds.count('Error')]\n\
                   assert n == [x.tests, x.failures, x.errors], (n, x.tests, x.failures, x.errors)\n\
                   print(*n)\n";
    let said = Command::new("/usr/bin/python3").args(["-c", program]).arg(path).output().expect("python3");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    numbers.try_into().expect("three numbers")
}

fn promtool(path: &Path) {
    let text = fs::read_to_string(path).expect("metrics");
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool");
    promtool.stdin.take().expect("its input").write_all(text.as_bytes()).expect("write to promtool");
    let said = promtool.wait_with_output().expect("promtool");
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && out.is_empty() && err.is_empty(), "{out}{err}\n{text}");
}

/// Checks documents against what `weiche schema` says of them, by Python's jsonschema.
pub(crate) fn valid(town: &Town, schema: &str, documents: &[Value]) {
    assert!(!documents.is_empty(), "nothing of {schema}");
    let directory = tempfile::tempdir().expect("a directory");
    let (schema_file, file) = (directory.path().join("schema"), directory.path().join("documents"));
    let of = town.weiche(&["schema", schema]).expect(0).stdout;
    assert!(of.contains(&format!("urn:weiche:{schema}:1.0")) || schema == "facts", "{of}");
    fs::write(&schema_file, of).expect("write");
    fs::write(&file, Value::from(documents).to_string()).expect("write");
    let program = "import json, sys, jsonschema\n\
                   schema, documents = (json.load(open(name)) for name in sys.argv[1:])\n\
                   jsonschema.Draft202012Validator.check_schema(schema)\n\
                   check = jsonschema.Draft202012Validator(schema)\n\
                   assert not check.is_valid(None), 'anything is valid'\n\
                   for document in documents: check.validate(document)\n";
    let said =
        Command::new("/usr/bin/python3").args(["-c", program]).args([&schema_file, &file]).output().expect("python3");
    assert!(said.status.success(), "{schema}: {}", String::from_utf8_lossy(&said.stderr));
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

const MOTD: &str = "\
playbook: motd
inputs: { on: host, text: { type: string, default: \"new\" } }
stages:
  - stage: write
    on: \"on\"
    steps: [ { file: { path: /etc/motd, content: \"{{text}}\\n\" } } ]
";

#[test]
fn a_check_in_a_pipeline() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_check_in_a_pipeline", &why);
    }
    let town = Town::new(&[]);
    let at = |name: &str| town.fleet().join("out").join(name);
    let (xml, md, quality) = (at("check.xml"), at("check.md"), at("quality.json"));
    let text = |path: &Path| path.display().to_string();
    let files = ["--junit", &text(&xml), "--markdown", &text(&md), "--code-quality", &text(&quality)];
    let check = [&["check"][..], &files].concat();
    town.write("members/rathaus.yaml", "member: rathaus\nname: x\npcs: [ { name: pc-1 } ]\n");
    town.weiche(&check).expect(0);
    assert_eq!(junit(&xml), [1, 0, 0]);
    assert_eq!(read(&quality).trim(), "[]");
    // What people write may hold anything: a character that XML cannot hold, markup, the end of a CDATA section.
    town.write("playbooks/bad.yaml", "playbook: bad\n\"\\u0001]]>&<b>|`x`\": 1\nstages: []\n");
    town.write("members/rathaus.yaml", "member: rathaus\nnome: x\nnome2: y\n");
    town.weiche(&check).expect(1);
    let [tests, failures, errors] = junit(&xml);
    assert!(tests == 2 && failures == 2 && errors == 0, "{}", read(&xml));
    let issues: Vec<Value> = serde_json::from_str(&read(&quality)).expect("a list");
    assert!(issues.len() >= 3, "{issues:?}");
    let mut prints: Vec<&str> = issues.iter().filter_map(|issue| issue["fingerprint"].as_str()).collect();
    prints.sort_unstable();
    prints.dedup();
    assert_eq!(prints.len(), issues.len(), "two problems with one fingerprint");
    for issue in &issues {
        let path = issue["location"]["path"].as_str().expect("a path");
        assert!(town.fleet().join(path).is_file(), "{issue}");
        assert!(issue["location"]["lines"]["begin"].as_u64() > Some(0), "{issue}");
        assert!(["critical", "minor"].contains(&issue["severity"].as_str().expect("a severity")), "{issue}");
    }
    let problems = town.weiche(&["--json", "check"]).expect(1).stdout;
    valid(&town, "problems", &[serde_json::from_str(&problems).expect("JSON")]);
    assert!(read(&md).contains("members/rathaus.yaml:2"), "{}", read(&md));
    assert!(!read(&md).contains("<b>"), "{}", read(&md));
    // Nothing but what was asked for.
    assert_eq!(fs::read_dir(at("")).expect("the directory").count(), 3);
}

#[test]
fn a_plan_and_a_run_in_a_pipeline() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_plan_and_a_run_in_a_pipeline", &why);
    }
    let town = Town::new(&["fs"]);
    town.write("playbooks/motd.yaml", MOTD);
    let at = |name: &str| town.fleet().join("out").join(name);
    let text = |name: &str| at(name).display().to_string();
    let files = ["--junit".into(), text("plan.xml"), "--markdown".into(), text("plan.md")];
    let plan = |input: &str| {
        let mut arguments = vec!["plan", "motd", input, "text=</details> ```` <b>"];
        arguments.extend(files.iter().map(String::as_str));
        town.weiche(&arguments)
    };
    plan("on=rathaus/fs").expect(2);
    assert_eq!(junit(&at("plan.xml")), [3, 0, 0]);
    let markdown = read(&at("plan.md"));
    assert!(markdown.contains("undo:") && markdown.contains("Exit code 2: changes are pending"), "{markdown}");
    assert!(markdown.contains("\n`````text\n"), "a fence that the content cannot close: {markdown}");
    plan("on=rathaus/nobody").expect(1);
    assert_eq!(junit(&at("plan.xml")), [1, 1, 0]);
    assert!(read(&at("plan.md")).contains("it cannot be done"));
    // Killed while it waits for a host: the files say that it did not end.
    town.sshd.hold_connections(true);
    let mut arguments = vec!["plan", "motd", "on=rathaus/fs"];
    arguments.extend(files.iter().map(String::as_str));
    let mut hangs = town.command(&arguments).spawn().expect("weiche");
    until("the work begins", || read(&at("plan.xml")).contains("did not end"));
    hangs.kill().expect("kill -9");
    hangs.wait().expect("it is gone");
    town.sshd.hold_connections(false);
    assert_eq!(junit(&at("plan.xml")), [1, 0, 1]);
    assert!(read(&at("plan.md")).contains("did not end"));
    town.sshd.drop_connections();

    let apply = ["apply", "motd", "on=rathaus/fs", "--yes"];
    town.weiche(&apply).expect(0);
    let report = |format: &str, name: &str| {
        town.weiche(&["report", "latest", "--format", format, "--output", &text(name)]).expect(0);
        at(name)
    };
    assert_eq!(junit(&report("junit", "run.xml")), [2, 0, 0]);
    assert!(read(&report("markdown", "run.md")).contains("rathaus/fs"));
    serde_json::from_str::<Value>(&read(&report("json", "run.json"))).expect("JSON");
    town.weiche(&["apply", "motd", "on=rathaus/fs", "text=other", "--yes", "--inject", "rathaus/fs:write.1=fail"])
        .expect(3);
    let [_, failures, errors] = junit(&report("junit", "run.xml"));
    assert!(failures >= 1 && errors == 0, "{}", read(&at("run.xml")));
    town.weiche(&["apply", "motd", "on=rathaus/fs", "text=third", "--yes", "--crash-after-event", "2"]).expect(128 + 6);
    assert_eq!(junit(&report("junit", "run.xml"))[2], 1, "a run that was cut off has not ended");
    town.weiche(&["rollback", "latest"]).expect(0);

    for run in lines(&town.weiche(&["--json", "status"]).expect(0).stdout) {
        let log = town.weiche(&["--json", "log", run["run"].as_str().expect("a run")]).expect(0).stdout;
        valid(&town, "event", &lines(&log));
        valid(&town, "status", &[run]);
    }
    let facts: Value = serde_json::from_str(&town.weiche(&["--json", "facts"]).expect(0).stdout).expect("JSON");
    valid(&town, "facts", &facts.as_object().expect("by host").values().cloned().collect::<Vec<_>>());

    town.weiche(&["metrics", "--output", &text("weiche.prom")]).expect(0);
    promtool(&at("weiche.prom"));
    let metrics = read(&at("weiche.prom"));
    for line in [
        "weiche_runs{outcome=\"done\",playbook=\"motd\"} 1",
        "weiche_runs{outcome=\"rolled_back\",playbook=\"motd\"} 2",
        "weiche_hosts_stuck{member=\"rathaus\"} 0",
    ] {
        assert!(metrics.lines().any(|is| is == line), "no {line} in\n{metrics}");
    }
    fs::write(town.root("fs").join("etc/motd"), "by hand\n").expect("a change");
    town.weiche(&["drift", "--metrics", &text("drift.prom")]).expect(2);
    promtool(&at("drift.prom"));
    assert!(read(&at("drift.prom")).contains("weiche_drift_resources{host=\"rathaus/fs\"} 1\n"));
}

/// Runs a line of a pipeline where a fleet's repository is checked out.
fn line(script: &str, repository: &Path, variables: &Value) -> i32 {
    let weiche = weiche_tests::town::weiche();
    let path = format!("{}:/usr/bin:/bin", weiche.parent().expect("a directory").display());
    let mut bash = Command::new("bash");
    bash.args(["-e", "-o", "pipefail", "-c", script]).current_dir(repository).env("PATH", path);
    bash.env("GITHUB_STEP_SUMMARY", repository.join("summary.md")).env_remove("SSH_AUTH_SOCK");
    for (name, value) in variables.as_object().into_iter().flatten() {
        bash.env(name, value.as_str().expect("a text"));
    }
    let said = bash.output().expect("bash");
    println!("{script}: {}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    said.status.code().expect("an exit code")
}

fn example(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("docs/ci").join(name);
    serde_yaml::from_str(&read(&path)).expect("YAML")
}

/// The example fleet, and a town that playbook `motd` of its repository changes.
fn repositories() -> (tempfile::TempDir, Town) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let copy = tempfile::tempdir().expect("a directory");
    let cp = Command::new("cp").arg("-r").arg(top.join("examples/kitu")).arg(copy.path().join("kitu")).status();
    assert!(cp.expect("cp").success());
    let town = Town::new(&["fs"]);
    town.write("playbooks/motd.yaml", MOTD);
    (copy, town)
}

fn scripts(job: &Value) -> Vec<&str> {
    job["script"].as_array().expect("a script").iter().map(|line| line.as_str().expect("a line")).collect()
}

#[test]
fn the_example_for_gitlab_does_what_it_says() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("the_example_for_gitlab_does_what_it_says", &why);
    }
    let (copy, town) = repositories();
    let (kitu, example) = (copy.path().join("kitu"), example("gitlab-ci.yml"));
    for script in scripts(&example["check"]) {
        assert_eq!(line(script, &kitu, &Value::Null), 0, "{script}");
    }
    let made = |job: &str, repository: &Path| {
        let artifacts = &example[job]["artifacts"];
        let reports = artifacts["reports"].as_object().into_iter().flatten().map(|(_, path)| path);
        for path in artifacts["paths"].as_array().into_iter().flatten().chain(reports) {
            assert!(repository.join(path.as_str().expect("a path")).is_file(), "{job} leaves no {path}");
        }
    };
    made("check", &kitu);
    junit(&kitu.join("check.xml"));
    let variables = serde_json::json!({ "PLAYBOOK": "motd", "INPUTS": "on=rathaus/fs" });
    let names = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
    assert_eq!(names(&variables), names(&example["plan"]["variables"]));
    for script in scripts(&example["plan"]) {
        assert_eq!(
            Some(i64::from(line(script, &town.fleet(), &variables))),
            example["plan"]["allow_failure"]["exit_codes"].as_i64()
        );
    }
    made("plan", &town.fleet());
    let plan = town.fleet().join("plan.json");
    town.weiche(&["apply", "--plan", &plan.display().to_string(), "--yes"]).expect(0);
}

#[test]
fn the_example_for_github_does_what_it_says() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("the_example_for_github_does_what_it_says", &why);
    }
    let (copy, town) = repositories();
    let (kitu, example) = (copy.path().join("kitu"), example("github.yml"));
    let variables = serde_json::json!({ "PLAYBOOK": "motd", "INPUTS": "on=rathaus/fs" });
    for (job, repository) in [("check", kitu.as_path()), ("plan", &town.fleet())] {
        let steps = example["jobs"][job]["steps"].as_array().expect("steps");
        for script in steps.iter().filter_map(|step| step["run"].as_str()) {
            assert_eq!(line(script, repository, &variables), 0, "{script}");
        }
        for paths in steps.iter().filter_map(|step| step["with"]["path"].as_str()) {
            assert!(paths.lines().all(|path| repository.join(path).is_file()), "{job} leaves no {paths}");
        }
        assert!(read(&repository.join("summary.md")).contains("Exit code"), "{job}");
    }
    // A plan that fails stays a failure.
    let steps = example["jobs"]["plan"]["steps"].as_array().expect("steps");
    let script = steps.iter().find_map(|step| step["run"].as_str()).expect("a line");
    let wrong = serde_json::json!({ "PLAYBOOK": "motd", "INPUTS": "on=rathaus/nobody" });
    assert_eq!(line(script, &town.fleet(), &wrong), 1);
}
