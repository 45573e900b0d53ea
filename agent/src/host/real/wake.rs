//! Sends a packet to everybody on a network.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use crate::fault::Fault;

/// Sends it once, out of the interface with the address `from`.
pub(super) fn broadcast(from: Ipv4Addr, to: SocketAddrV4, packet: &[u8]) -> Result<(), Fault> {
    let sent = UdpSocket::bind((from, 0)).and_then(|socket| {
        socket.set_broadcast(true)?;
        socket.send_to(packet, to)
    });
    sent.map(drop).map_err(|e| Fault::io(format_args!("send to {to} from {from}"), &e))
}
