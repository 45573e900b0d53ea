//! The stages of a playbook in order, with those of the playbooks that it uses: stage by stage, for one part after the other.
//!
//! Stages of one name wait together: their gate is before the first of them, they soak behind the last, and none begins
//! in a window that has no room for all that come behind it.

use std::collections::{BTreeMap, BTreeSet};

use handlebars::Context;
use serde_json::Value;

use super::context;
use super::input::{self, Given, unreachable};
use super::stage::Expansion;
use crate::input::apply::Applier;
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::playbook::{Input, Item, Playbook, Use, UsePart};
use crate::input::profile::typed;
use crate::input::scalar::Type;
use crate::input::target::HostName;
use crate::input::template::single;
use crate::input::yaml::Node;
use crate::plan::procedure::Stage;

/// Stages of one name in the playbook that is used, one of each part.
type Row = Vec<Stage>;

impl<'a> Expansion<'a, '_> {
    /// All stages of the playbook, in order.
    pub(super) fn all(&mut self) -> Vec<Stage> {
        let playbook = self.playbook;
        let mut all = Vec::new();
        for item in &playbook.items {
            match item {
                Item::Stage(stage) => all.extend(self.stage(stage)),
                Item::Use(uses) => {
                    for mut row in self.uses(uses) {
                        self.wait_together(&mut row, uses);
                        all.extend(row);
                    }
                }
            }
        }
        all
    }

    /// The same, row by row.
    fn rows(&mut self, only: &Use) -> Vec<Row> {
        let playbook = self.playbook;
        let mut rows = Vec::new();
        for item in &playbook.items {
            match item {
                Item::Stage(stage) if only.wants(&stage.name.value) => {
                    rows.push(self.stage(stage).into_iter().collect())
                }
                Item::Use(uses) if only.only.is_empty() => rows.extend(self.uses(uses)),
                Item::Stage(_) | Item::Use(_) => {}
            }
        }
        rows
    }

    /// The stages of the playbook that is used, for all parts that are given.
    fn uses(&mut self, uses: &Use) -> Vec<Row> {
        // Checked when the playbook was read.
        let Some(used) = self.fleet.used(uses) else { return Vec::new() };
        let before = self.problems.len();
        let (mut rows, mut part_of): (Vec<Row>, BTreeMap<HostName, &UsePart>) = Default::default();
        let mut given = 0;
        for part in uses.parts.iter() {
            if !self.is_given(part) {
                continue;
            }
            given += 1;
            let Some(inputs) = self.bind(part, used) else { continue };
            let own = self.part(part, uses, used, &inputs);
            let hosts: BTreeSet<HostName> =
                own.iter().flatten().flat_map(|stage| stage.hosts.keys().cloned()).collect();
            for host in hosts {
                if let Some(other) = part_of.insert(host.clone(), part) {
                    let message = format!("`{host}` has a part in `{}` and in `{}`", other.name.value, part.name.value);
                    let hint = "give each part hosts of its own";
                    self.problems.add(Diagnostic::new(self.source(), part.name.span, message).hint(hint));
                }
            }
            rows.resize_with(rows.len().max(own.len()), Vec::new);
            for (row, own) in rows.iter_mut().zip(own) {
                row.extend(own);
            }
        }
        if given == 0 && self.problems.len() == before {
            let message = format!("no part of what `{}` is used for is given", uses.playbook.value);
            let names: Vec<String> = uses.parts.iter().flat_map(|part| self.optional(part)).collect();
            let hint = format!("give the inputs of one at least: {}", names.join(", "));
            self.problems.add(Diagnostic::new(self.source(), uses.playbook.span, message).hint(hint));
        }
        rows
    }

    /// The stages of one part, with what is wrong in them told for this part.
    fn part(
        &mut self,
        part: &UsePart,
        uses: &Use,
        used: &'a Playbook,
        inputs: &BTreeMap<String, Given<'a>>,
    ) -> Vec<Row> {
        let mut problems = Problems::new();
        let mut expansion = Expansion {
            fleet: self.fleet,
            playbook: used,
            given: inputs,
            applier: Applier::new(self.applier.files),
            contents: self.contents,
            keys: self.keys,
            prefix: format!("{}{}-", self.prefix, part.name.value),
            direct: self.direct,
            problems: &mut problems,
        };
        let mut rows = expansion.rows(uses);
        let source = self.source();
        for problem in problems.iter() {
            let told = format!("for the part `{}`", part.name.value);
            self.problems.add(problem.clone().related(source, part.name.span, told));
        }
        for stage in rows.iter_mut().flatten() {
            stage.rules.on_stop = uses.on_stop.unwrap_or(stage.rules.on_stop);
        }
        rows
    }

    /// The optional inputs that a part names.
    fn optional(&self, part: &UsePart) -> Vec<String> {
        fn texts<'n>(node: &'n Node, found: &mut Vec<&'n str>) {
            found.extend(node.text());
            node.items().iter().for_each(|item| texts(item, found));
            node.entries().iter().for_each(|(_, value)| texts(value, found));
        }
        let mut found = Vec::new();
        part.inputs.iter().for_each(|(_, value)| texts(value, &mut found));
        let named = |name: &str| found.iter().any(|text| *text == name || names(text).any(|other| other == name));
        let inputs = self.playbook.inputs.iter();
        inputs.filter(|(name, input)| input.optional && named(name)).map(|(name, _)| name.clone()).collect()
    }

    /// Whether a part is wanted: all optional inputs that it names are given. None may be missing among others that are.
    fn is_given(&mut self, part: &UsePart) -> bool {
        let optional = self.optional(part);
        let (given, missing): (Vec<&String>, Vec<&String>) =
            optional.iter().partition(|name| self.given.contains_key(*name));
        if let ([given, ..], [missing, ..]) = (&given[..], &missing[..]) {
            let message = format!("the input `{given}` is given, and `{missing}` is not");
            let hint = format!("the part `{}` needs both: give it as {missing}=...", part.name.value);
            let problem = Diagnostic::of(input::PLACE, message).hint(hint);
            self.problems.add(problem.related(self.source(), part.name.span, "for this part"));
        }
        missing.is_empty()
    }

    /// What a part gives to the playbook that is used; `None`, and problems, if something is wrong with it.
    fn bind(&mut self, part: &UsePart, used: &Playbook) -> Option<BTreeMap<String, Given<'a>>> {
        let before = self.problems.len();
        let known = Context::from(Value::Object(context(self.fleet, self.given, None)));
        let mut bound = BTreeMap::new();
        for (name, input) in &used.inputs {
            let value = match part.inputs.iter().find(|(key, _)| key.name == *name) {
                Some((_, node)) => self.value(name, input, node, &known),
                None => input::default(self.fleet, name, input, self.problems),
            };
            bound.extend(value.map(|value| (name.clone(), value)));
        }
        (self.problems.len() == before).then_some(bound)
    }

    fn value(&mut self, name: &str, input: &Input, node: &Node, known: &Context) -> Option<Given<'a>> {
        let source = self.source();
        let hosts = match (input.r#type, node.text().and_then(|text| self.given.get(text))) {
            (Type::Host, _) => vec![self.one(node, known)?],
            (Type::Hosts, Some(Given::Host(host))) => vec![*host],
            (Type::Hosts, Some(Given::Hosts(hosts))) => hosts.clone(),
            (Type::Hosts, _) => self.of_expression(node)?,
            _ => {
                let value = self.applier.renderer.node(source, node, known, self.problems)?;
                self.problems.extend(typed(source, node.span, name, input.r#type, &value));
                return Some(Given::Value(value));
            }
        };
        if let Some((message, hint)) = unreachable(&hosts) {
            self.problems.add(Diagnostic::new(source, node.span, message).hint(hint));
            return None;
        }
        match (input.r#type, &hosts[..]) {
            (Type::Host, [host]) => Some(Given::Host(host)),
            _ => Some(Given::Hosts(hosts)),
        }
    }

    /// One gate before all of them, one time to soak behind, and one window that has room for all.
    fn wait_together(&mut self, row: &mut Row, uses: &Use) {
        let members = |stage: &Stage| stage.hosts.keys().map(|host| host.member().to_owned()).collect::<BTreeSet<_>>();
        let waits =
            |stage: &Stage| stage.rules.gate.is_some() || stage.rules.hold_ms > 0 || !stage.rules.windows.is_empty();
        let Some(first) = row.first().map(members) else { return };
        if let Some(other) = row.iter().find(|stage| waits(stage) && members(stage) != first) {
            let message =
                format!("the stage `{}` waits together with those before it, and is of another member", other.name);
            let hint = "write a `use` for each member";
            self.problems.add(Diagnostic::new(self.source(), uses.playbook.span, message).hint(hint));
        }
        row.iter_mut().skip(1).for_each(|stage| stage.rules.gate = None);
        let mut room_ms: i64 = 0;
        for (behind, stage) in row.iter_mut().rev().enumerate() {
            room_ms = room_ms.saturating_add(stage.rules.takes_ms);
            if behind > 0 {
                // What it takes itself stays as its author says: forecasts go by that.
                stage.rules.room_ms = room_ms;
                stage.rules.hold_ms = 0;
            }
        }
    }
}

/// The first words of what a text's templates name.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let inside = text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(inside, _)| inside.trim());
    inside.map(|inside| single(inside).unwrap_or(inside)).filter_map(|inside| inside.split('.').next())
}
