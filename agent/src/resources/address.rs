//! Addresses with the length of their network's prefix, and names of network cards.

use std::net::IpAddr;

/// What is wrong with the name of a network card, if anything.
pub(crate) fn card_problem(card: &str) -> Option<String> {
    // IFNAMSIZ; letters that mean nothing in a path or in a file of those who configure networks.
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    let bad =
        card.is_empty() || card.len() > 15 || card.starts_with(['-', '.']) || !card.bytes().all(ok) || card == "lo";
    bad.then(|| format!("`{card}` is no name of a network card"))
}

/// What is wrong with an address that a card shall have, if anything.
pub(crate) fn address_problem(address: &str) -> Option<String> {
    match prefix(address) {
        Some((ip, _)) if !ip.is_unspecified() && !ip.is_multicast() && !ip.is_loopback() => None,
        _ => Some(format!("`{address}` is no address with a prefix: write e.g. `192.0.2.10/24`")),
    }
}

/// Whether an address is in the network that another one with this prefix is in.
pub(crate) fn same_network(one: IpAddr, other: IpAddr, length: u8) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    };
    one.is_ipv4() == other.is_ipv4()
        && (bits(one) ^ bits(other)).checked_shr(128 - u32::from(length)).is_none_or(|differs| differs == 0)
}

/// An address and the length of its prefix.
pub(crate) fn prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, length) = text.split_once('/')?;
    let ip: IpAddr = ip.parse().ok()?;
    let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let length: u8 = length.parse().ok().filter(|_| digits)?;
    (length <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, length))
}

/// Whether bits behind the prefix are set.
pub(crate) fn host_bits(net: IpAddr, length: u8) -> bool {
    match net {
        IpAddr::V4(ip) => u32::MAX.checked_shr(length.into()).is_some_and(|mask| ip.to_bits() & mask != 0),
        IpAddr::V6(ip) => u128::MAX.checked_shr(length.into()).is_some_and(|mask| ip.to_bits() & mask != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_told_apart() {
        for (one, other, length, same) in [
            ("192.0.2.1", "192.0.2.254", 24, true),
            ("192.0.2.1", "192.0.2.254", 25, false),
            ("192.0.2.1", "198.51.100.1", 0, true),
            ("192.0.2.1", "192.0.2.0", 32, false),
            ("192.0.2.1", "192.0.2.1", 32, true),
            ("2001:db8::1", "2001:db8::ffff", 64, true),
            ("2001:db8::1", "2001:db8:0:1::1", 64, false),
            ("2001:db8::1", "192.0.2.1", 0, false),
        ] {
            let (a, b) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(same_network(a, b, length), same, "{one} {other} {length}");
        }
    }
}
