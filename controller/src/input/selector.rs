//! Which hosts a stage runs on: inputs, a selector, or all that can be reached.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::diagnostic::{Diagnostic, Problems};
use super::fleet::{Fleet, Host, HostKind};
use super::playbook::Input;
use super::scalar::Type;
use super::source::{Source, Span};
use super::suggest;
use super::template;
use super::yaml::{Located, Node, Value, decode, expected};

/// The value of `on:`.
#[derive(Clone, Debug)]
pub enum On {
    /// The hosts of these inputs.
    Inputs(Vec<String>),
    /// An expression that names hosts.
    Expression(Node),
    /// Hosts by what they are.
    Selector(Selector),
    /// Every host that can be reached.
    All,
}

impl On {
    /// Reads it. A text is `all`, an input's name, or an expression.
    pub fn parse(
        source: &Source,
        node: &Node,
        span: Span,
        inputs: &BTreeMap<String, Input>,
        problems: &mut Problems,
    ) -> Option<On> {
        match &node.value {
            Value::Text(text) if text == "all" => Some(On::All),
            Value::Text(text) if text.contains("{{") => Some(On::Expression(node.clone())),
            Value::Text(text) => host_input(source, text, span, inputs, problems).map(|name| On::Inputs(vec![name])),
            Value::List(items) => {
                let mut names = Vec::new();
                for item in items {
                    match item.text() {
                        Some(text) => names.extend(host_input(source, text, item.span, inputs, problems)),
                        None => problems.add(expected(source, item, "the name of an input (a text)")),
                    }
                }
                Some(On::Inputs(names))
            }
            Value::Map(_) => decode(source, node, problems).map(On::Selector),
            _ => {
                let node = Node { span, value: node.value.clone() };
                problems.add(expected(source, &node, "the name of an input, a selector, or `all`"));
                None
            }
        }
    }
}

fn host_input(
    source: &Source,
    name: &str,
    span: Span,
    inputs: &BTreeMap<String, Input>,
    problems: &mut Problems,
) -> Option<String> {
    match inputs.get(name) {
        Some(input) if matches!(input.r#type, Type::Host | Type::Hosts) => Some(name.to_owned()),
        Some(_) => {
            let message = format!("the input `{name}` is no host");
            problems.add(Diagnostic::new(source, span, message).hint("give it the type `host` or `hosts`"));
            None
        }
        None => {
            let hosts = inputs.iter().filter(|(_, i)| matches!(i.r#type, Type::Host | Type::Hosts));
            let hint = suggest::hint(name, hosts.map(|(name, _)| name.as_str()).chain(["all"]));
            problems.add(Diagnostic::new(source, span, format!("there is no input `{name}`")).maybe_hint(hint));
            None
        }
    }
}

/// Hosts by what they are; all that is given must match.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// Server or PC.
    #[serde(default)]
    pub kind: Option<HostKind>,
    /// A member.
    #[serde(default)]
    pub member: Option<Located<String>>,
    /// A site.
    #[serde(default)]
    pub site: Option<Located<String>>,
    /// A profile, inherited ones included.
    #[serde(default)]
    pub profile: Option<Located<String>>,
    /// A label.
    #[serde(default)]
    pub label: Option<Located<String>>,
    /// A name, with or without its member.
    #[serde(default)]
    pub name: Option<Located<String>>,
}

impl Selector {
    /// Whether a host is meant.
    pub fn matches(&self, fleet: &Fleet, host: &Host) -> bool {
        let is = |wanted: &Option<Located<String>>, have: Option<&str>| {
            wanted.as_ref().is_none_or(|wanted| have == Some(wanted.as_str()))
        };
        self.kind.is_none_or(|kind| kind == host.kind)
            && is(&self.member, Some(host.name.member()))
            && is(&self.site, host.site.as_deref())
            && (self.profile.is_none() || is(&self.profile, fleet.profile_of(host)))
            && self.label.as_ref().is_none_or(|label| host.labels.contains(&label.value))
            && self.name.as_ref().is_none_or(|name| name.value == host.name.0 || name.value == host.name.name())
    }

    /// What is wrong with it in this fleet: it speaks of things that there are not.
    pub fn problems(&self, fleet: &Fleet, source: &Source) -> Problems {
        let mut problems = Problems::new();
        let mut check = |what: &str, wanted: &Option<Located<String>>, known: Vec<&str>| {
            if let Some(name) = wanted
                && template::single(name).is_none()
                && !known.contains(&name.as_str())
            {
                let message = format!("there is no {what} `{}` in the fleet", name.value);
                let hint = suggest::hint(name, known);
                problems.add(Diagnostic::new(source, name.span, message).maybe_hint(hint));
            }
        };
        check("member", &self.member, fleet.members().map(|m| &*m.member.value).collect());
        let sites = fleet.members().flat_map(|m| m.sites.keys().map(|k| &**k)).collect();
        check("site", &self.site, sites);
        check("profile", &self.profile, fleet.profiles().keys().map(String::as_str).collect());
        problems
    }
}
