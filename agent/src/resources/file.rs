//! `file`: a regular file with given content, mode, owner and group, or none at all.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::{Mode, Node, Owned, Presence, path_problem};
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Lens, Witness};

/// A regular file.
#[derive(Debug)]
pub struct File;

/// A regular file. Its content is given by exactly one of `content`, `template` and `source`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "file")]
pub struct Spec {
    /// Absolute path on the host. Its directory must exist.
    pub path: String,
    /// The content itself; may hold template expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// A Handlebars template below the fleet's (or the shipped) `files/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// A file below the fleet's `files/`, taken as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What the controller makes of the three above; not for playbooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub blob: Option<Blob>,
    /// `present` (default) or `absent`.
    #[serde(default)]
    pub state: Presence,
    /// Permission bits, e.g. `"0644"`; a new file gets 0644, an existing one keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Owner, by name or number; a new file belongs to root, an existing one keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group, by name or number; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The content never appears in a plan, diff, log or report.
    #[serde(default)]
    pub sensitive: bool,
}

/// A content by digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Blob {
    /// Digest of the content.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
}

impl Lens for File {
    const NAME: &'static str = "file";
    const TELLING: bool = true;
    const WITNESS: Witness = Witness::Paths;
    const SENT: &'static [&'static str] = &[""];
    type Spec = Spec;
    type State = Node;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = path_problem(&spec.path).into_iter().collect();
        let given = [spec.content.is_some(), spec.template.is_some(), spec.source.is_some(), spec.blob.is_some()];
        match (spec.state, given.into_iter().filter(|g| *g).count()) {
            (Presence::Present, 1) | (Presence::Absent, 0) => {}
            (Presence::Present, 0) => problems.push("a file needs one of `content`, `template` and `source`".into()),
            (Presence::Present, _) => problems.push("give only one of `content`, `template` and `source`".into()),
            (Presence::Absent, _) => problems.push("an absent file has no content".into()),
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
        let blob = spec.blob.as_ref().ok_or_else(|| Fault::new(FaultCode::Invalid, "the file's content is missing"))?;
        let old = match state {
            Node::File { owned, .. } => owned.clone(),
            _ => Owned::new(0o644),
        };
        let owned = old.with(spec.mode, spec.owner.as_ref(), spec.group.as_ref());
        Ok(state.rewritten(&blob.digest, blob.size, owned))
    }

    fn put(spec: &Spec, now: &Node, to: &Node, cx: &mut Cx<'_>) -> Result<(), Fault> {
        to.put(Path::new(&spec.path), now, cx)
    }

    fn keep(spec: &Spec, now: &Node, wanted: &Node, cx: &mut Cx<'_>) -> Result<(), Fault> {
        now.keep(Path::new(&spec.path), wanted, cx)
    }

    fn intact(_spec: &Spec, after: &Node, now: &Node) -> bool {
        after.alike(now)
    }

    fn preview(spec: &Spec, state: &Node, cx: &mut Cx<'_>) -> Option<String> {
        state.preview(Path::new(&spec.path), cx)
    }

    fn contents(_spec: &Spec, wanted: &Node) -> Vec<Digest> {
        wanted.contents()
    }

    fn sensitive(spec: &Spec) -> bool {
        spec.sensitive
    }

    fn same(_spec: &Spec, a: &Node, b: &Node) -> bool {
        a.same(b)
    }

    fn title(spec: &Spec) -> String {
        spec.path.clone()
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "path": "/etc/motd", "content": "Rathaus Obere Aller\n", "mode": "0644" }),
            json!({ "path": "/etc/secret.conf", "content": "token\n", "mode": "0600", "owner": "root", "sensitive": true }),
            json!({ "path": "/etc/old.conf", "state": "absent" }),
        ]
    }
}
