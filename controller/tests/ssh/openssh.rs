//! Real OpenSSH on the loopback, as the user who runs the tests: servers, keys and an ssh-agent in a directory that
//! goes away with them.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use weiche::input::target::{AgentPlace, Become, HostName, Identity, Target};

const SSHD: &str = "/usr/sbin/sshd";

/// A directory that is removed when dropped.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("weiche-ssh-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("root/etc")).unwrap();
        fs::write(path.join("root/etc/os-release"), "ID=debian\nVERSION_ID=\"12\"\n").unwrap();
        Scratch(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running sshd.
pub(crate) struct Sshd {
    pub(crate) port: u16,
    pub(crate) host_key: String,
    child: Child,
}

/// Says why a test is left out; `None` means that it can run. With root or in CI it must run.
pub(crate) fn missing(test: &str) -> Option<()> {
    if Path::new(SSHD).exists() {
        return None;
    }
    let must = uid() == 0 || std::env::var_os("CI").is_some();
    assert!(!must, "{test} needs {SSHD} (openssh-server)");
    println!("skipped: {test}: there is no {SSHD}");
    Some(())
}

pub(crate) fn uid() -> u32 {
    let text = run(Command::new("id").arg("-u"));
    text.trim().parse().unwrap()
}

pub(crate) fn user() -> String {
    run(Command::new("id").arg("-un")).trim().to_owned()
}

/// Makes a key of a type; returns the private key's file.
pub(crate) fn keygen(dir: &Path, name: &str, kind: &str, passphrase: &str) -> PathBuf {
    let file = dir.join(name);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", kind, "-N", passphrase, "-C", name, "-f"]).arg(&file);
    if kind == "rsa" {
        command.args(["-b", "2048"]);
    }
    run(&mut command);
    file
}

pub(crate) fn public(file: &Path) -> String {
    fs::read_to_string(file.with_extension("pub")).unwrap().trim().to_owned()
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Sshd {
    /// Starts one with an Ed25519 and an RSA host key; `authorized` are lines of `authorized_keys`, `more` of its
    /// configuration.
    pub(crate) fn start(scratch: &Scratch, authorized: &[String], more: &str) -> Sshd {
        let dir = scratch.path("sshd");
        fs::create_dir_all(&dir).unwrap();
        let number = fs::read_dir(&dir).unwrap().count();
        let dir = dir.join(number.to_string());
        fs::create_dir_all(&dir).unwrap();
        if uid() == 0 {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let ed25519 = keygen(&dir, "ed25519", "ed25519", "");
        let rsa = keygen(&dir, "rsa", "rsa", "");
        fs::write(dir.join("authorized_keys"), authorized.join("\n")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPrintMotd no\n\
             PermitRootLogin yes\nMaxStartups 100\nSetEnv \"HOME={}\"\n{more}\n",
            rsa.display(),
            ed25519.display(),
            dir.join("authorized_keys").display(),
            // Shells read nothing of whoever runs the tests.
            dir.display(),
        );
        fs::write(dir.join("config"), config).unwrap();
        let mut command = Command::new(SSHD);
        command.args(["-D", "-e", "-f"]).arg(dir.join("config")).stderr(Stdio::piped()).stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let ready = lines.any(|line| line.contains("Server listening"));
        assert!(ready, "sshd does not start");
        std::thread::spawn(move || lines.for_each(drop));
        Sshd { port, host_key: public(&ed25519), child }
    }

    /// How to reach it: the agent lives in `scratch/state` and works on `scratch/root`.
    pub(crate) fn target(&self, scratch: &Scratch, identity: &Path) -> Target {
        target(scratch, self.port, &self.host_key, Identity::File(identity.to_owned()))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn target(scratch: &Scratch, port: u16, host_key: &str, identity: Identity) -> Target {
    Target {
        name: HostName::new("member", "host"),
        address: "127.0.0.1".into(),
        port,
        user: user(),
        identity,
        host_key: host_key.into(),
        r#become: Become::None,
        wake: None,
        jump: None,
        agent: AgentPlace {
            directory: scratch.path("state").display().to_string(),
            root: Some(scratch.path("root").display().to_string()),
            simulate: true,
        },
        key_exchange: Vec::new(),
        connect_timeout: Duration::from_secs(20),
        expect: weiche_agent::protocol::Expect::default(),
        silence_timeout: Duration::from_secs(60),
    }
}

/// A running ssh-agent.
pub(crate) struct SshAgent {
    pub(crate) socket: PathBuf,
    child: Child,
}

impl SshAgent {
    pub(crate) fn start(scratch: &Scratch, keys: &[&Path]) -> SshAgent {
        let socket = scratch.path("agent.sock");
        let mut command = Command::new("ssh-agent");
        let child = command.args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let agent = SshAgent { socket, child };
        while !agent.socket.exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        for key in keys {
            run(Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &agent.socket));
        }
        agent
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
