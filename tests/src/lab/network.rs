//! The lab's network: one namespace with a bridge, one namespace for each host, joined by a veth pair. Where a host stands
//! at another site, the namespace has a bridge for that as well, and is the router between both.
//!
//! Every link is made inside the namespaces; the machine's own namespace never sees one.

use std::ffi::OsStr;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::tool;

/// Where a host stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Site {
    /// In the lab's network, 192.0.2.0/24, and it knows of no other.
    #[default]
    Town,
    /// There, with a route to the other site.
    Routed,
    /// At another site: 198.51.100.0/24 (RFC 5737: reserved for documentation), with a route to the lab's network.
    Centre,
}

impl Site {
    /// The address of the host with this number.
    pub(crate) fn address(self, number: u8) -> Ipv4Addr {
        match self {
            Self::Town | Self::Routed => Ipv4Addr::new(192, 0, 2, number + 10),
            Self::Centre => Ipv4Addr::new(198, 51, 100, number + 10),
        }
    }

    /// The network that it has a route to, and by way of whom.
    fn route(self) -> Option<[&'static str; 2]> {
        match self {
            Self::Town => None,
            Self::Routed => Some(["198.51.100.0/24", "192.0.2.1"]),
            Self::Centre => Some(["192.0.2.0/24", "198.51.100.1"]),
        }
    }

    fn bridge(self) -> &'static str {
        if self == Self::Centre { "br1" } else { "br0" }
    }
}

/// The network of one lab.
#[derive(Debug)]
pub(crate) struct Network {
    /// The namespace of bridge and controller.
    id: String,
    /// Made with the first host that needs it.
    centre: Once,
}

/// Where a host is plugged in: a link of the bridge.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    namespace: String,
    link: String,
    bridge: &'static str,
}

impl Network {
    /// Makes the namespace `id` with a bridge that has `address`.
    pub(crate) fn create(id: &str, address: Ipv4Addr) -> Self {
        add_namespace(id);
        ip(["-n", id, "link", "add", "br0", "type", "bridge"]);
        ip(["-n", id, "address", "add", &format!("{address}/24"), "dev", "br0"]);
        ip(["-n", id, "link", "set", "br0", "up"]);
        Self { id: id.to_owned(), centre: Once::new() }
    }

    /// Makes the other site and the way there.
    fn make_centre(&self) {
        let id = self.id.as_str();
        ip(["-n", id, "link", "add", "br1", "type", "bridge"]);
        ip(["-n", id, "address", "add", "198.51.100.1/24", "dev", "br1"]);
        ip(["-n", id, "link", "set", "br1", "up"]);
        let forward = "echo 1 >/proc/sys/net/ipv4/ip_forward";
        tool::try_run(self.command("sh").args(["-c", forward])).unwrap_or_else(|why| panic!("a router: {why}"));
    }

    /// Makes the namespace `host` with `eth0` on the bridge of its site, with the address of this number.
    pub(crate) fn join(&self, host: &str, number: u8, site: Site) {
        if site != Site::Town {
            self.centre.call_once(|| self.make_centre());
        }
        let port = self.port(number, site);
        add_namespace(host);
        ip(["-n", &self.id, "link", "add", &port.link, "type", "veth", "peer", "name", "eth0", "netns", host]);
        ip(["-n", &self.id, "link", "set", &port.link, "master", port.bridge, "up"]);
        boot(host, site.address(number), site);
    }

    /// The port of the host with this number.
    pub(crate) fn port(&self, number: u8, site: Site) -> Port {
        Port { namespace: self.id.clone(), link: format!("port{number}"), bridge: site.bridge() }
    }

    /// Prepares a program that runs inside.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        command(&self.id, program)
    }
}

impl Port {
    /// Prepares a program that runs on the bridge's side of the port.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        command(&self.namespace, program)
    }

    /// Pulls the plug (`false`) or puts it in: the host sees its link go down or come up.
    pub(crate) fn set_plugged(&self, plugged: bool) {
        ip(["-n", &self.namespace, "link", "set", &self.link, if plugged { "up" } else { "down" }]);
    }

    /// Slows both ways of the host's line down to a rate as in `tc(8)`, such as `5mbit`; `None` ends that.
    pub(crate) fn set_rate(&self, host: &str, rate: Option<&str>) {
        for (namespace, link) in [(self.namespace.as_str(), self.link.as_str()), (host, "eth0")] {
            let on = ["-n", namespace, "qdisc"];
            match rate {
                Some(rate) => {
                    let shape =
                        ["replace", "dev", link, "root", "tbf", "rate", rate, "burst", "64kb", "latency", "200ms"];
                    tool::run("tc", [on.as_slice(), &shape].concat());
                }
                // There may be none.
                None => drop(tool::try_run(tool::command("tc").args(on).args(["delete", "dev", link, "root"]))),
            }
        }
    }

    /// Loses all packets, both ways (`false`), or forwards them; the host notices nothing but silence.
    pub(crate) fn set_forwarding(&self, forwarding: bool) {
        let set = |bridge: &str| ip(["-n", &self.namespace, "link", "set", &self.link, "master", bridge]);
        // A bridge that is down forwards and takes nothing; of a link without a bridge what the host sends would arrive.
        let down = format!("off-{}", self.link);
        if forwarding {
            set(self.bridge);
            ip(["-n", &self.namespace, "link", "delete", &down]);
        } else {
            ip(["-n", &self.namespace, "link", "add", &down, "type", "bridge"]);
            set(&down);
        }
    }
}

/// Gives `eth0` of a host the lab's address and no other: a kernel that starts knows none of the last boot's.
pub(crate) fn boot(host: &str, address: Ipv4Addr, site: Site) {
    ip(["-n", host, "route", "flush", "dev", "eth0"]);
    ip(["-n", host, "address", "flush", "dev", "eth0", "scope", "global"]);
    ip(["-n", host, "address", "add", &format!("{address}/24"), "broadcast", "+", "dev", "eth0"]);
    ip(["-n", host, "link", "set", "eth0", "up"]);
    if let Some([network, router]) = site.route() {
        ip(["-n", host, "route", "add", network, "via", router]);
    }
}

/// The file that keeps a namespace (`ip-netns(8)`).
pub(crate) fn namespace_file(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// Calls a function on a thread inside a namespace.
pub(crate) fn inside<T: Send>(name: &str, function: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(name);
            function()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Moves the calling thread, for the rest of its life, into a namespace.
pub(crate) fn enter(name: &str) {
    let path = namespace_file(name);
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn command(namespace: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(tool::find("ip").expect("ip is not installed"));
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

fn add_namespace(name: &str) {
    ip(["netns", "add", name]);
    ip(["-n", name, "link", "set", "lo", "up"]);
}

fn ip<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) {
    tool::run("ip", arguments);
}
