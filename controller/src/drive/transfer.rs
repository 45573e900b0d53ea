//! A directory tree from one host to another, through both agents' connections: compare manifests, stream what differs
//! with both windows' back pressure, then one `tree` step on the receiving side, journalled and undone like any other.

use std::time::{Duration, Instant};

use weiche_agent::digest::Digest;
use weiche_agent::protocol::{Entry, EntryKind, Fault, FaultCode, HostPath, Step, StepEvent, StepOutcome};
use weiche_agent::resources::replica::{self, Manifest, State, unchanged};

use super::observe::{manifest, unknown};
use super::session::{Blob, Source};
use super::shared::{Events, Shared, as_fault, micros, stage};
use crate::input::target::HostName;
use crate::plan::procedure::Transfer;
use crate::rollout::Happening;

/// Bound of a whole transfer, as long as no plan knows its size: a weekend.
const BOUND: Duration = Duration::from_secs(48 * 3600);

/// Bound of a scan.
const SCAN: Duration = Duration::from_secs(3600);

/// Brings the tree here.
///
/// # Errors
/// Those of either host; what was journalled is taken back with the stage.
pub(super) async fn run(
    shared: &Shared,
    host: &HostName,
    transfer: &Transfer,
    events: &Events,
) -> Result<StepOutcome, Fault> {
    // Comparing and copying are what it takes; the step on the receiving side comes behind them.
    let begin = Instant::now();
    let (mut here, mut from) =
        shared.pool.hold_both(host, &transfer.from).await.ok_or_else(|| as_fault(unknown().into()))?;
    let from = from.session().await.map_err(|e| as_fault(e.into()))?;
    let here = here.session().await.map_err(|e| as_fault(e.into()))?;
    let source = manifest(from.scan(&transfer.path, SCAN).await.map_err(|e| as_fault(e.into()))?);
    let present = manifest(here.scan(&transfer.path, SCAN).await.map_err(|e| as_fault(e.into()))?);
    if source.is_empty() {
        let message = format!("{} has no directory {}", transfer.from, transfer.path);
        return Err(Fault::new(FaultCode::NotFound, message));
    }
    let mut wanted = merge(&source, &present, transfer.delete);
    let need: Vec<HostPath> =
        source.iter().filter(|(path, e)| must_send(e, present.get(path))).map(|(p, _)| p.clone()).collect();
    let root = std::path::Path::new(&transfer.path);
    let paths = need.iter().map(|path| replica::host_path(&replica::join(root, path))).collect();
    let sent = from.copy_to(here, &shared.run, paths, BOUND).await.map_err(|e| as_fault(e.into()))?;
    for (path, (digest, size)) in need.iter().zip(sent) {
        if let Some(Entry { kind, .. }) = wanted.get_mut(path) {
            // A file that grew since the scan is taken as it was read.
            *kind = EntryKind::File { size, digest: Some(digest) };
        }
    }
    let text = replica::to_lines(&wanted);
    let (digest, size) = (Digest::of(&text), text.len() as u64);
    let blob = Blob { digest: digest.clone(), size, source: Source::Bytes(text) };
    let step = Step {
        id: transfer.id.clone(),
        kind: "replica".into(),
        spec: serde_json::json!({
            "path": transfer.path,
            "wanted": State::of(&wanted),
            "manifest": { "digest": digest, "size": size },
        }),
        watches: Vec::new(),
        anchor: false,
        timeout_ms: u64::try_from(SCAN.as_millis()).unwrap_or(u64::MAX),
        inject: shared.rehearsal.inject.get(&(host.clone(), transfer.id.clone())).copied(),
    };
    let mut outcome = StepOutcome::Unchanged;
    let mut on_event = |event: StepEvent| {
        outcome = event.what.clone();
        let event = StepEvent { took_us: micros(begin.elapsed()), ..event };
        events.send(Happening::Step { host: host.clone(), event });
    };
    let ok = stage(shared, host, here, (vec![blob], vec![step], None), SCAN, &mut on_event).await.map_err(as_fault)?;
    match outcome {
        StepOutcome::Failed(fault) => Err(fault.within(format!("step {}", transfer.id))),
        _ if !ok => Err(Fault::new(FaultCode::Unknown, "the transfer failed")),
        outcome => Ok(outcome),
    }
}

/// The tree as it shall be here: the source's entries, and ours that it lacks unless they are to go.
fn merge(source: &Manifest, present: &Manifest, delete: bool) -> Manifest {
    let mut wanted = source.clone();
    if !delete {
        for (path, entry) in present {
            wanted.entry(path.clone()).or_insert_with(|| entry.clone());
        }
    }
    wanted
}

fn must_send(source: &Entry, present: Option<&Entry>) -> bool {
    matches!(source.kind, EntryKind::File { .. }) && !present.is_some_and(|p| unchanged(p, source))
}
