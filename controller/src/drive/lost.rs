//! A line that is cut. The agent goes on with what it owns, and may still be at it when we are back; so the host is looked
//! for and asked the same once more. Only what may be asked twice is asked like that.

use std::time::{Duration, Instant};

use weiche_agent::protocol::FaultCode;

use super::link::LinkError;
use super::pool::HostError;
use super::session::SessionError;
use super::shared::as_fault;
use crate::input::target::HostName;

/// Between two tries to find it: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The search for a host, over all tries of one question.
pub(super) struct Search {
    longest: Duration,
    since: Option<Instant>,
    pause: Duration,
}

impl Search {
    /// One that ends this long after the line was first found cut.
    pub(super) fn upto(longest: Duration) -> Search {
        Search { longest, since: None, pause: PAUSE.0 }
    }

    /// One that ends this long after now, whenever the line is found cut.
    pub(super) fn from_now(longest: Duration) -> Search {
        Search { since: Some(Instant::now()), ..Search::upto(longest) }
    }

    /// Asks until there is an answer, or asking again is of no use.
    ///
    /// # Errors
    /// That of the last time.
    pub(super) async fn ask<T, F>(&mut self, host: &HostName, question: impl Fn() -> F) -> Result<T, HostError>
    where
        F: Future<Output = Result<T, HostError>>,
    {
        loop {
            match question().await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.again(host, error).await?,
            }
        }
    }

    /// Waits before the question is asked again.
    ///
    /// # Errors
    /// The error itself, if asking again is of no use: the host has answered, or was looked for long enough.
    pub(super) async fn again(&mut self, host: &HostName, error: HostError) -> Result<(), HostError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if !may_pass(&error) || since.elapsed() >= self.longest {
            return Err(error);
        }
        tracing::warn!(%host, "the line is cut; looking for the host again: {}", as_fault(error));
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
        Ok(())
    }
}

/// Its agent may still be at work, or it may be on its way up again.
fn may_pass(error: &HostError) -> bool {
    match error {
        HostError::Session(SessionError::Link(LinkError::Closed(_)) | SessionError::Deadline(_)) => true,
        HostError::Session(SessionError::Fault(fault)) => fault.code == FaultCode::Busy,
        HostError::Connect(error) => error.is_away(),
        HostError::Session(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use weiche_agent::protocol::Fault;

    use super::*;
    use crate::plan::rules::LOST;

    fn fault(code: FaultCode) -> HostError {
        SessionError::Fault(Fault::new(code, "no")).into()
    }

    #[tokio::test]
    async fn what_a_host_has_answered_is_not_asked_again() {
        let host = HostName::new("rathaus", "a");
        let cut = || HostError::from(SessionError::Link(LinkError::Closed("silence".into())));
        let mut search = Search::upto(LOST);
        for error in [cut(), fault(FaultCode::Busy), SessionError::Deadline(LOST).into()] {
            search.again(&host, error).await.unwrap();
        }
        for error in [fault(FaultCode::TakenBack), SessionError::Over.into()] {
            search.again(&host, error).await.unwrap_err();
        }
        Search::upto(Duration::ZERO).again(&host, cut()).await.unwrap_err();
        Search::from_now(Duration::ZERO).again(&host, cut()).await.unwrap_err();
        Search::from_now(LOST).again(&host, cut()).await.unwrap();
    }
}
