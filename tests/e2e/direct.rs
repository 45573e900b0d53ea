//! Direct transfers: the keys that a run makes are on its two hosts and nowhere else, and whoever goes on with the run has
//! the same ones.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use weiche_tests::sshd::Sshd;
use weiche_tests::town::{Ran, Town};

const HOSTS: [&str; 2] = ["old", "new"];
const FIRST: [&str; 6] = ["apply", "first", "old=old", "new=new", "--yes", "--quiet"];

/// Two hosts of which one gets the other's data.
fn town() -> Town {
    let town = Town::new(&HOSTS);
    for host in HOSTS {
        fs::DirBuilder::new().mode(0o700).create(town.root(host).join("root")).unwrap();
        fs::create_dir_all(town.root(host).join("etc/systemd/system")).unwrap();
    }
    let stage = |name: &str, more: &str| {
        format!(
            "  - stage: {name}\n    on: [old, new]\n    steps:\n      \
             - transfer: {{ from: old, paths: /srv/share, via: direct{more} }}\n        on: new\n"
        )
    };
    let stages = [("presync", ""), ("cutover", ", final: true, reverse: armed"), ("retire", ", end: true")];
    for (name, parts) in [("first", 1), ("both", 2), ("x", 3)] {
        let stages: String = stages[..parts].iter().map(|(name, more)| stage(name, more)).collect();
        let head = format!("playbook: {name}\ninputs: {{ old: host, new: host }}\nstages:\n");
        town.write(&format!("playbooks/{name}.yaml"), &(head + &stages));
    }
    town
}

fn key(town: &Town, host: &str) -> std::path::PathBuf {
    town.root(host).join("etc/weiche/mirror/srv-share/key")
}

/// What ssh-keygen(1) says of a key.
fn keygen(way: &str, path: &Path) -> String {
    let output = Command::new("ssh-keygen").args([way, "-f"]).arg(path).output().expect("run ssh-keygen");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Type and key of a host's key.
fn public(town: &Town, host: &str) -> String {
    keygen("-y", &key(town, host)).split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// The keys that a host lets in.
fn let_in(town: &Town, host: &str) -> Vec<String> {
    let text = fs::read_to_string(town.root(host).join("root/.ssh/authorized_keys")).unwrap_or_default();
    let key = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        words.iter().position(|word| *word == "ssh-ed25519").map(|at| words[at..at + 2].join(" "))
    };
    text.lines().filter_map(key).collect()
}

/// All of the hosts but the data: what simulated hosts copy from one another is always the same.
fn settings(town: &Town) -> Vec<String> {
    let of = |host: &str| ["etc", "root"].map(|dir| weiche_tests::town::manifest(&town.root(host).join(dir)));
    HOSTS.into_iter().flat_map(of).collect()
}

/// All files below a directory.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { found.extend(files(&entry)) } else { found.push(entry) }
    }
    found
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn the_private_key_is_on_its_host_and_in_no_plan_log_or_store() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("the_private_key_is_on_its_host_and_in_no_plan_log_or_store", &why);
    }
    let town = town();
    let before = town.manifests(&HOSTS);
    assert!(!town.fleet().join(".weiche/seed").exists());
    town.weiche(&["check"]).expect(0);
    assert!(!town.fleet().join(".weiche").exists(), "a check makes nothing");
    let plan = town.fleet().join("saved.plan");
    let arguments = ["plan", "first", "old=old", "new=new", "-o", plan.to_str().unwrap()];
    let planned = town.weiche(&arguments).expect(2);
    let json = town.weiche(&["plan", "first", "old=old", "new=new", "--json"]).expect(2);
    let ran = town.weiche(&["apply", "--plan", plan.to_str().unwrap()]).expect(0);
    let secret = fs::read_to_string(key(&town, "new")).unwrap();
    assert_eq!(fs::metadata(key(&town, "new")).unwrap().permissions().mode() & 0o7777, 0o600);
    // It is the one that the other host lets in, and that the plan has named.
    assert_eq!(let_in(&town, "old"), [public(&town, "new")]);
    let authorized = fs::read_to_string(town.root("old").join("root/.ssh/authorized_keys")).unwrap();
    assert!(authorized.starts_with("restrict,from=\"127.0.0.1\",command=\"rsync --server --daemon "), "{authorized}");
    let print = keygen("-l", &key(&town, "new"));
    let print = print.split(' ').nth(1).unwrap();
    assert!(planned.stdout.contains(print), "{print} is missing in {}", planned.stdout);
    assert!(!json.stdout.contains(print), "each plan has a key of its own");
    // Nobody else has it, whole or in parts.
    let seed = fs::read(town.fleet().join(".weiche/seed")).unwrap();
    let lines: Vec<&[u8]> = secret.lines().map(str::as_bytes).collect();
    let log = town.weiche(&["log", "latest", "--json"]).expect(0);
    let report = town.weiche(&["report", "latest", "--format", "json"]).expect(0);
    // What steps tell on their way is for people: it may name users and their files.
    let told = |ran: &Ran| ran.stdout.contains("compared by digest");
    assert!(told(&log) && !told(&report), "{}", report.stdout);
    let said = [&planned, &json, &ran, &log, &report].map(|ran| format!("{}{}", ran.stdout, ran.stderr).into_bytes());
    let kept = files(&town.fleet()).into_iter().filter(|path| !path.ends_with(".weiche/seed"));
    let kept = kept.map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    assert!(kept.len() > 4);
    for bytes in said.iter().chain(&kept) {
        for line in lines.iter().skip(1).filter(|line| line.len() > 20 && !line.starts_with(b"-----")) {
            // The first line of the middle is the same for all keys of OpenSSH.
            let unlike_others = line.get(40..).unwrap_or(line);
            assert!(!holds(bytes, unlike_others), "a part of the key is in {}", String::from_utf8_lossy(bytes));
        }
        assert!(!holds(bytes, &seed));
    }
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&HOSTS), before);
}

#[test]
fn whoever_goes_on_with_a_run_has_its_keys_and_nobody_without_the_seed() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("whoever_goes_on_with_a_run_has_its_keys_and_nobody_without_the_seed", &why);
    }
    let town = town();
    let before = town.manifests(&HOSTS);
    let (seed, aside) = (town.fleet().join(".weiche/seed"), town.fleet().join("aside"));
    let mut died = 0;
    for event in (2..).step_by(5) {
        let number = event.to_string();
        let ran = town.weiche(&[&FIRST[..], &["--crash-after-event", &*number]].concat());
        if ran.code == 0 {
            break;
        }
        ran.expect(128 + 6);
        died += 1;
        fs::rename(&seed, &aside).unwrap();
        let refused = town.weiche(&["resume", "latest"]).expect(1);
        // What died behind its last event has nothing to go on with.
        let through = refused.stderr.contains("there is nothing to go on with");
        assert!(through || refused.stderr.contains(".weiche/seed"), "{}", refused.stderr);
        assert!(!seed.exists(), "no other seed is made for a run that has one");
        fs::rename(&aside, &seed).unwrap();
        let ended = town.weiche(&["resume", "latest"]);
        assert!(ended.code == 0 || through, "event {event}: {ended:?}");
        assert_eq!(let_in(&town, "old"), [public(&town, "new")], "event {event}");
        town.weiche(&["rollback", "latest"]).expect(0);
        assert_eq!(town.manifests(&HOSTS), before, "event {event}");
    }
    assert!(died > 3, "the run has few events only: {died}");
}

#[test]
fn the_way_back_has_another_key_and_at_the_end_there_is_none() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("the_way_back_has_another_key_and_at_the_end_there_is_none", &why);
    }
    let town = town();
    let before = settings(&town);
    let plan = town.weiche(&["plan", "x", "old=old", "new=new"]).expect(2);
    // What the plan says of later stages is not what is there now.
    for part in ["follows 127.0.0.1", "-> own", "step presync.", "changes it before"] {
        assert!(plan.stdout.contains(part), "{part} is missing in {}", plan.stdout);
    }
    let both = ["apply", "both", "old=old", "new=new", "--yes", "--quiet"];
    town.weiche(&both).expect(0);
    assert_eq!((let_in(&town, "old"), let_in(&town, "new")), (vec![public(&town, "new")], vec![public(&town, "old")]));
    assert_ne!(public(&town, "new"), public(&town, "old"));
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(settings(&town), before);
    town.weiche(&["apply", "x", "old=old", "new=new", "--yes", "--quiet"]).expect(0);
    for host in HOSTS {
        let left = files(&town.root(host).join("etc/weiche"));
        assert!(left.is_empty() && let_in(&town, host).is_empty(), "{left:?}");
    }
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(settings(&town), before);
}
