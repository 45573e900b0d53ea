//! Which hosts a stage has, and whose each step is.

use handlebars::Context;
use serde_json::{Value, json};

use super::context;
use super::input::{Given, unreachable};
use super::stage::Expansion;
use crate::input::diagnostic::Diagnostic;
use crate::input::fleet::Host;
use crate::input::playbook;
use crate::input::selector::On;
use crate::input::source::Span;
use crate::input::yaml::Node;

impl<'a> Expansion<'a, '_> {
    /// Those of a stage; `None`, and problems, if it has none.
    pub(super) fn hosts(&mut self, stage: &playbook::Stage) -> Option<Vec<&'a Host>> {
        let found: Vec<&Host> = match &stage.on {
            On::All => self.fleet.hosts().filter(|host| host.reachable()).collect(),
            On::Selector(selector) => self.fleet.hosts().filter(|host| selector.matches(self.fleet, host)).collect(),
            On::Inputs(names) => names.iter().flat_map(|name| self.of_input(name)).collect(),
            On::Expression(node) => self.of_expression(node)?,
        };
        let problem = match unreachable(&found) {
            _ if found.is_empty() => {
                Some((format!("the stage `{}` has no hosts", &*stage.name.value), "does the selector fit?"))
            }
            problem => problem,
        };
        if let Some((message, hint)) = problem {
            self.problems.add(Diagnostic::new(self.source(), stage.on_span, message).hint(hint));
            return None;
        }
        Some(found)
    }

    fn of_input(&self, name: &str) -> Vec<&'a Host> {
        match self.given.get(name) {
            Some(Given::Host(host)) => vec![*host],
            Some(Given::Hosts(hosts)) => hosts.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn of_expression(&mut self, node: &Node) -> Option<Vec<&'a Host>> {
        let known = Context::from(Value::Object(context(self.fleet, self.given, None)));
        let value = self.applier.renderer.node(self.source(), node, &known, self.problems)?;
        let names = match value {
            Value::Array(items) => items,
            one => vec![one],
        };
        names.iter().map(|name| self.named(node.span, name)).collect()
    }

    /// A host that an expression names: by its name, or as the object that stands for it.
    fn named(&mut self, span: Span, value: &Value) -> Option<&'a Host> {
        let text = value.as_str().or_else(|| value.get("id").and_then(Value::as_str)).unwrap_or_default();
        let found = self.fleet.find(text).ok();
        if found.is_none() {
            let message = format!("`{text}` is no host of the fleet");
            self.problems.add(Diagnostic::new(self.source(), span, message).hint("hosts are named `member/name`"));
        }
        found
    }

    /// The host of each step.
    pub(super) fn whose(&mut self, stage: &playbook::Stage, on: &[&'a Host]) -> Option<Vec<&'a Host>> {
        let known = Context::from(Value::Object(context(self.fleet, self.given, None)));
        let mut whose = Vec::new();
        for step in &stage.steps {
            // That each step says so was checked when the playbook was read.
            let Some(node) = &step.on else { continue };
            let Some(host) = self.one(node, &known) else { continue };
            if on.iter().any(|other| other.name == host.name) {
                whose.push(host);
            } else {
                let message = format!("`{}` is not among the hosts of the stage `{}`", host.name, stage.name.value);
                let hint = "add it to the stage's `on:`";
                self.problems.add(Diagnostic::new(self.source(), node.span, message).hint(hint));
            }
        }
        (whose.len() == stage.steps.len()).then_some(whose)
    }

    /// The host that a text names: an input, or what a template says.
    pub(super) fn one(&mut self, node: &Node, known: &Context) -> Option<&'a Host> {
        let value = match node.text().map(|text| self.of_input(text)) {
            Some(hosts) if hosts.len() == 1 => json!(hosts[0].name),
            _ => self.applier.renderer.node(self.source(), node, known, self.problems)?,
        };
        self.named(node.span, &value)
    }
}
