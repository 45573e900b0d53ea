//! Runs programs: argument vector, a small fixed environment, bounded output, a deadline that ends the whole process
//! group.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal};

use super::super::{Command, Output};
use super::orphan;
use crate::fault::{Fault, FaultCode};

/// The directories that programs are looked for in; root's environment may be anything.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of standard error is kept, from its end.
const STDERR_TAIL: usize = 64 << 10;

/// Runs a program to its end. While one that may change the host runs, `left` (the state directory) says so, in case
/// this agent is killed.
pub(super) fn run(command: &Command, left: Option<&Path>) -> Result<Output, Fault> {
    let (program, arguments) =
        command.argv.split_first().ok_or_else(|| Fault::new(FaultCode::Invalid, "a command needs a program"))?;
    let mut child = std::process::Command::new(program)
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
    let stdout = child.stdout.take().map(|pipe| collect(pipe, Output::MAX, false));
    let stderr = child.stderr.take().map(|pipe| collect(pipe, STDERR_TAIL, true));
    if let Some(mut stdin) = child.stdin.take() {
        let bytes = command.stdin.clone();
        // A program that does not read its input is no fault; the thread ends with the pipe.
        thread::spawn(move || stdin.write_all(&bytes));
    }
    let note = left.map(|dir| orphan::Note::write(dir, child.id(), command));
    let status = wait(child, command)?;
    drop(note);
    // What the program left running may keep the pipes open; its output after the end is nobody's.
    let text = |pipe: Option<mpsc::Receiver<Vec<u8>>>| {
        let bytes = pipe.and_then(|p| p.recv_timeout(std::time::Duration::from_secs(2)).ok()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(Output { status, stdout: text(stdout), stderr: text(stderr) })
}

fn wait(mut child: Child, command: &Command) -> Result<ExitStatus, Fault> {
    let name = command.argv.join(" ");
    let group = Pid::from_child(&child);
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait()));
    match ended.recv_timeout(command.timeout) {
        Ok(status) => status.map_err(|e| Fault::io(format_args!("wait for `{name}`"), &e)),
        Err(_) => {
            // ESRCH means that it ended just now; the deadline has passed all the same.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
            let _ = ended.recv();
            let message = format!("`{name}` did not end within {:?} and was killed", command.timeout);
            Err(Fault::new(FaultCode::Timeout, message))
        }
    }
}

/// Reads a pipe to its end in a thread, keeping the first (or last) `bound` bytes.
fn collect(mut pipe: impl Read + Send + 'static, bound: usize, tail: bool) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut chunk = [0; 16 << 10];
        while let Ok(n) = pipe.read(&mut chunk) {
            if n == 0 {
                break;
            }
            if tail || kept.len() < bound {
                kept.extend_from_slice(&chunk[..n]);
            }
            if kept.len() > bound {
                if tail { drop(kept.drain(..kept.len() - bound)) } else { kept.truncate(bound) }
            }
        }
        let _ = sender.send(kept);
    });
    receiver
}
