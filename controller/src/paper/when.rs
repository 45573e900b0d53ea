//! Times and durations on paper, in a zone and a language.

use jiff::civil::DateTime;

use crate::calendar::Zone;
use crate::input::paper::Language;

/// Writes times. Each is with the zone's abbreviation: in the night in which clocks change 02:30 may come twice.
#[derive(Clone, Debug)]
pub struct When {
    /// Where.
    pub zone: Zone,
    /// In which words.
    pub language: Language,
    /// Clocks change while the run is at work, so that a clock time alone is not enough.
    pub changes: bool,
}

const DAYS: [[&str; 7]; 2] =
    [["Mo.", "Di.", "Mi.", "Do.", "Fr.", "Sa.", "So."], ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]];

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl When {
    /// For a run between these times, in milliseconds since the epoch.
    pub fn new(zone: Zone, language: Language, from_ms: i64, to_ms: i64) -> When {
        let changes = zone.abbreviation(from_ms) != zone.abbreviation(to_ms);
        When { zone, language, changes }
    }

    /// `Sa., 28.03.2026`, `Sat 28 Mar 2026`.
    pub fn date(&self, at_ms: i64) -> String {
        self.civil(at_ms, |at| {
            let weekday = usize::try_from(at.weekday().to_monday_zero_offset()).unwrap_or(0);
            let month = usize::try_from(at.month() - 1).unwrap_or(0);
            match self.language {
                Language::De => format!("{}, {:02}.{:02}.{}", DAYS[0][weekday], at.day(), at.month(), at.year()),
                Language::En => format!("{} {} {} {}", DAYS[1][weekday], at.day(), MONTHS[month], at.year()),
            }
        })
    }

    /// `Sa., 28.03.2026, 22:15 Uhr MEZ`, `Sat 28 Mar 2026, 22:15 CET`.
    pub fn full(&self, at_ms: i64) -> String {
        let unit = if self.language == Language::De { " Uhr" } else { "" };
        let clock = self.civil(at_ms, |at| format!("{:02}:{:02}", at.hour(), at.minute()));
        format!("{}, {clock}{unit} {}", self.date(at_ms), self.zone(at_ms))
    }

    /// `22:15`; `02:30 MESZ` on a weekend on which clocks change.
    pub fn clock(&self, at_ms: i64) -> String {
        let clock = self.civil(at_ms, |at| format!("{:02}:{:02}", at.hour(), at.minute()));
        if self.changes { format!("{clock} {}", self.zone(at_ms)) } else { clock }
    }

    /// The same with the day of the week before it.
    pub fn day_and_clock(&self, at_ms: i64) -> String {
        let day = self.date(at_ms);
        let day = day.split([' ', ',']).next().unwrap_or_default();
        format!("{day} {}", self.clock(at_ms))
    }

    /// `45 s`, `12 min`, `2 h 05 min`, `3 d 4 h`: rounded up, nobody is told that there is more time than there is.
    pub fn span(&self, ms: u64) -> String {
        let days = if self.language == Language::De { "T" } else { "d" };
        match ms.div_ceil(1000) {
            0..1 => "0 s".to_owned(),
            seconds @ 1..60 => format!("{seconds} s"),
            seconds => match seconds.div_ceil(60) {
                minutes @ 0..60 => format!("{minutes} min"),
                minutes @ 60..2880 => format!("{} h {:02} min", minutes / 60, minutes % 60),
                minutes => format!("{} {days} {} h", minutes.div_ceil(60) / 24, minutes.div_ceil(60) % 24),
            },
        }
    }

    /// A measured time to a tenth of a second, rounded up: `12.3 s`, `12,3 s`.
    pub fn measured(&self, ms: u64) -> String {
        let point = if self.language == Language::De { ',' } else { '.' };
        let tenths = ms.div_ceil(100);
        if tenths < 600 { format!("{}{point}{} s", tenths / 10, tenths % 10) } else { self.span(ms) }
    }

    fn zone(&self, at_ms: i64) -> String {
        let zone = self.zone.abbreviation(at_ms);
        match (self.language, zone.as_str()) {
            (Language::De, "CET") => "MEZ".to_owned(),
            (Language::De, "CEST") => "MESZ".to_owned(),
            _ => zone,
        }
    }

    fn civil(&self, at_ms: i64, write: impl FnOnce(DateTime) -> String) -> String {
        self.zone.civil(at_ms).map_or_else(|| at_ms.to_string(), write)
    }
}
