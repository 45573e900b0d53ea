//! Civil time: zones, public holidays, maintenance windows. Pure: what time it is, is an input.
//!
//! [`zone`] and [`holiday`] <- [`moment`] <- [`window`]. The time zones are those of the binary, never the machine's.

pub mod holiday;
pub mod moment;
pub mod window;
pub mod zone;

#[cfg(test)]
mod tests;

pub use holiday::Holidays;
pub use moment::{Clock, Day, Moment};
pub use window::{Fit, HolidayRule, Opening, Pattern, Rule, Window};
pub use zone::{Edge, Zone};
