//! The last words of a unit that did not start, from systemd-journald.

use serde_json::Value;

use crate::host::Command;
use crate::resource::Cx;

/// Lines of a unit that are looked at, and how many of them are told.
const LOOKED_AT: &str = "50";
const TOLD: usize = 5;

/// What the unit's own programs said last in this invocation; if they said nothing, what systemd says of the unit.
/// `None` if there is no journal to ask.
pub(super) fn last(name: &str, invocation: Option<&str>, cx: &mut Cx<'_>) -> Option<String> {
    // What a program wrote and what systemd says of its end reach the journal by different ways.
    let _ = cx.host.run(&Command::reading(["journalctl", "--sync"]));
    let fields = "--output-fields=MESSAGE,_PID,INVOCATION_ID,_SYSTEMD_INVOCATION_ID";
    let argv = ["journalctl", "-u", name, "-o", "json", fields, "-n", LOOKED_AT, "--no-pager", "-q"];
    let output = cx.host.run(&Command::reading(argv)).ok().filter(|output| output.ok())?;
    let lines = told(&output.stdout, invocation);
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// A line of a program that ended at once may lack the invocation (its control group is gone when journald looks), so
/// the invocation is what follows its first line, and a unit's own lines are those that are not of process 1.
fn told(entries: &str, invocation: Option<&str>) -> Vec<String> {
    let entries: Vec<Value> = entries.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let is = |entry: &Value, field: &str| invocation.is_some() && entry[field].as_str() == invocation;
    let since = entries.iter().position(|entry| is(entry, "INVOCATION_ID") || is(entry, "_SYSTEMD_INVOCATION_ID"));
    let entries = &entries[since.unwrap_or(0)..];
    let own = |entry: &&Value| entry["_PID"] != "1";
    let some = entries.iter().any(|entry| own(&entry));
    let lines: Vec<String> = entries.iter().filter(|entry| !some || own(entry)).filter_map(message).collect();
    lines[lines.len().saturating_sub(TOLD)..].to_vec()
}

/// systemd.journal-fields(7): what is no text is a list of bytes.
fn message(entry: &Value) -> Option<String> {
    let text = match &entry["MESSAGE"] {
        Value::String(text) => text.trim().to_owned(),
        Value::Array(bytes) => {
            let bytes = bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect::<Vec<u8>>();
            String::from_utf8_lossy(&bytes).trim().to_owned()
        }
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"MESSAGE":"an old quarrel","_PID":"7","_SYSTEMD_INVOCATION_ID":"a"}"#;
    const STARTING: &str = r#"{"MESSAGE":"Starting it...","_PID":"1","INVOCATION_ID":"b"}"#;
    const FAILED: &str = r#"{"MESSAGE":"Failed to start it.","_PID":"1","INVOCATION_ID":"b"}"#;

    #[test]
    fn a_program_that_ended_before_it_was_looked_at_is_heard() {
        let own = r#"{"MESSAGE":"it: the port is taken","_PID":"9"}"#;
        let journal = [OLD, STARTING, own, FAILED].join("\n");
        assert_eq!(told(&journal, Some("b")), ["it: the port is taken"]);
        let bytes = r#"{"MESSAGE":[105,116,58,32,255],"_PID":"9","_SYSTEMD_INVOCATION_ID":"b"}"#;
        assert_eq!(told(&[OLD, bytes, FAILED].join("\n"), Some("b")), ["it: \u{fffd}"]);
    }

    #[test]
    fn systemd_speaks_for_a_unit_that_said_nothing() {
        assert_eq!(told(&[OLD, STARTING, FAILED].join("\n"), Some("b")), ["Starting it...", "Failed to start it."]);
        assert_eq!(told("-- No entries --\n", Some("b")), Vec::<String>::new());
        let many = vec![STARTING; 20].join("\n");
        assert_eq!(told(&many, None).len(), TOLD);
    }
}
