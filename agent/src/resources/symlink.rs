//! `symlink`: a symbolic link with a given target, or none. A file that stands in the way is replaced (and put back by
//! undo).

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::{Node, Presence, path_problem};
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Lens, Witness};

/// A symbolic link.
#[derive(Debug)]
pub struct Symlink;

/// A symbolic link. Its directory must exist, its target need not.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "symlink")]
pub struct Spec {
    /// Absolute path of the link on the host.
    pub path: String,
    /// What it points to, absolute or relative to the link's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `present` (default) or `absent`.
    #[serde(default)]
    pub state: Presence,
}

impl Lens for Symlink {
    const NAME: &'static str = "symlink";
    const WITNESS: Witness = Witness::Paths;
    type Spec = Spec;
    type State = Node;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = path_problem(&spec.path).into_iter().collect();
        let named = spec.target.as_ref().is_some_and(|t| !t.is_empty() && !t.contains('\0'));
        if spec.state == Presence::Present && !named {
            problems.push("a link needs a `target`".into());
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Path(PathBuf::from(&spec.path))]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<Node, Fault> {
        Node::get(Path::new(&spec.path), cx)
    }

    fn want(spec: &Spec, state: &Node, _given: Circumstances) -> Result<Node, Fault> {
        if spec.state == Presence::Absent {
            return Ok(Node::Absent);
        }
        let target = spec.target.as_ref();
        let target = target.ok_or_else(|| Fault::new(FaultCode::Invalid, "a link needs a `target`"))?;
        Ok(state.relinked(target.into()))
    }

    fn put(spec: &Spec, now: &Node, to: &Node, cx: &mut Cx<'_>) -> Result<(), Fault> {
        to.put(Path::new(&spec.path), now, cx)
    }

    fn keep(spec: &Spec, now: &Node, wanted: &Node, cx: &mut Cx<'_>) -> Result<(), Fault> {
        now.keep(Path::new(&spec.path), wanted, cx)
    }

    fn same(_spec: &Spec, a: &Node, b: &Node) -> bool {
        a.same(b)
    }

    fn title(spec: &Spec) -> String {
        format!("{} -> {}", spec.path, spec.target.as_deref().unwrap_or("(none)"))
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "path": "/srv/current", "target": "release-2" }),
            json!({ "path": "/srv/stale", "state": "absent" }),
        ]
    }
}
