//! A connection to a host through which others are reached, as its users reach them. No program is started there.

use std::sync::Arc;

use russh::client::Msg;
use russh::{ChannelOpenFailure, ChannelStream};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::{Bound, ConnectError, Connection, Connector, address};
use crate::input::target::Target;

/// A TCP connection that the other end of a tunnel has made.
pub type Stream = ChannelStream<Msg>;

/// A connection to a host, for streams to others. Dropping it cuts the line, and all streams with it.
pub struct Tunnel {
    /// The host's own connection first, then the jump hosts'.
    connections: Arc<Vec<Connection>>,
    /// Falls with the tunnel.
    gone: watch::Sender<()>,
}

/// Why there is no stream.
#[derive(Debug, PartialEq, Eq)]
pub enum NoStream {
    /// The host has tried, and did not get one: no such name, no way there, or nobody answers.
    Failed,
    /// Its sshd does not let us through, or cannot right now: nothing was tried.
    Refused(String),
    /// The line to the host itself is cut.
    Cut,
}

impl Connector {
    /// Connects, checks the host key and logs in; no program is started.
    ///
    /// # Errors
    /// See [`ConnectError`]; each has a hint for the operator.
    pub async fn tunnel(&self, target: &Target) -> Result<Tunnel, ConnectError> {
        let after = target.connect_timeout;
        let bound = Bound { until: Instant::now() + after, after, address: address(target) };
        let connections = Arc::new(self.reach(target, &bound).await?);
        Ok(Tunnel { connections, gone: watch::Sender::new(()) })
    }
}

impl Tunnel {
    /// A stream from the host to somebody else. A name is looked up there.
    ///
    /// What was asked for cannot be called back (RFC 4254, 5.1): who waits no longer leaves it behind. `kept` is dropped
    /// once the host has answered, so that it can be known how many questions are open.
    ///
    /// # Errors
    /// See [`NoStream`].
    pub async fn connect(&self, host: &str, port: u16, kept: impl Send + 'static) -> Result<Stream, NoStream> {
        let (connections, host) = (Arc::clone(&self.connections), host.to_owned());
        let (answer, answered) = oneshot::channel();
        let mut gone = self.gone.subscribe();
        tokio::spawn(async move {
            let handle = &connections[0].handle;
            let opened = tokio::select! {
                opened = handle.channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0) => opened,
                _ = gone.changed() => return,
            };
            drop(kept);
            // What nobody waits for any more is closed by being dropped.
            let _ = answer.send(opened.map(russh::Channel::into_stream));
        });
        match answered.await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed))) => Err(NoStream::Failed),
            Ok(Err(russh::Error::ChannelOpenFailure(why))) => Err(NoStream::Refused(why.description().to_lowercase())),
            Ok(Err(_)) | Err(_) => Err(NoStream::Cut),
        }
    }

    /// Asks the host's sshd whether it is there (`keepalive@openssh.com`), and waits for the answer for as long as the
    /// line is not given up. Returns whether there was one.
    pub async fn ask(&self) -> bool {
        let handle = &self.connections[0].handle;
        // A line that is cut lets the question end as if it had been answered; it is closed before that.
        handle.send_ping().await.is_ok() && !handle.is_closed()
    }

    /// Why the line was cut.
    pub fn cause(&self) -> String {
        self.connections[0].seen.cause()
    }
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tunnel")
    }
}
