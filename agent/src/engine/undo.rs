//! Taking back: last step first, "maybe applied" is its normal input. A step whose undo fails leaves the host stuck,
//! and what lies before it untouched, because that may be what it stands on.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Report, context, drift, kind_of, note, paths, took};
use crate::fault::{Fault, FaultCode};
use crate::host::Host;
use crate::journal::{Journal, Journalled, Record};
use crate::protocol::{Status, Step, StepEvent, StepId, StepOutcome};

/// Longest time for a program while the host comes up: much that it could ask does not run yet.
const BOOTING: Duration = Duration::from_secs(10);

/// Takes back every step of a stage (or of the whole run) that may have changed something. Returns the steps that
/// remain: the one whose undo failed and those before it.
///
/// If others have changed since what a step had made, nothing is taken back, unless `over_drift` says that it shall be:
/// then what they left is kept first.
///
/// # Errors
/// If the machinery broke; what was undone before is journalled.
pub fn undo(
    stage: Option<&str>,
    over_drift: bool,
    journal: &mut Journal,
    host: &mut dyn Host,
    report: Report<'_>,
) -> Result<Vec<StepId>, Fault> {
    some(stage, &|_| true, over_drift, journal, host, report)
}

/// The same of these steps alone, whatever of the stage is behind them or before them. All of the stage is compared with
/// what is there first.
///
/// # Errors
/// As for [`undo`].
pub fn undo_only(
    stage: Option<&str>,
    only: &[StepId],
    over_drift: bool,
    journal: &mut Journal,
    host: &mut dyn Host,
    report: Report<'_>,
) -> Result<Vec<StepId>, Fault> {
    some(stage, &|id| only.contains(id), over_drift, journal, host, report)
}

/// Whether a stage (or a whole run) has steps that are not taken back.
pub fn left(stage: Option<&str>, journal: &Journal) -> bool {
    open(stage, journal).next().is_some()
}

/// The steps of a stage that are not taken back, last first.
fn open<'j>(stage: Option<&str>, journal: &'j Journal) -> impl Iterator<Item = &'j Journalled> {
    let of_stage = move |id: &StepId| stage.is_none() || id.stage() == stage;
    journal.steps.iter().rev().filter(move |s| s.status != Status::Undone && of_stage(&s.step.id))
}

fn some(
    stage: Option<&str>,
    among: &dyn Fn(&StepId) -> bool,
    over_drift: bool,
    journal: &mut Journal,
    host: &mut dyn Host,
    report: Report<'_>,
) -> Result<Vec<StepId>, Fault> {
    let open: Vec<&Journalled> = open(stage, journal).collect();
    let ids: Vec<StepId> = open.iter().map(|s| s.step.id.clone()).filter(among).collect();
    if !over_drift {
        let run = journal.run().clone();
        let drifted = drift::among(&open, host)?;
        if !drifted.is_empty() {
            for drift in drifted {
                let what = StepOutcome::UndoFailed(drift.fault(&run));
                report(StepEvent { step: drift.step, what, took_us: 0 });
            }
            return Ok(ids);
        }
    }
    steps(&ids, over_drift, journal, host, report)
}

/// Takes back, while the host comes up, what can be of a stage: files. What cannot be, and what such a step may stand on,
/// is left; so is what fails, for more may work later. What others changed is kept, not waited for. Returns the steps
/// that remain.
///
/// # Errors
/// As for [`undo`].
pub fn undo_while_booting(
    stage: &str,
    journal: &mut Journal,
    host: &mut dyn Host,
    report: Report<'_>,
) -> Result<Vec<StepId>, Fault> {
    let open: Vec<Step> = open(Some(stage), journal).map(|s| s.step.clone()).collect();
    let (mut left, mut under): (Vec<StepId>, Vec<PathBuf>) = (Vec::new(), Vec::new());
    for step in open {
        let begin = Instant::now();
        let kind = kind_of(&step)?;
        let own: Vec<PathBuf> = paths(kind, &step).collect();
        let stands = own.iter().any(|path| under.iter().any(|u| u.starts_with(path) || path.starts_with(u)));
        let mut back = kind.booting() && !stands;
        if back {
            let done = journal.find(&step.id).is_some_and(|s| s.status == Status::Done);
            journal.append_at_all_costs(&[Record::UndoStarted { step: step.id.clone() }], host)?;
            let way = Way { over_drift: true, booting: true };
            match one(&step.id, done, way, journal, host, report) {
                Ok(what) => {
                    host.sync()?;
                    journal.append_at_all_costs(&[Record::Undone { step: step.id.clone() }], host)?;
                    report(StepEvent { step: step.id.clone(), what, took_us: took(begin) });
                }
                Err(fault) if fault.code == FaultCode::Crashed => return Err(fault),
                Err(_) => back = false,
            }
        }
        if !back {
            left.push(step.id);
            under.extend(own);
        }
    }
    Ok(left)
}

/// How a step is taken back.
#[derive(Clone, Copy)]
struct Way {
    over_drift: bool,
    booting: bool,
}

/// Takes back these steps, in this order.
pub(super) fn steps(
    ids: &[StepId],
    over_drift: bool,
    journal: &mut Journal,
    host: &mut dyn Host,
    report: Report<'_>,
) -> Result<Vec<StepId>, Fault> {
    let mut rest = ids;
    while let Some(first) = rest.first() {
        // Like going forward: a barrier alone, others together with one journal write and one sync.
        let barrier = |id: &StepId| journal.find(id).is_some_and(|s| kind_of(&s.step).is_ok_and(|k| k.barrier()));
        // Two edits of one file never share a group: only one that is finished tells what the next one has to find.
        let mut edited = BTreeSet::new();
        let mut alone = |id: &StepId| {
            let step = journal.find(id).map(|s| &s.step);
            let edits = step.and_then(|s| Some(kind_of(s).ok()?.edits(&s.spec))).unwrap_or_default();
            edits.into_iter().all(|path| edited.insert(path))
        };
        let size = if barrier(first) { 1 } else { rest.iter().take_while(|id| !barrier(id) && alone(id)).count() };
        let (group, after) = rest.split_at(size);
        // Only of a step that was done and is not half-way back can it be told whether someone touched it since.
        let done = |id: &StepId| journal.find(id).is_some_and(|s| s.status == Status::Done);
        let done: Vec<bool> = group.iter().map(done).collect();
        let started: Vec<Record> = group.iter().map(|step| Record::UndoStarted { step: step.clone() }).collect();
        journal.append_at_all_costs(&started, host)?;
        let (mut records, mut events, mut stuck) = (Vec::new(), Vec::new(), None);
        for (at, id) in group.iter().enumerate() {
            let begin = Instant::now();
            let way = Way { over_drift, booting: false };
            let what = match one(id, done[at], way, journal, host, report) {
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
        journal.append_at_all_costs(&records, host)?;
        events.into_iter().for_each(&mut *report);
        if let Some(at) = stuck {
            return Ok(group[at..].iter().chain(after).cloned().collect());
        }
        rest = after;
    }
    Ok(Vec::new())
}

fn one(
    id: &StepId,
    done: bool,
    way: Way,
    journal: &Journal,
    host: &mut dyn Host,
    report: Report<'_>,
) -> Result<StepOutcome, Fault> {
    let known =
        journal.find(id).ok_or_else(|| Fault::new(FaultCode::Corrupt, format!("step {id} is not journalled")))?;
    let kind = kind_of(&known.step)?;
    let spec = &known.step.spec;
    let mut note = note(id, report);
    let mut cx = context(&known.step, journal, host);
    cx.notes = Some(&mut note);
    (cx.over_drift, cx.booting, cx.guarded) = (way.over_drift, way.booting, true);
    if way.booting {
        cx.timeout = cx.timeout.min(BOOTING);
    }
    if kind.blind(spec) {
        kind.put(spec, &known.wanted, &known.before, &mut cx)?;
        return Ok(StepOutcome::Undone);
    }
    let now = kind.get(spec, &mut cx)?;
    let untouched = match &known.after {
        Some(after) => after == &now || kind.intact(spec, after, &now)?,
        None => true,
    };
    let ours = untouched || kind.same(spec, &known.before, &now)?;
    if !ours && done && !way.over_drift {
        return Err(drift::fault(kind, &known.step, journal.run()));
    }
    if known.after.as_ref().is_some_and(|after| *after != now) {
        // Someone changed it after we were done, or an earlier undo stopped half-way: what is there is kept before it
        // is replaced. That it could not be brought back is no reason to stay.
        match kind.keep(spec, &now, &known.before, &mut cx) {
            Err(fault) if fault.code != FaultCode::Irreversible => return Err(fault),
            _ => {}
        }
        if cx.kept {
            cx.host.sync()?;
        }
    }
    kind.put(spec, &now, &known.before, &mut cx)?;
    // Also beside what needed no change: an agent that was killed may have left something there.
    for path in paths(kind, &known.step) {
        cx.host.sweep(&path)?;
    }
    if !way.booting {
        cx.timeout = Duration::from_secs(60);
    }
    let after = kind.get(spec, &mut cx)?;
    if !kind.same(spec, &known.before, &after)? {
        let message = format!("after undo the host has {after}, before the run it had {}", known.before);
        return Err(Fault::new(FaultCode::NotConverged, message));
    }
    if ours || !done {
        Ok(StepOutcome::Undone)
    } else {
        Ok(StepOutcome::UndoneDrifted { kept: format!("{}/kept", journal.run_dir()) })
    }
}
