//! `service_address`: an address that users know a service by, and that moves from one server to another.
//!
//! Never may two machines have it. So before it is taken the network is asked who has it, going forward and going back
//! alike, and the unit that brings it at boot asks where it can. While the host comes up it can be given up, but not
//! taken: then nobody can be asked yet.

mod boot;
mod live;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::address::{address_problem, card_problem, prefix};
use super::node::{Node, Presence};
use super::nodes::{self, Nodes};
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};
use live::Live;

/// How long another machine may still answer for the address: it may be about to give it up.
const PATIENCE_MS: u64 = 3_000;

/// The time between two questions while it does.
const STEP: Duration = Duration::from_millis(50);

/// An address that moves.
#[derive(Debug)]
pub struct ServiceAddress;

/// An address that users know a service by, beside the server's own, so that it can move to another server: on the card
/// now, and at boot by a unit `weiche-address-ADDRESS.service`. Before it is taken, the network is asked who has it (ARP
/// probes or neighbour solicitations, three in 150 ms); as long as another machine answers it waits, for 3 s, then it is
/// refused. Afterwards it is announced, so that neighbours and switches learn at once where it is. It is not taken away
/// where it is the host's only one (of IPv4, or at all), or where a file of systemd-networkd or ifupdown would bring it back.
/// Use another address for `weiche` itself: connections by way of this one end when it moves. Whoever configures the card
/// anew (`networkctl reconfigure`, `ifdown`) takes it away until the unit is started again; at boot the unit asks
/// the network where `arping` of iputils is installed (IPv4; the kernel does it for IPv6).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "service_address")]
pub struct Spec {
    /// The address, IPv4 or IPv6, with the length of its network's prefix: `192.0.2.100/24`.
    pub address: String,
    /// Name of the card, e.g. `eth0`; without it, the one that has another address in the same network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// `present` (default) or `absent`.
    #[serde(default)]
    pub state: Presence,
}

impl Spec {
    fn ip(&self) -> IpAddr {
        prefix(&self.address).map_or(Ipv4Addr::UNSPECIFIED.into(), |(ip, _)| ip)
    }

    /// As ip-address(8) writes it.
    fn plain(&self) -> String {
        prefix(&self.address).map_or_else(|| self.address.clone(), |(ip, length)| format!("{ip}/{length}"))
    }
}

/// Where the address is, and what brings it at boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The card that has it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
    /// The unit, and the link that has it started.
    pub files: Nodes,
    /// The card that is to have it, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// Why it cannot be taken away here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// Seen while the host came up: only the files count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub booting: bool,
}

impl Lens for ServiceAddress {
    const NAME: &'static str = "service_address";
    const UNDO: Exactness = Exactness::BestEffort("label, lifetimes and flags of an address that was set by hand");
    const BARRIER: bool = true;
    const BOOTING: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = address_problem(&spec.address).into_iter().collect();
        if prefix(&spec.address).is_some_and(|(_, length)| length == 0) {
            problems.push(format!("`{}` needs the length of its network's prefix, e.g. /24", spec.address));
        }
        if matches!(spec.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local()) {
            problems.push(format!("`{}` is of one link only, and no address of a service", spec.address));
        }
        problems.extend(spec.interface.as_ref().and_then(|card| card_problem(card)));
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        let paths = boot::paths(spec.ip()).map(|path| Claim::Path(path.into()));
        paths.into_iter().chain([Claim::Name("address", spec.ip().to_string())]).collect()
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let files = nodes::get(boot::paths(spec.ip()), cx)?;
        if cx.booting {
            return Ok(State { live: None, files, card: None, fixed: None, booting: true });
        }
        let seen = live::look(spec, cx)?;
        Ok(State { live: seen.live, files, card: seen.card, fixed: seen.fixed, booting: false })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        let mut wanted = state.clone();
        if spec.state == Presence::Absent {
            if let Some(why) = &state.fixed {
                let message = format!("{} cannot be taken away: {why}", spec.ip());
                let hint = "give the server an address of its own first, and let the service's come from here alone";
                return Err(Fault::new(FaultCode::Conflict, message).hint(hint));
            }
            wanted.live = None;
            wanted.files.values_mut().for_each(|node| *node = Node::Absent);
            return Ok(wanted);
        }
        let Some(card) = &state.card else {
            let message = format!("no network card of this host has an address in the network of {}", spec.address);
            return Err(Fault::new(FaultCode::NotFound, message).hint("name the card: `interface`"));
        };
        if let Some(live) = state.live.as_ref().filter(|live| live.card != *card) {
            let message = format!("{} is on the card {}, not {card}", spec.ip(), live.card);
            return Err(Fault::new(FaultCode::Conflict, message).hint("take it away there first, or name that card"));
        }
        wanted.live.get_or_insert_with(|| Live { card: card.clone(), address: spec.plain() });
        wanted.files = boot::wanted(spec, card, &state.files);
        Ok(wanted)
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if let Some(card) = &to.card {
            cx.offer(boot::unit(spec, card).as_bytes());
        }
        if cx.booting {
            let at_boot = to.files.values().any(|node| *node != Node::Absent);
            if to.live.is_some() || (at_boot && now.files != to.files) {
                // Who has it now can only be asked over the network.
                let message = format!("{} is taken back once the network is up", spec.ip());
                return Err(Fault::new(FaultCode::Unsupported, message));
            }
            return nodes::put(&now.files, &to.files, cx);
        }
        match (&now.live, &to.live) {
            (here, there) if here == there => nodes::put(&now.files, &to.files, cx),
            (Some(here), None) => {
                // The file first: from here on no boot brings it.
                nodes::put(&now.files, &to.files, cx)?;
                live::remove(here, cx)
            }
            (None, Some(there)) => {
                boot::wait(cx)?;
                free(spec, there, cx)?;
                live::add(there, cx)?;
                cx.host.tell_neighbours(&there.card, spec.ip())?;
                nodes::put(&now.files, &to.files, cx)
            }
            (here, there) => {
                // It stays this machine's, and nobody need be asked.
                here.iter().try_for_each(|here| live::remove(here, cx))?;
                there.iter().try_for_each(|there| live::add(there, cx))?;
                there.iter().try_for_each(|there| cx.host.tell_neighbours(&there.card, spec.ip()))?;
                nodes::put(&now.files, &to.files, cx)
            }
        }
    }

    fn keep(_spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        boot::check(wanted, cx)?;
        nodes::keep(&now.files, &wanted.files, cx)
    }

    fn same(_spec: &Spec, a: &State, b: &State) -> bool {
        nodes::same(&a.files, &b.files) && (a.booting || b.booting || a.live == b.live)
    }

    /// One that went by itself (a card was configured anew) is no work of others that an undo would destroy.
    fn intact(_spec: &Spec, after: &State, now: &State) -> bool {
        nodes::alike(&after.files, &now.files) && (now.live.is_none() || after.live == now.live)
    }

    fn change(now: &State, wanted: &State) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        let live = |live: &Live| format!("{} on {}", live.address, live.card);
        if now.live != wanted.live {
            lines.extend(now.live.iter().map(|l| format!("- now: {}", live(l))));
            lines.extend(wanted.live.iter().map(|l| format!("+ now: {}", live(l))));
        }
        for (path, node) in wanted.files.iter().filter(|(path, node)| now.files.get(*path) != Some(node)) {
            lines.push(format!("{} at boot: {path}", if *node == Node::Absent { '-' } else { '+' }));
        }
        (!lines.is_empty()).then_some(lines)
    }

    fn title(spec: &Spec) -> String {
        spec.ip().to_string()
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "address": "192.0.2.100/24" }),
            json!({ "address": "2001:db8::100/64", "interface": "eth2" }),
            json!({ "address": "192.0.2.101/24", "state": "absent" }),
        ]
    }
}

/// Waits until nobody else answers for the address.
fn free(spec: &Spec, there: &Live, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let ip = spec.ip();
    let until = cx.host.clock().boottime_ms.saturating_add(PATIENCE_MS);
    while let Some(other) = cx.host.ask_neighbours(&there.card, ip)? {
        if cx.host.clock().boottime_ms >= until {
            let message = format!("another machine has {ip}: the network card {other} answers for it");
            let hint = "take the address away from that machine first; two with one address would serve nobody";
            return Err(Fault::new(FaultCode::Conflict, message).hint(hint));
        }
        cx.host.pause(STEP);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
