//! Reaches a host over SSH and starts the agent there: one connection, one exec, no process on this side.
//!
//! The host key is pinned, never learnt. Logins are by public key only. Hosts behind a jump host are reached through
//! it, end to end encrypted: the jump host sees neither keys nor contents.

mod error;
mod handshake;
mod login;
mod prompt;
mod tunnel;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use russh::client;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use weiche_agent::protocol::{BUILD, Frame, Hello, Reply, Request};

use crate::drive::agent_binary::AGENT_GZ;
use crate::drive::link::{Inbox, Link, LinkError, LinkFuture, Traffic, encode, encode_data};
use crate::drive::push::{self, PUSH_MARKER, PushError};
use crate::input::target::Target;

pub use error::ConnectError;
pub use handshake::Negotiated;
pub use login::Keys;
pub use tunnel::{NoStream, Stream, Tunnel};

use handshake::Client;
use prompt::Prompt;

/// What a push may take: 2 MiB over a line of 64 kbit/s.
const PUSH_WITHIN: Duration = Duration::from_secs(300);

/// Most that a login's rc files may print ahead of the agent's first line.
const NOISE: usize = 8 << 10;

/// The end of standard error that is kept for error messages.
const STDERR_TAIL: usize = 4 << 10;

/// Connects to hosts; private keys are read once and kept.
#[derive(Debug, Default)]
pub struct Connector {
    keys: Keys,
    /// The ssh-agent's socket; `SSH_AUTH_SOCK` if `None`.
    ssh_agent: Option<PathBuf>,
    /// Who may log in to a jump host right now, by address.
    turns: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

/// Logins to one jump host at the same time: sshd drops some of more than ten (`MaxStartups`).
const LOGINS_AT_ONCE: usize = 8;

/// A line to an agent on a host.
pub struct SshLink {
    reader: ChannelReadHalf,
    writer: ChannelWriteHalf<client::Msg>,
    inbox: Inbox,
    stderr: Vec<u8>,
    how: Option<String>,
    traffic: Traffic,
    /// The host's own connection first, then the jump hosts' that it runs through; dropping them cuts the line.
    connections: Vec<Connection>,
}

/// One SSH connection, logged in.
struct Connection {
    handle: client::Handle<Client>,
    seen: Arc<handshake::Seen>,
}

/// A deadline over several steps, which says what was being waited for when it passed.
struct Bound {
    until: Instant,
    after: Duration,
    address: String,
}

impl Bound {
    async fn of<T>(&self, phase: &'static str, work: impl Future<Output = T>) -> Result<T, ConnectError> {
        let late = |_| ConnectError::Timeout { address: self.address.clone(), phase, after: self.after };
        timeout_at(self.until, work).await.map_err(late)
    }
}

impl Connector {
    /// With the ssh-agent that listens on a socket instead of the one in `SSH_AUTH_SOCK`.
    pub fn with_ssh_agent(socket: PathBuf) -> Connector {
        Connector { ssh_agent: Some(socket), ..Connector::default() }
    }

    /// Connects, checks the host key, logs in and starts the agent, pushing it first if the host does not have it.
    ///
    /// # Errors
    /// See [`ConnectError`]; each has a hint for the operator.
    pub async fn connect(&self, target: &Target) -> Result<SshLink, ConnectError> {
        let after = target.connect_timeout;
        let bound = Bound { until: Instant::now() + after, after, address: address(target) };
        let connections = self.reach(target, &bound).await?;
        let failed = |e| ConnectError::Protocol { address: address(target), source: Box::new(e) };
        let open = connections[0].handle.channel_open_session();
        let channel = bound.of("a session channel", open).await?.map_err(failed)?;
        channel.exec(true, push::command(target)).await.map_err(failed)?;
        let (reader, writer) = channel.split();
        let traffic = Traffic { connections: 1, execs: 1, ..Traffic::default() };
        let inbox = Inbox::default();
        let mut link = SshLink { reader, writer, inbox, stderr: Vec::new(), how: None, traffic, connections };
        let refused = |source| ConnectError::Start { address: address(target), source };
        if bound.of("the agent's first line", link.first_line(target)).await?.map_err(refused)? == FirstLine::Push {
            let after = PUSH_WITHIN;
            let bound = Bound { until: Instant::now() + after, after, address: address(target) };
            bound.of("the agent to be pushed", link.push(target)).await?.map_err(refused)?;
        }
        Ok(link)
    }

    /// The connection to a host, followed by those that it runs through. Hosts do not share the connection to their
    /// jump host: one that is read slowly would hold up the others, and a transfer between two of them would lock up.
    async fn reach(&self, target: &Target, bound: &Bound) -> Result<Vec<Connection>, ConnectError> {
        let Some(jump) = &target.jump else {
            let opening = TcpStream::connect((target.address.as_str(), target.port));
            let unreachable = |source| ConnectError::Unreachable { address: address(target), source };
            let stream = bound.of("a TCP connection", opening).await?.map_err(unreachable)?;
            return Ok(vec![self.log_in(target, Prompt::new(stream), bound).await?]);
        };
        let via = |source| ConnectError::Jump { host: jump.name.to_string(), source: Box::new(source) };
        let turn =
            Arc::clone(self.turns().entry(address(jump)).or_insert_with(|| Semaphore::new(LOGINS_AT_ONCE).into()));
        let turn = bound.of("a turn at the jump host", turn.acquire_owned()).await?;
        let mut through = Box::pin(self.reach(jump, bound)).await.map_err(via)?;
        drop(turn);
        let tunnel = through[0].handle.channel_open_direct_tcpip(&target.address, target.port.into(), "127.0.0.1", 0);
        let host = || jump.name.to_string();
        let closed = |e| ConnectError::Tunnel { address: address(target), host: host(), source: Box::new(e) };
        let stream = bound.of("the jump host's tunnel", tunnel).await?.map_err(closed)?.into_stream();
        through.insert(0, self.log_in(target, stream, bound).await?);
        Ok(through)
    }

    fn turns(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Semaphore>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn log_in<S>(&self, target: &Target, stream: S, bound: &Bound) -> Result<Connection, ConnectError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (client, seen) = Client::new(target)?;
        let config = Arc::new(handshake::config(target, client.pinned())?);
        let shaking = client::connect_stream(config, stream, client);
        let shaken = bound.of("the SSH handshake", shaking).await?;
        let mut handle = shaken.map_err(|source| seen.explain(target, source))?;
        let logging = login::log_in(&mut handle, target, &self.keys, self.ssh_agent.as_deref());
        bound.of("the login", logging).await??;
        Ok(Connection { handle, seen })
    }
}

/// `host:port`, for messages.
fn address(target: &Target) -> String {
    if target.address.contains(':') {
        format!("[{}]:{}", target.address, target.port)
    } else {
        format!("{}:{}", target.address, target.port)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum FirstLine {
    Hello,
    Push,
}

impl SshLink {
    /// What the host and this side agreed on.
    pub fn negotiated(&self) -> Negotiated {
        self.connections[0].seen.negotiated()
    }

    /// Skips what the login's rc files print, up to the first line that is ours.
    async fn first_line(&mut self, target: &Target) -> Result<FirstLine, PushError> {
        let mut noise = String::new();
        loop {
            while let Some(line) = self.inbox.line() {
                // Noise may lack its newline, so ours may begin inside a line.
                if let Some(hello) = line.find("weiche-agent hello ").and_then(|at| Hello::parse(&line[at..])) {
                    return if hello.build == BUILD {
                        Ok(FirstLine::Hello)
                    } else {
                        Err(PushError::OtherBuild { directory: target.agent.directory.clone(), build: hello.build })
                    };
                }
                if line.ends_with(PUSH_MARKER) {
                    return Ok(FirstLine::Push);
                }
                noise.push_str(&line);
                noise.push('\n');
            }
            if noise.len() + self.inbox.len() > NOISE {
                return Err(PushError::Noise(noise.chars().take(200).collect()));
            }
            self.fill().await.map_err(|error| push::explain(error, target, &noise))?;
        }
    }

    async fn push(&mut self, target: &Target) -> Result<(), PushError> {
        self.traffic.pushes = 1;
        self.write(bytes::Bytes::from_static(AGENT_GZ)).await.map_err(|error| push::explain(error, target, ""))?;
        match self.first_line(target).await? {
            FirstLine::Hello => Ok(()),
            FirstLine::Push => Err(PushError::Noise(PUSH_MARKER.into())),
        }
    }

    /// Waits for something to arrive.
    async fn fill(&mut self) -> Result<(), LinkError> {
        let message = self.reader.wait().await;
        self.take(message)
    }

    fn take(&mut self, message: Option<ChannelMsg>) -> Result<(), LinkError> {
        match message {
            Some(ChannelMsg::Data { data }) => {
                self.traffic.received_bytes += data.len() as u64;
                self.inbox.push(&data)?;
            }
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                self.stderr.extend_from_slice(&data);
                let surplus = self.stderr.len().saturating_sub(STDERR_TAIL);
                self.stderr.drain(..surplus);
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => self.how = Some(format!("status {exit_status}")),
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => self.how = Some(format!("signal {signal_name:?}")),
            Some(ChannelMsg::Failure) => return Err(LinkError::Closed("the host refuses to start programs".into())),
            Some(ChannelMsg::Close) | None => return Err(self.ended()),
            Some(_) => {}
        }
        Ok(())
    }

    fn ended(&self) -> LinkError {
        match &self.how {
            Some(how) => {
                let stderr = String::from_utf8_lossy(&self.stderr).trim().to_owned();
                LinkError::Ended { how: how.clone(), stderr }
            }
            None => LinkError::Closed(self.connections[0].seen.cause()),
        }
    }

    /// Sends, and takes in what arrives meanwhile.
    async fn write(&mut self, bytes: bytes::Bytes) -> Result<(), LinkError> {
        let count = bytes.len() as u64;
        let mut arrived = Vec::new();
        let sent = {
            let mut sending = pin!(self.writer.data_bytes(bytes));
            loop {
                tokio::select! {
                    sent = &mut sending => break sent.is_ok(),
                    message = self.reader.wait() => {
                        let last = matches!(message, None | Some(ChannelMsg::Close));
                        arrived.push(message);
                        if last || arrived.len() > MOST_UNREAD {
                            break false;
                        }
                    }
                }
            }
        };
        for message in arrived {
            self.take(message)?;
        }
        if !sent {
            return Err(self.ended());
        }
        self.traffic.sent_bytes += count;
        Ok(())
    }
}

/// Packets that may arrive while one frame is sent. An agent that was asked nothing says nothing.
const MOST_UNREAD: usize = 1 << 12;

impl Link for SshLink {
    fn send<'a>(&'a mut self, request: &'a Request) -> LinkFuture<'a, ()> {
        Box::pin(async move { self.write(encode(request)?.into()).await })
    }

    fn send_data<'a>(&'a mut self, data: &'a [u8]) -> LinkFuture<'a, ()> {
        Box::pin(async move { self.write(encode_data(data)?.into()).await })
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

impl std::fmt::Debug for SshLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshLink").field("traffic", &self.traffic).finish_non_exhaustive()
    }
}
