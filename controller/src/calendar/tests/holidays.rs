//! Public holidays against the dates that the state itself publishes.

use jiff::civil::Date;

use crate::calendar::Holidays;

/// The movable ones: Good Friday, Easter Monday, Ascension Day, Whit Monday.
const MOVABLE: [(&str, &str, &str, &str); 8] = [
    ("2000-04-21", "2000-04-24", "2000-06-01", "2000-06-12"),
    // The earliest Easter of the century, Ascension Day on 1 May.
    ("2008-03-21", "2008-03-24", "2008-05-01", "2008-05-12"),
    ("2024-03-29", "2024-04-01", "2024-05-09", "2024-05-20"),
    ("2025-04-18", "2025-04-21", "2025-05-29", "2025-06-09"),
    ("2026-04-03", "2026-04-06", "2026-05-14", "2026-05-25"),
    ("2027-03-26", "2027-03-29", "2027-05-06", "2027-05-17"),
    // The latest Easter that there can be.
    ("2038-04-23", "2038-04-26", "2038-06-03", "2038-06-14"),
    ("2049-04-16", "2049-04-19", "2049-05-27", "2049-06-07"),
];

#[test]
fn of_saxony_anhalt() {
    let day = |text: &str| text.parse::<Date>().unwrap();
    for (friday, monday, ascension, whit) in MOVABLE {
        let year = day(friday).year();
        let fixed = ["01-01", "01-06", "05-01", "10-03", "10-31", "12-25", "12-26"];
        let mut wanted: Vec<Date> = fixed.iter().map(|rest| day(&format!("{year}-{rest}"))).collect();
        wanted.extend([friday, monday, ascension, whit].map(day));
        wanted.sort_unstable();
        let found: Vec<Date> = Holidays::SaxonyAnhalt.of(year).into_iter().map(|(date, _)| date).collect();
        assert_eq!(found, wanted, "{year}");
    }
}

#[test]
fn by_name() {
    let name = |text: &str| Holidays::SaxonyAnhalt.name_of(text.parse().unwrap());
    assert_eq!(name("2026-01-06"), Some("Heilige Drei Könige"));
    assert_eq!(name("2027-03-26"), Some("Karfreitag"));
    assert_eq!(name("2026-10-31"), Some("Reformationstag"));
    // Holidays elsewhere: Easter Sunday, Corpus Christi, All Saints' Day, Women's Day; and days on which offices close.
    for none in ["2026-04-05", "2026-06-04", "2026-11-01", "2026-03-08", "2026-12-24", "2026-12-31", "1500-01-01"] {
        assert_eq!(name(none), None, "{none}");
    }
    assert_eq!(Holidays::find("DE-ST"), Some(Holidays::SaxonyAnhalt));
    assert_eq!(Holidays::find("DE-NI"), None);
}

/// Gauss's rule as Lichtenberg completed it, another way to the same Sundays.
#[test]
fn easter_by_another_rule() {
    for year in 1583..=4000_i64 {
        let k = year / 100;
        let m = 15 + (3 * k + 3) / 4 - (8 * k + 13) / 25;
        let s = 2 - (3 * k + 3) / 4;
        let a = year % 19;
        let d = (19 * a + m) % 30;
        let r = (d + a / 11) / 29;
        let og = 21 + d - r;
        let sz = 7 - (year + year / 4 + s) % 7;
        let march = og + 7 - (og - sz) % 7;
        let year = i16::try_from(year).unwrap();
        let sunday = Date::new(year, 3, 1).unwrap().checked_add(jiff::Span::new().days(march - 1)).unwrap();
        let monday = sunday.tomorrow().unwrap();
        assert_eq!(Holidays::SaxonyAnhalt.name_of(monday), Some("Ostermontag"), "{year}");
    }
}
