//! Runs and where they stand, as text: what happened first, then what can be done now.

use std::fmt::Write;

use crate::calendar::Zone;
use crate::rollout::Outcome;
use crate::view::{Sight, State, View};

/// One line a run, newest first.
pub fn list(views: &[View]) -> String {
    if views.is_empty() {
        return String::from("No runs yet.\n");
    }
    let mut out = String::new();
    for view in views {
        let _ = writeln!(out, "{}  {}  {:<20} {}", view.run, super::time(view.started_ms), view.playbook, state(view));
    }
    out
}

/// One run in full; how it lies in time is told in this zone.
pub fn one(view: &View, zone: &Zone) -> String {
    let mut out = String::new();
    let _ = render(view, zone, &mut out);
    out
}

fn render(view: &View, zone: &Zone, out: &mut String) -> std::fmt::Result {
    writeln!(out, "Run {} of {}: {}", view.run, view.playbook, state(view))?;
    writeln!(out, "  started {}, last event {}", super::time(view.started_ms), super::time(view.last_ms))?;
    if let Some(reason) = &view.reason {
        writeln!(out, "  turned back: {reason}")?;
    }
    if let Some(why) = &view.halted {
        writeln!(out, "  nothing begins any more: {why}")?;
    }
    if let Some(reckoning) = &view.reckoning {
        writeln!(out, "{}", super::reckoning::text(reckoning, &view.run, zone))?;
    }
    for (name, host) in &view.hosts {
        let counts = host.counts;
        write!(
            out,
            "  {name}: {} changed, {} unchanged, {} taken back",
            counts.changed, counts.unchanged, counts.undone
        )?;
        if counts.failed > 0 {
            write!(out, ", {} failed", counts.failed)?;
        }
        writeln!(out)?;
        for (word, fault) in [("failed", &host.fault), ("STUCK", &host.stuck_fault)] {
            if let Some(fault) = fault {
                writeln!(out, "    {word}: {}", fault.to_string().replace('\n', "\n      "))?;
                if let Some(hint) = &fault.hint {
                    writeln!(out, "      hint: {hint}")?;
                }
            }
        }
        if let Some(fault) = &host.offline {
            writeln!(out, "    switched off, waited for: {fault}")?;
        }
        if host.given_up {
            writeln!(out, "    switched off for too long: not waited for any more")?;
        }
        if let Some(settled) = &host.settled {
            writeln!(out, "    was stuck; {settled}")?;
        }
        if let Some((step, text)) = &host.waits {
            writeln!(out, "    waits for a person: {step}: {text}")?;
            writeln!(out, "    when that is done: weiche done {} {name}:{step}", view.run)?;
        }
        for step in &host.stuck {
            writeln!(out, "    STUCK: {step} is not taken back")?;
        }
    }
    for (name, service) in &view.services {
        sight(name, &service.here, out)?;
        for (host, seen) in &service.vantages {
            sight(&super::service::name(name, Some(host)), seen, out)?;
        }
    }
    for line in next(view) {
        writeln!(out, "  next: {line}")?;
    }
    Ok(())
}

/// How a service did, seen from one place.
fn sight(name: &str, sight: &Sight, out: &mut String) -> std::fmt::Result {
    if sight.measure.probes + sight.measure.blanks > 0 {
        writeln!(out, "  {}", super::service::text(name, &sight.measure))?;
    }
    if let Some(gap) = &sight.away {
        writeln!(out, "  {name} was away when last seen: {}", gap.error)?;
    }
    if let Some(blank) = &sight.untold {
        writeln!(out, "  {name}: not measured since {}: {}", super::time(blank.start_ms), super::service::why(blank))?;
    }
    Ok(())
}

/// The hosts that are stuck, why, and what can be done about each.
pub fn stuck(view: &View) -> String {
    let mut out = String::new();
    let run = &view.run;
    for (name, host) in &view.hosts {
        let Some(fault) = &host.stuck_fault else { continue };
        let _ = writeln!(out, "{name}: {}", fault.to_string().replace('\n', "\n  "));
        if let Some(hint) = &fault.hint {
            let _ = writeln!(out, "  hint: {hint}");
        }
        for step in &host.stuck {
            let _ = writeln!(out, "  not taken back: {step}");
        }
        let _ = writeln!(out, "  mended:              weiche undo {run} {name} --retry");
        let _ = writeln!(out, "  taken back by hand:  weiche undo {run} {name} --mark-done --reason '...'");
        let _ = writeln!(out, "  stays as it is:      weiche undo {run} {name} --forward --reason '...'");
    }
    out
}

/// What is safe to do now.
fn next(view: &View) -> Vec<String> {
    let run = &view.run;
    match &view.state {
        State::New => vec![format!("weiche resume {run}")],
        State::Forward(_) if view.halted.is_some() => vec![
            format!("weiche continue {run}  (go on in spite of it)"),
            format!("weiche abort {run}     (take everything back; --leave: leave it as it is)"),
        ],
        State::Forward(_) => {
            vec![format!("weiche resume {run}    (go on)"), format!("weiche rollback {run}  (take everything back)")]
        }
        State::Backward => vec![format!("weiche resume {run}    (go on taking back)")],
        State::Ended(Outcome::Done | Outcome::Partial | Outcome::Left) => {
            vec![format!("weiche rollback {run}  (take everything back)")]
        }
        State::Ended(Outcome::RolledBack) => Vec::new(),
        State::Ended(Outcome::Differs) => {
            vec![format!("weiche verify {run}    (look again, once the cause is mended)")]
        }
        State::Ended(Outcome::Stuck) => vec![format!("weiche rollback {run}  (try again, once the cause is mended)")],
    }
}

/// Where it stands, in words.
pub(super) fn state(view: &View) -> String {
    match &view.state {
        State::New => "not begun".into(),
        State::Forward(stage) if view.halted.is_some() => format!("HALTED in stage {stage}"),
        State::Forward(stage) if view.hosts.values().any(|h| h.waits.is_some()) => format!("waits in stage {stage}"),
        State::Forward(stage) => format!("in stage {stage} (or cut off there)"),
        State::Backward => "going back (or cut off there)".into(),
        State::Ended(Outcome::Done) => "done".into(),
        State::Ended(Outcome::Partial) => "ended: some hosts new, every other as it was".into(),
        State::Ended(Outcome::Left) => "ended: left as it is".into(),
        State::Ended(Outcome::RolledBack) => "taken back".into(),
        State::Ended(Outcome::Differs) => "taken back, NOT IDENTICAL".into(),
        State::Ended(Outcome::Stuck) => "STUCK".into(),
    }
}
