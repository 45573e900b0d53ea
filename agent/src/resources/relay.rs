//! `relay`: whoever still comes to an address that a service had here is passed on to the server that has it now.
//!
//! systemd-socket-proxyd(8) passes the bytes on. It listens on loopback and is given the users' connections by a rule of
//! nft(8) with `tproxy`: so nothing else that listens on the users' ports is in its way, packets stay as they are for a
//! firewall, the host forwards no packet, and no setting of the kernel changes.

mod text;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::label;
use super::node::Presence;
use super::nodes::{self, Nodes};
use super::unit::{self, Activity, Unit};
use super::units::{self, Units};
use crate::fault::{Fault, FaultCode};
use crate::host::Command;
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};

/// Most ports of one relay: each has a program of its own.
const MAX_PORTS: usize = 32;

/// How the names of all tables and units of relays begin.
pub(super) const NAMES: &str = "weiche-relay-";

/// Connections are passed on.
#[derive(Debug)]
pub struct Relay;

/// New TCP connections from outside to an address of this host are passed on to another server, the same ports there:
/// for users who have not yet learnt that a service has another address. It lasts over reboots. Units
/// `weiche-relay-NAME…` of systemd with its systemd-socket-proxyd, and a table of that name of nft(8) that gives them the
/// connections, whatever else listens on these ports; a firewall sees them as before, and the host forwards no packets. The
/// other server sees this host's address in place of the users'. When it goes, connections that go through it end: hold
/// them first, on the same ports. A ruleset with `flush ruleset` (`firewall` loads one) ends it until the unit
/// `weiche-relay-NAME` is started again: relay behind it. Its table counts who came: `nft list table inet weiche-relay-NAME`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "relay")]
pub struct Spec {
    /// Name of what is passed on, e.g. `records`.
    pub name: String,
    /// The address of this host that users come to.
    pub address: String,
    /// Ports, e.g. `[443, 5432]`. What is taken away has the ports that it was made with.
    pub ports: Vec<u16>,
    /// Address of the server that they are passed on to.
    pub to: String,
    /// The first of the ports on loopback that are used, one for each of `ports`; 17100 without it.
    #[serde(default = "default_listen")]
    pub listen: u16,
    /// `present` (default) or `absent`.
    #[serde(default)]
    pub state: Presence,
}

fn default_listen() -> u16 {
    17_100
}

impl Spec {
    fn ports(&self) -> BTreeSet<u16> {
        self.ports.iter().copied().collect()
    }

    fn leader(&self) -> String {
        format!("{NAMES}{}.service", self.name)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap_or(Ipv4Addr::UNSPECIFIED.into())
    }
}

/// The units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Their files.
    pub files: Nodes,
    /// The one that is enabled and started, with the others behind it.
    pub unit: unit::State,
}

impl State {
    fn units(&self) -> Units<'_> {
        (&self.files, &self.unit)
    }
}

impl Lens for Relay {
    const NAME: &'static str = "relay";
    const UNDO: Exactness = Exactness::BestEffort("connections that went through it");
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = label::problem("relay", &spec.name).into_iter().collect();
        let bad = |ip: &IpAddr| ip.is_unspecified() || ip.is_loopback() || ip.is_multicast();
        let addresses = [&spec.address, &spec.to];
        for text in addresses.iter().filter(|text| text.parse().ok().filter(|ip| !bad(ip)).is_none()) {
            problems.push(format!("`{text}` is no address of a server"));
        }
        if Spec::ip(&spec.address) == Spec::ip(&spec.to) && problems.is_empty() {
            problems.push(format!("it would pass on to {} what comes from there: `to` is another server's", spec.to));
        }
        if spec.ports.is_empty() || spec.ports.contains(&0) || spec.ports.len() > MAX_PORTS {
            problems.push(format!("a relay needs `ports`, from 1 to 65535, and at most {MAX_PORTS}"));
        } else if spec.listen == 0 || usize::from(u16::MAX - spec.listen) < spec.ports.len() {
            problems.push(format!("`listen` is from 1 to {}", usize::from(u16::MAX) - spec.ports.len()));
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        let files = text::files(spec).into_keys();
        files.map(|path| Claim::Path(path.into())).chain([Claim::Name("relay", spec.name.clone())]).collect()
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let files = nodes::get(text::files(spec).into_keys(), cx)?;
        Ok(State { files, unit: Unit::get(&units::spec(&spec.leader(), true), cx)? })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        let mut files = state.files.clone();
        for (path, text) in text::files(spec) {
            let present = spec.state == Presence::Present;
            let node = present.then(|| nodes::file(text.as_bytes(), 0o644, state.files.get(&path)));
            files.insert(path, node.unwrap_or(super::node::Node::Absent));
        }
        let unit = units::want(&spec.leader(), &files, state.units())?;
        Ok(State { files, unit })
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        for text in text::files(spec).values() {
            cx.offer(text.as_bytes());
        }
        units::put(&spec.leader(), now.units(), to.units(), cx)
    }

    fn keep(_spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let argv = ["nft", "--version"].map(str::to_owned);
        match cx.host.run(&Command::reading(argv.clone())) {
            Err(fault) if fault.code == FaultCode::NotFound && wanted.unit.active == Activity::Active => {
                let fault = Fault::new(FaultCode::Unsupported, "there is no `nft` on this host");
                return Err(fault.hint("declare the package `nftables` before it"));
            }
            output => drop(output?),
        }
        nodes::keep(&now.files, &wanted.files, cx)
    }

    fn same(spec: &Spec, a: &State, b: &State) -> bool {
        units::same(&spec.leader(), a.units(), b.units())
    }

    fn intact(spec: &Spec, after: &State, now: &State) -> bool {
        units::intact(&spec.leader(), after.units(), now.units())
    }

    fn title(spec: &Spec) -> String {
        spec.name.clone()
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "name": "records", "address": "192.0.2.100", "ports": [443, 5432], "to": "198.51.100.100" }),
            json!({ "name": "files", "address": "2001:db8::100", "ports": [445], "to": "2001:db8:1::100", "listen": 17200 }),
            json!({ "name": "old", "address": "192.0.2.101", "ports": [80], "to": "198.51.100.101", "state": "absent" }),
        ]
    }
}

#[cfg(test)]
mod tests;
