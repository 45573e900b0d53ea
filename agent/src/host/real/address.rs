//! Addresses of the network interfaces, from the kernel by rtnetlink(7): no file has IPv4 addresses with their prefixes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use crate::fault::{Fault, FaultCode};
use crate::host::Address;

/// Most addresses that are taken; a host with more is a router of containers.
const MAX: usize = 1024;

/// Enough for what the kernel writes in one part (netlink(7) asks for 8192).
const PART: usize = 32 << 10;

/// Lengths of `struct nlmsghdr` and `struct ifaddrmsg`.
const HEADER: usize = 16;
const BODY: usize = 8;

/// Message types: the end, an error, an address, the request for all addresses.
const DONE: u16 = 3;
const ERROR: u16 = 2;
const ADDRESS: u16 = 20;
const GET_ADDRESSES: u16 = 22;

/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x1 | 0x300;

/// Attributes of an address: of the other end where there is one, and our own.
const PEER: u16 = 1;
const OWN: u16 = 2;

/// All addresses in the order of the kernel, without those of the loopback.
///
/// # Errors
/// Those of the operating system.
pub(super) fn addresses() -> Result<Vec<Address>, Fault> {
    let fault = |e: rustix::io::Errno| Fault::io("ask the kernel for its addresses", &io::Error::from(e));
    // `NETLINK_ROUTE` is protocol 0.
    let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).map_err(fault)?;
    let mut request = Vec::with_capacity(HEADER + BODY);
    request.extend_from_slice(&((HEADER + BODY) as u32).to_ne_bytes());
    request.extend_from_slice(&GET_ADDRESSES.to_ne_bytes());
    request.extend_from_slice(&DUMP.to_ne_bytes());
    request.resize(HEADER + BODY, 0);
    send(&fd, &request, SendFlags::empty()).map_err(fault)?;
    let (mut found, mut part) = (Vec::new(), vec![0; PART]);
    loop {
        let (_, length) = recv(&fd, &mut part[..], RecvFlags::empty()).map_err(fault)?;
        let mut rest = part.get(..length).unwrap_or_default();
        while let Some((kind, message, after)) = next(rest) {
            match kind {
                DONE => return Ok(found),
                ERROR => return Err(Fault::new(FaultCode::Io, "the kernel does not tell its addresses")),
                ADDRESS if found.len() < MAX => {
                    found.extend(address(message).filter(|address| !address.address.is_loopback()));
                }
                _ => {}
            }
            rest = after;
        }
        if length == 0 {
            return Ok(found);
        }
    }
}

/// Splits off a message: type, what follows the header, the rest.
fn next(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (length, kind) = (u32::from_ne_bytes(array(bytes, 0)?) as usize, u16::from_ne_bytes(array(bytes, 4)?));
    let message = bytes.get(HEADER..length)?;
    Some((kind, message, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Reads `struct ifaddrmsg` and its attributes.
fn address(message: &[u8]) -> Option<Address> {
    let (prefix, interface) = (*message.get(1)?, u32::from_ne_bytes(array(message, 4)?));
    let (mut peer, mut own, mut rest) = (None, None, message.get(BODY..)?);
    while let Some(length) = array(rest, 0).map(u16::from_ne_bytes).map(usize::from).filter(|n| *n >= 4) {
        let (kind, value) = (u16::from_ne_bytes(array(rest, 2)?), rest.get(4..length)?);
        match kind {
            PEER => peer = ip(value),
            OWN => own = ip(value),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(Address { interface, address: own.or(peer)?, prefix })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(array::<4>(bytes, 0)?).into()),
        16 => Some(Ipv6Addr::from(array::<16>(bytes, 0)?).into()),
        _ => None,
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Linux answers for `192.0.2.11/24` on interface 2, on a little-endian machine.
    const MESSAGE: [u8; 24] = [2, 24, 0x80, 0, 2, 0, 0, 0, 8, 0, 1, 0, 192, 0, 2, 11, 8, 0, 2, 0, 192, 0, 2, 11];

    #[cfg(target_endian = "little")]
    #[test]
    fn an_address_is_read_and_every_truncation_is_no_panic() {
        let expected = Address { interface: 2, address: IpAddr::from([192, 0, 2, 11]), prefix: 24 };
        assert_eq!(address(&MESSAGE), Some(expected));
        for length in 0..MESSAGE.len() {
            let _ = address(&MESSAGE[..length]);
            let _ = next(&MESSAGE[..length]);
        }
    }

    #[test]
    fn the_kernel_answers() {
        assert!(addresses().is_ok());
    }
}
