//! A real `ssh-agent` with one key in it, gone when dropped.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::tool;

/// A running agent.
#[derive(Debug)]
pub struct SshAgent {
    /// What `SSH_AUTH_SOCK` must be for a program that shall use it.
    pub socket: PathBuf,
    child: Child,
    _dir: TempDir,
}

impl SshAgent {
    /// Starts an agent and loads the private key at `identity`.
    pub fn start(identity: &Path) -> Self {
        let dir = TempDir::with_prefix("weiche-agent-").expect("a temporary directory");
        let socket = dir.path().join("socket");
        let mut child = tool::command("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .expect("ssh-agent starts");
        // It says where it listens as soon as it does.
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("ssh-agent prints text");
        let agent = Self { socket, child, _dir: dir };
        let mut add = tool::command("ssh-add");
        tool::try_run(add.arg("-q").arg(identity).env("SSH_AUTH_SOCK", &agent.socket))
            .unwrap_or_else(|error| panic!("{error}"));
        agent
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
