//! A maintenance window: when it opens next, and whether something that takes a while still fits.
//!
//! It carries all that it needs, so it goes into plans. Times are civil times of its zone: `sat 22:00` to `sun 06:00` is
//! seven hours long when daylight saving begins and nine when it ends. No search goes further than [`HORIZON_DAYS`].

mod search;

use std::collections::BTreeSet;
use std::fmt;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::holiday::Holidays;
use super::moment::{Clock, DAY_MINUTES, Moment};
use super::zone::Zone;

pub use search::HORIZON_DAYS;

/// Minutes of a week that no clock is changed in.
const WEEK: u32 = 7 * DAY_MINUTES as u32;

/// A maintenance window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// Where its times are meant.
    pub zone: Zone,
    /// When it opens and closes.
    pub pattern: Pattern,
    /// Time kept free before its end, in milliseconds.
    pub reserve_ms: u64,
    /// What public holidays change; nothing if there is no rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holidays: Option<HolidayRule>,
    /// An opening that touches one of these days is left out.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "Vec<String>", extend("items" = { "type": "string", "format": "date" }))]
    pub except: BTreeSet<Date>,
}

/// What public holidays change, and whose they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HolidayRule {
    /// Which holidays.
    pub calendar: Holidays,
    /// What they change.
    pub rule: Rule,
}

/// What public holidays change of a window that comes round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// An opening that touches one is left out.
    No,
    /// Each is an opening, too: a window that lies within one day keeps its times, any other is open from 00:00 to 24:00.
    Also,
    /// Only openings that begin on one are left.
    Only,
}

/// When a window opens and closes: every day, every week, or once. Made by [`Pattern::new`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Ends", into = "Ends")]
#[schemars(with = "Ends")]
pub struct Pattern {
    from: Moment,
    to: Moment,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.to)
    }
}

/// Both ends as they are serialised.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ends {
    from: Moment,
    to: Moment,
}

/// Why two moments are no pattern; the author of the fleet can fix it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternFault {
    /// One is a day of the week, say, and the other a date.
    #[error("`from` and `to` are of different forms")]
    Mixed,
    /// They are the same, or a whole day or week apart.
    #[error("`from` and `to` are the same time")]
    Empty,
    /// It would end before it begins.
    #[error("`to` is before `from`")]
    Backwards,
}

/// One time that a window is open, in milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Opening {
    /// Its first instant.
    pub start_ms: i64,
    /// The first instant after it.
    pub end_ms: i64,
    /// Where the reserve begins: what is begun must be done by then. At least `start_ms`.
    pub close_ms: i64,
}

/// Whether something fits into a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// It may begin now.
    Now {
        /// In the opening that there is now.
        opening: Opening,
    },
    /// It may begin when the window opens next, or one of the next times.
    Later {
        /// The first that is long enough.
        opening: Opening,
    },
    /// No opening up to [`HORIZON_DAYS`] is long enough, or there is none.
    Never,
}

impl Pattern {
    /// From one moment to the other. What comes round may run over midnight, or over the end of the week.
    ///
    /// # Errors
    /// If this cannot be meant; the author of the fleet can fix it.
    pub fn new(from: Moment, to: Moment) -> Result<Pattern, PatternFault> {
        let pattern = Pattern { from, to };
        match (from, to) {
            (Moment::Daily(_), Moment::Daily(_)) | (Moment::Weekly(..), Moment::Weekly(..)) => {
                if pattern.minutes() == 0 { Err(PatternFault::Empty) } else { Ok(pattern) }
            }
            (Moment::Once(from, start), Moment::Once(to, end)) => match (start.on(from), end.on(to)) {
                (Some(start), Some(end)) if start < end => Ok(pattern),
                (Some(start), Some(end)) if start == end => Err(PatternFault::Empty),
                _ => Err(PatternFault::Backwards),
            },
            _ => Err(PatternFault::Mixed),
        }
    }

    /// When it opens.
    pub fn from(&self) -> Moment {
        self.from
    }

    /// When it closes.
    pub fn to(&self) -> Moment {
        self.to
    }

    /// Its length in minutes when no clock is changed in it.
    pub fn minutes(&self) -> u64 {
        let of_week = |day: u8, clock: Clock| u32::from(day) * u32::from(DAY_MINUTES) + u32::from(clock.0);
        match (self.from, self.to) {
            _ if self.all_day() => u64::from(DAY_MINUTES),
            (Moment::Daily(from), Moment::Daily(to)) => u64::from((to.0 + DAY_MINUTES - from.0) % DAY_MINUTES),
            (Moment::Weekly(from, start), Moment::Weekly(to, end)) => {
                u64::from((of_week(to, end) + WEEK - of_week(from, start)) % WEEK)
            }
            (Moment::Once(from, start), Moment::Once(to, end)) => {
                let days = from.until(to).map_or(0, |span| i64::from(span.get_days()));
                let minutes = days * i64::from(DAY_MINUTES) + i64::from(end.0) - i64::from(start.0);
                u64::try_from(minutes).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Whether it is all day, every day: `00:00` to `24:00`.
    fn all_day(&self) -> bool {
        (self.from, self.to) == (Moment::Daily(Clock(0)), Moment::Daily(Clock(DAY_MINUTES)))
    }

    /// Whether it opens more than once.
    pub fn repeats(&self) -> bool {
        !matches!(self.from, Moment::Once(..))
    }
}

impl TryFrom<Ends> for Pattern {
    type Error = PatternFault;

    fn try_from(ends: Ends) -> Result<Pattern, PatternFault> {
        Pattern::new(ends.from, ends.to)
    }
}

impl From<Pattern> for Ends {
    fn from(Pattern { from, to }: Pattern) -> Ends {
        Ends { from, to }
    }
}

impl Window {
    /// The opening that contains now, or the next one. `None` if there is none within [`HORIZON_DAYS`].
    pub fn opening(&self, now_ms: i64) -> Option<Opening> {
        self.openings(now_ms).next()
    }

    /// The opening that contains now, if there is one, and those after it up to [`HORIZON_DAYS`], in order. They neither
    /// overlap nor touch.
    pub fn openings(&self, now_ms: i64) -> impl Iterator<Item = Opening> + '_ {
        search::openings(self, now_ms)
    }

    /// Whether something that takes this long may begin now, or when: it must be done before the reserve begins.
    pub fn fits(&self, now_ms: i64, takes_ms: u64) -> Fit {
        let takes_ms = i64::try_from(takes_ms).unwrap_or(i64::MAX);
        for opening in self.openings(now_ms) {
            let now = opening.start_ms <= now_ms;
            let start = opening.start_ms.max(now_ms);
            if start.checked_add(takes_ms).is_some_and(|end| end <= opening.close_ms) {
                return if now { Fit::Now { opening } } else { Fit::Later { opening } };
            }
        }
        Fit::Never
    }
}

impl Opening {
    /// Whether the window is open then.
    pub fn contains(&self, at_ms: i64) -> bool {
        (self.start_ms..self.end_ms).contains(&at_ms)
    }
}

impl fmt::Display for Window {
    /// `fri 18:00 to sun 22:00 (Europe/Berlin)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} ({})", self.pattern.from, self.pattern.to, self.zone)
    }
}
