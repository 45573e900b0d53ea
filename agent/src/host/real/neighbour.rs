//! Asks a network card's neighbours who has an address, and tells them that we have it now: ARP for IPv4 (RFC 5227),
//! neighbour discovery for IPv6 (RFC 4861, RFC 4862), over a socket of packet(7), because the kernel has no way to do
//! either before the address is there.

mod frame;

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netdevice, recv, send, socket_with,
};

use crate::fault::{Fault, FaultCode};
use crate::protocol::mac;
use frame::Hardware;

/// How often is asked, and how long each time for an answer. RFC 5227 would ask for seconds: it has slow networks of
/// many machines in mind that all start at once. Who holds an address in earnest answers within a millisecond.
const PROBES: u32 = 3;
const WAIT: Duration = Duration::from_millis(50);

/// How often it is announced, and the time between: the first reaches everybody, unless a packet is lost.
const ANNOUNCEMENTS: u32 = 3;
const APART: Duration = Duration::from_millis(20);

/// Longest frame that is looked at; what is asked for is much shorter.
const MAX_FRAME: usize = 2048;

/// `struct sockaddr_ll`, from packet(7).
struct LinkAddress([u8; 20]);

#[expect(unsafe_code, reason = "rustix has no type for the addresses of packet(7)")]
// SAFETY: pointer and length are those of the array, which the borrow keeps alive; the kernel reads it as bytes.
unsafe impl SocketAddrArg for LinkAddress {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        f(self.0.as_ptr().cast(), 20)
    }
}

/// The hardware address of another machine that has this address; `None` if nobody answers. Takes 150 ms then.
pub(super) fn ask(card: &str, address: IpAddr) -> Result<Option<String>, Fault> {
    let Some(own) = hardware(card)? else { return Ok(None) };
    let (fd, question) = (open(card, address)?, frame::question(own, address));
    for _ in 0..PROBES {
        tell(&fd, &question, card)?;
        let until = Instant::now() + WAIT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            if let Some(other) = heard(&fd, left, card)?.and_then(|frame| frame::holder(&frame, address))
                && other != own
            {
                return Ok(Some(frame::text(other)));
            }
        }
    }
    Ok(None)
}

/// Tells everybody on the card's network that this machine has the address now.
pub(super) fn announce(card: &str, address: IpAddr) -> Result<(), Fault> {
    let Some(own) = hardware(card)? else { return Ok(()) };
    let fd = open(card, address)?;
    for round in 0..ANNOUNCEMENTS {
        if round > 0 {
            std::thread::sleep(APART);
        }
        for frame in frame::announcements(own, address) {
            tell(&fd, &frame, card)?;
        }
    }
    Ok(())
}

/// The card's own address; `None` if it has none, as tunnels have: there is nobody to ask then.
fn hardware(card: &str) -> Result<Option<Hardware>, Fault> {
    let path = format!("/sys/class/net/{card}/address");
    let text = std::fs::read_to_string(&path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Fault::new(FaultCode::NotFound, format!("there is no network card {card}")),
        _ => Fault::path("read", Path::new(&path), &e),
    })?;
    Ok(mac(text.trim()))
}

fn open(card: &str, address: IpAddr) -> Result<OwnedFd, Fault> {
    let fault = |e: Errno| Fault::io(format_args!("open a socket on {card}"), &e.into());
    // Without a protocol nothing arrives before the socket is bound to its card.
    let fd = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
        .map_err(fault)?;
    let index = netdevice::name_to_index(&fd, card).map_err(fault)?;
    let mut link = [0; 20];
    link[..2].copy_from_slice(&AddressFamily::PACKET.as_raw().to_ne_bytes());
    link[2..4].copy_from_slice(&frame::protocol(address).to_be_bytes());
    link[4..8].copy_from_slice(&index.to_ne_bytes());
    bind(&fd, &LinkAddress(link)).map_err(fault)?;
    Ok(fd)
}

fn tell(fd: &OwnedFd, frame: &[u8], card: &str) -> Result<(), Fault> {
    match send(fd, frame, SendFlags::empty()) {
        Err(Errno::NETDOWN) => {
            let fault = Fault::new(FaultCode::Unsupported, format!("the network card {card} is down"));
            Err(fault.hint("bring it up first"))
        }
        sent => sent.map(drop).map_err(|e| Fault::io(format_args!("send over {card}"), &e.into())),
    }
}

/// The next frame, if one comes in time.
fn heard(fd: &OwnedFd, within: Duration, card: &str) -> Result<Option<Vec<u8>>, Fault> {
    let fault = |e: io::Error| Fault::io(format_args!("listen on {card}"), &e);
    let within = Timespec::try_from(within).map_err(|e| fault(io::Error::other(e)))?;
    match rustix::event::poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&within)) {
        Ok(0) | Err(Errno::INTR) => return Ok(None),
        Ok(_) => {}
        Err(e) => return Err(fault(e.into())),
    }
    let mut frame = vec![0; MAX_FRAME];
    match recv(fd, &mut frame[..], RecvFlags::empty()) {
        Ok((length, _)) => {
            frame.truncate(length);
            Ok(Some(frame))
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        // Pending since the card went down: what follows tells more.
        Err(Errno::NETDOWN) => tell(fd, &[], card).map(|()| None),
        Err(e) => Err(fault(e.into())),
    }
}
