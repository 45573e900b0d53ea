//! Restarts a host and waits for its next boot.
//!
//! The boot id of before is in the run log ahead of the restart. So a run that was cut off meanwhile sees on resuming
//! whether the host has been restarted, and never does it twice.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use weiche_agent::protocol::{Fault, FaultCode, StepOutcome};

use super::observe::unknown;
use super::pool::{Held, HostError};
use super::session::SessionError;
use super::shared::{Events, Shared, as_fault};
use crate::input::scalar::Period;
use crate::input::target::HostName;
use crate::plan::procedure::Reboot;
use crate::rollout::Happening;

/// How long one question to the agent may take.
const ANSWER: Duration = Duration::from_secs(60);

/// Pauses between attempts to reach the host again: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Restarts the host, unless the run log says that this was done, and waits until it answers from a new boot.
///
/// # Errors
/// If the host cannot be asked to, or does not come back in time.
pub(super) async fn run(
    shared: &Shared,
    host: &HostName,
    reboot: &Reboot,
    events: &Events,
) -> Result<StepOutcome, Fault> {
    let end = Instant::now() + reboot.within;
    let begun = begun(shared, host, reboot).await?;
    let (resumed, before) = match begun {
        Some(before) => (true, before),
        None => {
            let (mut held, _permit) = shared.pool.hold(host).await.ok_or_else(|| as_fault(unknown().into()))?;
            let before = boot_id(&mut held).await.map_err(as_fault)?;
            if before.is_empty() {
                let fault =
                    Fault::new(FaultCode::Unsupported, "the host tells no boot id: a restart could not be seen");
                return Err(fault);
            }
            let happening =
                Happening::Rebooting { host: host.clone(), step: reboot.id.clone(), boot_id: before.clone() };
            events.record(happening).await?;
            (false, before)
        }
    };
    let (mut asked, mut pause) = (Asked::Never, PAUSE.0);
    loop {
        let attempt = attempt(shared, host, &before, &mut asked);
        let fault = match timeout_at(end, attempt).await {
            Ok(Ok(true)) if resumed && asked == Asked::Never => return Ok(StepOutcome::AlreadyDone),
            Ok(Ok(true)) => return Ok(StepOutcome::Changed),
            Ok(Ok(false)) => Fault::new(FaultCode::Timeout, "it still runs as before"),
            // A no before anything happened; while a host goes down it may well say no.
            Ok(Err(HostError::Session(SessionError::Fault(fault)))) if !resumed && asked == Asked::Refused => {
                return Err(fault);
            }
            Ok(Err(error)) => as_fault(error),
            Err(_) => Fault::new(FaultCode::Timeout, "it does not answer"),
        };
        if Instant::now() + pause >= end {
            let fault = fault.within(format!("the host did not come back within {}", Period(reboot.within)));
            return Err(fault.hint("look at its console"));
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// The boot id that the run log has for this step: then the restart was asked for, or was about to be.
async fn begun(shared: &Shared, host: &HostName, reboot: &Reboot) -> Result<Option<String>, Fault> {
    let events = shared.store.events(&shared.run).await;
    let events = events.map_err(|e| Fault::new(FaultCode::Io, e.to_string()).within("read the run log"))?;
    Ok(events.into_iter().rev().find_map(|event| match event.what {
        Happening::Rebooting { host: h, step, boot_id } if h == *host && step == reboot.id => Some(boot_id),
        _ => None,
    }))
}

/// Asks over a fresh connection whether the host has a new boot id; asks it to restart if that was not done yet.
async fn attempt(shared: &Shared, host: &HostName, before: &str, asked: &mut Asked) -> Result<bool, HostError> {
    let (mut held, _permit) = shared.pool.hold(host).await.ok_or_else(unknown)?;
    if *asked != Asked::Never {
        held.close();
    }
    let now = boot_id(&mut held).await?;
    if !now.is_empty() && now != before {
        return Ok(true);
    }
    if *asked != Asked::Agreed {
        // Asking twice is no second restart: the agent compares the boot id, and a host goes down once.
        let first = *asked == Asked::Never;
        *asked = Asked::Perhaps;
        match held.session().await?.reboot(before, ANSWER).await {
            Ok(()) => *asked = Asked::Agreed,
            Err(SessionError::Fault(fault)) if first => {
                *asked = Asked::Refused;
                return Err(SessionError::Fault(fault).into());
            }
            Err(error) => return Err(error.into()),
        }
        held.close();
    }
    Ok(false)
}

/// How far the request to restart came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Never,
    /// The line was cut in the middle.
    Perhaps,
    /// The host said no at once.
    Refused,
    Agreed,
}

async fn boot_id(held: &mut Held) -> Result<String, HostError> {
    Ok(held.session().await?.facts(ANSWER).await?.boot_id)
}
