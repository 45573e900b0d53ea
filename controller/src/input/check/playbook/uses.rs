//! Playbooks that use others: that there are these, that they are given what they ask for, and that there is an end to it.

use std::collections::BTreeMap;

use super::Checker;
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::fleet::{Fleet, Unending};
use crate::input::playbook::{Playbook, Use, UsePart};
use crate::input::profile::typed;
use crate::input::scalar::{NAME_MAX, Type};
use crate::input::source::Span;
use crate::input::suggest;
use crate::input::yaml::{Key, Node};

impl Checker<'_, '_> {
    /// Checks one `use`; what is not known because its file could not be read is not called missing.
    pub(super) fn uses(&mut self, uses: &Use) {
        let Some(used) = self.fleet.playbooks.get(&*uses.playbook.value) else {
            if !self.gaps.playbooks {
                let known = self.fleet.playbooks.keys().map(String::as_str);
                let hint = suggest::hint(&uses.playbook, known.filter(|name| *name != &*self.playbook.name.value));
                self.wrong(uses.playbook.span, format!("there is no playbook `{}`", uses.playbook.value), hint);
            }
            uses.parts.iter().flat_map(|part| &part.inputs).for_each(|(_, value)| self.given(value));
            return;
        };
        let stages: Vec<&str> = used.stages().map(|stage| &*stage.name.value).collect();
        for only in uses.only.iter().filter(|only| !stages.contains(&&*only.value)) {
            let message = format!("the playbook `{}` has no stage `{}`", uses.playbook.value, only.value);
            self.wrong(only.span, message, suggest::hint(only, stages.iter().copied()));
        }
        uses.parts.iter().for_each(|part| self.part(part, used));
    }

    fn part(&mut self, part: &UsePart, used: &Playbook) {
        for (key, value) in &part.inputs {
            self.given(value);
            let Some(input) = used.inputs.get(&key.name) else {
                let message = format!("the playbook `{}` has no input `{}`", used.name.value, key.name);
                self.wrong(key.span, message, suggest::hint(&key.name, used.inputs.keys().map(String::as_str)));
                continue;
            };
            self.suits(key, value, input.r#type);
        }
        let has = |name: &str| part.inputs.iter().any(|(key, _)| key.name == name);
        let open = used.inputs.iter().filter(|(_, input)| input.default.is_none() && !input.optional);
        for (missing, input) in open.filter(|(name, _)| !has(name)) {
            let message = format!("the playbook `{}` needs the input `{missing}`", used.name.value);
            let what = input.description.as_deref().unwrap_or(input.r#type.expected());
            self.wrong(part.name.span, message, Some(format!("add it to the part's `inputs`: {what}")));
        }
    }

    /// Whether a value without templates is of the type that is asked for.
    fn suits(&mut self, key: &Key, value: &Node, r#type: Type) {
        match r#type {
            Type::Host | Type::Hosts if !value.text().is_some_and(|text| text.contains("{{")) => {
                let input = value.text().and_then(|text| self.playbook.inputs.get(text));
                match input.map(|input| input.r#type) {
                    Some(Type::Host) => {}
                    Some(Type::Hosts) if r#type == Type::Hosts => {}
                    Some(_) => {
                        let message = format!("`{}` must be {}", key.name, r#type.expected());
                        self.wrong(value.span, message, None);
                    }
                    None if value.text().is_some() => self.named(value),
                    None => {
                        let hint = Some("name an input, or a host".to_owned());
                        self.wrong(value.span, format!("`{}` must be {}", key.name, r#type.expected()), hint);
                    }
                }
            }
            Type::Host | Type::Hosts => {}
            _ if super::literal(value) => {
                let source = &self.playbook.source;
                self.problems.extend(typed(source, value.span, &key.name, r#type, &value.json()));
            }
            _ => {}
        }
    }

    /// Templates of what a part is given, which may name optional inputs.
    fn given(&mut self, value: &Node) {
        self.optional = true;
        self.templates(value);
        self.optional = false;
    }

    fn wrong(&mut self, span: Span, message: String, hint: Option<String>) {
        self.problems.add(Diagnostic::new(&self.playbook.source, span, message).maybe_hint(hint));
    }
}

/// The names of all stages of a playbook: none twice, none too long, and not without an end.
pub(super) fn names(fleet: &Fleet, playbook: &Playbook, problems: &mut Problems) {
    let source = &playbook.source;
    let names = match fleet.stage_names(playbook) {
        Ok(names) => names,
        Err(fault) => {
            let (span, chain) = fault.at(fleet, playbook);
            let (message, hint) = match fault {
                Unending::Circle(_) => {
                    (format!("the playbook `{}` uses itself: {chain}", playbook.name.value), "take one of them out")
                }
                // That one is complained about.
                Unending::Elsewhere => return,
                Unending::TooMuch => (
                    "there are too many stages, or playbooks that use playbooks".to_owned(),
                    "write several playbooks, and a run of each",
                ),
            };
            problems.add(Diagnostic::new(source, span, message).hint(hint));
            return;
        }
    };
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for (name, span) in &names {
        if name.len() > NAME_MAX {
            let message = format!("the name of the stage `{name}` is too long: at most {NAME_MAX} characters");
            problems.add(Diagnostic::new(source, *span, message).hint("give the part a shorter name"));
        }
        if let Some(first) = seen.insert(name, *span) {
            let problem = Diagnostic::new(source, *span, format!("there are two stages `{name}`"));
            problems.add(problem.hint("give one of them another name").related(source, first, "first here"));
        }
    }
}
