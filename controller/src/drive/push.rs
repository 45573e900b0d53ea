//! Starts the agent on a host with a single exec, and leaves it there if it is missing.
//!
//! The shell script is a constant; everything that varies reaches it as a quoted argument. It works in any POSIX `sh`,
//! and being one line without `'`, `!` and `\` the command also passes through csh and fish as login shells. The agent
//! lies in a directory that bears its digest and is put there by renaming, so what is executable is whole. It travels
//! compressed: gzip(1) is part of every Debian and Fedora.

use crate::drive::agent_binary::{AGENT_ARCH, AGENT_GZ, agent_digest};
use crate::drive::link::LinkError;
use crate::input::target::{Become, Target};

/// The line by which the script asks for the agent.
pub(super) const PUSH_MARKER: &str = "weiche-agent push";

/// Arguments: home, directory, digest, compressed size, machine type; the rest is the agent's.
const SCRIPT: &str = concat!(
    "home=$1; dir=$2; digest=$3; size=$4; arch=$5; shift 5; ",
    "case $dir in /*) ;; *) dir=$home/$dir;; esac; here=$dir/agent/$digest; bin=$here/weiche-agent; ",
    "if [ -x \"$bin\" ]; then exec \"$bin\" serve --state \"$dir\" \"$@\"; fi; ",
    // What the agent starts later must not inherit the strict mask.
    "mask=$(umask); umask 077; tmp=$here/.push.$$; ",
    "fail() { echo \"weiche-push: $*\" >&2; rm -f \"$tmp\"; exit 65; }; ",
    "have=$(uname -m); [ \"$have\" = \"$arch\" ] || fail machine \"$have\"; ",
    "mkdir -p \"$here\" && true >\"$tmp\" || fail directory; ",
    "echo \"weiche-agent push\"; ",
    "LC_ALL=C head -c \"$size\" | gzip -dc >\"$tmp\" || fail write; ",
    "[ \"$(sha256sum <\"$tmp\")\" = \"$digest  -\" ] || fail digest; ",
    "chmod 0700 \"$tmp\"; sync \"$tmp\" 2>/dev/null; mv -f \"$tmp\" \"$bin\" || fail directory; ",
    "[ -x \"$bin\" ] || fail noexec; ",
    // This one and the two newest others stay: a run may still have to be undone with the agent that began it.
    "n=0; for old in \"$dir\"/agent/*; do n=$((n+1)); done; [ $n -le 3 ] || ",
    "(cd \"$dir/agent\" && ls -t | tail -n +4 | while read -r old; do rm -rf \"./$old\"; done); ",
    "umask \"$mask\"; exec \"$bin\" serve --state \"$dir\" \"$@\"",
);

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// `sudo` wants a password.
    #[error("sudo wants a password")]
    SudoPassword,
    /// The user may not become root.
    #[error("sudo refuses ({0})")]
    SudoDenied(String),
    /// There is no `sudo`.
    #[error("there is no sudo")]
    SudoMissing,
    /// The agent's directory cannot be made or written.
    #[error("cannot write the agent's directory {directory} ({detail})")]
    Directory {
        /// As the fleet has it.
        directory: String,
        /// What the host said.
        detail: String,
    },
    /// Programs may not be run from the agent's directory.
    #[error("programs cannot be run from {0}: it is on a file system mounted noexec, or a policy forbids it")]
    NoExec(String),
    /// No space or quota left.
    #[error("the disk that holds {0} is full")]
    DiskFull(String),
    /// What arrived is not what was sent.
    #[error("the agent arrived damaged ({0})")]
    Damaged(String),
    /// Another machine type.
    #[error("the host is a {host}, but this weiche carries an agent for {AGENT_ARCH}")]
    OtherMachine {
        /// What `uname -m` says there.
        host: String,
    },
    /// The file under our digest is not our agent.
    #[error("the agent in {directory} is of build {build}")]
    OtherBuild {
        /// The agent's directory.
        directory: String,
        /// What it says of itself.
        build: String,
    },
    /// The login prints without end, or no agent answers.
    #[error("the login does not start the agent but prints `{0}`")]
    Noise(String),
    /// Anything else that ends the agent before its first line.
    #[error("{0}")]
    Ended(String),
    /// The line was cut.
    #[error(transparent)]
    Link(LinkError),
}

impl PushError {
    /// What the operator can do, if we know.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            PushError::SudoPassword | PushError::SudoDenied(_) => {
                "let the user become root without a password (`USER ALL=(root) NOPASSWD: ALL` by visudo), or log in as \
                 root with `become: none`"
            }
            PushError::SudoMissing => "install sudo, or log in as root with `become: none`",
            PushError::Directory { .. } => "choose another `agent: { directory: … }`, or `become: sudo`",
            PushError::NoExec(_) => "choose an `agent: { directory: … }` on a file system that is not mounted noexec",
            PushError::DiskFull(_) => "make room, or choose another `agent: { directory: … }`",
            PushError::OtherMachine { .. } => "run the weiche that was built for that machine type",
            PushError::OtherBuild { .. } => "someone changed it: remove its `agent` directory on the host",
            PushError::Noise(_) => "is its shell a real one? Let rc files print only for interactive logins",
            PushError::Damaged(_) => "try again; if it persists, check the host's disk",
            PushError::Ended(_) | PushError::Link(_) => return None,
        };
        Some(text.to_owned())
    }
}

/// The command for the one exec.
pub(super) fn command(target: &Target) -> String {
    let place = &target.agent;
    let size = AGENT_GZ.len().to_string();
    let mut arguments = vec![place.directory.as_str(), agent_digest().as_str(), &size, AGENT_ARCH];
    if let Some(root) = &place.root {
        arguments.extend(["--root", root]);
    }
    if place.simulate {
        arguments.push("--simulate");
    }
    // `sudo` changes HOME, but the directory is relative to the login's: the login shell expands it.
    let front = match target.r#become {
        Become::None => "exec sh",
        Become::Sudo => "exec env LC_ALL=C sudo -n -- sh",
    };
    let quoted: Vec<String> = arguments.into_iter().map(quote).collect();
    format!("{front} -c '{SCRIPT}' weiche \"$HOME\" {}", quoted.join(" "))
}

/// Quotes one argument for a POSIX shell.
fn quote(argument: &str) -> String {
    format!("'{}'", argument.replace('\'', r"'\''"))
}

/// Says what an end before the agent's first line means; `noise` is what came on standard output instead.
pub(super) fn explain(error: LinkError, target: &Target, noise: &str) -> PushError {
    let LinkError::Ended { how, stderr } = &error else {
        return PushError::Link(error);
    };
    let directory = target.agent.directory.clone();
    let said = if stderr.is_empty() { noise.trim() } else { stderr };
    let detail = said.lines().find(|line| !line.starts_with("weiche-push:")).unwrap_or_default().to_owned();
    let ours = said.lines().find_map(|line| line.strip_prefix("weiche-push: "));
    let full = ["No space left", "Disk quota exceeded"].iter().any(|text| said.contains(text));
    match ours.map(|line| line.split_once(' ').unwrap_or((line, ""))) {
        Some(("directory" | "write", _)) if full => return PushError::DiskFull(directory),
        Some(("machine", host)) => return PushError::OtherMachine { host: host.to_owned() },
        Some(("directory" | "write", _)) => return PushError::Directory { directory, detail },
        Some(("noexec", _)) => return PushError::NoExec(directory),
        Some(("digest", _)) => return PushError::Damaged(detail),
        _ => {}
    }
    if let Some(line) = said.lines().find(|line| line.starts_with("sudo:") || line.starts_with("Sorry, user")) {
        let password = ["password is required", "a terminal is required"].iter().any(|text| line.contains(text));
        return if password { PushError::SudoPassword } else { PushError::SudoDenied(line.to_owned()) };
    }
    if target.r#become == Become::Sudo {
        if ["not in the sudoers", "may not run sudo"].iter().any(|text| said.contains(text)) {
            return PushError::SudoDenied(detail);
        }
        if how == "status 127" && said.contains("sudo") {
            return PushError::SudoMissing;
        }
    }
    if how == "status 126" && said.contains("Permission denied") {
        return PushError::NoExec(directory);
    }
    PushError::Ended(format!("it ended with {how} and said `{}`", said.trim()))
}

#[cfg(test)]
mod tests;
