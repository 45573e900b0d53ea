//! Files that are read on a host, part by part, as fast or slowly as they are needed here.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use weiche_agent::protocol::{Digest, Frame, Reply};

use super::{Result, Session, SessionError};

/// What a fetch yields.
#[derive(Clone, Debug, PartialEq)]
pub enum Fetched {
    /// The next bytes of the file at hand.
    Data(Vec<u8>),
    /// The end of a file, in the order asked.
    File {
        /// Digest of its bytes as the host sent them.
        digest: Digest,
        /// Their number.
        size: u64,
    },
}

/// Files on their way here. Dropped before its end it ends the session.
#[derive(Debug)]
pub struct Fetch<'a> {
    pub(super) session: &'a mut Session,
    pub(super) until: Instant,
    pub(super) within: Duration,
    pub(super) ended: bool,
}

impl Fetch<'_> {
    /// Waits for the next part; `None` after the last file.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn next(&mut self) -> Result<Option<Fetched>> {
        if self.ended {
            return Ok(None);
        }
        let frame = match timeout_at(self.until, self.session.link.recv()).await {
            Ok(frame) => frame.map_err(SessionError::Link)?,
            Err(_) => return Err(SessionError::Deadline(self.within)),
        };
        let reply = match frame {
            Frame::Data(data) => return Ok(Some(Fetched::Data(data))),
            Frame::Message(Reply::Fetched { digest, size }) => return Ok(Some(Fetched::File { digest, size })),
            Frame::Message(reply) => reply,
        };
        self.ended = true;
        self.session.round_trips += 1;
        match reply {
            Reply::End => self.session.settle(Ok(None)),
            Reply::Fault(fault) => self.session.settle(Err(SessionError::Fault(fault))),
            other => Err(self.session.unexpected(&other)),
        }
    }
}
