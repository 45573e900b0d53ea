//! Where a service is looked at from: the controller, or a host in the users' network.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use weiche_agent::protocol::Fault;

use crate::drive::probe;
use crate::drive::probe::through::{self, Missed};
use crate::drive::vantage::{Line, Patience, Sight, late};
use crate::input::target::HostName;
use crate::plan::procedure::Probe;
use crate::rollout::meter::{Answer, LATE_MS};

/// Where it is looked from.
pub(super) enum Eye {
    /// The controller.
    Here,
    /// A host in the users' network.
    There(There),
}

/// A host in the users' network, for one service.
pub(super) struct There {
    host: HostName,
    sight: watch::Receiver<Sight>,
    /// Questions that may still be open on its line.
    open: Arc<Semaphore>,
    patience: Patience,
}

/// What came of a look.
pub(super) enum Looked {
    /// This.
    Told(Answer),
    /// Nothing: the host does not let us.
    Refused(Fault),
    /// Nothing: the line to the host is cut or silent.
    Blind(Fault),
}

/// A look that has begun.
pub(super) enum Begun {
    /// It is under way.
    Under(Pin<Box<dyn Future<Output = Looked> + Send>>),
    /// It is over already.
    Over(Looked),
    /// None has: too many wait for their answers.
    Not,
}

impl Eye {
    /// From a host, with so many questions open at a time.
    pub(super) fn there(host: HostName, sight: watch::Receiver<Sight>, open: usize) -> Eye {
        Eye::There(There { host, sight, open: Arc::new(Semaphore::new(open)), patience: Patience::default() })
    }

    /// The host that it is looked from; `None`: the controller.
    pub(super) fn vantage(&self) -> Option<&HostName> {
        match self {
            Eye::Here => None,
            Eye::There(there) => Some(&there.host),
        }
    }

    /// Waits until it is known whether the host is reached, or all is stopped. Returns why nothing was measured until then,
    /// unless that was only for a moment.
    pub(super) async fn opens(&mut self, stopped: &mut watch::Receiver<bool>) -> Option<Fault> {
        let Eye::There(there) = self else { return None };
        let begin = Instant::now();
        let sight = tokio::select! {
            sight = there.sight.wait_for(|sight| !matches!(sight, Sight::Before)) => sight,
            _ = stopped.wait_for(|stopped| *stopped) => return Some(late(&there.host)),
        };
        match sight.as_deref() {
            Ok(Sight::Up(_)) if millis(begin.elapsed()) <= LATE_MS => None,
            Ok(Sight::Down(fault)) => Some(fault.clone()),
            _ => Some(late(&there.host)),
        }
    }

    /// Begins a look.
    pub(super) fn look(&self, probe: &Probe) -> Begun {
        let probe = probe.clone();
        match self {
            Eye::Here => Begun::Under(Box::pin(async move {
                let begin = Instant::now();
                let seen = probe::once(&probe).await;
                Looked::Told(match seen {
                    Ok(()) => Answer::After(millis(begin.elapsed())),
                    Err(fault) => Answer::Wrong(fault.to_string()),
                })
            })),
            Eye::There(there) => there.look(probe),
        }
    }

    /// Learns from what came of a look.
    pub(super) fn heed(&mut self, looked: Looked) -> Answer {
        match (looked, self) {
            (Looked::Told(answer), Eye::Here) => answer,
            (Looked::Told(answer), Eye::There(there)) => {
                there.patience.let_through();
                answer
            }
            (Looked::Refused(fault), Eye::There(there)) => {
                there.patience.refused(fault.clone(), Instant::now());
                Answer::Untold(fault)
            }
            (Looked::Refused(fault), Eye::Here) | (Looked::Blind(fault), _) => Answer::Untold(fault),
        }
    }
}

impl There {
    fn look(&self, probe: Probe) -> Begun {
        let line = match &*self.sight.borrow() {
            Sight::Before => return Begun::Not,
            Sight::Down(fault) => return Begun::Over(Looked::Blind(fault.clone())),
            Sight::Up(line) if line.is_silent() => return Begun::Over(Looked::Blind(line.fault(&self.host))),
            Sight::Up(line) => Arc::clone(line),
        };
        if let Some(fault) = self.patience.holds(Instant::now()) {
            return Begun::Over(Looked::Blind(fault.clone()));
        }
        let Ok(open) = Arc::clone(&self.open).try_acquire_owned() else { return Begun::Not };
        let host = self.host.clone();
        Begun::Under(Box::pin(async move { look(&probe, &host, &line, open).await }))
    }
}

/// Looks once through a line. What is wrong counts only if the line vouches for it.
async fn look(probe: &Probe, host: &HostName, line: &Line, open: OwnedSemaphorePermit) -> Looked {
    let begin = Instant::now();
    let seen = tokio::select! {
        seen = through::once(probe, host, &line.tunnel, open) => seen,
        () = line.silent() => return Looked::Blind(line.fault(host)),
    };
    let end = Instant::now();
    let after = millis(end.duration_since(begin));
    let answer = match seen {
        Ok(()) if after <= LATE_MS => return Looked::Told(Answer::After(after)),
        Ok(()) => Answer::After(after),
        Err(Missed::Wrong(fault)) => Answer::Wrong(fault.to_string()),
        Err(Missed::Refused(fault)) => return Looked::Refused(fault),
        Err(Missed::Cut) => return Looked::Blind(line.cut(host)),
    };
    match line.vouches(begin, end).await {
        true => Looked::Told(answer),
        false => Looked::Blind(line.fault(host)),
    }
}

/// As the run log has it.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
