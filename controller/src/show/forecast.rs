//! A forecast as text and JSON: when what happens, whether it fits, until when an abort does.

use std::fmt::Write;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Serialize;

use crate::calendar::Zone;
use crate::forecast::{Advice, Between, Forecast, Note, Problem, StageForecast, Waves};
use crate::input::target::HostName;
use crate::plan::Plan;
use crate::plan::rules::LOST;
use weiche_agent::digest::Digest;

/// What is reckoned in everywhere, in milliseconds.
const LOST_MS: u64 = LOST.as_secs() * 1000;

/// Major and minor version of the JSON.
pub const VERSION: (u32, u32) = (1, 0);

/// A forecast as `weiche whatif --json` prints it.
#[derive(Serialize, JsonSchema)]
pub struct Told<'a> {
    /// Version of this form.
    weiche_forecast: (u32, u32),
    /// Digest of the plan.
    plan: Digest,
    /// Its playbook.
    playbook: &'a str,
    #[serde(flatten)]
    forecast: &'a Forecast,
}

/// As JSON.
pub fn json(plan: &Plan, forecast: &Forecast) -> String {
    let told = Told { weiche_forecast: VERSION, plan: plan.digest(), playbook: &plan.playbook, forecast };
    // Strings, numbers and maps with string keys: it always serialises.
    serde_json::to_string_pretty(&told).unwrap_or_default() + "\n"
}

/// Renders it; times are told in this zone.
pub fn text(forecast: &Forecast, zone: &Zone) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = render(forecast, zone, &mut out);
    out
}

fn render(forecast: &Forecast, zone: &Zone, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n{}", verdict(forecast, zone))?;
    writeln!(out, "Forecast, if the run begins {}", zone.tell(forecast.start_ms))?;
    let width = forecast.stages.iter().map(|stage| stage.stage.chars().count()).max().unwrap_or(0).max(5);
    let titles = ["stage", "begins", "through by", "back in", "abort by"];
    writeln!(out, "  {:width$}  {:24}  {:24}  {:>8}  {}", titles[0], titles[1], titles[2], titles[3], titles[4])?;
    for stage in &forecast.stages {
        let abort = stage.latest_abort_ms.map_or_else(|| "-".to_owned(), |at| zone.tell(at));
        let (begins, through) = (zone.tell(stage.start.latest_ms), zone.tell(stage.end.latest_ms));
        let back = span(stage.back_ms);
        writeln!(out, "  {:width$}  {begins:24}  {through:24}  {back:>8}  {abort}", stage.stage)?;
        usually(stage, zone, width, out)?;
        if stage.hold_ms > 0 {
            let (soaks, over) = (span(stage.hold_ms.unsigned_abs()), zone.tell(stage.end.latest_ms + stage.hold_ms));
            writeln!(out, "  {:width$}  soaks for {soaks}: over by {over}", "")?;
        }
        if stage.failures_ms > LOST_MS {
            let failures = span(stage.failures_ms);
            writeln!(out, "  {:width$}  and up to {failures} later where something fails that it reckons with", "")?;
        }
    }
    writeln!(
        out,
        "  Times are the latest ones, and a host that is lost is looked for {} more; \"abort by\": from then on not \
         everything is back before the window's reserve.",
        span(LOST_MS)
    )?;
    for (host, by) in forecast.stages.iter().filter_map(|stage| stage.delayed_by.as_ref()) {
        writeln!(out, "  {host} is what its wave waits for: {} longer than the next", span(*by))?;
    }
    for note in &forecast.notes {
        match note {
            Note::TakesItselfBack { stage, within_ms, usual_ms } => writeln!(
                out,
                "  Stage {stage} is taken back by its hosts after {}, and usually takes {} by these estimates",
                span(*within_ms),
                span(*usual_ms)
            )?,
            Note::BackElsewhere { stage, earlier } => writeln!(
                out,
                "  Should all go back from stage {stage}, stage {earlier} goes back outside of its window"
            )?,
            Note::BackOutside { stage } => {
                writeln!(out, "  Stage {stage} has no window: should it fail, all goes back outside of the windows")?;
            }
        }
    }
    if let Some(point) = &forecast.no_return {
        let why = if point.irreversible { "it cannot be taken back" } else { "the way back would not fit" };
        let (at, step) = (zone.tell(point.at.usual_ms), &point.step);
        let earliest = zone.tell(point.at.earliest_ms);
        let earliest = if earliest == at { String::new() } else { format!(", at the earliest {earliest}") };
        writeln!(out, "  Point of no return: {at}{earliest}, step {step} on {}: {why}", point.host)?;
    }
    if forecast.technicians.at_once > 0 {
        let has = forecast.technicians.available.map(|n| format!(", there are {n}")).unwrap_or_default();
        let named = forecast.technicians.named.iter().cloned().collect::<Vec<_>>().join(", ");
        let named = if named.is_empty() { named } else { format!(" ({named})") };
        writeln!(out, "  People who have something to do at once: {}{named}{has}", forecast.technicians.at_once)?;
    }
    let basis = &forecast.basis;
    let known = (basis.runs > 0).then(|| format!("{} step(s) from {} or more earlier runs", basis.runs, basis.fewest));
    let declared = (basis.declared > 0).then(|| format!("{} as declared", basis.declared));
    let assumed = (basis.assumed > 0).then(|| format!("{} assumed, for such steps never ran here", basis.assumed));
    let parts: Vec<String> = [known, declared, assumed].into_iter().flatten().collect();
    writeln!(out, "  Bounds: {}", if parts.is_empty() { "no step changes anything".into() } else { parts.join(", ") })?;
    if let Some(chance) = forecast.chance {
        writeln!(out, "  In {} of {} sampled weekends everything fits", chance.fit, chance.weekends)?;
    }
    write!(out, "{}", problems(forecast, zone))
}

/// Whether it fits, and until when an abort does: what is to be seen first.
fn verdict(forecast: &Forecast, zone: &Zone) -> String {
    if !forecast.fits {
        return "DOES NOT FIT into the windows: why, and what would help, is below".to_owned();
    }
    if forecast.stages.iter().all(|stage| stage.opening.is_none()) {
        return "No stage has a window.".to_owned();
    }
    let abort = forecast.stages.iter().filter_map(|stage| stage.latest_abort_ms).min();
    let abort = abort.map(|at| format!("; abort by {}", zone.tell(at))).unwrap_or_default();
    format!("FITS: the work and its rollback fit into the windows, given the bounds{abort}")
}

/// When a stage usually begins and is through, where that differs visibly from the latest times.
fn usually(stage: &StageForecast, zone: &Zone, width: usize, out: &mut String) -> std::fmt::Result {
    let [begins, through] = [stage.start, stage.end].map(|of| (zone.tell(of.usual_ms), zone.tell(of.latest_ms)));
    if begins.0 == begins.1 && through.0 == through.1 {
        return Ok(());
    }
    writeln!(out, "  {:width$}  {:24}  {:24}  usually", "", begins.0, through.0)
}

/// Why it does not fit, and what would help.
pub fn problems(forecast: &Forecast, zone: &Zone) -> String {
    let mut out = String::new();
    for problem in &forecast.problems {
        let line = match problem {
            Problem::NoWindow { stage } => format!("the window of stage {stage} never opens for long enough"),
            Problem::Late { stage, by_ms } => {
                format!("stage {stage} may be at work {} after its window closes", span(*by_ms))
            }
            Problem::NoWayBack { stage, by_ms } => {
                format!("stage {stage} fits, but the way back from it may end {} too late", span(*by_ms))
            }
        };
        let _ = writeln!(out, "DOES NOT FIT: {line}.");
    }
    for advice in &forecast.advice {
        let line = match advice {
            Advice::StartBy(at) => format!("begin by {}", zone.tell(*at)),
            Advice::StartFrom(at) => format!("begin at {}", zone.tell(*at)),
            Advice::Technicians(n) => format!("{n} people for manual steps"),
            Advice::AtOnce { stage, hosts, waves } => {
                let waves = match waves {
                    Waves::AsPlanned => "",
                    Waves::FirstAndRest => " and all in one wave behind the first",
                    Waves::One => " and all in one wave (nobody goes ahead)",
                };
                format!("stage {stage} with {hosts} host(s) at once{waves}")
            }
            Advice::Without(hosts) => format!("without {}", names(hosts)),
            Advice::LongerWindow { stage, by_ms } => format!("the window of stage {stage} {} longer", span(*by_ms)),
        };
        let _ = writeln!(out, "  It would fit with: {line}");
    }
    if forecast.advice.is_empty() && !forecast.fits {
        let _ = writeln!(
            out,
            "  No single change that was tried helps: an earlier beginning, the next opening, more people, more hosts at once, few hosts less, a longer window."
        );
    }
    out
}

fn names(hosts: &[HostName]) -> String {
    hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Every step: when, how long, until when an abort fits.
pub fn steps(plan: &Plan, forecast: &Forecast, zone: &Zone) -> String {
    let mut out = String::new();
    for (stage, planned) in forecast.stages.iter().zip(&plan.stages) {
        let _ = writeln!(out, "\nStage {}", stage.stage);
        for (host, steps) in &stage.hosts {
            let _ = writeln!(out, "  {host}");
            let titles = planned.hosts.get(host).into_iter().flatten();
            for (step, title) in steps.iter().zip(titles) {
                let Between { latest_ms, .. } = step.start;
                let (usual, bound) = (span(step.usual_ms), span(step.bound_ms));
                let abort = step.abort_by_ms.map(|at| format!(", abort by {}", zone.tell(at))).unwrap_or_default();
                let critical = if step.critical() { "!" } else { " " };
                let _ = writeln!(
                    out,
                    "  {critical} {} {}: usually {usual}, at most {bound}{abort}\n      {}",
                    zone.tell(latest_ms),
                    step.step,
                    title.title
                );
            }
        }
    }
    out
}

/// A duration as people tell it, to the second; below a second `0s`.
pub(crate) fn span(ms: u64) -> String {
    let seconds = i64::try_from(ms.div_ceil(1000)).unwrap_or(i64::MAX);
    format!("{:#}", SignedDuration::from_secs(seconds))
}
