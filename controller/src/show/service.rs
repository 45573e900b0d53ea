//! How services did while a run was driven, as text.

use std::time::Duration;

use crate::input::target::HostName;
use crate::rollout::meter::{Blank, Budget, Gap, Measure};

/// A service as seen from somewhere: `member/service`, or `member/service from pc-01`.
pub fn name(service: &str, vantage: Option<&HostName>) -> String {
    // A vantage host is of the service's own member.
    vantage.map_or_else(|| service.to_owned(), |host| format!("{service} from {}", host.name()))
}

/// A measurement in a line, and the gaps and blanks behind it.
pub fn text(name: &str, measure: &Measure) -> String {
    let mut text = format!("{name}: {}", line(measure));
    for gap in &measure.told {
        text += &format!("\n     {}", self::gap(gap));
    }
    if let more @ 1.. = measure.gaps.saturating_sub(measure.told.len() as u64) {
        text += &format!("\n     and {more} more");
    }
    for blank in &measure.blank {
        text += &format!("\n     not measured since {}", self::blank(blank));
    }
    if let more @ 1.. = measure.blanks.saturating_sub(measure.blank.len() as u64) {
        text += &format!("\n     and {more} more times");
    }
    text
}

fn line(measure: &Measure) -> String {
    let Measure { length_ms, probes, gaps, away_ms, longest_ms, slowest_ms, coarsest_ms, budget_ms, .. } = measure;
    let unmeasured = match measure.blank_ms {
        0 => String::new(),
        ms => format!("; NOT MEASURED for {}", seconds(ms)),
    };
    if *probes == 0 && measure.blanks > 0 {
        return String::from("NOT MEASURED at all");
    }
    let away = match gaps {
        0 => String::from("never away"),
        1 => format!("away once, {}", seconds(*away_ms)),
        n => format!("away {n} times, {} in all, the longest {}", seconds(*away_ms), seconds(*longest_ms)),
    };
    let budget = budget_ms.map_or_else(String::new, |ms| match measure.budget() {
        Some(Budget::Exceeded) => format!("; BUDGET of {} EXCEEDED", seconds(ms)),
        Some(Budget::Untold) => format!("; budget of {} kept AS FAR AS MEASURED", seconds(ms)),
        _ => format!("; budget of {} kept", seconds(ms)),
    });
    let looked = format!("{probes} looks in {}, at most {coarsest_ms} ms apart", seconds(*length_ms));
    format!("{away}{budget}{unmeasured}; slowest answer {slowest_ms} ms ({looked})")
}

/// One time that it was away.
pub fn gap(gap: &Gap) -> String {
    let open = if gap.open { ", not seen back" } else { "" };
    format!("{} for {}{open}: {}", super::time(gap.start_ms), seconds(gap.away_ms), gap.error)
}

/// One time in which it was not measured: since when, for how long, why.
fn blank(blank: &Blank) -> String {
    let open = if blank.open { ", to the end" } else { "" };
    format!("{} for {}{open}: {}", super::time(blank.start_ms), seconds(blank.length_ms), why(blank))
}

/// Why it is not measured, and what can be done.
pub fn why(blank: &Blank) -> String {
    let hint = blank.fault.hint.as_ref().map_or_else(String::new, |hint| format!("\n     hint: {hint}"));
    format!("{}{hint}", blank.fault)
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
    fn what_was_not_measured_stands_out() {
        use weiche_agent::protocol::{Fault, FaultCode};
        let fault = Fault::new(FaultCode::Io, "the line is cut").hint("is it on?");
        let blank = Blank { start_ms: 1_795_000_000_000, length_ms: 1500, fault, open: true };
        let (budget_ms, length_ms) = (Some(1000), 20_000);
        let all = Measure { length_ms, probes: 185, budget_ms, blanks: 1, blank_ms: 1500, ..Measure::default() };
        let all = Measure { blank: vec![blank], ..all };
        let name = name("a/web", Some(&HostName::new("a", "pc-01")));
        assert_eq!(
            text(&name, &all),
            "a/web from pc-01: never away; budget of 1.0 s kept AS FAR AS MEASURED; NOT MEASURED for 1.5 s; slowest answer 0 ms \
             (185 looks in 20.0 s, at most 0 ms apart)\n     \
             not measured since 2026-11-18 11:06:40Z for 1.5 s, to the end: the line is cut\n     hint: is it on?"
        );
        let none = Measure { probes: 0, ..all };
        assert!(text(&name, &none).starts_with("a/web from pc-01: NOT MEASURED at all\n"), "{}", text(&name, &none));
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
