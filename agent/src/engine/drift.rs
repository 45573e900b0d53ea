//! Drift: a resource that is no longer as the run that wrote it last has left it.

use std::path::PathBuf;
use std::time::Duration;

use crate::fault::{Fault, FaultCode};
use crate::host::Host;
use crate::journal::{self, Journal, Journalled};
use crate::protocol::{Drift, RunId, Status, Step, StepId};
use crate::resource::{Claim, Cx, Kind};

use super::{kind_of, paths};

/// Time for each look.
const LOOK: Duration = Duration::from_secs(60);

/// A step whose resource others have changed.
pub(super) struct Drifted<'j> {
    /// The step.
    pub(super) step: StepId,
    kind: &'static dyn Kind,
    journalled: &'j Journalled,
    now: Result<serde_json::Value, Fault>,
}

impl Drifted<'_> {
    /// Why its undo stops here.
    pub(super) fn fault(&self, run: &RunId) -> Fault {
        fault(self.kind, &self.journalled.step, run)
    }
}

/// Why the undo of a step stops: someone must decide.
pub(super) fn fault(kind: &dyn Kind, step: &Step, run: &RunId) -> Fault {
    let message = format!("{} {} was changed since this run wrote it", kind.name(), kind.title(&step.spec));
    let hint =
        format!("look at it; `weiche rollback {run} --take-back-anyway` keeps a copy of what is there and goes on");
    Fault::new(FaultCode::Drifted, message).hint(hint)
}

/// What others have changed of what the runs in the state directory have made: of each resource, what the newest run
/// left. And what nobody has changed, but is not as it should be ([`crate::resource::Lens::amiss`]).
///
/// # Errors
/// `Corrupt` for a damaged journal; those of the host.
pub fn of_host(host: &mut dyn Host) -> Result<Vec<Drift>, Fault> {
    let mut covered = Covered::default();
    let mut drifts = Vec::new();
    for run in journal::runs(host)?.into_iter().rev() {
        let journal = Journal::open(&run, host)?;
        let open: Vec<&Journalled> = journal.steps.iter().rev().filter(|s| s.status != Status::Undone).collect();
        let found = look(&open, &mut covered, true, host)?;
        drifts.extend(found.into_iter().map(|drifted| told(drifted, &run)));
    }
    Ok(drifts)
}

fn told(drifted: Drifted<'_>, run: &RunId) -> Drift {
    let journalled = drifted.journalled;
    Drift {
        run: run.clone(),
        step: drifted.step,
        kind: drifted.kind.name().to_owned(),
        title: drifted.kind.title(&journalled.step.spec),
        left: journalled.after.clone().unwrap_or_default(),
        now: drifted.now,
    }
}

/// The drifted ones among steps that are to be undone, given newest first. What already is as it was before the run is
/// not among them: there is nothing of ours to take back, and nothing of theirs to lose.
pub(super) fn among<'j>(steps: &[&'j Journalled], host: &mut dyn Host) -> Result<Vec<Drifted<'j>>, Fault> {
    let mut found = Vec::new();
    for drifted in look(steps, &mut Covered::default(), false, host)? {
        let Journalled { step, before, .. } = drifted.journalled;
        let back = matches!(&drifted.now, Ok(now) if drifted.kind.same(&step.spec, before, now)?);
        if !back {
            found.push(drifted);
        }
    }
    Ok(found)
}

/// What newer steps have touched: what older ones left there is not there any more.
#[derive(Default)]
struct Covered {
    claims: Vec<Claim>,
    paths: Vec<PathBuf>,
}

impl Covered {
    fn covers(&self, kind: &dyn Kind, step: &Step) -> bool {
        let overlap = |path: &PathBuf| self.paths.iter().any(|p| p.starts_with(path) || path.starts_with(p));
        let claims = kind.claims(&step.spec).unwrap_or_default();
        claims.iter().any(|claim| self.claims.contains(claim))
            || (kind.edits(&step.spec).is_empty() && paths(kind, step).any(|path| overlap(&path)))
    }

    fn add(&mut self, kind: &dyn Kind, step: &Step) {
        self.claims.extend(kind.claims(&step.spec).unwrap_or_default());
        self.paths.extend(paths(kind, step));
    }
}

/// With `amiss` also those that are not as they should be though nobody has changed them.
fn look<'j>(
    steps: &[&'j Journalled],
    covered: &mut Covered,
    amiss: bool,
    host: &mut dyn Host,
) -> Result<Vec<Drifted<'j>>, Fault> {
    let mut found = Vec::new();
    for journalled in steps {
        let step = &journalled.step;
        let kind = kind_of(step)?;
        let looked_at = journalled.status == Status::Done && !kind.blind(&step.spec) && !covered.covers(kind, step);
        covered.add(kind, step);
        let Some(after) = journalled.after.as_ref().filter(|_| looked_at) else { continue };
        let mut cx = Cx::looking(host, LOOK);
        let mut now = kind.get(&step.spec, &mut cx);
        if amiss
            && now.is_ok()
            && let Some(why) = kind.amiss(&step.spec, &mut cx)?
        {
            now = Err(Fault::new(FaultCode::CommandFailed, why));
        }
        if let Err(fault) = &now
            && fault.code == FaultCode::Crashed
        {
            return now.map(|_| Vec::new());
        }
        let intact = match &now {
            Ok(now) => after == now || kind.intact(&step.spec, after, now)?,
            Err(_) => false,
        };
        if !intact {
            found.push(Drifted { step: step.id.clone(), kind, journalled, now });
        }
    }
    Ok(found)
}
