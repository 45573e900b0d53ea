//! A run as a report for programs: versioned JSON, a fold over plan and events.

use serde::Serialize;

use crate::plan::Plan;
use crate::store::Event;
use crate::view::View;

/// Major and minor version of the report.
const VERSION: (u32, u32) = (1, 0);

#[derive(Serialize)]
struct Report<'a> {
    weiche_report: (u32, u32),
    fleet: &'a str,
    inputs: &'a std::collections::BTreeMap<String, serde_json::Value>,
    simulated: &'a std::collections::BTreeSet<crate::input::target::HostName>,
    summary: crate::view::Counts,
    #[serde(flatten)]
    view: View,
    events: &'a [Event],
}

/// Renders the report.
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
        events,
    };
    // A report consists of strings, numbers and maps with string keys: it always serialises.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}
