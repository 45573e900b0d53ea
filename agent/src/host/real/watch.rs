//! The process that watches over a guard: how it is started, and how it is known that it runs.
//!
//! It holds a lock on `runs/RUN/watch.STAGE` as long as it lives. Where systemd runs the host it is a service of its own,
//! for a session takes all of its processes with it where `KillUserProcesses=` is set (logind.conf(5)); elsewhere it
//! makes itself a session.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::super::{Clock, Command};
use super::program;
use super::state::{StateDir, private};
use crate::fault::{Fault, FaultCode};
use crate::protocol::RunId;

/// How long a watch has to come up; a loaded host is slow.
const START: Duration = Duration::from_secs(20);

/// How long a watch waits for its lock: whoever looks whether it runs holds it for a moment.
const HOLD: Duration = Duration::from_secs(2);

/// The directory that is there while systemd runs the host (sd_booted(3)).
const SYSTEMD: &str = "/run/systemd/system";

pub(super) fn clock() -> Clock {
    let ms = |now: Timespec| {
        u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
    };
    Clock { boottime_ms: ms(clock_gettime(ClockId::Boottime)), wall_ms: ms(clock_gettime(ClockId::Realtime)) }
}

/// Starts the watch unless it runs, and returns once it does.
pub(super) fn start(state: &StateDir, root: &Path, simulate: bool, run: &RunId, stage: &str) -> Result<(), Fault> {
    let name = name(run, stage);
    if held(state, &name)? {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(|e| Fault::io("find the agent's program", &e))?;
    let root = root.canonicalize().map_err(|e| Fault::path("resolve", root, &e))?;
    let mut argv = vec![text(&program)?, "guard".into(), "--state".into(), text(state.path())?];
    if root != Path::new("/") {
        argv.extend(["--root".into(), text(&root)?]);
    }
    argv.extend(simulate.then(|| "--simulate".into()));
    argv.extend([run.to_string(), stage.to_owned()]);
    let mut child = if root == Path::new("/") && Path::new(SYSTEMD).is_dir() {
        service(run, stage, argv)?;
        None
    } else {
        Some(alone(&argv)?)
    };
    let begin = Instant::now();
    while !held(state, &name)? {
        let ended = child.as_mut().is_some_and(|child: &mut Child| child.try_wait().is_ok_and(|end| end.is_some()));
        if ended || begin.elapsed() > START {
            let fault = Fault::new(FaultCode::Unsupported, "the watch of the guard did not start on the host");
            return Err(fault.hint("see `journalctl -u 'weiche-guard-*'` there; nothing was changed"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// As a service that is restarted if something kills it, and forgotten when it has ended. env(1) is there for SELinux,
/// which lets no service begin in a state directory.
fn service(run: &RunId, stage: &str, argv: Vec<String>) -> Result<(), Fault> {
    let unit = format!("--unit=weiche-guard-{run}-{stage}-{}", std::process::id());
    let options = ["systemd-run", "--quiet", "--collect", "--property=Restart=on-abnormal", &unit, "/usr/bin/env"];
    let command = Command { timeout: START, ..Command::reading(options.into_iter().map(str::to_owned).chain(argv)) };
    let started = program::run(&command, None).and_then(|output| output.expect_ok(&command.argv));
    started.map(drop).map_err(|fault| fault.within("start the watch of the guard"))
}

/// As a child that outlives us.
fn alone(argv: &[String]) -> Result<Child, Fault> {
    std::process::Command::new(&argv[0])
        .args(&argv[1..])
        .env_clear()
        .env("PATH", program::PATH)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| Fault::io("start the watch of the guard", &e))
}

/// Makes this process the watch, out of reach of the session that it was started in; `None` if another one is it.
pub(super) fn hold(state: &StateDir, run: &RunId, stage: &str) -> Result<Option<File>, Fault> {
    // EPERM means that systemd has made it one already.
    let _ = rustix::process::setsid();
    let begin = Instant::now();
    loop {
        if let Some(file) = try_hold(state, &name(run, stage))? {
            return Ok(Some(file));
        }
        if begin.elapsed() > HOLD {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A further name of this program, or a copy where there cannot be one.
pub(super) fn keep_program(state: &StateDir, name: &str) -> Result<PathBuf, Fault> {
    let path = state.place(name)?;
    let part = path.with_extension("part");
    let _ = fs::remove_file(&part);
    let fault = |e: std::io::Error| Fault::path("write", &path, &e);
    let own = std::env::current_exe().map_err(fault)?;
    let copy = || fs::copy(&own, &part).and_then(|_| fs::set_permissions(&part, fs::Permissions::from_mode(0o700)));
    fs::hard_link(&own, &part).or_else(|_| copy()).map_err(fault)?;
    // Where both are names of one file the rename does nothing, and leaves both.
    fs::rename(&part, &path).map_err(fault)?;
    let _ = fs::remove_file(&part);
    Ok(path)
}

fn name(run: &RunId, stage: &str) -> String {
    format!("runs/{run}/watch.{stage}")
}

/// Whether a watch lives.
fn held(state: &StateDir, name: &str) -> Result<bool, Fault> {
    Ok(try_hold(state, name)?.is_none())
}

fn try_hold(state: &StateDir, name: &str) -> Result<Option<File>, Fault> {
    let path = state.place(name)?;
    let file = private(OpenOptions::new().write(true).create(true).truncate(false)).open(&path);
    let file = file.map_err(|e| Fault::path("open", &path, &e))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(Fault::path("lock", &path, &e.into())),
    }
}

fn text(path: &Path) -> Result<String, Fault> {
    let odd = || Fault::new(FaultCode::Unsupported, format!("the path {path:?} is no UTF-8"));
    path.to_str().map(str::to_owned).ok_or_else(odd)
}
