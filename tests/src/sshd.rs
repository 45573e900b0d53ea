//! A real OpenSSH server, run as the current user on a free port of 127.0.0.1.
//!
//! Its configuration is Debian's default one below the few settings that make it ours (address, keys, and what only
//! root can have). Keys and configuration are made anew for every server, in a temporary directory. When the value is
//! dropped, the server, all that was started through it, and the directory are gone.

mod agent;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

use crate::{process, tool};

pub use agent::SshAgent;

/// What differs from Debian's default server.
#[derive(Clone, Debug, Default)]
pub struct SshdOptions {
    /// Lines of `sshd_config` such as `KexAlgorithms curve25519-sha256`; they win over the defaults. `Match` blocks
    /// are allowed at the end.
    pub config: Vec<String>,
    /// The `HOME` that sessions see, if not an empty one (the working directory stays the user's real home).
    pub home: Option<PathBuf>,
    /// More variables that sessions see.
    pub env: Vec<(String, String)>,
}

/// A running server.
#[derive(Debug)]
pub struct Sshd {
    /// Where it listens: 127.0.0.1.
    pub address: Ipv4Addr,
    /// Where it listens.
    pub port: u16,
    /// Its public host key, `ssh-ed25519 AAAA...`.
    pub host_key: String,
    /// Its host key's fingerprint, `SHA256:...`.
    pub fingerprint: String,
    /// The private key that may log in.
    pub identity: PathBuf,
    /// A `known_hosts` file with this server's key in it.
    pub known_hosts: PathBuf,
    /// The user that runs it, who is the only one who can log in unless that is root.
    pub user: String,
    child: Child,
    log: Arc<Mutex<String>>,
    dir: TempDir,
}

impl Sshd {
    /// Says why no server can be started here.
    ///
    /// # Errors
    ///
    /// The name of the missing program.
    pub fn available() -> Result<(), String> {
        match ["sshd", "ssh", "ssh-keygen"].iter().find(|program| tool::find(program).is_none()) {
            Some(program) => Err(format!("{program} is not installed")),
            None => Ok(()),
        }
    }

    /// Starts a server and waits until it listens.
    pub fn start(options: SshdOptions) -> Self {
        let dir = TempDir::with_prefix("weiche-sshd-").expect("a temporary directory");
        let host_key = tool::keygen(&dir.path().join("host_key"), "host");
        let identity = dir.path().join("id_ed25519");
        let user_key = tool::keygen(&identity, "user");
        write(&dir.path().join("authorized_keys"), &format!("{user_key}\n"));
        let listing = tool::run("ssh-keygen", ["-l", "-f", tool::text(&dir.path().join("host_key.pub"))]);
        let fingerprint = listing.split_whitespace().nth(1).expect("a fingerprint").to_owned();
        if rustix::process::geteuid().is_root() {
            // What Debian's unit makes on a system that runs sshd (RuntimeDirectory=sshd).
            fs::DirBuilder::new().recursive(true).mode(0o755).create("/run/sshd").expect("/run/sshd");
        }

        // The port is free until somebody else takes it between our look and sshd's bind: then take another one.
        for _ in 0..10 {
            let port = free_port();
            write(&dir.path().join("sshd_config"), &config(dir.path(), port, &options));
            if let Ok((child, log)) = launch(dir.path(), port) {
                let known_hosts = dir.path().join("known_hosts");
                write(&known_hosts, &format!("[127.0.0.1]:{port} {host_key}\n"));
                let user = tool::run("id", ["-un"]).trim_end().to_owned();
                let address = Ipv4Addr::LOCALHOST;
                return Self { address, port, host_key, fingerprint, identity, known_hosts, user, child, log, dir };
            }
        }
        panic!("no free port for sshd in ten attempts");
    }

    /// What the server has logged up to now.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Prepares an `ssh` to this server that knows its key and asks nothing; the remote command is still to be added.
    pub fn ssh(&self) -> Command {
        let mut ssh = tool::command("ssh");
        ssh.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        ssh.args(["-o", "StrictHostKeyChecking=yes"]).env_remove("SSH_AUTH_SOCK");
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.known_hosts.display()));
        ssh.arg("-i").arg(&self.identity).args(["-p", &self.port.to_string()]);
        ssh.arg(format!("{}@{}", self.user, self.address));
        ssh
    }

    /// Starts a real `ssh-agent` that holds this server's user key.
    pub fn ssh_agent(&self) -> SshAgent {
        SshAgent::start(&self.identity)
    }

    /// Breaks every open connection by killing the processes that serve them, as a crash of the server would.
    ///
    /// What runs in the sessions is not killed; new connections are accepted.
    pub fn drop_connections(&self) {
        for pid in process::descendants(self.child.id()) {
            if process::name(pid).as_deref().is_some_and(|name| name.starts_with("sshd")) {
                process::kill(pid);
            }
        }
    }

    /// Lets every open connection stand still, or go on: nothing on it is answered, and nothing is lost.
    pub fn hold_connections(&self, held: bool) {
        for pid in process::descendants(self.child.id()) {
            if process::name(pid).as_deref().is_some_and(|name| name.starts_with("sshd")) {
                process::hold(pid, held);
            }
        }
    }

    /// The directory of keys and configuration.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let sessions = process::descendants(self.child.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
        sessions.into_iter().for_each(process::kill);
        // What outlived its connection still knows where it came from: "CLIENT PORT SERVER PORT".
        let end = format!(" {} {}", self.address, self.port);
        let is_ours = |variable: &str| variable.starts_with("SSH_CONNECTION=") && variable.ends_with(&end);
        process::with_variable(is_ours).into_iter().for_each(process::kill);
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

/// Writes the configuration: of two settings sshd takes the first, so ours come before Debian's.
fn config(dir: &Path, port: u16, options: &SshdOptions) -> String {
    let mut config = format!("Port {port}\nListenAddress 127.0.0.1\nPidFile none\nLogLevel VERBOSE\n");
    let at = |name| dir.join(name).display().to_string();
    let _ = writeln!(config, "HostKey {}\nAuthorizedKeysFile {}", at("host_key"), at("authorized_keys"));
    // The keys lie below the world-writable directory for temporary files, which StrictModes refuses.
    config.push_str("StrictModes no\n");
    if !rustix::process::geteuid().is_root() {
        config.push_str("UsePAM no\n");
    }
    // Shells read nothing of whoever runs the tests: what they start there may hang, and may mind being killed.
    let home = options.home.clone().unwrap_or_else(|| dir.join("home"));
    fs::create_dir_all(&home).expect("make the home directory");
    let home = std::iter::once(("HOME".to_owned(), home.display().to_string()));
    let env: Vec<String> =
        home.chain(options.env.iter().cloned()).map(|(name, value)| format!(" \"{name}={value}\"")).collect();
    let _ = writeln!(config, "SetEnv{}", env.concat());
    let is_match = |line: &String| line.trim_start().to_ascii_lowercase().starts_with("match ");
    let split = options.config.iter().position(is_match).unwrap_or(options.config.len());
    let (global, matches) = options.config.split_at(split);
    for line in global {
        let _ = writeln!(config, "{line}");
    }
    // The package's template is what a new Debian system gets; without its Include, nothing of this machine counts.
    let default = ["/usr/share/openssh/sshd_config", "/etc/ssh/sshd_config"];
    let default = default.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    for line in default.lines().filter(|line| !line.starts_with("Include")) {
        let _ = writeln!(config, "{line}");
    }
    for line in matches {
        let _ = writeln!(config, "{line}");
    }
    config
}

/// Starts sshd; `Err` means that the port was taken meanwhile.
fn launch(dir: &Path, port: u16) -> Result<(Child, Arc<Mutex<String>>), ()> {
    // sshd starts itself again for every connection and insists on being called by its absolute path.
    let program = tool::find("sshd").expect("sshd is not installed");
    let mut child = tool::command(program)
        .args(["-D", "-e", "-f"])
        .arg(dir.join("sshd_config"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sshd starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut said = String::new();
    let listening = format!("Server listening on 127.0.0.1 port {port}.");
    while lines.read_line(&mut said).expect("sshd logs text") > 0 {
        if said.contains(&listening) {
            let log = Arc::new(Mutex::new(said));
            let copy = Arc::clone(&log);
            std::thread::spawn(move || follow(lines, &copy));
            return Ok((child, log));
        }
    }
    let status = child.wait().expect("sshd is our child");
    if said.contains("Address already in use") {
        return Err(());
    }
    panic!("sshd did not start ({status}): {said}");
}

fn follow(lines: BufReader<ChildStderr>, log: &Mutex<String>) {
    for line in lines.split(b'\n').map_while(Result::ok) {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push_str(&String::from_utf8_lossy(&line));
        log.push('\n');
    }
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
