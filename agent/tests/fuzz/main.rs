//! Bytes that nobody meant: frames, journals, manifests and texts, random, damaged and hostile. No panic, memory within
//! a bound that is measured, and whatever was damaged: no step that may have changed the host is forgotten silently.

mod corpus;
mod edits;
mod frames;
mod heap;
mod journal;
mod manifest;

use weiche_agent::protocol::{RunId, Step, StepId};

fn id(run: &str) -> RunId {
    RunId::try_from(run.to_owned()).unwrap()
}

fn step(id: &str, kind: &str, spec: serde_json::Value) -> Step {
    let id = StepId(id.into());
    Step { id, kind: kind.into(), spec, watches: Vec::new(), anchor: false, timeout_ms: 1000, inject: None }
}
