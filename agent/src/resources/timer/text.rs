//! The texts of a timer's two units: quoting as in systemd.service(5) ("COMMAND LINES") and systemd.unit(5)
//! ("SPECIFIERS").

use std::fmt::Write as _;

use super::Spec;
use crate::resources::account::name_problem;
use crate::resources::node::{Presence, path_problem};

pub(super) fn problems(spec: &Spec) -> Vec<String> {
    let mut problems = Vec::new();
    let ok = |b: u8| b.is_ascii_alphanumeric() || b":-_.".contains(&b);
    let name = &spec.name;
    let typed = [".service", ".timer"].iter().any(|ending| name.ends_with(ending));
    if name.is_empty() || name.starts_with(['-', '.']) || !name.bytes().all(ok) || name.len() > 200 || typed {
        problems.push(format!("`{name}` is no name of a timer: letters, digits, `-`, `_`, `.` and no ending"));
    }
    if spec.state == Presence::Absent {
        let more = spec.user.is_some() || spec.on_calendar.is_some() || spec.persistent;
        if more || !spec.command.is_empty() || spec.randomized_delay.is_some() || spec.description.is_some() {
            problems.push("an absent timer has nothing but its name".into());
        }
        return problems;
    }
    match spec.command.first() {
        None => problems.push("a timer needs `command: [program, ...]`".into()),
        Some(program) => {
            problems.extend(path_problem(program));
            if !program.bytes().all(plain) {
                problems.push(format!("the program `{program}` may have only letters, digits and `/._+:=,@-`"));
            }
        }
    }
    if spec.command.iter().any(|word| word.contains('\0')) {
        problems.push("`command` may not contain NUL".into());
    }
    problems.extend(spec.user.iter().filter_map(|user| name_problem("user", user)));
    match &spec.on_calendar {
        None => problems.push("a timer needs `on_calendar`, e.g. `Mon..Fri 02:30`".into()),
        Some(time) => problems.extend(words_problem("on_calendar", time, b" *:,./~-")),
    }
    problems.extend(spec.randomized_delay.iter().filter_map(|time| words_problem("randomized_delay", time, b" .")));
    if spec.description.as_ref().is_some_and(|text| text.chars().any(char::is_control) || text.ends_with('\\')) {
        problems.push("`description` must be one line without control characters".into());
    }
    problems
}

fn words_problem(key: &str, text: &str, marks: &[u8]) -> Option<String> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || marks.contains(&b);
    let bad = text.trim() != text || text.is_empty() || text.len() > 200 || !text.bytes().all(ok);
    bad.then(|| format!("`{text}` is no time that `{key}` can have: see systemd.time(7)"))
}

/// The texts of `NAME.service` and `NAME.timer`.
pub(super) fn both(spec: &Spec) -> [String; 2] {
    let told = spec.description.as_deref().unwrap_or(&spec.name).replace('%', "%%");
    let words: Vec<String> = spec.command.iter().map(|word| quoted(word)).collect();
    let mut service = format!("[Unit]\nDescription={told}\n\n[Service]\nType=oneshot\nExecStart={}\n", words.join(" "));
    if let Some(user) = &spec.user {
        let _ = writeln!(service, "User={user}");
    }
    let mut timer = format!(
        "[Unit]\nDescription={told}\n\n[Timer]\nOnCalendar={}\nPersistent={}\n",
        spec.on_calendar.as_deref().unwrap_or_default(),
        spec.persistent
    );
    if let Some(delay) = &spec.randomized_delay {
        let _ = writeln!(timer, "RandomizedDelaySec={delay}");
    }
    timer.push_str("\n[Install]\nWantedBy=timers.target\n");
    [service, timer]
}

fn plain(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"/._+:=,@-".contains(&b)
}

/// One word of `ExecStart=` that systemd reads as it is: `%` and `$` doubled, the rest quoted in the manner of C.
pub(crate) fn quoted(word: &str) -> String {
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '%' | '$' => text.extend([c, c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() && u32::from(c) < 0x80 => {
                let _ = write!(text, "\\x{:02x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(value: Value) -> Spec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn words_are_quoted_as_systemd_reads_them() {
        for (word, text) in [
            ("/usr/bin/a-b", "/usr/bin/a-b"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("100%", "\"100%%\""),
            ("$HOME", "\"$$HOME\""),
            ("a\"b\\c'", "\"a\\\"b\\\\c'\""),
            ("two\nlines\t\u{7}", "\"two\\nlines\\t\\x07\""),
            (";", "\";\""),
            ("grün", "\"grün\""),
        ] {
            assert_eq!(quoted(word), text);
        }
    }

    #[test]
    fn both_units_are_written() {
        let spec = spec(json!({
            "name": "x", "command": ["/bin/x", "a b"], "user": "www-data", "on_calendar": "daily",
            "randomized_delay": "5min", "description": "50% of it",
        }));
        assert_eq!(problems(&spec), Vec::<String>::new());
        let [service, timer] = both(&spec);
        assert_eq!(
            service,
            "[Unit]\nDescription=50%% of it\n\n[Service]\nType=oneshot\nExecStart=/bin/x \"a b\"\nUser=www-data\n"
        );
        assert_eq!(
            timer,
            "[Unit]\nDescription=50%% of it\n\n[Timer]\nOnCalendar=daily\nPersistent=false\nRandomizedDelaySec=5min\n\
             \n[Install]\nWantedBy=timers.target\n"
        );
    }

    #[test]
    fn impossible_specs_are_refused() {
        let base = json!({ "name": "x", "command": ["/bin/x"], "on_calendar": "daily" });
        for (key, value) in [
            ("name", json!("../x")),
            ("name", json!("x.timer")),
            ("name", json!("")),
            ("command", json!([])),
            ("command", json!(["x"])),
            ("command", json!(["/bin/x y"])),
            ("command", json!(["/bin/x", "\u{0}"])),
            ("on_calendar", json!("daily\nOnBootSec=1")),
            ("randomized_delay", json!("1;2")),
            ("description", json!("two\nlines")),
            ("user", json!("a b")),
            ("state", json!("absent")),
        ] {
            let mut value_of = base.clone();
            value_of[key] = value;
            assert!(!problems(&spec(value_of.clone())).is_empty(), "{value_of}");
        }
    }
}
