//! A small fleet on one real sshd: each host is a directory of its own (`agent: {root: ...}`), with simulated package,
//! unit and account programs, driven by the real `weiche` binary through real SSH.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::process;
use crate::sshd::{Sshd, SshdOptions};

/// A fleet with its hosts.
pub struct Town {
    dir: tempfile::TempDir,
    /// The server that all hosts are reached through.
    pub sshd: Sshd,
}

/// How a `weiche` command ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; 128 + signal if a signal ended it.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Ran {
    /// Itself if the exit code is as expected.
    ///
    /// # Panics
    /// With all that was printed, if not.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ran {
        let Ran { code: is, stdout, stderr } = &self;
        assert!(*is == code, "exit code {is}, not {code}\nstderr:\n{stderr}\nstdout:\n{stdout}");
        self
    }
}

impl Town {
    /// Makes a town hall `rathaus` with servers of these names. The first has data in `/srv/share`.
    ///
    /// # Panics
    /// If sshd or a file cannot be had.
    pub fn new(hosts: &[&str]) -> Town {
        Town::on(Sshd::start(SshdOptions::default()), hosts)
    }

    /// The same on this server.
    ///
    /// # Panics
    /// If a file cannot be had.
    pub fn on(sshd: Sshd, hosts: &[&str]) -> Town {
        let dir = tempfile::Builder::new().prefix("weiche-town-").tempdir().expect("a temporary directory");
        let town = Town { dir, sshd };
        town.write(
            "weiche.yaml",
            &format!(
                "fleet: test\ntimezone: Europe/Berlin\nssh: {{ user: {}, identity: {:?}, become: none }}\n",
                town.sshd.user, town.sshd.identity,
            ),
        );
        let mut member =
            String::from("member: rathaus\nname: Test town hall\nsites: { a: { address: \"made up\" } }\nservers:\n");
        for host in hosts {
            member += &town.server(host, "");
            seed(&town.root(host), host);
        }
        town.write("members/rathaus.yaml", &member);
        if let Some(first) = hosts.first() {
            share(&town.root(first).join("srv/share"));
        }
        town
    }

    /// A host's entry for a member file; `more` are further keys, each with a leading comma.
    pub fn server(&self, host: &str, more: &str) -> String {
        format!(
            "  - {{ name: {host}, address: {}, port: {}, host_key: \"{}\", site: a, agent: {{ directory: {:?}, root: {:?}, \
             simulate: true }}{more} }}\n",
            self.sshd.address,
            self.sshd.port,
            self.sshd.host_key.trim(),
            self.state(host),
            self.root(host),
        )
    }

    /// The fleet's directory.
    pub fn fleet(&self) -> PathBuf {
        self.dir.path().join("fleet")
    }

    /// What is `/` to a host.
    pub fn root(&self, host: &str) -> PathBuf {
        self.dir.path().join("hosts").join(host).join("root")
    }

    /// The agent's state directory of a host.
    pub fn state(&self, host: &str) -> PathBuf {
        self.dir.path().join("hosts").join(host).join("state")
    }

    /// Writes a file of the fleet.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.fleet().join(name);
        fs::create_dir_all(path.parent().expect("a file in the fleet")).expect("make a directory");
        fs::write(&path, text).expect("write a file of the fleet");
    }

    /// Runs `weiche` on this fleet.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn weiche(&self, arguments: &[&str]) -> Ran {
        ended(&mut self.command(arguments))
    }

    /// `weiche` on this fleet, not started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(weiche());
        command.arg("-C").arg(self.fleet()).args(arguments).env_remove("SSH_AUTH_SOCK");
        command
    }

    /// What an independent tool sees of a host: mtree(8) for types, modes, owners, links and contents, getfattr(1) for
    /// extended attributes.
    ///
    /// # Panics
    /// If one of them fails.
    pub fn manifest(&self, host: &str) -> String {
        manifest(&self.root(host))
    }

    /// The manifests of several hosts.
    pub fn manifests(&self, hosts: &[&str]) -> BTreeMap<String, String> {
        hosts.iter().map(|host| ((*host).to_owned(), self.manifest(host))).collect()
    }
}

/// What independent tools see of a directory tree.
///
/// # Panics
/// If one of them fails.
pub fn manifest(root: &Path) -> String {
    let keys = "type,mode,uid,gid,nlink,link,size,sha256";
    let tree = Command::new("mtree").args(["-c", "-k", keys, "-p"]).arg(root).output().expect("run mtree");
    assert!(tree.status.success(), "mtree: {}", String::from_utf8_lossy(&tree.stderr));
    let attributes = Command::new("getfattr").args(["-R", "-P", "-h", "-d", "-m", "-", "."]).current_dir(root).output();
    let attributes = attributes.expect("run getfattr");
    assert!(attributes.status.success(), "getfattr: {}", String::from_utf8_lossy(&attributes.stderr));
    // mtree's comments hold the time and the user.
    let text = String::from_utf8_lossy(&tree.stdout).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    lines.join("\n") + "\n" + &String::from_utf8_lossy(&attributes.stdout)
}

/// The `weiche` binary of this build.
///
/// # Panics
/// If it was not built: `cargo build --workspace` builds it.
pub fn weiche() -> PathBuf {
    // Tests are in `deps` beside it, programs are not.
    let exe = std::env::current_exe().expect("our own path");
    let found = exe.ancestors().skip(1).take(2).map(|dir| dir.join("weiche")).find(|path| path.is_file());
    found.expect("there is no `weiche` beside the tests: run `cargo build --workspace` first")
}

/// No command of a test takes as long.
const LIMIT: Duration = Duration::from_mins(10);

/// Runs a command to its end.
///
/// # Panics
/// If it cannot be started.
pub fn ended(command: &mut Command) -> Ran {
    ran(process::bounded(command, LIMIT).expect("run weiche"))
}

/// Reads a command's output.
pub fn ran(output: Output) -> Ran {
    use std::os::unix::process::ExitStatusExt;
    let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

fn seed(root: &Path, name: &str) {
    for dir in ["etc", "srv", "var/lib", "var/www", "tmp", "lib/systemd/system"] {
        fs::create_dir_all(root.join(dir)).expect("make a directory");
    }
    let files = [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n".to_owned()),
        ("etc/group", "root:x:0:\nwww-data:x:33:\nusers:x:100:\n".to_owned()),
        ("etc/shadow", "root:*:19000:0:99999:7:::\nwww-data:*:19000:0:99999:7:::\n".to_owned()),
        ("etc/gshadow", "root:*::\nwww-data:!::\nusers:*::\n".to_owned()),
        ("etc/hostname", format!("{name}\n")),
        ("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n".to_owned()),
        ("etc/motd", "before\n".to_owned()),
    ];
    for (path, text) in files {
        fs::write(root.join(path), text).expect("write a file");
    }
}

/// Users' data: nested, odd names, links, an extended attribute where the file system takes one.
fn share(dir: &Path) {
    fs::create_dir_all(dir.join("bauamt/pläne")).expect("make a directory");
    fs::write(dir.join("bauamt/pläne/b-plan 7.txt"), "Bebauungsplan\n".repeat(5000)).expect("write");
    fs::write(dir.join("bauamt/neue\nzeile"), "odd name\n").expect("write");
    fs::write(dir.join("leer"), "").expect("write");
    symlink("bauamt/pläne", dir.join("plan")).expect("link");
    let _ = Command::new("setfattr").args(["-n", "user.weiche", "-v", "eins"]).arg(dir.join("leer")).status();
}
