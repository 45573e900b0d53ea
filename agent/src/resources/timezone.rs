//! `timezone`: the host's time zone, as localtime(5) has it, and Debian's `/etc/timezone` beside it.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::Node;
use super::nodes::{self, Nodes};
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Lens, Witness};

const LINK: &str = "/etc/localtime";
const NAME: &str = "/etc/timezone";
const ZONES: &str = "/usr/share/zoneinfo";

/// The time zone.
#[derive(Debug)]
pub struct Timezone;

/// The host's time zone. Programs that run read it when they next start.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "timezone")]
pub struct Spec {
    /// A name of the time zone database, e.g. `Europe/Berlin`; the host must know it (package `tzdata`).
    pub name: String,
}

/// The two files, and whether the zone is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// `/etc/localtime` and `/etc/timezone`.
    pub files: Nodes,
    /// Whether the host knows the zone.
    pub known: bool,
}

impl Lens for Timezone {
    const NAME: &'static str = "timezone";
    const WITNESS: Witness = Witness::Paths;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let ok =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-_".contains(&b));
        let named = spec.name.len() <= 64 && spec.name.split('/').all(ok);
        let problem = || format!("`{}` is no time zone: write e.g. `Europe/Berlin`", spec.name);
        (!named).then(problem).into_iter().collect()
    }

    fn claims(_spec: &Spec) -> Vec<Claim> {
        vec![Claim::Path(LINK.into()), Claim::Path(NAME.into())]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let known = cx.host.lstat(Path::new(&format!("{ZONES}/{}", spec.name)))?.is_some();
        Ok(State { files: nodes::get([LINK, NAME], cx)?, known })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        if !state.known {
            let fault = Fault::new(FaultCode::NotFound, format!("the host knows no time zone `{}`", spec.name));
            return Err(fault.hint("declare the package `tzdata` before it, or correct the name"));
        }
        let link = nodes::link(&format!("{ZONES}/{}", spec.name), state.files.get(LINK));
        let name = nodes::file(text(spec).as_bytes(), 0o644, state.files.get(NAME));
        Ok(State { files: [(LINK.to_owned(), link), (NAME.to_owned(), name)].into(), known: true })
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        cx.offer(text(spec).as_bytes());
        nodes::put(&now.files, &to.files, cx)
    }

    fn keep(_spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        nodes::keep(&now.files, &wanted.files, cx)
    }

    fn same(_spec: &Spec, a: &State, b: &State) -> bool {
        nodes::same(&a.files, &b.files)
    }

    fn intact(_spec: &Spec, after: &State, now: &State) -> bool {
        nodes::alike(&after.files, &now.files)
    }

    fn change(now: &State, wanted: &State) -> Option<Vec<String>> {
        let zone = |state: &State| match state.files.get(LINK) {
            Some(Node::Symlink { target, .. }) => target.strip_prefix(ZONES).unwrap_or(target).display().to_string(),
            _ => "(none)".into(),
        };
        (zone(now) != zone(wanted)).then(|| vec![format!("~ {} -> {}", zone(now), zone(wanted))])
    }

    fn title(spec: &Spec) -> String {
        spec.name.clone()
    }

    fn examples() -> Vec<Value> {
        vec![json!({ "name": "Europe/Berlin" })]
    }
}

fn text(spec: &Spec) -> String {
    format!("{}\n", spec.name)
}
