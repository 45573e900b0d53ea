//! The runs that a host remembers, and how many: a state directory does not grow for ever.

use std::io::{BufRead, BufReader, Read};

use super::{Journal, Record, line::parse};
use crate::fault::Fault;
use crate::host::Host;
use crate::protocol::{RunId, Status};

/// So many runs that are in effect can still be taken back; older ones are forgotten.
pub const KEPT_IN_EFFECT: usize = 16;

/// So many runs that were taken back are remembered, with what their undo kept.
pub const KEPT_UNDONE: usize = 4;

/// Bound of a journal's first line.
const HEADER_MAX: u64 = 4 << 10;

/// Every run that has a journal here, the oldest first.
///
/// # Errors
/// Those of the host.
pub fn runs(host: &mut dyn Host) -> Result<Vec<RunId>, Fault> {
    let mut found = Vec::new();
    for name in host.state_list("runs")? {
        let Ok(run) = RunId::try_from(name) else { continue };
        if let Some(order) = order(&run, host)? {
            found.push((order, run));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, run)| run).collect())
}

/// The highest order of all runs; 0 if there are none.
pub(super) fn newest(host: &mut dyn Host) -> Result<u64, Fault> {
    let Some(last) = runs(host)?.pop() else { return Ok(0) };
    Ok(order(&last, host)?.unwrap_or(0))
}

/// Forgets the oldest runs beyond [`KEPT_IN_EFFECT`] and [`KEPT_UNDONE`], and those that never began. A run with a step
/// that is neither done nor undone, or with an armed guard, is never forgotten; nor is `this` one.
///
/// # Errors
/// Those of the host.
pub fn prune(this: &RunId, host: &mut dyn Host) -> Result<(), Fault> {
    let runs = runs(host)?;
    for name in host.state_list("runs")? {
        if name != this.as_str() && !runs.iter().any(|run| run.as_str() == name) {
            host.state_remove(&format!("runs/{name}"))?;
        }
    }
    if runs.len() <= KEPT_UNDONE {
        return Ok(());
    }
    let (mut in_effect, mut undone) = (0, 0);
    for run in runs.iter().rev() {
        // What cannot be read is a person's business.
        let Ok(journal) = Journal::open(run, host) else { continue };
        let all = |is: &dyn Fn(Status) -> bool| journal.steps.iter().all(|s| is(s.status));
        let over = if !journal.armed().is_empty() {
            false
        } else if all(&|status| status == Status::Undone) {
            undone += 1;
            undone > KEPT_UNDONE
        } else if all(&|status| matches!(status, Status::Done | Status::Undone)) {
            in_effect += 1;
            in_effect > KEPT_IN_EFFECT
        } else {
            false
        };
        if over {
            host.state_remove(&journal.run_dir())?;
        }
    }
    Ok(())
}

fn order(run: &RunId, host: &mut dyn Host) -> Result<Option<u64>, Fault> {
    let Some(reader) = host.state_open(&format!("runs/{run}/journal"))? else { return Ok(None) };
    let mut line = Vec::new();
    BufReader::new(reader.take(HEADER_MAX))
        .read_until(b'\n', &mut line)
        .map_err(|e| Fault::io(format_args!("read the journal of {run}"), &e))?;
    Ok(match parse(&line) {
        Some(Record::Header { order, .. }) => Some(order),
        _ => Some(0),
    })
}
