//! How services did while a run was driven, as text.

use std::time::Duration;

use crate::rollout::meter::{Gap, Measure};

/// A measurement in a line, and the gaps behind it.
pub fn text(service: &str, measure: &Measure) -> String {
    let Measure { length_ms, probes, gaps, told, away_ms, longest_ms, slowest_ms, coarsest_ms, budget_ms, .. } =
        measure;
    let away = match gaps {
        0 => String::from("never away"),
        1 => format!("away once, {}", seconds(*away_ms)),
        n => format!("away {n} times, {} in all, the longest {}", seconds(*away_ms), seconds(*longest_ms)),
    };
    let budget = match (budget_ms, measure.kept()) {
        (Some(budget), Some(true)) => format!("; budget of {} kept", seconds(*budget)),
        (Some(budget), _) => format!("; BUDGET of {} EXCEEDED", seconds(*budget)),
        _ => String::new(),
    };
    let looked = format!("{probes} looks in {}, at most {coarsest_ms} ms apart", seconds(*length_ms));
    let mut text = format!("{service}: {away}{budget}; slowest answer {slowest_ms} ms ({looked})");
    for gap in told {
        text += &format!("\n     {}", self::gap(gap));
    }
    if *gaps > told.len() as u64 {
        text += &format!("\n     and {} more", gaps - told.len() as u64);
    }
    text
}

/// One time that it was away.
pub fn gap(gap: &Gap) -> String {
    let open = if gap.open { ", not back yet" } else { "" };
    format!("{} for {}{open}: {}", super::time(gap.start_ms), seconds(gap.away_ms), gap.error)
}

/// Milliseconds as people read them.
pub fn seconds(ms: u64) -> String {
    match Duration::from_millis(ms).as_secs() {
        0 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_people_read_them() {
        assert_eq!([999, 1000, 2345, 59_999, 61_000].map(seconds), ["999 ms", "1.0 s", "2.3 s", "59.9 s", "1 min 1 s"]);
    }

    #[test]
    fn a_budget_that_is_exceeded_stands_out() {
        let gap = Gap { start_ms: 1_795_000_000_000, away_ms: 1500, error: "refused".into(), open: false };
        let measure = Measure {
            length_ms: 20_000,
            probes: 200,
            gaps: 1,
            told: vec![gap],
            away_ms: 1500,
            slowest_ms: 12,
            coarsest_ms: 103,
            budget_ms: Some(1000),
            ..Measure::default()
        };
        assert_eq!(
            text("a/web", &measure),
            "a/web: away once, 1.5 s; BUDGET of 1.0 s EXCEEDED; slowest answer 12 ms (200 looks in 20.0 s, at most 103 ms apart)\n     \
             2026-11-18 11:06:40Z for 1.5 s: refused"
        );
        assert!(text("a/web", &Measure::default()).starts_with("a/web: never away; slowest answer 0 ms"));
    }
}
