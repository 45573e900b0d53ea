//! A run as a report for programs: versioned JSON, a fold over plan and events.

use schemars::JsonSchema;
use serde::Serialize;
use weiche_agent::protocol::StepOutcome;

use crate::forecast::actual::{StageActual, actual};
use crate::plan::Plan;
use crate::rollout::Happening;
use crate::store::Event;
use crate::view::View;

/// Major and minor version of the report.
pub const VERSION: (u32, u32) = (1, 0);

/// A run as `weiche report` prints it.
#[derive(Serialize, JsonSchema)]
pub struct Report<'a> {
    /// Version of this form.
    weiche_report: (u32, u32),
    /// Name of the fleet.
    fleet: &'a str,
    /// Inputs of the playbook.
    inputs: &'a std::collections::BTreeMap<String, serde_json::Value>,
    /// Hosts whose package and unit commands are simulated.
    simulated: &'a std::collections::BTreeSet<crate::input::target::HostName>,
    /// Steps over all hosts.
    summary: crate::view::Counts,
    #[serde(flatten)]
    view: View,
    /// The forecast beside what happened.
    forecast: Vec<StageActual>,
    /// What happened, but for what steps told on their way.
    events: Vec<&'a Event>,
}

/// Whether it is for people who look on: how far a step is, and who has files open.
fn is_told(event: &Event) -> bool {
    matches!(&event.what, Happening::Step { event, .. } if matches!(event.what, StepOutcome::Note(_)))
}

/// Renders the report. What steps tell on their way is not in it.
pub fn json(plan: &Plan, events: &[Event]) -> String {
    let Some(first) = events.first() else { return String::from("{}\n") };
    let view = View::of(&first.run, events);
    let report = Report {
        weiche_report: VERSION,
        fleet: &plan.fleet,
        inputs: &plan.inputs,
        simulated: &plan.simulated,
        summary: view.counts(),
        view,
        forecast: actual(plan, events.iter().map(|event| (event.at_ms, &event.what))),
        events: events.iter().filter(|event| !is_told(event)).collect(),
    };
    // A report consists of strings, numbers and maps with string keys: it always serialises.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use weiche_agent::protocol::{RunId, StepEvent, StepId};

    use super::*;
    use crate::input::target::HostName;

    #[test]
    fn what_is_told_on_the_way_is_for_people() {
        let event = |outcome: StepOutcome| {
            let step = StepEvent { step: StepId("s.1".into()), what: outcome, took_us: 1 };
            let what = Happening::Step { host: HostName("alpha/fs".into()), event: step };
            Event { v: 1, run: RunId::try_from("run".to_owned()).unwrap(), seq: 1, at_ms: 1, what }
        };
        assert!(is_told(&event(StepOutcome::Note("letter.odt: anna".into()))));
        assert!(!is_told(&event(StepOutcome::Changed)));
    }
}
