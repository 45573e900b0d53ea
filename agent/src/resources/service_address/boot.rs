//! What brings the address at boot, whoever configures the network: a unit of its own, behind the network, and the link
//! that has it started, as `systemctl enable` makes it. It needs nothing of Weiche.

use std::net::IpAddr;
use std::path::Path;

use super::{Spec, State};
use crate::fault::{Fault, FaultCode};
use crate::host::Command;
use crate::resource::Cx;
use crate::resources::node::Node;
use crate::resources::nodes::{self, Nodes};

/// Where an administrator's units lie, and what is started in the end, from systemd.unit(5).
const UNITS: &str = "/etc/systemd/system";
const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";

/// Asks for the address if arping(8) of iputils is there (others of that name mean other things by `-D`), and takes it
/// unless somebody answers. Constant: `$1` is the card, `$2` the address. As systemd.service(5) has it, `$$` is a `$` and
/// `%%` a `%`.
const TAKE: &str = "if arping -V 2>/dev/null | grep -q iputils; then \
    arping -q -D -c 2 -w 2 -I \"$$1\" \"$${2%%/*}\"; [ $$? -ne 1 ] || exit 1; fi; ip address replace \"$$2\" dev \"$$1\"";

/// Unit and link.
pub(super) fn paths(ip: IpAddr) -> [String; 2] {
    [format!("{UNITS}/{}", name(ip)), format!("{WANTS}/{}", name(ip))]
}

fn name(ip: IpAddr) -> String {
    format!("weiche-address-{ip}.service")
}

/// The unit's text. It names itself as its condition: one that was removed while the host came up is not started any
/// more, though systemd has read it.
pub(super) fn unit(spec: &Spec, card: &str) -> String {
    let ([unit, _], address) = (paths(spec.ip()), spec.plain());
    let start = match spec.ip() {
        IpAddr::V4(_) => format!("/bin/sh -c '{TAKE}' sh {card} {address}"),
        IpAddr::V6(_) => format!("/bin/sh -c 'ip address replace \"$$2\" dev \"$$1\"' sh {card} {address}"),
    };
    format!(
        "# Written by weiche.\n[Unit]\nDescription=Service address {address} on {card}\nConditionPathExists={unit}\n\
         Wants=network-online.target\nAfter=network-online.target\n\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={start}\n\n[Install]\nWantedBy=multi-user.target\n"
    )
}

/// Both, coming from what is there.
pub(super) fn wanted(spec: &Spec, card: &str, now: &Nodes) -> Nodes {
    let [path, link] = paths(spec.ip());
    let nodes = [
        (path.clone(), nodes::file(unit(spec, card).as_bytes(), 0o644, now.get(&path))),
        (link.clone(), nodes::link(&path, now.get(&link))),
    ];
    nodes.into()
}

/// Waits, while the host still comes up, until its network is configured: whoever configures it takes away what was there
/// before. How that ends is no matter: nobody can be asked over a network that does not work.
pub(super) fn wait(cx: &mut Cx<'_>) -> Result<(), Fault> {
    let comes_up = match cx.host.run(&Command::reading(["systemctl", "is-system-running"])) {
        Err(fault) if fault.code == FaultCode::NotFound => return Ok(()),
        output => ["initializing", "starting"].contains(&output?.stdout.trim()),
    };
    if !comes_up {
        return Ok(());
    }
    match cx.host.run(&Command::changing(["systemctl", "start", "network-online.target"], cx.timeout)) {
        Err(fault) if fault.code == FaultCode::Crashed => Err(fault),
        _ => Ok(()),
    }
}

/// Refuses what no boot would read.
pub(super) fn check(wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let any = wanted.files.values().any(|node| *node != Node::Absent);
    if any && cx.host.lstat(Path::new(WANTS))?.is_none() {
        let fault = Fault::new(FaultCode::Unsupported, format!("there is no directory {WANTS}"));
        return Err(fault.hint("an address is brought at boot by systemd only"));
    }
    Ok(())
}
