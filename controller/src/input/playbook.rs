//! `playbooks/*.yaml`: a staged procedure. Its steps may hold templates, so they stay trees until they are expanded for
//! the hosts of a run.

mod step;
mod transfer;
mod uses;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::diagnostic::{Diagnostic, Problems};
use super::profile::name_problem;
use super::rollout::RolloutSpec;
use super::scalar::{Name, Type};
use super::selector::On;
use super::source::{Source, Span};
use super::yaml::{self, Located, Node, Value, decode, expected};

pub use step::{Step, StepAction};
pub use transfer::{Direct, Part, Transfer, Via};
pub use uses::{Part as UsePart, Use, UseHead};

/// Names at the top level of a playbook's templates that no input may take.
pub const RESERVED: [&str; 4] = ["host", "member", "fleet", "all"];

/// A staged procedure.
#[derive(Clone, Debug)]
pub struct Playbook {
    /// Where it is written.
    pub source: Source,
    /// Its name.
    pub name: Located<Name>,
    /// What it is for.
    pub description: Option<String>,
    /// What it asks for, by name.
    pub inputs: BTreeMap<String, Input>,
    /// Services of each member that are measured throughout; `all` are all of them.
    pub meter: Vec<Located<String>>,
    /// In order.
    pub items: Vec<Item>,
}

impl Playbook {
    /// The stages that are written in it, in order.
    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.items.iter().filter_map(|item| if let Item::Stage(stage) = item { Some(&**stage) } else { None })
    }

    /// Where it uses other playbooks, in order.
    pub fn uses(&self) -> impl Iterator<Item = &Use> {
        self.items.iter().filter_map(|item| if let Item::Use(uses) = item { Some(uses) } else { None })
    }
}

/// An item of `stages:`.
#[derive(Clone, Debug)]
pub enum Item {
    /// One of its own.
    Stage(Box<Stage>),
    /// Those of another playbook.
    Use(Use),
}

/// Everything of a playbook but its inputs and stages.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Playbook")]
pub struct Head {
    /// Its name.
    pub playbook: Located<Name>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// What it asks for: `name: type`, or `name: { type, default, description }`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, super::schema::InputItem>")]
    pub inputs: serde::de::IgnoredAny,
    /// Services of each of its members that are probed ten times a second as long as a run is driven: names, or `all`.
    #[serde(default)]
    pub meter: Vec<Located<String>>,
    /// In order.
    #[serde(default)]
    #[schemars(with = "Vec<super::schema::StageItem>")]
    pub stages: serde::de::IgnoredAny,
}

/// Something that a playbook asks for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What it is.
    pub r#type: Type,
    /// Its value if none is given.
    #[serde(default)]
    pub default: Option<Located<serde_json::Value>>,
    /// It need not be given: the parts of a `use` that name it are left out then. Nothing else may name it.
    #[serde(default)]
    pub optional: bool,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
}

/// A part of a playbook.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its name, unique in the playbook.
    pub name: Located<Name>,
    /// Its hosts.
    pub on: On,
    /// Where they are given.
    pub on_span: Span,
    /// What each of them does, in order.
    pub steps: Vec<Step>,
    /// In which waves, and when it stops.
    pub rollout: RolloutSpec,
}

impl Stage {
    /// Whether its hosts take turns: each step says which host does it, and begins when the one before it is through.
    pub fn in_turns(&self) -> bool {
        self.steps.iter().any(|step| step.on.is_some())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StageHead {
    stage: Located<Name>,
    #[serde(default, rename = "on")]
    _on: serde::de::IgnoredAny,
    #[serde(default, rename = "steps")]
    _steps: serde::de::IgnoredAny,
}

/// Reads a playbook, checking all that can be checked without other files.
pub fn parse(source: &Source, problems: &mut Problems) -> Option<Playbook> {
    let mut root = yaml::parse(source, problems)?;
    let inputs = root.take("inputs").map(|(_, node)| inputs(source, &node, problems)).unwrap_or_default();
    let stages = root.take("stages");
    let head: Option<Head> = decode(source, &root, problems);
    let items = match stages {
        Some((_, Node { value: Value::List(items), .. })) if !items.is_empty() => items,
        Some((_, node)) if !matches!(node.value, Value::Null | Value::List(_)) => {
            problems.add(expected(source, &node, "a list of stages"));
            return None;
        }
        other => {
            let span = other.map_or_else(|| head.as_ref().map_or(root.span, |h| h.playbook.span), |(key, _)| key.span);
            let hint = "add `stages: [ { stage: ..., on: ..., steps: [...] } ]`";
            problems.add(Diagnostic::new(source, span, "the playbook has no stages").hint(hint));
            return None;
        }
    };
    let items: Vec<Item> = items.into_iter().filter_map(|node| item(source, node, &inputs, problems)).collect();
    let head = head?;
    let Head { playbook: name, description, meter, .. } = head;
    Some(Playbook { source: source.clone(), name, description, inputs, meter, items })
}

fn item(source: &Source, node: Node, inputs: &BTreeMap<String, Input>, problems: &mut Problems) -> Option<Item> {
    match node.entry("use") {
        Some(_) => uses::parse(source, node, problems).map(Item::Use),
        None => stage(source, node, inputs, problems).map(|stage| Item::Stage(Box::new(stage))),
    }
}

fn inputs(source: &Source, node: &Node, problems: &mut Problems) -> BTreeMap<String, Input> {
    if !matches!(node.value, Value::Map(_) | Value::Null) {
        problems.add(expected(source, node, "a mapping of input names to types"));
    }
    let mut inputs = BTreeMap::new();
    for (key, value) in node.entries() {
        if let Some(problem) = name_problem(&key.name, &RESERVED) {
            problems.add(Diagnostic::new(source, key.span, problem));
        }
        let input = match value.value {
            Value::Text(_) => {
                let plain = |r#type| Input { r#type, default: None, optional: false, description: None };
                decode(source, value, problems).map(plain)
            }
            _ => decode::<Input>(source, value, problems),
        };
        let Some(input) = input else { continue };
        uses::input(source, &key.name, key.span, &input, problems);
        inputs.insert(key.name.clone(), input);
    }
    inputs
}

fn stage(source: &Source, mut item: Node, inputs: &BTreeMap<String, Input>, problems: &mut Problems) -> Option<Stage> {
    if !matches!(item.value, Value::Map(_)) {
        problems.add(expected(source, &item, "a stage (`stage: name`, `on: ...`, `steps: [...]`)"));
        return None;
    }
    let (on, steps) = (item.take("on"), item.take("steps"));
    let rollout = RolloutSpec::take(source, &mut item, problems);
    let head: StageHead = decode(source, &item, problems)?;
    let Some((key, on)) = on else {
        let message = format!("the stage `{}` does not say on which hosts it runs", head.stage.value);
        let hint = "add `on:` with the name of an input, a selector such as `{ kind: server }`, or `all`";
        problems.add(Diagnostic::new(source, head.stage.span, message).hint(hint));
        return None;
    };
    let on_span = if on.value == Value::Null { key.span } else { on.span };
    let on = On::parse(source, &on, on_span, inputs, problems)?;
    let steps = match steps.map(|(_, node)| node) {
        Some(Node { value: Value::List(items), .. }) => {
            items.into_iter().filter_map(|item| step::parse(source, item, problems)).collect()
        }
        Some(node) if node.value != Value::Null => {
            problems.add(expected(source, &node, "a list of steps"));
            Vec::new()
        }
        _ => {
            let message = format!("the stage `{}` has no steps", head.stage.value);
            problems.add(Diagnostic::new(source, head.stage.span, message).hint("add `steps: [...]`"));
            Vec::new()
        }
    };
    Some(Stage { name: head.stage, on, on_span, steps, rollout })
}
