//! Texts that problems point into: their names, lines and columns. A source is shared, never copied.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A part of a source, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// Offset of its first byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Span {
    /// From an offset and a length; beyond 4 GiB it points to the end.
    pub fn new(start: usize, len: usize) -> Span {
        let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span { start: short(start), len: short(len) }
    }

    /// The part of the text that it covers; empty if it lies outside.
    pub fn of(self, text: &str) -> &str {
        let start = self.start as usize;
        text.get(start..start.saturating_add(self.len as usize)).unwrap_or("")
    }
}

/// A named text.
#[derive(Clone)]
pub struct Source(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    text: Box<str>,
    lines: OnceLock<Vec<u32>>,
}

impl Source {
    /// Of a file below the fleet's directory, by its relative path; or of anything else that has a name.
    pub fn new(name: &str, text: impl Into<Box<str>>) -> Source {
        Source(Arc::new(Inner { name: name.into(), text: text.into(), lines: OnceLock::new() }))
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Line and column of an offset, both from 1; columns count characters.
    pub fn position(&self, offset: u32) -> (u32, u32) {
        let lines = self.lines();
        let line = lines.partition_point(|start| *start <= offset);
        let start = lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text().get(start as usize..offset as usize).unwrap_or("");
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX))
    }

    /// Offset of the start of a line (from 1), or of the end of the text.
    pub fn line_start(&self, line: u32) -> u32 {
        let end = || u32::try_from(self.text().len()).unwrap_or(u32::MAX);
        self.lines().get((line as usize).saturating_sub(1)).copied().unwrap_or_else(end)
    }

    fn lines(&self) -> &[u32] {
        self.0.lines.get_or_init(|| {
            let newlines = self.text().bytes().enumerate().filter(|(_, b)| *b == b'\n');
            std::iter::once(0).chain(newlines.map(|(at, _)| u32::try_from(at + 1).unwrap_or(u32::MAX))).collect()
        })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({}, {} bytes)", self.name(), self.text().len())
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Source) -> bool {
        self.name() == other.name() && self.text() == other.text()
    }
}

/// Sources by name.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<Arc<str>, Source>);

impl Sources {
    /// Adds one; the last of a name counts.
    pub fn add(&mut self, source: Source) {
        self.0.insert(source.name().clone(), source);
    }

    /// Finds one.
    pub fn get(&self, name: &str) -> Option<&Source> {
        self.0.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_characters() {
        let source = Source::new("x", "a\nöß: 1\n");
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(2), (2, 1));
        assert_eq!(source.position(6), (2, 3));
        assert_eq!(source.position(10), (3, 1));
        assert_eq!(source.line_start(2), 2);
    }
}
