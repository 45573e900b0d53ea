//! `hostname`: the host's name, at boot (hostname(5)) and now, and Debian's line for it in `/etc/hosts`.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::hosts_entry::{HOSTS, address, fields, name_problem};
use super::kernel::Value;
use super::node::Mode;
use super::small::Small;
use super::text::{self, Text};
use crate::fault::Fault;
use crate::resource::{Circumstances, Claim, Cx, Lens};

const FILE: &str = "/etc/hostname";
const KERNEL: &str = "/proc/sys/kernel/hostname";

/// The host's name.
#[derive(Debug)]
pub struct Hostname;

/// The host's name: in `/etc/hostname`, and in the running kernel. Programs that run have read the old one. The pretty
/// name of machine-info(5) stays as it is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "hostname")]
pub struct Spec {
    /// At most 64 letters, digits and `-`; best without dots.
    pub name: String,
    /// The domain, for the canonical name in `/etc/hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Makes the line of `127.0.1.1` in `/etc/hosts`, as Debian's installer does: its names become `NAME.DOMAIN` (if
    /// there is a domain) and `NAME`; others on that line go.
    #[serde(default)]
    pub in_hosts: bool,
}

/// Names in all places.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// `/etc/hostname`.
    pub file: Small,
    /// What the kernel says.
    pub kernel: Value,
    /// `/etc/hosts`, if it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<text::State>,
}

impl Lens for Hostname {
    const NAME: &'static str = "hostname";
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = name_problem(&spec.name).into_iter().collect();
        problems.extend(spec.domain.as_deref().and_then(name_problem));
        if spec.name.len() > 64 || spec.name.contains('_') || spec.name == "localhost" {
            problems.push(format!("`{}` is no name for a host: hostname(5) allows 64 letters, digits, `-`", spec.name));
        }
        if spec.domain.is_some() && !spec.in_hosts {
            problems.push("`domain` stands in /etc/hosts only: set `in_hosts`, too".into());
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        let mut claims = vec![Claim::Path(FILE.into()), Claim::Name("kernel parameter", "kernel/hostname".into())];
        if spec.in_hosts {
            claims.push(Claim::Name("hosts_entry", format!("{HOSTS}: 127.0.1.1")));
        }
        claims
    }

    fn edits(spec: &Spec) -> Vec<std::path::PathBuf> {
        spec.in_hosts.then(|| HOSTS.into()).into_iter().collect()
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let hosts = match spec.in_hosts {
            true => Some(text::look(Path::new(HOSTS), &|text| edit(spec, text), Some(Mode(0o644)), false, cx)?),
            false => None,
        };
        Ok(State { file: Small::get(Path::new(FILE), cx)?, kernel: Value::get(KERNEL, cx)?, hosts })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        // hostname(5) allows comments; a file that names the host already is left as it is.
        let named = state.file.text.as_ref().and_then(|t| t.lines().find(|l| !l.is_empty() && !l.starts_with('#')));
        let file = match named {
            Some(name) if name == spec.name => state.file.clone(),
            _ => state.file.want(Some(format!("{}\n", spec.name)), 0o644),
        };
        // No such file: a sandbox, or no kernel of Linux.
        let kernel = match state.kernel.value {
            Some(_) => state.kernel.want(KERNEL, &spec.name)?,
            None => state.kernel.clone(),
        };
        Ok(State { file, kernel, hosts: state.hosts.as_ref().map(text::wanted) })
    }

    fn keep(_spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if let (Some(hosts), Some(wanted)) = (&now.hosts, &wanted.hosts) {
            hosts.file.keep(Path::new(HOSTS), &wanted.file, cx)?;
        }
        now.file.node.keep(Path::new(FILE), &wanted.file.node, cx)
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        to.kernel.put(KERNEL, &now.kernel, cx)?;
        to.file.put(Path::new(FILE), &now.file, cx)?;
        match (&now.hosts, &to.hosts) {
            // Not changed by us: what others do to it meanwhile is theirs.
            (Some(now), Some(to)) if now.change.is_none() && to.change.is_none() => Ok(()),
            (Some(now), Some(to)) => text::put(Path::new(HOSTS), &|text| edit(spec, text), now, to, cx),
            _ => Ok(()),
        }
    }

    fn same(_spec: &Spec, a: &State, b: &State) -> bool {
        let hosts = match (&a.hosts, &b.hosts) {
            (Some(a), Some(b)) => text::same(a, b) || (a.change.is_none() && b.change.is_none()),
            _ => true,
        };
        a.file.node.same(&b.file.node) && a.kernel.value == b.kernel.value && hosts
    }

    fn intact(_spec: &Spec, after: &State, now: &State) -> bool {
        let hosts = now.hosts.as_ref().is_none_or(|hosts| hosts.change.is_none());
        after.file.node.alike(&now.file.node) && after.kernel.value == now.kernel.value && hosts
    }

    fn change(now: &State, wanted: &State) -> Option<Vec<String>> {
        let mut lines = now.file.change(&wanted.file);
        lines.extend(now.kernel.change("now", &wanted.kernel));
        lines.extend(now.hosts.as_ref().and_then(text::change).unwrap_or_default());
        (!lines.is_empty()).then_some(lines)
    }

    fn title(spec: &Spec) -> String {
        spec.name.clone()
    }

    fn examples() -> Vec<Json> {
        vec![
            json!({ "name": "town-hall-1" }),
            json!({ "name": "town-hall-1", "domain": "town.example", "in_hosts": true }),
        ]
    }
}

fn edit(spec: &Spec, text: &mut Text) -> Result<(), Fault> {
    let is = |line: &str, octets: [u8; 4]| address(line) == Some(octets.into());
    let full = spec.domain.as_ref().map(|domain| format!("{}.{domain}", spec.name));
    let names: Vec<&str> = full.as_deref().into_iter().chain([spec.name.as_str()]).collect();
    let Some(at) = text.find(0, |line| is(line, [127, 0, 1, 1])) else {
        let behind = text.rfind(|line| is(line, [127, 0, 0, 1])).map_or(0, |at| at + 1);
        text.insert(behind, &format!("127.0.1.1\t{}", names.join("\t")));
        return Ok(());
    };
    let line = text.lines().nth(at).unwrap_or_default();
    if !fields(line).skip(1).map(|(_, name)| name).eq(names.iter().copied()) {
        let end = fields(line).last().map_or(0, |(from, field)| from + field.len());
        let line = format!("127.0.1.1\t{}{}", names.join("\t"), &line[end..]);
        text.replace(at, &line);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_host_is_the_hosts() {
        let cases = [
            (
                Some("x.example"),
                "127.0.0.1\tlocalhost\n127.0.1.1\told\n::1 ip6\n",
                "127.0.0.1\tlocalhost\n127.0.1.1\tn.x.example\tn\n::1 ip6\n",
            ),
            (None, "127.0.0.1 localhost\n::1 ip6\n", "127.0.0.1 localhost\n127.0.1.1\tn\n::1 ip6\n"),
            (None, "127.0.1.1 old # us", "127.0.1.1\tn # us"),
            (None, "127.0.1.1   n\n", "127.0.1.1   n\n"),
            (None, "", "127.0.1.1\tn\n"),
        ];
        for (domain, before, after) in cases {
            let spec = Spec { name: "n".into(), domain: domain.map(str::to_owned), in_hosts: true };
            let mut text = Text::parse(before.as_bytes());
            edit(&spec, &mut text).unwrap();
            assert_eq!(String::from_utf8(text.bytes(Path::new("/x")).unwrap()).unwrap(), after);
        }
    }

    #[test]
    fn impossible_names_are_refused() {
        for name in ["", "a b", "-a", "a_b", "localhost", "127.0.0.1"] {
            let spec = Spec { name: name.into(), domain: None, in_hosts: false };
            assert_eq!(Hostname::problems(&spec).len(), 1, "{name}");
        }
    }
}
