//! The guard of a stage, seen from here: arm, confirm.

use std::time::Duration;

use weiche_agent::protocol::{Digest, GuardState, Reply, Request, RunId};

use super::{Result, Session};

impl Session {
    /// Arms a stage's guard on the host, or moves its deadline.
    ///
    /// # Errors
    /// See [`Session::facts`]; the host refuses where it could not take the stage back by itself.
    pub async fn arm(
        &mut self,
        run: &RunId,
        stage: &str,
        nonce: &str,
        deadline: Duration,
        within: Duration,
    ) -> Result<GuardState> {
        let within_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let (run, stage, nonce) = (run.clone(), stage.to_owned(), Digest::of(nonce.as_bytes()));
        let request = Request::Arm { run, stage, nonce, within_ms, expect: self.expect.clone() };
        self.guard(&request, within).await
    }

    /// Says that the stage may stay.
    ///
    /// # Errors
    /// See [`Session::facts`]; among them that the host has taken the stage back already.
    pub async fn confirm(&mut self, run: &RunId, stage: &str, nonce: &str, within: Duration) -> Result<GuardState> {
        let (run, stage, nonce) = (run.clone(), stage.to_owned(), nonce.to_owned());
        self.guard(&Request::Confirm { run, stage, nonce, expect: self.expect.clone() }, within).await
    }

    async fn guard(&mut self, request: &Request, within: Duration) -> Result<GuardState> {
        match self.ask(request, within).await? {
            Reply::Guard(status) => Ok(status.state),
            other => Err(self.unexpected(&other)),
        }
    }
}
