//! Looks in, gaps and blanks out.

use super::*;
use proptest::prelude::*;
use weiche_agent::protocol::FaultCode;

fn down(start_ms: u64) -> Sample {
    Sample { start_ms, answer: Answer::Wrong("refused".into()) }
}

fn up(start_ms: u64, after: u64) -> Sample {
    Sample { start_ms, answer: Answer::After(after) }
}

#[test]
fn a_gap_lasts_from_the_first_failure_to_the_next_success() {
    let mut meter = Meter::new(1_000_000, Some(400));
    assert_eq!(meter.take(0, up(0, 3)), []);
    let gap = Gap { start_ms: 1_000_100, away_ms: 0, error: "refused".into(), open: true };
    assert_eq!(meter.take(1, down(100)), [Change::Away(gap.clone())]);
    assert_eq!(meter.take(2, down(200)), []);
    // Answers overtake one another.
    assert_eq!(meter.take(4, up(400, 1)), []);
    assert_eq!(meter.take(3, down(300)), [Change::Back(Gap { away_ms: 300, open: false, ..gap })]);
    let late = meter.take(5, up(510, 2300));
    assert!(matches!(&late[..], [Change::Away(gap)] if gap.error == "it answered after 2300 ms only"), "{late:?}");
    let measure = meter.end(600);
    let Measure { probes, failed, gaps, away_ms, longest_ms, slowest_ms, coarsest_ms, length_ms, .. } = measure;
    assert_eq!((probes, failed, gaps, away_ms, longest_ms), (6, 4, 2, 390, 300));
    assert_eq!((slowest_ms, coarsest_ms, length_ms), (2300, 110, 600));
    assert!(measure.told[1].open && !measure.told[0].open);
    assert_eq!(measure.budget(), Some(Budget::Kept));
    let twice = Measure::default().and(&measure).and(&measure);
    assert_eq!((twice.gaps, twice.away_ms, twice.from_ms, twice.budget()), (4, 780, 1_000_000, Some(Budget::Exceeded)));
    assert_eq!(Measure::default().budget(), None);
}

fn untold(start_ms: u64) -> Sample {
    Sample { start_ms, answer: Answer::Untold(Fault::new(FaultCode::Io, "the line is cut")) }
}

#[test]
fn what_was_not_measured_is_no_gap_and_no_answer() {
    let mut meter = Meter::new(1_000_000, Some(500));
    let mut changes = Vec::new();
    let looks = [up(0, 3), down(100), untold(200), untold(300), untold(900), down(1000), up(1100, 2), untold(1200)];
    for (n, look) in (0..).zip(looks) {
        changes.extend(meter.take(n, look));
    }
    let words: Vec<String> = changes.iter().map(word).collect();
    // What was away when the line was cut is not said to be back.
    let expected = ["away 100", "blank 200", "again 200+800", "away 1000", "back 1000+100", "blank 1200"];
    assert_eq!(words, expected);
    let measure = meter.end(1500);
    let Measure { probes, failed, gaps, away_ms, blanks, blank_ms, coarsest_ms, length_ms, .. } = measure;
    assert_eq!((probes, failed, gaps, away_ms), (4, 2, 2, 200));
    assert_eq!((blanks, blank_ms, coarsest_ms, length_ms), (2, 1100, 100, 1500));
    assert_eq!(measure.told.iter().map(|gap| gap.open).collect::<Vec<_>>(), [true, false]);
    assert_eq!(measure.blank.iter().map(|blank| blank.open).collect::<Vec<_>>(), [false, true]);
    // It may have been away for longer than it may be.
    assert_eq!(measure.budget(), Some(Budget::Untold));
    assert_eq!(Measure { budget_ms: Some(1300), ..measure.clone() }.budget(), Some(Budget::Kept));
    assert_eq!(Measure { budget_ms: Some(199), ..measure.clone() }.budget(), Some(Budget::Exceeded));
    let twice = Measure::default().and(&measure).and(&measure);
    assert_eq!((twice.blanks, twice.blank_ms, twice.blank.len(), twice.from_ms), (4, 2200, 4, 1_000_000));
}

fn word(change: &Change) -> String {
    let since = |ms: i64| ms - 1_000_000;
    match change {
        Change::Away(gap) => format!("away {}", since(gap.start_ms)),
        Change::Back(gap) => format!("back {}+{}", since(gap.start_ms), gap.away_ms),
        Change::Blank(blank) => format!("blank {}", since(blank.start_ms)),
        Change::Again(blank) => format!("again {}+{}", since(blank.start_ms), blank.length_ms),
    }
}

proptest! {
    /// All of the time is measured or blank, and a service that always answers was never away, however the line is cut.
    #[test]
    fn a_line_that_is_cut_makes_no_gap(cut in prop::collection::vec(any::<bool>(), 1..80)) {
        let mut meter = Meter::new(0, None);
        for (n, cut) in (0..).zip(&cut) {
            meter.take(n, if *cut { untold(n * 100) } else { up(n * 100, 1) });
        }
        let measure = meter.end(cut.len() as u64 * 100);
        prop_assert_eq!((measure.gaps, measure.failed, measure.away_ms), (0, 0, 0));
        prop_assert_eq!(measure.blank_ms, cut.iter().filter(|cut| **cut).count() as u64 * 100);
        prop_assert_eq!(measure.probes, cut.iter().filter(|cut| !**cut).count() as u64);
        prop_assert!(measure.coarsest_ms <= 100);
    }

    /// A service that is down from `from` to `to` was away for so long, give or take the time between two looks.
    #[test]
    fn the_error_is_at_most_one_period(
        from in 0_u64..5000, length in 1_u64..5000, starts in prop::collection::vec(50_u64..200, 60..120),
        order in any::<u64>(),
    ) {
        let to = from + length;
        let starts: Vec<u64> = starts.iter().scan(0, |at, step| { *at += step; Some(*at) }).collect();
        let sample = |at: u64| if (from..to).contains(&at) { down(at) } else { up(at, 1) };
        let mut looks: Vec<(u64, Sample)> = (0..).zip(starts.iter().map(|at| sample(*at))).collect();
        // In some other order.
        looks.sort_by_key(|(n, _)| n.wrapping_mul(order | 1) % 7 + n / 7 * 7);
        let mut meter = Meter::new(0, None);
        for (n, look) in looks {
            meter.take(n, look);
        }
        let last = starts[starts.len() - 1];
        let measure = meter.end(last);
        let truly = to.min(last).saturating_sub(from.min(last));
        prop_assert!(measure.away_ms.abs_diff(truly) <= measure.coarsest_ms.max(starts[0]), "{measure:?} {truly}");
        prop_assert!(measure.gaps <= 1);
        prop_assert_eq!(measure.probes, starts.len() as u64);
    }
}
