//! The units of a relay: `weiche-relay-NAME.service` has the rules, and for each port there are a socket and the program
//! that it starts, which come and go with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::{NAMES, Spec};
use crate::resources::units::DIRECTORY;

/// Part of systemd since version 209.
const PROXY: &str = "/usr/lib/systemd/systemd-socket-proxyd";

/// Most connections of one port at a time, and the six open files that each may need (two sockets, two pipes).
const CONNECTIONS: u32 = 8_192;
const FILES: u32 = CONNECTIONS * 6 + 64;

/// Path and text of each.
pub(super) fn files(spec: &Spec) -> BTreeMap<String, String> {
    let name = format!("{NAMES}{}", spec.name);
    let mut files: BTreeMap<String, String> = [(format!("{DIRECTORY}/{name}.service"), rules(spec, &name))].into();
    for (port, local) in ports(spec) {
        let to = SocketAddr::new(Spec::ip(&spec.to), port);
        let what = format!("{} port {port} at {to}", spec.address);
        let socket = format!(
            "# Written by weiche.\n[Unit]\nDescription={what}\nPartOf={name}.service\n\n\
             [Socket]\nListenStream={local}\nTransparent=yes\n"
        );
        let service = format!(
            "# Written by weiche.\n[Unit]\nDescription={what}\nPartOf={name}.service\n\n\
             [Service]\nExecStart={PROXY} --connections-max={CONNECTIONS} {to}\nLimitNOFILE={FILES}\nDynamicUser=yes\n\
             PrivateTmp=yes\nProtectSystem=strict\nNoNewPrivileges=yes\n"
        );
        files.insert(format!("{DIRECTORY}/{name}_{port}.socket"), socket);
        files.insert(format!("{DIRECTORY}/{name}_{port}.service"), service);
    }
    files
}

/// Each port and where it is listened to.
fn ports(spec: &Spec) -> impl Iterator<Item = (u16, SocketAddr)> {
    let lo = if Spec::ip(&spec.address).is_ipv4() { IpAddr::from([127, 0, 0, 1]) } else { IpAddr::from(LO6) };
    let local = (spec.listen..).map(move |port| SocketAddr::new(lo, port));
    spec.ports().into_iter().zip(local)
}

/// `::1`.
const LO6: [u16; 8] = [0, 0, 0, 0, 0, 0, 0, 1];

/// The leader. Behind the network's rules, which flush others when they are loaded at boot. All packets are matched, not
/// only those that open a connection: a connection that there is keeps its packets, that is looked up first.
fn rules(spec: &Spec, name: &str) -> String {
    let family = if Spec::ip(&spec.address).is_ipv4() { "ip" } else { "ip6" };
    let (mut rules, mut sockets) = (String::new(), String::new());
    for (port, local) in ports(spec) {
        let _ = write!(
            rules,
            "iif != lo {family} daddr {} tcp dport {port} counter tproxy {family} to {local}; ",
            Spec::ip(&spec.address)
        );
        let _ = write!(sockets, " {name}_{port}.socket");
    }
    format!(
        "# Written by weiche.\n[Unit]\nDescription={} is served by {}\nAssertFileIsExecutable={PROXY}\nRequires={}\n\
         After=nftables.service{sockets}\n\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart=nft 'table inet {name}; delete table inet {name}; table inet {name} {{ chain prerouting {{ \
         type filter hook prerouting priority -150; policy accept; {rules}}}; }};'\n\
         ExecStop=nft 'delete table inet {name}'\n\n[Install]\nWantedBy=multi-user.target\n",
        spec.address,
        spec.to,
        sockets.trim_start(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_program_a_port_and_a_rule_for_each() {
        let spec: Spec = serde_json::from_value(serde_json::json!({
            "name": "x", "address": "192.0.2.100", "ports": [445, 80], "to": "198.51.100.100"
        }))
        .unwrap();
        let files = files(&spec);
        let names: Vec<&str> = files.keys().filter_map(|path| path.strip_prefix("/etc/systemd/system/")).collect();
        let parts = [".service", "_445.service", "_445.socket", "_80.service", "_80.socket"];
        assert_eq!(names, parts.map(|part| format!("weiche-relay-x{part}")));
        let rules = &files["/etc/systemd/system/weiche-relay-x.service"];
        for (port, local) in [(80, 17_100), (445, 17_101)] {
            let rule =
                format!("iif != lo ip daddr 192.0.2.100 tcp dport {port} counter tproxy ip to 127.0.0.1:{local}; ");
            assert!(rules.contains(&rule), "{rules}");
            let path = |ending: &str| format!("/etc/systemd/system/weiche-relay-x_{port}.{ending}");
            assert!(files[&path("socket")].contains(&format!("ListenStream=127.0.0.1:{local}\n")));
            assert!(files[&path("service")].contains(&format!(" 198.51.100.100:{port}\n")));
        }
    }

    #[test]
    fn of_ipv6_too() {
        let spec: Spec = serde_json::from_value(serde_json::json!({
            "name": "x", "address": "2001:db8::100", "ports": [80], "to": "2001:db8:1::100"
        }))
        .unwrap();
        let all: String = files(&spec).into_values().collect();
        for part in [
            "ip6 daddr 2001:db8::100 tcp dport 80 counter tproxy ip6 to [::1]:17100; ",
            "ListenStream=[::1]:17100\n",
            " [2001:db8:1::100]:80\n",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
    }
}
