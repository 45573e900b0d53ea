//! A time zone by its IANA name, and the way between civil time and instants.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A time zone of the IANA database, e.g. `Europe/Berlin`. Serialised as its name; an unknown name is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Zone(TimeZone);

/// Which instant is meant when a clock shows a time twice (the night in which daylight saving ends).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The first: something begins.
    Begin,
    /// The second: something ends.
    End,
}

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Zone = Zone(TimeZone::UTC);

    /// Finds a zone by its name as the database writes it.
    pub fn find(name: &str) -> Option<Zone> {
        let found = TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown())?;
        // The database itself does not mind capitals; two spellings of one zone would be two plans.
        (found.iana_name() == Some(name)).then_some(Zone(found))
    }

    /// The names of all zones, sorted.
    pub fn names() -> Vec<String> {
        let mut names: Vec<String> = TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect();
        names.sort_unstable();
        names
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// What clocks there show at an instant (milliseconds since 1970, UTC). `None` beyond the years -9999 to 9999.
    pub fn civil(&self, at_ms: i64) -> Option<DateTime> {
        let at = Timestamp::from_millisecond(at_ms).ok()?;
        Some(self.0.to_datetime(at))
    }

    /// The instant at which clocks there show this, in milliseconds since 1970, UTC.
    ///
    /// A time that is left out in spring is the instant at which clocks are put forward. Of a time that comes twice in
    /// autumn, `edge` says which is meant. `None` beyond what can be represented.
    pub fn instant(&self, civil: DateTime, edge: Edge) -> Option<i64> {
        let offset = match self.0.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Fold { before, after } => match edge {
                Edge::Begin => before,
                Edge::End => after,
            },
            AmbiguousOffset::Gap { before, .. } => {
                // By the old offset it lies at or after the change: the change itself is the last one up to there.
                let late = before.to_timestamp(civil).ok()?;
                let just_after = late.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
                let change = self.0.preceding(just_after).next()?;
                return Some(change.timestamp().as_millisecond());
            }
        };
        Some(offset.to_timestamp(civil).ok()?.as_millisecond())
    }

    /// What the offset of an instant is called there: `CET`. Empty beyond the years -9999 to 9999.
    pub fn abbreviation(&self, at_ms: i64) -> String {
        let at = Timestamp::from_millisecond(at_ms).ok();
        at.map(|at| self.0.to_offset_info(at).abbreviation().to_owned()).unwrap_or_default()
    }

    /// An instant for people: `Fri 2026-11-27 18:00 CET`.
    pub fn tell(&self, at_ms: i64) -> String {
        match Timestamp::from_millisecond(at_ms) {
            Ok(at) => at.to_zoned(self.0.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string(),
            Err(_) => at_ms.to_string(),
        }
    }
}

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(name: String) -> Result<Zone, String> {
        Zone::find(&name).ok_or_else(|| format!("there is no time zone `{name}`"))
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> String {
        zone.name().to_owned()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
