//! The guard of a stage (commit-confirm): a dead man's switch on the host itself.
//!
//! Armed before the first change. If nobody shows the nonce before the deadline, the host takes the stage back, whether
//! or not a controller, a line or the boot it was armed under is still there. All that is true of a guard stands in the
//! run's journal; nothing else confirms: no deleted file, no other run, no damaged record. Three may fire it, each under
//! the lock and after reading the journal again: the watch ([`watch`]), the next boot ([`boot`]), and any request that finds
//! it due.

mod boot;
mod service;
mod watch;

use crate::digest::Digest;
use crate::engine::{self, Report};
use crate::facts;
use crate::fault::{Fault, FaultCode};
use crate::host::Host;
use crate::journal::{self, Guard, Journal, Record, Standing};
use crate::protocol::{GuardState, GuardStatus, MAX_GUARD_MS, RunId, Step, StepId};
use crate::resource::kind;

pub use boot::{Phase, boot};
pub use watch::watch;

/// Arms the guard of a stage, or moves its deadline. When this returns the host can no longer keep the stage by accident.
///
/// # Errors
/// `TakenBack` if it has fired, `Conflict` if it is confirmed, has another nonce, or another run's guard waits on this host,
/// `Irreversible` if a step of the stage has no way back, `Unsupported` if the watch did not start or nothing could act
/// after a reboot. Nothing was changed then, and nothing is armed that was not.
pub fn arm(
    stage: &str,
    nonce: Digest,
    within_ms: u64,
    journal: &mut Journal,
    host: &mut dyn Host,
    report: Report<'_>,
) -> Result<GuardStatus, Fault> {
    named(stage)?;
    if within_ms == 0 || within_ms > MAX_GUARD_MS {
        let message = format!("a guard waits between 1 and {MAX_GUARD_MS} ms for its confirmation, not {within_ms}");
        return Err(Fault::new(FaultCode::Invalid, message));
    }
    overdue(journal, host, report)?;
    match journal.guards.get(stage) {
        None => no_other(journal.run(), host)?,
        Some(guard) => {
            standing(stage, guard)?;
            if guard.standing == Standing::Confirmed {
                let message = format!("stage `{stage}` is confirmed already");
                return Err(Fault::new(FaultCode::Conflict, message));
            }
            if guard.nonce != nonce {
                let message = format!("the guard of stage `{stage}` was armed with another nonce");
                return Err(Fault::new(FaultCode::Conflict, message)
                    .hint("only who knows that nonce can confirm; else the host takes the stage back by itself"));
            }
        }
    }
    let of_stage = journal.steps.iter().map(|s| &s.step).filter(|step| step.id.stage() == Some(stage));
    reversible(of_stage)?;
    service::install(host)?;
    host.start_watch(journal.run(), stage)?;
    journal.append(&[due_in(within_ms, stage, nonce, host)], host)?;
    Ok(status(stage, journal, host))
}

/// Armed, from now on.
fn due_in(within_ms: u64, stage: &str, nonce: Digest, host: &mut dyn Host) -> Record {
    let clock = host.clock();
    Record::Armed {
        stage: stage.to_owned(),
        nonce,
        boot_id: facts::boot_id(host),
        deadline_boottime_ms: clock.boottime_ms.saturating_add(within_ms),
        wall_deadline_ms: clock.wall_ms.saturating_add(within_ms),
    }
}

/// Disarms the guard for good, if this is its nonce; a second time it says so again.
///
/// # Errors
/// `NotFound` if it was never armed, `TakenBack` if the nonce came too late, `Invalid` if it is a wrong one: then the guard
/// waits on.
pub fn confirm(
    stage: &str,
    nonce: &str,
    journal: &mut Journal,
    host: &mut dyn Host,
    report: Report<'_>,
) -> Result<GuardStatus, Fault> {
    overdue(journal, host, report)?;
    let guard = known(stage, nonce, journal)?;
    standing(stage, guard)?;
    if guard.armed() {
        journal.append(&[Record::Confirmed { stage: stage.to_owned() }], host)?;
    }
    service::settle(host)?;
    Ok(status(stage, journal, host))
}

/// Takes the stage back now; returns the steps that remain.
///
/// # Errors
/// As for [`confirm`]; `Conflict` if it is confirmed.
pub fn cancel(
    stage: &str,
    nonce: &str,
    journal: &mut Journal,
    host: &mut dyn Host,
    report: Report<'_>,
) -> Result<Vec<StepId>, Fault> {
    let guard = known(stage, nonce, journal)?;
    if guard.standing == Standing::Confirmed {
        let message = format!("stage `{stage}` is confirmed: its guard is gone");
        return Err(Fault::new(FaultCode::Conflict, message).hint("take it back with `weiche rollback`"));
    }
    fire(stage, journal, host, report)
}

/// How the guard of a stage stands. Takes no lock.
pub fn status(stage: &str, journal: &Journal, host: &mut dyn Host) -> GuardStatus {
    let state = match journal.guards.get(stage) {
        Some(guard) => guard.state(&facts::boot_id(host), host.clock()),
        None => GuardState::None,
    };
    GuardStatus { state }
}

/// Sees to it, ahead of a stage, that its guard can do its work; there need not be one.
///
/// # Errors
/// `TakenBack` if the stage of one of the steps was taken back, `Irreversible` if a guarded step has no way back, `Conflict`
/// if another run waits for its confirmation, and those of starting a watch. Nothing was changed then.
pub fn before(steps: &[Step], journal: &mut Journal, host: &mut dyn Host, report: Report<'_>) -> Result<(), Fault> {
    overdue(journal, host, report)?;
    let mut stages: Vec<&str> = steps.iter().filter_map(|step| step.id.stage()).collect();
    stages.dedup();
    for stage in stages {
        let Some(guard) = journal.guards.get(stage) else { continue };
        standing(stage, guard)?;
        if guard.armed() {
            reversible(steps.iter().filter(|step| step.id.stage() == Some(stage)))?;
            // Something may have killed it since.
            host.start_watch(journal.run(), stage)?;
        }
    }
    if journal.steps.is_empty() { no_other(journal.run(), host) } else { Ok(()) }
}

/// The stage is through on this host: from now on no more than this much time is left to confirm it. What is not armed stays
/// so.
///
/// # Errors
/// Those of the host.
pub fn through(stage: &str, confirm_ms: u64, journal: &mut Journal, host: &mut dyn Host) -> Result<(), Fault> {
    let Some(guard) = journal.guards.get(stage).filter(|guard| guard.armed()) else { return Ok(()) };
    let nonce = guard.nonce.clone();
    if left_ms(stage, journal, host) <= confirm_ms {
        return Ok(());
    }
    journal.append(&[due_in(confirm_ms, stage, nonce, host)], host)
}

/// Tells the guards that their stages were taken back by an undo of one stage, or of all.
///
/// # Errors
/// Those of the host.
pub fn after_undo(
    stage: Option<&str>,
    stuck: &[StepId],
    journal: &mut Journal,
    host: &mut dyn Host,
) -> Result<(), Fault> {
    let stages: Vec<String> = journal.guards.keys().filter(|s| stage.is_none_or(|of| of == *s)).cloned().collect();
    for stage in stages {
        let left: Vec<StepId> = stuck.iter().filter(|id| id.stage() == Some(&stage)).cloned().collect();
        let due = match journal.guards.get(&stage).map(|guard| &guard.standing) {
            // What is stuck now the guard will try once more.
            Some(Standing::Armed) => left.is_empty(),
            Some(Standing::Fired(before)) => *before != left,
            Some(Standing::Confirmed) | None => false,
        };
        if due {
            journal.append_at_all_costs(&[Record::Fired { stage, stuck: left }], host)?;
        }
    }
    service::settle(host)
}

/// Takes a stage back: what others have changed since is kept, and does not stop it.
fn fire(stage: &str, journal: &mut Journal, host: &mut dyn Host, report: Report<'_>) -> Result<Vec<StepId>, Fault> {
    let stuck = engine::undo(Some(stage), true, journal, host, report)?;
    let known = journal.guards.get(stage).map(|guard| &guard.standing);
    if known != Some(&Standing::Fired(stuck.clone())) {
        journal.append_at_all_costs(&[Record::Fired { stage: stage.to_owned(), stuck: stuck.clone() }], host)?;
    }
    if stuck.is_empty() {
        host.state_remove(&format!("{}/in", journal.run_dir()))?;
    }
    service::settle(host)?;
    Ok(stuck)
}

/// Fires every guard of a run that is due.
fn overdue(journal: &mut Journal, host: &mut dyn Host, report: Report<'_>) -> Result<(), Fault> {
    for stage in journal.armed() {
        if left_ms(&stage, journal, host) == 0 {
            fire(&stage, journal, host, report)?;
        }
    }
    Ok(())
}

/// Milliseconds until an armed guard fires.
fn left_ms(stage: &str, journal: &Journal, host: &mut dyn Host) -> u64 {
    match status(stage, journal, host).state {
        GuardState::Armed { left_ms } => left_ms,
        _ => 0,
    }
}

/// Refuses what comes after a firing.
fn standing(stage: &str, guard: &Guard) -> Result<(), Fault> {
    match &guard.standing {
        Standing::Fired(stuck) => {
            let but = if stuck.is_empty() { "" } else { ", but for steps that are stuck" };
            let message = format!("stage `{stage}` was not confirmed in time: this host has taken it back{but}");
            Err(Fault::new(FaultCode::TakenBack, message).hint("find out why it was not confirmed, and plan anew"))
        }
        Standing::Armed | Standing::Confirmed => Ok(()),
    }
}

/// The guard that this nonce is of.
fn known<'j>(stage: &str, nonce: &str, journal: &'j Journal) -> Result<&'j Guard, Fault> {
    let unknown = || Fault::new(FaultCode::NotFound, format!("stage `{stage}` of run {} has no guard", journal.run()));
    let guard = journal.guards.get(stage).ok_or_else(unknown)?;
    if guard.nonce == Digest::of(nonce.as_bytes()) {
        Ok(guard)
    } else {
        let message = format!("this is not the nonce that the guard of stage `{stage}` was armed with");
        Err(Fault::new(FaultCode::Invalid, message))
    }
}

/// Refuses if another run waits for its confirmation: taking that one back would take with it what comes on top.
fn no_other(run: &RunId, host: &mut dyn Host) -> Result<(), Fault> {
    for other in journal::runs(host)? {
        if other == *run {
            continue;
        }
        // What cannot be read is a person's business, and nothing that this run would make worse.
        let Ok(journal) = Journal::open(&other, host) else { continue };
        if let Some(stage) = journal.armed().first() {
            let message = format!("stage `{stage}` of run {other} is not confirmed yet on this host");
            let hint = "confirm or cancel it first, or wait until the host has taken it back";
            return Err(Fault::new(FaultCode::Conflict, message).hint(hint));
        }
    }
    Ok(())
}

/// Refuses steps that are known to have no way back.
fn reversible<'s>(mut steps: impl Iterator<Item = &'s Step>) -> Result<(), Fault> {
    let irreversible = |step: &&Step| kind(&step.kind).is_some_and(|kind| kind.irreversible(&step.spec));
    match steps.find(irreversible) {
        Some(step) => {
            let message = format!("step {} has no way back, so no guard could take its stage back", step.id);
            Err(Fault::new(FaultCode::Irreversible, message).hint("move it into a stage without a guard"))
        }
        None => Ok(()),
    }
}

/// A stage's name becomes part of a file's and of a service's.
fn named(stage: &str) -> Result<(), Fault> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if (1..=64).contains(&stage.len()) && stage.bytes().all(ok) && !stage.starts_with('-') {
        Ok(())
    } else {
        let message = format!("{stage:?} is no name of a stage (letters, digits, `-` and `_`, at most 64)");
        Err(Fault::new(FaultCode::Invalid, message))
    }
}
