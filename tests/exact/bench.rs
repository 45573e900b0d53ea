//! A host below a directory of a real file system, steps applied to it and taken back.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use weiche_agent::digest::Digest;
use weiche_agent::engine;
use weiche_agent::fault::Fault;
use weiche_agent::host::{Host as _, RealHost};
use weiche_agent::journal::Journal;
use weiche_agent::protocol::{RunId, Step, StepEvent, StepId, StepOutcome};
use weiche_tests::disk;

/// A root directory and a state directory.
pub(crate) struct Bench {
    pub(crate) root: PathBuf,
    pub(crate) state: PathBuf,
}

impl Bench {
    /// Makes both, and accounts in the root.
    pub(crate) fn new(root: &Path, state: &Path) -> Bench {
        let bench = Bench { root: root.join("root"), state: state.join("state") };
        for dir in ["etc", "srv"] {
            fs::create_dir_all(bench.root.join(dir)).unwrap();
        }
        fs::write(bench.root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        fs::write(bench.root.join("etc/group"), "root:x:0:\n").unwrap();
        bench
    }

    /// A path of the host as the test sees it, as text.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.root.display())
    }

    pub(crate) fn manifest(&self) -> String {
        disk::manifest(&self.root)
    }

    fn host(&self) -> RealHost {
        RealHost::open(&self.root, &self.state, false).unwrap()
    }

    /// Applies steps, as a stage of a run; says what the first that failed said. Contents are sent before.
    pub(crate) fn apply(&self, steps: &[(&str, Value)], contents: &[&[u8]]) -> Result<(), Fault> {
        let mut host = self.host();
        for content in contents {
            let name = format!("runs/run-1/in/{}", Digest::of(content));
            host.state_write(&name, &mut &**content).unwrap();
        }
        let steps: Vec<Step> = steps.iter().enumerate().map(|(n, (kind, spec))| step(n, kind, spec.clone())).collect();
        let mut events = Vec::new();
        engine::apply(&steps, &mut journal(&mut host), &mut host, &mut |e| events.push(e))?;
        let failed = events.into_iter().find_map(|e: StepEvent| match e.what {
            StepOutcome::Failed(fault) => Some(fault),
            _ => None,
        });
        failed.map_or(Ok(()), Err)
    }

    /// Takes everything back, by an agent that knows only what is on disk; then the run is forgotten.
    pub(crate) fn undo(&self) {
        let mut host = self.host();
        let mut events = Vec::new();
        let stuck = engine::undo(None, false, &mut journal(&mut host), &mut host, &mut |e| events.push(e)).unwrap();
        assert!(stuck.is_empty(), "{events:#?}");
        host.state_remove("runs").unwrap();
    }
}

/// A `file` step's spec whose content is sent.
pub(crate) fn file(path: &str, content: &[u8]) -> Value {
    json!({ "path": path, "blob": { "digest": Digest::of(content), "size": content.len() } })
}

fn step(number: usize, kind: &str, spec: Value) -> Step {
    let id = StepId(format!("s.{number}"));
    Step { id, kind: kind.into(), spec, watches: Vec::new(), anchor: false, timeout_ms: 5000, inject: None }
}

fn journal(host: &mut RealHost) -> Journal {
    Journal::open(&RunId::try_from(String::from("run-1")).unwrap(), host).unwrap()
}

/// Panics with the lines that differ, and only those.
#[track_caller]
pub(crate) fn assert_same(now: &str, before: &str, what: &str) {
    let lacks = |text: &str, line: &str| !text.lines().any(|other| other == line);
    let gone = before.lines().filter(|line| lacks(now, line)).map(|line| format!("-{line}"));
    let new = now.lines().filter(|line| lacks(before, line)).map(|line| format!("+{line}"));
    let differs: Vec<String> = gone.chain(new).collect();
    assert!(now == before, "{what}: differs:\n{}", differs.join("\n"));
}
