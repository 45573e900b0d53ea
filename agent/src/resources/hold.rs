//! `hold`: packets that only open a connection to a service's ports are dropped, so that clients try again (TCP sends them
//! anew after 1 s and 3 s, RFC 6298) instead of being refused; what runs goes on and is waited for.
//!
//! It is a table of nft(8) of its own, beside all others, and keeps no state of connections.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{label, period};
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Output};
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};

/// How often is looked whether connections are left.
const STEP: Duration = Duration::from_millis(20);

/// Most ports of one hold, and longest wait.
const MAX_PORTS: usize = 64;
const MAX_DRAIN: Duration = Duration::from_mins(10);

/// New connections wait.
#[derive(Debug)]
pub struct Hold;

/// New TCP connections to ports of this host are held, not refused: the packets that open one are dropped, and clients
/// send them again after 1 s and 3 s. Connections that are open go on; it is waited until they have ended, at most for
/// `drain`. What is left then is not cut here: stopping the service does that. Connections within the host (over `lo`) are
/// not held. It is a table `weiche-hold-NAME` of nft(8), of this boot only: a reboot ends it, and so does whoever loads
/// a ruleset with `flush ruleset` (`firewall` does): hold behind it. Ports that containers publish are not held.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "hold")]
pub struct Spec {
    /// Name of what is held, e.g. `records`.
    pub name: String,
    /// Ports, e.g. `[443, 5432]`; what is opened again needs none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Addresses of this host, such as a service's: only connections to these are held. Without it, all. Servers that
    /// copy from each other over the same ports go on by their own addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// How long open connections may take to end: a number with `ms`, `s` or `m`. `2s` without it.
    #[serde(default = "default_drain")]
    pub drain: String,
    /// `held` (default) or `open`.
    #[serde(default)]
    pub state: Wanted,
}

fn default_drain() -> String {
    "2s".into()
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "held_or_open")]
pub enum Wanted {
    /// New connections wait.
    #[default]
    Held,
    /// They do not.
    Open,
}

/// The table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What is held; `None` if there is no such table.
    pub held: Option<Held>,
}

/// What is held.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The ports.
    pub ports: BTreeSet<u16>,
    /// The host's addresses; empty: all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub to: BTreeSet<IpAddr>,
}

impl Lens for Hold {
    const NAME: &'static str = "hold";
    const TELLING: bool = true;
    const UNDO: Exactness = Exactness::Exact;
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = label::problem("hold", &spec.name).into_iter().collect();
        if spec.ports.contains(&0) || spec.ports.len() > MAX_PORTS {
            problems.push(format!("`ports` are from 1 to 65535, and at most {MAX_PORTS}"));
        }
        let bad = spec.to.iter().filter(|to| to.parse::<IpAddr>().is_err());
        problems.extend(bad.map(|to| format!("`{to}` is no address: `to` are addresses of this host")));
        if spec.ports.is_empty() && spec.state == Wanted::Held {
            problems.push("a hold needs `ports`".into());
        }
        if drain(spec).is_none() {
            problems.push(format!("`drain` is a time such as `2s` or `500ms`, at most 10m; not `{}`", spec.drain));
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Name("hold", spec.name.clone())]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let argv = ["nft", "-nn", "list", "table", "inet", &table(spec)].map(str::to_owned);
        let output = match cx.host.run(&Command::reading(argv.clone())) {
            // `keep` tells of it, when there is something to do.
            Err(fault) if fault.code == FaultCode::NotFound => return Ok(State { held: None }),
            output => output?,
        };
        if !output.ok() && output.stderr.contains("No such file") {
            return Ok(State { held: None });
        }
        Ok(State { held: Some(read(&output.expect_ok(&argv)?.stdout)) })
    }

    fn want(spec: &Spec, _state: &State, _given: Circumstances) -> Result<State, Fault> {
        let held = || Held {
            ports: spec.ports.iter().copied().collect(),
            to: spec.to.iter().filter_map(|to| to.parse().ok()).collect(),
        };
        Ok(State { held: (spec.state == Wanted::Held).then(held) })
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let Some(held) = &to.held else {
            return if now.held.is_some() { load(&gone(spec), cx) } else { Ok(()) };
        };
        if now != to {
            load(&rules(spec, held), cx)?;
        }
        drained(spec, held, cx)
    }

    fn keep(_spec: &Spec, _now: &State, _wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let argv = ["nft", "--version"].map(str::to_owned);
        run(&Command::reading(argv.clone()), "nftables", cx)?.expect_ok(&argv).map(drop)
    }

    /// One that a reboot or a new ruleset has ended is no work of others.
    fn intact(_spec: &Spec, after: &State, now: &State) -> bool {
        now.held.is_none() || after == now
    }

    fn change(now: &State, wanted: &State) -> Option<Vec<String>> {
        let words = |state: &State| match &state.held {
            None => "new connections are let in".to_owned(),
            Some(held) if held.to.is_empty() => format!("new connections wait: {}", list(&held.ports)),
            Some(held) => format!("new connections to {} wait: {}", list(&held.to), list(&held.ports)),
        };
        (now != wanted).then(|| vec![format!("- {}", words(now)), format!("+ {}", words(wanted))])
    }

    fn title(spec: &Spec) -> String {
        spec.name.clone()
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "name": "records", "ports": [443, 5432], "drain": "5s" }),
            json!({ "name": "records", "ports": [5432], "to": ["192.0.2.100", "2001:db8::100"] }),
            json!({ "name": "records", "state": "open" }),
        ]
    }
}

/// How the names of all tables of holds begin.
const TABLES: &str = "weiche-hold-";

fn table(spec: &Spec) -> String {
    format!("{TABLES}{}", spec.name)
}

/// A ruleset that nft listed, without holds and relays: they come and go, and are no part of anybody's firewall.
pub(super) fn without_holds(ruleset: &str) -> String {
    let begins = [TABLES, super::relay::NAMES].map(|names| format!("table inet {names}"));
    let mut within = false;
    let mut kept = String::new();
    for line in ruleset.split_inclusive('\n') {
        within |= begins.iter().any(|begin| line.starts_with(begin));
        if !within {
            kept.push_str(line);
        }
        within &= line.trim_end() != "}";
    }
    kept
}

fn list<T: ToString>(set: &BTreeSet<T>) -> String {
    set.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// One transaction. To remove a table it has to be there: so it is made first.
fn gone(spec: &Spec) -> String {
    let table = table(spec);
    format!("table inet {table}\ndelete table inet {table}\n")
}

/// Before any other filter, since a drop is final wherever it comes.
fn rules(spec: &Spec, held: &Held) -> String {
    let of = |is_v4: bool| held.to.iter().filter(|to| to.is_ipv4() == is_v4).copied().collect::<BTreeSet<IpAddr>>();
    let to = |family: &str, to: &BTreeSet<IpAddr>| format!("{family} daddr {{ {} }} ", list(to));
    let (v4, v6) = (of(true), of(false));
    let mut which = Vec::new();
    which.extend((!v4.is_empty()).then(|| to("ip", &v4)));
    which.extend((!v6.is_empty()).then(|| to("ip6", &v6)));
    which.extend(held.to.is_empty().then(String::new));
    let ports = list(&held.ports);
    let rule =
        |to: &String| format!("\t\tiif != \"lo\" {to}tcp flags & (syn | ack) == syn tcp dport {{ {ports} }} drop\n");
    format!(
        "{}table inet {} {{\n\tchain input {{\n\t\ttype filter hook input priority -310; policy accept;\n{}\t}}\n}}\n",
        gone(spec),
        table(spec),
        which.iter().map(rule).collect::<String>()
    )
}

/// What nft lists, read: `tcp dport 80` or `tcp dport { 80, 443 }`, and `ip daddr` or `ip6 daddr` likewise.
fn read(listed: &str) -> Held {
    Held { ports: words(listed, "tcp dport ").collect(), to: words(listed, " daddr ").collect() }
}

/// The values that a part of a rule compares with.
fn words<T: std::str::FromStr>(listed: &str, part: &str) -> impl Iterator<Item = T> {
    let rules = listed.lines().filter_map(move |line| line.split_once(part)).map(|(_, rest)| rest);
    let words = rules.flat_map(|rest| {
        let rest = rest.strip_prefix('{').map_or(rest.split(' ').next(), |set| set.split('}').next());
        rest.unwrap_or_default().split(',')
    });
    words.filter_map(|word| word.trim().parse().ok())
}

fn load(rules: &str, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let argv = ["nft", "-f", "-"].map(str::to_owned);
    let load = Command { stdin: rules.into(), ..Command::changing(argv.clone(), cx.timeout) };
    run(&load, "nftables", cx)?.expect_ok(&argv).map(drop)
}

/// Waits until no connection from outside is left, or the time is over.
fn drained(spec: &Spec, held: &Held, cx: &mut Cx<'_>) -> Result<(), Fault> {
    // What others had is at most as long as what this spec says.
    let time = u64::try_from(drain(spec).unwrap_or_default().as_millis()).unwrap_or_default();
    let until = cx.host.clock().boottime_ms.saturating_add(time);
    let mut argv: Vec<String> =
        ["ss", "-H", "-t", "-n", "state", "established", "state", "syn-recv"].map(Into::into).into();
    let each = held.ports.iter().map(|port| format!("sport = :{port}"));
    argv.push(format!("( {} )", each.collect::<Vec<_>>().join(" or ")));
    loop {
        let output = run(&Command::reading(argv.clone()), "iproute2", cx)?.expect_ok(&argv)?;
        if !output.stdout.lines().any(|line| from_outside(line, &held.to)) || cx.host.clock().boottime_ms >= until {
            return Ok(());
        }
        cx.host.pause(STEP);
    }
}

/// Whether a line of ss(8) is of a connection of another machine with one of these addresses (or any); one that cannot be
/// read is.
fn from_outside(line: &str, to: &BTreeSet<IpAddr>) -> bool {
    let mut ends = line.split_whitespace().filter_map(end);
    match (ends.next(), ends.next()) {
        (Some(own), Some(other)) => own != other && !other.is_loopback() && (to.is_empty() || to.contains(&own)),
        _ => !line.trim().is_empty(),
    }
}

/// The address of `192.0.2.1:80`, `[2001:db8::1]:80` or `[::ffff:192.0.2.1%eth0]:80`.
fn end(word: &str) -> Option<IpAddr> {
    let (address, _) = word.rsplit_once(':')?;
    let address = address.trim_matches(['[', ']']).split('%').next()?;
    address.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

fn drain(spec: &Spec) -> Option<Duration> {
    period::read(&spec.drain, MAX_DRAIN)
}

fn run(command: &Command, package: &str, cx: &mut Cx<'_>) -> Result<Output, Fault> {
    cx.host.run(command).map_err(|fault| match (fault.code, command.argv.first()) {
        (FaultCode::NotFound, Some(program)) => {
            Fault::new(FaultCode::Unsupported, format!("there is no `{program}` on this host"))
                .hint(format!("declare the package `{package}` before it"))
        }
        _ => fault,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(spec: Value) -> Spec {
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn what_nft_lists_is_read() {
        for (listed, found) in [
            ("\t\tiif != 1 tcp flags & (syn | ack) == syn tcp dport 80 drop", vec![80]),
            ("\t\ttcp flags syn / syn,ack tcp dport { 80, 5432 } drop", vec![80, 5432]),
            ("table inet x {\n}\n", vec![]),
        ] {
            assert_eq!(read(listed), Held { ports: found.into_iter().collect(), ..Held::default() }, "{listed}");
        }
        let to =
            "\t\tip daddr 192.0.2.100 tcp dport 80 drop\n\t\tip6 daddr { 2001:db8::1, 2001:db8::2 } tcp dport 80 drop";
        assert_eq!(list(&read(to).to), "192.0.2.100, 2001:db8::1, 2001:db8::2");
    }

    #[test]
    fn a_firewall_is_read_without_holds() {
        let others = ["table inet a {\n\tchain x {\n\t}\n}\n", "table ip b {\n}\n"];
        let held = "table inet weiche-hold-x {\n\tchain input {\n\t\tdrop\n\t}\n}\n";
        let relay = "table inet weiche-relay-x {\n\tchain prerouting {\n\t}\n}\n";
        assert_eq!(without_holds(&[others[0], held, relay, others[1]].concat()), others.concat());
        assert_eq!(without_holds(&others.concat()), others.concat());
        assert_eq!(without_holds(held), "");
    }

    #[test]
    fn only_connections_from_outside_are_waited_for() {
        for (line, outside) in [
            ("ESTAB 0 0 192.0.2.10:80 192.0.2.1:51000", true),
            ("ESTAB 0 0 [::ffff:192.0.2.10]:80 [::ffff:192.0.2.1]:51000", true),
            ("ESTAB 0 0 192.0.2.10:80 192.0.2.10:51000", false),
            ("ESTAB 0 0 127.0.0.1:80 127.0.0.1:51000", false),
            ("ESTAB 0 0 [::1]:80 [::1]:51000", false),
            ("what is this", true),
            ("", false),
        ] {
            assert_eq!(from_outside(line, &BTreeSet::new()), outside, "{line}");
        }
        let to = ["192.0.2.100".parse().unwrap()].into();
        assert!(from_outside("ESTAB 0 0 192.0.2.100:80 192.0.2.1:51000", &to));
        assert!(!from_outside("ESTAB 0 0 192.0.2.10:80 192.0.2.1:51000", &to));
    }

    #[test]
    fn impossible_specs_are_refused() {
        let good = json!({ "name": "x", "ports": [80] });
        assert_eq!(Hold::problems(&spec(good.clone())), Vec::<String>::new());
        for (key, value) in [
            ("name", json!("")),
            ("name", json!("a b")),
            ("ports", json!([])),
            ("ports", json!([0])),
            ("to", json!(["rows.example"])),
            ("drain", json!("2")),
            ("drain", json!("-2s")),
            ("drain", json!("20m")),
            ("drain", json!("99999999999999999999s")),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            assert_eq!(Hold::problems(&spec(bad.clone())).len(), 1, "{bad}");
        }
    }
}
