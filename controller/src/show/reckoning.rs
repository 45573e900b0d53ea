//! How a run lies in time, as a line.

use super::forecast::span;
use crate::calendar::Zone;
use crate::plan::Plan;
use crate::rollout::reckoning::{Decide, Reckoning};

/// Differences from the plan that are smaller are none.
const NONE_MS: u64 = 30_000;

/// Where the people of a plan look at their clocks: its windows say so.
pub fn zone(plan: &Plan) -> Zone {
    let mut windows = plan.stages.iter().flat_map(|stage| &stage.rules.windows);
    windows.next().map_or(Zone::UTC, |window| window.zone.clone())
}

/// `expected through Sat 2026-11-28 21:40 CET (at most 22:05 CET), 4m ahead; abort by ...`.
pub fn text(reckoning: &Reckoning, zone: &Zone) -> String {
    let Reckoning { stage, expected_ms, latest_ms, ahead_ms, abort_by_ms, decide } = reckoning;
    let lies = match ahead_ms.unsigned_abs() {
        ms if ms < NONE_MS => "as planned".to_owned(),
        ms if *ahead_ms > 0 => format!("{} ahead", span(ms)),
        ms => format!("{} BEHIND", span(ms)),
    };
    let through = format!("{stage} through by {}, at most {}", zone.tell(*expected_ms), zone.tell(*latest_ms));
    let abort = abort_by_ms.map(|at| format!("; abort by {}", zone.tell(at))).unwrap_or_default();
    let line = format!("   {through}, {lies}{abort}");
    let by = abort_by_ms.map(|at| zone.tell(at)).unwrap_or_default();
    match decide {
        Decide::NotNow => line,
        Decide::Soon => format!("{line}\n   SOON: whoever wants everything back in the window says so by {by}"),
        Decide::Now => format!(
            "{line}\n== DECIDE BY {by}: go on, and have no way back in this window? Then there is nothing to do.\n   \
             Or have everything back in the window? Then: weiche abort"
        ),
        Decide::TooLate => format!("{line}\n== TOO LATE: a rollback would no longer end in the window"),
    }
}
