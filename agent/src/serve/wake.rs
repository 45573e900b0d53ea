//! Wake-on-LAN: the magic packet, six bytes of ones and sixteen times the address of the card, broadcast on every network
//! that the host is on.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use crate::fault::{Fault, FaultCode};
use crate::host::{Address, Host};
use crate::protocol;

/// UDP's discard port, where nobody answers; the card looks at the content alone.
const PORT: u16 = 9;

/// Sends the packet; returns how many networks took it.
///
/// # Errors
/// `Invalid` for what is no address of a card; the last of the host if no network took it.
pub(super) fn wake(mac: &str, host: &mut dyn Host) -> Result<u32, Fault> {
    let packet = protocol::mac(mac).map(|mac| packet(&mac)).ok_or_else(|| {
        let message = format!("{mac:?} is no address of a network card: write e.g. `00:00:5e:00:53:01`");
        Fault::new(FaultCode::Invalid, message)
    })?;
    let (mut packets, mut last) = (0, None);
    let networks: Vec<(Ipv4Addr, Ipv4Addr)> = host.platform()?.addresses.iter().filter_map(network).collect();
    for (own, everybody) in networks {
        match host.broadcast(own, SocketAddrV4::new(everybody, PORT), &packet) {
            Ok(()) => packets += 1,
            Err(fault) => last = Some(fault),
        }
    }
    match last {
        Some(fault) if packets == 0 => Err(fault),
        _ => Ok(packets),
    }
}

/// Our address on an IPv4 network, and everybody's.
fn network(address: &Address) -> Option<(Ipv4Addr, Ipv4Addr)> {
    // Two hosts and less need no broadcast (RFC 3021).
    let IpAddr::V4(own) = address.address else { return None };
    let hosts = u32::MAX.checked_shr(address.prefix.into()).filter(|_| address.prefix < 31)?;
    Some((own, Ipv4Addr::from_bits(own.to_bits() | hosts)))
}

fn packet(mac: &[u8]) -> Vec<u8> {
    [vec![0xff; 6], mac.repeat(16)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broadcast_address_is_the_networks() {
        for (address, prefix, everybody) in [
            ("192.0.2.10", 24, Some("192.0.2.255")),
            ("192.0.2.10", 28, Some("192.0.2.15")),
            ("192.0.2.10", 30, Some("192.0.2.11")),
            ("192.0.2.10", 31, None),
            ("192.0.2.10", 32, None),
            ("2001:db8::1", 24, None),
        ] {
            let address = Address { interface: 2, address: address.parse().unwrap(), prefix };
            assert_eq!(network(&address).map(|(_, all)| all.to_string()).as_deref(), everybody, "{address:?}");
        }
    }
}
