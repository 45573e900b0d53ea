//! The hand-over report: what a run did, what not and why, and what is still open.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use weiche_agent::protocol::{Fault, Manifest, StepId, StepOutcome};

use super::{Pen, fault, members, reason, sentence};
use crate::forecast::{Forecast, actual};
use crate::history::ByHand;
use crate::input::target::HostName;
use crate::plan::Plan;
use crate::plan::procedure::Action;
use crate::rollout::meter::{Budget, Measure};
use crate::rollout::{Happening, Outcome, Verdict};
use crate::store::Event;
use crate::view::{Host, State, View};

/// What the template `hand-over` gets, besides `words`. Times and durations are texts.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct HandOver {
    /// Names in full.
    pub member: String,
    /// The fleet.
    pub fleet: String,
    /// The playbook.
    pub playbook: String,
    /// The run.
    pub run: String,
    /// Short digest of its plan.
    pub plan: String,
    /// Hosts were simulated.
    pub simulated: usize,
    /// In a sentence.
    pub result: &'static str,
    /// The run has ended.
    pub over: bool,
    /// Why it turned back or is held.
    pub reason: Option<String>,
    /// First event.
    pub started: String,
    /// Last event.
    pub ended: String,
    /// By name.
    pub hosts: Vec<HostRow>,
    /// Steps of the plan that are not in effect.
    pub not_done: Vec<NotDone>,
    /// What users noticed.
    pub services: Vec<Downtime>,
    /// What was compared.
    pub certificate: Vec<Compared>,
    /// Forecast and what came.
    pub against: Vec<Against>,
    /// Who approved and decided what.
    pub decisions: Vec<String>,
    /// What somebody has to see to.
    pub open: Vec<String>,
    /// Every step that something came of.
    pub steps: Vec<StepRow>,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct HostRow {
    /// Its name.
    pub host: String,
    /// What became of it.
    pub fate: &'static str,
    /// Steps.
    pub counts: crate::view::Counts,
    /// What went wrong, or how it was settled.
    pub why: String,
}

/// A step that is not in effect.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct NotDone {
    /// Its stage.
    pub stage: String,
    /// Its host.
    pub host: String,
    /// What it would have done.
    pub what: String,
    /// Why it is not so.
    pub why: String,
}

/// A service, seen from one place.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Downtime {
    /// Its name, and from where.
    pub name: String,
    /// What was agreed.
    pub budget: Option<String>,
    /// In all.
    pub away: String,
    /// One by one.
    pub gaps: Vec<String>,
    /// How many more there are.
    pub more: u64,
    /// How precise.
    pub precise: String,
    /// How long nothing was measured.
    pub blank: Option<String>,
    /// Whether it was kept; empty: nothing was agreed.
    pub judgement: &'static str,
}

/// What was compared on a host.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Compared {
    /// The host.
    pub host: String,
    /// What came of it.
    pub result: String,
    /// What was listed.
    pub manifest: String,
    /// SHA-256 over the list; empty: none.
    pub digest: String,
    /// The first differences: subject, was, is.
    pub differences: Vec<[String; 3]>,
}

/// A stage, as foreseen and as it was.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Against {
    /// Its name.
    pub stage: String,
    /// Foreseen.
    pub forecast: String,
    /// Foreseen at the latest.
    pub latest: String,
    /// As it was; empty: not begun.
    pub actual: String,
}

/// A step that something came of.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct StepRow {
    /// Its host.
    pub host: String,
    /// Its id.
    pub step: String,
    /// In words.
    pub what: String,
    /// What came of it, and who did it if a person did.
    pub outcome: String,
    /// How long it took; of what a person did, since it was waited for.
    pub took: String,
    /// How long it takes usually, and at most.
    pub expected: String,
}

/// Makes a hand-over report.
pub fn of(
    plan: &Plan,
    forecast: &Forecast,
    (events, by_hand): (&[Event], &[ByHand<'_>]),
    view: &View,
    pen: Pen<'_>,
) -> HandOver {
    let (words, when) = (pen.words, pen.when);
    let hosts = plan.hosts();
    let nothing = Host::default();
    let seen = |host: &HostName| view.hosts.get(host).unwrap_or(&nothing);
    HandOver {
        member: members(plan, pen.people),
        fleet: plan.fleet.clone(),
        playbook: plan.playbook.clone(),
        run: view.run.to_string(),
        plan: plan.digest().short().to_owned(),
        simulated: plan.simulated.len(),
        result: match &view.state {
            State::Ended(Outcome::Done) => words.outcome_done,
            State::Ended(Outcome::Partial) => words.outcome_partial,
            State::Ended(Outcome::RolledBack) => words.outcome_rolled_back,
            State::Ended(Outcome::Differs) => words.outcome_differs,
            State::Ended(Outcome::Stuck) => words.outcome_stuck,
            State::Ended(Outcome::Left) => words.outcome_left,
            State::New | State::Forward(_) | State::Backward => words.outcome_open,
        },
        over: matches!(view.state, State::Ended(_)),
        reason: view.reason.as_ref().or(view.halted.as_ref()).map(|text| reason::of(text, when.language)),
        started: when.full(view.started_ms),
        ended: when.full(view.last_ms),
        hosts: hosts.iter().map(|host| host_row(plan, view, host, seen(host), pen)).collect(),
        not_done: not_done(plan, view, pen),
        services: downtimes(view, pen),
        certificate: hosts.iter().map(|host| compared(host, seen(host), pen)).collect(),
        against: against(forecast, events, pen),
        decisions: events.iter().filter_map(|event| decision(event, pen)).collect(),
        open: open(plan, view, pen),
        steps: steps(plan, forecast, (events, by_hand), view, pen),
    }
}

fn host_row(plan: &Plan, view: &View, host: &HostName, seen: &Host, pen: Pen<'_>) -> HostRow {
    let words = pen.words;
    let mut stages = plan.stages.iter().filter(|stage| stage.hosts.contains_key(host));
    let ended = matches!(view.state, State::Ended(outcome) if outcome != Outcome::Left);
    let fate = match () {
        () if !seen.stuck.is_empty() || seen.stuck_fault.is_some() => words.fate_stuck,
        () if seen.given_up || seen.offline.is_some() => words.fate_offline,
        () if !view.hosts.contains_key(host) => words.fate_untouched,
        () if stages.all(|stage| seen.done.contains(&stage.name)) => words.fate_new,
        () if seen.verdict.as_ref().is_some_and(|verdict| !verdict.identical()) => words.fate_differs,
        () if ended && seen.done.is_empty() && seen.settled.is_none() => words.fate_was,
        () if seen.fault.is_some() => words.fate_failed,
        () => words.fate_open,
    };
    let fault = seen.stuck_fault.as_ref().or(seen.fault.as_ref()).or(seen.offline.as_ref());
    let fault = fault.map(|fault| fault::of(fault, pen.when.language));
    let settled = seen.settled.as_ref().map(|text| reason::of(text, pen.when.language));
    let why = [fault, settled].into_iter().flatten().collect::<Vec<_>>().join("; ");
    HostRow { host: host.0.clone(), fate, counts: seen.counts, why }
}

fn not_done(plan: &Plan, view: &View, pen: Pen<'_>) -> Vec<NotDone> {
    let mut rows = Vec::new();
    let untold = view.untold(plan);
    let told = |fault: &Fault| fault::of(fault, pen.when.language);
    for (stage, host, step) in plan.steps() {
        let seen = view.hosts.get(host);
        let outcome = seen.and_then(|seen| seen.steps.iter().find(|(id, ..)| id == step.action.id()));
        let failed = seen.and_then(|seen| seen.failed.get(step.action.id()));
        let why = match outcome.map(|(_, outcome, _)| outcome) {
            Some(StepOutcome::Undone | StepOutcome::UndoneDrifted { .. }) if failed.is_some() => {
                let fault = failed.map(|failed| told(&failed.fault)).unwrap_or_default();
                format!("{}: {fault}; {}", pen.words.failed, pen.words.taken_back)
            }
            Some(StepOutcome::Failed(fault) | StepOutcome::UndoFailed(fault)) => told(fault),
            Some(StepOutcome::Undone | StepOutcome::UndoneDrifted { .. }) => {
                let own = || seen.and_then(|seen| seen.fault.as_ref()).map(told);
                let reason = view.reason.as_ref().map(|text| reason::of(text, pen.when.language));
                let reason = reason.or_else(own).map(|reason| format!(": {reason}")).unwrap_or_default();
                format!("{}{reason}", pen.words.taken_back)
            }
            Some(_) => continue,
            // What stays as it is was done by nobody, and is as wanted all the same.
            None if !step.outlook.changes && matches!(step.action, Action::Resource(_) | Action::Transfer(_)) => {
                continue;
            }
            None if seen.is_some_and(|seen| seen.done.iter().any(|done| done == stage)) => continue,
            None => match seen.and_then(|seen| seen.offline.as_ref().or(seen.fault.as_ref())) {
                Some(fault) if seen.is_some_and(|seen| seen.offline.is_some()) => {
                    format!("{}: {}", pen.words.not_begun, told(fault))
                }
                Some(fault) if untold.get(host) == Some(&step.action.id()) => {
                    format!("{}: {}", pen.words.failed, told(fault))
                }
                _ => pen.words.not_begun.to_owned(),
            },
        };
        let what = sentence::of(step, pen.when.language);
        rows.push(NotDone { stage: stage.to_owned(), host: host.0.clone(), what, why });
    }
    rows
}

fn downtimes(view: &View, pen: Pen<'_>) -> Vec<Downtime> {
    let sights = view.services.iter().flat_map(|(name, service)| {
        let here = std::iter::once((name.clone(), &service.here));
        let from = service.vantages.iter();
        here.chain(from.map(move |(host, sight)| (format!("{name}, {} {}", pen.words.seen_from, host.name()), sight)))
    });
    sights.map(|(name, sight)| downtime(name, &sight.measure, pen)).collect()
}

fn downtime(name: String, measure: &Measure, pen: Pen<'_>) -> Downtime {
    let (words, when) = (pen.words, pen.when);
    let gap = |gap: &crate::rollout::meter::Gap| {
        let open = if gap.open { format!(", {}", words.still_away) } else { String::new() };
        format!("{}: {}{open} ({})", when.day_and_clock(gap.start_ms), when.measured(gap.away_ms), gap.error)
    };
    Downtime {
        name,
        budget: measure.budget_ms.map(|ms| when.measured(ms)),
        away: when.measured(measure.away_ms),
        gaps: measure.told.iter().map(gap).collect(),
        more: measure.gaps.saturating_sub(measure.told.len() as u64),
        precise: when.measured(measure.coarsest_ms),
        blank: (measure.blank_ms > 0).then(|| when.measured(measure.blank_ms)),
        judgement: match measure.budget() {
            None => "",
            // Nothing was seen of it: nothing is kept.
            Some(_) if measure.probes == 0 => words.not_measured,
            Some(Budget::Kept) => words.kept,
            Some(Budget::Exceeded) => words.exceeded,
            Some(Budget::Untold) => words.untold,
        },
    }
}

fn compared(host: &HostName, seen: &Host, pen: Pen<'_>) -> Compared {
    let words = pen.words;
    let list =
        |manifest: &Manifest| format!("{} {}, {} {}", manifest.entries, words.paths, manifest.bytes, words.bytes);
    let listed = seen.verdict.as_ref().map(|verdict| &verdict.manifest).or(seen.manifest.as_ref());
    let absent = |text: &Option<String>| text.clone().unwrap_or_else(|| words.absent.to_owned());
    let differences = seen.verdict.iter().flat_map(|verdict| &verdict.told);
    Compared {
        host: host.0.clone(),
        result: match (&seen.verdict, listed) {
            (Some(verdict), _) if verdict.identical() => words.identical.to_owned(),
            (Some(Verdict { differences, .. }), _) => format!("{} {differences}", words.differs),
            (None, Some(_)) => words.not_compared.to_owned(),
            (None, None) => words.not_listed.to_owned(),
        },
        manifest: listed.map(list).unwrap_or_default(),
        digest: listed.map(|manifest| manifest.digest.to_string()).unwrap_or_default(),
        differences: differences.map(|one| [one.subject.clone(), absent(&one.was), absent(&one.is)]).collect(),
    }
}

fn against(forecast: &Forecast, events: &[Event], pen: Pen<'_>) -> Vec<Against> {
    let times = actual::times(events.iter().map(|event| (event.at_ms, &event.what)));
    let tell = |from: i64, to: Option<i64>| {
        let to = to.map_or_else(|| "?".to_owned(), |to| pen.when.day_and_clock(to));
        format!("{} – {to}", pen.when.day_and_clock(from))
    };
    let row = |stage: &crate::forecast::StageForecast| Against {
        stage: stage.stage.clone(),
        forecast: tell(stage.start.usual_ms, Some(stage.end.usual_ms)),
        latest: pen.when.day_and_clock(stage.end.latest_ms),
        actual: times.get(stage.stage.as_str()).map(|(from, to)| tell(*from, *to)).unwrap_or_default(),
    };
    forecast.stages.iter().map(row).collect()
}

fn decision(event: &Event, pen: Pen<'_>) -> Option<String> {
    let words = pen.words;
    let text = match &event.what {
        Happening::Approved { stage, approval, .. } => format!("{stage}: {}", approval.principal),
        Happening::Ticked { stage, item, by } => format!("{stage}: {item} ({by})"),
        Happening::Paused { by } => format!("{} ({by})", words.paused),
        Happening::Aborted { by, leave: false } => format!("{} ({by})", words.aborted),
        Happening::Aborted { by, leave: true } => format!("{} ({by})", words.left_as_is),
        Happening::Continued { by } => format!("{} ({by})", words.continued),
        Happening::HostSettled { host, how, by, reason } => {
            format!("{host}: {} ({by}): {reason}", reason::settled(*how, pen.when.language))
        }
        Happening::RollbackStarted { reason, .. } => {
            format!("{}: {}", words.turned_back, reason::of(reason, pen.when.language))
        }
        _ => return None,
    };
    Some(format!("{}  {text}", pen.when.full(event.at_ms)))
}

fn open(plan: &Plan, view: &View, pen: Pen<'_>) -> Vec<String> {
    let words = pen.words;
    let mut points = Vec::new();
    if !matches!(view.state, State::Ended(_)) {
        points.push(words.outcome_open.to_owned());
    }
    let ended = matches!(view.state, State::Ended(outcome) if !matches!(outcome, Outcome::Done | Outcome::Left));
    let back = ended || view.reason.is_some();
    for (host, seen) in &view.hosts {
        if !seen.stuck.is_empty() || seen.stuck_fault.is_some() {
            let steps: Vec<&str> = seen.stuck.iter().map(|step| step.0.as_str()).collect();
            points.push(format!("{host}: {} ({})", words.open_stuck, steps.join(", ")));
        }
        if seen.given_up || seen.offline.is_some() {
            points.push(format!("{host}: {}", words.open_offline));
        }
        if let Some((step, text)) = &seen.waits {
            points.push(format!("{host}: {step}: {} – {text}", words.open_waits));
        }
        if seen.verdict.as_ref().is_some_and(|verdict| !verdict.identical()) {
            points.push(format!("{host}: {}", words.open_differs));
        }
        for (step, outcome, _) in &seen.steps {
            if let StepOutcome::UndoneDrifted { kept } = outcome {
                points.push(format!("{host}: {step}: {} ({kept})", words.open_kept));
            }
        }
        let done = |id| seen.steps.iter().any(|(step, outcome, _)| step == id && is_done(outcome));
        let undone = |stage: &str| back && !seen.done.iter().any(|done| done == stage);
        for (_, _, step) in plan.steps().filter(|(stage, of, _)| *of == host && undone(stage)) {
            if let Action::Manual(manual) = &step.action
                && done(&manual.id)
            {
                points.push(format!("{host}: {} {} – {}", manual.id, words.open_manual, manual.text));
            }
        }
    }
    points
}

/// Of a manual step: a person has done it. For weiche nothing has changed.
fn is_done(outcome: &StepOutcome) -> bool {
    matches!(outcome, StepOutcome::Changed | StepOutcome::Unchanged | StepOutcome::AlreadyDone)
}

fn steps(
    plan: &Plan,
    forecast: &Forecast,
    (events, by_hand): (&[Event], &[ByHand<'_>]),
    view: &View,
    pen: Pen<'_>,
) -> Vec<StepRow> {
    let waited = |host: &HostName, id: &StepId| {
        let since = events.iter().filter_map(|event| match &event.what {
            Happening::HostWaits { host: of, step, .. } if of == host && step == id => Some(event.at_ms),
            _ => None,
        });
        let done = by_hand.iter().find(|done| done.step == format!("{host}:{id}"))?;
        let ms = since.min().map_or(0, |since_ms| done.at_ms - since_ms);
        Some((done.by, u64::try_from(ms).unwrap_or(0)))
    };
    let expected: BTreeMap<_, _> = forecast
        .stages
        .iter()
        .flat_map(|stage| &stage.hosts)
        .flat_map(|(host, steps)| steps.iter().map(move |step| ((host, &step.step), step)))
        .collect();
    let mut rows = Vec::new();
    for (_, host, step) in plan.steps() {
        let seen = view.hosts.get(host).and_then(|seen| seen.steps.iter().find(|(id, ..)| id == step.action.id()));
        let Some((id, outcome, took_us)) = seen else { continue };
        let failed = view.hosts.get(host).and_then(|seen| seen.failed.get(id));
        let expected = expected.get(&(host, id));
        let person = if matches!(step.action, Action::Manual(_)) { waited(host, id) } else { None };
        let took_ms = person.map_or(failed.map_or(*took_us, |failed| failed.took_us) / 1000, |(_, ms)| ms);
        rows.push(StepRow {
            host: host.0.clone(),
            step: id.0.clone(),
            what: sentence::of(step, pen.when.language),
            outcome: match outcome {
                of if is_done(of) && matches!(step.action, Action::Manual(_)) => match person {
                    Some((by, _)) => format!("{} ({by})", pen.words.by_hand),
                    None => pen.words.by_hand.to_owned(),
                },
                _ if failed.is_some() => pen.words.failed.to_owned(),
                StepOutcome::Changed | StepOutcome::AlreadyDone => pen.words.changed.to_owned(),
                StepOutcome::Unchanged => pen.words.as_wanted.to_owned(),
                StepOutcome::Undone | StepOutcome::UndoneDrifted { .. } => pen.words.taken_back.to_owned(),
                StepOutcome::Failed(_) | StepOutcome::UndoFailed(_) => pen.words.failed.to_owned(),
                StepOutcome::Note(_) => String::new(),
            },
            took: pen.when.measured(took_ms),
            expected: expected
                .map(|step| format!("{} ({})", pen.when.span(step.usual_ms), pen.when.span(step.bound_ms)))
                .unwrap_or_default(),
        });
    }
    rows
}
