//! A run as it happens: a progress bar on a terminal, plain lines elsewhere, JSON lines for programs.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use weiche_agent::protocol::{Fault, RunId, StepOutcome};

use super::service::{name as seen, seconds, why};
use crate::calendar::Zone;
use crate::plan::Plan;
use crate::rollout::reckoning::Reckoning;
use crate::rollout::{Happening, Outcome};
use crate::store::Event;

/// Most differences of a host that are shown; the report has more.
const TOLD: usize = 20;

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// JSON lines of the event stream on stdout.
    Json,
    /// A bar with lines above it, or lines alone where stderr is no terminal.
    People,
}

/// Takes a run's events as they come.
#[derive(Debug)]
pub struct Progress {
    style: Style,
    bar: Option<ProgressBar>,
    titles: std::collections::BTreeMap<(String, String), String>,
    /// Hosts of which a failed step was the last that was said.
    told: std::collections::BTreeSet<String>,
    /// Where people look at their clocks.
    zone: Zone,
    /// How the run lies in time; the bar counts down by it between two events, too.
    reckoning: Arc<Mutex<Option<Reckoning>>>,
}

impl Progress {
    /// Shows a run of this plan; `clock` tells milliseconds since the epoch.
    pub fn new(style: Style, plan: &Plan, clock: fn() -> i64) -> Progress {
        let reckoning = Arc::<Mutex<Option<Reckoning>>>::default();
        let bar = (style == Style::People && stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(plan.steps().count() as u64);
            let template = "{spinner} {bar:30} {pos}/{len} steps  {elapsed_precise}  {left}";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let of = Arc::clone(&reckoning);
            bar.set_style(style.with_key("left", move |_: &ProgressState, to: &mut dyn std::fmt::Write| {
                if let Some(reckoning) = &*of.lock().unwrap_or_else(PoisonError::into_inner) {
                    let _ = to.write_str(&super::reckoning::left(reckoning, clock()));
                }
            }));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let titles =
            plan.steps().map(|(_, host, s)| ((host.to_string(), s.action.id().to_string()), s.title.clone())).collect();
        Progress { style, bar, titles, told: Default::default(), zone: plan.zone(), reckoning }
    }

    /// Shows one event.
    pub fn take(&mut self, event: &Event) {
        if self.style == Style::Json {
            // A reader that went away must not stop the run.
            if let Ok(line) = serde_json::to_string(event) {
                let _ = writeln!(stdout(), "{line}");
            }
            return;
        }
        if let (Some(bar), Happening::Step { event: step, .. }) = (&self.bar, &event.what)
            && !matches!(step.what, StepOutcome::Note(_))
        {
            bar.inc(1);
        }
        match &event.what {
            Happening::Reckoned { reckoning } => self.lies(Some(reckoning.clone())),
            Happening::RollbackStarted { .. } | Happening::RunEnded { .. } => self.lies(None),
            _ => {}
        }
        if let Some(line) = self.line(&event.what, &event.run) {
            match &self.bar {
                Some(bar) => bar.println(line),
                None => {
                    let _ = writeln!(stderr(), "{line}");
                }
            }
        }
    }

    fn lies(&self, reckoning: Option<Reckoning>) {
        *self.reckoning.lock().unwrap_or_else(PoisonError::into_inner) = reckoning;
    }

    fn line(&mut self, what: &Happening, run: &RunId) -> Option<String> {
        Some(match what {
            Happening::RunStarted { playbook, .. } => format!("run of {playbook} started"),
            Happening::StageStarted { stage } => format!("== stage {stage}"),
            Happening::Step { event, .. } if event.what == StepOutcome::Unchanged => return None,
            Happening::Step { host, event } => {
                let key = (host.to_string(), event.step.to_string());
                let title = self.titles.get(&key).map_or("", String::as_str);
                let word = super::outcome(&event.what);
                match &event.what {
                    StepOutcome::Failed(fault) | StepOutcome::UndoFailed(fault) => {
                        self.told.insert(host.to_string());
                        format!("   {host}: {word}: {} {title}: {}", event.step, indented(fault))
                    }
                    StepOutcome::Note(text) => format!("   {host}: {} {title}: {text}", event.step),
                    _ => format!("   {host}: {word}: {} {title}", event.step),
                }
            }
            Happening::WaveStarted { stage, wave } => format!("== stage {stage}, wave {}", wave + 1),
            Happening::HostBegun { .. } => return None,
            Happening::HostConfirmed { host, stage } => format!("   {host}: {stage} confirmed"),
            Happening::HostOffline { host, stage, .. } => format!("   {host}: switched off; {stage} waits for it"),
            Happening::HostGivenUp { host, stage } => format!("   {host}: {stage} is not waited for any more"),
            Happening::ServicesWork { wave, .. } => format!("   the services work after wave {}", wave + 1),
            Happening::ServiceFailed { service, fault, .. } => format!("   {service} DOES NOT WORK: {fault}"),
            Happening::ServiceAway { service, vantage, gap } => {
                format!("   {} is AWAY: {}", seen(service, vantage.as_ref()), gap.error)
            }
            Happening::ServiceBack { service, vantage, gap } => {
                format!("   {} is back after {}", seen(service, vantage.as_ref()), seconds(gap.away_ms))
            }
            Happening::ServiceUntold { service, vantage, blank } => {
                format!("   {} is NOT MEASURED: {}", seen(service, Some(vantage)), why(blank))
            }
            Happening::ServiceTold { service, vantage, blank } => {
                format!("   {} is measured again after {}", seen(service, Some(vantage)), seconds(blank.length_ms))
            }
            Happening::ServiceMeasured { service, vantage, measure } => {
                format!("   {}", super::service::text(&seen(service, vantage.as_ref()), measure))
            }
            Happening::Reckoned { reckoning } => super::reckoning::text(reckoning, run, &self.zone),
            Happening::Held { stage, reason } => format!("== HELD in stage {stage}: {reason}"),
            Happening::Approved { stage, approval, .. } => {
                format!("== stage {stage}: approved by {}", approval.principal)
            }
            Happening::Ticked { stage, item, by } => format!("== stage {stage}: {item}: ticked off by {by}"),
            Happening::Paused { by } => format!("== paused by {by}"),
            Happening::Aborted { by, .. } => format!("== aborted by {by}: what works ends its part"),
            Happening::Continued { by } => format!("== goes on, says {by}"),
            Happening::HostSettled { host, by, how, reason } => format!("   {host}: {how} by {by}: {reason}"),
            Happening::HostDone { host, stage } => format!("   {host}: {stage} done"),
            // The step that failed has just said why.
            Happening::HostFailed { host, .. } if self.told.remove(&host.to_string()) => return None,
            Happening::HostFailed { host, fault, .. } => format!("   {host}: FAILED: {}", indented(fault)),
            Happening::HostWaits { host, step, text, .. } => format!("   {host}: waits for a person: {step}: {text}"),
            Happening::HostWitnessed { .. } => return None,
            Happening::HostVerified { host, verdict } => super::verdict::text(host, verdict, TOLD),
            Happening::RollbackStarted { reason, .. } => format!("== taking back: {reason}"),
            Happening::Rebooting { host, step, .. } => format!("   {host}: restarts: {step}"),
            Happening::HostUndone { host, stage } => format!("   {host}: {stage} taken back"),
            Happening::HostStuck { host, fault, steps, .. } => {
                let names: Vec<String> = steps.iter().map(ToString::to_string).collect();
                let left = if names.is_empty() {
                    String::new()
                } else {
                    format!("\n     not taken back: {}", names.join(", "))
                };
                format!("   {host}: STUCK: {}{left}", indented(fault))
            }
            Happening::RunEnded { outcome } => match outcome {
                Outcome::Done => "== done".to_owned(),
                Outcome::Partial => "== ended: some hosts are new, every other is as it was".to_owned(),
                Outcome::Left => "== ended: every host is left as it is".to_owned(),
                Outcome::RolledBack => "== taken back: every host is as it was".to_owned(),
                Outcome::Differs => "== taken back, but NOT IDENTICAL: see the differences above".to_owned(),
                Outcome::Stuck => "== STUCK: at least one host could not be taken back".to_owned(),
            },
        })
    }
}

/// A fault with its hint, its further lines below the first.
fn indented(fault: &Fault) -> String {
    let hint = fault.hint.as_ref().map_or_else(String::new, |hint| format!("\nhint: {hint}"));
    format!("{fault}{hint}").replace('\n', "\n     ")
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
