//! What makes a host that comes up look for changes that nobody has confirmed: two constant units of systemd, or a line
//! of cron. They are there only while a guard is armed.
//!
//! Which paths were made stands in the state directory ahead of making them, so that no more is removed. Hosts with a
//! root directory never come up; there `weiche-agent guard --boot early` is called by hand.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::fault::{Fault, FaultCode};
use crate::host::{Attributes, FileType, Host};
use crate::journal::{self, Journal};

/// The agent's own second name: nobody tidies it away, and no other build takes its place.
const PROGRAM: &str = "guard/weiche-agent";

/// The paths that were made, one a line, in the order of making.
const MADE: &str = "guard/made";

const UNITS: &str = "/etc/systemd/system";
const CRON: &str = "/etc/cron.d/weiche-guard";

/// Sees to it that the next boot will look.
///
/// # Errors
/// `Unsupported` if the host has neither systemd nor cron, or its state directory an odd path; those of the host.
pub(super) fn install(host: &mut dyn Host) -> Result<(), Fault> {
    if host.rehearsal() { Ok(()) } else { make(host) }
}

/// Removes it all once no guard is armed any more. If that fails it is the next one's to do, or the next boot's: what is
/// confirmed is confirmed, and what was taken back was.
///
/// # Errors
/// `Crashed` alone.
pub(super) fn settle(host: &mut dyn Host) -> Result<(), Fault> {
    match remove(host) {
        Err(fault) if fault.code == FaultCode::Crashed => Err(fault),
        _ => Ok(()),
    }
}

fn remove(host: &mut dyn Host) -> Result<(), Fault> {
    if host.state_open(MADE)?.is_none() {
        return Ok(());
    }
    for run in journal::runs(host)? {
        // A journal that cannot be read may hold an armed guard.
        if Journal::open(&run, host).map_or(true, |journal| !journal.armed().is_empty()) {
            return Ok(());
        }
    }
    for path in made(host)?.into_iter().rev().map(PathBuf::from) {
        host.sweep(&path)?;
        let goes = match host.lstat(&path)?.map(|meta| meta.file_type) {
            None => false,
            // Of others by now, if there is something in it.
            Some(FileType::Directory) => host.read_dir(&path)?.is_empty(),
            Some(_) => true,
        };
        if goes {
            host.remove(&path)?;
        }
    }
    host.sync()?;
    host.state_remove("guard")
}

/// A thing that is made.
enum Thing {
    Directory,
    File(String),
    Link(&'static str),
}

fn make(host: &mut dyn Host) -> Result<(), Fault> {
    let systemd = there(host, "/run/systemd/system")?;
    let cron = there(host, "/etc/cron.d")? && (there(host, "/usr/sbin/cron")? || there(host, "/usr/sbin/crond")?);
    if !systemd && !cron {
        let message = "nothing on this host could take the stage back after a reboot: it has neither systemd nor cron";
        return Err(Fault::new(FaultCode::Unsupported, message).hint("install cron, or do without the guard here"));
    }
    let (program, state) = (host.state_path(PROGRAM)?, host.state_path("guard")?);
    let (program, state) = (plain(&program)?, plain(state.parent().unwrap_or(&state))?);
    let things = if systemd { units(&program, &state) } else { line_of_cron(&program, &state) };
    let mut paths = made(host)?;
    for (path, thing) in &things {
        let ours = !matches!(thing, Thing::Directory) || !there(host, path)?;
        if ours && !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    host.keep_program(PROGRAM)?;
    host.state_write(MADE, &mut paths.iter().map(|path| format!("{path}\n")).collect::<String>().as_bytes())?;
    host.sync()?;
    let meta = |mode| Attributes { mode: Some(mode), uid: Some(0), gid: Some(0), ..Attributes::default() };
    for (path, thing) in things {
        let path = Path::new(&path);
        match thing {
            Thing::Directory if host.lstat(path)?.is_some() => {}
            Thing::Directory => host.make_dir(path, &meta(0o755))?,
            Thing::File(text) => host.write(path, &mut text.as_bytes(), &meta(0o644))?,
            Thing::Link(target) => host.symlink(path, Path::new(target), &Attributes::default())?,
        }
    }
    host.sync()
}

fn there(host: &mut dyn Host, path: &str) -> Result<bool, Fault> {
    Ok(host.lstat(Path::new(path))?.is_some())
}

fn made(host: &mut dyn Host) -> Result<Vec<String>, Fault> {
    let mut text = String::new();
    if let Some(reader) = host.state_open(MADE)? {
        reader.take(4096).read_to_string(&mut text).map_err(|e| Fault::io("read guard/made", &e))?;
    }
    Ok(text.lines().map(str::to_owned).collect())
}

/// A path that means itself in a unit and in a line of a shell.
fn plain(path: &Path) -> Result<String, Fault> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    match path.to_str() {
        Some(text) if text.bytes().all(ok) => Ok(text.to_owned()),
        _ => {
            let message = format!("no unit can name the state directory {path:?}");
            Err(Fault::new(FaultCode::Unsupported, message).hint("give the host another `directory`"))
        }
    }
}

/// systemd.unit(5). The first runs ahead of all that reads configuration or the network; env(1) is there for SELinux,
/// which lets no service begin in a state directory. The second waits until everything runs, and tries again.
fn units(program: &str, state: &str) -> Vec<(String, Thing)> {
    let (early, late) = ("weiche-guard.service", "weiche-guard-late.service");
    let condition = format!("ConditionPathExists={program}\nRequiresMountsFor={state}\n");
    let command = |phase: &str| format!("ExecStart=/usr/bin/env {program} guard --boot {phase} --state {state}\n");
    let early_text = format!(
        "[Unit]\nDescription=Takes back changes that nobody has confirmed: files\nDefaultDependencies=no\n{condition}\
         Wants=network-pre.target\nAfter=local-fs.target\nBefore=network-pre.target sysinit.target shutdown.target\n\
         Conflicts=shutdown.target\n\n[Service]\nType=oneshot\nTimeoutStartSec=600\n{}",
        command("early")
    );
    let late_text = format!(
        "[Unit]\nDescription=Takes back changes that nobody has confirmed: the rest\n{condition}\
         After=multi-user.target {early}\nStartLimitIntervalSec=7200\nStartLimitBurst=20\n\n\
         [Service]\nType=simple\nRestart=on-failure\nRestartSec=30\n{}",
        command("late")
    );
    let wanted = |target: &str| (format!("{UNITS}/{target}.target.wants"), Thing::Directory);
    vec![
        wanted("sysinit"),
        wanted("multi-user"),
        (format!("{UNITS}/{early}"), Thing::File(early_text)),
        (format!("{UNITS}/{late}"), Thing::File(late_text)),
        (format!("{UNITS}/sysinit.target.wants/{early}"), Thing::Link("../weiche-guard.service")),
        (format!("{UNITS}/multi-user.target.wants/{late}"), Thing::Link("../weiche-guard-late.service")),
    ]
}

/// crontab(5). The paths are plain: there is nothing in them that a shell would read otherwise.
fn line_of_cron(program: &str, state: &str) -> Vec<(String, Thing)> {
    let run = |phase: &str| format!("{program} guard --boot {phase} --state {state}");
    let (early, late) = (run("early"), run("late"));
    let text = format!("# Takes back changes that nobody has confirmed.\n@reboot root {early} ; {late}\n");
    vec![(CRON.to_owned(), Thing::File(text))]
}

#[cfg(test)]
mod tests;
