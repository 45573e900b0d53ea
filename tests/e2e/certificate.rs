//! The certificate of a run: taken before the first change, compared after a rollback, checked by public tools; and
//! drift, which stops a rollback.

use std::fs;
use std::path::Path;
use std::process::Command;

use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;

use crate::ci::valid;

const PROFILE: &str = "\
profile: office
resources:
  - package: { name: nginx }
  - file: { path: /etc/motd, content: \"Moin\\n\" }
  - line: { path: /etc/hosts, line: \"192.0.2.9 drucker\", create: \"0644\" }
";

fn town(watch: &str) -> Town {
    let town = Town::new(&["a", "b"]);
    town.write("profiles/office.yaml", PROFILE);
    let member = fs::read_to_string(town.fleet().join("members/rathaus.yaml")).expect("the member");
    let member = member.replace("simulate: true }", "simulate: true }, profile: office");
    town.write("members/rathaus.yaml", &member.replace("servers:", &format!("{watch}servers:")));
    town
}

fn check(program: &str, arguments: &[&str], dir: &Path) -> (bool, String) {
    let output = Command::new(program).args(arguments).current_dir(dir).output().expect("run a public tool");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_rollback_is_compared_with_the_manifest_and_public_tools_agree() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_rollback_is_compared_with_the_manifest_and_public_tools_agree", &why);
    }
    let town = town("watch: [/etc]\n");
    let root = town.root("a");
    fs::write(root.join("etc/odd name \\ #=*"), "odd\n").unwrap();
    town.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(0);
    let applied = town.weiche(&["verify", "latest"]).expect(2);
    assert!(applied.stdout.contains("~ /etc/motd: file, 7 bytes"), "{}", applied.stdout);
    assert!(applied.stdout.contains("+ package nginx:amd64: "), "{}", applied.stdout);

    // Hosts that are new differ from what they were: nothing is wrong with that.
    let log = town.weiche(&["--json", "log", "latest"]).expect(0).stdout;
    assert!(!log.contains("host_verified"), "{log}");
    let paper = town.weiche(&["paper", "hand-over", "latest"]).expect(0).stdout;
    assert!(paper.contains("2 hosts were only simulated"), "{paper}");
    assert!(paper.contains("every host is new") && !paper.contains("differs from before"), "{paper}");
    let metrics = town.weiche(&["metrics"]).expect(0).stdout;
    assert!(!metrics.contains("weiche_hosts_different{"), "nothing was rolled back: {metrics}");
    let plan = town.fleet().join("plan.json");
    town.weiche(&["plan", "converge", "hosts=all", "--output", plan.to_str().unwrap()]).expect(0);
    let summary = town.weiche(&["paper", "summary", "--plan", plan.to_str().unwrap()]).expect(0).stdout;
    assert!(summary.contains("No stage has a window") && !summary.contains("fit into the windows"), "{summary}");

    let back = town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(back.stderr.matches(": identical to before (").count(), 2, "{}", back.stderr);
    town.weiche(&["verify", "latest"]).expect(0);
    let report = town.weiche(&["report", "latest"]).expect(0);
    assert!(
        report.stdout.contains("\"differences\": 0") && report.stdout.contains("\"manifest\""),
        "{}",
        report.stdout
    );

    let sums = town.fleet().join("sums");
    let exported = town.weiche(&["verify", "latest", "rathaus/a", "--export", "sha256sum"]).expect(0);
    assert!(exported.stdout.contains("etc/motd"), "{}", exported.stdout);
    fs::write(&sums, &exported.stdout).unwrap();
    let (ok, said) = check("sha256sum", &["-c", sums.to_str().unwrap()], &root);
    assert!(ok, "{said}");
    let exported = town.weiche(&["verify", "latest", "rathaus/a", "--export", "mtree"]).expect(0);
    fs::write(&sums, &exported.stdout).unwrap();
    let mtree = || check("mtree", &["-e", "-f", sums.to_str().unwrap(), "-p", root.to_str().unwrap()], &root);
    assert_eq!(mtree(), (true, String::new()));
    fs::write(root.join("etc/hostname"), "x\n").unwrap();
    assert!(mtree().1.contains("hostname"), "mtree must see a change: {}", mtree().1);

    let differs = town.weiche(&["verify", "latest", "rathaus/a"]).expect(2);
    assert!(differs.stdout.contains("DIFFERS from before in 1 place(s)"), "{}", differs.stdout);
    let json = town.weiche(&["--json", "verify", "latest"]).expect(2).stdout;
    valid(&town, "verify", &[serde_json::from_str(&json).unwrap()]);
}

#[test]
fn a_rollback_that_does_not_restore_everything_says_so() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_rollback_that_does_not_restore_everything_says_so", &why);
    }
    let town = town("watch: [/etc]\nunwatched: [/etc/cache]\n");
    town.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(0);
    // Somebody else's work below what is watched: undo leaves it, and the certificate tells.
    fs::write(town.root("b").join("etc/theirs.conf"), "x\n").unwrap();
    fs::create_dir(town.root("b").join("etc/cache")).unwrap();
    let back = town.weiche(&["rollback", "latest"]).expect(4);
    assert!(back.stderr.contains("rathaus/b: DIFFERS from before in 1 place(s)"), "{}", back.stderr);
    assert!(back.stderr.contains("+ /etc/theirs.conf: file, 2 bytes"), "{}", back.stderr);
    assert!(back.stderr.contains("rathaus/a: identical"), "{}", back.stderr);
    fs::remove_file(town.root("b").join("etc/theirs.conf")).unwrap();
    town.weiche(&["verify", "latest"]).expect(0);
}

#[test]
fn drift_is_told_and_stops_a_rollback_until_someone_decides() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("drift_is_told_and_stops_a_rollback_until_someone_decides", &why);
    }
    let town = town("");
    let before = town.manifest("b");
    town.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(0);
    let clean = town.weiche(&["drift", "--member", "rathaus"]).expect(0);
    assert!(clean.stdout.contains("2 host(s) are as the last runs left them"), "{}", clean.stdout);

    fs::write(town.root("a").join("etc/motd"), "by hand\n").unwrap();
    let hosts = town.root("a").join("etc/hosts");
    fs::write(&hosts, "192.0.2.9 drucker\n192.0.2.77 theirs\n").unwrap();
    let drift = town.weiche(&["drift"]).expect(2);
    let told = "rathaus/a: file /etc/motd is not as run";
    assert!(drift.stdout.contains(told) && drift.stdout.contains("(step converge.2)"), "{}", drift.stdout);
    assert!(!drift.stdout.contains("rathaus/b") && !drift.stdout.contains("/etc/hosts"), "{}", drift.stdout);
    let json = town.weiche(&["--json", "drift"]).expect(2);
    assert!(json.stdout.contains("\"rathaus/a\": [\n    {"), "{}", json.stdout);
    valid(&town, "drift", &[serde_json::from_str(&json.stdout).unwrap()]);

    let stopped = town.weiche(&["rollback", "latest"]).expect(4);
    let hint = "--take-back-anyway";
    assert!(
        stopped.stderr.contains("file /etc/motd was changed since") && stopped.stderr.contains(hint),
        "{}",
        stopped.stderr
    );
    assert_eq!(fs::read_to_string(town.root("a").join("etc/motd")).unwrap(), "by hand\n");
    assert!(town.root("a").join("var/lib").exists());
    assert_eq!(town.manifest("b"), before, "the other host is not held up");

    let back = town.weiche(&["rollback", "latest", "--take-back-anyway"]).expect(4);
    assert!(back.stderr.contains("their version is kept"), "{}", back.stderr);
    assert_eq!(fs::read_to_string(town.root("a").join("etc/motd")).unwrap(), "before\n");
    // Lines that others added stay, which is a difference.
    assert_eq!(fs::read_to_string(&hosts).unwrap(), "192.0.2.77 theirs\n");
    assert!(back.stderr.contains("+ /etc/hosts"), "{}", back.stderr);
    let kept = find(&town.state("a").join("runs"), b"by hand\n");
    assert!(kept, "the copy is in the state directory");
}

fn find(dir: &Path, content: &[u8]) -> bool {
    fs::read_dir(dir).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() { find(&path, content) } else { fs::read(&path).is_ok_and(|bytes| bytes == content) }
    })
}
