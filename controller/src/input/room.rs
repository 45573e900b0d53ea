//! Room on a file system as people write it: `20 GiB`, or a share of it, `5%`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Units of bytes, each 1024 times the one before.
const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// So much room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Room {
    /// A number and a unit.
    Bytes {
        /// The number.
        number: u64,
        /// Which of the units.
        unit: u8,
    },
    /// Of the whole.
    Percent(u8),
}

impl Room {
    /// In bytes, of a file system of this size.
    pub fn of(self, size: u64) -> u64 {
        match self {
            Room::Bytes { number, unit } => number.saturating_mul(1 << (10 * u32::from(unit))),
            Room::Percent(share) => (size / 100).saturating_mul(share.into()),
        }
    }
}

impl TryFrom<String> for Room {
    type Error = String;

    fn try_from(text: String) -> Result<Room, String> {
        let wrong = || format!("`{text}` is no room such as `20 GiB` or `5%`");
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        match unit.trim() {
            "%" => u8::try_from(number).ok().filter(|share| *share <= 100).map(Room::Percent),
            unit => {
                UNITS.iter().zip(0..).find(|(name, _)| **name == unit).map(|(_, unit)| Room::Bytes { number, unit })
            }
        }
        .ok_or_else(wrong)
    }
}

impl From<Room> for String {
    fn from(room: Room) -> String {
        room.to_string()
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Room::Bytes { number, unit } => write!(f, "{number} {}", UNITS.get(usize::from(*unit)).unwrap_or(&"B")),
            Room::Percent(share) => write!(f, "{share}%"),
        }
    }
}

impl JsonSchema for Room {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Room".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+ ?([KMGT]i)?B$|^[0-9]+%$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_read_and_written() {
        let read = |text: &str| Room::try_from(text.to_owned());
        for (text, shown, bytes) in [("20 GiB", "20 GiB", 20 << 30), ("7MiB", "7 MiB", 7 << 20), ("5%", "5%", 50)] {
            let room = read(text).unwrap();
            assert_eq!((room.to_string().as_str(), room.of(1000)), (shown, bytes));
        }
        for text in ["", "5", "GiB", "101%", "5 GB", "-1 GiB", "99999999999999999999 B"] {
            assert!(read(text).unwrap_err().contains("is no room"), "{text}");
        }
    }
}
