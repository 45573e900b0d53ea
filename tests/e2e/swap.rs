//! The main job: plan, apply, apply again, roll back; seen by tools that are not ours.

use std::fs;

use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;

const PROFILE: &str = "\
profile: office
parameters: { greeting: { type: string, default: Moin } }
resources:
  - group: { name: rathaus, gid: 1500 }
  - user: { name: amt, uid: 1500, group: rathaus, home: /srv/amt, shell: /bin/false }
  - package: { name: nginx }
  - directory: { path: /srv/amt, mode: \"0750\", owner: amt, group: rathaus }
  - file: { path: /srv/amt/greeting, content: \"{{greeting}} from {{host.name}}\\n\", mode: \"0640\", owner: amt }
  - file: { path: /etc/motd, content: \"{{greeting}}\\n\" }
  - symlink: { path: /srv/current, target: amt }
  - unit: { name: nginx, enabled: true, running: true, restart_on: [\"file /etc/motd\"] }
";

fn office(town: &Town) {
    town.write("profiles/office.yaml", PROFILE);
    let member = fs::read_to_string(town.fleet().join("members/rathaus.yaml")).expect("the member");
    town.write("members/rathaus.yaml", &member.replace("simulate: true }", "simulate: true }, profile: office"));
}

#[test]
fn the_first_apply_changes_the_second_does_not_and_a_rollback_restores_everything() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip(
            "the_first_apply_changes_the_second_does_not_and_a_rollback_restores_everything",
            &why,
        );
    }
    let hosts = ["a", "b", "c"];
    let town = Town::new(&hosts);
    office(&town);
    let before = town.manifests(&hosts);

    let plan = town.weiche(&["plan", "converge", "hosts=all"]).expect(2);
    assert!(plan.stdout.contains("undo:") && plan.stdout.contains("-before"), "{}", plan.stdout);
    assert_eq!(town.manifests(&hosts), before, "a plan changes nothing");

    town.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(0);
    let after = town.manifests(&hosts);
    assert_ne!(after, before);
    assert_eq!(fs::read_to_string(town.root("b").join("srv/amt/greeting")).unwrap(), "Moin from b\n");

    let again = town.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(0);
    assert!(again.stdout.contains("Nothing to change"), "{}", again.stdout);
    town.weiche(&["plan", "converge", "hosts=all"]).expect(0);
    assert_eq!(town.manifests(&hosts), after);

    let motd = fs::read(town.root("a").join("etc/motd")).expect("read");
    fs::write(town.root("a").join("etc/motd"), "somebody was here\n").expect("write");
    let drifted = town.weiche(&["plan", "converge", "hosts=all"]).expect(2);
    assert!(drifted.stdout.contains("somebody was here"), "{}", drifted.stdout);
    fs::write(town.root("a").join("etc/motd"), &motd).expect("write");

    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&hosts), before);
    let status = town.weiche(&["status", "latest"]).expect(0);
    assert!(status.stdout.contains("taken back"), "{}", status.stdout);
    town.weiche(&["rollback", "latest"]).expect(1);
}

#[test]
fn a_plan_is_used_once_and_refused_when_altered_cut_or_stale() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_plan_is_used_once_and_refused_when_altered_cut_or_stale", &why);
    }
    let town = Town::new(&["a"]);
    office(&town);
    let file = town.fleet().join("weekend.plan");
    let file = file.to_str().unwrap();
    town.weiche(&["plan", "converge", "hosts=all", "-o", file]).expect(2);
    let text = fs::read_to_string(file).unwrap();
    let before = town.manifest("a");

    fs::write(file, &text[..text.len() / 2]).unwrap();
    let cut = town.weiche(&["apply", "--plan", file]).expect(1);
    assert!(cut.stderr.contains("not a whole plan file"), "{}", cut.stderr);
    fs::write(file, text.replace("/srv/amt", "/srv/xyz")).unwrap();
    let altered = town.weiche(&["apply", "--plan", file]).expect(1);
    assert!(altered.stderr.contains("altered"), "{}", altered.stderr);
    fs::write(file, &text).unwrap();

    fs::write(town.root("a").join("etc/motd"), "changed since\n").unwrap();
    let stale = town.weiche(&["apply", "--plan", file]).expect(1);
    assert!(
        stale.stderr.contains("no longer what the plan saw") && stale.stderr.contains("/etc/motd"),
        "{}",
        stale.stderr
    );
    assert_eq!(fs::read_to_string(town.root("a").join("etc/motd")).unwrap(), "changed since\n");
    fs::write(town.root("a").join("etc/motd"), "before\n").unwrap();

    // The file's time is part of what the plan saw: plan anew.
    town.weiche(&["plan", "converge", "hosts=all", "-o", file]).expect(2);
    assert_eq!(town.manifest("a"), before);
    town.weiche(&["apply", "--plan", file]).expect(0);
    let used = town.weiche(&["apply", "--plan", file]).expect(1);
    assert!(used.stderr.contains("nothing was changed"), "{}", used.stderr);
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifest("a"), before);
}

#[test]
fn a_failing_step_takes_every_host_back() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_failing_step_takes_every_host_back", &why);
    }
    let hosts = ["a", "b"];
    let town = Town::new(&hosts);
    office(&town);
    let before = town.manifests(&hosts);
    for fault in ["fail", "crash"] {
        let failed = town.weiche(&[
            "apply",
            "converge",
            "hosts=all",
            "--yes",
            "--inject",
            &format!("rathaus/b:converge.6={fault}"),
        ]);
        let failed = failed.expect(3);
        assert!(failed.stderr.contains("every host is as it was"), "{}", failed.stderr);
        assert_eq!(town.manifests(&hosts), before, "{fault}");
    }
    town.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(0);
}

#[test]
fn a_server_swap_brings_the_data_and_takes_it_back() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_server_swap_brings_the_data_and_takes_it_back", &why);
    }
    let hosts = ["old", "new"];
    let town = crate::crash::swap_town();
    let before = town.manifests(&hosts);
    let data = weiche_tests::town::manifest(&town.root("old").join("srv/share"));
    let swap = ["copy-swap", "old=rathaus/old", "new=rathaus/new"];
    let plan = town.weiche(&[&["plan"], &swap[..]].concat()).expect(2).stdout;
    // The second one puts back what the first one has brought.
    assert!(plan.matches("undo: remove the tree again").count() == 1, "{plan}");
    assert!(
        plan.contains("? step presync.1 copies it before") && plan.contains("undo: put back what is there then"),
        "{plan}"
    );
    town.weiche(&[&["apply", "--yes"], &swap[..]].concat()).expect(0);
    assert_eq!(weiche_tests::town::manifest(&town.root("new").join("srv/share")), data, "all data, with metadata");
    let report = town.weiche(&["report", "latest", "--format", "json"]).expect(0);
    assert!(report.stdout.contains("\"weiche_report\"") && report.stdout.contains("\"done\""), "{}", report.stdout);
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&hosts), before);
}

#[test]
fn the_demo_runs_the_shipped_swap_and_proves_that_every_host_is_as_it_was() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ran = weiche_tests::town::ran(
        std::process::Command::new(weiche_tests::town::weiche())
            .args(["demo", "--dir"])
            .arg(dir.path().join("demo"))
            .output()
            .expect("run the demo"),
    )
    .expect(0);
    // Five hosts, after the fault and after the rollback by hand.
    assert_eq!(ran.stdout.matches("identical to before (").count(), 10, "{}", ran.stdout);
    for part in ["(exit code 2)", "(exit code 3)", "simulated packages and units on", "report of the swap"] {
        assert!(ran.stdout.contains(part), "{part} is missing in {}", ran.stdout);
    }
    assert!(ran.stderr.contains("this fault was injected by a rehearsal"), "{}", ran.stderr);
    assert!(dir.path().join("demo/report.json").exists());
}
