//! Other processes, as `/proc` shows them. Everything here tolerates that a process ends at any moment.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{io, thread};

use rustix::process::{Pid, Signal, kill_process};

/// Kills one process; one that is gone already is fine.
pub(crate) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Runs a program to its end, or kills it after so long: one that hangs is a failure that says so, and no test run that
/// never ends.
pub(crate) fn bounded(command: &mut Command, limit: Duration) -> io::Result<Output> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = child.id();
    let (ended, end) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let hangs = end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        if hangs {
            kill(pid);
        }
        hangs
    });
    let output = child.wait_with_output();
    drop(ended);
    let hangs = watch.join().unwrap_or(false);
    output.map(|mut output| {
        if hangs {
            output.stderr.extend(format!("\nit had not ended after {limit:?}, and was killed\n").into_bytes());
        }
        output
    })
}

/// Stops one process, or lets it go on.
pub(crate) fn hold(pid: u32, held: bool) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, if held { Signal::STOP } else { Signal::CONT });
    }
}

/// Whether a process exists and has not ended (a zombie has).
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(_, state, _)| state != "Z" && state != "X")
}

/// The name the kernel knows a process by (15 characters at most).
pub(crate) fn name(pid: u32) -> Option<String> {
    stat(pid).map(|(name, _, _)| name)
}

/// The arguments a process was started with.
pub(crate) fn arguments(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// All processes.
pub(crate) fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The children of a process, their children, and so on.
pub(crate) fn descendants(ancestor: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> =
        all().into_iter().filter_map(|pid| stat(pid).map(|(_, _, parent)| (pid, parent))).collect();
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// The processes whose environment, as they were started, has a variable that fulfils a condition.
pub(crate) fn with_variable(is_wanted: impl Fn(&str) -> bool) -> Vec<u32> {
    let has = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| std::str::from_utf8(variable).is_ok_and(&is_wanted))
    };
    all().into_iter().filter(has).collect()
}

/// The processes inside the network namespace that is kept at `path`.
pub(crate) fn inside(path: &Path) -> Vec<u32> {
    let Ok(wanted) = fs::metadata(path) else { return Vec::new() };
    let is_inside = |pid: &u32| {
        fs::metadata(format!("/proc/{pid}/ns/net"))
            .is_ok_and(|namespace| (namespace.dev(), namespace.ino()) == (wanted.dev(), wanted.ino()))
    };
    all().into_iter().filter(is_inside).collect()
}

/// Name, state and parent of a process; see `proc_pid_stat(5)`: the name is in parentheses and may contain any.
fn stat(pid: u32) -> Option<(String, String, u32)> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (start, rest) = line.rsplit_once(')')?;
    let (_, name) = start.split_once('(')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.to_owned();
    Some((name.to_owned(), state, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_killed_and_says_so() {
        let output = bounded(Command::new("sleep").arg("600"), Duration::from_millis(20)).unwrap();
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("had not ended after 20ms"), "{output:?}");
        let output = bounded(Command::new("echo").arg("here"), Duration::from_mins(1)).unwrap();
        assert!(output.status.success() && output.stdout == b"here\n" && output.stderr.is_empty(), "{output:?}");
    }
}
