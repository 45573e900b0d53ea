//! `sysctl`: a kernel parameter, at boot (a file of its own below `/etc/sysctl.d`, sysctl.d(5)) and now.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::kernel::Value;
use super::node::Presence;
use super::small::Small;
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};

const DIRECTORY: &str = "/etc/sysctl.d";

/// A kernel parameter.
#[derive(Debug)]
pub struct Sysctl;

/// A kernel parameter: its value in the running kernel, and at boot in a file `/etc/sysctl.d/60-weiche-KEY.conf`. Undo
/// puts both back. Absent: the file goes, and the running kernel keeps its value until it starts anew. A file that
/// sysctl.d(5) reads later can say otherwise at boot.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "sysctl")]
pub struct Spec {
    /// Its name as in sysctl(8), e.g. `net.ipv4.ip_forward`. Where a part has a dot in it (`eth0.100`), write `/`
    /// between the parts.
    pub key: String,
    /// The value; of several numbers, with blanks between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Setting>,
    /// `present` (default) or `absent`.
    #[serde(default)]
    pub state: Presence,
}

/// A number, or text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Setting {
    /// A number.
    Number(i64),
    /// Anything else.
    Text(String),
}

impl Setting {
    fn text(&self) -> String {
        match self {
            Setting::Number(number) => number.to_string(),
            Setting::Text(text) => text.trim().to_owned(),
        }
    }
}

/// Both values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The file.
    pub file: Small,
    /// What the running kernel has.
    pub kernel: Value,
}

impl Lens for Sysctl {
    const NAME: &'static str = "sysctl";
    const UNDO: Exactness = Exactness::BestEffort("other parameters that the kernel derives from this one");
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems = Vec::new();
        let ok = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@*".contains(&b);
        let part = |p: &str| !p.is_empty() && p != "." && p != "..";
        let whole = spec.key.len() <= 150 && !spec.key.contains('*') && parts(&spec.key).iter().all(|p| part(p));
        if !whole || spec.key.starts_with('-') || !spec.key.bytes().all(ok) || parts(&spec.key).len() < 2 {
            problems.push(format!("`{}` is no name of a kernel parameter: write e.g. `vm.swappiness`", spec.key));
        }
        match (&spec.value, spec.state) {
            (None, Presence::Present) => problems.push("a parameter needs a `value`".into()),
            (Some(_), Presence::Absent) => problems.push("an absent parameter has no `value`".into()),
            (Some(value), _) => problems.extend(super::text::line_problem("value", &value.text())),
            (None, _) => {}
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Path(file(spec)), Claim::Name("kernel parameter", parts(&spec.key).join("/"))]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        Ok(State { file: Small::get(&file(spec), cx)?, kernel: Value::get(&path(spec), cx)? })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        let Some(value) = spec.value.as_ref().filter(|_| spec.state == Presence::Present) else {
            return Ok(State { file: state.file.want(None, 0o644), kernel: state.kernel.clone() });
        };
        if state.kernel.value.is_none() {
            let fault = Fault::new(FaultCode::NotFound, format!("the kernel has no parameter `{}`", spec.key));
            return Err(fault.hint("correct the name, or load the module that brings it first"));
        }
        let text = format!("# Written by weiche.\n{} = {}\n", spec.key, value.text());
        let kernel = state.kernel.want(&path(spec), &value.text())?;
        Ok(State { file: state.file.want(Some(text), 0o644), kernel })
    }

    fn keep(spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if cx.host.lstat(Path::new(DIRECTORY))?.is_none() && wanted.file != now.file {
            let fault = Fault::new(FaultCode::Unsupported, format!("there is no directory {DIRECTORY}"));
            return Err(fault.hint("declare the package `procps` before this step"));
        }
        now.file.node.keep(&file(spec), &wanted.file.node, cx)
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        // The kernel first: it may refuse the value.
        to.kernel.put(&path(spec), &now.kernel, cx)?;
        to.file.put(&file(spec), &now.file, cx)
    }

    fn same(_spec: &Spec, a: &State, b: &State) -> bool {
        a.file.node.same(&b.file.node) && a.kernel.value == b.kernel.value
    }

    fn intact(_spec: &Spec, after: &State, now: &State) -> bool {
        after.file.node.alike(&now.file.node) && after.kernel.value == now.kernel.value
    }

    fn change(now: &State, wanted: &State) -> Option<Vec<String>> {
        let mut lines = now.file.change(&wanted.file);
        lines.extend(now.kernel.change("now", &wanted.kernel));
        (!lines.is_empty()).then_some(lines)
    }

    fn title(spec: &Spec) -> String {
        spec.key.clone()
    }

    fn examples() -> Vec<Json> {
        vec![
            json!({ "key": "vm.swappiness", "value": 10 }),
            json!({ "key": "net.ipv4.tcp_rmem", "value": "4096 131072 6291456" }),
            json!({ "key": "vm.swappiness", "state": "absent" }),
        ]
    }
}

/// As in sysctl.d(5): if the first separator is a slash, dots are letters, and the other way round.
fn parts(key: &str) -> Vec<&str> {
    match key.find(['.', '/']).map(|at| &key[at..=at]) {
        Some("/") => key.split('/').collect(),
        _ => key.split('.').collect(),
    }
}

/// Where the running kernel has it. In a key with dots, a slash stands for a dot.
fn path(spec: &Spec) -> String {
    let parts: Vec<String> = parts(&spec.key).iter().map(|part| part.replace('/', ".")).collect();
    format!("/proc/sys/{}", parts.join("/"))
}

fn file(spec: &Spec) -> PathBuf {
    format!("{DIRECTORY}/60-weiche-{}.conf", spec.key.replace('/', "-")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(key: &str) -> Spec {
        serde_json::from_value(json!({ "key": key, "value": "1" })).unwrap()
    }

    #[test]
    fn keys_are_paths() {
        for (key, wanted) in [
            ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.100/rp_filter", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
            ("net.ipv4.conf.eth0/100.rp_filter", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
        ] {
            assert_eq!(path(&spec(key)), wanted);
            assert_eq!(Sysctl::problems(&spec(key)), Vec::<String>::new());
        }
        assert_eq!(file(&spec("a/b.c/d")), Path::new("/etc/sysctl.d/60-weiche-a-b.c-d.conf"));
    }

    #[test]
    fn impossible_keys_are_refused() {
        for key in ["", "swappiness", "vm..x", "../../etc", "vm/../x", "-vm.x", "vm.x y", "net.ipv4.conf.*.x", "/vm/x"]
        {
            assert_eq!(Sysctl::problems(&spec(key)).len(), 1, "{key}");
        }
    }
}
