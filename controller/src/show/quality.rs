//! Problems of a fleet as GitLab's code-quality report: a JSON list, shown beside the lines of a merge request.

use std::collections::BTreeMap;

use serde::Serialize;
use weiche_agent::digest::Digest;

use crate::input::diagnostic::{Problems, Severity};

/// As <https://docs.gitlab.com/ci/testing/code_quality/> asks for.
#[derive(Serialize)]
struct Issue {
    description: String,
    check_name: &'static str,
    fingerprint: String,
    severity: &'static str,
    location: Location,
}

#[derive(Serialize)]
struct Location {
    path: String,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: u32,
}

fn issue(description: String, severity: &'static str, (path, line): (String, u32), nth: u32) -> Issue {
    // Without the line: what moves within its file is still the same problem.
    let fingerprint = Digest::of(format!("{path}\n{description}\n{nth}").as_bytes()).as_str().to_owned();
    let location = Location { path, lines: Lines { begin: line.max(1) } };
    Issue { description, check_name: "weiche-check", fingerprint, severity, location }
}

fn text(issues: &[Issue]) -> String {
    // It consists of strings and numbers: it always serialises.
    serde_json::to_string_pretty(issues).unwrap_or_default() + "\n"
}

/// The problems; `below` is the fleet's directory in its repository, empty or ending with `/`.
pub fn json(problems: &Problems, below: &str) -> String {
    let mut seen: BTreeMap<(String, String), u32> = BTreeMap::new();
    let one = |problem: &crate::input::diagnostic::Diagnostic| {
        let severity = match problem.severity {
            Severity::Error => "critical",
            Severity::Warning => "minor",
        };
        let path = format!("{below}{}", problem.file);
        let description = match &problem.hint {
            Some(hint) => format!("{} ({hint})", problem.message),
            None => problem.message.clone(),
        };
        let nth = seen.entry((path.clone(), description.clone())).or_default();
        *nth += 1;
        issue(description, severity, (path, problem.line), *nth)
    };
    text(&problems.iter().map(one).collect::<Vec<_>>())
}

/// As it is before the work begins: an empty list would say that all is well.
pub fn running(below: &str) -> String {
    text(&[issue("weiche check did not end".into(), "blocker", (format!("{below}weiche.yaml"), 1), 1)])
}
