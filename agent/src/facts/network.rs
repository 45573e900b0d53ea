//! Interfaces (sysfs-class-net), default routes (proc_pid_net(5)) and name servers (resolv.conf(5)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{clip, line, names, text};
use crate::host::{Address, Host};
use crate::protocol::facts::{Interface, MAX_ITEMS, Network, Route};

/// Where systemd-resolved answers; the servers that it asks stand in a file of its own.
const STUB: [&str; 2] = ["127.0.0.53", "127.0.0.54"];

// Flags of a route, from `linux/route.h`: usable; through a gateway; to be refused.
const UP: u32 = 0x1;
const GATEWAY: u32 = 0x2;
const REJECT: u32 = 0x200;

pub(super) fn network(host: &mut dyn Host, addresses: &[Address]) -> Network {
    let mut interfaces = Vec::new();
    for name in names(host, "/sys/class/net").into_iter().take(MAX_ITEMS) {
        let mut tells = |file: &str| line(host, &format!("/sys/class/net/{name}/{file}"));
        // A directory holds a file as well, `bonding_masters`.
        let Some(index) = tells("ifindex").and_then(|text| text.parse::<u32>().ok()) else { continue };
        let mac = tells("address").filter(|mac| mac != "00:00:00:00:00:00").unwrap_or_default();
        let own = addresses.iter().filter(|address| address.interface == index);
        interfaces.push(Interface {
            mac,
            mtu: tells("mtu").and_then(|text| text.parse().ok()).unwrap_or(0),
            state: tells("operstate").unwrap_or_default(),
            addresses: own.take(MAX_ITEMS).map(|a| format!("{}/{}", a.address, a.prefix)).collect(),
            name: clip(&name),
        });
    }
    let routes = [
        text(host, "/proc/self/net/route").and_then(|text| default_v4(&text)),
        text(host, "/proc/self/net/ipv6_route").and_then(|text| default_v6(&text)),
    ];
    let mut dns_servers = name_servers(&text(host, "/etc/resolv.conf").unwrap_or_default());
    if dns_servers.iter().all(|server| STUB.contains(&server.as_str()))
        && let Some(behind) = text(host, "/run/systemd/resolve/resolv.conf")
    {
        dns_servers = name_servers(&behind);
    }
    Network { interfaces, default_routes: routes.into_iter().flatten().collect(), dns_servers }
}

/// The route to `0.0.0.0/0` with the lowest metric in `/proc/net/route`, whose numbers are in the host's byte order.
pub(super) fn default_v4(text: &str) -> Option<Route> {
    let read = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let hex = |at: usize| u32::from_str_radix(words.get(at)?, 16).ok();
        let flags = hex(3)?;
        let usable = hex(1)? == 0 && hex(7)? == 0 && flags & UP != 0 && flags & REJECT == 0;
        let gateway = match flags & GATEWAY {
            0 => String::new(),
            _ => Ipv4Addr::from(hex(2)?.to_ne_bytes()).to_string(),
        };
        let metric: u32 = words.get(6)?.parse().ok()?;
        usable.then(|| (metric, Route { gateway, interface: clip(words[0]) }))
    };
    text.lines().skip(1).filter_map(read).min_by_key(|(metric, _)| *metric).map(|(_, route)| route)
}

/// The route to `::/0` with the lowest metric in `/proc/net/ipv6_route`.
pub(super) fn default_v6(text: &str) -> Option<Route> {
    let read = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [target, length, _, _, gateway, metric, _, _, flags, interface] = words.as_slice() else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let everywhere = *length == "00" && u128::from_str_radix(target, 16).ok()? == 0;
        let usable = everywhere && flags & UP != 0 && flags & REJECT == 0;
        let gateway = Ipv6Addr::from(u128::from_str_radix(gateway, 16).ok()?);
        let gateway = if gateway.is_unspecified() { String::new() } else { gateway.to_string() };
        let metric = u32::from_str_radix(metric, 16).ok()?;
        usable.then(|| (metric, Route { gateway, interface: clip(interface) }))
    };
    text.lines().filter_map(read).min_by_key(|(metric, _)| *metric).map(|(_, route)| route)
}

pub(super) fn name_servers(text: &str) -> Vec<String> {
    let server = |line: &str| {
        let address = line.trim_start().strip_prefix("nameserver")?.split_whitespace().next()?;
        let (plain, _) = address.split_once('%').unwrap_or((address, ""));
        plain.parse::<IpAddr>().ok().map(|_| clip(address))
    };
    text.lines().filter_map(server).take(MAX_ITEMS).collect()
}
