//! What the managers of a network read: systemd.network(5) and interfaces(5), and what ip-address(8) says.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::{Route, Spec};
use crate::resources::address::{address_problem, card_problem, host_bits, prefix};
use crate::resources::node::Presence;

pub(super) fn problems(spec: &Spec) -> Vec<String> {
    let mut problems = Vec::new();
    problems.extend(card_problem(&spec.interface));
    let more = spec.dhcp || !spec.routes.is_empty() || !spec.dns.is_empty() || !spec.search.is_empty();
    if spec.state == Presence::Absent {
        if more || !spec.addresses.is_empty() {
            problems.push("an absent network has nothing but its `interface`".into());
        }
        return problems;
    }
    if spec.addresses.is_empty() && !spec.dhcp {
        problems.push("a network card needs `addresses` or `dhcp: true`".into());
    }
    for address in &spec.addresses {
        problems.extend(address_problem(address));
    }
    for Route { to, via } in &spec.routes {
        let router = via.parse::<IpAddr>();
        match (to.as_str(), prefix(to), &router) {
            (_, _, Err(_)) => problems.push(format!("`{via}` is no address of a router")),
            ("default", _, _) => {}
            (_, Some((net, length)), Ok(via)) => {
                if net.is_ipv4() != via.is_ipv4() {
                    problems.push(format!("the route to `{to}` has a router of the other family, `{via}`"));
                } else if host_bits(net, length) {
                    problems.push(format!("`{to}` is no network: bits behind its prefix are set"));
                }
            }
            _ => problems.push(format!("`{to}` is no network: write e.g. `198.51.100.0/24` or `default`")),
        }
    }
    let not_ip = |text: &&String| text.parse::<IpAddr>().is_err();
    problems.extend(spec.dns.iter().filter(not_ip).map(|text| format!("`{text}` is no address of a name server")));
    let domain = |text: &&String| {
        let ok = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
        text.is_empty() || text.starts_with('-') || !text.bytes().all(ok)
    };
    problems.extend(spec.search.iter().filter(domain).map(|text| format!("`{text}` is no domain")));
    problems
}

/// An address as ip-address(8) writes it.
pub(super) fn plain(address: &str) -> Option<String> {
    prefix(address).map(|(ip, length)| format!("{ip}/{length}"))
}

/// The address in a line of `ip -o addr`, unless it comes and goes.
pub(super) fn permanent(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let passing = words.iter().any(|word| ["dynamic", "temporary"].contains(word));
    let address = words.iter().skip_while(|word| !["inet", "inet6"].contains(word)).nth(1)?;
    plain(address).filter(|_| !passing)
}

pub(super) fn networkd(spec: &Spec) -> String {
    let mut text = format!("[Match]\nName={}\n\n[Network]\n", spec.interface);
    if spec.dhcp {
        text.push_str("DHCP=yes\n");
    }
    let lists = [("Address", &spec.addresses), ("DNS", &spec.dns)];
    for (key, value) in lists.into_iter().flat_map(|(key, list)| list.iter().map(move |value| (key, value))) {
        let _ = writeln!(text, "{key}={value}");
    }
    if !spec.search.is_empty() {
        let _ = writeln!(text, "Domains={}", spec.search.join(" "));
    }
    for route in &spec.routes {
        let _ = write!(text, "\n[Route]\nGateway={}\n", route.via);
        if route.to != "default" {
            let _ = writeln!(text, "Destination={}", route.to);
        }
    }
    text
}

pub(super) fn ifupdown(spec: &Spec) -> String {
    let card = &spec.interface;
    let mut text = format!("auto {card}\n");
    if spec.dhcp {
        let _ = writeln!(text, "iface {card} inet dhcp");
    }
    for address in &spec.addresses {
        let family = if address.contains(':') { "inet6" } else { "inet" };
        let _ = write!(text, "iface {card} {family} static\n\taddress {address}\n");
    }
    // Options belong to the stanza above them; a router of either family can be named in any.
    for Route { to, via } in &spec.routes {
        let family = if via.contains(':') { "-6" } else { "-4" };
        let _ = writeln!(text, "\tup ip {family} route replace {to} via {via} dev {card}");
    }
    for (key, list) in [("dns-nameservers", &spec.dns), ("dns-search", &spec.search)] {
        if !list.is_empty() {
            let _ = writeln!(text, "\t{key} {}", list.join(" "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(value: Value) -> Spec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn both_managers_read_the_same() {
        let spec = spec(json!({
            "interface": "eth0", "addresses": ["192.0.2.10/24", "2001:db8::10/64"], "dns": ["192.0.2.53"],
            "routes": [{ "to": "default", "via": "192.0.2.1" }, { "to": "198.51.100.0/24", "via": "192.0.2.2" }],
            "search": ["town.example"],
        }));
        assert_eq!(problems(&spec), Vec::<String>::new());
        assert_eq!(
            networkd(&spec),
            "[Match]\nName=eth0\n\n[Network]\nAddress=192.0.2.10/24\nAddress=2001:db8::10/64\nDNS=192.0.2.53\n\
             Domains=town.example\n\n[Route]\nGateway=192.0.2.1\n\n[Route]\nGateway=192.0.2.2\n\
             Destination=198.51.100.0/24\n"
        );
        assert_eq!(
            ifupdown(&spec),
            "auto eth0\niface eth0 inet static\n\taddress 192.0.2.10/24\niface eth0 inet6 static\n\
             \taddress 2001:db8::10/64\n\tup ip -4 route replace default via 192.0.2.1 dev eth0\n\
             \tup ip -4 route replace 198.51.100.0/24 via 192.0.2.2 dev eth0\n\tdns-nameservers 192.0.2.53\n\
             \tdns-search town.example\n"
        );
    }

    #[test]
    fn addresses_are_checked() {
        for (address, good) in [
            ("192.0.2.10/24", true),
            ("192.0.2.10/33", false),
            ("192.0.2.10", false),
            ("192.0.2.10/+8", false),
            ("192.0.2/24", false),
            ("2001:db8::10/64", true),
            ("2001:db8::10/129", false),
            ("2001:db8::g/64", false),
            ("127.0.0.1/8", false),
            ("224.0.0.1/4", false),
        ] {
            let found = problems(&spec(json!({ "interface": "eth0", "addresses": [address] })));
            assert_eq!(found.is_empty(), good, "{address} {found:?}");
        }
        for (to, via, good) in [
            ("default", "192.0.2.1", true),
            ("198.51.100.0/24", "192.0.2.1", true),
            ("198.51.100.1/24", "192.0.2.1", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("198.51.100.7/32", "192.0.2.1", true),
            ("2001:db8::/32", "192.0.2.1", false),
            ("2001:db8::1/32", "fe80::1", false),
            ("default", "192.0.2.1/24", false),
        ] {
            let routes = json!([{ "to": to, "via": via }]);
            let found = problems(&spec(json!({ "interface": "eth0", "dhcp": true, "routes": routes })));
            assert_eq!(found.is_empty(), good, "{to} {via} {found:?}");
        }
        for bad in ["", "lo", "a/b", "-x", "averyverylongname"] {
            assert!(!problems(&spec(json!({ "interface": bad, "dhcp": true }))).is_empty(), "{bad}");
        }
    }

    #[test]
    fn only_lasting_addresses_count() {
        for (line, address) in [
            (
                "2: eth0    inet 192.0.2.10/24 brd 192.0.2.255 scope global eth0\\ valid_lft forever",
                Some("192.0.2.10/24"),
            ),
            ("2: eth0    inet6 2001:db8:0::10/64 scope global \\ valid_lft forever", Some("2001:db8::10/64")),
            ("2: eth0    inet 192.0.2.7/24 scope global dynamic eth0\\ valid_lft 80sec", None),
            ("", None),
        ] {
            assert_eq!(permanent(line).as_deref(), address);
        }
    }
}
