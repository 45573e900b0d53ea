//! The frames of Ethernet that ask for an address and announce one, and what they tell: ARP (RFC 826, RFC 5227),
//! neighbour solicitations and advertisements (RFC 4861). Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Address of a network card.
pub(super) type Hardware = [u8; 6];

const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const EVERYBODY: Hardware = [0xff; 6];

/// ARP's operations.
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// Messages of ICMPv6, and that of an advertisement its sender wants others' entries replaced.
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const OVERRIDE: u8 = 0x20;

/// All nodes of a link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Where in a frame the packet begins, and the message in one of IPv6.
const PACKET: usize = 14;
const MESSAGE: usize = PACKET + 40;

/// The type of frames that tell of such an address.
pub(super) fn protocol(address: IpAddr) -> u16 {
    if address.is_ipv4() { ARP } else { IPV6 }
}

/// Asks who has the address, as one that does not have it yet.
pub(super) fn question(own: Hardware, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ip) => arp(REQUEST, own, Ipv4Addr::UNSPECIFIED, [0; 6], ip),
        IpAddr::V6(ip) => {
            // The group of those whose address ends alike (RFC 4291, section 2.7.1).
            let [.., a, b, c] = ip.octets();
            let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
            icmp(own, Ipv6Addr::UNSPECIFIED, group, SOLICITATION, 0, ip, &[])
        }
    }
}

/// Says that it is ours. Of ARP both forms, since there are machines that believe one of them only.
pub(super) fn announcements(own: Hardware, address: IpAddr) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(ip) => vec![arp(REQUEST, own, ip, [0; 6], ip), arp(REPLY, own, ip, own, ip)],
        IpAddr::V6(ip) => {
            let mut target = vec![2, 1];
            target.extend(own);
            vec![icmp(own, ip, ALL_NODES, ADVERTISEMENT, OVERRIDE, ip, &target)]
        }
    }
}

/// Who says in a frame that the address is his, or is about to be.
pub(super) fn holder(frame: &[u8], address: IpAddr) -> Option<Hardware> {
    let kind = u16::from_be_bytes(array(frame, 12)?);
    match address {
        IpAddr::V4(ip) => {
            if kind != ARP || array(frame, PACKET)? != [0, 1, 8, 0, 6, 4] {
                return None;
            }
            let (sender, target) = (Ipv4Addr::from(array::<4>(frame, 28)?), Ipv4Addr::from(array::<4>(frame, 38)?));
            let asks_too = sender.is_unspecified() && target == ip && array(frame, 20)? == REQUEST.to_be_bytes();
            (sender == ip || asks_too).then(|| array(frame, 22)).flatten()
        }
        IpAddr::V6(ip) => {
            let packet = kind == IPV6 && *frame.get(PACKET + 6)? == ICMPV6 && *frame.get(PACKET + 7)? == 255;
            let target = Ipv6Addr::from(array::<16>(frame, MESSAGE + 8)?);
            if !packet || target != ip {
                return None;
            }
            let sender = Ipv6Addr::from(array::<16>(frame, PACKET + 8)?);
            match *frame.get(MESSAGE)? {
                ADVERTISEMENT => {
                    let named = frame.get(MESSAGE + 24..MESSAGE + 26) == Some(&[2, 1]);
                    array(frame, if named { MESSAGE + 26 } else { 6 })
                }
                SOLICITATION if sender.is_unspecified() => array(frame, 6),
                _ => None,
            }
        }
    }
}

/// As people write it.
pub(super) fn text(hardware: Hardware) -> String {
    hardware.map(|byte| format!("{byte:02x}")).join(":")
}

fn arp(operation: u16, own: Hardware, from: Ipv4Addr, to_card: Hardware, to: Ipv4Addr) -> Vec<u8> {
    let mut frame = [EVERYBODY.as_slice(), &own, &ARP.to_be_bytes(), &[0, 1, 8, 0, 6, 4]].concat();
    frame.extend(operation.to_be_bytes());
    frame.extend(own);
    frame.extend(from.octets());
    frame.extend(to_card);
    frame.extend(to.octets());
    // The shortest frame of Ethernet, without its checksum.
    frame.resize(60, 0);
    frame
}

fn icmp(own: Hardware, from: Ipv6Addr, to: Ipv6Addr, kind: u8, flags: u8, target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    message.extend(options);
    // Some twenty bytes: it always fits.
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes();
    let pseudo = [&from.octets()[..], &to.octets(), &[0, 0], &length, &[0, 0, 0, ICMPV6], &message].concat();
    message[2..4].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    let [.., a, b, c, d] = to.octets();
    let mut frame = [&[0x33, 0x33, a, b, c, d][..], &own, &IPV6.to_be_bytes(), &[0x60, 0, 0, 0], &length].concat();
    frame.extend([ICMPV6, 255]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(message);
    frame
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Hardware = [2, 0, 0, 0, 0x53, 1];
    const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456));

    #[test]
    fn what_is_announced_is_understood_and_every_truncation_is_no_panic() {
        for address in [V4, V6] {
            let mut frames = announcements(OWN, address);
            frames.push(question(OWN, address));
            for frame in frames {
                assert_eq!(holder(&frame, address), Some(OWN), "{frame:02x?}");
                assert_eq!(holder(&frame, "192.0.2.7".parse().unwrap()), None);
                assert_eq!(holder(&frame, "2001:db8::7".parse().unwrap()), None);
                for length in 0..frame.len() {
                    let _ = holder(&frame[..length], address);
                }
            }
        }
    }

    #[test]
    fn who_asks_for_an_address_that_he_does_not_claim_is_nobody() {
        let IpAddr::V4(ip) = V4 else { unreachable!() };
        let frame = arp(REQUEST, OWN, Ipv4Addr::new(192, 0, 2, 7), [0; 6], ip);
        assert_eq!(holder(&frame, V4), None);
    }

    /// The example is that of the RFC, section 3.
    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        let frame = question(OWN, V6);
        let whole = [&frame[PACKET + 8..MESSAGE], &[0, 0, 0, 24, 0, 0, 0, ICMPV6], &frame[MESSAGE..]].concat();
        assert_eq!(checksum(&whole), 0, "what is summed up with its checksum is nothing");
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(text(OWN), "02:00:00:00:53:01");
    }
}
