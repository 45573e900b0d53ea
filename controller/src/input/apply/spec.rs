//! What is wrong with a rendered spec, as its kind says, found again in the text.

use serde_json::Value;

use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::resource::{Resource, keys};
use crate::input::source::Source;
use crate::input::suggest;
use crate::input::yaml::{Value as Tree, expected};

/// The kind's problems with a spec, all of them. A kind reads only as far as the first error of form: that key is left
/// out and the kind asked again.
pub(super) fn problems(source: &Source, resource: &Resource, spec: &Value) -> Problems {
    let mut problems = Problems::new();
    let mut left = spec.clone();
    let mut dropped = false;
    while let Some(map) = left.as_object() {
        let Some((key, message)) = map.keys().find_map(|key| misfit(resource, &left, key)) else { break };
        // Unknown keys were reported when the file was read.
        if keys(resource.kind).contains(&key) {
            problems.add(explain(source, resource, spec, &key, &message));
        }
        dropped = true;
        left.as_object_mut().map(|map| map.remove(&key));
    }
    for message in resource.kind.problems(&left) {
        match missing(&message) {
            Some(_) if dropped => {}
            Some(key) => {
                let message = format!("`{}` needs the key `{key}`", resource.kind.name());
                problems.add(Diagnostic::new(source, resource.key, message).hint(format!("add `{key}: ...`")));
            }
            None if dropped && !names_a_value(&message, &left) => {}
            None => problems.add(Diagnostic::new(source, place(resource, &left, &message), message)),
        }
    }
    problems
}

/// The key, if its value is why the kind cannot read the spec: without it, the complaint is another or none.
fn misfit(resource: &Resource, spec: &Value, key: &str) -> Option<(String, String)> {
    let before = resource.kind.problems(spec);
    let [message] = before.as_slice() else { return None };
    let of_form =
        ["invalid type", "invalid value", "invalid length", "unknown field", "unknown variant", "data did not"];
    let own =
        || spec.get(key).and_then(Value::as_str).is_some_and(|text| message.starts_with(&format!("`{text}` is no ")));
    if !(of_form.iter().any(|start| message.starts_with(start)) || own()) {
        return None;
    }
    let mut without = spec.clone();
    without.as_object_mut()?.remove(key);
    (!resource.kind.problems(&without).contains(message)).then(|| (key.to_owned(), message.clone()))
}

fn explain(source: &Source, resource: &Resource, spec: &Value, key: &str, message: &str) -> Diagnostic {
    let Some(node) = resource.spec.get(key) else { return Diagnostic::new(source, resource.key, message) };
    let templated = matches!(&node.value, Tree::Text(text) if text.contains("{{"));
    if let Some(what) = message.strip_prefix("invalid type: ").and_then(|m| m.split_once(", expected ")).map(|m| m.1) {
        let what = match what {
            "a string" => "a text",
            "a boolean" => "true or false",
            "a sequence" => "a list",
            other => other,
        };
        if !templated {
            let problem = expected(source, node, what);
            return Diagnostic { message: format!("`{key}`: {}", problem.message), ..problem };
        }
        let shown = spec.get(key).map(ToString::to_string).unwrap_or_default();
        return Diagnostic::new(source, node.span, format!("`{key}`: expected {what}, but it becomes {shown}"));
    }
    if let Some((name, known)) = message.strip_prefix("unknown variant `").and_then(|m| m.split_once('`')) {
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        let message = format!("`{key}` cannot be `{name}`");
        return Diagnostic::new(source, node.span, message).maybe_hint(suggest::hint(name, known));
    }
    Diagnostic::new(source, node.span, format!("`{key}`: {message}"))
}

fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

fn names_a_value(message: &str, spec: &Value) -> bool {
    spec.as_object().is_some_and(|map| map.values().filter_map(Value::as_str).any(|text| quotes(message, text)))
}

fn quotes(message: &str, text: &str) -> bool {
    !text.is_empty() && (message.contains(&format!("`{text}`")) || message.contains(&format!("\"{text}\"")))
}

/// The value that a message quotes, else a key that it quotes, else the kind.
fn place(resource: &Resource, spec: &Value, message: &str) -> crate::input::source::Span {
    let quoted =
        |(key, value): (&String, &Value)| value.as_str().is_some_and(|text| quotes(message, text)).then(|| key.clone());
    let key = spec.as_object().and_then(|map| map.iter().find_map(quoted));
    let key = key.or_else(|| resource.spec.entries().iter().map(|(k, _)| k.name.clone()).find(|k| quotes(message, k)));
    match key.and_then(|key| resource.spec.get(&key)) {
        Some(node) if node.span.len > 0 => node.span,
        _ => resource.key,
    }
}
