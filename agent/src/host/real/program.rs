//! Runs programs: argument vector, a small fixed environment, bounded output, a deadline that ends the whole process
//! group.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::super::{Command, Output};
use super::orphan;
use crate::fault::{Fault, FaultCode};

/// The directories that programs are looked for in; root's environment may be anything.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of standard error is kept, from its end.
const STDERR_TAIL: usize = 64 << 10;

/// How long the pipes are read after the program's end: what it left running may keep them open, and its output is
/// nobody's.
const LINGER: Duration = Duration::from_secs(2);

/// Runs a program to its end. While one that may change the host runs, `left` (the state directory) says so, in case
/// this agent is killed.
pub(super) fn run(command: &Command, left: Option<&Path>) -> Result<Output, Fault> {
    let (program, arguments) =
        command.argv.split_first().ok_or_else(|| Fault::new(FaultCode::Invalid, "a command needs a program"))?;
    let child = std::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .envs([("PATH", PATH), ("LC_ALL", "C.UTF-8"), ("HOME", "/root"), ("DEBIAN_FRONTEND", "noninteractive")])
        .envs(command.env.iter().map(|(k, v)| (k, v)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| Fault::io(format_args!("start `{program}`"), &e))?;
    let note = left.map(|dir| orphan::Note::write(dir, child.id(), command));
    let mut talk = Talk::new(child, command).map_err(|e| Fault::io(format_args!("watch `{program}`"), &e))?;
    let status = talk.run_out(command)?;
    drop(note);
    let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    let text = |kept: &[u8]| String::from_utf8_lossy(kept).into_owned();
    Ok(Output { status, stdout: text(&talk.stdout.kept), stderr: text(&talk.stderr.kept) })
}

/// A program and its pipes, none of which is ever waited for alone: so neither side can block the other, and no thread
/// is needed.
struct Talk<'c> {
    child: Child,
    /// Readable once the program has ended.
    exit: OwnedFd,
    stdin: Option<ChildStdin>,
    input: &'c [u8],
    stdout: Collected<ChildStdout>,
    stderr: Collected<ChildStderr>,
}

impl<'c> Talk<'c> {
    fn new(mut child: Child, command: &'c Command) -> std::io::Result<Talk<'c>> {
        let exit = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        let stdin = child.stdin.take().filter(|_| !command.stdin.is_empty());
        if let Some(stdin) = &stdin {
            rustix::io::ioctl_fionbio(stdin, true)?;
        }
        let stdout = Collected::new(child.stdout.take(), Output::MAX, false)?;
        let stderr = Collected::new(child.stderr.take(), STDERR_TAIL, true)?;
        Ok(Talk { child, exit, stdin, input: &command.stdin, stdout, stderr })
    }

    /// Feeds and reads the program until it has ended, or its time has.
    fn run_out(&mut self, command: &Command) -> Result<ExitStatus, Fault> {
        let name = || command.argv.join(" ");
        let fault = |e: std::io::Error| Fault::io(format_args!("wait for `{}`", name()), &e);
        let mut until = Instant::now() + command.timeout;
        let mut status = None;
        loop {
            self.feed();
            self.stdout.read();
            self.stderr.read();
            if status.is_none() {
                status = self.child.try_wait().map_err(fault)?;
                if status.is_some() {
                    until = Instant::now() + LINGER;
                    continue;
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            match status {
                Some(status) if left.is_zero() || (self.stdout.pipe.is_none() && self.stderr.pipe.is_none()) => {
                    return Ok(status);
                }
                None if left.is_zero() => {
                    // ESRCH means that it ended just now; the deadline has passed all the same.
                    let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
                    let _ = self.child.wait();
                    let message = format!("`{}` did not end within {:?} and was killed", name(), command.timeout);
                    return Err(Fault::new(FaultCode::Timeout, message));
                }
                _ => self.wait(status.is_none(), left).map_err(fault)?,
            }
        }
    }

    fn wait(&self, running: bool, left: Duration) -> std::io::Result<()> {
        let mut watched = Vec::with_capacity(4);
        let pipes = [self.stdout.pipe.as_ref().map(AsFd::as_fd), self.stderr.pipe.as_ref().map(AsFd::as_fd)];
        watched.extend(pipes.into_iter().flatten().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        if running {
            watched.push(PollFd::new(&self.exit, PollFlags::IN));
            watched.extend(self.stdin.iter().map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
        }
        let left = Timespec::try_from(left).map_err(std::io::Error::other)?;
        match rustix::event::poll(&mut watched, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Writes as much input as the program takes now. A program that does not read its input is no fault.
    fn feed(&mut self) {
        while let Some(stdin) = &mut self.stdin {
            match stdin.write(self.input) {
                Ok(n) => self.input = &self.input[n..],
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.input = &[],
            }
            if self.input.is_empty() {
                self.stdin = None;
            }
        }
    }
}

/// The first (or last) `bound` bytes that came through a pipe.
struct Collected<P> {
    /// `None` after its end.
    pipe: Option<P>,
    kept: Vec<u8>,
    bound: usize,
    tail: bool,
}

impl<P: Read + AsFd> Collected<P> {
    fn new(pipe: Option<P>, bound: usize, tail: bool) -> std::io::Result<Collected<P>> {
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Collected { pipe, kept: Vec::new(), bound, tail })
    }

    /// Reads what is there now.
    fn read(&mut self) {
        let mut chunk = [0; 16 << 10];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(n) => self.keep(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.tail || self.kept.len() < self.bound {
            self.kept.extend_from_slice(bytes);
        }
        let surplus = self.kept.len().saturating_sub(self.bound);
        if self.tail { drop(self.kept.drain(..surplus)) } else { self.kept.truncate(self.bound) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        Command { timeout: Duration::from_secs(20), ..Command::reading(["sh", "-c", script]) }
    }

    #[test]
    fn input_and_both_outputs_larger_than_the_pipes_pass_through() {
        let stdin = vec![b'x'; 1 << 20];
        let command = Command { stdin, ..sh("cat; head -c 300000 /dev/zero | tr '\\0' e >&2; exit 3") };
        let output = run(&command, None).unwrap();
        assert_eq!((output.status, output.stdout.len()), (3, Output::MAX.min(1 << 20)));
        assert_eq!(output.stderr.len(), STDERR_TAIL);
    }

    #[test]
    fn input_that_is_not_read_is_no_fault() {
        let command = Command { stdin: vec![b'x'; 1 << 20], ..sh("echo done") };
        assert_eq!(run(&command, None).unwrap().stdout, "done\n");
    }

    #[test]
    fn what_outlives_the_program_is_not_waited_for() {
        let begin = Instant::now();
        let output = run(&sh("sleep 15 & echo done"), None).unwrap();
        assert_eq!(output.stdout, "done\n");
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }

    #[test]
    fn the_deadline_ends_the_whole_group() {
        let command = Command { timeout: Duration::from_millis(200), ..sh("sleep 60 | cat") };
        assert_eq!(run(&command, None).unwrap_err().code, FaultCode::Timeout);
    }
}
