//! Files from one host to another through this process, chunk by chunk: what the receiver does not take is not read
//! from the sender, so memory stays bounded however large the files are.

use std::time::Duration;

use tokio::time::timeout_at;
use weiche_agent::protocol::{Digest, HostPath, Request, RunId};

use super::{Fetched, Result, Session, SessionError};

impl Session {
    /// Copies files into the contents of a run on another host; returns digest and size of each, in the order asked.
    ///
    /// # Errors
    /// See [`Session::facts`], of either host.
    pub async fn copy_to(
        &mut self,
        to: &mut Session,
        run: &RunId,
        paths: Vec<HostPath>,
        within: Duration,
    ) -> Result<Vec<(Digest, u64)>> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let until = to.begin(within)?;
        let mut copied = Vec::new();
        let mut fetch = self.fetch(paths, within).await?;
        let work = async {
            let mut open = false;
            while let Some(part) = fetch.next().await? {
                if !open {
                    let begin = Request::BlobStream { run: run.clone() };
                    to.link.send(&begin).await.map_err(SessionError::Link)?;
                    open = true;
                }
                match part {
                    Fetched::Data(data) => to.link.send_data(&data).await.map_err(SessionError::Link)?,
                    Fetched::File { digest, size } => {
                        let end = Request::BlobEnd { digest: digest.clone() };
                        to.link.send(&end).await.map_err(SessionError::Link)?;
                        copied.push((digest, size));
                        open = false;
                    }
                }
            }
            Ok(())
        };
        let done = timeout_at(until, work).await;
        to.settle(done.unwrap_or(Err(SessionError::Deadline(within))))?;
        Ok(copied)
    }
}
