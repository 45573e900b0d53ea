//! The clock and randomness of the shell; the pure layers get their values as data.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use jiff::Timestamp;

/// Now, in milliseconds since the epoch.
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Sixteen hexadecimal digits that no other call gives.
pub fn nonce() -> String {
    // The standard library seeds each RandomState from the operating system.
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// A readable name for a run: UTC time and four random digits, e.g. `20261121-183912-a0f3`.
pub fn run_name() -> String {
    let time = Timestamp::now().strftime("%Y%m%d-%H%M%S");
    format!("{time}-{}", &nonce()[..4])
}
