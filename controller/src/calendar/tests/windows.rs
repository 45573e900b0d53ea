//! Windows: examples by hand, then all patterns around the nights in which clocks are changed.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime};
use proptest::prelude::*;

use crate::calendar::window::HORIZON_DAYS;
use crate::calendar::{Edge, Fit, HolidayRule, Holidays, Moment, Opening, Pattern, Rule, Window, Zone};

const HOUR: i64 = 3_600_000;

fn berlin() -> Zone {
    Zone::find("Europe/Berlin").unwrap()
}

fn window(from: &str, to: &str) -> Window {
    let pattern = Pattern::new(from.parse().unwrap(), to.parse().unwrap()).unwrap();
    Window { zone: berlin(), pattern, reserve_ms: 0, holidays: None, except: BTreeSet::new() }
}

fn by_holidays(from: &str, to: &str, rule: Rule) -> Window {
    let holidays = Some(HolidayRule { calendar: Holidays::SaxonyAnhalt, rule });
    Window { holidays, ..window(from, to) }
}

/// An instant in UTC.
fn at(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn told(window: &Window, now: &str) -> String {
    let tell =
        |opening: Opening| format!("{} - {}", window.zone.tell(opening.start_ms), window.zone.tell(opening.end_ms));
    window.opening(at(now)).map_or("never".into(), tell)
}

#[test]
fn the_one_that_is_open_or_the_next() {
    let weekend = window("fri 18:00", "sun 22:00");
    let wanted = "Fri 2026-11-27 18:00 CET - Sun 2026-11-29 22:00 CET";
    for now in ["2026-11-23T08:00:00Z", "2026-11-27T17:00:00Z", "2026-11-28T12:00:00Z", "2026-11-29T20:59:59Z"] {
        assert_eq!(told(&weekend, now), wanted, "{now}");
    }
    assert_eq!(told(&weekend, "2026-11-29T21:00:00Z"), "Fri 2026-12-04 18:00 CET - Sun 2026-12-06 22:00 CET");
    assert_eq!(
        told(&window("20:00", "05:00"), "2026-11-29T02:00:00Z"),
        "Sat 2026-11-28 20:00 CET - Sun 2026-11-29 05:00 CET"
    );
    assert_eq!(
        told(&window("sun 20:00", "mon 24:00"), "2026-11-29T02:00:00Z"),
        "Sun 2026-11-29 20:00 CET - Tue 2026-12-01 00:00 CET"
    );
    let once = window("2026-12-23 18:00", "2026-12-27 06:00");
    assert_eq!(told(&once, "2026-01-01T00:00:00Z"), "Wed 2026-12-23 18:00 CET - Sun 2026-12-27 06:00 CET");
    assert_eq!(told(&once, "2026-12-27T04:59:59Z"), "Wed 2026-12-23 18:00 CET - Sun 2026-12-27 06:00 CET");
    assert_eq!(told(&once, "2026-12-27T05:00:00Z"), "never");
}

#[test]
fn seven_eight_or_nine_hours() {
    let night = window("sat 22:00", "sun 06:00");
    for (now, hours) in [("2026-03-22T12:00:00Z", 7), ("2026-05-03T12:00:00Z", 8), ("2026-10-18T12:00:00Z", 9)] {
        let opening = night.opening(at(now)).unwrap();
        assert_eq!(opening.end_ms - opening.start_ms, hours * HOUR, "{now}");
    }
}

#[test]
fn a_time_that_is_not_and_a_time_that_comes_twice() {
    let spring = "2026-03-28T20:00:00Z";
    assert_eq!(told(&window("02:30", "06:00"), spring), "Sun 2026-03-29 03:00 CEST - Sun 2026-03-29 06:00 CEST");
    assert_eq!(told(&window("02:00", "06:00"), spring), "Sun 2026-03-29 03:00 CEST - Sun 2026-03-29 06:00 CEST");
    assert_eq!(
        told(&window("23:00", "02:59"), "2026-03-28T22:30:00Z"),
        "Sat 2026-03-28 23:00 CET - Sun 2026-03-29 03:00 CEST"
    );
    // Nothing is left of it that night.
    assert_eq!(told(&window("02:10", "02:50"), spring), "Mon 2026-03-30 02:10 CEST - Mon 2026-03-30 02:50 CEST");
    let autumn = "2026-10-24T20:00:00Z";
    assert_eq!(told(&window("02:30", "02:40"), autumn), "Sun 2026-10-25 02:30 CEST - Sun 2026-10-25 02:40 CET");
    assert_eq!(told(&window("03:00", "03:10"), autumn), "Sun 2026-10-25 03:00 CET - Sun 2026-10-25 03:10 CET");
}

#[test]
fn nothing_begins_that_cannot_end_before_the_reserve() {
    let weekend = Window { reserve_ms: 2 * HOUR as u64, ..window("fri 18:00", "sun 22:00") };
    let opening = weekend.opening(at("2026-11-23T08:00:00Z")).unwrap();
    assert_eq!(opening.close_ms, at("2026-11-29T19:00:00Z"));
    let fits = |now: &str, hours: i64, more: i64| weekend.fits(at(now), (hours * HOUR + more) as u64);
    assert_eq!(fits("2026-11-29T18:00:00Z", 1, 0), Fit::Now { opening });
    let next = weekend.opening(opening.end_ms).unwrap();
    assert_eq!(fits("2026-11-29T18:00:00Z", 1, 1), Fit::Later { opening: next });
    assert_eq!(fits("2026-11-29T20:00:00Z", 0, 0), Fit::Later { opening: next });
    assert_eq!(fits("2026-11-23T08:00:00Z", 50, 0), Fit::Later { opening });
    // Only the night in which daylight saving ends has an hour more.
    let Fit::Later { opening: long } = fits("2026-11-23T08:00:00Z", 50, 1) else { panic!("it fits in autumn") };
    assert_eq!(weekend.zone.tell(long.start_ms), "Fri 2027-10-29 18:00 CEST");
    assert_eq!(fits("2026-11-23T08:00:00Z", 51, 1), Fit::Never);
    assert_eq!(weekend.fits(0, u64::MAX), Fit::Never);
    // In spring the reserve may take the whole of it.
    let short = Window { reserve_ms: 45 * 60_000, ..window("01:30", "03:00") };
    let opening = short.opening(at("2026-03-28T23:00:00Z")).unwrap();
    assert_eq!((opening.end_ms - opening.start_ms, opening.close_ms), (HOUR / 2, opening.start_ms));
}

#[test]
fn all_day_every_day() {
    let always = window("00:00", "24:00");
    let (now, long) = (at("2026-03-28T12:00:00Z"), 1000 * 24 * HOUR as u64);
    assert!(matches!(always.fits(now, long), Fit::Now { .. }));
    assert_eq!(always.opening(now), always.opening(now + 5000 * 24 * HOUR), "one opening, over all midnights");
    let except = ["2026-12-24", "2026-12-25", "2026-12-31"].map(|date| date.parse().unwrap());
    let but = Window { except: except.into(), ..always.clone() };
    let told = |from: &str| but.openings(at(from)).map(|o| (o.start_ms, o.end_ms)).collect::<Vec<_>>();
    let ends = [("1969-12-31T23:00:00Z", "2026-12-23T23:00:00Z"), ("2026-12-25T23:00:00Z", "2026-12-30T23:00:00Z")];
    let ends = ends.map(|(from, to)| (at(from), at(to)));
    assert_eq!(told("2026-11-23T08:00:00Z")[..2], ends);
    assert_eq!(told("2026-12-24T08:00:00Z")[0], ends[1]);
    assert_eq!(told("2026-11-23T08:00:00Z").len(), 3);
    // Whit Monday and 3 October are far apart: whenever one asks, it is the same opening.
    let no = by_holidays("00:00", "24:00", Rule::No);
    let summer = Some((at("2026-05-25T22:00:00Z"), at("2026-10-02T22:00:00Z")));
    for asked in ["2026-05-26T08:00:00Z", "2026-10-02T08:00:00Z"] {
        assert_eq!(no.opening(at(asked)).map(|o| (o.start_ms, o.end_ms)), summer, "{asked}");
    }
}

#[test]
fn public_holidays() {
    // 3 October 2026 is a Saturday, Christmas Day a Friday, 1 January 2027 likewise.
    let no = by_holidays("fri 18:00", "sun 22:00", Rule::No);
    assert_eq!(told(&no, "2026-09-28T00:00:00Z"), "Fri 2026-10-09 18:00 CEST - Sun 2026-10-11 22:00 CEST");
    assert_eq!(told(&no, "2026-12-21T00:00:00Z"), "Fri 2027-01-08 18:00 CET - Sun 2027-01-10 22:00 CET");
    // One that ends at midnight does not touch the day that begins there.
    let eve = by_holidays("thu 18:00", "thu 24:00", Rule::No);
    assert_eq!(told(&eve, "2026-12-21T00:00:00Z"), "Thu 2026-12-24 18:00 CET - Fri 2026-12-25 00:00 CET");
    let also = by_holidays("fri 18:00", "sun 22:00", Rule::Also);
    assert_eq!(told(&also, "2027-03-22T00:00:00Z"), "Fri 2027-03-26 00:00 CET - Sun 2027-03-28 22:00 CEST");
    assert_eq!(told(&also, "2027-03-28T21:00:00Z"), "Mon 2027-03-29 00:00 CEST - Tue 2027-03-30 00:00 CEST");
    assert_eq!(told(&also, "2026-12-21T00:00:00Z"), "Fri 2026-12-25 00:00 CET - Sun 2026-12-27 22:00 CET");
    let day = by_holidays("sat 08:00", "sat 14:00", Rule::Also);
    assert_eq!(told(&day, "2027-05-03T00:00:00Z"), "Thu 2027-05-06 08:00 CEST - Thu 2027-05-06 14:00 CEST");
    let only = by_holidays("20:00", "05:00", Rule::Only);
    assert_eq!(told(&only, "2026-11-01T12:00:00Z"), "Fri 2026-12-25 20:00 CET - Sat 2026-12-26 05:00 CET");
}

#[test]
fn days_that_are_left_out() {
    let mut night = window("20:00", "05:00");
    night.except = ["2026-12-24".parse().unwrap()].into();
    let nights = night.openings(at("2026-12-22T12:00:00Z")).take(2).map(|o| night.zone.tell(o.start_ms));
    assert_eq!(nights.collect::<Vec<_>>(), ["Tue 2026-12-22 20:00 CET", "Fri 2026-12-25 20:00 CET"]);
}

#[test]
fn every_weekly_window_on_holidays_only_opens_again() {
    for (day, year) in
        ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].iter().flat_map(|d| (2020..2110).map(move |y| (d, y)))
    {
        let only = by_holidays(&format!("{day} 08:00"), &format!("{day} 16:00"), Rule::Only);
        assert!(only.opening(at(&format!("{year}-07-01T00:00:00Z"))).is_some(), "{day} {year}");
    }
}

#[test]
fn the_end_of_time_is_no_crash() {
    for now in [i64::MIN, i64::MAX, -377_705_116_800_000, 253_402_207_200_000] {
        for window in [
            window("20:00", "05:00"),
            window("fri 18:00", "sun 22:00"),
            window("2026-01-01 00:00", "9999-12-30 24:00"),
            window("00:00", "24:00"),
        ] {
            let _ = window.fits(now, 1);
        }
    }
}

#[test]
fn it_goes_into_a_plan_and_comes_out_the_same() {
    let mut night = by_holidays("fri 18:00", "sun 22:00", Rule::Also);
    night.reserve_ms = 7_200_000;
    night.except = ["2026-12-24".parse().unwrap()].into();
    let text = serde_json::to_string(&night).unwrap();
    insta::assert_snapshot!(text, @r#"{"zone":"Europe/Berlin","pattern":{"from":"fri 18:00","to":"sun 22:00"},"reserve_ms":7200000,"holidays":{"calendar":"DE-ST","rule":"also"},"except":["2026-12-24"]}"#);
    assert_eq!(serde_json::from_str::<Window>(&text).unwrap(), night);
    for (from, to) in [
        ("Europe/Berlin", "Europe/Berlni"),
        ("sun 22:00", "fri 18:00"),
        ("sun 22:00", "22:00"),
        ("fri 18:00", "fry 18:00"),
    ] {
        assert!(serde_json::from_str::<Window>(&text.replace(from, to)).is_err(), "{to}");
    }
}

/// Openings day by day, asked of a clock: at every quarter of an hour, what does civil time say?
fn open_by_the_clock(window: &Window, shown: DateTime) -> bool {
    let minute = |t: DateTime| i64::from(t.hour()) * 60 + i64::from(t.minute());
    let within =
        |from: i64, to: i64, now: i64| if from < to { (from..to).contains(&now) } else { now >= from || now < to };
    match (window.pattern.from(), window.pattern.to()) {
        (Moment::Daily(from), Moment::Daily(to)) => within(from.minutes().into(), to.minutes().into(), minute(shown)),
        (Moment::Weekly(first, from), Moment::Weekly(last, to)) => {
            let week = 7 * 24 * 60;
            let of = |day: i64, minutes: i64| (day * 24 * 60 + minutes) % week;
            let now = of(i64::from(shown.weekday().to_monday_zero_offset()), minute(shown));
            within(of(first.into(), from.minutes().into()), of(last.into(), to.minutes().into()), now)
        }
        _ => unreachable!("a window that comes round"),
    }
}

fn patterns() -> impl Strategy<Value = Pattern> {
    let clock = || {
        (0..=24_u8, 0..4_u8)
            .prop_map(|(hour, quarter)| format!("{hour}:{:02}", if hour == 24 { 0 } else { quarter * 15 }))
    };
    let day = || prop::sample::select(vec!["mon ", "tue ", "wed ", "thu ", "fri ", "sat ", "sun "]);
    let daily = (clock(), clock());
    let weekly = (day(), clock(), day(), clock()).prop_map(|(a, b, c, d)| (a.to_owned() + &b, c.to_owned() + &d));
    prop_oneof![daily, weekly]
        .prop_filter_map("empty", |(from, to)| Pattern::new(from.parse().unwrap(), to.parse().unwrap()).ok())
}

/// Nights in which clocks are changed, as days in zones; Lord Howe moves them by half an hour, Troll by two hours.
const NIGHTS: [(&str, &str); 8] = [
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("Europe/Berlin", "2038-10-31"),
    ("America/New_York", "2027-11-07"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("UTC", "2026-10-25"),
];

fn nights() -> impl Strategy<Value = (Zone, Date)> {
    prop::sample::select(NIGHTS.to_vec()).prop_map(|(zone, date)| (Zone::find(zone).unwrap(), date.parse().unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn openings_are_what_civil_time_says(pattern in patterns(), (zone, night) in nights(), reserve in 0..100_u64) {
        let window = Window { zone: zone.clone(), pattern, reserve_ms: reserve * 600_000, holidays: None, except: BTreeSet::new() };
        let midnight = zone.instant(night.to_datetime(jiff::civil::Time::midnight()), Edge::Begin).unwrap();
        let (first, last) = (midnight - 3 * 24 * HOUR, midnight + 4 * 24 * HOUR);
        let openings: Vec<Opening> = window.openings(first).take_while(|opening| opening.start_ms < last).collect();
        for (n, opening) in openings.iter().enumerate() {
            prop_assert!(opening.start_ms < opening.end_ms);
            prop_assert!((opening.start_ms..=opening.end_ms).contains(&opening.close_ms));
            prop_assert_eq!(opening.close_ms, (opening.end_ms - reserve as i64 * 600_000).max(opening.start_ms));
            if let Some(before) = n.checked_sub(1) {
                prop_assert!(openings[before].end_ms < opening.start_ms);
            }
            // Whenever one asks, it is the same one.
            prop_assert_eq!(window.opening(opening.start_ms), Some(*opening));
            prop_assert_eq!(window.opening(opening.end_ms - 1), Some(*opening));
            prop_assert_ne!(window.opening(opening.end_ms), Some(*opening));
        }
        // Every quarter of an hour. In the hour that comes twice an opening runs from the first to the second time, so
        // it may be open where the clock alone would not say so, but never closed where both times say open.
        for quarter in 0..(last - first) / (HOUR / 4) {
            let now = first + quarter * (HOUR / 4);
            let shown = zone.civil(now).unwrap();
            let twice = zone.instant(shown, Edge::Begin) != zone.instant(shown, Edge::End);
            let open = openings.iter().any(|opening| opening.contains(now));
            let wanted = open_by_the_clock(&window, shown);
            prop_assert!(open == wanted || (twice && open), "{shown}: {open}, by the clock {wanted}");
        }
    }

    #[test]
    fn what_fits_ends_in_time(pattern in patterns(), (zone, night) in nights(), hours in -80..80_i64, takes in 0..200_u64) {
        let window = Window { zone: zone.clone(), pattern, reserve_ms: 1_800_000, holidays: None, except: BTreeSet::new() };
        let now = zone.instant(night.to_datetime(jiff::civil::Time::midnight()), Edge::Begin).unwrap() + hours * HOUR;
        let takes_ms = takes * 900_000;
        let end = |start: i64| start + takes_ms as i64;
        match window.fits(now, takes_ms) {
            Fit::Now { opening } => {
                prop_assert!(opening.contains(now) && end(now) <= opening.close_ms);
            }
            Fit::Later { opening } => {
                prop_assert!(opening.start_ms > now && end(opening.start_ms) <= opening.close_ms);
                // No earlier one would have done.
                for earlier in window.openings(now).take_while(|o| o.start_ms < opening.start_ms) {
                    prop_assert!(end(earlier.start_ms.max(now)) > earlier.close_ms);
                }
            }
            Fit::Never => prop_assert!(window.openings(now).all(|o| end(o.start_ms.max(now)) > o.close_ms)),
        }
    }

    #[test]
    fn holidays_only_take_away_or_add(pattern in patterns(), rule in prop::sample::select(vec![Rule::No, Rule::Also, Rule::Only]), day in 0..400_i64) {
        let plain = Window { zone: berlin(), pattern, reserve_ms: 0, holidays: None, except: BTreeSet::new() };
        let holidays = Some(HolidayRule { calendar: Holidays::SaxonyAnhalt, rule });
        let ruled = Window { holidays, ..plain.clone() };
        let from = at("2026-11-22T00:00:00Z") + day * 24 * HOUR;
        for opening in ruled.openings(from).take(20) {
            for at_ms in [opening.start_ms, opening.end_ms - 1] {
                let in_plain = plain.opening(at_ms).is_some_and(|o| o.contains(at_ms));
                let date = plain.zone.civil(at_ms).unwrap().date();
                let holiday = Holidays::SaxonyAnhalt.name_of(date).is_some();
                match rule {
                    Rule::No => prop_assert!(in_plain && !holiday),
                    Rule::Only => prop_assert!(in_plain),
                    Rule::Also => prop_assert!(in_plain || holiday),
                }
            }
            prop_assert_eq!(ruled.opening(opening.start_ms), Some(opening));
            prop_assert_eq!(ruled.opening(opening.end_ms - 1), Some(opening));
        }
    }
}

#[test]
fn the_search_ends() {
    // Two holidays only, and both left out: nothing is found, and the search is over.
    let mut only = by_holidays("sun 08:00", "sun 09:00", Rule::Only);
    let from = at("2026-01-01T00:00:00Z");
    let days: Vec<Date> = (2026..2040).flat_map(|year| Holidays::SaxonyAnhalt.of(year)).map(|(date, _)| date).collect();
    only.except = days.into_iter().collect();
    assert_eq!(only.opening(from), None);
    assert_eq!(only.fits(from, 1), Fit::Never);
    assert!(window("00:00", "01:00").openings(from).count() <= usize::from(HORIZON_DAYS));
}
