//! The sandbox: real files below a root directory of an ordinary user, package and unit programs simulated. What the
//! laws say of the fake host holds there, too.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weiche_agent::engine;
use weiche_agent::fault::FaultCode;
use weiche_agent::host::{Attributes, Command, Host, RealHost};
use weiche_agent::journal::Journal;
use weiche_agent::protocol::{RunId, Step, StepId, StepOutcome};

/// A directory that goes away with it.
struct Sandbox(PathBuf);

impl Sandbox {
    fn new(name: &str) -> Sandbox {
        let path = std::env::temp_dir().join(format!("weiche-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("root/etc")).unwrap();
        fs::create_dir_all(path.join("root/srv")).unwrap();
        for (file, text) in [
            ("passwd", "root:x:0:0:root:/root:/bin/bash\n"),
            ("shadow", "root:*:19800:0:99999:7:::\n"),
            ("group", "root:x:0:\nusers:x:100:\n"),
            ("gshadow", "root:*::\nusers:*::\n"),
            ("hostname", "sandbox\n"),
        ] {
            fs::write(path.join("root/etc").join(file), text).unwrap();
        }
        Sandbox(path)
    }

    fn host(&self) -> RealHost {
        RealHost::open(&self.0.join("root"), &self.0.join("state"), true).unwrap()
    }

    fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        let mut seen = BTreeMap::new();
        look(&self.0.join("root"), &mut seen);
        seen
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn look(path: &Path, seen: &mut BTreeMap<PathBuf, String>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let mode = meta.permissions().mode();
    let what = if meta.is_symlink() {
        format!("-> {}", fs::read_link(path).unwrap().display())
    } else if meta.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| look(&entry.unwrap().path(), seen));
        format!("{mode:o}")
    } else {
        format!("{mode:o} {}", String::from_utf8_lossy(&fs::read(path).unwrap()))
    };
    seen.insert(path.to_owned(), what);
}

fn step(number: usize, kind: &str, spec: Value) -> Step {
    let id = StepId(format!("s.{number}"));
    Step { id, kind: kind.into(), spec, watches: Vec::new(), anchor: false, timeout_ms: 5000, inject: None }
}

fn open(run: &str, host: &mut RealHost) -> Journal {
    Journal::open(&RunId::try_from(run.to_owned()).unwrap(), host).unwrap()
}

#[test]
fn a_whole_stage_comes_and_goes() {
    let sandbox = Sandbox::new("stage");
    let before = sandbox.snapshot();
    let steps = [
        step(0, "package", json!({ "name": "nginx" })),
        step(1, "group", json!({ "name": "council" })),
        step(2, "user", json!({ "name": "frida", "group": "council", "groups": ["users"] })),
        step(3, "directory", json!({ "path": "/srv/site", "owner": "frida", "mode": "0750" })),
        step(4, "symlink", json!({ "path": "/srv/site/now", "target": "/etc/nginx" })),
        step(5, "file", json!({ "path": "/srv/site/now/nginx.conf", "state": "absent" })),
        step(6, "unit", json!({ "name": "nginx", "enabled": false, "running": false })),
    ];
    let mut host = sandbox.host();
    let mut events = Vec::new();
    let mut journal = open("run-1", &mut host);
    let ok = engine::apply(&steps, &mut journal, &mut host, &mut |event| events.push(event)).unwrap();
    assert!(ok, "{events:?}");
    assert!(host.lstat(Path::new("/etc/nginx/nginx.conf")).unwrap().is_none());
    assert!(fs::read_to_string(sandbox.0.join("root/etc/passwd")).unwrap().contains("\nfrida:x:1000:1000::"));

    events.clear();
    let mut second = open("run-2", &mut host);
    assert!(engine::apply(&steps, &mut second, &mut host, &mut |event| events.push(event)).unwrap());
    assert!(events.iter().all(|e| e.what == StepOutcome::Unchanged), "{events:?}");

    // A new agent, which knows only what is on disk.
    drop(host);
    let mut host = sandbox.host();
    let mut journal = open("run-1", &mut host);
    assert_eq!(engine::undo(None, false, &mut journal, &mut host, &mut |_| {}).unwrap(), Vec::new());
    assert_eq!(sandbox.snapshot(), before);
}

#[test]
fn whole_trees_are_moved_and_removed_in_the_sandbox_and_nowhere_else() {
    let sandbox = Sandbox::new("trees");
    let outside = Sandbox::new("trees-outside");
    let mut host = sandbox.host();
    let own = Attributes { mode: Some(0o750), uid: Some(33), ..Attributes::default() };
    host.make_dir(Path::new("/srv/a"), &own).unwrap();
    host.write(Path::new("/srv/a/letter"), &mut "x".as_bytes(), &own).unwrap();
    let mut run = |words: &[&str]| host.run(&Command::changing(words.to_vec(), Duration::from_secs(9)));
    assert!(run(&["mv", "-T", "--", "/srv/a", "/srv/b"]).unwrap().ok());
    assert!(sandbox.0.join("root/srv/b/letter").exists() && !sandbox.0.join("root/srv/a").exists());
    symlink(outside.0.join("root"), sandbox.0.join("root/srv/out")).unwrap();
    for words in [&["rm", "-rf", "--", "/srv/out/etc"][..], &["mv", "-T", "--", "/srv/b", "/srv/out/b"]] {
        assert_eq!(run(words).unwrap_err().code, FaultCode::Conflict, "{words:?}");
    }
    assert!(run(&["find", "/srv", "-mindepth", "1", "-delete"]).is_err());
    assert!(outside.0.join("root/etc/passwd").exists() && sandbox.0.join("root/srv/b").exists());
    assert_eq!(host.lstat(Path::new("/srv/b/letter")).unwrap().unwrap().attributes.uid, Some(33));
    let whole = ["rm", "-rf", "--", "/srv/b"];
    assert!(host.run(&Command::changing(whole, Duration::from_secs(9))).unwrap().ok());
    assert!(!sandbox.0.join("root/srv/b").exists());
    // Who owned it is forgotten with it.
    host.make_dir(Path::new("/srv/b"), &Attributes::default()).unwrap();
    assert_eq!(host.lstat(Path::new("/srv/b")).unwrap().unwrap().attributes.uid, Some(0));
}

/// Not a benchmark: a bound that only a mistake in kind breaks.
#[test]
fn a_run_that_changes_nothing_is_cheap() {
    let sandbox = Sandbox::new("cheap");
    let mut host = sandbox.host();
    let steps: Vec<Step> =
        (0..30).map(|n| step(n, "directory", json!({ "path": format!("/srv/{n}"), "mode": "0750" }))).collect();
    let mut journal = open("run-1", &mut host);
    assert!(engine::apply(&steps, &mut journal, &mut host, &mut |_| {}).unwrap());
    let begin = Instant::now();
    let mut journal = open("run-2", &mut host);
    assert!(engine::apply(&steps, &mut journal, &mut host, &mut |_| {}).unwrap());
    let took = begin.elapsed();
    println!("30 unchanged resources took {took:?}");
    assert!(took.as_millis() < 100, "{took:?}");
    assert!(!sandbox.0.join("state/runs/run-2").exists());
}
