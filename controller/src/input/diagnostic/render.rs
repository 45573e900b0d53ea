//! Problems as text for people: colours and box drawing for a terminal, plain ASCII otherwise; each with its lines.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode};
use miette::{SourceSpan, SpanContents};

use super::{Diagnostic, Problems, Severity};
use crate::input::source::{Source, Sources, Span};

/// Columns before lines are wrapped, as a terminal has them at least.
const WIDTH: usize = 100;

/// Writes problems with the lines they point to, and a last line that counts them.
pub fn render(problems: &Problems, sources: &Sources, colour: bool) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::none() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(WIDTH)
        .with_context_lines(1)
        .with_links(false)
        .without_syntax_highlighting();
    let mut text = String::new();
    for problem in problems {
        let report = Report::of(problem, sources);
        if handler.render_report(&mut text, &report).is_err() {
            text.push_str(&problem.to_string());
        }
        text.push('\n');
    }
    let count = |severity| problems.iter().filter(|d| d.severity == severity).count();
    let said = [(count(Severity::Error), "error"), (count(Severity::Warning), "warning")]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") })
        .collect::<Vec<_>>();
    let text = tame(&text, colour);
    text.lines().map(str::trim_end).chain([said.join(", ").as_str()]).flat_map(|line| [line, "\n"]).collect()
}

/// Without characters that a terminal would obey, but for colours (SGR, ECMA-48 8.3.117), if there are to be any: files
/// and messages may hold anything.
fn tame(text: &str, colour: bool) -> String {
    let mut tame = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let codes = rest.as_str().strip_prefix('[').filter(|_| colour && c == '\u{1b}');
        let ours =
            codes.is_some_and(|codes| codes.trim_start_matches(|c| matches!(c, '0'..='9' | ';')).starts_with('m'));
        let obeyed = c.is_control() && !matches!(c, '\n' | '\t') && !ours;
        tame.push(if obeyed { '\u{fffd}' } else { c });
    }
    tame
}

/// A problem in miette's terms.
#[derive(Debug)]
struct Report {
    message: String,
    severity: Severity,
    hint: Option<String>,
    labels: Vec<LabeledSpan>,
    code: Option<Lines>,
}

impl Report {
    fn of(problem: &Diagnostic, sources: &Sources) -> Report {
        let source = sources.get(&problem.file).filter(|_| problem.line > 0);
        let message = match source {
            Some(_) => problem.message.clone(),
            None => problem.to_string(),
        };
        let (same, elsewhere): (Vec<_>, Vec<_>) =
            problem.related.iter().partition(|r| source.is_some() && r.file == problem.file);
        let label =
            |span: Span, text: Option<&String>| LabeledSpan::new(text.cloned(), span.start as usize, span.len as usize);
        let elsewhere = elsewhere.into_iter().map(|r| format!("{}: {}:{}:{}", r.message, r.file, r.line, r.column));
        let hint: Vec<String> = problem.hint.iter().cloned().chain(elsewhere).collect();
        Report {
            message,
            severity: problem.severity,
            hint: (!hint.is_empty()).then(|| hint.join("\n")),
            labels: source
                .map(|_| label(problem.span, None))
                .into_iter()
                .chain(same.iter().map(|r| label(r.span, Some(&r.message))))
                .collect(),
            code: source.cloned().map(Lines),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl miette::Diagnostic for Report {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.code.as_ref().map(|code| code as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

/// A source that finds its lines by index: miette's own sources read from the start for every problem.
#[derive(Debug)]
struct Lines(Source);

impl SourceCode for Lines {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let text = self.0.text();
        let last = text.len().min(span.offset() + span.len());
        let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (first_line, last_line) = (self.0.position(short(span.offset())).0, self.0.position(short(last)).0);
        // Without context, miette asks where exactly the span starts, for the headline.
        let exact = before == 0 && after == 0;
        let from = if exact {
            short(span.offset())
        } else {
            self.0.line_start(first_line.saturating_sub(short(before)).max(1))
        };
        let to = self.0.line_start(last_line.saturating_add(short(after)).saturating_add(1));
        let data = text.get(from as usize..to as usize).ok_or(MietteError::OutOfBounds)?;
        let (line, column) = self.0.position(from);
        Ok(Box::new(MietteSpanContents::new_named(
            self.0.name().to_string(),
            data.as_bytes(),
            (from as usize, data.len()).into(),
            line.saturating_sub(1) as usize,
            if exact { column.saturating_sub(1) as usize } else { 0 },
            data.lines().count(),
        )))
    }
}
