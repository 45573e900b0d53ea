//! A cluster as Debian keeps it: pg_lsclusters(1) and pg_ctlcluster(1), its `start.conf`, its data directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fault::{Fault, FaultCode, shown};
use crate::host::{Attributes, Command, read_text};
use crate::resource::Cx;
use crate::resources::postgres::ask;

/// Between two looks.
const POLL: Duration = Duration::from_millis(30);

/// What follows the name of a data directory that was put aside for a copy.
const ASIDE: &str = ".weiche-aside";

/// The same for a copy that is on its way in or out.
const PART: &str = ".weiche-part";

/// A cluster, as it is now.
pub(in crate::resources) struct Cluster {
    /// `VERSION/NAME`.
    pub(in crate::resources) id: String,
    /// Whether its server runs.
    pub(in crate::resources) runs: bool,
    /// Whether its data are a standby's.
    pub(in crate::resources) standby: bool,
    /// The word in `start.conf`.
    pub(in crate::resources) starts: String,
    /// Where its data are.
    pub(in crate::resources) data: PathBuf,
    /// Whether data of its own were put aside for a copy.
    pub(in crate::resources) copied: bool,
}

/// How a server is stopped.
#[derive(Clone, Copy)]
pub(in crate::resources) enum Stop {
    /// All it has written goes to its standbys, the last record of its log included.
    Fast,
    /// As if its power failed: nothing more is written.
    Immediate,
}

impl Cluster {
    /// Finds it; `None` if there is none of this name, or no PostgreSQL.
    ///
    /// # Errors
    /// `Invalid` if there are several and the spec does not say which.
    pub(in crate::resources) fn find(name: Option<&String>, cx: &mut Cx<'_>) -> Result<Option<Cluster>, Fault> {
        let argv = ["pg_lsclusters", "--no-header", "--start-conf"].map(str::to_owned);
        let output = match cx.host.run(&Command::reading(argv.clone())) {
            Err(fault) if fault.code == FaultCode::NotFound => return Ok(None),
            output => output?.expect_ok(&argv)?,
        };
        let mut found = Vec::new();
        for line in output.stdout.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [version, cluster, _port, status, _owner, data, ..] = fields.as_slice() else { continue };
            let id = format!("{version}/{cluster}");
            if name.is_none_or(|name| *name == id) {
                found.push((id, (*status).to_owned(), PathBuf::from(data)));
            }
        }
        if found.len() > 1 {
            let names: Vec<&str> = found.iter().map(|(id, ..)| id.as_str()).collect();
            let message = format!("this host has several clusters: {}", names.join(", "));
            return Err(Fault::new(FaultCode::Invalid, message).hint("say with `cluster:` which is meant"));
        }
        let Some((id, status, data)) = found.pop() else { return Ok(None) };
        let words: Vec<&str> = status.split(',').collect();
        let starts = ["auto", "manual", "disabled"].into_iter().find(|word| words.contains(word)).unwrap_or("auto");
        let copied = cx.host.lstat(&beside(&data, ASIDE))?.is_some();
        Ok(Some(Cluster {
            runs: words.contains(&"online"),
            standby: words.contains(&"recovery"),
            starts: starts.to_owned(),
            id,
            data,
            copied,
        }))
    }

    /// Where data are put aside.
    pub(in crate::resources) fn aside(&self) -> PathBuf {
        beside(&self.data, ASIDE)
    }

    /// Where a copy grows, or is removed.
    pub(in crate::resources) fn part(&self) -> PathBuf {
        beside(&self.data, PART)
    }

    /// A program of this version.
    pub(in crate::resources) fn program(&self, name: &str) -> String {
        format!("/usr/lib/postgresql/{}/bin/{name}", self.id.split('/').next().unwrap_or_default())
    }

    /// Starts the server, unless it runs, and waits until it answers. What runs under systemd begins as soon as that is
    /// told to; pg_ctlcluster(1), which looks twice a second and again, ends two seconds later.
    ///
    /// # Errors
    /// `CommandFailed` if it does not run or answer then; the operator reads its log.
    pub(in crate::resources) fn start(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if self.runs {
            return Ok(());
        }
        let argv = ["systemctl", "start", "--no-block", &self.unit()].map(str::to_owned);
        // Twice, for systemd may not yet have noticed that it was stopped without it.
        for _ in 0..2 {
            match cx.host.run(&Command::changing(argv.clone(), cx.timeout)) {
                Err(fault) if fault.code == FaultCode::NotFound => self.control(&["start"], cx)?,
                output => drop(output?.expect_ok(&argv)?),
            }
            let end = end_of(cx.timeout, cx);
            while self.answers(cx)?.is_err() && self.begins(cx)? && cx.host.clock().boottime_ms < end {
                cx.host.pause(POLL);
            }
            self.look(cx)?;
            if self.runs {
                break;
            }
        }
        let log = format!("/var/log/postgresql/postgresql-{}.log says why", self.id.replace('/', "-"));
        if !self.runs {
            let message = format!("the cluster {} does not start", self.id);
            return Err(Fault::new(FaultCode::CommandFailed, message).hint(log));
        }
        until(cx.timeout, cx, |cx| Ok(self.answers(cx)?.map_err(|fault| fault.hint(log.clone()))))
    }

    fn answers(&self, cx: &mut Cx<'_>) -> Result<Result<(), Fault>, Fault> {
        Ok(ask::<u8>("SELECT 1;", "postgres", Some(&self.id), cx)?.map(|_| ()))
    }

    fn unit(&self) -> String {
        format!("postgresql@{}.service", self.id.replace('/', "-"))
    }

    /// Whether systemd is still at its start.
    fn begins(&self, cx: &mut Cx<'_>) -> Result<bool, Fault> {
        match cx.host.run(&Command::reading(["systemctl", "is-active", &self.unit()])) {
            Err(fault) if fault.code == FaultCode::NotFound => Ok(false),
            output => Ok(output?.stdout.trim() == "activating"),
        }
    }

    /// Stops the server, unless it is stopped.
    ///
    /// # Errors
    /// `CommandFailed` if it still runs then: a client or a standby holds it.
    pub(in crate::resources) fn stop(&mut self, how: Stop, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if self.runs {
            // To systemd a stop in the middle of a start is a signal to all, which waits for every client.
            let end = end_of(cx.timeout, cx);
            while self.begins(cx)? && cx.host.clock().boottime_ms < end {
                cx.host.pause(POLL);
            }
            match how {
                Stop::Fast => self.control(&["stop"], cx)?,
                // Through systemd it would be a fast one.
                Stop::Immediate => self.control(&["--skip-systemctl-redirect", "stop", "-m", "immediate"], cx)?,
            }
            self.look(cx)?;
        }
        if self.runs {
            let message = format!("the cluster {} does not stop", self.id);
            return Err(Fault::new(FaultCode::CommandFailed, message));
        }
        Ok(())
    }

    /// Has it read its configuration again.
    ///
    /// # Errors
    /// Those of pg_ctlcluster(1).
    pub(in crate::resources) fn reload(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if self.runs { self.control(&["reload"], cx) } else { Ok(()) }
    }

    /// Looks again.
    ///
    /// # Errors
    /// `NotFound` if it has gone.
    pub(in crate::resources) fn look(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let gone = || Fault::new(FaultCode::NotFound, "the cluster has gone");
        *self = Cluster::find(Some(&self.id), cx)?.ok_or_else(gone)?;
        Ok(())
    }

    /// Sets the word in `start.conf` (pg_createcluster(1)); the rest of the file stays.
    ///
    /// # Errors
    /// Those of the host.
    pub(in crate::resources) fn set_starts(&mut self, word: &str, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let path = Path::new("/etc/postgresql").join(&self.id).join("start.conf");
        cx.host.sweep(&path)?;
        if self.starts == word {
            return Ok(());
        }
        let text = read_text(cx.host, &path)?.unwrap_or_default();
        let lines = text.lines().map(|line| {
            let is_word = !line.trim().is_empty() && !line.trim_start().starts_with('#');
            if is_word { word } else { line }
        });
        let mut text: String = lines.flat_map(|line| [line, "\n"]).collect();
        if !text.lines().any(|line| line == word) {
            text.push_str(word);
            text.push('\n');
        }
        rewrite(&path, &text, None, cx)?;
        word.clone_into(&mut self.starts);
        Ok(())
    }

    fn control(&self, words: &[&str], cx: &mut Cx<'_>) -> Result<(), Fault> {
        let (version, name) = self.id.split_once('/').unwrap_or_default();
        let (options, action): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with("--"));
        let argv = [vec!["pg_ctlcluster"], options, vec![version, name], action].concat();
        run(&argv, cx)
    }
}

/// When a time that begins now is over, in milliseconds since the host's start.
fn end_of(time: Duration, cx: &mut Cx<'_>) -> u64 {
    cx.host.clock().boottime_ms.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Looks until it is as it should be, or `within` is over: then `fault` is said.
pub(in crate::resources) fn until(
    within: Duration,
    cx: &mut Cx<'_>,
    mut look: impl FnMut(&mut Cx<'_>) -> Result<Result<(), Fault>, Fault>,
) -> Result<(), Fault> {
    let end = end_of(within, cx);
    loop {
        match look(cx)? {
            Ok(()) => return Ok(()),
            Err(fault) if cx.host.clock().boottime_ms >= end => return Err(fault),
            Err(_) => cx.host.pause(POLL),
        }
    }
}

/// Runs a program that changes the host.
pub(in crate::resources) fn run(argv: &[&str], cx: &mut Cx<'_>) -> Result<(), Fault> {
    let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
    cx.host.run(&Command::changing(argv.clone(), cx.timeout))?.expect_ok(&argv).map(|_| ())
}

/// A file's text is replaced; owner, mode and time stay, or are those of a file of `like`'s owner. The time stays so
/// that a file that is taken back is the one that it was; that of a new one is always the same.
pub(in crate::resources) fn rewrite(
    path: &Path,
    text: &str,
    like: Option<&Path>,
    cx: &mut Cx<'_>,
) -> Result<(), Fault> {
    let missing = || Fault::new(FaultCode::NotFound, format!("there is no {}", shown(path)));
    let owner = match (cx.host.lstat(path)?, like) {
        (Some(meta), _) => meta.attributes,
        (None, None) => return Err(missing()),
        (None, Some(like)) => {
            let owner = cx.host.lstat(like)?.ok_or_else(missing)?.attributes;
            Attributes { mtime: Some((0, 0)), mode: Some(0o600), ..owner }
        }
    };
    let attributes = Attributes { xattrs: None, sparse: None, ..owner };
    cx.host.write(path, &mut text.as_bytes(), &attributes)
}

/// A path as an argument.
///
/// # Errors
/// `Invalid` if it is no UTF-8.
pub(in crate::resources) fn word(path: &Path) -> Result<&str, Fault> {
    path.to_str().ok_or_else(|| Fault::new(FaultCode::Invalid, format!("{} is no UTF-8", shown(path))))
}

fn beside(data: &Path, ending: &str) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
