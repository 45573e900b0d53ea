//! YAML text as a tree in which every node knows its place. Bounded: neither nesting, aliases nor sheer size can exhaust
//! the machine. Duplicate keys, merge keys and several documents in one file are refused.

mod decode;
mod node;

use serde_yaml::Spanned;
use serde_yaml::options::{DuplicateKeyPolicy, MergeKeyPolicy};

use super::diagnostic::{Diagnostic, Problems};
use super::source::{Source, Span};

pub use decode::{Located, decode, expected};
pub use node::{Key, Node, Value};

/// Largest file that is read: a hundred times a member with 1,000 devices.
pub const MAX_BYTES: usize = 16 << 20;
/// Deepest nesting: what people write stays below ten.
const MAX_DEPTH: usize = 32;
/// Most nodes in a file: 10,000 devices with 20 keys each, five times over.
const MAX_NODES: usize = 2_000_000;
/// Most nodes that aliases may bring forth.
const MAX_REPLAYED: usize = 100_000;

/// Reads a document. Problems of form are recorded; `None` if there is nothing to work with.
pub fn parse(source: &Source, problems: &mut Problems) -> Option<Node> {
    if source.text().len() > MAX_BYTES {
        let message = format!("the file is larger than {} MiB", MAX_BYTES >> 20);
        problems.add(Diagnostic::new(source, Span::default(), message).hint("split it, e.g. one member a file"));
        return None;
    }
    match serde_yaml::from_str_with_options::<Option<node::Parsed>>(source.text(), options()) {
        Ok(Some(parsed)) => {
            let node = parsed.0;
            duplicates(source, &node, problems);
            Some(node)
        }
        Ok(None) => {
            let hint = "see docs/fleet.md for what belongs here";
            problems.add(Diagnostic::new(source, Span::default(), "the file is empty").hint(hint));
            None
        }
        Err(error) => {
            problems.add(explain(source, &error));
            None
        }
    }
}

fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
            max_total_scalar_bytes: MAX_BYTES,
            max_documents: 1,
            max_recorded_anchor_events: MAX_REPLAYED,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: MAX_REPLAYED,
            max_replay_stack_depth: MAX_DEPTH,
        },
        // Found by `duplicates`, all of them and with both places.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn duplicates(source: &Source, node: &Node, problems: &mut Problems) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| duplicates(source, item, problems)),
        Value::Map(entries) => {
            let mut first = std::collections::HashMap::new();
            for (key, value) in entries {
                if let Some(earlier) = first.insert(key.name.as_str(), key.span) {
                    problems.add(
                        Diagnostic::new(source, key.span, format!("the key `{}` is there twice", key.name))
                            .hint("remove one of them")
                            .related(source, earlier, "first here"),
                    );
                }
                duplicates(source, value, problems);
            }
        }
        _ => {}
    }
}

fn explain(source: &Source, error: &serde_yaml::Error) -> Diagnostic {
    use serde_yaml::Error as E;
    let error = match error.without_snippet() {
        // What is wrong lies in what the alias stands for.
        E::AliasError { error, .. } => return explain(source, error),
        error => error,
    };
    let span = error.location().map_or(Span::default(), |at| span_of(source, at));
    let (line, _) = source.position(span.start);
    let text = source.text();
    let indent = |line: u32| {
        let start = source.line_start(line) as usize;
        let rest = text.get(start..).unwrap_or("");
        let indent = &rest[..rest.len() - rest.trim_start_matches([' ', '\t']).len()];
        indent.find('\t').map(|at| Span::new(start + at, 1))
    };
    if let Some(tab) = [line, line + 1, line.saturating_sub(1).max(1)].into_iter().find_map(indent) {
        return Diagnostic::new(source, tab, "a tab is used for indentation").hint("YAML is indented with spaces only");
    }
    let bomb = "aliases (`*name`) multiply: write the values out";
    match error {
        E::MergeKeyNotAllowed { .. } => Diagnostic::new(source, span, "merge keys (`<<`) are not supported")
            .hint("write the keys out, or make a profile of them"),
        E::MultipleDocuments { .. } => Diagnostic::new(source, span, "a second YAML document starts here")
            .hint("one file holds one document: remove the `---`"),
        E::AliasReplayLimitExceeded { .. }
        | E::AliasExpansionLimitExceeded { .. }
        | E::AliasReplayStackDepthExceeded { .. }
        | E::AliasReplayCounterOverflow { .. } => {
            Diagnostic::new(source, span, "the document grows too large when its aliases are filled in").hint(bomb)
        }
        E::Budget { breach, .. } => {
            let message = format!("the document is too large or nested too deeply ({})", limit(breach));
            Diagnostic::new(source, span, message).hint(format!("split it; {bomb}"))
        }
        other => {
            let message = other.render();
            let message = message.split(" at line ").next().unwrap_or(&message);
            let hint = "is the indentation right, and are texts with `:`, `#`, `{` or `*` in quotes?";
            Diagnostic::new(source, span, format!("this is not valid YAML: {message}")).hint(hint)
        }
    }
}

fn limit(breach: &impl std::fmt::Debug) -> String {
    let text = format!("{breach:?}");
    let name = text.split([' ', '{', '(']).next().unwrap_or_default();
    let mut words = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(c.to_lowercase());
    }
    words
}

fn span_of(source: &Source, at: serde_yaml::Location) -> Span {
    let span = at.span();
    match (span.byte_offset(), span.byte_len()) {
        (Some(start), Some(len)) => {
            Span::new(usize::try_from(start).unwrap_or(usize::MAX), usize::try_from(len).unwrap_or(0))
        }
        _ => {
            let start = source.line_start(u32::try_from(at.line()).unwrap_or(1)) as usize;
            let before = usize::try_from(at.column()).unwrap_or(1).saturating_sub(1);
            let line = source.text().get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
            Span::new(start + line.chars().take(before).map(char::len_utf8).sum::<usize>(), 0)
        }
    }
}

fn span_of_spanned<T>(spanned: &Spanned<T>) -> Span {
    let span = spanned.defined.span();
    Span::new(
        span.byte_offset().and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
        span.byte_len().and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_their_places() {
        let source =
            Source::new("x.yaml", "a: 1\nb:\n  - \"x y\"\n  - { c: yes, d: 0644 }\ne: |\n  text\nf:\n101: z\n");
        let mut problems = Problems::new();
        let node = parse(&source, &mut problems).unwrap();
        let mut seen = Vec::new();
        walk(&source, &node, &mut seen);
        insta::assert_debug_snapshot!(seen, @r###"
[
    (
        "0+0 \"\"",
        "a mapping (`key: value`)",
    ),
    (
        "0+1 \"a\"",
        "a",
    ),
    (
        "3+1 \"1\"",
        "the number 1",
    ),
    (
        "5+1 \"b\"",
        "b",
    ),
    (
        "10+0 \"\"",
        "a list",
    ),
    (
        "12+5 \"\\\"x y\\\"\"",
        "the text `x y`",
    ),
    (
        "22+1 \"{\"",
        "a mapping (`key: value`)",
    ),
    (
        "24+1 \"c\"",
        "c",
    ),
    (
        "27+3 \"yes\"",
        "the text `yes`",
    ),
    (
        "32+1 \"d\"",
        "d",
    ),
    (
        "35+4 \"0644\"",
        "the number 0644",
    ),
    (
        "42+1 \"e\"",
        "e",
    ),
    (
        "49+5 \"text\\n\"",
        "a text",
    ),
    (
        "54+1 \"f\"",
        "f",
    ),
    (
        "55+0 \"\"",
        "nothing",
    ),
    (
        "57+3 \"101\"",
        "101",
    ),
    (
        "62+1 \"z\"",
        "the text `z`",
    ),
]
"###);
    }

    fn walk(source: &Source, node: &Node, seen: &mut Vec<(String, String)>) {
        let at = |span: Span| format!("{}+{} {:?}", span.start, span.len, span.of(source.text()));
        seen.push((at(node.span), node.found(source)));
        node.items().iter().for_each(|item| walk(source, item, seen));
        for (key, value) in node.entries() {
            seen.push((at(key.span), key.name.clone()));
            walk(source, value, seen);
        }
    }
}
