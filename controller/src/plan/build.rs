//! Makes the plan of a procedure and what was seen of its hosts.

use std::collections::BTreeMap;

use weiche_agent::digest::Digest;
use weiche_agent::protocol::{EntryKind, Fault, FaultCode, Observation, StepId};
use weiche_agent::resource::{Exactness, Kind, kind};
use weiche_agent::resources::replica::{Manifest, unchanged};

use super::ahead::{Ahead, Found};
use super::diff::{self, Text};
use super::needs::{Lack, Needs};
use super::procedure::{Action, Content, Procedure, Reboot, Transfer};
use super::takes::Size;
use super::{Outlook, Plan, Seen, Stage, Step, Unplannable};
use crate::input::target::HostName;

/// A scanned tree, on its way from the source to a host.
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a> {
    /// As the source has it.
    pub source: &'a Manifest,
    /// As the host has it.
    pub here: &'a Manifest,
}

/// Computes the plan.
///
/// # Errors
/// Names every step whose resource could not be seen; the operator or the playbook's author can fix that.
pub fn build(
    fleet: &str,
    procedure: &Procedure,
    seen: &BTreeMap<HostName, Seen>,
    created_ms: i64,
) -> Result<Plan, Unplannable> {
    let mut failures = Vec::new();
    let by_step: BTreeMap<(&HostName, &StepId), &Observation> =
        seen.iter().flat_map(|(host, seen)| seen.observations.iter().map(move |o| ((host, &o.step), o))).collect();
    let mut stages = Vec::new();
    let mut ahead: BTreeMap<&HostName, Ahead> = BTreeMap::new();
    let mut needs: BTreeMap<&HostName, Needs> = BTreeMap::new();
    // The last transfer to a path.
    let mut copied: BTreeMap<(&HostName, &String), &StepId> = BTreeMap::new();
    for stage in &procedure.stages {
        let mut hosts = BTreeMap::new();
        for (host, actions) in &stage.hosts {
            let mut steps = Vec::new();
            let away = seen.get(host).is_some_and(|seen| seen.away);
            for action in actions {
                let outlook = match action {
                    Action::Resource(step) if away => Ok(unseen(step, procedure)),
                    Action::Transfer(_) if away => {
                        Err(Fault::new(FaultCode::NotFound, "the host is switched off: its tree cannot be compared"))
                    }
                    Action::Resource(step) => match by_step.get(&(host, &step.id)).map(|o| &o.result) {
                        Some(Ok(seen)) => {
                            let found = ahead.entry(host).or_default().find(step, seen);
                            Ok(found_outlook(step, seen, &found, procedure))
                        }
                        Some(Err(fault)) => Err(fault.clone()),
                        None => Err(Fault::new(FaultCode::NotFound, "the host did not answer for this step")),
                    },
                    Action::Transfer(transfer) => seen
                        .get(host)
                        .and_then(|seen| seen.transfers.get(&transfer.id).cloned())
                        .map(|outlook| once_more(outlook, copied.insert((host, &transfer.path), &transfer.id)))
                        .ok_or_else(|| Fault::new(FaultCode::NotFound, "the trees were not compared")),
                    Action::Check(_) => Ok(quiet("nothing to take back")),
                    Action::Manual(_) => Ok(quiet("a person takes it back, if need be")),
                    Action::Reboot(_) => Ok(reboot()),
                };
                let lack = |outlook: Outlook| {
                    let Some(seen) = seen.get(host) else { return Ok(outlook) };
                    match needs.entry(host).or_default().next(action, outlook.changes, seen) {
                        None => Ok(outlook),
                        Some(Lack::Perhaps(note)) => {
                            let diff = outlook.diff.into_iter().chain([note.to_owned()]).collect();
                            Ok(Outlook { diff, ..outlook })
                        }
                        Some(Lack::Certain(fault)) => Err(fault),
                    }
                };
                match outlook.and_then(lack) {
                    Ok(outlook) => {
                        steps.push(Step { action: action.clone(), title: title(action), outlook, takes: None })
                    }
                    Err(fault) => failures.push((host.clone(), action.id().clone(), title(action), fault)),
                }
            }
            hosts.insert(host.clone(), steps);
        }
        let (name, turns, rules) = (stage.name.clone(), stage.turns.clone(), stage.rules.clone());
        stages.push(Stage { name, hosts, turns, rules, around: None, needs_ms: 0, alone_ms: 0 });
    }
    if !failures.is_empty() {
        return Err(Unplannable(failures));
    }
    Ok(Plan {
        nonce: procedure.nonce.clone(),
        created_ms,
        start_ms: None,
        fleet: fleet.to_owned(),
        playbook: procedure.playbook.clone(),
        inputs: procedure.inputs.clone(),
        simulated: seen.iter().filter(|(_, s)| s.facts.simulated).map(|(host, _)| host.clone()).collect(),
        watch: procedure.watch.clone(),
        planner: String::new(),
        sites: procedure.sites.clone(),
        meter: procedure.meter.clone(),
        unidentified: seen.iter().filter(|(_, s)| s.unidentified).map(|(host, _)| host.clone()).collect(),
        connections: 0,
        crew: Default::default(),
        classes: BTreeMap::new(),
        stages,
    })
}

/// What a transfer would do, given both trees.
pub fn transfer_outlook(transfer: &Transfer, tree: Tree<'_>) -> Outlook {
    let Tree { source, here } = tree;
    let (mut files, mut bytes, mut other, mut removed) = (0_u64, 0_u64, 0_u64, 0_u64);
    for (path, entry) in source {
        let same = here.get(path).is_some_and(|h| unchanged(h, entry));
        match &entry.kind {
            EntryKind::File { size, .. } if !same => {
                files += 1;
                bytes += size;
            }
            _ if same && here.get(path) == Some(entry) => {}
            _ => other += 1,
        }
    }
    if transfer.delete {
        removed = here.keys().filter(|path| !source.contains_key(path)).count() as u64;
    }
    let changes = files + other + removed > 0;
    let mut diff = Vec::new();
    if changes {
        diff.push(format!("~ {files} file(s) with {}, {other} other entries, {removed} removed", human_bytes(bytes)));
    }
    let undo = match (changes, here.is_empty()) {
        (false, _) => "nothing to take back",
        (true, true) => "remove the tree again",
        (true, false) => "put back the tree as it is now (replaced contents are kept on the host)",
    };
    let size = Size { bytes, items: files + other + removed };
    Outlook { changes, diff, undo: undo.into(), irreversible: false, contents: Vec::new(), size, seen: None }
}

/// What a transfer would do behind an earlier one to the same path: both were compared with what is there now. How much
/// that is stays as it is: all that is there now, at most.
fn once_more(outlook: Outlook, earlier: Option<&StepId>) -> Outlook {
    let Some(earlier) = earlier.filter(|_| outlook.changes) else { return outlook };
    let note = format!("? step {earlier} copies it before: of this, what has changed since then");
    let diff = outlook.diff.into_iter().chain([note]).collect();
    Outlook { diff, undo: "put back what is there then".into(), ..outlook }
}

/// How much the contents are; those that are still to be fetched count as things.
fn size(contents: &[Digest], procedure: &Procedure) -> Size {
    let bytes = contents.iter().map(|digest| match procedure.contents.get(digest) {
        Some(Content::Text(text)) => text.len() as u64,
        Some(Content::File { size, .. }) => *size,
        Some(Content::Url(_)) | None => 0,
    });
    Size { bytes: bytes.sum(), items: contents.len() as u64 }
}

/// Bytes in a unit that a person reads.
fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 10 * 1024 && unit + 1 < UNITS.len() {
        value /= 1024;
        unit += 1;
    }
    format!("{value} {}", UNITS[unit])
}

/// The outlook of a step, given what it will find.
fn found_outlook(
    step: &weiche_agent::protocol::Step,
    seen: &weiche_agent::protocol::Seen,
    found: &Found,
    procedure: &Procedure,
) -> Outlook {
    let now = resource_outlook(step, seen, procedure);
    let then = match found {
        Found::Seen => return now,
        Found::Made(then) => resource_outlook(step, then, procedure),
        Found::By(earlier) => {
            later(step, procedure, format!("? step {earlier} changes it before: what is left to do is seen then"))
        }
    };
    // Whatever comes of the earlier step, the host has the contents.
    let mut contents = now.contents;
    for digest in &then.contents {
        if !contents.contains(digest) {
            contents.push(digest.clone());
        }
    }
    let undo = then.undo.replace("what is there now", "what is there then");
    let size = size(&contents, procedure);
    Outlook { contents, undo, size, seen: now.seen, ..then }
}

fn resource_outlook(
    step: &weiche_agent::protocol::Step,
    seen: &weiche_agent::protocol::Seen,
    procedure: &Procedure,
) -> Outlook {
    let Some(kind) = kind(&step.kind) else { return quiet("unknown kind") };
    let changes = seen.state != seen.wanted;
    let irreversible = changes && kind.irreversible(&step.spec);
    let text = if kind.sensitive(&step.spec) {
        Text::Masked
    } else {
        let new = kind.contents(&step.spec, &seen.wanted).unwrap_or_default();
        let new = new.first().and_then(|digest| match procedure.contents.get(digest) {
            Some(Content::Text(text)) => Some(text.as_str()),
            _ => None,
        });
        Text::Shown { old: seen.preview.as_deref(), new }
    };
    let diff = match kind.change(&seen.state, &seen.wanted) {
        _ if !changes => Vec::new(),
        Some(lines) => diff::fit(lines),
        None => diff::lines(&seen.state, &seen.wanted, text),
    };
    let undo = undo(step, kind, seen, changes);
    let contents = kind.needs(&step.spec, &seen.state, &seen.wanted).unwrap_or_default();
    let contents = if changes { contents } else { Vec::new() };
    let size = size(&contents, procedure);
    Outlook { changes, diff, undo, irreversible, contents, size, seen: Some(Digest::of_json(&seen.state)) }
}

fn undo(
    step: &weiche_agent::protocol::Step,
    kind: &dyn Kind,
    seen: &weiche_agent::protocol::Seen,
    changes: bool,
) -> String {
    if step.anchor {
        return String::from("restart it if its configuration was put back");
    }
    if !changes {
        return String::from("nothing to take back");
    }
    if kind.irreversible(&step.spec) {
        return String::from("none: POINT OF NO RETURN");
    }
    if let Some(argv) = step.spec.get("undo").and_then(|u| u.as_array()) {
        let words: Vec<&str> = argv.iter().filter_map(|w| w.as_str()).collect();
        return format!("run `{}`", words.join(" "));
    }
    let what = if seen.state["type"] == "absent" { "remove it again" } else { "put back what is there now" };
    match kind.undo() {
        Exactness::Exact => what.to_owned(),
        Exactness::BestEffort(_) => format!("{what} (best effort, see below)"),
    }
}

fn quiet(undo: &str) -> Outlook {
    Outlook {
        changes: false,
        diff: Vec::new(),
        undo: undo.into(),
        irreversible: false,
        contents: Vec::new(),
        size: Size::default(),
        seen: None,
    }
}

/// A step of a host that is switched off: what it changes is seen when it is on.
fn unseen(step: &weiche_agent::protocol::Step, procedure: &Procedure) -> Outlook {
    later(step, procedure, "? switched off: what is to be changed is seen when it is on".into())
}

/// A step of which nothing is known yet, and why.
fn later(step: &weiche_agent::protocol::Step, procedure: &Procedure, why: String) -> Outlook {
    let irreversible = kind(&step.kind).is_some_and(|kind| kind.irreversible(&step.spec));
    let undo = if irreversible { "none: POINT OF NO RETURN" } else { "put back what is there then" };
    let mut contents = Vec::new();
    named(&step.spec, procedure, &mut contents);
    let size = size(&contents, procedure);
    Outlook { changes: true, diff: vec![why], undo: undo.into(), irreversible, contents, size, seen: None }
}

/// The contents that a spec names, anywhere in it.
fn named(spec: &serde_json::Value, procedure: &Procedure, found: &mut Vec<Digest>) {
    match spec {
        serde_json::Value::String(text) => {
            let digest = Digest::try_from(text.clone()).ok();
            found.extend(digest.filter(|digest| procedure.contents.contains_key(digest)));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| named(item, procedure, found)),
        serde_json::Value::Object(map) => map.values().for_each(|value| named(value, procedure, found)),
        _ => {}
    }
}

/// A restart is a change that cannot be seen afterwards, and nothing that is taken back.
fn reboot() -> Outlook {
    Outlook {
        changes: true,
        diff: vec!["~ the host restarts: sessions end, services are away until it is up again".into()],
        undo: "nothing to take back; what is taken back of other steps may take another restart to work".into(),
        irreversible: false,
        contents: Vec::new(),
        size: Size::default(),
        seen: None,
    }
}

fn title(action: &Action) -> String {
    match action {
        Action::Resource(step) => {
            let title = kind(&step.kind).map(|k| k.title(&step.spec)).unwrap_or_default();
            format!("{} {title}", step.kind)
        }
        Action::Transfer(transfer) => format!("transfer {} from {}", transfer.path, transfer.from),
        Action::Check(check) if check.waits => format!("wait for {}", check.probe),
        Action::Check(check) => format!("check {}", check.probe),
        Action::Reboot(Reboot { reason: Some(reason), .. }) => format!("reboot: {reason}"),
        Action::Reboot(_) => "reboot".into(),
        Action::Manual(manual) => format!("manual {manual}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_transfer_puts_back_what_the_first_one_brought() {
        let first = Outlook { changes: true, ..quiet("remove the tree again") };
        assert_eq!(once_more(first.clone(), None), first);
        let earlier = StepId("presync.1".into());
        let second = once_more(first, Some(&earlier));
        assert_eq!(second.undo, "put back what is there then");
        assert!(second.diff.last().is_some_and(|line| line.contains("presync.1")), "{second:?}");
        let same = quiet("nothing to take back");
        assert_eq!(once_more(same.clone(), Some(&earlier)), same);
    }

    #[test]
    fn bytes_are_shown_in_a_readable_unit() {
        assert_eq!(human_bytes(9_999), "9999 B");
        assert_eq!(human_bytes(5 << 30), "5120 MiB");
    }
}
