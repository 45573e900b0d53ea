//! Playbooks, as far as they can be checked before their inputs are known: profiles, selectors, variables, the form of
//! templates, and all resources that hold none.

mod uses;

use handlebars::Context;
use serde_json::{Value as Json, json};

use super::{Gaps, guard, turns};
use crate::input::apply::Applier;
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::files::Files;
use crate::input::fleet::{Fleet, HOST_KEYS};
use crate::input::playbook::{Direct, Item, Part, Playbook, Step, StepAction, Transfer, Via};
use crate::input::probe::ProbeForm;
use crate::input::resource::{self, Resource};
use crate::input::scalar::{Type, path_problem};
use crate::input::selector::On;
use crate::input::shipped;
use crate::input::suggest;
use crate::input::template::{TemplateFault, single};
use crate::input::yaml::{Node, Value, decode};

/// Checks them. A shipped one that uses another which the fleet has in a form of its own, with other inputs, is left out.
pub(super) fn check(fleet: &mut Fleet, files: &dyn Files, gaps: Gaps, problems: &mut Problems) {
    let mut applier = Applier::checking(files);
    let mut unfit = Vec::new();
    for (name, playbook) in &fleet.playbooks {
        let mut found = Problems::new();
        let mut checker =
            Checker { fleet, playbook, gaps, optional: false, applier: &mut applier, problems: &mut found };
        checker.check();
        uses::names(fleet, playbook, &mut found);
        let shipped = |playbook: &Playbook| playbook.source.name().starts_with(shipped::PREFIX);
        let others = fleet.playbooks_of(playbook).into_iter().any(|used| !shipped(used));
        if shipped(playbook) && others && found.has_errors() {
            unfit.push(name.clone());
        } else {
            problems.extend(found);
        }
    }
    unfit.iter().for_each(|name| drop(fleet.playbooks.remove(name)));
}

struct Checker<'a, 'b> {
    fleet: &'a Fleet,
    playbook: &'a Playbook,
    gaps: Gaps,
    /// Whether inputs that need not be given may be named.
    optional: bool,
    applier: &'a mut Applier<'b>,
    problems: &'a mut Problems,
}

impl Checker<'_, '_> {
    fn check(&mut self) {
        let playbook = self.playbook;
        for item in &playbook.items {
            let stage = match item {
                Item::Stage(stage) => stage,
                Item::Use(uses) => {
                    self.uses(uses);
                    continue;
                }
            };
            match &stage.on {
                On::Expression(node) => self.templates(node),
                On::Selector(selector) if !(self.gaps.hosts || self.gaps.profiles) => {
                    self.problems.extend(selector.problems(self.fleet, &playbook.source))
                }
                On::Inputs(names) => {
                    for name in names.iter().filter(|name| is_optional(playbook, name)) {
                        let problem = Diagnostic::new(&playbook.source, stage.on_span, not_here(name));
                        self.problems.add(problem.hint(ONLY_PARTS));
                    }
                }
                On::Selector(_) | On::All => {}
            }
            stage.steps.iter().for_each(|step| self.step(step));
            turns::check(stage, &playbook.source, self.problems);
            guard::check(stage, &playbook.source, self.problems);
        }
    }

    fn step(&mut self, step: &Step) {
        if let Some(on) = &step.on {
            self.templates(on);
            self.named(on);
        }
        match &step.action {
            StepAction::Apply { profile, parameters, .. } => self.apply(profile, parameters),
            StepAction::Resource(resource) => self.resource(resource),
            StepAction::Transfer(Transfer { from, paths, via }) => {
                self.templates(from);
                self.templates(paths);
                self.named(from);
                if let Via::Direct(direct) = via {
                    self.direct(direct);
                }
                let list = if paths.items().is_empty() { std::slice::from_ref(paths) } else { paths.items() };
                for path in list {
                    let problem = match path.text() {
                        Some(text) if text.contains("{{") => None,
                        Some(text) => path_problem(text),
                        None => Some("`paths` must be a path or a list of paths".into()),
                    };
                    if let Some(problem) = problem {
                        self.problems.add(Diagnostic::new(&self.playbook.source, path.span, problem));
                    }
                }
            }
            StepAction::Check { probe, .. } => {
                self.templates(probe);
                if literal(probe)
                    && let Some(form) = decode::<ProbeForm>(&self.playbook.source, probe, self.problems)
                    && let Some(problem) = form.problem()
                {
                    self.problems.add(Diagnostic::new(&self.playbook.source, step.key, problem));
                }
            }
            StepAction::Manual { text, by, .. } => {
                self.templates(text);
                by.iter().for_each(|by| self.templates(by));
            }
            StepAction::Reboot { reason, .. } => reason.iter().for_each(|reason| self.templates(reason)),
        }
    }

    /// What a direct transfer hands to the kind `mirror`, as far as it holds no templates.
    fn direct(&mut self, direct: &Direct) {
        direct.options.iter().for_each(|(_, value)| self.templates(value));
        let Some(kind) = resource::find("mirror") else { return };
        // One by one, so that each problem has its place.
        for (key, node) in direct.options.iter().filter(|(_, node)| literal(node)) {
            let mut spec = match direct.part {
                Part::End => json!({ "name": "x", "path": "/srv/x", "mode": "gone" }),
                _ => json!({ "name": "x", "path": "/srv/x", "mode": "follow", "of": { "address": "192.0.2.1" } }),
            };
            spec[&key.name] = node.json();
            for problem in kind.problems(&spec) {
                self.problems.add(Diagnostic::new(&self.playbook.source, key.span, problem));
            }
        }
    }

    fn apply(&mut self, profile: &Node, parameters: &[(crate::input::yaml::Key, Node)]) {
        self.templates(profile);
        parameters.iter().for_each(|(_, value)| self.templates(value));
        let Some(name) = profile.text().filter(|text| !text.contains("{{")) else { return };
        let source = &self.playbook.source;
        if !self.fleet.profiles.contains_key(name) {
            if !self.gaps.profiles {
                let hint = suggest::hint(name, self.fleet.profiles.keys().map(String::as_str));
                let problem = Diagnostic::new(source, profile.span, format!("there is no profile `{name}`"));
                self.problems.add(problem.maybe_hint(hint));
            }
            return;
        }
        let known = self.fleet.parameters(name);
        for (key, _) in parameters.iter().filter(|(key, _)| !known.contains_key(key.name.as_str())) {
            let message = format!("the profile `{name}` has no parameter `{}`", key.name);
            let hint = suggest::hint(&key.name, known.keys().copied());
            self.problems.add(Diagnostic::new(source, key.span, message).maybe_hint(hint));
        }
    }

    fn resource(&mut self, resource: &Resource) {
        self.templates(&resource.spec);
        let holders = resource.spec.entries().iter().map(|(_, node)| node).chain([&resource.spec]);
        if literal(&resource.spec) && holders.filter_map(|holder| holder.get("template")).next().is_none() {
            // References to other steps need the list of a host: they are resolved when it is expanded.
            let alone = Resource { restart_on: Vec::new(), ..resource.clone() };
            let context = Context::from(Json::Null);
            self.applier.resource(&self.playbook.source, &alone, &context, &[], self.problems);
        }
    }

    /// `from` and `on` name an input, an expression, or a host.
    fn named(&mut self, node: &Node) {
        let Some(name) = node.text().filter(|text| !text.contains("{{")) else { return };
        let is_input = self.playbook.inputs.get(name).is_some_and(|input| input.r#type == Type::Host);
        if is_input && is_optional(self.playbook, name) {
            let problem = Diagnostic::new(&self.playbook.source, node.span, not_here(name));
            self.problems.add(problem.hint(ONLY_PARTS));
        }
        if !is_input && !self.gaps.hosts && self.fleet.find(name).is_err() {
            let inputs = self.playbook.inputs.iter().filter(|(_, i)| i.r#type == Type::Host).map(|(n, _)| n.as_str());
            let hint = suggest::hint(name, inputs);
            let message = format!("`{name}` is neither an input of type host nor a host of the fleet");
            self.problems.add(Diagnostic::new(&self.playbook.source, node.span, message).maybe_hint(hint));
        }
    }

    /// Every text below a node: can it be a template, and are there the variables that it names?
    fn templates(&mut self, node: &Node) {
        node.items().iter().for_each(|item| self.templates(item));
        node.entries().iter().for_each(|(_, value)| self.templates(value));
        let Some(text) = node.text() else { return };
        let names = match single(text) {
            Some(path) => Ok(vec![path.to_owned()]),
            None => self.applier.renderer.variables(text),
        };
        let faults = match names {
            Ok(names) => names.iter().filter_map(|name| self.unknown(name)).collect(),
            Err(fault) => vec![fault],
        };
        for fault in faults {
            self.problems.add(fault.at(&self.playbook.source, node.span));
        }
    }

    fn unknown(&self, path: &str) -> Option<TemplateFault> {
        let mut parts = path.split('.');
        let first = parts.next()?;
        let fault = |message: String, hint| {
            Some(TemplateFault { message, hint, expression: Some(path.to_owned()), line: None })
        };
        if is_optional(self.playbook, first) && !self.optional {
            return fault(not_here(first), Some(ONLY_PARTS.to_owned()));
        }
        let is_host = match (first, self.playbook.inputs.get(first)) {
            ("host", _) => true,
            ("member" | "fleet", _) => return None,
            (_, Some(input)) => input.r#type == Type::Host,
            _ => {
                let known = self.playbook.inputs.keys().map(String::as_str).chain(["host", "member", "fleet"]);
                return fault(format!("there is no variable `{path}` here"), suggest::hint(first, known));
            }
        };
        let part = parts.next().filter(|_| is_host)?;
        let parameters = self.fleet.profiles.values().flat_map(|p| p.head.parameters.keys().map(String::as_str));
        let known: Vec<&str> = HOST_KEYS.into_iter().chain(parameters).collect();
        if known.contains(&part) || self.gaps.profiles {
            return None;
        }
        fault(
            format!("`{path}`: a host has no `{part}`, and no profile has such a parameter"),
            suggest::hint(part, known),
        )
    }
}

/// Whether it is an input that need not be given.
fn is_optional(playbook: &Playbook, name: &str) -> bool {
    playbook.inputs.get(name).is_some_and(|input| input.optional)
}

const ONLY_PARTS: &str = "only the parts of a `use` may name it: they are left out then";

fn not_here(input: &str) -> String {
    format!("the input `{input}` need not be given, and this cannot be without it")
}

/// Whether there are no templates below a node.
fn literal(node: &Node) -> bool {
    match &node.value {
        Value::Text(text) => !text.contains("{{"),
        Value::List(items) => items.iter().all(literal),
        Value::Map(entries) => entries.iter().all(|(_, value)| literal(value)),
        _ => true,
    }
}
