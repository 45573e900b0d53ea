//! From tree to types, with all problems at once: what is wrong is recorded and left out, and decoding starts again
//! without it. Errors that only follow from what was left out are not reported.

mod deserializer;
mod located;

use std::collections::{HashMap, HashSet};

use serde::de::DeserializeOwned;

use super::node::{Node, Value};
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::source::{Source, Span};
use crate::input::suggest;

use deserializer::{Cause, Decoder, Fail, Left};
pub use located::Located;

/// Attempts for one value: more than this many problems in one device or stage are not worth reading.
const ATTEMPTS: usize = 40;

/// Decodes a node. Every problem is recorded; the value comes without the parts that had one, `None` if nothing is left.
pub fn decode<T: DeserializeOwned>(source: &Source, node: &Node, problems: &mut Problems) -> Option<T> {
    let mut skip = HashSet::new();
    let mut texts = HashMap::new();
    let mut holes = HashSet::new();
    for _ in 0..ATTEMPTS {
        let fail = match T::deserialize(Decoder { node, left: &Left { skip: &skip, texts: &texts } }) {
            Ok(value) => return Some(value),
            Err(fail) => fail,
        };
        let follows = matches!(fail.cause, Cause::Missing(_)) && fail.span.is_some_and(|span| holes.contains(&span));
        if !follows {
            problems.add(explain(source, node, &fail));
        }
        // A number where a text belongs is taken as it is written: more may be wrong behind it.
        if let (Cause::Expected(what, Some(found)), Some(span)) = (&fail.cause, fail.span)
            && what == "a text"
            && matches!(found.value, Value::Int(_) | Value::Float(_) | Value::Bool(_))
            && texts.insert(span, span.of(source.text()).to_owned()).is_none()
        {
            continue;
        }
        holes.extend(fail.container);
        match fail.drop {
            Some(drop) if skip.insert(drop) => {}
            _ => return None,
        }
    }
    None
}

/// The problem of a node that is something else than it should be, with the hint that usually helps.
pub fn expected(source: &Source, node: &Node, what: &str) -> Diagnostic {
    let written = node.span.of(source.text());
    let message = format!("expected {what}, found {}", node.found(source));
    let hint = match &node.value {
        Value::Int(_) | Value::Float(_) | Value::Bool(_) if what.contains("text") && !written.is_empty() => {
            Some(format!("put it in quotes: \"{written}\""))
        }
        Value::Text(text) if what.contains("true or false") => match text.to_lowercase().as_str() {
            "yes" | "on" | "y" => Some("write `true`".into()),
            "no" | "off" | "n" => Some("write `false`".into()),
            _ => Some("write `true` or `false`, without quotes".into()),
        },
        Value::Text(text) if what.contains("number") && text.parse::<f64>().is_ok() => {
            Some(format!("write it without quotes: {text}"))
        }
        Value::Text(_) | Value::Int(_) if what.contains("list") && !written.is_empty() && !written.contains('\n') => {
            Some(format!("write a list: [ {written} ]"))
        }
        _ => None,
    };
    Diagnostic::new(source, node.span, message).maybe_hint(hint)
}

fn explain(source: &Source, root: &Node, fail: &Fail) -> Diagnostic {
    let span = fail.span.unwrap_or(root.span);
    match &fail.cause {
        Cause::Custom(message) => Diagnostic::new(source, span, message.clone()),
        Cause::Expected(what, found) => match found {
            Some(node) => expected(source, node, what),
            None => Diagnostic::new(source, span, format!("expected {what}")),
        },
        Cause::Missing(field) => Diagnostic::new(source, span, format!("the key `{field}` is missing here"))
            .hint(format!("add `{field}: ...`")),
        Cause::Unknown(what, name, known) => Diagnostic::new(source, span, format!("unknown {what} `{name}`"))
            .maybe_hint(suggest::hint(name, known.iter().copied())),
    }
}

/// The first line of a collection, which has a start but no length of its own.
pub(super) fn head(node: &Node) -> Span {
    match &node.value {
        Value::Map(entries) => entries.first().map_or(node.span, |(key, _)| key.span),
        _ => node.span,
    }
}
