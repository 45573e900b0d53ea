//! `tree`: a directory of the fleet's `files/` with all that is in it, as the controller has read it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::entries::{self, Entries, Wanted, purge_problem};
use super::node::{Mode, path_problem};
use super::nodes::{self, Nodes};
use crate::digest::Digest;
use crate::fault::Fault;
use crate::resource::{Circumstances, Claim, Cx, Lens, Witness};

/// A directory with entries.
#[derive(Debug)]
pub struct Tree;

/// A directory with all that is in it, from the fleet's `files/`: files, directories, and symbolic links that stay
/// inside. At most 20,000 entries and 1 GiB. The directory's parent must exist.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "tree")]
pub struct Spec {
    /// Absolute path of the directory on the host.
    pub path: String,
    /// A directory below the fleet's `files/`.
    pub source: String,
    /// What the controller has read there; not for playbooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub entries: Option<Entries>,
    /// Removes what lies in the directory and is not in the source (undo brings it back). Without it (the default)
    /// other entries stay, also those that an earlier version of the source had.
    #[serde(default)]
    pub purge: bool,
    /// Permission bits of all files, e.g. `"0640"`. Without it a new file gets 0644 and an existing one keeps its own,
    /// but for the executable bits, which follow the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Permission bits of all directories; a new one gets 0755, an existing one keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir_mode: Option<Mode>,
    /// Owner of everything, by name or number; what is new belongs to root, what exists keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group of everything, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl Spec {
    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            path: &self.path,
            entries: self.entries.as_ref(),
            purge: self.purge,
            mode: self.mode,
            dir_mode: self.dir_mode,
            owner: self.owner.as_ref(),
            group: self.group.as_ref(),
        }
    }
}

impl Lens for Tree {
    const NAME: &'static str = "tree";
    const WITNESS: Witness = Witness::Trees;
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = Nodes;

    fn problems(spec: &Spec) -> Vec<String> {
        path_problem(&spec.path).or_else(|| purge_problem(&spec.path, spec.purge)).into_iter().collect()
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Path(PathBuf::from(&spec.path))]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<Nodes, Fault> {
        spec.wanted().get(cx)
    }

    fn want(spec: &Spec, state: &Nodes, _given: Circumstances) -> Result<Nodes, Fault> {
        spec.wanted().want(state)
    }

    fn put(_spec: &Spec, now: &Nodes, to: &Nodes, cx: &mut Cx<'_>) -> Result<(), Fault> {
        entries::put(now, to, cx)
    }

    fn keep(_spec: &Spec, now: &Nodes, wanted: &Nodes, cx: &mut Cx<'_>) -> Result<(), Fault> {
        entries::keep(now, wanted, cx)
    }

    fn same(_spec: &Spec, a: &Nodes, b: &Nodes) -> bool {
        nodes::same(a, b)
    }

    fn intact(_spec: &Spec, after: &Nodes, now: &Nodes) -> bool {
        nodes::alike(after, now)
    }

    fn change(now: &Nodes, wanted: &Nodes) -> Option<Vec<String>> {
        Some(entries::change(now, wanted))
    }

    fn contents(_spec: &Spec, wanted: &Nodes) -> Vec<Digest> {
        entries::contents(wanted)
    }

    fn needs(_spec: &Spec, now: &Nodes, wanted: &Nodes) -> Vec<Digest> {
        entries::needs(now, wanted)
    }

    fn title(spec: &Spec) -> String {
        format!("{}/**", spec.path)
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "path": "/srv/forms", "source": "forms", "purge": true, "group": "users" }),
            json!({ "path": "/etc/council", "source": "council", "mode": "0640", "dir_mode": "0750" }),
        ]
    }
}
