//! A step as written: exactly one action, perhaps with `on`, `timeout`, `within`, `every`, `by`, `takes` or `back`.

use std::time::Duration;

use super::transfer::{self, Transfer};
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::resource::{self, Resource};
use crate::input::scalar::Period;
use crate::input::source::{Source, Span};
use crate::input::suggest;
use crate::input::yaml::{Key, Node, Value, decode, expected};

/// The actions that are no resource kinds.
const ACTIONS: [&str; 6] = ["apply", "check", "manual", "reboot", "transfer", "wait_for"];
/// The keys of a way to look.
const PROBE: [&str; 12] = [
    "tcp",
    "http",
    "status",
    "dns",
    "certificate",
    "unit",
    "postgres",
    "disk",
    "fresh",
    "clock",
    "open_files",
    "command",
];
/// For how long a check is repeated, and how often, unless it says otherwise.
const CHECK: (Duration, Duration) = (Duration::from_secs(30), Duration::from_millis(500));
/// The same for what is waited for: something slow.
const WAIT: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(5));
/// How long a host may take to come back: servers test their memory for minutes.
const REBOOT: Duration = Duration::from_secs(600);

/// A step as written.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where its action stands.
    pub key: Span,
    /// What it does.
    pub action: StepAction,
    /// The only host that does it, by an input or a template: hosts take turns.
    pub on: Option<Node>,
    /// Where it says `back: beside`: on the way back, what comes before it on other hosts does not wait for it.
    pub beside: Option<Span>,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum StepAction {
    /// All resources of a profile.
    Apply {
        /// Its name, perhaps by a template.
        profile: Node,
        /// Values for its parameters, instead of the host's.
        parameters: Vec<(Key, Node)>,
        /// For each of its resources.
        timeout: Option<Duration>,
    },
    /// One resource.
    Resource(Resource),
    /// Directory trees from another host.
    Transfer(Transfer),
    /// A look.
    Check {
        /// In the form of a probe, perhaps with templates.
        probe: Node,
        /// For how long it is repeated.
        within: Duration,
        /// Pause between two attempts.
        every: Duration,
        /// Success is waited for: written as `wait_for`.
        waits: bool,
    },
    /// An instruction to a person.
    Manual {
        /// What to do.
        text: Node,
        /// Who is to do it.
        by: Option<Node>,
        /// How long it is expected to take.
        takes: Option<Duration>,
    },
    /// A restart of the host.
    Reboot {
        /// Why, for people.
        reason: Option<Node>,
        /// How long it may take.
        within: Duration,
    },
}

/// Reads an item of `steps:`.
pub(super) fn parse(source: &Source, mut item: Node, problems: &mut Problems) -> Option<Step> {
    if !matches!(item.value, Value::Map(_)) {
        problems.add(expected(source, &item, "a step (`action: ...`)"));
        return None;
    }
    let timeout_key = item.entry("timeout").map(|(key, _)| key.span);
    let timeout = resource::timeout(source, &mut item, problems);
    let (within, every) = (item.take("within"), item.take("every"));
    let (by, takes) = (item.take("by"), item.take("takes"));
    let on = item.take("on").and_then(|(key, node)| text(source, &key, node, problems));
    let beside = item.take("back").and_then(|(key, node)| beside(source, &key, &node, problems));
    let Value::Map(entries) = item.value else { return None };
    let mut entries = entries.into_iter();
    let Some((key, value)) = entries.next() else {
        let span = timeout_key.unwrap_or(item.span);
        problems.add(Diagnostic::new(source, span, "the step does nothing").maybe_hint(suggest::hint("", known())));
        return None;
    };
    for (second, _) in entries {
        let hint = "start each step with `- `; beside an action there may be `on`, `timeout`, `within`, `every`, `by`, `takes` and `back`";
        let message = format!("`{}` does not belong to this step", second.name);
        problems.add(Diagnostic::new(source, second.span, message).hint(hint));
    }
    let repeats = matches!(key.name.as_str(), "check" | "wait_for");
    if let (Some((at, _)), false) = (&within, repeats || key.name == "reboot") {
        let message = "`within` belongs to a `check`, a `wait_for` or a `reboot`";
        problems.add(Diagnostic::new(source, at.span, message).hint("use `timeout` for other steps"));
    }
    if let (Some((at, _)), false) = (&every, repeats) {
        problems.add(Diagnostic::new(source, at.span, "`every` belongs to a `check` or a `wait_for`"));
    }
    for (at, _) in [&by, &takes].into_iter().flatten().filter(|_| key.name != "manual") {
        problems.add(Diagnostic::new(source, at.span, format!("`{}` belongs to a `manual` step", at.name)));
    }
    if let (Some(at), "check" | "manual" | "reboot" | "wait_for") = (timeout_key, key.name.as_str()) {
        let hint = if repeats || key.name == "reboot" { "use `within`" } else { "leave it out" };
        problems.add(Diagnostic::new(source, at, format!("`{}` has no timeout", key.name)).hint(hint));
    }
    let action = match key.name.as_str() {
        "apply" => apply(source, &key, value, timeout, problems)?,
        "transfer" => StepAction::Transfer(transfer::parse(source, &key, value, timeout_key.zip(timeout), problems)?),
        "check" | "wait_for" => {
            let (waits, (usual, often)) = if key.name == "check" { (false, CHECK) } else { (true, WAIT) };
            let within = period(source, within, usual, problems);
            let every = period(source, every, often, problems);
            known_keys(source, &key.name, &value, &PROBE, problems);
            StepAction::Check { probe: mapping(source, &key, value, problems)?, within, every, waits }
        }
        "reboot" => {
            let within = period(source, within, REBOOT, problems);
            let reason = match value.value {
                Value::Null => None,
                _ => Some(text(source, &key, value, problems)?),
            };
            StepAction::Reboot { reason, within }
        }
        "manual" => {
            let takes = takes.is_some().then(|| period(source, takes, Duration::ZERO, problems));
            let by = by.and_then(|(key, node)| text(source, &key, node, problems));
            StepAction::Manual { text: text(source, &key, value, problems)?, by, takes }
        }
        name => match resource::find(name) {
            Some(kind) => StepAction::Resource(resource::read(source, kind, &key, value, timeout, problems)?),
            None => {
                problems.add(resource::unknown_kind(source, &key, known()));
                return None;
            }
        },
    };
    Some(Step { key: key.span, action, on, beside })
}

fn beside(source: &Source, key: &Key, value: &Node, problems: &mut Problems) -> Option<Span> {
    if !matches!(&value.value, Value::Text(text) if text == "beside") {
        problems.add(Diagnostic::new(source, value.span, "`back` must be `beside`").hint("or leave it out"));
    }
    Some(key.span)
}

/// A time that stands beside an action; it is longer than nothing.
fn period(source: &Source, given: Option<(Key, Node)>, usual: Duration, problems: &mut Problems) -> Duration {
    let Some((key, node)) = given else { return usual };
    let period = decode::<Period>(source, &node, problems).map_or(usual, |period| period.0);
    if period.is_zero() {
        problems.add(Diagnostic::new(source, node.span, format!("`{}` must be longer than nothing", key.name)));
    }
    period
}

fn known() -> impl Iterator<Item = &'static str> {
    ACTIONS.into_iter().chain(resource::kind_names())
}

fn apply(
    source: &Source,
    key: &Key,
    mut value: Node,
    timeout: Option<Duration>,
    problems: &mut Problems,
) -> Option<StepAction> {
    if matches!(value.value, Value::Text(_)) {
        return Some(StepAction::Apply { profile: value, parameters: Vec::new(), timeout });
    }
    known_keys(source, "apply", &value, &["profile", "parameters"], problems);
    let parameters = match value.take("parameters").map(|(_, node)| node) {
        Some(Node { value: Value::Map(entries), .. }) => entries,
        Some(node) if node.value != Value::Null => {
            problems.add(expected(source, &node, "a mapping (`key: value`)"));
            Vec::new()
        }
        _ => Vec::new(),
    };
    let value = mapping(source, key, value, problems)?;
    let profile = required(source, key, &value, "profile", problems)?;
    Some(StepAction::Apply { profile: text(source, key, profile, problems)?, parameters, timeout })
}

pub(super) fn required(source: &Source, key: &Key, value: &Node, name: &str, problems: &mut Problems) -> Option<Node> {
    let found = value.get(name).cloned();
    if found.is_none() {
        let message = format!("`{}` needs the key `{name}`", key.name);
        problems.add(Diagnostic::new(source, key.span, message).hint(format!("add `{name}: ...`")));
    }
    found
}

pub(super) fn known_keys(source: &Source, what: &str, value: &Node, known: &[&str], problems: &mut Problems) {
    for (key, _) in value.entries().iter().filter(|(key, _)| !known.contains(&key.name.as_str())) {
        let hint = suggest::hint(&key.name, known.iter().copied());
        let message = format!("`{what}` has no key `{}`", key.name);
        problems.add(Diagnostic::new(source, key.span, message).maybe_hint(hint));
    }
}

pub(super) fn mapping(source: &Source, key: &Key, value: Node, problems: &mut Problems) -> Option<Node> {
    if matches!(value.value, Value::Map(_)) {
        return Some(value);
    }
    let span = if value.value == Value::Null { key.span } else { value.span };
    problems.add(expected(source, &Node { span, ..value }, "a mapping (`key: value`)"));
    None
}

pub(super) fn text(source: &Source, key: &Key, value: Node, problems: &mut Problems) -> Option<Node> {
    if matches!(value.value, Value::Text(_)) {
        return Some(value);
    }
    let span = if value.value == Value::Null { key.span } else { value.span };
    problems.add(expected(source, &Node { span, ..value }, "a text"));
    None
}
