//! Templates: Handlebars in strict mode, nothing escaped. A text that is one expression and nothing else becomes the
//! value itself, with its type. Errors point into the YAML.

use std::collections::HashMap;
use std::rc::Rc;

use handlebars::template::{Parameter, Template, TemplateElement};
use handlebars::{
    Context, Handlebars, Path, RenderContext, RenderErrorReason, Renderable, StringOutput, TemplateErrorReason,
};
use serde_json::Value as Json;

use super::diagnostic::{Diagnostic, Problems};
use super::source::{Source, Span};
use super::suggest;
use super::yaml::{Node, Value};

/// Renders templates; each text is compiled once.
#[derive(Default)]
pub struct Renderer {
    registry: Option<Handlebars<'static>>,
    compiled: HashMap<String, Rc<Template>>,
}

/// Why a template cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateFault {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The expression at fault, as written, if it is known.
    pub expression: Option<String>,
    /// Line in the template, from 1, if it is known.
    pub line: Option<usize>,
}

impl Renderer {
    /// Fills in a node with all below it. `None`, and problems, if that is not possible.
    pub fn node(&mut self, source: &Source, node: &Node, context: &Context, problems: &mut Problems) -> Option<Json> {
        match &node.value {
            Value::Text(text) => match self.value(text, context) {
                Ok(value) => Some(value),
                Err(fault) => {
                    problems.add(fault.at(source, node.span));
                    None
                }
            },
            Value::List(items) => {
                let rendered: Vec<_> = items.iter().map(|i| self.node(source, i, context, problems)).collect();
                rendered.into_iter().collect::<Option<Vec<_>>>().map(Json::Array)
            }
            Value::Map(entries) => {
                let mut all = true;
                let mut map = serde_json::Map::new();
                for (key, value) in entries {
                    match self.node(source, value, context, problems) {
                        Some(value) => drop(map.insert(key.name.clone(), value)),
                        None => all = false,
                    }
                }
                all.then_some(Json::Object(map))
            }
            _ => Some(node.json()),
        }
    }

    /// Fills in a text; one that is a single expression becomes the value that it names.
    ///
    /// # Errors
    /// See [`TemplateFault`]: the author of the template can fix it.
    pub fn value(&mut self, text: &str, context: &Context) -> Result<Json, TemplateFault> {
        match single(text) {
            Some(path) => lookup(context.data(), path).cloned(),
            None => self.text(text, context).map(Json::String),
        }
    }

    /// Fills in a text, giving a text.
    ///
    /// # Errors
    /// See [`TemplateFault`].
    pub fn text(&mut self, text: &str, context: &Context) -> Result<String, TemplateFault> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let template = self.compile(text)?;
        let registry = self.registry.get_or_insert_with(|| {
            let mut registry = Handlebars::new();
            registry.set_strict_mode(true);
            registry.register_escape_fn(handlebars::no_escape);
            registry
        });
        let mut output = StringOutput::new();
        template
            .render(registry, context, &mut RenderContext::new(None), &mut output)
            .map_err(|error| explain(&error, context.data()))?;
        output.into_string().map_err(|error| TemplateFault::new(format!("the rendered text is unusable: {error}")))
    }

    /// Compiles a text, so that errors of form are found before anything is rendered.
    ///
    /// # Errors
    /// See [`TemplateFault`].
    pub fn compile(&mut self, text: &str) -> Result<Rc<Template>, TemplateFault> {
        if let Some(template) = self.compiled.get(text) {
            return Ok(template.clone());
        }
        let template = Template::compile(text).map_err(|error| {
            let reason = match error.reason() {
                TemplateErrorReason::InvalidSyntax(_) => "it is no valid Handlebars (an unclosed `{{`?)".to_owned(),
                other => other.to_string(),
            };
            let hint = Some("write `\\{{` for braces that are no expression".to_owned());
            let line = error.pos().map(|(line, _)| line);
            TemplateFault { message: format!("the template is broken: {reason}"), hint, expression: None, line }
        })?;
        let template = Rc::new(template);
        self.compiled.insert(text.to_owned(), template.clone());
        Ok(template)
    }

    /// The variables that a text names outside of blocks, e.g. `old.data`.
    ///
    /// # Errors
    /// See [`TemplateFault`].
    pub fn variables(&mut self, text: &str) -> Result<Vec<String>, TemplateFault> {
        if !text.contains("{{") {
            return Ok(Vec::new());
        }
        let template = self.compile(text)?;
        Ok(template.elements.iter().filter_map(variable).collect())
    }
}

fn variable(element: &TemplateElement) -> Option<String> {
    let (TemplateElement::Expression(helper) | TemplateElement::HtmlExpression(helper)) = element else { return None };
    let plain = helper.params.is_empty() && helper.hash.is_empty() && !helper.block;
    let name = match &helper.name {
        Parameter::Name(name) => name.clone(),
        Parameter::Path(Path::Relative((_, raw))) => raw.clone(),
        _ => return None,
    };
    (plain && !name.starts_with(['@', '.']) && name != "this").then_some(name)
}

/// The path of a text that is `{{path}}` and nothing else.
pub fn single(text: &str) -> Option<&str> {
    let path = text.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    (path.split('.').all(part) && path != "this" && path != "else").then_some(path)
}

/// Follows a path of names.
pub fn lookup<'a>(data: &'a Json, path: &str) -> Result<&'a Json, TemplateFault> {
    let mut at = data;
    let mut seen = String::new();
    for part in path.split('.') {
        let next = match at {
            Json::Object(map) => map.get(part),
            Json::Array(items) => part.parse::<usize>().ok().and_then(|n| items.get(n)),
            _ => None,
        };
        let Some(next) = next else { return Err(missing(at, &seen, part, path)) };
        if !seen.is_empty() {
            seen.push('.');
        }
        seen.push_str(part);
        at = next;
    }
    Ok(at)
}

fn missing(at: &Json, seen: &str, part: &str, path: &str) -> TemplateFault {
    let known = at.as_object().into_iter().flat_map(|map| map.keys().map(String::as_str));
    let message = if seen.is_empty() {
        format!("there is no variable `{path}` here")
    } else {
        format!("there is no variable `{path}` here: `{seen}` has no `{part}`")
    };
    TemplateFault { message, hint: suggest::hint(part, known), expression: Some(path.to_owned()), line: None }
}

fn explain(error: &handlebars::RenderError, data: &Json) -> TemplateFault {
    let fault = match error.reason() {
        RenderErrorReason::MissingVariable(Some(path)) => match lookup(data, path) {
            Err(fault) => fault,
            Ok(_) => TemplateFault::new(format!("there is no variable `{path}` here")),
        },
        RenderErrorReason::MissingVariable(None) => TemplateFault::new("a variable of this template does not exist"),
        RenderErrorReason::HelperNotFound(name) => TemplateFault {
            hint: suggest::hint(
                name,
                ["if", "unless", "each", "with", "lookup", "eq", "ne", "and", "or", "not", "len"],
            ),
            expression: Some(name.clone()),
            ..TemplateFault::new(format!("there is no helper `{name}`"))
        },
        other => TemplateFault::new(format!("the template cannot be filled in: {other}")),
    };
    TemplateFault { line: error.line_no, ..fault }
}

impl TemplateFault {
    /// With nothing but a message.
    pub fn new(message: impl Into<String>) -> TemplateFault {
        TemplateFault { message: message.into(), hint: None, expression: None, line: None }
    }

    /// As a problem at a text of a YAML file; at the expression itself if it is found there.
    pub fn at(self, source: &Source, span: Span) -> Diagnostic {
        let place =
            self.place(span.of(source.text())).map_or(span, |(start, len)| Span::new(span.start as usize + start, len));
        Diagnostic::new(source, place, self.message).maybe_hint(self.hint)
    }

    /// As a problem in a template file.
    pub fn in_file(self, file: &Source) -> Diagnostic {
        let all = Span::new(0, file.text().len());
        let line = self.line.and_then(|line| u32::try_from(line).ok());
        match (self.place(file.text()), line) {
            (None, Some(line)) => {
                let start = file.line_start(line);
                let len = file.text().get(start as usize..).and_then(|t| t.lines().next()).map_or(0, str::len);
                Diagnostic::new(file, Span::new(start as usize, len), self.message).maybe_hint(self.hint)
            }
            _ => self.at(file, all),
        }
    }

    fn place(&self, text: &str) -> Option<(usize, usize)> {
        let expression = self.expression.as_deref()?;
        let mut from = 0;
        while let Some(open) = text.get(from..)?.find("{{") {
            let start = from + open;
            let end = text[start..].find("}}").map_or(text.len(), |n| start + n + 2);
            let inner = text[start..end].trim_matches(['{', '}', ' ', '~', '#']);
            if inner == expression || inner.split([' ', '(', ')']).any(|word| word == expression) {
                return Some((start, end - start));
            }
            from = end;
        }
        None
    }
}

impl std::fmt::Debug for Renderer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Renderer({} templates)", self.compiled.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fills_in_texts_and_values() {
        let context = Context::from(json!({ "a": { "b": [1, 2] }, "x": "<&>" }));
        let mut renderer = Renderer::default();
        assert_eq!(renderer.value("{{a.b}}", &context), Ok(json!([1, 2])));
        assert_eq!(renderer.value("-{{x}}-{{#each a.b}}{{this}},{{/each}}", &context), Ok(json!("-<&>-1,2,")));
        assert_eq!(renderer.value("\\{{x}}", &context), Ok(json!("{{x}}")));
        let fault = renderer.value("{{a.c}}", &context).unwrap_err();
        assert_eq!(fault.message, "there is no variable `a.c` here: `a` has no `c`");
        let fault = renderer.value("- {{ y }}", &context).unwrap_err();
        assert_eq!(
            (fault.message.as_str(), fault.hint.as_deref()),
            ("there is no variable `y` here", Some("did you mean `a`?"))
        );
        assert_eq!(renderer.variables("{{old.data}} {{#if x}}{{y}}{{/if}}"), Ok(vec!["old.data".to_owned()]));
        assert!(renderer.value("{{#if x}}", &context).is_err());
    }
}
