//! How a run lies in time: what a look at what is left says while it is under way.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a run lies in time. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reckoning {
    /// What is to be through in the present window ends with this stage.
    pub stage: String,
    /// When that is expected.
    pub expected_ms: i64,
    /// The same if everything takes as long as its bound.
    pub latest_ms: i64,
    /// By how much that is earlier than the plan says; negative: later.
    pub ahead_ms: i64,
    /// From then on a rollback of everything no longer ends in the window, as things stand; `None`: there is no window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_by_ms: Option<i64>,
    /// Since then something cannot be taken back any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_way_back_ms: Option<i64>,
    /// Whether somebody has to decide.
    pub decide: Decide,
}

/// Whether somebody has to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decide {
    /// Not now.
    NotNow,
    /// Soon: the latest abort comes near.
    Soon,
    /// Now or never.
    Now,
    /// The way back no longer fits.
    TooLate,
}

/// How long before the latest abort people are told of it, in milliseconds.
const SOON_MS: i64 = 30 * 60_000;

/// How long before it they are asked.
const NOW_MS: i64 = 10 * 60_000;

impl Reckoning {
    /// What there is to decide, at this time.
    pub fn decide(&self, now_ms: i64) -> Decide {
        match self.abort_by_ms {
            Some(by) if now_ms >= by => Decide::TooLate,
            Some(by) if now_ms >= by - NOW_MS => Decide::Now,
            Some(by) if now_ms >= by - SOON_MS => Decide::Soon,
            Some(_) | None => Decide::NotNow,
        }
    }
}
