//! `directory`: a directory with mode, owner and group, or none. Its entries are not touched; one that is not empty is
//! never removed.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::{Mode, Node, Owned, Presence, path_problem};
use crate::fault::Fault;
use crate::resource::{Circumstances, Claim, Cx, Lens, Witness};

/// A directory.
#[derive(Debug)]
pub struct Directory;

/// A directory. Its parent must exist.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "directory")]
pub struct Spec {
    /// Absolute path on the host.
    pub path: String,
    /// `present` (default) or `absent`.
    #[serde(default)]
    pub state: Presence,
    /// Permission bits, e.g. `"0755"`; a new directory gets 0755, an existing one keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Owner, by name or number; a new directory belongs to root, an existing one keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group, by name or number; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl Lens for Directory {
    const NAME: &'static str = "directory";
    const TELLING: bool = true;
    const WITNESS: Witness = Witness::Paths;
    type Spec = Spec;
    type State = Node;

    fn problems(spec: &Spec) -> Vec<String> {
        path_problem(&spec.path).into_iter().collect()
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
        let old = match state {
            Node::Directory { owned } => owned.clone(),
            _ => Owned::new(0o755),
        };
        Ok(Node::Directory { owned: old.with(spec.mode, spec.owner.as_ref(), spec.group.as_ref()) })
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
        format!("{}/", spec.path)
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "path": "/srv/data", "mode": "2770", "owner": "root" }),
            json!({ "path": "/srv/empty", "state": "absent" }),
        ]
    }
}
