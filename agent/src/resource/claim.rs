//! What a resource owns.

use std::path::PathBuf;

/// A thing on a host that has one owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// A path.
    Path(PathBuf),
    /// Anything else: its class and name.
    Name(&'static str, String),
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Claim::Path(path) => write!(f, "{}", path.display()),
            Claim::Name(class, name) => write!(f, "{class} {name}"),
        }
    }
}
