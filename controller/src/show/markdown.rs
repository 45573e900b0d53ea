//! Checks, plans and runs as Markdown, for the description or a comment of a merge request; bounded in length.

use std::fmt::Write;

use super::plan::{limits_told, shown, sum};
use weiche_agent::protocol::StepOutcome;

use crate::input::diagnostic::{Problems, Severity};
use crate::plan::{Plan, Step};
use crate::view::View;

/// Longest document, in characters: GitHub takes 65,536 in a comment.
const LONGEST: usize = 60_000;

/// Longest changes of one host, in characters, so that one host does not hide the others.
const HOST: usize = 8_000;

/// As it is before the work begins.
pub fn running(what: &str) -> String {
    format!("## {}\n\nIt did not end.\n", word(what))
}

/// A command that came to no result.
pub fn failed(what: &str, message: &str, code: u8) -> String {
    let out = format!("## {}: it cannot be done\n\n{}\n{}", word(what), fenced(message), exit(code));
    cut(out, LONGEST)
}

/// The outcome of `weiche check`.
pub fn check(fleet: &str, problems: &Problems) -> String {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let mut out = format!(
        "## weiche check: {}\n\n",
        match (errors, problems.len()) {
            (0, 0) => format!("fleet {} has no problems", word(fleet)),
            (0, n) => format!("{n} warning(s)"),
            (n, _) => format!("{n} problem(s)"),
        }
    );
    if !problems.is_empty() {
        out += "| where | what | hint |\n|---|---|---|\n";
    }
    for problem in problems.iter() {
        let mark = if problem.severity == Severity::Error { "" } else { "warning: " };
        let hint = problem.hint.as_deref().unwrap_or_default();
        let place = format!("{}:{}", problem.file, problem.line);
        // Writing to a string does not fail.
        let _ = writeln!(out, "| {} | {mark}{} | {} |", word(&place), word(&problem.message), word(hint));
    }
    cut(out + "\n" + &exit(u8::from(errors > 0)), LONGEST)
}

/// A plan: what changes, by stage and host, with the undo. `code` is what `weiche plan` ends with.
pub fn plan(plan: &Plan, forecast: &str, code: u8) -> String {
    let mut out = format!("## Plan {} of {}\n\n", plan.digest().short(), word(&plan.playbook));
    for (name, value) in &plan.inputs {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = writeln!(out, "- {}: {}", word(name), word(&value));
    }
    let _ = writeln!(out, "\n{}\n", sum(plan).replace('\n', "\n\n"));
    if !forecast.is_empty() {
        let _ = writeln!(out, "### Forecast\n\n{}", fenced(&bounded(forecast.trim(), HOST)));
    }
    for stage in &plan.stages {
        let _ = writeln!(out, "### Stage {}\n", word(&stage.name));
        for (host, steps) in &stage.hosts {
            let seen: Vec<&Step> = steps.iter().filter(|step| shown(step)).collect();
            let changes = steps.iter().filter(|step| step.outlook.changes).count();
            if seen.is_empty() {
                let _ = writeln!(out, "- {}: nothing to change", word(&host.0));
                continue;
            }
            let text: String = seen.into_iter().map(step).collect();
            let text = fenced(&self::bounded(&text, HOST));
            let _ = writeln!(
                out,
                "\n<details><summary>{}: {changes} of {} step(s) change something</summary>\n\n{text}\n</details>\n",
                html(&host.0),
                steps.len()
            );
        }
    }
    let limits = limits_told(plan);
    let tail = format!("\n{}{}", if limits.is_empty() { String::new() } else { limits + "\n" }, exit(code));
    let room = LONGEST.saturating_sub(tail.chars().count());
    cut(out, room) + &tail
}

fn step(step: &Step) -> String {
    let mark = if step.outlook.irreversible { "! " } else { "" };
    let mut out = format!("{mark}{} {}\n", step.action.id(), step.title);
    step.outlook.diff.iter().for_each(|line| out += &format!("    {line}\n"));
    if step.outlook.changes {
        out += &format!("    undo: {}\n", step.outlook.undo);
    }
    out
}

/// A run.
pub fn run(view: &View) -> String {
    let mut out = format!("## Run {} of {}: {}\n\n", view.run, word(&view.playbook), word(&super::status::state(view)));
    out += "| host | changed | unchanged | taken back | failed | |\n|---|---|---|---|---|---|\n";
    for (name, host) in &view.hosts {
        let c = host.counts;
        let fault = host.stuck_fault.as_ref().map(|fault| format!("STUCK: {fault}"));
        let fault = fault.or(host.fault.as_ref().map(ToString::to_string)).unwrap_or_default();
        let kept = host.steps.iter().filter_map(|(step, outcome, _)| match outcome {
            StepOutcome::UndoneDrifted { kept } => Some(format!("{step}: somebody's version is kept in {kept}")),
            _ => None,
        });
        let told: Vec<String> = [fault].into_iter().filter(|text| !text.is_empty()).chain(kept).collect();
        let fault = bounded(&told.join("; "), 500);
        let (changed, unchanged, undone, failed) = (c.changed, c.unchanged, c.undone, c.failed);
        let _ =
            writeln!(out, "| {} | {changed} | {unchanged} | {undone} | {failed} | {} |", word(&name.0), word(&fault));
    }
    cut(out, LONGEST)
}

/// What an exit code means.
fn exit(code: u8) -> String {
    let meaning = match code {
        0 => "nothing to do",
        1 => "an error, before any change",
        2 => "changes are pending",
        5 => "it does not fit the window",
        7 => "a host could not be reached",
        _ => "see docs/ci.md",
    };
    format!("Exit code {code}: {meaning}.\n")
}

/// Text in a line or a cell: what would be markup is shown as it is.
fn word(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' | '@' => out.extend(['\\', c]),
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A block in a fence that nothing in it closes.
fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n", text.trim_end())
}

/// Text of at most so many characters, whole lines of it; says how much is left out.
pub(super) fn bounded(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let end = text.char_indices().nth(longest).map_or(text.len(), |(at, _)| at);
    let end = text[..end].rfind('\n').map_or(end, |at| at + 1);
    let (kept, left) = text.split_at(end);
    format!("{kept}\n… and {} line(s) more\n", left.lines().count())
}

/// The document's own bound: at the end of a whole block, so that no fence and no `<details>` stays open.
fn cut(text: String, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text;
    }
    let longest = longest - 100;
    let end = text.char_indices().nth(longest).map_or(text.len(), |(at, _)| at);
    let mut whole = 0;
    let (mut at, mut fence, mut open) = (0, None::<usize>, 0_usize);
    for line in text.split_inclusive('\n') {
        at += line.len();
        if at > end {
            break;
        }
        let ticks = line.len() - line.trim_start_matches('`').len();
        match fence {
            None if ticks >= 3 => fence = Some(ticks),
            Some(long) if ticks == long && line.trim_end().len() == ticks => fence = None,
            None if line.starts_with("<details>") => open += 1,
            None if line.starts_with("</details>") => open = open.saturating_sub(1),
            _ => {}
        }
        if fence.is_none() && open == 0 {
            whole = at;
        }
    }
    format!("{}\n… and {} line(s) more, which are in the whole report\n", &text[..whole], text[whole..].lines().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_leaves_nothing_open() {
        let block = format!("<details><summary>x</summary>\n\n{}\n</details>\n", fenced(&"line\n".repeat(900)));
        let text = cut(format!("# Head\n{}", block.repeat(20)), LONGEST);
        assert!(text.chars().count() <= LONGEST, "{}", text.chars().count());
        assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
        assert_eq!(text.matches("```").count() % 2, 0);
        assert!(text.contains("line(s) more"));
    }

    #[test]
    fn what_people_write_is_no_markup() {
        assert_eq!(word("a|b\n<img src=x> `c` @all"), "a\\|b &lt;img src=x&gt; \\`c\\` \\@all");
        assert!(fenced("a\n````\nb").starts_with("`````text\n"));
    }
}
