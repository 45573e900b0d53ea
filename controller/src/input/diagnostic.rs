//! Problems in what people wrote: place, cause, hint. Collected, all of them, and shown together. Never printed here.

mod render;

use std::collections::HashSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::source::{Source, Span};

pub use render::render;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The fleet cannot be used.
    Error,
    /// Probably a mistake.
    Warning,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Name of the source: a path relative to the fleet's directory, or e.g. `command line`.
    pub file: String,
    /// Where it is, in bytes.
    pub span: Span,
    /// The same as a line, from 1; 0 if there is no text to point into.
    pub line: u32,
    /// The same as a column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Other places that belong to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
}

/// Another place that belongs to a problem.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Related {
    /// Name of the source.
    pub file: String,
    /// Where it is, in bytes.
    pub span: Span,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// What is there.
    pub message: String,
}

impl Diagnostic {
    /// A problem at a place.
    pub fn new(source: &Source, span: Span, message: impl Into<String>) -> Diagnostic {
        let (line, column) = source.position(span.start);
        let (file, message) = (source.name().to_string(), message.into());
        Diagnostic { severity: Severity::Error, file, span, line, column, message, hint: None, related: Vec::new() }
    }

    /// A problem of something that has a name but no text, e.g. the command line.
    pub fn of(name: &str, message: impl Into<String>) -> Diagnostic {
        let (file, message) = (name.into(), message.into());
        let (severity, span) = (Severity::Error, Span::default());
        Diagnostic { severity, file, span, line: 0, column: 0, message, hint: None, related: Vec::new() }
    }

    /// As a warning.
    #[must_use]
    pub fn warning(mut self) -> Diagnostic {
        self.severity = Severity::Warning;
        self
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }

    /// With what to do about it, if anything is known.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Diagnostic {
        self.hint = hint.or(self.hint);
        self
    }

    /// With another place.
    #[must_use]
    pub fn related(mut self, source: &Source, span: Span, message: impl Into<String>) -> Diagnostic {
        let (line, column) = source.position(span.start);
        self.related.push(Related { file: source.name().to_string(), span, line, column, message: message.into() });
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)
        } else {
            write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
        }
    }
}

/// A collection of problems. As an error it is never empty, and it is sorted by place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Problems(Vec<Diagnostic>);

impl Problems {
    /// None yet.
    pub fn new() -> Problems {
        Problems::default()
    }

    /// Adds one.
    pub fn add(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Adds all of another collection.
    pub fn extend(&mut self, other: Problems) {
        self.0.extend(other.0);
    }

    /// How many there are so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is an error among them.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// In the order in which they are shown.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// Sorts by place and drops repetitions.
    #[must_use]
    pub fn sorted(mut self) -> Problems {
        let mut seen = HashSet::new();
        self.0.retain(|d| seen.insert(d.clone()));
        self.0.sort_by(|a, b| (&a.file, a.span, a.severity).cmp(&(&b.file, b.span, b.severity)));
        self
    }

    /// The value, with the warnings, or everything that is wrong.
    ///
    /// # Errors
    /// If there is an error among the problems: the author of the fleet can fix it.
    pub fn or<T>(self, value: T) -> Result<(T, Problems), Problems> {
        if self.has_errors() { Err(self.sorted()) } else { Ok((value, self.sorted())) }
    }
}

impl From<Diagnostic> for Problems {
    fn from(diagnostic: Diagnostic) -> Problems {
        Problems(vec![diagnostic])
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, diagnostic) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
