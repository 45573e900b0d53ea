//! A resolver, as users' PCs share one: it asks a name server, and remembers what that says for its time to live.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a name server may think, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(1);
const TIMES: u32 = 4;

/// Knows one name.
#[derive(Debug)]
pub(crate) struct Resolver {
    server: SocketAddr,
    name: String,
    /// What it remembers, and until when.
    known: Mutex<Option<(Ipv4Addr, Instant)>>,
    /// All addresses that it was told, each once until another one was.
    told: Mutex<Vec<Ipv4Addr>>,
}

impl Resolver {
    pub(crate) fn new(server: Ipv4Addr, name: &str) -> Resolver {
        let (known, told) = (Mutex::default(), Mutex::default());
        Resolver { server: (server, 53).into(), name: name.to_owned(), known, told }
    }

    /// The name's address; asked for inside the lab's network.
    pub(crate) fn find(&self) -> Result<Ipv4Addr, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((address, _)) = known.filter(|(_, until)| Instant::now() < *until) {
            return Ok(address);
        }
        let (address, ttl) = self.ask()?;
        *known = Some((address, Instant::now() + ttl));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.push(address);
        told.dedup();
        Ok(address)
    }

    /// The addresses that it was told, in order.
    pub(crate) fn told(&self) -> Vec<Ipv4Addr> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ask(&self) -> Result<(Ipv4Addr, Duration), String> {
        let said = |error: std::io::Error| format!("the name server: {error}");
        let socket = UdpSocket::bind("0.0.0.0:0").map_err(said)?;
        socket.connect(self.server).map_err(said)?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(said)?;
        let mut last = String::new();
        for _ in 0..TIMES {
            socket.send(&question(&self.name)).map_err(said)?;
            let mut answer = [0; 512];
            match socket.recv(&mut answer) {
                Ok(length) => match first(answer.get(..length).unwrap_or_default()) {
                    Some(found) => return Ok(found),
                    None => return Err(format!("the name server knows no {}", self.name)),
                },
                Err(error) => last = error.to_string(),
            }
        }
        Err(format!("the name server: {last}"))
    }
}

/// A question for the `A` records of a name (RFC 1035, section 4.1).
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0x57, 0x4c, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).expect("a short label"));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// The first `A` record of an answer. The question's name is the owner, so each name is one label chain or one pointer.
fn first(answer: &[u8]) -> Option<(Ipv4Addr, Duration)> {
    let number = |at: usize| Some(u16::from_be_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let behind_name = |mut at: usize| loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    };
    let mut at = behind_name(12)? + 4;
    for _ in 0..number(6)? {
        at = behind_name(at)?;
        let (kind, length) = (number(at)?, usize::from(number(at + 8)?));
        let ttl = u32::from_be_bytes(answer.get(at + 4..at + 8)?.try_into().ok()?);
        if kind == 1 {
            let bytes: [u8; 4] = answer.get(at + 10..at + 14)?.try_into().ok()?;
            return Some((bytes.into(), Duration::from_secs(ttl.into())));
        }
        at += 10 + length;
    }
    None
}
