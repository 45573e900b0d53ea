//! Gates by a table; signatures in both directions against ssh-keygen itself.

mod gates;
pub(crate) mod signatures;
