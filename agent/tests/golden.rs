//! Golden journals: state directories that an agent of each format has written, on the hosts that it wrote them on. The
//! present agent must be able to take every one of them back.
//!
//! `tests/golden/FORMAT/NAME/` has the state directory (`state/`, without the space set aside), the host as it was
//! (`before`) and as the agent left it (`now`), and the journal's statuses (`statuses`). `person`, where there is one, is
//! what somebody has to do before a stuck host can go on.
//!
//! **They are kept for ever.** A host may be taken back by an agent that is years younger than its journal. If one of these
//! fails, the agent is wrong, not the file. New ones, for a new format or situation, are written by
//! `WEICHE_BLESS_GOLDEN=1 cargo test -p weiche-agent --test golden`, which never touches one that exists.
#![expect(clippy::disallowed_methods, reason = "shell")]

#[path = "golden/situation.rs"]
mod situation;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use situation::{RUN, Situation, id, situations};
use weiche_agent::engine;
use weiche_agent::host::fake::FakeHost;
use weiche_agent::journal::{Journal, VERSION};
use weiche_agent::manifest;
use weiche_agent::protocol::{Status, StepOutcome};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Directories in a directory, in their order.
fn directories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut found: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

fn state(dir: &Path, name: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{name}{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            state(&path, &format!("{name}/"), found);
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
}

fn statuses(host: &mut FakeHost) -> String {
    let journal = Journal::open(&id(RUN), host).unwrap();
    let steps = journal.statuses().into_iter().map(|s| format!("{} {} {:?}\n", s.step, s.kind, s.status));
    let guards = journal.guards.iter().map(|(stage, g)| {
        let (nonce, boot, deadline) = (g.nonce.short(), &g.boot_id, g.deadline_boottime_ms);
        format!("guard {stage} {nonce} {boot} {deadline} {:?}\n", g.standing)
    });
    steps.chain(guards).collect()
}

/// The databases are shared by all accounts: their time is nobody's state.
fn snapshot(host: &FakeHost) -> BTreeMap<String, String> {
    let mut lines = host.snapshot();
    for path in ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"] {
        if let Some(line) = lines.get_mut(path)
            && let (Some(from), Some(to)) = (line.find('('), line.find(')'))
        {
            line.replace_range(from..=to, "");
        }
    }
    lines
}

fn is_as_before(host: &FakeHost, before: &FakeHost, what: &str) {
    let (now, before) = (snapshot(host), snapshot(before));
    let paths = before.keys().chain(now.keys().filter(|path| !before.contains_key(*path)));
    let differs = paths.filter(|path| now.get(*path) != before.get(*path));
    let differs: Vec<String> =
        differs.map(|path| format!("{path}: {:?} became {:?}", before.get(path), now.get(path))).collect();
    assert!(differs.is_empty(), "{what}:\n{}", differs.join("\n"));
}

fn takes_back(dir: &Path) {
    let what = dir.display();
    let text = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_else(|e| panic!("{what}/{name}: {e}"));
    let mut files = BTreeMap::new();
    state(&dir.join("state"), "", &mut files);
    let before = FakeHost::of_picture(&text("before"), BTreeMap::new());
    let mut host = FakeHost::of_picture(&text("now"), files);
    assert_eq!(statuses(&mut host), text("statuses"), "{what}");
    if let Ok(lines) = fs::read_to_string(dir.join("person")) {
        let stuck = engine::undo(None, false, &mut Journal::open(&id(RUN), &mut host).unwrap(), &mut host, &mut |_| {});
        assert!(!stuck.unwrap().is_empty(), "{what} needs a person");
        lines.lines().for_each(|line| host.does(line));
    }
    let mut events = Vec::new();
    let mut journal = Journal::open(&id(RUN), &mut host).unwrap();
    let stuck = engine::undo(None, false, &mut journal, &mut host, &mut |event| events.push(event)).unwrap();
    assert!(stuck.is_empty(), "{what} is stuck at {stuck:?}: {events:?}");
    assert!(events.iter().all(|event| event.what == StepOutcome::Undone), "{what}: {events:?}");
    assert!(Journal::open(&id(RUN), &mut host).unwrap().statuses().iter().all(|s| s.status == Status::Undone));
    is_as_before(&host, &before, &what.to_string());
    let mut told = Vec::new();
    let verified = manifest::verify(&id(RUN), &mut host, &mut |difference| told.push(difference)).unwrap();
    // Of the databases again the time.
    told.retain(|d| !["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"].contains(&d.subject.as_str()));
    assert!(verified.is_some() && told.is_empty(), "{what}: {told:?}");
}

#[test]
fn every_golden_journal_is_taken_back() {
    let formats = directories(&golden());
    let mut count = 0;
    for dir in formats.iter().flat_map(|format| directories(format)) {
        takes_back(&dir);
        count += 1;
    }
    assert!(count >= situations().len(), "golden journals are missing: {count}");
}

/// What the agent does now is what the newest golden journals say that it does; if not, the format has a new version.
#[test]
fn every_situation_has_a_golden_journal_of_the_present_format() {
    let format = golden().join(format!("{}.{}", VERSION.0, VERSION.1));
    let bless = std::env::var("WEICHE_BLESS_GOLDEN").is_ok();
    for situation in situations() {
        let dir = format.join(situation.name);
        if bless && !dir.exists() {
            write(&dir, &situation);
        }
        assert!(dir.is_dir(), "{} is missing; see the top of this file", dir.display());
        let (_, mut host) = situation.play();
        assert_eq!(statuses(&mut host), fs::read_to_string(dir.join("statuses")).unwrap(), "{}", situation.name);
    }
}

fn write(dir: &Path, situation: &Situation) {
    let (before, mut host) = situation.play();
    for (name, bytes) in host.state().iter().filter(|(name, _)| !name.ends_with("/reserve")) {
        let path = dir.join("state").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    fs::write(dir.join("before"), before.picture()).unwrap();
    fs::write(dir.join("now"), host.picture()).unwrap();
    fs::write(dir.join("statuses"), statuses(&mut host)).unwrap();
    if let Some(person) = situation.person {
        fs::write(dir.join("person"), format!("{person}\n")).unwrap();
    }
}
