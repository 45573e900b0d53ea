//! What the papers of a weekend need of the fleet's files: people, the language, and templates of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diagnostic::{Diagnostic, Problems};
use super::source::{Source, Span};
use super::template::Renderer;

/// The templates that a fleet may override, below its `papers/`.
pub const TEMPLATES: [&str; 4] = ["gantt.html.hbs", "hand-over.html.hbs", "run-sheet.html.hbs", "summary.html.hbs"];

/// Longest phone number: E.164 has 15 digits, people write spaces between them.
const PHONE_MAX: usize = 40;

/// Languages of papers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// German.
    De,
    /// English.
    #[default]
    En,
}

/// Somebody who has to do with a run. Stands on papers only: in no plan, log or report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// In full.
    pub name: String,
    /// As people dial it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<Phone>,
    /// What they do, e.g. `technician`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// A phone number: digits, spaces and `+ - / ( )`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct Phone(String);

impl Phone {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Phone {
    type Error = String;

    fn try_from(text: String) -> Result<Phone, String> {
        let plain = |c: char| c.is_ascii_digit() || " +-/()".contains(c);
        let digits = text.chars().filter(char::is_ascii_digit).count();
        if digits >= 2 && text.len() <= PHONE_MAX && text.chars().all(plain) {
            Ok(Phone(text))
        } else {
            Err(format!("`{text}` is no phone number: digits, spaces and `+ - / ( )`, at most {PHONE_MAX}"))
        }
    }
}

/// Checks the form of templates. What they name is checked where papers are made, see [`crate::paper::render::check`].
pub(super) fn check(templates: &[Source], problems: &mut Problems) {
    for source in templates {
        let name = source.name().strip_prefix("papers/").unwrap_or_default();
        if !TEMPLATES.contains(&name) {
            let message = format!("no paper is made from `{name}`");
            let hint = format!("name it as one of {}", TEMPLATES.join(", "));
            problems.add(Diagnostic::new(source, Span::default(), message).hint(hint));
        } else if let Err(fault) = Renderer::default().compile(source.text()) {
            let line = fault.line.unwrap_or(1);
            let line = u32::try_from(line).unwrap_or(0);
            let start = source.line_start(line) as usize;
            problems.add(Diagnostic::new(source, Span::new(start, 0), fault.message).maybe_hint(fault.hint));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::input::tests;

    #[test]
    fn a_broken_template_is_told_with_its_line() {
        let with = |name: &'static str, text: &str| {
            let mut texts = tests::good();
            texts.insert(name, text.to_owned());
            tests::complaint(&texts)
        };
        let told = with("papers/run-sheet.html.hbs", "one\n{{#if a}}\n");
        assert!(told.contains("papers/run-sheet.html.hbs:2") || told.contains("papers/run-sheet.html.hbs:3"), "{told}");
        assert!(with("papers/runsheet.hbs", "x").contains("no paper is made from `runsheet.hbs`"));
    }

    #[test]
    fn a_members_own_person_is_meant_first_and_a_phone_is_a_number() {
        let people = |phone: &str| {
            let mut texts = tests::good();
            let config = texts.get_mut("weiche.yaml").unwrap();
            config.push_str("\npeople: { frida: { name: Frida }, otto: { name: Otto } }\n");
            let member = texts.get_mut("members/alpha.yaml").unwrap();
            member.push_str(&format!("\npeople: {{ frida: {{ name: Frida Beispiel, phone: \"{phone}\" }} }}\n"));
            texts
        };
        let fleet = tests::fleet(&people("+49 30 23125 001"));
        let people_of = fleet.people("alpha");
        assert_eq!((people_of["frida"].name.as_str(), people_of["otto"].name.as_str()), ("Frida Beispiel", "Otto"));
        assert!(tests::complaint(&people("call me")).contains("is no phone number"));
    }
}
