//! How a run lies in time, as a line.

use weiche_agent::protocol::RunId;

use super::forecast::span;
use crate::calendar::Zone;
use crate::rollout::reckoning::{Decide, Reckoning};

/// Differences from the plan that are smaller are none.
const NONE_MS: u64 = 30_000;

/// `expected through Sat 2026-11-28 21:40 CET (at most 22:05 CET), 4m ahead; abort by ...`.
pub fn text(reckoning: &Reckoning, run: &RunId, zone: &Zone) -> String {
    let Reckoning { stage, expected_ms, latest_ms, ahead_ms, abort_by_ms, no_way_back_ms, decide } = reckoning;
    let lies = match ahead_ms.unsigned_abs() {
        ms if ms < NONE_MS => "as planned".to_owned(),
        ms if *ahead_ms > 0 => format!("{} ahead", span(ms)),
        ms => format!("{} BEHIND", span(ms)),
    };
    let through = format!("{stage} through by {}, at most {}", zone.tell(*expected_ms), zone.tell(*latest_ms));
    let abort = abort_by_ms.map(|at| format!("; abort by {}", zone.tell(at))).unwrap_or_default();
    let gone = no_way_back_ms.map(|at| format!("; NO WAY BACK since {}", zone.tell(at))).unwrap_or_default();
    let line = format!("   {through}, {lies}{abort}{gone}");
    let by = abort_by_ms.map(|at| zone.tell(at)).unwrap_or_default();
    match decide {
        Decide::NotNow => line,
        Decide::Soon => format!("{line}\n   SOON: whoever wants everything back in the window says so by {by}"),
        Decide::Now => format!(
            "{line}\n== DECIDE BY {by}: go on, and have no way back in this window? Then there is nothing to do.\n   \
             Or have everything back in the window? Then: weiche abort {run}"
        ),
        Decide::TooLate => format!("{line}\n== TOO LATE: a rollback would no longer end in the window"),
    }
}

/// What is left at this time, in few words: `through in 12m, 4m BEHIND, abort within 1h 20m`.
pub fn left(reckoning: &Reckoning, now_ms: i64) -> String {
    let Reckoning { expected_ms, ahead_ms, abort_by_ms, .. } = reckoning;
    let until = |at: i64| u64::try_from(at - now_ms).ok().filter(|ms| *ms > 0).map(span);
    let through =
        until(*expected_ms).map_or_else(|| "to be through by now".to_owned(), |ms| format!("through in {ms}"));
    let lies = match ahead_ms.unsigned_abs() {
        ms if ms < NONE_MS => String::new(),
        ms if *ahead_ms > 0 => format!(", {} ahead", span(ms)),
        ms => format!(", {} BEHIND", span(ms)),
    };
    let abort = abort_by_ms.map(|at| match until(at) {
        Some(ms) => format!(", abort within {ms}"),
        None => ", TOO LATE to abort in the window".to_owned(),
    });
    format!("{through}{lies}{}", abort.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_counts_down() {
        let reckoning = Reckoning {
            stage: "cutover".into(),
            expected_ms: 720_000,
            latest_ms: 900_000,
            ahead_ms: -240_000,
            abort_by_ms: Some(4_800_000),
            no_way_back_ms: None,
            decide: Decide::NotNow,
        };
        assert_eq!(left(&reckoning, 0), "through in 12m, 4m BEHIND, abort within 1h 20m");
        assert_eq!(left(&reckoning, 600_000), "through in 2m, 4m BEHIND, abort within 1h 10m");
        assert_eq!(left(&reckoning, 4_800_000), "to be through by now, 4m BEHIND, TOO LATE to abort in the window");
        let fine = Reckoning { ahead_ms: 100, abort_by_ms: None, ..reckoning };
        assert_eq!(left(&fine, 0), "through in 12m");
        let asked = Reckoning { abort_by_ms: Some(0), decide: Decide::Now, ..fine };
        let run = RunId::try_from("r-1".to_owned()).unwrap();
        let text = text(&asked, &run, &Zone::UTC);
        assert!(text.contains("== DECIDE BY Thu 1970-01-01 00:00 UTC") && text.contains("weiche abort r-1"), "{text}");
    }
}
