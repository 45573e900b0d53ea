//! Carries out and takes back: the only place that calls `put`.
//!
//! Consecutive steps of ordinary kinds form a group: one journal write, one sync. A barrier kind (packages, units,
//! commands) is a group of its own. Per group: read the states, keep what undo will need, make `Begin` durable, `put`,
//! read again and compare, sync, make `Done` durable, report.

pub mod drift;
mod undo;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Host};
use crate::journal::{Journal, Journalled, Record};
use crate::protocol::{Injection, Observation, Seen, Status, Step, StepEvent, StepId, StepOutcome};
use crate::resource::{Circumstances, Claim, Cx, Kind, kind};

pub use undo::{left, undo, undo_only, undo_while_booting};

/// Receives events as they become true.
pub type Report<'a> = &'a mut dyn FnMut(StepEvent);

/// Reads the state of every step's resource and what it would become. Changes nothing.
pub fn observe(steps: &[Step], host: &mut dyn Host) -> Vec<Observation> {
    let mut would_change = BTreeSet::new();
    let mut see = |step: &Step| -> Result<Seen, Fault> {
        let kind = kind_of(step)?;
        let mut cx = Cx::looking(host, Duration::from_millis(step.timeout_ms));
        let state = kind.get(&step.spec, &mut cx)?;
        let given = Circumstances { watched_changed: step.watches.iter().any(|w| would_change.contains(w)) };
        let wanted = kind.want(&step.spec, &state, given)?;
        if wanted != state {
            would_change.insert(step.id.clone());
        }
        let preview = if wanted == state { None } else { kind.preview(&step.spec, &state, &mut cx) };
        Ok(Seen { state, wanted, preview })
    };
    steps.iter().map(|step| Observation { step: step.id.clone(), result: see(step) }).collect()
}

/// Carries out steps in order, stopping at the first failure; returns whether all succeeded. Steps that the journal
/// has as done are not carried out again; those that were begun and not finished are taken back first, last first.
///
/// # Errors
/// If the machinery broke (journal unreadable, disk full before a change). What was changed before is journalled.
pub fn apply(steps: &[Step], journal: &mut Journal, host: &mut dyn Host, report: Report<'_>) -> Result<bool, Fault> {
    // The journal has no place for two of one name.
    let mut ids = BTreeSet::new();
    if let Some(twice) = steps.iter().find(|step| !ids.insert(&step.id)) {
        return Err(Fault::new(FaultCode::Invalid, format!("two steps have the name {}", twice.id)));
    }
    let unfinished = |s: &&Journalled| !matches!(s.status, Status::Done | Status::Undone);
    let unfinished: Vec<StepId> = journal.steps.iter().rev().filter(unfinished).map(|s| s.step.id.clone()).collect();
    if !undo::steps(&unfinished, false, journal, host, report)?.is_empty() {
        return Ok(false);
    }
    let mut changed: BTreeSet<StepId> =
        journal.steps.iter().filter(|s| s.status == Status::Done).map(|s| s.step.id.clone()).collect();
    let mut anchors = Vec::new();
    let mut rest = steps;
    while let Some(first) = rest.first() {
        let begin = Instant::now();
        if journal.find(&first.id).is_some_and(|s| s.status == Status::Done) {
            report(StepEvent { step: first.id.clone(), what: StepOutcome::AlreadyDone, took_us: took(begin) });
            rest = &rest[1..];
            continue;
        }
        let (taken, ok) = group(rest, &mut changed, &mut anchors, journal, host, report)?;
        if !ok {
            return Ok(false);
        }
        rest = &rest[taken..];
    }
    Ok(true)
}

/// A step of the group that will change something.
struct Begun<'s> {
    step: &'s Step,
    kind: &'static dyn Kind,
    before: Value,
    wanted: Value,
    kept: bool,
}

/// Carries out the group that `steps` starts with; returns how many steps it took and whether they succeeded.
/// `anchors` are journalled ahead of the first change that follows them: where nothing changes, nothing is written.
fn group<'s>(
    steps: &'s [Step],
    changed: &mut BTreeSet<StepId>,
    anchors: &mut Vec<Begun<'s>>,
    journal: &mut Journal,
    host: &mut dyn Host,
    report: Report<'_>,
) -> Result<(usize, bool), Fault> {
    let begin = Instant::now();
    let mut begun: Vec<Begun<'_>> = Vec::new();
    let mut opaque: Vec<PathBuf> = Vec::new();
    let mut taken = 0;
    let mut failed = None;
    for step in steps {
        let kind = kind_of(step)?;
        let known = journal.find(&step.id).is_some_and(|s| s.status != Status::Undone);
        if taken > 0 && (kind.barrier() || known || beneath(kind, step, &opaque) || above(kind, step, &begun)) {
            break;
        }
        taken += 1;
        match prepare(step, kind, changed, journal, host) {
            Ok(None) => {
                report(StepEvent { step: step.id.clone(), what: StepOutcome::Unchanged, took_us: took(begin) });
            }
            Ok(Some(b)) if b.before == b.wanted && step.anchor && step.inject.is_none() => {
                anchors.push(b);
                report(StepEvent { step: step.id.clone(), what: StepOutcome::Unchanged, took_us: took(begin) });
            }
            Ok(Some(b)) => {
                changed.insert(step.id.clone());
                opaque.extend(paths(kind, step).filter(|_| !transparent(&b)));
                begun.push(b);
            }
            Err(fault) => {
                failed = Some((step, fault));
                break;
            }
        }
        if kind.barrier() {
            break;
        }
    }
    let began =
        |b: &Begun<'_>| Record::Begin { step: b.step.clone(), before: b.before.clone(), wanted: b.wanted.clone() };
    let mut records = Vec::new();
    if !begun.is_empty() {
        for anchor in anchors.drain(..) {
            records.push(began(&anchor));
            records.push(Record::Done { step: anchor.step.id.clone(), after: anchor.before });
        }
    }
    records.extend(begun.iter().map(began));
    if begun.iter().any(|b| b.kept) {
        host.sync()?;
    }
    journal.append(&records, host)?;

    let mut done = Vec::new();
    let mut events = Vec::new();
    for b in &begun {
        let begin = Instant::now();
        match put(b, journal, host, report) {
            Ok(after) => {
                done.push(Record::Done { step: b.step.id.clone(), after });
                events.push(StepEvent { step: b.step.id.clone(), what: StepOutcome::Changed, took_us: took(begin) });
            }
            // A host that lost power writes nothing more; the journal's `Begin` speaks for it.
            Err(fault) if fault.code == FaultCode::Crashed => return Err(fault),
            Err(fault) => {
                done.push(Record::Failed { step: b.step.id.clone(), fault: fault.clone() });
                events.push(StepEvent {
                    step: b.step.id.clone(),
                    what: StepOutcome::Failed(fault),
                    took_us: took(begin),
                });
                host.sync()?;
                journal.append(&done, host)?;
                events.into_iter().for_each(report);
                return Ok((taken, false));
            }
        }
    }
    if !done.is_empty() {
        host.sync()?;
        journal.append(&done, host)?;
    }
    events.into_iter().for_each(&mut *report);
    if let Some((step, fault)) = failed {
        // Nothing was journalled for it: it failed before it could change anything.
        report(StepEvent { step: step.id.clone(), what: StepOutcome::Failed(fault), took_us: took(begin) });
        return Ok((taken, false));
    }
    Ok((taken, true))
}

/// Reads the state and keeps what undo needs; `None` if there is nothing to do.
fn prepare<'s>(
    step: &'s Step,
    kind: &'static dyn Kind,
    changed: &BTreeSet<StepId>,
    journal: &Journal,
    host: &mut dyn Host,
) -> Result<Option<Begun<'s>>, Fault> {
    if step.inject.is_some() && !host.rehearsal() {
        let message = "faults are injected in rehearsals only, never on a host whose `/` is real";
        return Err(Fault::new(FaultCode::Invalid, message));
    }
    let mut cx = context(step, journal, host);
    let before = kind.get(&step.spec, &mut cx)?;
    let given = Circumstances { watched_changed: step.watches.iter().any(|w| changed.contains(w)) };
    let wanted = kind.want(&step.spec, &before, given)?;
    if before == wanted && !step.anchor && step.inject.is_none() {
        return Ok(None);
    }
    kind.keep(&step.spec, &before, &wanted, &mut cx)?;
    let kept = cx.kept;
    Ok(Some(Begun { step, kind, before, wanted, kept }))
}

fn put(b: &Begun<'_>, journal: &Journal, host: &mut dyn Host, report: Report<'_>) -> Result<Value, Fault> {
    let mut note = note(&b.step.id, report);
    let mut cx = context(b.step, journal, host);
    cx.notes = Some(&mut note);
    b.kind.put(&b.step.spec, &b.before, &b.wanted, &mut cx)?;
    match b.step.inject {
        Some(Injection::Fail) => return Err(Fault::new(FaultCode::Injected, "this fault was injected by a rehearsal")),
        Some(Injection::Crash) => return Err(cx.host.die()),
        Some(Injection::Hang) => {
            let hang = Command::changing(["sleep", "86400"], cx.timeout);
            cx.host.run(&hang)?;
        }
        None => {}
    }
    if b.kind.blind(&b.step.spec) {
        return Ok(b.wanted.clone());
    }
    let after = b.kind.get(&b.step.spec, &mut cx)?;
    let still_wanted = b.kind.want(&b.step.spec, &after, Circumstances::default())?;
    if still_wanted != after {
        let message = format!("after the change the host has {after}, wanted was {still_wanted}");
        return Err(Fault::new(FaultCode::NotConverged, message));
    }
    Ok(after)
}

/// Whether the step touches something below a path whose meaning an earlier step of the group changes: then its state
/// can only be read once that step is through. (A new link may lead to files that exist.)
fn beneath(kind: &dyn Kind, step: &Step, opaque: &[PathBuf]) -> bool {
    paths(kind, step).any(|path| opaque.iter().any(|above| path.starts_with(above)))
}

/// Whether an earlier step of the group changes something below what this step touches: a directory can only be taken
/// away once it is empty.
fn above(kind: &dyn Kind, step: &Step, begun: &[Begun<'_>]) -> bool {
    paths(kind, step).any(|path| begun.iter().any(|b| paths(b.kind, b.step).any(|below| below.starts_with(&path))))
}

/// A directory that did not exist, or whose metadata only changes, tells nothing new of what is below it.
fn transparent(b: &Begun<'_>) -> bool {
    b.step.kind == "directory" && matches!(b.before["type"].as_str(), Some("absent" | "directory"))
}

fn paths(kind: &dyn Kind, step: &Step) -> impl Iterator<Item = PathBuf> + use<> {
    let claims = kind.claims(&step.spec).unwrap_or_default();
    let owned = claims.into_iter().filter_map(|claim| match claim {
        Claim::Path(path) => Some(path),
        Claim::Name(..) => None,
    });
    owned.chain(kind.edits(&step.spec))
}

/// Reports what a step says on its way.
fn note<'r>(step: &'r StepId, report: Report<'r>) -> impl FnMut(String) + 'r {
    let begin = Instant::now();
    move |text| report(StepEvent { step: step.clone(), what: StepOutcome::Note(text), took_us: took(begin) })
}

fn context<'a>(step: &Step, journal: &Journal, host: &'a mut dyn Host) -> Cx<'a> {
    let guarded = step.id.stage().is_some_and(|stage| journal.guarded(stage));
    let mut cx = Cx::changing(host, Duration::from_millis(step.timeout_ms), journal.run_dir());
    cx.guarded = guarded;
    cx
}

fn kind_of(step: &Step) -> Result<&'static dyn Kind, Fault> {
    kind(&step.kind).ok_or_else(|| Fault::new(FaultCode::Invalid, format!("there is no resource kind `{}`", step.kind)))
}

fn took(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX)
}
