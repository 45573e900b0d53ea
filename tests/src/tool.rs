//! Programs of the machine that the harness itself uses, such as `ip` and `ssh-keygen`.
//!
//! They are looked up in [`PATH`], so that a user without `sbin` directories in the environment finds them too.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where programs are looked up, on the machine and inside hosts.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Prepares a program without standard input.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", PATH).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// Runs a program to its end and returns its stdout.
///
/// # Errors
///
/// The command line and what the program said, if it cannot be started or does not succeed.
pub(crate) fn try_run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&said).trim_end()))
}

/// Runs a program that must succeed and returns its stdout.
pub(crate) fn run<I, S>(program: &str, arguments: I) -> String
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    try_run(command(program).args(arguments)).unwrap_or_else(|error| panic!("{error}"))
}

/// Finds a program in [`PATH`].
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    PATH.split(':').map(|dir| Path::new(dir).join(program)).find(|path| path.exists())
}

/// Makes an ed25519 key pair at `path` and `path.pub`, without passphrase, and returns `ssh-ed25519 AAAA...`.
pub(crate) fn keygen(path: &Path, comment: &str) -> String {
    let public = path.with_added_extension("pub");
    for old in [path, &public] {
        let _ = std::fs::remove_file(old);
    }
    run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", text(path)]);
    let line = std::fs::read_to_string(&public).unwrap_or_else(|error| panic!("{}: {error}", public.display()));
    let mut words = line.split_whitespace();
    match (words.next(), words.next()) {
        (Some(kind), Some(key)) => format!("{kind} {key}"),
        _ => panic!("{}: not a public key", public.display()),
    }
}

/// A path as text; the harness makes all its paths itself, below a temporary or a target directory.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_else(|| panic!("{} is not UTF-8", path.display()))
}
