//! What goes wrong gives a clear error and its exit code, and leaves nothing half-done behind silently.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use weiche_tests::sshd::{Sshd, SshdOptions};
use weiche_tests::town::Town;

const MOTD: &str = "\
profile: motd
resources:
  - file: { path: /etc/motd, content: \"new\\n\" }
";

/// A town whose hosts have a harmless profile; `None` (said aloud) where there is no sshd.
fn town(test: &str, hosts: &[&str]) -> Option<Town> {
    if let Err(why) = Sshd::available() {
        weiche_tests::skip(test, &why);
        return None;
    }
    let town = Town::new(hosts);
    town.write("profiles/motd.yaml", MOTD);
    edit_member(&town, "simulate: true }", "simulate: true }, profile: motd");
    Some(town)
}

fn edit_member(town: &Town, from: &str, to: &str) {
    let path = town.fleet().join("members/rathaus.yaml");
    let text = fs::read_to_string(&path).expect("the member");
    assert!(text.contains(from), "{from} in {text}");
    fs::write(path, text.replace(from, to)).expect("the member");
}

const APPLY: [&str; 4] = ["apply", "converge", "hosts=all", "--yes"];

#[test]
fn a_host_that_is_not_reached_changes_nothing_anywhere() {
    let Some(town) = town("a_host_that_is_not_reached_changes_nothing_anywhere", &["a", "b"]) else { return };
    let before = town.manifests(&["a", "b"]);
    // A port that was free a moment ago, and nobody listens on.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let path = town.fleet().join("members/rathaus.yaml");
    let text = fs::read_to_string(&path).expect("the member");
    let (head, tail) = text.split_once("name: b").expect("host b");
    let tail = tail.replacen(&format!("port: {}", town.sshd.port), &format!("port: {free}"), 1);
    fs::write(&path, format!("{head}name: b{tail}")).expect("the member");
    let ran = town.weiche(&APPLY).expect(7);
    assert!(ran.stderr.contains("rathaus/b") && ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
    assert_eq!(town.manifests(&["a", "b"]), before);
}

#[test]
fn a_wrong_host_key_is_refused_with_the_fingerprint_seen() {
    let Some(town) = town("a_wrong_host_key_is_refused_with_the_fingerprint_seen", &["a"]) else { return };
    let other = Sshd::start(SshdOptions::default());
    edit_member(&town, town.sshd.host_key.trim(), other.host_key.trim());
    let ran = town.weiche(&APPLY).expect(7);
    assert!(ran.stderr.contains(town.sshd.fingerprint.trim()), "{}", ran.stderr);
}

#[test]
fn a_refused_key_names_the_user() {
    let Some(town) = town("a_refused_key_names_the_user", &["a"]) else { return };
    let other = Sshd::start(SshdOptions::default());
    let config = fs::read_to_string(town.fleet().join("weiche.yaml")).expect("weiche.yaml");
    let ours = town.sshd.identity.display().to_string();
    town.write("weiche.yaml", &config.replace(&ours, &other.identity.display().to_string()));
    let ran = town.weiche(&APPLY).expect(7);
    assert!(ran.stderr.contains(&town.sshd.user), "{}", ran.stderr);
}

#[test]
fn a_step_that_hangs_is_ended_at_its_deadline_and_taken_back() {
    let Some(town) = town("a_step_that_hangs_is_ended_at_its_deadline_and_taken_back", &["a"]) else { return };
    town.write(
        "playbooks/hang.yaml",
        "\
playbook: hang
inputs: { target: host }
stages:
  - stage: only
    on: target
    steps:
      - file: { path: /etc/motd, content: \"new\\n\" }
      - file: { path: /etc/other, content: \"new\\n\" }
        timeout: 1s
",
    );
    let before = town.manifest("a");
    let ran =
        town.weiche(&["apply", "hang", "target=rathaus/a", "--yes", "--inject", "rathaus/a:only.2=hang"]).expect(3);
    assert!(ran.stderr.contains("did not end within"), "{}", ran.stderr);
    assert_eq!(town.manifest("a"), before);
}

#[test]
fn a_check_that_fails_takes_the_run_back() {
    let Some(town) = town("a_check_that_fails_takes_the_run_back", &["a"]) else { return };
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    town.write(
        "playbooks/checked.yaml",
        &format!(
            "\
playbook: checked
inputs: {{ target: host }}
stages:
  - stage: change
    on: target
    steps: [ {{ file: {{ path: /etc/motd, content: \"new\\n\" }} }} ]
  - stage: verify
    on: target
    steps: [ {{ check: {{ tcp: \"{free}\" }}, within: 1s }} ]
"
        ),
    );
    let before = town.manifest("a");
    let ran = town.weiche(&["apply", "checked", "target=rathaus/a", "--yes"]).expect(3);
    assert!(ran.stderr.contains(&free.to_string()), "{}", ran.stderr);
    assert_eq!(town.manifest("a"), before);
}

#[test]
fn a_manual_step_waits_and_goes_on_when_confirmed() {
    let Some(town) = town("a_manual_step_waits_and_goes_on_when_confirmed", &["a"]) else { return };
    town.write(
        "playbooks/cable.yaml",
        "\
playbook: cable
inputs: { target: host }
stages:
  - stage: move
    on: target
    steps:
      - file: { path: /etc/motd, content: \"moving\\n\" }
      - manual: \"Plug the cable of {{target.name}} into port 7.\"
      - file: { path: /etc/moved, content: \"yes\\n\" }
",
    );
    let ran = town.weiche(&["apply", "cable", "target=rathaus/a", "--yes"]).expect(6);
    assert!(ran.stderr.contains("port 7"), "{}", ran.stderr);
    let status = town.weiche(&["status", "latest"]).expect(0);
    assert!(status.stdout.contains("weiche done") && !town.root("a").join("etc/moved").exists(), "{}", status.stdout);
    town.weiche(&["resume", "latest"]).expect(6);
    town.weiche(&["done", "latest", "move.3"]).expect(1);
    town.weiche(&["done", "latest", "rathaus/a:move.2"]).expect(0);
    town.weiche(&["resume", "latest"]).expect(0);
    assert!(town.root("a").join("etc/moved").exists());
    town.weiche(&["resume", "latest"]).expect(1);
    town.weiche(&["rollback", "latest"]).expect(0);
    assert!(!town.root("a").join("etc/moved").exists());
}

#[test]
fn an_undo_that_fails_is_stuck_and_a_later_rollback_mends_it() {
    let Some(town) = town("an_undo_that_fails_is_stuck_and_a_later_rollback_mends_it", &["a"]) else { return };
    let before = town.manifest("a");
    town.weiche(&APPLY).expect(0);
    // A directory with something in it stands where the file was: putting the file back would lose it.
    let motd = town.root("a").join("etc/motd");
    fs::remove_file(&motd).expect("remove");
    fs::create_dir_all(motd.join("users-data")).expect("make");
    let ran = town.weiche(&["rollback", "latest"]).expect(4);
    assert!(ran.stderr.contains("STUCK"), "{}", ran.stderr);
    let status = town.weiche(&["status", "latest"]).expect(0);
    assert!(status.stdout.contains("STUCK") && status.stdout.contains("weiche rollback"), "{}", status.stdout);
    let stuck = town.weiche(&["stuck", "latest"]).expect(4).stdout;
    assert!(stuck.contains("rathaus/a") && stuck.contains("motd"), "{stuck}");
    // What is to be typed can be typed as it stands there.
    let hint = |run: &str| format!("`weiche rollback {run} --take-back-anyway`");
    let line = stuck.split(&hint("")[..17]).nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a hint");
    assert!(stuck.contains(&hint(line)) && line != "RUN" && line.len() > 8, "{stuck}");
    let json = town.weiche(&["--json", "stuck", "latest"]).expect(4).stdout;
    crate::ci::valid(&town, "stuck", &[serde_json::from_str(&json).unwrap()]);
    assert!(motd.join("users-data").exists(), "nothing of the users' is lost");
    town.weiche(&["rollback", "latest", "--take-back-anyway"]).expect(4);
    assert!(motd.join("users-data").exists(), "nothing of the users' is lost");
    fs::remove_dir_all(&motd).expect("remove");
    town.weiche(&["rollback", "latest", "--take-back-anyway"]).expect(0);
    assert_eq!(town.manifest("a"), before);
    town.weiche(&["stuck", "latest"]).expect(0);
}

#[test]
fn what_someone_changed_since_is_kept_when_a_rollback_replaces_it() {
    let Some(town) = town("what_someone_changed_since_is_kept_when_a_rollback_replaces_it", &["a"]) else { return };
    town.weiche(&APPLY).expect(0);
    fs::write(town.root("a").join("etc/motd"), "an hour of work\n").expect("write");
    let ran = town.weiche(&["rollback", "latest", "--take-back-anyway"]).expect(0);
    assert!(ran.stderr.contains("kept"), "{}", ran.stderr);
    let found = std::process::Command::new("grep").args(["-rl", "an hour of work"]).arg(town.state("a")).output();
    assert!(!found.expect("grep").stdout.is_empty(), "their version is on the host");
    // And whoever is handed over to is told where.
    let paper = town.weiche(&["paper", "hand-over", "latest"]).expect(0).stdout;
    assert!(paper.contains("somebody had changed this before it was taken back") && paper.contains("/kept"), "{paper}");
    let report = town.weiche(&["report", "latest", "--format", "markdown"]).expect(0).stdout;
    assert!(report.contains("version is kept in"), "{report}");
}

#[test]
fn a_state_directory_that_cannot_be_written_is_said_before_any_change() {
    let Some(town) = town("a_state_directory_that_cannot_be_written_is_said_before_any_change", &["a"]) else { return };
    let before = town.manifest("a");
    // A file where the directory should be: refused also for root.
    fs::write(town.state("a"), "in the way").expect("write");
    let ran = town.weiche(&APPLY);
    assert!(matches!(ran.code, 1 | 7), "{ran:?}");
    assert!(ran.stderr.contains("rathaus/a"), "{}", ran.stderr);
    assert_eq!(town.manifest("a"), before);
}

#[test]
fn faults_are_not_injected_into_a_run_without_yes_or_terminal() {
    let Some(town) = town("faults_are_not_injected_into_a_run_without_yes_or_terminal", &["a"]) else { return };
    let ran = town.weiche(&["apply", "converge", "hosts=all"]).expect(1);
    assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
    town.weiche(&["apply", "converge", "hosts=all", "--yes", "--inject", "nonsense"]).expect(1);
    town.weiche(&["apply"]).expect(1);
    town.weiche(&["frobnicate"]).expect(1);
    town.weiche(&["status", "no-such-run"]).expect(1);
}

#[test]
fn an_unreadable_run_log_is_said_before_any_change() {
    let Some(town) = town("an_unreadable_run_log_is_said_before_any_change", &["a"]) else { return };
    let before = town.manifest("a");
    fs::create_dir_all(town.fleet().join(".weiche")).expect("make");
    fs::write(
        town.fleet().join(".weiche/weiche.db"),
        "no database at all, but long enough to be read as one".repeat(20),
    )
    .expect("write");
    let ran = town.weiche(&APPLY).expect(1);
    assert!(ran.stderr.contains("run log"), "{}", ran.stderr);
    assert_eq!(town.manifest("a"), before);
}

#[test]
fn the_agents_files_are_private() {
    let Some(town) = town("the_agents_files_are_private", &["a"]) else { return };
    town.weiche(&APPLY).expect(0);
    let mode = |path: &std::path::Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&town.state("a")), 0o700);
    let run = fs::read_dir(town.state("a").join("runs")).expect("runs").next().expect("a run").expect("a run").path();
    assert_eq!(mode(&run), 0o700);
    assert_eq!(mode(&run.join("journal")), 0o600);
}

#[test]
fn a_sensitive_content_is_in_no_plan_log_report_or_journal() {
    let Some(town) = town("a_sensitive_content_is_in_no_plan_log_report_or_journal", &["a"]) else { return };
    let secret = "correct-horse-battery-staple";
    town.write(
        "profiles/motd.yaml",
        &format!(
            "\
profile: motd
resources:
  - file: {{ path: /etc/token, content: \"{secret}\\n\", mode: \"0600\", sensitive: true }}
"
        ),
    );
    let file = town.fleet().join("saved.plan");
    let file = file.to_str().unwrap();
    let plan = town.weiche(&["plan", "converge", "hosts=all", "-o", file]).expect(2);
    assert!(plan.stdout.contains("not shown"), "{}", plan.stdout);
    let apply = town.weiche(&["apply", "--plan", file, "--json"]).expect(0);
    assert_eq!(fs::read_to_string(town.root("a").join("etc/token")).unwrap().trim(), secret);
    // Also as the old content of a change.
    fs::write(town.root("a").join("etc/token"), format!("{secret}-old\n")).unwrap();
    let again = town.weiche(&["plan", "converge", "hosts=all", "--json"]).expect(2);
    let report = town.weiche(&["report", "latest"]).expect(0);
    let log = town.weiche(&["log", "latest", "--json"]).expect(0);
    for ran in [&plan, &apply, &again, &report, &log] {
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{ran:?}");
    }
    let found = std::process::Command::new("grep")
        .args(["-rla", secret, file])
        .args([town.fleet().join(".weiche"), town.state("a").join("runs")])
        .output()
        .expect("grep");
    assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
}
