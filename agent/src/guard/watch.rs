//! The process that waits for a guard's deadline. It looks without the lock; only to act does it take it, by force where
//! an agent hangs.

use std::time::Duration;

use super::{fire, left_ms};
use crate::fault::{Fault, FaultCode};
use crate::host::Host;
use crate::journal::Journal;
use crate::protocol::{GuardState, RunId};

/// Longest sleep: so soon a confirmation ends the watch, and a new boot id or deadline is seen.
const STEP: Duration = Duration::from_secs(1);

/// How long it waits to be armed: the controller's agent starts it first and writes the journal then.
const UNARMED: Duration = Duration::from_secs(60);

/// So often it tries to take back what it cannot, in steps: a disk may get room again, another agent may end.
const TRIES: u32 = 300;

/// Watches over the guard of a stage until it is confirmed, or has fired.
///
/// # Errors
/// `NotFound` if it is not armed, those of taking it back if that failed to the end: then the next boot tries again, and
/// so does every request for this run.
pub fn watch(run: &RunId, stage: &str, host: &mut dyn Host) -> Result<(), Fault> {
    if !host.be_watch(run, stage)? {
        return Ok(());
    }
    let (mut waited, mut tried) = (Duration::ZERO, 0);
    let mut seen = false;
    loop {
        let journal = match Journal::open(run, host) {
            Err(fault) if fault.code == FaultCode::Crashed => return Err(fault),
            journal => journal,
        };
        // A journal that cannot be read says nothing, least of all that all is well.
        let state = journal.map(|journal| super::status(stage, &journal, host).state);
        let pause = match state {
            Ok(GuardState::Confirmed | GuardState::Fired { .. }) => return Ok(()),
            Ok(GuardState::None) if seen || waited >= UNARMED => {
                let message = format!("the guard of stage `{stage}` of run {run} is not in the journal");
                return Err(Fault::new(FaultCode::NotFound, message));
            }
            Ok(GuardState::None) => {
                waited += STEP;
                STEP
            }
            Ok(GuardState::Armed { left_ms: 0 }) => {
                seen = true;
                match due(run, stage, host) {
                    Err(fault) if fault.code == FaultCode::Crashed || tried >= TRIES => return Err(fault),
                    Err(_) => tried += 1,
                    Ok(()) => continue,
                }
                STEP
            }
            Ok(GuardState::Armed { left_ms }) => {
                seen = true;
                STEP.min(Duration::from_millis(left_ms))
            }
            Err(fault) if tried >= TRIES => return Err(fault),
            Err(_) => {
                tried += 1;
                STEP
            }
        };
        host.pause(pause);
    }
}

/// Takes the stage back, unless it turns out under the lock that it was confirmed, or given more time.
fn due(run: &RunId, stage: &str, host: &mut dyn Host) -> Result<(), Fault> {
    host.lock_by_force()?;
    let fired = Journal::open(run, host).and_then(|mut journal| {
        if journal.guarded(stage) && left_ms(stage, &journal, host) == 0 {
            fire(stage, &mut journal, host, &mut |_| {}).map(drop)
        } else {
            Ok(())
        }
    });
    host.unlock();
    fired
}
