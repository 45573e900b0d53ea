//! The fence between what drives agents and what carries the bytes: frames both ways, counted.
//!
//! A link knows nothing of what a request means. While it sends it also takes in what arrives, so neither side ever
//! waits for the other with both directions full; and it sends no faster than the other side takes (SSH's window, a
//! socket's buffer), so memory stays bounded however large a content is.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use weiche_agent::protocol::{Frame, Hello, MAX_MESSAGE, Reply, Request, write_data, write_message};

/// What a link's methods return: boxed, so that a driver can hold links of different kinds.
pub type LinkFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LinkError>> + Send + 'a>>;

/// Bytes ahead of a frame's payload.
const HEADER: usize = 5;

/// A line to one agent, whose `Hello` has been read.
pub trait Link: Send {
    /// Sends a request.
    fn send<'a>(&'a mut self, request: &'a Request) -> LinkFuture<'a, ()>;

    /// Sends a part of a content, at most [`weiche_agent::protocol::MAX_DATA`] bytes; waits while the other side is
    /// not taking.
    fn send_data<'a>(&'a mut self, data: &'a [u8]) -> LinkFuture<'a, ()>;

    /// Waits for the next frame.
    fn recv(&mut self) -> LinkFuture<'_, Frame<Reply>>;

    /// What it has cost so far.
    fn traffic(&self) -> Traffic;
}

/// What reaching and driving a host has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections to the host itself (those to jump hosts are the jump host's).
    pub connections: u64,
    /// Programs started over them.
    pub execs: u64,
    /// Agents pushed: 0 or 1.
    pub pushes: u64,
    /// Requests that were answered; contents are sent ahead of a request and cost none.
    pub round_trips: u64,
    /// Bytes sent as frames or as the agent.
    pub sent_bytes: u64,
    /// Bytes received on standard output.
    pub received_bytes: u64,
}

/// Why a link is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The other side is gone.
    #[error("the line is cut ({0})")]
    Closed(String),
    /// The agent ended, or was ended.
    #[error("the agent ended: {how}{}", tail(.stderr))]
    Ended {
        /// Exit status or signal.
        how: String,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// What arrived is no protocol, or what was to be sent is larger than a frame may be.
    #[error("a frame is malformed")]
    Malformed(#[source] io::Error),
}

fn tail(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(" (its last words: {stderr})") }
}

/// Encodes a request as one frame.
///
/// # Errors
/// [`LinkError::Malformed`] if it is larger than [`MAX_MESSAGE`] (us: stages must be smaller).
pub fn encode(request: &Request) -> Result<Vec<u8>, LinkError> {
    let mut frame = Vec::new();
    write_message(&mut frame, request).map_err(LinkError::Malformed)?;
    Ok(frame)
}

/// Encodes a part of a content as one frame.
///
/// # Errors
/// None in practice: writing to memory does not fail.
pub fn encode_data(data: &[u8]) -> Result<Vec<u8>, LinkError> {
    let mut frame = Vec::with_capacity(HEADER + data.len());
    write_data(&mut frame, data).map_err(LinkError::Malformed)?;
    Ok(frame)
}

/// What has arrived and is not yet a whole frame.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    at: usize,
}

impl Inbox {
    /// Adds what arrived.
    ///
    /// # Errors
    /// [`LinkError::Malformed`] if more than two of the largest messages lie unread: the peer is not an agent.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        if self.at == self.bytes.len() {
            self.bytes.clear();
            self.at = 0;
        } else if self.at > 64 << 10 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        if self.bytes.len() + bytes.len() > 2 * MAX_MESSAGE {
            let error = io::Error::new(io::ErrorKind::InvalidData, "the agent sends more than was asked for");
            return Err(LinkError::Malformed(error));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes the first whole frame.
    ///
    /// # Errors
    /// [`LinkError::Malformed`] for what is no frame.
    pub fn frame(&mut self) -> Result<Option<Frame<Reply>>, LinkError> {
        let unread = &self.bytes[self.at..];
        let Some((header, rest)) = unread.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let (kind, len) = Frame::<Reply>::header(*header).map_err(LinkError::Malformed)?;
        let Some(payload) = rest.get(..len) else {
            return Ok(None);
        };
        let frame = Frame::payload(kind, payload.to_vec()).map_err(LinkError::Malformed)?;
        self.at += HEADER + len;
        Ok(Some(frame))
    }

    /// Takes the first whole line, without its newline; what is no UTF-8 becomes `U+FFFD`.
    pub fn line(&mut self) -> Option<String> {
        let unread = &self.bytes[self.at..];
        let end = unread.iter().position(|b| *b == b'\n')?;
        let line = String::from_utf8_lossy(&unread[..end]).into_owned();
        self.at += end + 1;
        Some(line)
    }

    /// Bytes that have arrived and not been taken.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A link to an agent in a thread of this process: for tests, rehearsals and simulated hosts.
#[derive(Debug)]
pub struct LocalLink {
    socket: UnixStream,
    inbox: Inbox,
    traffic: Traffic,
}

impl LocalLink {
    /// Starts `serve` in a thread with its input and output, and reads its `Hello`. The thread ends with the link.
    ///
    /// # Errors
    /// [`LinkError::Closed`] if there is no socket or thread to be had, or the agent is gone before its `Hello`.
    pub async fn start<F>(serve: F) -> Result<LocalLink, LinkError>
    where
        F: FnOnce(&mut dyn io::Read, &mut dyn io::Write) + Send + 'static,
    {
        let closed = |error: io::Error| LinkError::Closed(error.to_string());
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(closed)?;
        ours.set_nonblocking(true).map_err(closed)?;
        let body = move || serve(&mut &theirs, &mut &theirs);
        std::thread::Builder::new().name("agent".into()).spawn(body).map_err(closed)?;
        let socket = UnixStream::from_std(ours).map_err(closed)?;
        let mut link = LocalLink { socket, inbox: Inbox::default(), traffic: Traffic::default() };
        loop {
            match link.inbox.line() {
                Some(line) if Hello::parse(&line).is_some() => return Ok(link),
                Some(line) => return Err(LinkError::Closed(format!("`{line}` is no hello"))),
                None => link.fill().await?,
            }
        }
    }

    async fn fill(&mut self) -> Result<(), LinkError> {
        let mut part = vec![0; 64 << 10];
        let n = self.socket.read(&mut part).await.map_err(|e| LinkError::Closed(e.to_string()))?;
        if n == 0 {
            return Err(LinkError::Closed("end of the agent's output".into()));
        }
        self.traffic.received_bytes += n as u64;
        self.inbox.push(&part[..n])
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let closed = |error: io::Error| LinkError::Closed(error.to_string());
        let (mut reader, mut writer) = self.socket.split();
        let mut sending = pin!(writer.write_all(bytes));
        let mut part = vec![0; 64 << 10];
        loop {
            tokio::select! {
                sent = &mut sending => {
                    sent.map_err(closed)?;
                    break;
                }
                n = reader.read(&mut part) => match n.map_err(closed)? {
                    0 => return Err(LinkError::Closed("end of the agent's output".into())),
                    n => {
                        self.traffic.received_bytes += n as u64;
                        self.inbox.push(&part[..n])?;
                    }
                },
            }
        }
        self.traffic.sent_bytes += bytes.len() as u64;
        Ok(())
    }
}

impl Link for LocalLink {
    fn send<'a>(&'a mut self, request: &'a Request) -> LinkFuture<'a, ()> {
        Box::pin(async move { self.write(&encode(request)?).await })
    }

    fn send_data<'a>(&'a mut self, data: &'a [u8]) -> LinkFuture<'a, ()> {
        Box::pin(async move { self.write(&encode_data(data)?).await })
    }

    fn recv(&mut self) -> LinkFuture<'_, Frame<Reply>> {
        Box::pin(async move {
            loop {
                if let Some(frame) = self.inbox.frame()? {
                    return Ok(frame);
                }
                self.fill().await?;
            }
        })
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_however_the_bytes_come_in() {
        let mut wire = Vec::new();
        write_message(&mut wire, &Reply::StageEnd { ok: true }).unwrap();
        write_data(&mut wire, b"abc").unwrap();
        for size in 1..wire.len() {
            let mut inbox = Inbox::default();
            let mut seen = Vec::new();
            for part in wire.chunks(size) {
                inbox.push(part).unwrap();
                while let Some(frame) = inbox.frame().unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, [Frame::Message(Reply::StageEnd { ok: true }), Frame::Data(b"abc".to_vec())]);
            assert!(inbox.is_empty());
        }
    }

    #[test]
    fn lines_end_where_frames_begin() {
        let mut inbox = Inbox::default();
        inbox.push(b"noise\nhel").unwrap();
        assert_eq!(inbox.line().as_deref(), Some("noise"));
        assert_eq!(inbox.line(), None);
        inbox.push(b"lo\n\0\0").unwrap();
        assert_eq!(inbox.line().as_deref(), Some("hello"));
        assert_eq!(inbox.len(), 2);
    }

    #[test]
    fn a_peer_that_is_no_agent_is_found_out() {
        let mut inbox = Inbox::default();
        inbox.push(b"\xff\xff\xff\xff.").unwrap();
        assert!(matches!(inbox.frame(), Err(LinkError::Malformed(_))));
    }
}
