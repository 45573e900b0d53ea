//! Public holidays, by the law of a German state.

use std::fmt;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A calendar of public holidays, by its ISO 3166-2 code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Holidays {
    /// Saxony-Anhalt: section 2 of the Gesetz über die Sonn- und Feiertage (FeiertG LSA). Easter Sunday and Whit Sunday
    /// are none there.
    #[serde(rename = "DE-ST")]
    SaxonyAnhalt,
}

impl Holidays {
    /// All calendars there are, alphabetical.
    pub const ALL: [Holidays; 1] = [Holidays::SaxonyAnhalt];

    /// Finds a calendar by its code.
    pub fn find(code: &str) -> Option<Holidays> {
        Holidays::ALL.into_iter().find(|calendar| calendar.code() == code)
    }

    /// Its code.
    pub fn code(self) -> &'static str {
        match self {
            Holidays::SaxonyAnhalt => "DE-ST",
        }
    }

    /// The public holidays of a year, in order. None before 1583: Easter is reckoned by the Gregorian calendar.
    pub fn of(self, year: i16) -> Vec<(Date, &'static str)> {
        let Some(easter) = easter(year) else { return Vec::new() };
        let fixed = |month, day| Date::new(year, month, day).ok();
        // Whit Monday is the latest of them, in June.
        let after = |days| easter.checked_add(jiff::Span::new().days(days)).ok();
        let Holidays::SaxonyAnhalt = self;
        let found = [
            (fixed(1, 1), "Neujahr"),
            (fixed(1, 6), "Heilige Drei Könige"),
            (after(-2), "Karfreitag"),
            (after(1), "Ostermontag"),
            (fixed(5, 1), "Tag der Arbeit"),
            (after(39), "Christi Himmelfahrt"),
            (after(50), "Pfingstmontag"),
            (fixed(10, 3), "Tag der Deutschen Einheit"),
            (fixed(10, 31), "Reformationstag"),
            (fixed(12, 25), "1. Weihnachtstag"),
            (fixed(12, 26), "2. Weihnachtstag"),
        ];
        let mut found: Vec<_> = found.into_iter().filter_map(|(date, name)| Some((date?, name))).collect();
        // Ascension Day may be before 1 May, or on it.
        found.sort_by_key(|(date, _)| *date);
        found
    }

    /// The holiday that a day is.
    pub fn name_of(self, date: Date) -> Option<&'static str> {
        self.of(date.year()).into_iter().find(|(day, _)| *day == date).map(|(_, name)| name)
    }
}

impl fmt::Display for Holidays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Easter Sunday by the anonymous Gregorian algorithm (Nature, 20 April 1876; J. Meeus, Astronomical Algorithms,
/// chapter 8). `None` before 1583.
fn easter(year: i16) -> Option<Date> {
    if year < 1583 {
        return None;
    }
    let y = i32::from(year);
    let (a, b, c) = (y % 19, y / 100, y % 100);
    let (d, e) = (b / 4, b % 4);
    let f = (b + 8) / 25;
    let g = (b - f + 1) / 3;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let n = h + l - 7 * m + 114;
    Date::new(year, i8::try_from(n / 31).ok()?, i8::try_from(n % 31 + 1).ok()?).ok()
}
