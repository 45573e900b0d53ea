//! Programs that outlive the agent that started them.
//!
//! An agent that is killed takes no program with it, and an `apt-get` must not be killed half-way for nothing. So while
//! a program that may change the host runs, a note in the state directory names its process group; the next agent that
//! takes the lock lets it end, up to the deadline it was given, before it looks at what it has to take back. Only a guard,
//! whose deadline is the host's, ends programs and the agent that holds the lock (whose file names it) at once.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal, test_kill_process_group,
};
use rustix::time::{ClockId, clock_gettime};

use super::super::Command;
use crate::fault::{Fault, FaultCode};

/// Its name in the state directory: `BOOT GROUP START DEADLINE PROGRAM`.
const NOTE: &str = "program";

/// Says that a program runs; taken back when dropped.
#[derive(Debug)]
pub(super) struct Note(PathBuf);

impl Note {
    /// Best effort: on a full disk the program runs without it.
    pub(super) fn write(dir: &Path, leader: u32, command: &Command) -> Note {
        let path = dir.join(NOTE);
        let deadline = now_ms().saturating_add(u64::try_from(command.timeout.as_millis()).unwrap_or(u64::MAX));
        let program = command.argv.first().map_or("", String::as_str);
        let started = started(leader).unwrap_or_default();
        let _ = fs::write(&path, format!("{} {leader} {started} {deadline} {program}\n", boot()));
        Note(path)
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Waits for a program that a killed agent left running, and kills it when its deadline has passed.
///
/// # Errors
/// `Busy` if it still runs after `patience`.
pub(super) fn outlast(dir: &Path, patience: Duration) -> Result<(), Fault> {
    let path = dir.join(NOTE);
    let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
    let begin = Instant::now();
    while let Some(left) = Left::running(&text) {
        if now_ms() >= left.deadline_ms {
            // ESRCH means that it ended just now.
            let _ = kill_process_group(left.group, Signal::KILL);
        }
        if begin.elapsed() >= patience {
            let message = format!("`{}`, started by an agent that was killed, still runs on the host", left.program);
            return Err(Fault::new(FaultCode::Busy, message).hint("wait for it to end, or end it on the host"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    let _ = fs::remove_file(&path);
    Ok(())
}

/// Ends a program that an agent left running.
pub(super) fn end_program(dir: &Path) {
    let text = fs::read_to_string(dir.join(NOTE)).unwrap_or_default();
    if let Some(left) = Left::running(&text) {
        // ESRCH means that it ended just now.
        let _ = kill_process_group(left.group, Signal::KILL);
    }
}

/// This process, as a lock's file names its holder: `BOOT PID START`.
pub(super) fn myself() -> String {
    let pid = std::process::id();
    format!("{} {pid} {}\n", boot(), started(pid).unwrap_or_default())
}

/// Ends the agent that a lock's file names, if it is still that process.
pub(super) fn end_holder(lock: &Path) {
    let text = fs::read_to_string(lock).unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    let [boot_id, pid, start] = words[..] else { return };
    let Some(raw) = pid.parse().ok().filter(|pid| *pid > 1 && boot_id == boot()) else { return };
    // What is compared after this is the process that the descriptor is of.
    let Some(Ok(process)) = Pid::from_raw(raw).map(|pid| pidfd_open(pid, PidfdFlags::empty())) else { return };
    if started(raw.unsigned_abs()).as_deref() == Some(start) {
        let _ = pidfd_send_signal(&process, Signal::KILL);
    }
}

/// What a note says of a group that is still there.
struct Left<'a> {
    group: Pid,
    deadline_ms: u64,
    program: &'a str,
}

impl Left<'_> {
    fn running(note: &str) -> Option<Left<'_>> {
        let mut words = note.trim_end().splitn(5, ' ');
        let (boot_id, leader) = (words.next()?, words.next()?.parse::<u32>().ok()?);
        let (start, deadline_ms) = (words.next()?, words.next()?.parse().ok()?);
        let group = Pid::from_raw(i32::try_from(leader).ok()?)?;
        // As long as a group has members its number is nobody else's; a leader that started later is another one.
        let reused = started(leader).is_some_and(|now| now != start);
        let there = boot_id == boot() && !reused && test_kill_process_group(group).is_ok();
        there.then(|| Left { group, deadline_ms, program: words.next().unwrap_or("a program") })
    }
}

/// When a process started, in ticks after boot: field 22 of proc_pid_stat(5), the 20th behind the name.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// A clock that all processes of a boot share and nobody sets.
fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}
