//! rsync(1) over SSH: its arguments, how it ends, what it prints. The other side is a "single-use daemon over a remote
//! shell" (rsync(1)), which the key there forces: it can do nothing but read one directory.

use std::time::Duration;

use super::feed::file;
use super::{Follows, Owners, delete};
use crate::facts::rsync;
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Output};
use crate::resource::Cx;

/// The first version that can be told to stop and go on later (`--stop-after`).
const OLDEST: [u32; 3] = [3, 2, 3];

/// Which copy is made.
#[derive(Clone, Debug, Default)]
pub(super) struct Round<'a> {
    /// Limit in bytes a second.
    pub(super) limit: Option<u64>,
    /// What has come of a file is kept for the next round if this one is cut off.
    pub(super) partial: bool,
    /// Only these names, NUL behind each, and nothing is deleted; else all.
    pub(super) names: Option<&'a [u8]>,
    /// So many entries may be deleted.
    pub(super) deletes: u64,
    /// Over a connection that others of the same mirror use as well, for a minute: what users wait for.
    pub(super) shared: bool,
    /// More options.
    pub(super) more: &'a [&'a str],
}

impl Round<'_> {
    /// Whether nothing is changed.
    pub(super) fn looks(&self) -> bool {
        self.more.iter().any(|word| matches!(*word, "-n" | "--list-only"))
    }
}

/// How a program ended that may be tried again.
pub(super) enum End {
    /// It is through.
    Through(Output),
    /// It was told to stop after a while.
    Stopped(Output),
    /// The other host is not to be reached, or not any more.
    Cut(Fault, Output),
}

/// All words; the first is `rsync`.
pub(super) fn argv(name: &str, follows: &Follows, round: &Round<'_>) -> Vec<String> {
    let mut words: Vec<String> = vec!["rsync".into(), "-aHAXS".into(), "--exclude=/lost+found".into()];
    // To the nanosecond: else a file that is written twice within a second counts as the one that was brought before.
    words.push("--modify-window=-1".into());
    let mut flag = |set: bool, word: String| words.extend(set.then_some(word));
    flag(round.names.is_none(), "--delete".into());
    // Without a bound a look would tell all that is to go.
    let most = i32::try_from(round.deletes).unwrap_or(i32::MAX);
    flag(round.names.is_none() && !round.looks(), format!("--max-delete={most}"));
    flag(round.names.is_some(), "--from0".into());
    flag(round.names.is_some(), "--files-from=-".into());
    flag(follows.owners == Owners::Number, "--numeric-ids".into());
    flag(round.partial, "--partial-dir=.weiche-partial".into());
    flag(round.limit.is_some(), format!("--bwlimit={}", round.limit.unwrap_or_default().div_ceil(1024)));
    words.extend(round.more.iter().map(|&word| word.to_owned()));
    let of = &follows.of;
    // One word that rsync takes apart at blanks: there are none in it but ours.
    words.push("-e".into());
    let shared = if round.shared { format!("{} ", sharing(name)) } else { String::new() };
    words.push(format!(
        "ssh {shared}-F none -i {} -p {} -l {} -o IdentitiesOnly=yes -o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null \
         -o StrictHostKeyChecking=yes -o BatchMode=yes -o ConnectTimeout=5 -o ServerAliveInterval=5 \
         -o ServerAliveCountMax=3",
        file(name, "key"),
        of.port,
        of.user,
        file(name, "known_hosts")
    ));
    let address = if of.address.contains(':') { format!("[{}]", of.address) } else { of.address.clone() };
    words.push(format!("{address}::data/"));
    words.push(format!("{}/", follows.path));
    words
}

/// One connection for several programs, see ssh_config(5).
fn sharing(name: &str) -> String {
    format!("-o ControlMaster=auto -o ControlPersist=60s -o ControlPath=/run/weiche-mirror-{name}")
}

/// Closes a shared connection, if there is one.
///
/// # Errors
/// `Crashed` only.
pub(super) fn close(name: &str, follows: &Follows, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let path = format!("/run/weiche-mirror-{name}");
    if cx.host.lstat(path.as_ref())?.is_none() {
        return Ok(());
    }
    let path = format!("ControlPath={path}");
    match cx
        .host
        .run(&Command::changing(["ssh", "-F", "none", "-o", &path, "-O", "exit", &follows.of.address], cx.timeout))
    {
        Err(fault) if fault.code == FaultCode::Crashed => Err(fault),
        // It ends by itself within a minute.
        _ => Ok(()),
    }
}

/// Runs it to its end.
///
/// # Errors
/// `Timeout`; `CommandFailed` with what it said, if another try would end the same way.
pub(super) fn run(
    name: &str,
    follows: &Follows,
    round: &Round<'_>,
    timeout: Duration,
    cx: &mut Cx<'_>,
) -> Result<End, Fault> {
    let argv = argv(name, follows, round);
    let (stdin, effect) = (round.names.unwrap_or_default().to_vec(), !round.looks());
    let command = Command { stdin, timeout, effect, ..Command::reading(argv) };
    let output = cx.host.run(&command).map_err(|fault| match fault.code {
        FaultCode::NotFound => missing(),
        _ => fault,
    })?;
    end(output, &follows.of.address)
}

/// From the exit status: rsync(1), "EXIT VALUES".
fn end(output: Output, address: &str) -> Result<End, Fault> {
    let said = output.stderr.trim();
    let refused = ["Permission denied (", "Host key verification failed", "@ERROR:"].iter().any(|no| said.contains(no));
    let fault = || {
        let tail = said.char_indices().nth_back(999).map_or(said, |(at, _)| &said[at..]);
        let message = format!("rsync from {address} ended with status {}", output.status);
        Fault::new(FaultCode::CommandFailed, tail).within(message)
    };
    // What users changed while it was read is for the next round.
    let busy = |line: &str| {
        let known = ["vanished", "failed verification", "(code 23)"].iter().any(|known| line.contains(known));
        known || delete::stopped(line)
    };
    match output.status {
        0 | 24 | delete::MUCH => Ok(End::Through(output)),
        23 if !said.is_empty() && said.lines().all(busy) => Ok(End::Through(output)),
        30 if said.contains("requested limit") => Ok(End::Stopped(output)),
        10 | 12 | 30 | 35 | 255 if !refused => Ok(End::Cut(fault(), output)),
        _ => Err(fault()),
    }
}

fn missing() -> Fault {
    Fault::new(FaultCode::Unsupported, "there is no `rsync` on this host")
        .hint("declare `package: { name: rsync }` before it")
}

/// Refuses, before anything changes, what would fail: programs, the key, the other host.
///
/// # Errors
/// `Unsupported`, `NotFound`: the playbook's author declares what is missing; `CommandFailed`: the other host does not
/// let this one in.
pub(super) fn check(name: &str, follows: &Follows, cx: &mut Cx<'_>) -> Result<(), Fault> {
    for needed in ["key", "known_hosts"].map(|needed| file(name, needed)) {
        if cx.host.lstat(needed.as_ref())?.is_none() {
            let fault = Fault::new(FaultCode::NotFound, format!("there is no {needed}"));
            return Err(fault.hint("declare a `file` resource for it before this one"));
        }
    }
    let Some(version) = rsync(cx.host) else { return Err(missing()) };
    if version < OLDEST {
        let message = format!("the `rsync` of this host has version {}.{}.{}", version[0], version[1], version[2]);
        return Err(Fault::new(FaultCode::Unsupported, message).hint("3.2.3 or newer is needed"));
    }
    cx.host.run(&Command::reading(["ssh", "-V"])).map_err(|fault| match fault.code {
        FaultCode::NotFound => Fault::new(FaultCode::Unsupported, "there is no `ssh` on this host")
            .hint("declare `package: { name: openssh-client }` before it"),
        _ => fault,
    })?;
    let top = Round { names: Some(b".\0"), more: &["-n", "--no-recursive"], ..Round::default() };
    // What is compared with is no matter, as long as it is there.
    let there = Follows { path: String::new(), ..follows.clone() };
    match run(name, &there, &top, Duration::from_secs(60), cx)? {
        End::Through(_) | End::Stopped(_) => Ok(()),
        End::Cut(fault, _) => Err(fault.hint("the other host needs `rsync`, the key and `rsyncd.conf` first")),
    }
}

/// How many bytes a round has brought: `--stats` if it is through, else the last number of `--info=progress2`.
pub(super) fn brought(output: &Output) -> u64 {
    let first = |text: &str| text.split_whitespace().next()?.replace(',', "").parse().ok();
    let last = || output.stdout.split(['\r', '\n']).filter(|part| part.contains('%')).filter_map(first).next_back();
    number(output, "Literal data:").or_else(last).unwrap_or(0)
}

/// How many files a round has brought, from `--stats`.
pub(super) fn files(output: &Output) -> u64 {
    number(output, "Number of regular files transferred:").unwrap_or(0)
}

/// A number of `--stats`.
pub(super) fn number(output: &Output, name: &str) -> Option<u64> {
    let line = output.stdout.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.replace(',', "").parse().ok()
}

/// The lines of `--out-format=%i %b %n`: what was done (rsync(1), `--itemize-changes`), bytes, and the name, in which
/// rsync writes all but printable ASCII as `\#ooo`.
pub(super) fn items(output: &Output) -> Vec<(&str, u64, &str)> {
    let item = |line| {
        let line: &str = line;
        // `*deleting  ` is padded, as all others are by nature.
        let (what, rest) = line.split_at_checked(11)?;
        let (bytes, name) = rest.strip_prefix(' ')?.split_once(' ')?;
        Some((what, bytes.parse().ok()?, name))
    };
    output.stdout.lines().filter_map(item).collect()
}

/// A name as bytes.
pub(super) fn unescaped(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let octal = behind.strip_prefix(b"#").and_then(|digits| std::str::from_utf8(digits.get(..3)?).ok());
        match octal.filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[4..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(status: i32, stdout: &str, stderr: &str) -> Output {
        Output { status, stdout: stdout.into(), stderr: stderr.into() }
    }

    #[test]
    fn what_rsync_prints_is_read() {
        let stats = "Number of regular files transferred: 1,204\nLiteral data: 12345678 bytes\n";
        assert_eq!((brought(&output(0, stats, "")), files(&output(0, stats, ""))), (12_345_678, 1204));
        let progress = "\r         32768   0%    0.00kB/s    0:00:00  \r    1048576   9%    1.00MB/s    0:00:10  ";
        assert_eq!(brought(&output(30, progress, "")), 1_048_576);
        assert_eq!(brought(&output(30, "", "")), 0);
        let deleted = output(0, "Number of deleted files: 1,013 (reg: 1,010, dir: 3)\n", "");
        assert_eq!(number(&deleted, "Number of deleted files:"), Some(1013));
        let lines = output(0, ">f+++++++++ 12 a b\n*deleting   0 x\n.d..t...... 0 ./\nodd\n", "");
        let expected = [(">f+++++++++", 12, "a b"), ("*deleting  ", 0, "x"), (".d..t......", 0, "./")];
        assert_eq!(items(&lines), expected);
        assert_eq!(unescaped("a\\#012b\\#134#x\\#377"), b"a\nb\\#x\xff");
    }

    #[test]
    fn only_a_line_that_is_cut_is_tried_again() {
        let cut = |status, stderr| end(output(status, "", stderr), "192.0.2.1");
        assert!(matches!(cut(0, ""), Ok(End::Through(_))));
        assert!(matches!(cut(24, "file has vanished: \"x\""), Ok(End::Through(_))));
        assert!(matches!(cut(30, "stopping at requested limit"), Ok(End::Stopped(_))));
        assert!(matches!(cut(255, "ssh: connect to host 192.0.2.1 port 22: No route to host"), Ok(End::Cut(..))));
        assert!(matches!(cut(12, "rsync: connection unexpectedly closed"), Ok(End::Cut(..))));
        assert!(cut(255, "root@192.0.2.1: Permission denied (publickey).").is_err());
        assert!(cut(255, "Host key verification failed.").is_err());
        assert!(cut(23, "rsync: mkstemp \"/srv/x\" failed: Permission denied (13)\n(code 23)").is_err());
        assert!(cut(11, "write failed: No space left on device (28)").is_err());
    }
}
