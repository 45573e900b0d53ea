//! `cron`: a job in a file of its own below `/etc/cron.d`, in the format of crontab(5) with Debian's rules of cron(8).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::{Node, Presence};
use super::small::Small;
use super::text::line_problem;
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Lens, Witness};

const DIRECTORY: &str = "/etc/cron.d";

/// Bound of a command, in bytes: `MAX_COMMAND` of cron is 1000 with its end.
const MAX_COMMAND: usize = 998;

/// A job.
#[derive(Debug)]
pub struct Cron;

/// A job of cron(8), in a file of its own. cron notices the change by itself within a minute.
///
/// `command` is what the shell gets, to the letter: a `%`, which ends a command in a crontab, is escaped for you.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "cron")]
pub struct Spec {
    /// Name of the job. Its file is `/etc/cron.d/weiche-NAME`, unless `file` says otherwise.
    pub name: String,
    /// Name of the file below `/etc/cron.d`: letters, digits, `_` and `-` only, because cron skips others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Minute, hour, day of month, month, day of week, as in crontab(5); or `@daily`, `@reboot` and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Whom it runs as; `root` without it.
    #[serde(default = "root")]
    pub user: String,
    /// The command line, at most 998 bytes. No secrets: the file can be read by everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Variables, e.g. `MAILTO` or `PATH`. cron expands nothing in them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// `present` (default) or `absent`: the file is removed.
    #[serde(default)]
    pub state: Presence,
}

fn root() -> String {
    "root".into()
}

impl Lens for Cron {
    const NAME: &'static str = "cron";
    const WITNESS: Witness = Witness::Paths;
    type Spec = Spec;
    type State = Small;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems = Vec::new();
        let ok = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        for name in [Some(&spec.name), spec.file.as_ref()].into_iter().flatten() {
            if name.is_empty() || name.len() > 200 || !name.bytes().all(ok) {
                problems.push(format!("`{name}` is no name of a cron file: write letters, digits, `_` and `-` only"));
            }
        }
        if spec.state == Presence::Absent {
            if spec.schedule.is_some() || spec.command.is_some() || !spec.environment.is_empty() {
                problems.push("an absent job has nothing but `name` or `file`".into());
            }
            return problems;
        }
        match &spec.schedule {
            None => problems.push("a job needs a `schedule`".into()),
            Some(schedule) => problems.extend(schedule_problem(schedule)),
        }
        match &spec.command {
            None => problems.push("a job needs a `command`".into()),
            Some(command) => problems.extend(command_problem(command)),
        }
        problems.extend(super::account::name_problem("user", &spec.user));
        for (name, value) in &spec.environment {
            let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !letters || !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                problems.push(format!("`{name}` is no name of a variable"));
            }
            if value.chars().any(char::is_control) || (value.contains('"') && value.contains('\'')) {
                problems.push(format!("`{name}` must be one line, without both kinds of quotes: cron cannot say it"));
            }
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Path(path(spec))]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<Small, Fault> {
        Small::get(&path(spec), cx)
    }

    fn want(spec: &Spec, state: &Small, _given: Circumstances) -> Result<Small, Fault> {
        Ok(state.want((spec.state == Presence::Present).then(|| text(spec)), 0o644))
    }

    fn keep(spec: &Spec, now: &Small, wanted: &Small, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if wanted.node != Node::Absent && cx.host.lstat(Path::new(DIRECTORY))?.is_none() {
            let fault = Fault::new(FaultCode::Unsupported, format!("there is no directory {DIRECTORY}"));
            return Err(fault.hint("declare the package `cron` before this step"));
        }
        now.node.keep(&path(spec), &wanted.node, cx)
    }

    fn put(spec: &Spec, now: &Small, to: &Small, cx: &mut Cx<'_>) -> Result<(), Fault> {
        to.put(&path(spec), now, cx)
    }

    fn intact(_spec: &Spec, after: &Small, now: &Small) -> bool {
        after.node.alike(&now.node)
    }

    fn change(now: &Small, wanted: &Small) -> Option<Vec<String>> {
        let lines = now.change(wanted);
        // Where only metadata or a link goes, the fields say more.
        (!lines.is_empty() && matches!(now.node, Node::Absent | Node::File { .. })).then_some(lines)
    }

    fn title(spec: &Spec) -> String {
        spec.name.clone()
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "name": "backup", "schedule": "30 2 * * 1-5", "user": "daemon",
                "command": "/usr/local/bin/backup --to /srv/backup/$(date +%F)",
                "environment": { "MAILTO": "edv@town.example" } }),
            json!({ "name": "cleanup", "file": "cleanup", "schedule": "@daily",
                "command": "find /srv/scan -mtime +30 -delete" }),
            json!({ "name": "backup", "state": "absent" }),
        ]
    }
}

fn path(spec: &Spec) -> PathBuf {
    match &spec.file {
        Some(file) => format!("{DIRECTORY}/{file}").into(),
        None => format!("{DIRECTORY}/weiche-{}", spec.name).into(),
    }
}

fn text(spec: &Spec) -> String {
    let mut text = format!("# Written by weiche (cron {}): changes are taken for drift.\n", spec.name);
    for (name, value) in &spec.environment {
        let quote = if value.contains('"') { '\'' } else { '"' };
        text.push_str(&format!("{name}={quote}{value}{quote}\n"));
    }
    let schedule: Vec<&str> = spec.schedule.iter().flat_map(|s| s.split_ascii_whitespace()).collect();
    let command = spec.command.as_deref().unwrap_or_default().trim().replace('%', "\\%");
    text.push_str(&format!("{} {} {command}\n", schedule.join(" "), spec.user));
    text
}

fn command_problem(command: &str) -> Option<String> {
    if command.contains("\\%") {
        // Whether cron takes the backslash away here differs between its versions.
        return Some("`command` must not have `\\%` in it: a `%` is escaped for you; for both, write a script".into());
    }
    if command.len() + command.matches('%').count() > MAX_COMMAND {
        return Some(format!("`command` is longer than {MAX_COMMAND} bytes: write a script"));
    }
    line_problem("command", command)
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

fn schedule_problem(schedule: &str) -> Option<String> {
    const NAMED: [&str; 8] =
        ["@reboot", "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
    if let Some(problem) = line_problem("schedule", schedule) {
        return Some(problem);
    }
    if schedule.starts_with('@') {
        let known = NAMED.contains(&schedule);
        return (!known).then(|| format!("`{schedule}` is none of {}", NAMED.join(", ")));
    }
    let fields: Vec<&str> = schedule.split_ascii_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields.as_slice() else {
        return Some(format!(
            "`{schedule}` has {} fields: minute, hour, day of month, month, day of week",
            fields.len()
        ));
    };
    #[rustfmt::skip]
    let checks = [
        ("minute", minute, 0, 59, &[][..]),
        ("hour", hour, 0, 23, &[][..]),
        ("day of month", day, 1, 31, &[][..]),
        ("month", month, 1, 12, &MONTHS[..]),
        ("day of week", weekday, 0, 7, &DAYS[..]),
    ];
    let bad = checks.into_iter().find(|(_, field, from, to, names)| !field_ok(field, *from, *to, names));
    bad.map(|(name, field, from, to, _)| {
        format!("`{field}` is no {name}: write {from} to {to}, `*`, ranges `a-b`, lists `a,b` or steps `*/n`, `a-b/n`")
    })
}

/// Names stand alone: "ranges or lists of names are not allowed" (crontab(5)).
fn field_ok(field: &str, from: u32, to: u32, names: &[&str]) -> bool {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u32>().ok().filter(|n| digits && (from..=to).contains(n))
    };
    let part = |part: &str| {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let step_ok = step
            .is_none_or(|s| s.bytes().all(|b| b.is_ascii_digit()) && s.parse().is_ok_and(|n| (1..=to).contains(&n)));
        let range_ok = match range.split_once('-') {
            Some((a, b)) => number(a).zip(number(b)).is_some_and(|(a, b)| a <= b),
            None => range == "*" || (step.is_none() && number(range).is_some()),
        };
        range_ok && step_ok
    };
    names.iter().any(|name| field.eq_ignore_ascii_case(name)) || field.split(',').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_checked() {
        for good in [
            "* * * * *",
            "0 0 1 1 0",
            "59 23 31 12 7",
            "*/5 8-18 * * 1-5",
            "0,30 8-18/2 1,15 jan Sun",
            "@daily",
            "0  3\t* * mon",
        ] {
            assert_eq!(schedule_problem(good), None, "{good}");
        }
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "-1 * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "5/2 * * * *",
            "1,,2 * * * *",
            "* * * jan-mar *",
            "* * * * mon,tue",
            "@often",
            "* * * foo *",
            "*/ * * * *",
            "+1 * * * *",
            "1\n* * * *",
            "*/60 * * * *",
            "~ * * * *",
        ] {
            assert!(schedule_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn the_file_says_what_was_meant() {
        let spec = json!({ "name": "b", "schedule": "0  3 * * mon", "user": "frida", "command": "date +%F > /tmp/x",
            "environment": { "MAILTO": "", "X": "say \"hi\"" } });
        let spec: Spec = serde_json::from_value(spec).unwrap();
        assert_eq!(Cron::problems(&spec), Vec::<String>::new());
        let lines = "MAILTO=\"\"\nX='say \"hi\"'\n0 3 * * mon frida date +\\%F > /tmp/x\n";
        assert_eq!(text(&spec), format!("# Written by weiche (cron b): changes are taken for drift.\n{lines}"));
    }

    #[test]
    fn impossible_specs_are_refused() {
        for more in [
            json!({ "name": "a.b" }),
            json!({ "file": "x~" }),
            json!({ "command": "printf \\%s" }),
            json!({ "command": "a\nb" }),
            json!({ "command": "x".repeat(999) }),
            json!({ "user": "0" }),
            json!({ "environment": { "A-B": "1" } }),
            json!({ "environment": { "A": "\"'" } }),
            json!({ "state": "absent" }),
        ] {
            let mut spec = json!({ "name": "n", "schedule": "@daily", "command": "true" });
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert_eq!(Cron::problems(&serde_json::from_value(spec).unwrap()).len(), 1, "{more}");
        }
    }
}
