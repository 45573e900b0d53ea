//! `profiles/*.yaml`: a named, parameterised list of resources.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::diagnostic::{Diagnostic, Problems};
use super::resource::{self, Resource};
use super::scalar::{Name, Type, path_problem};
use super::source::{Source, Span};
use super::yaml::{self, Located, decode, expected};

/// Names at the top level of a profile's templates that no parameter may take.
pub const RESERVED: [&str; 4] = ["host", "member", "fleet", "parameters"];

/// A named, parameterised list of resources.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Where it is written.
    pub source: Source,
    /// Name, parameters and includes.
    pub head: Head,
    /// In order.
    pub resources: Vec<Resource>,
    /// Whether it was read without a problem: only then is it worth rendering.
    pub sound: bool,
}

/// Everything of a profile but its resources.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Profile")]
pub struct Head {
    /// Its name.
    pub profile: Located<Name>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// What hosts may set, by name.
    #[serde(default)]
    pub parameters: BTreeMap<String, Located<Parameter>>,
    /// Profiles whose resources come before this one's.
    #[serde(default)]
    pub includes: Vec<Located<String>>,
    /// What shall be on the host, in this order.
    #[serde(default)]
    #[schemars(with = "Vec<super::schema::ResourceItem>")]
    pub resources: Vec<serde::de::IgnoredAny>,
}

/// Something that hosts may set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// What its values are.
    pub r#type: Type,
    /// Its value where a host sets none; without a default every host must set it.
    #[serde(default)]
    pub default: Option<Located<Value>>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
}

/// Reads a profile, checking all that can be checked without other files.
pub fn parse(source: &Source, problems: &mut Problems) -> Option<Profile> {
    let before = problems.len();
    let mut root = yaml::parse(source, problems)?;
    let items = root.take("resources").map(|(_, node)| node);
    let mut resources = Vec::new();
    if let Some(items) = items {
        match items.value {
            yaml::Value::List(list) => {
                resources.extend(list.into_iter().filter_map(|item| resource::parse(source, item, problems)));
            }
            yaml::Value::Null => {}
            _ => problems.add(expected(source, &items, "a list of resources")),
        }
    }
    let head: Head = decode(source, &root, problems)?;
    for (name, parameter) in &head.parameters {
        if let Some(problem) = name_problem(name, &RESERVED) {
            problems.add(Diagnostic::new(source, parameter_key(&root, name).unwrap_or(parameter.span), problem));
        }
        if matches!(parameter.r#type, Type::Host | Type::Hosts) {
            let hint = "hosts are inputs of playbooks; take a string here";
            problems.add(Diagnostic::new(source, parameter.span, "a parameter cannot be a host").hint(hint));
        } else if let Some(default) = &parameter.default {
            problems.extend(typed(source, default.span, name, parameter.r#type, default));
        }
    }
    Some(Profile { source: source.clone(), head, resources, sound: problems.len() == before })
}

fn parameter_key(root: &yaml::Node, name: &str) -> Option<Span> {
    root.get("parameters")?.entry(name).map(|(key, _)| key.span)
}

/// Says what is wrong with the name of a parameter or input.
pub fn name_problem(name: &str, reserved: &[&str]) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let good = !name.is_empty() && name.bytes().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit());
    if reserved.contains(&name) {
        Some(format!("the name `{name}` is taken: every template knows it as something else"))
    } else {
        (!good)
            .then(|| format!("`{name}` is no name for templates: letters, digits and `_`, not starting with a digit"))
    }
}

/// What is wrong with a literal value of a parameter or input.
pub fn typed(source: &Source, span: Span, name: &str, r#type: Type, value: &Value) -> Problems {
    let mut problems = Problems::new();
    if !r#type.fits(value) {
        let shown = value.to_string();
        let shown = if shown.len() > 60 { "another value".to_owned() } else { shown };
        let message = format!("`{name}` must be {}, not {shown}", r#type.expected());
        let hint = match (r#type, value) {
            (Type::String | Type::Path, Value::Number(_) | Value::Bool(_)) => {
                Some(format!("put it in quotes: \"{shown}\""))
            }
            (Type::List, _) => Some(format!("write a list: [ {shown} ]")),
            _ => None,
        };
        problems.add(Diagnostic::new(source, span, message).maybe_hint(hint));
        return problems;
    }
    if let (Type::Path, Some(problem)) = (r#type, value.as_str().and_then(path_problem)) {
        problems.add(Diagnostic::new(source, span, format!("`{name}`: {problem}")));
    }
    if has_template(value) {
        let hint = "move the expression into the profile or playbook that uses the value";
        problems.add(Diagnostic::new(source, span, format!("templates are not possible in `{name}`")).hint(hint));
    }
    problems
}

fn has_template(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("{{"),
        Value::Array(items) => items.iter().any(has_template),
        _ => false,
    }
}
