//! A stage for its hosts: each step of the playbook becomes actions, numbered host by host.

use handlebars::Context;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use weiche_agent::digest::Digest;
use weiche_agent::protocol::StepId;
use weiche_agent::resource::kind;

use super::direct::key::Keys;
use super::input::{Given, unreachable};
use super::number::{Draft, Numbering};
use super::{context, direct, waves};
use crate::input::apply::{Applied, Applier, profile_context};
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::fleet::{Fleet, Host};
use crate::input::playbook::{self, Playbook, StepAction, Via};
use crate::input::probe::{ProbeForm, WAYS};
use crate::input::profile::typed;
use crate::input::scalar::path_problem;
use crate::input::source::{Source, Span};
use crate::input::suggest;
use crate::input::yaml::{Key, Node};
use crate::plan::procedure::{Action, Check, Content, Manual, Probe, Reboot, Stage, Transfer};

/// Expands the stages of one playbook.
pub(super) struct Expansion<'a, 'b> {
    pub(super) fleet: &'a Fleet,
    pub(super) playbook: &'a Playbook,
    pub(super) given: &'b BTreeMap<String, Given<'a>>,
    pub(super) applier: Applier<'b>,
    pub(super) contents: &'b mut BTreeMap<Digest, Content>,
    pub(super) keys: &'b Keys,
    /// What stands before the names of its stages: the parts that it is used for, each with a `-` behind it.
    pub(super) prefix: String,
    pub(super) direct: &'b mut direct::Known,
    pub(super) problems: &'b mut Problems,
}

impl<'a> Expansion<'a, '_> {
    /// Expands one; `None`, and problems, if it has no hosts.
    pub(super) fn stage(&mut self, stage: &playbook::Stage) -> Option<Stage> {
        let on = self.hosts(stage)?;
        let name = format!("{}{}", self.prefix, stage.name.value);
        let rules = waves::rules(self.fleet, &stage.rollout, &on, self.source(), self.problems);
        let (mut hosts, mut turns) = (BTreeMap::new(), Vec::new());
        if stage.in_turns() {
            let whose = self.whose(stage, &on)?;
            let before = self.problems.len();
            (hosts, turns) = self.in_turns((stage, &name), &on, &whose);
            // Who has no part because of a problem has one once that is solved.
            let idle = on.iter().filter(|host| !hosts.contains_key(&host.name) && self.problems.len() == before);
            for host in idle.map(|host| host.name.to_string()).collect::<Vec<_>>() {
                let message = format!("no step of the stage `{}` is on `{host}`", stage.name.value);
                self.problems.add(Diagnostic::new(self.source(), stage.on_span, message).hint("leave it out of `on:`"));
            }
        } else {
            for host in on {
                let actions = self.actions(&name, &stage.steps, host);
                hosts.insert(host.name.clone(), actions);
            }
        }
        if rules.guarded() {
            let wrong = hosts.values().flatten().filter_map(unguardable).collect::<BTreeSet<_>>();
            for (what, why) in wrong {
                let message = format!("the stage `{}` has a guard and {what}: {why}", stage.name.value);
                let hint = "put it into a stage of its own, without `guard` and `within`";
                self.problems.add(Diagnostic::new(self.source(), stage.name.span, message).hint(hint));
            }
        }
        Some(Stage { name, hosts, turns, rules })
    }

    pub(super) fn source(&self) -> &'a Source {
        &self.playbook.source
    }

    fn actions(&mut self, stage: &str, steps: &[playbook::Step], host: &'a Host) -> Vec<Action> {
        let known = Context::from(Value::Object(context(self.fleet, self.given, Some(host))));
        let (mut resources, mut drafts) = (Vec::new(), Vec::new());
        for step in steps {
            self.step(step, host, &known, &mut resources, &mut drafts);
        }
        let mut numbering = Numbering::new(stage, resources);
        numbering.push(drafts, &mut 0, self.contents);
        numbering.actions
    }

    pub(super) fn step(
        &mut self,
        step: &playbook::Step,
        host: &'a Host,
        known: &Context,
        resources: &mut Vec<Applied>,
        drafts: &mut Vec<Draft>,
    ) {
        let source = self.source();
        let id = StepId(String::new());
        match &step.action {
            StepAction::Apply { profile, parameters, timeout } => {
                let applied = self.apply(profile, parameters, host, known);
                let shift = resources.len();
                for mut resource in applied.unwrap_or_default() {
                    resource.watches.iter_mut().for_each(|at| *at += shift);
                    resource.timeout = timeout.unwrap_or(resource.timeout);
                    drafts.push(Draft::Resource(resources.len()));
                    resources.push(resource);
                }
            }
            StepAction::Resource(resource) => {
                let applied = self.applier.resource(source, resource, known, resources, self.problems);
                if let Some(applied) = applied {
                    drafts.push(Draft::Resource(resources.len()));
                    resources.push(applied);
                }
            }
            StepAction::Transfer(playbook::Transfer { from, paths, via: Via::Agents { delete } }) => {
                let (Some(from), Some(paths)) = (self.from(from, host, known), self.paths(paths, known)) else {
                    return;
                };
                for path in paths {
                    let transfer = Transfer { id: id.clone(), from: from.name.clone(), path, delete: *delete };
                    drafts.push(Draft::Transfer(transfer));
                }
            }
            // In turns only, which was checked when the playbook was read: it has steps on two hosts.
            StepAction::Transfer(_) => {}
            StepAction::Check { probe, within, every, waits } => {
                if let Some(probe) = self.probe(probe, step.key, known) {
                    drafts.push(Draft::Check(Check { id, probe, within: *within, every: *every, waits: *waits }));
                }
            }
            StepAction::Manual { text, by, takes } => {
                let by = by.as_ref().and_then(|by| self.text(by, known));
                if let Some(text) = self.text(text, known) {
                    drafts.push(Draft::Manual(Manual { id, text, by, takes: *takes }));
                }
            }
            StepAction::Reboot { reason, within } => {
                let reason = reason.as_ref().and_then(|reason| self.text(reason, known));
                drafts.push(Draft::Reboot(Reboot { id, reason, within: *within }));
            }
        }
    }

    fn apply(
        &mut self,
        profile: &Node,
        parameters: &[(Key, Node)],
        host: &'a Host,
        known: &Context,
    ) -> Option<Vec<Applied>> {
        let source = self.source();
        let name = match (profile.text(), self.fleet.profile_of(host)) {
            // The usual case, for which "there is no variable" would not say what to do.
            (Some("{{host.profile}}"), None) => {
                let message = format!("`{}` has no profile", host.name);
                let hint = "add `profile: ...` in the member's file, or select other hosts";
                self.problems.add(Diagnostic::new(source, profile.span, message).hint(hint));
                return None;
            }
            _ => self.applier.renderer.node(source, profile, known, self.problems)?,
        };
        let name = name.as_str().unwrap_or_default();
        if !self.fleet.profiles().contains_key(name) {
            let hint = suggest::hint(name, self.fleet.profiles().keys().map(String::as_str));
            let problem = Diagnostic::new(source, profile.span, format!("there is no profile `{name}`"));
            self.problems.add(problem.maybe_hint(hint));
            return None;
        }
        let values = self.values(name, profile.span, parameters, host, known)?;
        let context = profile_context(self.fleet, host, values);
        Some(self.applier.profile(self.fleet, name, &context, self.problems))
    }

    /// The values of a profile's parameters: the playbook's over the host's over the defaults.
    fn values(
        &mut self,
        name: &str,
        span: Span,
        parameters: &[(Key, Node)],
        host: &Host,
        known: &Context,
    ) -> Option<Map<String, Value>> {
        let source = self.source();
        let declared = self.fleet.parameters(name);
        let mut values = self.fleet.defaults(name);
        let set = self.fleet.set_by(host).into_iter().filter(|(name, _)| declared.contains_key(name));
        values.extend(set.map(|(name, value)| (name.to_owned(), value.clone())));
        let before = self.problems.len();
        for (key, node) in parameters {
            let Some(parameter) = declared.get(key.name.as_str()) else {
                let message = format!("the profile `{name}` has no parameter `{}`", key.name);
                let hint = suggest::hint(&key.name, declared.keys().copied());
                self.problems.add(Diagnostic::new(source, key.span, message).maybe_hint(hint));
                continue;
            };
            let Some(value) = self.applier.renderer.node(source, node, known, self.problems) else { continue };
            self.problems.extend(typed(source, node.span, &key.name, parameter.r#type, &value));
            values.insert(key.name.clone(), value);
        }
        for missing in declared.keys().filter(|name| !values.contains_key(**name)) {
            let message =
                format!("the profile `{name}` needs the parameter `{missing}`, which `{}` does not set", host.name);
            let hint = format!("set it in the member's file, or here: parameters: {{ {missing}: ... }}");
            self.problems.add(Diagnostic::new(source, span, message).hint(hint));
        }
        (self.problems.len() == before).then_some(values)
    }

    pub(super) fn from(&mut self, from: &Node, host: &Host, known: &Context) -> Option<&'a Host> {
        let source = self.source();
        let found = self.one(from, known)?;
        let problem = if found.name == host.name {
            Some((format!("`{}` cannot transfer from itself", host.name), "run this stage on the other host"))
        } else {
            unreachable(&[found])
        };
        match problem {
            Some((message, hint)) => {
                self.problems.add(Diagnostic::new(source, from.span, message).hint(hint));
                None
            }
            None => Some(found),
        }
    }

    pub(super) fn paths(&mut self, paths: &Node, known: &Context) -> Option<Vec<String>> {
        let source = self.source();
        let items = match self.applier.renderer.node(source, paths, known, self.problems)? {
            Value::Array(items) => items,
            one => vec![one],
        };
        let mut list = Vec::new();
        for item in &items {
            let problem = match item.as_str() {
                Some(path) => path_problem(path),
                None => Some(format!("a path must be a text, not {item}")),
            };
            match (problem, item.as_str()) {
                (None, Some(path)) => list.push(path.to_owned()),
                (problem, _) => {
                    let hint = "list absolute paths without `..`";
                    self.problems.add(Diagnostic::new(source, paths.span, problem.unwrap_or_default()).hint(hint));
                    return None;
                }
            }
        }
        Some(list)
    }

    /// A text for people.
    fn text(&mut self, node: &Node, known: &Context) -> Option<String> {
        let value = self.applier.renderer.node(self.source(), node, known, self.problems)?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    fn probe(&mut self, probe: &Node, key: Span, known: &Context) -> Option<Probe> {
        let source = self.source();
        let value = self.applier.renderer.node(source, probe, known, self.problems)?;
        let form: Result<ProbeForm, _> = serde_json::from_value(value);
        let wrong = match &form {
            Ok(form) => form.problem(),
            Err(error) => Some(format!("the check cannot be read: {error}")),
        };
        if let Some(wrong) = wrong {
            self.problems.add(Diagnostic::new(source, key, wrong).hint(format!("write {WAYS}")));
            return None;
        }
        form.ok().map(super::probe::probe)
    }
}

/// Why an action cannot be in a stage that its hosts take back by themselves.
fn unguardable(action: &Action) -> Option<(&'static str, &'static str)> {
    match action {
        Action::Manual(_) => Some(("a manual step", "the guard waits for no person")),
        Action::Reboot(_) => Some(("a restart", "the host takes the stage back when it comes up")),
        Action::Resource(step) => kind(&step.kind)
            .is_some_and(|kind| kind.irreversible(&step.spec))
            .then_some(("an irreversible step", "it could not be taken back")),
        Action::Transfer(_) | Action::Check(_) => None,
    }
}
