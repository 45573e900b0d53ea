//! Taking back: last step first, "maybe applied" is its normal input. A step whose undo fails leaves the host stuck,
//! and what lies before it untouched, because that may be what it stands on.

use std::time::{Duration, Instant};

use super::{Report, context, kind_of, took};
use crate::fault::{Fault, FaultCode};
use crate::host::Host;
use crate::journal::{Journal, Journalled, Record};
use crate::protocol::{Status, StepEvent, StepId, StepOutcome};

/// Takes back every step of a stage (or of the whole run) that may have changed something. Returns the steps that
/// remain: the one whose undo failed and those before it.
///
/// # Errors
/// If the machinery broke; what was undone before is journalled.
pub fn undo(
    stage: Option<&str>,
    journal: &mut Journal,
    host: &mut dyn Host,
    report: Report<'_>,
) -> Result<Vec<StepId>, Fault> {
    let of_stage = |id: &StepId| stage.is_none_or(|s| id.0.rsplit_once('.').is_some_and(|(stage, _)| stage == s));
    let open = |s: &&Journalled| s.status != Status::Undone && of_stage(&s.step.id);
    let ids: Vec<StepId> = journal.steps.iter().rev().filter(open).map(|s| s.step.id.clone()).collect();
    steps(&ids, journal, host, report)
}

/// Takes back these steps, in this order.
pub(super) fn steps(
    ids: &[StepId],
    journal: &mut Journal,
    host: &mut dyn Host,
    report: Report<'_>,
) -> Result<Vec<StepId>, Fault> {
    let mut rest = ids;
    while let Some(first) = rest.first() {
        // Like going forward: a barrier alone, others together with one journal write and one sync.
        let barrier = |id: &StepId| journal.find(id).is_some_and(|s| kind_of(&s.step).is_ok_and(|k| k.barrier()));
        let size = if barrier(first) { 1 } else { rest.iter().take_while(|id| !barrier(id)).count() };
        let (group, after) = rest.split_at(size);
        let started: Vec<Record> = group.iter().map(|step| Record::UndoStarted { step: step.clone() }).collect();
        if let Err(fault) = journal.append(&started, host) {
            if fault.code != FaultCode::NoSpace {
                return Err(fault);
            }
            journal.release_reserve(host)?;
            journal.append(&started, host)?;
        }
        let (mut records, mut events, mut stuck) = (Vec::new(), Vec::new(), None);
        for (at, id) in group.iter().enumerate() {
            let begin = Instant::now();
            let what = match one(id, journal, host) {
                Ok(what) => what,
                Err(fault) if fault.code == FaultCode::Crashed => return Err(fault),
                Err(fault) => {
                    stuck = Some(at);
                    StepOutcome::UndoFailed(fault)
                }
            };
            records.push(match &what {
                StepOutcome::UndoFailed(fault) => Record::UndoFailed { step: id.clone(), fault: fault.clone() },
                _ => Record::Undone { step: id.clone() },
            });
            events.push(StepEvent { step: id.clone(), what, took_us: took(begin) });
            if stuck.is_some() {
                break;
            }
        }
        host.sync()?;
        journal.append(&records, host)?;
        events.into_iter().for_each(&mut *report);
        if let Some(at) = stuck {
            return Ok(group[at..].iter().chain(after).cloned().collect());
        }
        rest = after;
    }
    Ok(Vec::new())
}

fn one(id: &StepId, journal: &Journal, host: &mut dyn Host) -> Result<StepOutcome, Fault> {
    let known =
        journal.find(id).ok_or_else(|| Fault::new(FaultCode::Corrupt, format!("step {id} is not journalled")))?;
    let kind = kind_of(&known.step)?;
    let spec = &known.step.spec;
    let mut cx = context(&known.step, journal, host);
    if kind.blind(spec) {
        kind.put(spec, &known.wanted, &known.before, &mut cx)?;
        return Ok(StepOutcome::Undone);
    }
    let now = kind.get(spec, &mut cx)?;
    // Someone changed it after we were done: what they left is kept before it is replaced.
    let ours = known.after.as_ref().is_none_or(|after| *after == now) || kind.same(spec, &known.before, &now)?;
    if !ours {
        kind.keep(spec, &now, &known.before, &mut cx)?;
    }
    kind.put(spec, &now, &known.before, &mut cx)?;
    cx.timeout = Duration::from_secs(60);
    let after = kind.get(spec, &mut cx)?;
    if !kind.same(spec, &known.before, &after)? {
        let message = format!("after undo the host has {after}, before the run it had {}", known.before);
        return Err(Fault::new(FaultCode::NotConverged, message));
    }
    if ours {
        Ok(StepOutcome::Undone)
    } else {
        Ok(StepOutcome::UndoneDrifted { kept: format!("{}/kept", journal.run_dir()) })
    }
}
