//! A fleet of lab hosts, driven by the real `weiche` from inside the lab's network. Its directory lies in the lab's.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output};

use crate::lab::{Lab, LabHost};
use crate::town::{Ran, ended, ran, weiche};
use crate::until;

/// A fleet directory for the hosts of a lab.
#[derive(Debug)]
pub struct Fleet<'a> {
    lab: &'a Lab,
    dir: tempfile::TempDir,
}

impl<'a> Fleet<'a> {
    /// All hosts in one member `rathaus`, with a profile each; logging in as `user`.
    pub fn new(lab: &'a Lab, user: &str, hosts: &[(&LabHost, &str)]) -> Fleet<'a> {
        let fleet = Fleet { lab, dir: tempfile::tempdir_in(lab.dir()).expect("a writable lab directory") };
        let r#become = if user == "root" { "none" } else { "sudo" };
        let identity = lab.identity();
        fleet.write("weiche.yaml", &format!(
            "fleet: lab\ntimezone: Europe/Berlin\nssh: {{ user: {user}, identity: {identity:?}, become: {become} }}\n"
        ));
        let servers: String = hosts.iter().map(|(host, profile)| entry(host, &format!("profile: {profile}"))).collect();
        fleet.write("members/rathaus.yaml", &format!("member: rathaus\nname: Lab\nservers:\n{servers}"));
        fleet
    }

    /// Notices a cut line within seconds, so that a test need not wait for a minute.
    pub fn impatient(self) -> Fleet<'a> {
        let config = fs::read_to_string(self.path().join("weiche.yaml")).expect("read");
        self.write("weiche.yaml", &config.replace("ssh: {", "ssh: { connect_timeout: 3s, silence_timeout: 8s,"));
        self
    }

    /// Writes a file of the fleet; a test's own, so it can be written.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
        fs::write(path, text).expect("write");
    }

    /// Its directory, removed when it is dropped.
    pub fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Runs `weiche` on it, to its end.
    pub fn weiche(&self, arguments: &[&str]) -> Ran {
        shown(arguments, ended(&mut self.command(arguments)))
    }

    /// Starts it, so that a test can come in between.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let [out, err] = ["out", "err"].map(|name| self.path().join(name));
        let mut command = self.command(arguments);
        command.stdout(fs::File::create(&out).expect("a file")).stderr(fs::File::create(&err).expect("a file"));
        let child = command.spawn().expect("start weiche");
        Running { child, out, err, arguments: arguments.iter().map(|&word| word.to_owned()).collect() }
    }

    /// `weiche` on it, in the lab's network; not started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.command(weiche());
        command.arg("-C").arg(self.path()).args(arguments).env_remove("SSH_AUTH_SOCK");
        command
    }
}

/// A host in the file of a member: how it is reached, with its pinned key, and `more`.
pub fn entry(host: &LabHost, more: &str) -> String {
    let (name, address, key) = (&host.name, host.address, host.host_key.trim());
    format!("  - {{ name: {name}, address: {address}, host_key: \"{key}\", {more} }}\n")
}

/// Shows where a test fails what ran until then, in a line each: what was said is in the failure.
fn shown(arguments: &[&str], ran: Ran) -> Ran {
    eprintln!("$ weiche {} [{}]", arguments.join(" "), ran.code);
    ran
}

/// A `weiche` at work; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    arguments: Vec<String>,
}

impl Running {
    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Ran {
        let mut status = None;
        until("weiche ends", || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        });
        let [stdout, stderr] = [&self.out, &self.err].map(|path| fs::read(path).expect("read"));
        let words: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        shown(&words, ran(Output { status: status.expect("it has ended"), stdout, stderr }))
    }

    /// Whether it is over.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGKILL: no goodbye.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for path in [&self.out, &self.err] {
                eprintln!("{}", fs::read_to_string(path).unwrap_or_default());
            }
        }
    }
}
