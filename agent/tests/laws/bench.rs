//! What the laws are tried on: a host, the steps, and how to carry them out and take them back.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use weiche_agent::digest::Digest;
use weiche_agent::engine;
use weiche_agent::fault::Fault;
use weiche_agent::host::Host;
use weiche_agent::host::fake::FakeHost;
use weiche_agent::journal::Journal;
use weiche_agent::protocol::{RunId, Status, Step, StepEvent, StepId, StepOutcome};
use weiche_agent::resource::examples;

use super::scenario;

/// The run that is crashed and undone.
pub(crate) const RUN: &str = "run-1";

/// Contents of a directory that the controller has read, see [`entries`].
const LETTER: &str = "Antrag auf Wohngeld\n";
const SCRIPT: &str = "#!/bin/sh\n";

/// What the controller makes of any tree or archive.
fn entries() -> Value {
    let file = |text: &str, executable: bool| json!({ "file": { "digest": Digest::of(text.as_bytes()), "size": text.len(), "executable": executable } });
    json!({
        "bin": "directory",
        "bin/latest": { "symlink": "run" },
        "bin/run": file(SCRIPT, true),
        "empty": "directory",
        "letter.txt": file(LETTER, false),
        "twin.txt": file(LETTER, false),
    })
}

/// One case.
pub(crate) struct Bench {
    pub(crate) name: String,
    pub(crate) host: FakeHost,
    /// It fails with some steps done, and is meant to.
    pub(crate) half_way: bool,
    steps: Vec<Step>,
}

/// How an apply ended.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) ok: bool,
    pub(crate) events: Vec<StepEvent>,
}

/// All examples of all kinds on all hosts, then all scenarios.
pub(crate) fn bench() -> Vec<Bench> {
    let mut cases = Vec::new();
    for (kind, example) in examples() {
        for (host_name, host) in FakeHost::examples() {
            let name = format!("{} example {example} on `{host_name}`", kind.name());
            cases.push(Bench::new(name, host, vec![step("stage.0", kind.name(), example.clone())]));
        }
    }
    for case in &mut cases {
        // A single step that fails must have failed before it changed anything.
        let mut host = case.host.clone();
        let applied = case.apply(RUN, &mut host);
        case.half_way = applied.is_ok_and(|a| !a.ok);
        if case.half_way {
            assert_eq!(case.is_as_before(&host), Ok(()), "{} failed and has changed the host", case.name);
        }
    }
    cases.extend(scenario::all());
    cases
}

impl Bench {
    pub(crate) fn new(name: String, host: FakeHost, steps: Vec<Step>) -> Bench {
        let mut case = Bench { name, host, half_way: false, steps };
        let mut host = case.host.clone();
        case.send(RUN, &mut host);
        case.host = host;
        case
    }

    /// The steps as the controller sends them: contents by digest.
    pub(crate) fn steps(&self, _run: &str) -> Vec<Step> {
        let mut steps = self.steps.clone();
        for step in &mut steps {
            for spec in holders(&mut step.spec) {
                if let Some(content) = spec.as_object_mut().and_then(|s| s.remove("content")) {
                    let content = content.as_str().unwrap_or_default();
                    spec["blob"] = json!({ "digest": Digest::of(content.as_bytes()), "size": content.len() });
                }
            }
            if matches!(step.kind.as_str(), "tree" | "archive") {
                step.spec["entries"] = entries();
            }
        }
        steps
    }

    /// Sends the contents.
    pub(crate) fn send(&self, run: &str, host: &mut FakeHost) {
        let mut steps = self.steps.clone();
        let holders = steps.iter_mut().flat_map(|s| holders(&mut s.spec));
        for content in holders.filter_map(|spec| spec["content"].as_str()).chain(["", LETTER, SCRIPT]) {
            let name = format!("runs/{run}/in/{}", Digest::of(content.as_bytes()));
            host.state_write(&name, &mut content.as_bytes()).unwrap();
        }
    }

    pub(crate) fn apply(&self, run: &str, host: &mut FakeHost) -> Result<Applied, Fault> {
        let mut events = Vec::new();
        let mut journal = Journal::open(&id(run), host)?;
        let ok = engine::apply(&self.steps(run), &mut journal, host, &mut |event| events.push(event))?;
        Ok(Applied { ok, events })
    }

    /// Takes the run back and complains if something is stuck.
    pub(crate) fn undo(&self, host: &mut FakeHost) -> Result<(), String> {
        let mut events = Vec::new();
        let mut journal = Journal::open(&id(RUN), host).map_err(|e| e.to_string())?;
        let stuck = engine::undo(None, false, &mut journal, host, &mut |event| events.push(event))
            .map_err(|e| e.to_string())?;
        let drifted = events.iter().find(|e| matches!(e.what, StepOutcome::UndoneDrifted { .. }));
        match (stuck.first(), drifted) {
            (Some(step), _) => Err(format!("stuck at {step}: {events:?}")),
            (None, Some(event)) => Err(format!("nobody has touched it, and yet {event:?}")),
            (None, None) => Ok(()),
        }
    }

    pub(crate) fn is_as_before(&self, host: &FakeHost) -> Result<(), String> {
        same(&self.host.snapshot(), &host.snapshot())
    }
}

/// The spec or, if it has no content itself, its objects that may have.
fn holders(spec: &mut Value) -> Vec<&mut Value> {
    if spec.get("content").is_some() {
        return vec![spec];
    }
    spec.as_object_mut().map(|map| map.values_mut().filter(|v| v.is_object()).collect()).unwrap_or_default()
}

pub(crate) fn step(id: &str, kind: &str, spec: Value) -> Step {
    let id = StepId(id.into());
    Step { id, kind: kind.into(), spec, watches: Vec::new(), anchor: false, timeout_ms: 1000, inject: None }
}

/// Where every step of the run stands.
pub(crate) fn statuses(host: &mut FakeHost) -> Vec<Status> {
    Journal::open(&id(RUN), host).unwrap().statuses().into_iter().map(|s| s.status).collect()
}

pub(crate) fn without_times(snapshot: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    snapshot.iter().map(|(path, line)| (path.clone(), without_time(line))).collect()
}

/// Says what differs.
pub(crate) fn same(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Result<(), String> {
    let nothing = String::from("nothing");
    let paths = a.keys().chain(b.keys().filter(|p| !a.contains_key(*p)));
    let differs = paths
        .filter(|p| a.get(*p) != b.get(*p))
        .map(|p| format!("  {p}: {} became {}", a.get(p).unwrap_or(&nothing), b.get(p).unwrap_or(&nothing)));
    let differs: Vec<String> = differs.collect();
    if differs.is_empty() { Ok(()) } else { Err(format!("differs\n{}", differs.join("\n"))) }
}

fn without_time(line: &str) -> String {
    match (line.find('('), line.find(')')) {
        (Some(from), Some(to)) if line.starts_with("file") || line.starts_with("symlink") => {
            format!("{}{}", &line[..from], &line[to + 1..])
        }
        _ => line.to_owned(),
    }
}

fn id(run: &str) -> RunId {
    RunId::try_from(run.to_owned()).unwrap()
}
