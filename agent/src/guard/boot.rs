//! What a host does when it comes up and somebody's change was never confirmed.

use super::{fire, left_ms, service};
use crate::engine;
use crate::facts;
use crate::fault::{Fault, FaultCode};
use crate::host::Host;
use crate::journal::{self, Journal, Record};
use crate::protocol::{RunId, StepId};

/// When in the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The file systems are there, the network is not: files go back.
    Early,
    /// Everything else runs: the rest goes back.
    Late,
}

/// Takes back what is due on this host: all that was armed under another boot and never confirmed, newest run first.
///
/// # Errors
/// The first that went wrong, after all runs were tried. What the early phase leaves is no error.
pub fn boot(phase: Phase, host: &mut dyn Host) -> Result<(), Fault> {
    let waiting = journal::runs(host)?.into_iter().rev();
    // One that cannot be read is told, below.
    let waiting: Vec<RunId> = waiting.filter(|run| due(run, host).map_or(true, |due| !due.is_empty())).collect();
    if waiting.is_empty() {
        // Whatever holds the lock has nothing to do with a guard.
        host.lock()?;
    } else {
        host.lock_by_force()?;
    }
    let mut wrong = Ok(());
    for run in waiting {
        match take_back(&run, phase, host) {
            Err(fault) if fault.code == FaultCode::Crashed => return Err(fault),
            Err(fault) => {
                wrong = wrong.and(Err(fault.within(format!("take back what was not confirmed of run {run}"))))
            }
            Ok(()) => {}
        }
    }
    let settled = service::settle(host);
    host.unlock();
    wrong.and(settled)
}

/// The stages of a run that the host has to take back as it comes up.
fn due(run: &RunId, host: &mut dyn Host) -> Result<Vec<String>, Fault> {
    let journal = Journal::open(run, host)?;
    // A host that does not tell its boots apart has come up all the same: else nobody would have called this.
    let untold = facts::boot_id(host).is_empty();
    Ok(journal.armed().into_iter().filter(|stage| untold || left_ms(stage, &journal, host) == 0).collect())
}

fn take_back(run: &RunId, phase: Phase, host: &mut dyn Host) -> Result<(), Fault> {
    // Asked again, under the lock.
    for stage in due(run, host)? {
        let mut journal = Journal::open(run, host)?;
        match phase {
            Phase::Late => drop(fire(&stage, &mut journal, host, &mut |_| {})?),
            Phase::Early => {
                if engine::undo_while_booting(&stage, &mut journal, host, &mut |_| {})?.is_empty() {
                    let stuck: Vec<StepId> = Vec::new();
                    journal.append_at_all_costs(&[Record::Fired { stage, stuck }], host)?;
                }
            }
        }
    }
    Ok(())
}
