//! `archive`: an archive unpacked into a directory. The controller unpacks it, so a host needs no program for that, and
//! a hostile archive meets one guard; here it is a directory with entries like `tree`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::download::{digest_problem, url_problem};
use super::entries::{self, Entries, Wanted, purge_problem};
use super::node::{Mode, path_problem};
use super::nodes::{self, Nodes};
use crate::digest::Digest;
use crate::fault::Fault;
use crate::resource::{Circumstances, Claim, Cx, Lens, Witness};

/// A directory with the entries of an archive.
#[derive(Debug)]
pub struct Archive;

/// An archive (tar, tar.gz, tar.zst or zip, told apart by its content) unpacked into a directory. It comes from
/// `source`, or from `url` with `sha256`. At most 20,000 entries, 1 GiB unpacked, and 250 times the archive's size once
/// that is over 64 MiB; no devices, no set-user-ID bits, no names or links that lead out of the directory. The
/// directory's parent must exist.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "archive")]
pub struct Spec {
    /// Absolute path of the directory on the host.
    pub path: String,
    /// A file below the fleet's `files/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where the controller gets it, `https://` or `http://`; needs `sha256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// SHA-256 of the archive in 64 hexadecimal digits, as sha256sum(1) prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Leading parts of names that are left out, like `--strip-components` of tar(1); entries with no more are skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strip: Option<u8>,
    /// What the controller has unpacked; not for playbooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub entries: Option<Entries>,
    /// Removes what lies in the directory and is not in the archive (undo brings it back). Without it (the default)
    /// other entries stay, also those that an earlier version of the archive had.
    #[serde(default)]
    pub purge: bool,
    /// Permission bits of all files, e.g. `"0640"`. Without it a new file gets 0644 and an existing one keeps its own,
    /// but for the executable bits, which follow the archive.
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

impl Lens for Archive {
    const NAME: &'static str = "archive";
    const WITNESS: Witness = Witness::Trees;
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = Nodes;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> =
            path_problem(&spec.path).or_else(|| purge_problem(&spec.path, spec.purge)).into_iter().collect();
        match (&spec.source, &spec.url) {
            (Some(_), None) => {}
            (None, Some(url)) => {
                problems.extend(url_problem(url));
                if spec.sha256.is_none() {
                    problems.push("`url` needs `sha256`: what is unpacked must be what was meant".into());
                }
            }
            _ => problems.push("an archive needs one of `source` and `url`".into()),
        }
        problems.extend(spec.sha256.as_deref().and_then(digest_problem));
        problems
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
        let sha256 = Digest::of(b"the archive");
        vec![
            json!({ "path": "/srv/viewer", "source": "viewer.tar.gz", "strip": 1, "purge": true }),
            json!({ "path": "/usr/share/town-fonts", "url": "https://downloads.example/fonts.zip", "sha256": sha256 }),
        ]
    }
}
