//! The values of a playbook's inputs, from texts on the command line.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::fleet::{Fleet, Host, TargetFault};
use crate::input::playbook::{Input, Playbook};
use crate::input::profile::typed;
use crate::input::scalar::Type;
use crate::input::selector::Selector;
use crate::input::source::{Source, Span};
use crate::input::suggest;
use crate::input::yaml;

/// What problems of inputs are shown under.
pub(super) const PLACE: &str = "command line";
/// Hosts listed in one message.
const LISTED: usize = 5;

/// The value of an input.
pub(super) enum Given<'a> {
    /// Of type host.
    Host(&'a Host),
    /// Of type hosts.
    Hosts(Vec<&'a Host>),
    /// Of any other type.
    Value(Value),
}

impl Given<'_> {
    /// As templates see it.
    pub(super) fn value(&self, fleet: &Fleet) -> Value {
        match self {
            Given::Host(host) => fleet.host_value(host),
            Given::Hosts(_) => self.plain(),
            Given::Value(value) => value.clone(),
        }
    }

    /// As a plan keeps it: hosts by name. Given again as a text, it means the same.
    pub(super) fn plain(&self) -> Value {
        match self {
            Given::Host(host) => json!(host.name),
            Given::Hosts(hosts) => hosts.iter().map(|host| json!(host.name)).collect(),
            Given::Value(value) => value.clone(),
        }
    }
}

/// Reads them all: unknown, missing and ill-typed ones are problems.
pub(super) fn read<'a>(
    fleet: &'a Fleet,
    playbook: &Playbook,
    inputs: &[(String, String)],
    problems: &mut Problems,
) -> BTreeMap<String, Given<'a>> {
    let mut texts: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, text) in inputs {
        if !playbook.inputs.contains_key(name) {
            let message = format!("the playbook `{}` has no input `{name}`", playbook.name.value);
            let hint = suggest::hint(name, playbook.inputs.keys().map(String::as_str));
            problems.add(Diagnostic::of(PLACE, message).maybe_hint(hint));
        } else if texts.insert(name, text).is_some() {
            problems.add(Diagnostic::of(PLACE, format!("the input `{name}` is given twice")));
        }
    }
    let mut given = BTreeMap::new();
    for (name, input) in &playbook.inputs {
        let before = problems.len();
        let value = match (texts.get(name.as_str()), &input.default) {
            (Some(text), _) => read_one(fleet, name, input, text, problems),
            (None, Some(_)) => default(fleet, name, input, problems),
            (None, None) if input.optional => None,
            (None, None) => {
                let message = format!("the playbook `{}` needs the input `{name}`", playbook.name.value);
                let what = input.description.as_deref().unwrap_or(input.r#type.expected());
                problems.add(Diagnostic::of(PLACE, message).hint(format!("give it as {name}=...: {what}")));
                None
            }
        };
        match value {
            Some(value) if problems.len() == before => drop(given.insert(name.clone(), value)),
            _ => {}
        }
    }
    given
}

/// The value of an input that is not given, if it has one.
pub(super) fn default<'a>(fleet: &'a Fleet, name: &str, input: &Input, problems: &mut Problems) -> Option<Given<'a>> {
    let default = input.default.as_ref()?;
    match (input.r#type, default.as_str()) {
        (Type::Host | Type::Hosts, Some(text)) => read_one(fleet, name, input, text, problems),
        _ => Some(Given::Value(default.value.clone())),
    }
}

fn read_one<'a>(fleet: &'a Fleet, name: &str, input: &Input, text: &str, problems: &mut Problems) -> Option<Given<'a>> {
    match input.r#type {
        Type::Host => {
            host(fleet, name, text.trim(), problems).filter(|h| reachable(name, &[*h], problems)).map(Given::Host)
        }
        Type::Hosts => {
            hosts(fleet, name, text.trim(), problems).filter(|h| reachable(name, h, problems)).map(Given::Hosts)
        }
        Type::String | Type::Path => checked(name, input, Value::from(text), problems),
        Type::Int | Type::Bool => {
            let value = serde_json::from_str(text.trim()).unwrap_or_else(|_| Value::from(text));
            checked(name, input, value, problems)
        }
        Type::List => {
            let text = text.trim();
            let value = if text.starts_with('[') {
                flow(name, text, problems)?.json()
            } else {
                text.split(',').map(str::trim).collect()
            };
            checked(name, input, value, problems)
        }
    }
}

fn checked<'a>(name: &str, input: &Input, value: Value, problems: &mut Problems) -> Option<Given<'a>> {
    let wrong = typed(&Source::new(PLACE, ""), Span::default(), name, input.r#type, &value);
    for problem in &wrong {
        problems.add(Diagnostic::of(PLACE, problem.message.clone()));
    }
    wrong.is_empty().then_some(Given::Value(value))
}

/// A value written in YAML's flow form on the command line.
fn flow(name: &str, text: &str, problems: &mut Problems) -> Option<yaml::Node> {
    let mut wrong = Problems::new();
    let node = yaml::parse(&Source::new(PLACE, text), &mut wrong);
    for problem in &wrong {
        let message = format!("the input `{name}`: {}", problem.message);
        problems.add(Diagnostic::of(PLACE, message).maybe_hint(problem.hint.clone()));
    }
    node.filter(|_| wrong.is_empty())
}

fn host<'a>(fleet: &'a Fleet, input: &str, text: &str, problems: &mut Problems) -> Option<&'a Host> {
    match fleet.find(text) {
        Ok(host) => Some(host),
        Err(several) if several.is_empty() => {
            let problem = Diagnostic::of(PLACE, format!("the input `{input}`: there is no host `{text}`"));
            let short =
                |host: &Host| if text.contains('/') { host.name.0.clone() } else { host.name.name().to_owned() };
            let known: Vec<String> = fleet.hosts().map(short).collect();
            let hint = suggest::nearest(text, known.iter().map(String::as_str))
                .map_or_else(|| "hosts are named `member/name`".into(), |near| format!("did you mean `{near}`?"));
            problems.add(problem.hint(hint));
            None
        }
        Err(several) => {
            let names: Vec<&str> = several.iter().map(|name| name.0.as_str()).collect();
            let message = format!("the input `{input}`: `{text}` could be {}", names.join(" or "));
            problems.add(Diagnostic::of(PLACE, message).hint("write the member before it: `member/name`"));
            None
        }
    }
}

fn hosts<'a>(fleet: &'a Fleet, input: &str, text: &str, problems: &mut Problems) -> Option<Vec<&'a Host>> {
    let mut found: Vec<&Host> = if text == "all" {
        fleet.hosts().filter(|host| host.reachable()).collect()
    } else if text.starts_with('{') {
        let node = flow(input, text, problems)?;
        let source = Source::new(PLACE, text);
        let mut wrong = Problems::new();
        let selector: Option<Selector> = yaml::decode(&source, &node, &mut wrong);
        if let Some(selector) = &selector {
            wrong.extend(selector.problems(fleet, &source));
        }
        for problem in &wrong {
            let message = format!("the input `{input}`: {}", problem.message);
            problems.add(Diagnostic::of(PLACE, message).maybe_hint(problem.hint.clone()));
        }
        let selector = selector.filter(|_| wrong.is_empty())?;
        fleet.hosts().filter(|host| selector.matches(fleet, host)).collect()
    } else {
        let names: Vec<String> = if text.starts_with('[') {
            flow(input, text, problems)?.items().iter().filter_map(|item| item.text().map(str::to_owned)).collect()
        } else {
            text.split(',').map(|name| name.trim().to_owned()).collect()
        };
        let found: Vec<Option<&Host>> = names.iter().map(|name| host(fleet, input, name, problems)).collect();
        found.into_iter().collect::<Option<_>>()?
    };
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.dedup_by(|a, b| a.name == b.name);
    if found.is_empty() {
        let hint = "hosts are selected by kind, member, site, profile, label and name; all of them must match";
        problems.add(Diagnostic::of(PLACE, format!("the input `{input}`: no host matches `{text}`")).hint(hint));
        return None;
    }
    Some(found)
}

/// Refuses hosts that cannot be reached: leaving them out in silence would look like success.
fn reachable(input: &str, hosts: &[&Host], problems: &mut Problems) -> bool {
    match unreachable(hosts) {
        Some((message, hint)) => {
            problems.add(Diagnostic::of(PLACE, format!("the input `{input}`: {message}")).hint(hint));
            false
        }
        None => true,
    }
}

/// Says which hosts cannot be reached, and what to do about it.
pub(super) fn unreachable(hosts: &[&Host]) -> Option<(String, &'static str)> {
    let out: Vec<&&Host> = hosts.iter().filter(|host| !host.reachable()).collect();
    let first = out.first()?;
    let hint = "add `address` and `host_key` in the member's file, or select fewer hosts";
    if out.len() == 1 {
        let fault = match first.address {
            None => TargetFault::NoAddress(first.name.clone()),
            Some(_) => TargetFault::NoHostKey(first.name.clone()),
        };
        return Some((fault.to_string(), hint));
    }
    let mut names: Vec<&str> = out.iter().take(LISTED).map(|host| host.name.0.as_str()).collect();
    if out.len() > LISTED {
        names.push("...");
    }
    let message =
        format!("{} of {} hosts have no address or no host key: {}", out.len(), hosts.len(), names.join(", "));
    Some((message, hint))
}
