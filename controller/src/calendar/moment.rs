//! When a window opens or closes, as people write it: `20:00` every day, `fri 18:00` every week, `2026-12-23 18:00` once.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::zone::{Edge, Zone};

/// Days of the week as they are written; 0 is Monday.
pub(super) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Minutes of a day that no clock is changed in.
pub(super) const DAY_MINUTES: u16 = 24 * 60;

/// A time of the day in minutes since midnight, 00:00 to 24:00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clock(pub(super) u16);

/// A point of civil time at which something happens every day, every week, or once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Moment {
    /// `20:00`.
    Daily(Clock),
    /// `fri 18:00`; 0 is Monday.
    Weekly(u8, Clock),
    /// `2026-12-23 18:00`.
    Once(Date, Clock),
}

/// A day of the calendar as people write it: `2026-12-24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Day(pub Date);

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Day, String> {
        let no_date = |_| format!("`{text}` is no date: write e.g. `2026-12-24`");
        text.parse().map(Day).map_err(no_date)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Clock {
    /// Minutes since midnight.
    pub fn minutes(self) -> u16 {
        self.0
    }

    /// Civil time on this day; 24:00 is the next day's midnight. `None` after the year 9999.
    pub(super) fn on(self, date: Date) -> Option<DateTime> {
        let date = if self.0 >= DAY_MINUTES { date.tomorrow().ok()? } else { date };
        let (hour, minute) = (i8::try_from(self.0 % DAY_MINUTES / 60).ok()?, i8::try_from(self.0 % 60).ok()?);
        Some(date.to_datetime(Time::new(hour, minute, 0, 0).ok()?))
    }

    fn parse(text: &str) -> Option<Clock> {
        let (hour, minute) = text.split_once(':')?;
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if !(1..=2).contains(&hour.len()) || minute.len() != 2 || !digits(hour) || !digits(minute) {
            return None;
        }
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        let clock = Clock(hour * 60 + minute);
        (minute < 60 && clock.0 <= DAY_MINUTES).then_some(clock)
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl Moment {
    /// The next time that it comes, in milliseconds since 1970, UTC; `None` if it is over, or too far away.
    pub fn next(&self, zone: &Zone, now_ms: i64) -> Option<i64> {
        let today = zone.civil(now_ms)?.date();
        let days = std::iter::successors(Some(today), |date| date.tomorrow().ok()).take(9);
        let on = |date: Date, clock: Clock| zone.instant(clock.on(date)?, Edge::Begin);
        let coming = |at: &i64| *at >= now_ms;
        match *self {
            Moment::Daily(clock) => days.filter_map(|date| on(date, clock)).find(coming),
            Moment::Weekly(day, clock) => {
                let of_week = |date: &Date| i8::try_from(day) == Ok(date.weekday().to_monday_zero_offset());
                days.filter(of_week).filter_map(|date| on(date, clock)).find(coming)
            }
            Moment::Once(date, clock) => on(date, clock).filter(coming),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Moment, String> {
        let text = text.trim();
        let (before, clock) = text.rsplit_once(' ').unwrap_or(("", text));
        let before = before.trim_end();
        let no_clock = || format!("`{text}` has no time of day at its end: write e.g. `18:00` (00:00 to 24:00)");
        let clock = Clock::parse(clock).ok_or_else(no_clock)?;
        if before.is_empty() {
            return Ok(Moment::Daily(clock));
        }
        if before.starts_with(|c: char| c.is_ascii_digit()) {
            let no_date = |_| format!("`{before}` is no date: write e.g. `2026-12-23 18:00`");
            return before.parse().map(|date| Moment::Once(date, clock)).map_err(no_date);
        }
        let lower = before.to_lowercase();
        let day = (0u8..).zip(DAYS).find(|(_, day)| *day == lower).map(|(n, _)| n);
        day.map(|day| Moment::Weekly(day, clock)).ok_or_else(|| {
            // `friday` and `freitag` are meant likewise; `do` and `mi` are not.
            let near = DAYS.iter().find(|day| lower.get(..2) == day.get(..2));
            let near = near.map(|day| format!(", perhaps `{day}`")).unwrap_or_default();
            format!("`{before}` is no day of the week: write `mon`, `tue`, `wed`, `thu`, `fri`, `sat` or `sun`{near}")
        })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moment::Daily(clock) => write!(f, "{clock}"),
            Moment::Weekly(day, clock) => write!(f, "{} {clock}", DAYS[usize::from(*day) % DAYS.len()]),
            Moment::Once(date, clock) => write!(f, "{date} {clock}"),
        }
    }
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Moment, String> {
        text.parse()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> String {
        moment.to_string()
    }
}

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Every day, every week or once: 20:00, fri 18:00, 2026-12-23 18:00.",
            "pattern": "^((mon|tue|wed|thu|fri|sat|sun) |[0-9]{4}-[0-9]{2}-[0-9]{2} )?[0-9]{1,2}:[0-9]{2}$"
        })
    }
}
