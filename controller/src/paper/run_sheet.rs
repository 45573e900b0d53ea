//! The run sheet, and the summary made of the same: a plan and its forecast as a table that works without any machine.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use weiche_agent::protocol::StepId;

use super::people::Entry;
use super::{Pen, members, sentence};
use crate::calendar::Opening;
use crate::forecast::{Forecast, Note, Problem, StageForecast, StepForecast};
use crate::input::target::HostName;
use crate::plan::procedure::Action;
use crate::plan::{Plan, Stage, Step};

/// What the templates `run-sheet` and `summary` get, besides `words`. Times and durations are texts.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RunSheet {
    /// Names in full.
    pub member: String,
    /// The fleet.
    pub fleet: String,
    /// The playbook.
    pub playbook: String,
    /// Short digest.
    pub plan: String,
    /// When the run begins.
    pub begins: String,
    /// When it ends usually.
    pub ends: String,
    /// When it ends at the latest.
    pub ends_latest: String,
    /// When it has soaked, at the latest, if that is later: until then it may go back.
    pub soaked: Option<String>,
    /// Every window once.
    pub windows: Vec<String>,
    /// Until when everything can still be taken back in time.
    pub latest_abort: Option<String>,
    /// From where on there is no way back.
    pub no_return: Option<NoReturn>,
    /// Whether work and way back fit.
    pub fits: bool,
    /// Why not.
    pub problems: Vec<String>,
    /// What else to know.
    pub notes: Vec<String>,
    /// How many technicians there are.
    pub technicians: Option<u32>,
    /// Most manual steps at once.
    pub at_once: u32,
    /// Clocks change.
    pub clocks_change: bool,
    /// People.
    pub people: Vec<Entry>,
    /// Services.
    pub services: Vec<Service>,
    /// What the bounds rest on.
    pub basis: crate::forecast::Bases,
    /// In order.
    pub stages: Vec<Section>,
    /// Number of hosts.
    pub hosts: usize,
}

/// The point of no return.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct NoReturn {
    /// When, usually.
    pub at: String,
    /// When, at the earliest.
    pub earliest: String,
    /// Which stage, host and step.
    pub place: String,
    /// Why.
    pub why: &'static str,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Service {
    /// `member/service`.
    pub name: String,
    /// How long it may be away.
    pub budget: Option<String>,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Its day.
    pub date: String,
    /// When it begins usually.
    pub begins: String,
    /// When it ends usually.
    pub ends: String,
    /// When it ends at the latest.
    pub ends_latest: String,
    /// Its window.
    pub window: Option<String>,
    /// Until when a way back fits.
    pub back_until: Option<String>,
    /// What that takes at most.
    pub back_takes: String,
    /// In what time it is to be confirmed.
    pub guarded: Option<String>,
    /// How many have to approve before it begins.
    pub approvals: u32,
    /// What is to be ticked off before.
    pub checklist: Vec<String>,
    /// How long it soaks.
    pub holds: Option<String>,
    /// Steps that do something.
    pub rows: Vec<Row>,
    /// Number of the others.
    pub unchanged: usize,
    /// Where those are.
    pub unchanged_hosts: String,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Row {
    /// Counted through the whole sheet.
    pub number: usize,
    /// When it begins usually.
    pub time: String,
    /// When it begins at the latest.
    pub latest: String,
    /// Without its member, if there is but one.
    pub host: String,
    /// In words.
    pub what: String,
    /// The step's id.
    pub step: String,
    /// Done by a person.
    pub manual: bool,
    /// Usually.
    pub takes: String,
    /// At most.
    pub at_most: String,
    /// What undo does.
    pub undo: String,
    /// There is no way back.
    pub irreversible: bool,
    /// Until when to decide.
    pub abort_by: Option<String>,
    /// Who does it, if a person does.
    pub who: Option<Entry>,
}

/// Makes a run sheet.
pub fn of(plan: &Plan, forecast: &Forecast, pen: Pen<'_>) -> RunSheet {
    let mut number = 0;
    let one = plan.hosts().iter().map(HostName::member).collect::<std::collections::BTreeSet<_>>().len() < 2;
    let stages: Vec<Section> = plan
        .stages
        .iter()
        .filter_map(|stage| Some((stage, forecast.stages.iter().find(|other| other.stage == stage.name)?)))
        .map(|(stage, expected)| section(stage, expected, one, &mut number, pen))
        .collect();
    let mut windows: Vec<String> = Vec::new();
    for opening in forecast.stages.iter().filter_map(|stage| stage.opening.as_ref()) {
        let text = window(opening, pen);
        if !windows.contains(&text) {
            windows.push(text);
        }
    }
    let services = plan.meter.iter().map(|metered| Service {
        name: metered.service.clone(),
        budget: metered.budget_ms.map(|ms| pen.when.span(ms)),
    });
    RunSheet {
        member: members(plan, pen.people),
        fleet: plan.fleet.clone(),
        playbook: plan.playbook.clone(),
        plan: plan.digest().short().to_owned(),
        begins: pen.when.full(forecast.start_ms),
        ends: pen.when.full(forecast.end.usual_ms),
        ends_latest: pen.when.full(forecast.end.latest_ms),
        soaked: soaked(forecast).map(|ms| pen.when.full(ms)),
        windows,
        latest_abort: latest_abort(forecast).map(|ms| pen.when.full(ms)),
        no_return: forecast.no_return.as_ref().map(|point| NoReturn {
            at: pen.when.full(point.at.usual_ms),
            earliest: pen.when.full(point.at.earliest_ms),
            place: format!("{}, {}, {}", point.stage, point.host, point.step),
            why: if point.irreversible { pen.words.no_return_irreversible } else { pen.words.no_return_late },
        }),
        fits: forecast.fits,
        problems: forecast.problems.iter().map(|problem| told(problem, pen)).collect(),
        notes: forecast.notes.iter().map(|note| noted(note, pen)).collect(),
        technicians: forecast.technicians.available,
        at_once: forecast.technicians.at_once,
        clocks_change: pen.when.changes,
        people: pen.people.all(),
        services: services.collect(),
        basis: forecast.basis,
        stages,
        hosts: plan.hosts().len(),
    }
}

/// Until when stages soak, where that is longer than the work.
fn soaked(forecast: &Forecast) -> Option<i64> {
    let soaks = forecast.stages.iter().filter(|stage| stage.hold_ms > 0);
    let last = soaks.map(|stage| stage.end.latest_ms.saturating_add(stage.hold_ms)).max();
    last.filter(|at| *at > forecast.end.latest_ms)
}

/// Until when everything can still be taken back: not later than what has no way back usually begins.
fn latest_abort(forecast: &Forecast) -> Option<i64> {
    let point = forecast.no_return.as_ref().map(|point| point.at.usual_ms);
    let last = forecast.stages.iter().filter_map(|stage| stage.latest_abort_ms).max();
    [point, last].into_iter().flatten().min()
}

fn told(problem: &Problem, pen: Pen<'_>) -> String {
    match problem {
        Problem::NoWindow { stage } => format!("{stage}: {}", pen.words.never_opens),
        Problem::Late { stage, by_ms } => format!("{stage}: {} {}", pen.words.late, pen.when.span(*by_ms)),
        Problem::NoWayBack { stage, by_ms } => format!("{stage}: {} {}", pen.words.no_way_back, pen.when.span(*by_ms)),
    }
}

fn noted(note: &Note, pen: Pen<'_>) -> String {
    match note {
        Note::TakesItselfBack { stage, within_ms, usual_ms: _ } => {
            format!("{stage}: {} {}", pen.words.note_itself, pen.when.span(*within_ms))
        }
        Note::BackOutside { stage } => format!("{stage}: {}", pen.words.note_outside),
        Note::BackElsewhere { stage, earlier } => format!("{stage}: {} {earlier}", pen.words.note_elsewhere),
    }
}

fn window(opening: &Opening, pen: Pen<'_>) -> String {
    let mut text = format!("{} – {}", pen.when.full(opening.start_ms), pen.when.full(opening.end_ms));
    if opening.close_ms < opening.end_ms {
        text += &format!(" ({} {})", pen.words.reserve, pen.when.day_and_clock(opening.close_ms));
    }
    text
}

fn section(stage: &Stage, expected: &StageForecast, one: bool, number: &mut usize, pen: Pen<'_>) -> Section {
    let forecasts: BTreeMap<(&HostName, &StepId), &StepForecast> = expected
        .hosts
        .iter()
        .flat_map(|(host, steps)| steps.iter().map(move |step| ((host, &step.step), step)))
        .collect();
    let mut steps: Vec<(&HostName, &Step, Option<&StepForecast>)> = stage
        .hosts
        .iter()
        .flat_map(|(host, steps)| steps.iter().map(move |step| (host, step)))
        .map(|(host, step)| (host, step, forecasts.get(&(host, step.action.id())).copied()))
        .collect();
    // Stable: steps of one host that begin at once stay in their order.
    steps.sort_by_key(|(_, _, expected)| expected.map_or(i64::MAX, |expected| expected.start.usual_ms));
    let (acts, rests): (Vec<_>, Vec<_>) = steps.into_iter().partition(|(_, step, _)| acts(step));
    let mut unchanged_hosts: Vec<&str> = Vec::new();
    for (host, ..) in &rests {
        let host = if one { host.name() } else { host.0.as_str() };
        if !unchanged_hosts.contains(&host) {
            unchanged_hosts.push(host);
        }
    }
    let gate = stage.rules.gate.as_ref();
    let span = |ms: i64| pen.when.span(u64::try_from(ms).unwrap_or(0));
    Section {
        name: stage.name.clone(),
        date: pen.when.date(expected.start.usual_ms),
        begins: pen.when.day_and_clock(expected.start.usual_ms),
        ends: pen.when.day_and_clock(expected.end.usual_ms),
        ends_latest: pen.when.day_and_clock(expected.end.latest_ms),
        window: expected.opening.as_ref().map(|opening| window(opening, pen)),
        back_until: expected.latest_abort_ms.map(|ms| pen.when.day_and_clock(ms)),
        back_takes: pen.when.span(expected.back_ms),
        guarded: stage.rules.guard_ms.or(stage.rules.within_ms).map(span),
        approvals: gate.map_or(0, |gate| gate.approve),
        checklist: gate.map(|gate| gate.checklist.clone()).unwrap_or_default(),
        holds: (expected.hold_ms > 0).then(|| span(expected.hold_ms)),
        rows: acts.into_iter().map(|(host, step, expected)| row(host, step, expected, one, number, pen)).collect(),
        unchanged: rests.len(),
        unchanged_hosts: unchanged_hosts.join(", "),
    }
}

/// Whether a person must know of a step: it changes something, is done by hand, or cuts the host off.
fn acts(step: &Step) -> bool {
    step.outlook.changes || !matches!(step.action, Action::Resource(_) | Action::Transfer(_))
}

fn row(
    host: &HostName,
    step: &Step,
    expected: Option<&StepForecast>,
    one: bool,
    number: &mut usize,
    pen: Pen<'_>,
) -> Row {
    *number += 1;
    let who = match &step.action {
        Action::Manual(manual) => Some(manual.by.as_ref().map(|by| pen.people.named(by)).unwrap_or_default()),
        _ => None,
    };
    let when = pen.when;
    let time =
        |pick: fn(&StepForecast) -> i64| expected.map_or_else(|| "?".to_owned(), |step| when.day_and_clock(pick(step)));
    let span = |pick: fn(&StepForecast) -> u64| expected.map_or_else(|| "?".to_owned(), |step| when.span(pick(step)));
    let undo = match (&step.action, step.outlook.undo.as_str()) {
        (Action::Check(_), _) => "–".to_owned(),
        (_, "") => pen.words.restored.to_owned(),
        (_, undo) => sentence::undo(undo, when.language),
    };
    Row {
        number: *number,
        time: time(|step| step.start.usual_ms),
        latest: time(|step| step.start.latest_ms),
        host: if one { host.name().to_owned() } else { host.0.clone() },
        what: sentence::of(step, when.language),
        step: step.action.id().0.clone(),
        manual: who.is_some(),
        takes: span(|step| step.usual_ms),
        at_most: span(|step| step.bound_ms),
        undo,
        irreversible: step.outlook.irreversible,
        abort_by: expected.and_then(|step| step.abort_by_ms).map(|ms| when.day_and_clock(ms)),
        who,
    }
}
