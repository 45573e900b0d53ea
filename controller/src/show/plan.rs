//! A plan as text: per stage and host what will change, with the undo beside it; irreversible steps stand out.

use std::fmt::Write;

use weiche_agent::resource::{Exactness, kind};

use crate::input::target::HostName;
use crate::plan::procedure::{Action, Turn};
use crate::plan::{Plan, Stage, Step};

/// Renders the whole plan; unchanged steps are counted, not listed.
pub fn text(plan: &Plan) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = render(plan, &mut out);
    out
}

fn render(plan: &Plan, out: &mut String) -> std::fmt::Result {
    writeln!(out, "Plan {} - {} in fleet {}", plan.digest().short(), plan.playbook, plan.fleet)?;
    if let Some(start) = plan.start_ms {
        writeln!(out, "  to begin {}, not before", plan.zone().tell(start))?;
    }
    for (name, value) in &plan.inputs {
        writeln!(out, "  {name}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))?;
    }
    if !plan.simulated.is_empty() {
        let names: Vec<String> = plan.simulated.iter().map(ToString::to_string).collect();
        writeln!(out, "  simulated packages and units on: {}", names.join(", "))?;
    }
    if !plan.unidentified.is_empty() {
        let names: Vec<String> = plan.unidentified.iter().map(ToString::to_string).collect();
        writeln!(out, "  simulated, so not compared with the inventory's serial number: {}", names.join(", "))?;
    }
    if !plan.meter.is_empty() {
        let budget = |ms: Option<u64>| ms.map(|ms| format!(" (may be away for {})", super::service::seconds(ms)));
        let names = plan.meter.iter().map(|of| format!("{}{}", of.service, budget(of.budget_ms).unwrap_or_default()));
        writeln!(out, "  measured throughout: {}", names.collect::<Vec<_>>().join(", "))?;
        vantages(plan, out)?;
    }
    for stage in &plan.stages {
        writeln!(out, "\nStage {}", stage.name)?;
        for line in super::rules::lines(&stage.rules) {
            writeln!(out, "  {line}")?;
        }
        let ordered: Vec<String> = stage.turns.iter().map(|turn| turn.host.to_string()).collect();
        if !ordered.is_empty() {
            writeln!(out, "  in turns: {}; taken back in the reverse order", ordered.join(", then "))?;
        }
        for (turn, number) in stage.turns.iter().zip(1..).filter(|(turn, _)| turn.beside) {
            writeln!(out, "    then nobody waits for turn {number}, of {}", turn.host)?;
        }
        for (host, steps) in turns(stage) {
            let quiet = steps.iter().filter(|step| !shown(step)).count();
            writeln!(
                out,
                "  {host}{}",
                if quiet > 0 { format!("  ({quiet} step(s) already as wanted)") } else { String::new() }
            )?;
            for step in steps.iter().copied().filter(|step| shown(step)) {
                self::step(step, out)?;
            }
        }
    }
    let limits = limits_told(plan);
    if !limits.is_empty() {
        write!(out, "\n{limits}")?;
    }
    writeln!(out, "\n{}", sum(plan))
}

/// Whether a step is listed: those that are as wanted are counted only.
pub(super) fn shown(step: &Step) -> bool {
    step.outlook.changes || !matches!(step.action, Action::Resource(_) | Action::Transfer(_))
}

/// What the undo of the plan's kinds does not cover, a line each; empty if it covers all.
pub(super) fn limits_told(plan: &Plan) -> String {
    let lines: String = limits(plan).iter().map(|(kind, text)| format!("  {kind}: {text}\n")).collect();
    if lines.is_empty() { lines } else { format!("Best effort means:\n{lines}") }
}

/// How much changes, and whether it can be taken back.
pub(super) fn sum(plan: &Plan) -> String {
    let changes = plan.changes();
    let irreversible = plan.steps().filter(|(_, _, s)| s.outlook.irreversible).count();
    let first = match changes {
        0 => format!("Nothing to change on {} host(s).", plan.hosts().len()),
        n => format!("{n} step(s) will change {} host(s).", changed_hosts(plan)),
    };
    if irreversible > 0 {
        format!("{first}\n{irreversible} step(s) cannot be taken back: look for POINT OF NO RETURN above.")
    } else if changes > 0 {
        format!("{first}\nEvery step can be taken back.")
    } else {
        first
    }
}

/// From where services are measured besides the controller.
fn vantages(plan: &Plan, out: &mut String) -> std::fmt::Result {
    let hosts: std::collections::BTreeSet<_> = plan.meter.iter().filter_map(|of| of.vantage.as_ref()).collect();
    for host in hosts {
        let of_host = plan.meter.iter().filter(|of| of.vantage.as_ref() == Some(host));
        let names: Vec<&str> = of_host.map(|of| of.service.as_str()).collect();
        writeln!(out, "    from the controller and from {host}: {}", names.join(", "))?;
        let own = |service: &str| service.split_once('/').is_some_and(|(member, _)| member == host.member());
        let others = plan.meter.iter().filter(|of| of.vantage.is_none() && own(&of.service));
        let others: Vec<&str> = others.map(|of| of.service.as_str()).collect();
        if !others.is_empty() {
            writeln!(out, "    from the controller only, for they ask the DNS: {}", others.join(", "))?;
        }
    }
    Ok(())
}

/// Who does what, in order.
fn turns(stage: &Stage) -> Vec<(&HostName, Vec<&Step>)> {
    if stage.turns.is_empty() {
        return stage.hosts.iter().map(|(host, steps)| (host, steps.iter().collect())).collect();
    }
    let of = |turn: &Turn| {
        let steps = stage.hosts.get(&turn.host).into_iter().flatten();
        steps.filter(|step| turn.steps.contains(step.action.id())).collect()
    };
    stage.turns.iter().map(|turn| (&turn.host, of(turn))).collect()
}

fn step(step: &Step, out: &mut String) -> std::fmt::Result {
    let mark = match (&step.action, step.outlook.changes) {
        (_, _) if step.outlook.irreversible => "!",
        (Action::Check(_), _) => "?",
        (Action::Manual(_), _) => "*",
        (_, true) => "~",
        (_, false) => " ",
    };
    writeln!(out, "  {mark} {:<12} {}", step.action.id().to_string(), step.title)?;
    for line in &step.outlook.diff {
        writeln!(out, "        {line}")?;
    }
    if step.outlook.changes {
        writeln!(out, "        undo: {}", step.outlook.undo)?;
    }
    Ok(())
}

/// What the undo of the plan's kinds does not cover.
fn limits(plan: &Plan) -> std::collections::BTreeMap<&str, &'static str> {
    let limit = |step: &Step| match &step.action {
        Action::Resource(resource) if step.outlook.changes => match kind(&resource.kind)?.undo() {
            Exactness::BestEffort(text) => Some((kind(&resource.kind)?.name(), text)),
            Exactness::Exact => None,
        },
        _ => None,
    };
    plan.steps().filter_map(|(_, _, step)| limit(step)).collect()
}

fn changed_hosts(plan: &Plan) -> usize {
    let hosts: std::collections::BTreeSet<_> =
        plan.steps().filter(|(_, _, s)| s.outlook.changes).map(|(_, host, _)| host).collect();
    hosts.len()
}
