//! A resource as written in a profile or a playbook: `{KIND: SPEC}`, perhaps with a `timeout`. Its spec may hold
//! templates, so it stays a tree until it is rendered for a host.

use std::time::Duration;

use weiche_agent::resource::{Kind, kinds};

use super::diagnostic::{Diagnostic, Problems};
use super::scalar::Period;
use super::schema::spec_schema;
use super::source::{Source, Span};
use super::suggest;
use super::yaml::{Key, Node, Value, decode, expected};

/// Time for a resource, unless it says otherwise.
pub const TIMEOUT: Duration = Duration::from_mins(5);
/// Time for a package: downloads over a slow line, and its configuration.
const PACKAGE_TIMEOUT: Duration = Duration::from_mins(30);
/// Kinds that only the controller makes.
const INTERNAL: &[&str] = &["replica"];

/// A resource as written.
#[derive(Clone)]
pub struct Resource {
    /// Its kind.
    pub kind: &'static dyn Kind,
    /// Where the kind's name stands.
    pub key: Span,
    /// What is wanted.
    pub spec: Node,
    /// Its `restart_on`: resources above it in the same list, `KIND NAME`, whose change restarts this unit.
    pub restart_on: Vec<(String, Span)>,
    /// After this time it has failed.
    pub timeout: Duration,
}

impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resource({} {:?})", self.kind.name(), self.spec)
    }
}

/// Names of the kinds that people may write.
pub fn kind_names() -> impl Iterator<Item = &'static str> {
    kinds().iter().map(|kind| kind.name()).filter(|name| !INTERNAL.contains(name))
}

/// Reads an item of `resources:`.
pub fn parse(source: &Source, mut item: Node, problems: &mut Problems) -> Option<Resource> {
    let what = "a resource (`kind: { ... }`)";
    if !matches!(item.value, Value::Map(_)) {
        problems.add(expected(source, &item, what));
        return None;
    }
    let timeout = timeout(source, &mut item, problems);
    let Value::Map(entries) = item.value else { return None };
    let mut entries = entries.into_iter();
    let Some((key, spec)) = entries.next() else {
        problems.add(Diagnostic::new(source, item.span, format!("expected {what}, found nothing")));
        return None;
    };
    if let Some((second, _)) = entries.next() {
        let hint = "start each resource with `- `; only `timeout` may stand beside it";
        let message = format!("`{}` does not belong to this resource", second.name);
        problems.add(Diagnostic::new(source, second.span, message).hint(hint));
    }
    let Some(kind) = find(&key.name) else {
        problems.add(unknown_kind(source, &key, kind_names()));
        return None;
    };
    read(source, kind, &key, spec, timeout, problems)
}

/// The problem of a kind that there is not.
pub fn unknown_kind<'a>(source: &Source, key: &Key, known: impl IntoIterator<Item = &'a str>) -> Diagnostic {
    Diagnostic::new(source, key.span, format!("unknown kind `{}`", key.name))
        .maybe_hint(suggest::hint(&key.name, known))
}

/// A kind that people may write.
pub fn find(name: &str) -> Option<&'static dyn Kind> {
    weiche_agent::resource::kind(name).filter(|kind| !INTERNAL.contains(&kind.name()))
}

/// Takes `timeout` out of a step or resource.
pub fn timeout(source: &Source, item: &mut Node, problems: &mut Problems) -> Option<Duration> {
    let (_, node) = item.take("timeout")?;
    decode::<Period>(source, &node, problems).map(|period| period.0)
}

/// Reads the spec of a resource whose kind is known.
pub fn read(
    source: &Source,
    kind: &'static dyn Kind,
    key: &Key,
    mut spec: Node,
    timeout: Option<Duration>,
    problems: &mut Problems,
) -> Option<Resource> {
    if !matches!(spec.value, Value::Map(_)) {
        let place = if spec.value == Value::Null { key.span } else { spec.span };
        problems.add(expected(source, &Node { span: place, ..spec }, "a mapping (`key: value`)"));
        return None;
    }
    let inner = spec.entries().iter().filter(|(key, _)| kind.sent().contains(&key.name.as_str()));
    let inner = inner.filter_map(|(_, node)| Some(node.entry("blob")?.0.span)).collect::<Vec<_>>();
    let own = spec.take("blob").map(|(blob, _)| blob.span);
    for span in inner.into_iter().chain(own) {
        let hint = "give the content by `content`, `template` or `source`";
        problems.add(Diagnostic::new(source, span, "`blob` is not for people").hint(hint));
    }
    let restart_on = if kind.name() == "unit" { references(source, &spec, problems) } else { Vec::new() };
    unknown_keys(source, kind, &spec, problems);
    let usual = if kind.name() == "package" { PACKAGE_TIMEOUT } else { TIMEOUT };
    Some(Resource { kind, key: key.span, spec, restart_on, timeout: timeout.unwrap_or(usual) })
}

fn references(source: &Source, spec: &Node, problems: &mut Problems) -> Vec<(String, Span)> {
    let Some(list) = spec.get("restart_on") else { return Vec::new() };
    if !matches!(list.value, Value::List(_)) {
        problems.add(expected(source, list, "a list of resources, each `KIND NAME`"));
    }
    let mut references = Vec::new();
    for item in list.items() {
        match item.text() {
            Some(text) => references.push((text.to_owned(), item.span)),
            None => problems.add(expected(source, item, "a text such as `file /etc/x.conf`")),
        }
    }
    references
}

/// Keys that the kind does not know, found in its schema so that all are found, and before templates are rendered.
fn unknown_keys(source: &Source, kind: &'static dyn Kind, spec: &Node, problems: &mut Problems) {
    let known = keys(kind);
    for (key, _) in spec.entries() {
        if !known.is_empty() && !known.contains(&key.name) {
            let message = format!("`{}` has no key `{}`", kind.name(), key.name);
            let hint = suggest::hint(&key.name, known.iter().map(String::as_str));
            problems.add(Diagnostic::new(source, key.span, message).maybe_hint(hint));
        }
    }
}

/// The keys of a kind's spec.
pub fn keys(kind: &'static dyn Kind) -> Vec<String> {
    let properties = spec_schema(kind.name()).and_then(|schema| schema.get("properties")).and_then(|p| p.as_object());
    properties.map(|p| p.keys().filter(|k| *k != "blob").cloned().collect()).unwrap_or_default()
}
