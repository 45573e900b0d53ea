//! A member's windows: that each can open, and leaves time to work.

use std::collections::HashMap;

use crate::calendar::window::PatternFault;
use crate::calendar::{Pattern, Rule};
use crate::input::config::Config;
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::member::Member;
use crate::input::source::Source;
use crate::input::window::WindowForm;
use crate::input::yaml::Node;

/// Checks all windows of a member. Without a `weiche.yaml` it is not known which holidays there are.
pub(super) fn check(source: &Source, root: &Node, member: &Member, config: Option<&Config>, problems: &mut Problems) {
    for (name, form) in &member.windows {
        let node = root.get("windows").and_then(|windows| windows.entry(name));
        let span = node.map_or(root.span, |(key, _)| key.span);
        match Pattern::new(form.from.value, form.to.value) {
            Ok(pattern) => window(source, name, form, &pattern, problems),
            Err(fault) => {
                let hint = match fault {
                    PatternFault::Mixed => "write both as times (20:00), as days with times (fri 18:00) or as dates",
                    PatternFault::Empty => "a window that is open all day, every day goes from 00:00 to 24:00",
                    PatternFault::Backwards => "exchange them",
                };
                let problem = Diagnostic::new(source, form.to.span, format!("the window `{name}`: {fault}"));
                problems.add(problem.hint(hint).related(source, form.from.span, "`from` is here"));
            }
        }
        if let (Some(rule), Some(config)) = (&form.holidays, config)
            && config.holidays.is_none()
        {
            let message = format!("the window `{name}` goes by public holidays, and the fleet has none");
            let hint = "add `holidays: DE-ST` to weiche.yaml";
            problems.add(Diagnostic::new(source, if rule.span.len > 0 { rule.span } else { span }, message).hint(hint));
        }
    }
}

fn window(source: &Source, name: &str, form: &WindowForm, pattern: &Pattern, problems: &mut Problems) {
    if let Some(reserve) = &form.reserve
        && reserve.as_ms() >= pattern.minutes() * 60_000
    {
        let message = format!("the reserve of the window `{name}` leaves no time to work");
        problems.add(Diagnostic::new(source, reserve.span, message).hint("make `reserve` shorter than the window"));
    }
    if !pattern.repeats() {
        let rule = form.holidays.as_ref().map(|rule| ("holidays", rule.span));
        for (key, span) in rule.into_iter().chain(form.except.first().map(|date| ("except", date.span))) {
            let message = format!("the window `{name}` opens once: `{key}` means nothing there");
            problems.add(Diagnostic::new(source, span, message).hint(format!("leave `{key}` out")));
        }
    } else if let Some(rule) = form.holidays.as_ref().filter(|rule| rule.value == Rule::Also)
        && matches!(pattern.from(), crate::calendar::Moment::Daily(_))
    {
        let message = format!("the window `{name}` opens every day, on public holidays anyway");
        problems.add(Diagnostic::new(source, rule.span, message).hint("leave `holidays` out"));
    }
    let mut seen = HashMap::new();
    for date in &form.except {
        if let Some(first) = seen.insert(date.value, date.span) {
            let problem = Diagnostic::new(source, date.span, format!("`{}` is there twice", date.value)).warning();
            problems.add(problem.related(source, first, "first here"));
        }
    }
}
