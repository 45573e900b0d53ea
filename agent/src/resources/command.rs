//! `command`: runs a program when `creates` or `unless` say that its work is not done. What it changes is unknown to us,
//! so its undo is declared too: an argument vector, or `irreversible: true`.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::path_problem;
use crate::fault::{Fault, FaultCode};
use crate::host;
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens, Witness};

/// A program that is run.
#[derive(Debug)]
pub struct Command;

/// A program that is run, with a declared way back.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "command")]
pub struct Spec {
    /// Program and arguments; no shell is involved.
    pub argv: Vec<String>,
    /// The work is done if this path exists. Without `creates` and `unless` the command runs every time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creates: Option<String>,
    /// The work is done if this program ends with status 0. It must only look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<Vec<String>>,
    /// Takes the work back. Runs also after a crash half-way, so it must cope with work half done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Vec<String>>,
    /// There is no way back; the plan shows it as a point of no return.
    #[serde(default)]
    pub irreversible: bool,
}

/// Whether the work is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// As `creates` or `unless` tell it; without them, `false` until it ran in this step.
    pub done: bool,
}

impl Lens for Command {
    const NAME: &'static str = "command";
    const WITNESS: Witness = Witness::Paths;
    const UNDO: Exactness = Exactness::BestEffort("what the `undo:` program leaves");
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, argv) in [("argv", Some(&spec.argv)), ("unless", spec.unless.as_ref()), ("undo", spec.undo.as_ref())]
        {
            if argv.is_some_and(|argv| argv.first().is_none_or(String::is_empty)) {
                problems.push(format!("`{key}` needs a program"));
            }
        }
        problems.extend(spec.creates.as_deref().and_then(path_problem));
        if spec.undo.is_none() && !spec.irreversible {
            problems
                .push("a command needs `undo: [program, ...]`, or `irreversible: true` if there is no way back".into());
        }
        if spec.undo.is_some() && spec.irreversible {
            problems.push("a command with an `undo` is not irreversible: leave one of them out".into());
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        spec.creates.iter().map(|path| Claim::Path(PathBuf::from(path))).collect()
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        if let Some(path) = &spec.creates
            && cx.host.lstat(Path::new(path))?.is_some()
        {
            return Ok(State { done: true });
        }
        let Some(unless) = &spec.unless else { return Ok(State { done: false }) };
        let look = host::Command { timeout: cx.timeout, ..host::Command::reading(unless.clone()) };
        Ok(State { done: cx.host.run(&look)?.ok() })
    }

    fn want(_spec: &Spec, _state: &State, _given: Circumstances) -> Result<State, Fault> {
        Ok(State { done: true })
    }

    fn put(spec: &Spec, _now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let argv = if to.done {
            &spec.argv
        } else {
            spec.undo.as_ref().ok_or_else(|| {
                let message = format!("`{}` cannot be taken back: it was declared irreversible", spec.argv.join(" "));
                Fault::new(FaultCode::Irreversible, message)
            })?
        };
        cx.host.run(&host::Command::changing(argv.clone(), cx.timeout))?.expect_ok(argv).map(drop)
    }

    fn blind(spec: &Spec) -> bool {
        spec.creates.is_none() && spec.unless.is_none()
    }

    fn irreversible(spec: &Spec) -> bool {
        spec.irreversible
    }

    fn title(spec: &Spec) -> String {
        spec.argv.join(" ")
    }

    fn examples() -> Vec<Value> {
        vec![json!({
            "argv": ["touch", "/var/lib/council/initialised"],
            "creates": "/var/lib/council/initialised",
            "undo": ["rm", "-f", "/var/lib/council/initialised"]
        })]
    }
}
