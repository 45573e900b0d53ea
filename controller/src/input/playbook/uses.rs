//! `- use: PLAYBOOK` among the stages of a playbook: the stages of another one, for one or several parts.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::profile::typed;
use crate::input::rollout::rule::OnStop;
use crate::input::scalar::{Name, Type};
use crate::input::source::{Source, Span};
use crate::input::yaml::{Key, Located, Node, Value, decode, expected};

use super::Input;

/// The stages of another playbook: stage by stage, for one part after the other.
#[derive(Clone, Debug)]
pub struct Use {
    /// The other playbook.
    pub playbook: Located<Name>,
    /// In this order. Never empty.
    pub parts: Vec<Part>,
    /// Only these of its stages; empty: all.
    pub only: Vec<Located<Name>>,
    /// What happens when one of them stops, instead of what the other playbook says.
    pub on_stop: Option<OnStop>,
}

impl Use {
    /// Whether a stage, or a `use` of its own, of the other playbook is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| *only.value == *name)
    }
}

/// What the stages of another playbook are done for, under a name of its own.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name; its stages are called `NAME-STAGE`.
    pub name: Located<Name>,
    /// The inputs of the other playbook, perhaps with templates.
    pub inputs: Vec<(Key, Node)>,
}

/// The plain keys of a `use`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Use")]
pub struct UseHead {
    /// The playbook whose stages are taken.
    pub r#use: Located<Name>,
    /// What they are done for, stage by stage in this order: a `gate` waits before the first of them, a `hold` behind the last.
    #[schemars(with = "Vec<PartHead>")]
    #[serde(default)]
    pub parts: serde::de::IgnoredAny,
    /// Only these of its stages; left out: all.
    #[serde(default)]
    pub only: Vec<Located<Name>>,
    /// Instead of what its stages say.
    #[serde(default)]
    pub on_stop: Option<OnStop>,
}

/// An item of `parts:`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Part")]
pub(super) struct PartHead {
    /// Its name: its stages are called `PART-STAGE`.
    part: Located<Name>,
    /// For the inputs of the other playbook. Left out if it names an optional input that is not given.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    #[serde(rename = "inputs")]
    _inputs: serde::de::IgnoredAny,
}

/// Reads an item of `stages:` that has the key `use`.
pub(super) fn parse(source: &Source, mut item: Node, problems: &mut Problems) -> Option<Use> {
    let parts = item.take("parts");
    let head: UseHead = decode(source, &item, problems)?;
    let UseHead { r#use: playbook, only, on_stop, .. } = head;
    let items = match parts {
        Some((_, Node { value: Value::List(items), .. })) if !items.is_empty() => items,
        Some((_, node)) if !matches!(node.value, Value::Null | Value::List(_)) => {
            problems.add(expected(source, &node, "a list of parts"));
            return None;
        }
        _ => {
            let message = format!("it is not said for what `{}` is used", playbook.value);
            let hint = "add `parts: [ { part: NAME, inputs: { ... } } ]`";
            problems.add(Diagnostic::new(source, playbook.span, message).hint(hint));
            return None;
        }
    };
    let parts: Vec<Part> = items.into_iter().filter_map(|item| part(source, item, problems)).collect();
    for (at, part) in parts.iter().enumerate() {
        if let Some(first) = parts[..at].iter().find(|first| first.name.value == part.name.value) {
            let message = format!("there are two parts `{}`", part.name.value);
            let problem = Diagnostic::new(source, part.name.span, message).hint("give one of them another name");
            problems.add(problem.related(source, first.name.span, "first here"));
        }
    }
    (!parts.is_empty()).then_some(Use { playbook, parts, only, on_stop })
}

fn part(source: &Source, mut item: Node, problems: &mut Problems) -> Option<Part> {
    if !matches!(item.value, Value::Map(_)) {
        problems.add(expected(source, &item, "a part (`part: name`, `inputs: { ... }`)"));
        return None;
    }
    let inputs = match item.take("inputs").map(|(_, node)| node) {
        Some(Node { value: Value::Map(entries), .. }) => entries,
        Some(node) if node.value != Value::Null => {
            problems.add(expected(source, &node, "a mapping of input names to values"));
            Vec::new()
        }
        _ => Vec::new(),
    };
    let head: PartHead = decode(source, &item, problems)?;
    Some(Part { name: head.part, inputs })
}

/// What is wrong with an input that need not be given, or with its default.
pub(super) fn input(source: &Source, name: &str, span: Span, input: &Input, problems: &mut Problems) {
    let Some(default) = &input.default else { return };
    if input.optional {
        let message = format!("the input `{name}` has a default, so it is never left out");
        problems.add(Diagnostic::new(source, span, message).hint("leave out `optional: true` or `default`"));
    }
    let hosts = matches!(input.r#type, Type::Host | Type::Hosts);
    if hosts && !default.is_string() {
        let hint = "write it as on the command line: a name, a list of names, or \"{kind: server}\" in quotes";
        let message = format!("`{name}` must be {}", input.r#type.expected());
        problems.add(Diagnostic::new(source, default.span, message).hint(hint));
    } else if !hosts {
        problems.extend(typed(source, default.span, name, input.r#type, default));
    }
}
