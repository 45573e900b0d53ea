//! `network`: addresses, routes and name servers of a network card, for systemd-networkd (systemd.network(5)) or
//! ifupdown (interfaces(5)), whichever the host uses.
//!
//! A mistake here cuts the host off, so it is carried out on real hosts only in a guarded stage: there the host takes it
//! back by itself if nobody confirms it over the new network. While the host comes up nothing is configured yet: then it
//! is the files alone that go back, and what reads them later finds the old ones.

mod text;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::Presence;
use super::nodes::{self, Nodes};
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Output};
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};

/// How often a card is looked at while it gets its addresses, how often in a row it must have them, and the time between.
const LOOKS: u32 = 200;
const STANDS: u32 = 20;
const STEP: Duration = Duration::from_millis(100);

/// A network card's configuration.
#[derive(Debug)]
pub struct Network;

/// Addresses, routes and name servers of a network card. Written for systemd-networkd if that runs on the host, else for
/// ifupdown. Real hosts take it only in a stage with a `guard`: if nobody confirms, the old network comes back by itself.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "network")]
pub struct Spec {
    /// Name of the card, e.g. `eth0`.
    pub interface: String,
    /// Addresses, IPv4 and IPv6, each with the length of its network's prefix: `192.0.2.10/24`, `2001:db8::10/64`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// It also asks for addresses by DHCP.
    #[serde(default)]
    pub dhcp: bool,
    /// Routes over this card.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Addresses of name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// Domains in which short names are looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// `present` (default) or `absent`: our file is removed; what other files say stays.
    #[serde(default)]
    pub state: Presence,
}

/// A route.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "route")]
pub struct Route {
    /// A network with the length of its prefix, or `default`.
    pub to: String,
    /// Address of the router.
    pub via: String,
}

/// Who configures the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// systemd-networkd.
    Networkd,
    /// ifup(8) and ifdown(8).
    Ifupdown,
    /// Somebody else.
    Other,
}

/// Our files and the card's present addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Who reads them.
    pub manager: Manager,
    /// The file for each manager.
    pub files: Nodes,
    /// Addresses that the card has for good: neither by DHCP nor link-local.
    pub present: BTreeSet<String>,
    /// Seen while the host came up: only the files count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub booting: bool,
}

impl Lens for Network {
    const NAME: &'static str = "network";
    const UNDO: Exactness = Exactness::BestEffort("addresses and routes that were added by hand");
    const BARRIER: bool = true;
    const BOOTING: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        text::problems(spec)
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        let paths = paths(spec).map(|path| Claim::Path(PathBuf::from(path)));
        paths.into_iter().chain([Claim::Name("network", spec.interface.clone())]).collect()
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        if cx.booting {
            let (manager, files) = (Manager::Other, nodes::get(paths(spec), cx)?);
            return Ok(State { manager, files, present: BTreeSet::new(), booting: true });
        }
        let manager = manager(cx)?;
        Ok(State { manager, files: nodes::get(paths(spec), cx)?, present: present(spec, cx)?, booting: false })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        let [networkd, ifupdown] = paths(spec);
        let (path, text) = match state.manager {
            Manager::Networkd => (networkd, text::networkd(spec)),
            Manager::Ifupdown => (ifupdown, text::ifupdown(spec)),
            Manager::Other => {
                let fault = Fault::new(FaultCode::Unsupported, "neither systemd-networkd nor ifupdown is used here");
                return Err(fault.hint("enable one of them; NetworkManager is not supported yet"));
            }
        };
        let mut wanted = state.clone();
        if spec.state == Presence::Absent {
            for node in wanted.files.values_mut() {
                *node = super::node::Node::Absent;
            }
            return Ok(wanted);
        }
        let node = nodes::file(text.as_bytes(), 0o644, state.files.get(&path));
        wanted.files.insert(path, node);
        wanted.present = spec.addresses.iter().filter_map(|address| text::plain(address)).collect();
        Ok(wanted)
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        cx.offer(text::networkd(spec).as_bytes());
        cx.offer(text::ifupdown(spec).as_bytes());
        if cx.booting {
            return nodes::put(&now.files, &to.files, cx);
        }
        // What a reload leaves of the addresses is part of going back even where the file alone was to go.
        if now.files == to.files && now.present == to.present {
            return Ok(());
        }
        let card = spec.interface.as_str();
        if to.manager == Manager::Ifupdown {
            // While the file is there that it was brought up with. It may be down already.
            run(&["ifdown", "--force", card], cx)?;
        }
        nodes::put(&now.files, &to.files, cx)?;
        let programs: &[&[&str]] = match to.manager {
            Manager::Networkd => &[&["networkctl", "reload"], &["networkctl", "reconfigure", card]],
            Manager::Ifupdown => &[&["ifup", "--force", card]],
            Manager::Other => &[],
        };
        for argv in programs {
            let words: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
            run(argv, cx)?.expect_ok(&words)?;
        }
        // networkd answers before the card is configured, and may configure it twice, for the reload and for the card: an
        // address can go again. Whether it comes to what is wanted is looked at after this.
        let (mut left, mut stands) = (LOOKS, 0);
        while left > 0 && stands < STANDS && !cx.host.simulated() {
            stands = if present(spec, cx)? == to.present { stands + 1 } else { 0 };
            cx.host.pause(STEP);
            left -= 1;
        }
        Ok(())
    }

    fn keep(spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if !cx.host.simulated() && !cx.guarded {
            let message =
                format!("changing {} could cut this host off, and nothing would bring it back", spec.interface);
            let hint = "give the stage a `guard:`, then the host takes it back by itself if nobody confirms it";
            return Err(Fault::new(FaultCode::Unsupported, message).hint(hint));
        }
        nodes::keep(&now.files, &wanted.files, cx)
    }

    fn same(_spec: &Spec, a: &State, b: &State) -> bool {
        nodes::same(&a.files, &b.files) && (a.booting || b.booting || a.present == b.present)
    }

    fn intact(_spec: &Spec, after: &State, now: &State) -> bool {
        nodes::alike(&after.files, &now.files) && (now.booting || after.present == now.present)
    }

    fn title(spec: &Spec) -> String {
        spec.interface.clone()
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({
                "interface": "eth0", "addresses": ["192.0.2.10/24", "2001:db8::10/64"],
                "routes": [{ "to": "default", "via": "192.0.2.1" }, { "to": "default", "via": "fe80::1" }],
                "dns": ["192.0.2.53"], "search": ["town.example"],
            }),
            json!({ "interface": "eth1", "state": "absent" }),
        ]
    }
}

fn paths(spec: &Spec) -> [String; 2] {
    let card = &spec.interface;
    [format!("/etc/systemd/network/30-weiche-{card}.network"), format!("/etc/network/interfaces.d/weiche-{card}")]
}

fn manager(cx: &mut Cx<'_>) -> Result<Manager, Fault> {
    let argv = ["systemctl", "is-active", "systemd-networkd.service"];
    let networkd = match cx.host.run(&Command::reading(argv)) {
        Err(fault) if fault.code == FaultCode::NotFound => false,
        output => output?.stdout.trim() == "active",
    };
    if networkd {
        return Ok(Manager::Networkd);
    }
    let ifupdown = cx.host.lstat(Path::new("/etc/network/interfaces"))?.is_some();
    Ok(if ifupdown { Manager::Ifupdown } else { Manager::Other })
}

/// What ip-address(8) tells of the card.
fn present(spec: &Spec, cx: &mut Cx<'_>) -> Result<BTreeSet<String>, Fault> {
    let argv = ["ip", "-o", "addr", "show", "dev", &spec.interface, "scope", "global"];
    let output = match cx.host.run(&Command::reading(argv)) {
        Err(fault) if fault.code == FaultCode::NotFound => return Ok(BTreeSet::new()),
        output => output?,
    };
    Ok(output.stdout.lines().filter_map(text::permanent).collect())
}

fn run(argv: &[&str], cx: &mut Cx<'_>) -> Result<Output, Fault> {
    cx.host.run(&Command::changing(argv.iter().copied(), cx.timeout))
}
