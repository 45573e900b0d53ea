//! What people write: the fleet's YAML, checked as a whole, all problems at once. Pure: files come in as text.

pub mod target;
