//! Papers as HTML: Handlebars in strict mode, everything that comes from data escaped, a fleet's templates before ours.

use std::collections::BTreeMap;

use handlebars::Handlebars;
use serde::Serialize;
use serde_json::{Value, json};

use super::example;
use super::gantt::Page;
use super::hand_over::HandOver;
use super::run_sheet::RunSheet;
use super::words::Words;
use crate::input::paper::Language;

/// Shipped templates by file name; `style.hbs` is the part that all of them share.
const SHIPPED: [(&str, &str); 5] = [
    ("gantt.html.hbs", include_str!("templates/gantt.html.hbs")),
    ("hand-over.html.hbs", include_str!("templates/hand-over.html.hbs")),
    ("run-sheet.html.hbs", include_str!("templates/run-sheet.html.hbs")),
    ("style.hbs", include_str!("templates/style.hbs")),
    ("summary.html.hbs", include_str!("templates/summary.html.hbs")),
];

/// A template that names what there is not, or has a form that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("papers/{template}{}: {message}", .line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct TemplateError {
    /// File name below `papers/`.
    pub template: String,
    /// From 1, if it is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

/// Fills in the template of a paper, e.g. `run-sheet`, with its data and `words`.
///
/// # Errors
/// The template, which the author of the fleet can mend.
pub fn html(
    paper: &str,
    data: &impl Serialize,
    words: &Words,
    own: &BTreeMap<String, String>,
) -> Result<String, TemplateError> {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    for (name, text) in SHIPPED {
        let text = own.get(name).map_or(text, String::as_str);
        registry.register_template_string(name, text).map_err(|error| TemplateError {
            template: name.to_owned(),
            line: error.pos().map(|(line, _)| line),
            message: error.reason().to_string(),
        })?;
    }
    let name = format!("{paper}.html.hbs");
    let mut context = json!({ "words": words });
    // Data of papers consist of strings, numbers and maps with string keys: they always serialise.
    if let (Some(context), Ok(Value::Object(data))) = (context.as_object_mut(), serde_json::to_value(data)) {
        context.extend(data);
    }
    registry.render(&name, &context).map_err(|error| TemplateError {
        template: error.template_name.clone().unwrap_or(name),
        line: error.line_no,
        message: error.reason().to_string(),
    })
}

/// Tries a fleet's own templates with made-up data, in which everything is there, or only what has to be.
///
/// Returns the first mistake of each.
pub fn check(own: &BTreeMap<String, String>) -> Vec<TemplateError> {
    let papers = [
        ("gantt", example::both::<Page>()),
        ("hand-over", example::both::<HandOver>()),
        ("run-sheet", example::both::<RunSheet>()),
        ("summary", example::both::<RunSheet>()),
    ];
    let tried = papers.iter().filter(|(paper, _)| own.contains_key(&format!("{paper}.html.hbs")));
    let mistake = |(paper, data): &(&str, [Value; 2])| {
        data.iter().find_map(|data| html(paper, data, Words::of(Language::En), own).err())
    };
    tried.filter_map(mistake).collect()
}
