//! Contents that the fleet names but does not hold as single files: directories, archives, downloads. Read, unpacked
//! and fetched here, kept by digest below the fleet's `.weiche/cache/`, streamed: never whole in memory.
//!
//! [`listing`] (pure) <- [`cache`] <- [`walk`], [`unpack`], [`fetch`].

pub mod cache;
pub mod fetch;
pub mod listing;
pub mod unpack;
pub mod walk;

use std::fmt::Display;
use std::io;

/// Why a content cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// What it holds is refused: whoever made it, or chose it, can fix that.
    #[error("{0}")]
    Refused(String),
    /// The operating system refused.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ContentError {
    /// A refusal.
    pub fn refused(why: impl Into<String>) -> ContentError {
        ContentError::Refused(why.into())
    }

    /// For `map_err`.
    pub fn io(what: impl Display) -> impl FnOnce(io::Error) -> ContentError {
        let what = what.to_string();
        move |source| ContentError::Io { what, source }
    }

    /// With its cause, for people.
    pub fn told(&self) -> String {
        match self {
            ContentError::Refused(why) => why.clone(),
            ContentError::Io { what, source } => format!("cannot {what}: {source}"),
        }
    }
}
