//! A fleet of lab hosts, driven by the real `weiche` from inside the lab's network.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output};

use weiche_tests::lab::{Lab, LabHost};
use weiche_tests::town::{Ran, ran, weiche};
use weiche_tests::until;

/// A fleet directory for the hosts of a lab.
pub(crate) struct Fleet<'a> {
    lab: &'a Lab,
    dir: tempfile::TempDir,
}

impl<'a> Fleet<'a> {
    /// All hosts in one member `rathaus`, with a profile each; logging in as `user`.
    pub(crate) fn new(lab: &'a Lab, user: &str, hosts: &[(&LabHost, &str)]) -> Fleet<'a> {
        let fleet = Fleet { lab, dir: tempfile::tempdir().expect("a temporary directory") };
        let r#become = if user == "root" { "none" } else { "sudo" };
        let identity = lab.identity();
        fleet.write("weiche.yaml", &format!(
            "fleet: lab\ntimezone: Europe/Berlin\nssh: {{ user: {user}, identity: {identity:?}, become: {become} }}\n"
        ));
        let mut member = String::from("member: rathaus\nname: Lab\nservers:\n");
        for (host, profile) in hosts {
            let (name, address, key) = (&host.name, host.address, host.host_key.trim());
            member += &format!("  - {{ name: {name}, address: {address}, host_key: \"{key}\", profile: {profile} }}\n");
        }
        fleet.write("members/rathaus.yaml", &member);
        fleet
    }

    /// Notices a cut line within seconds, so that a test need not wait for a minute.
    pub(crate) fn impatient(self) -> Fleet<'a> {
        let config = fs::read_to_string(self.path().join("weiche.yaml")).expect("read");
        self.write("weiche.yaml", &config.replace("ssh: {", "ssh: { connect_timeout: 3s, silence_timeout: 8s,"));
        self
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
        fs::write(path, text).expect("write");
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    pub(crate) fn weiche(&self, arguments: &[&str]) -> Ran {
        shown(arguments, ran(self.command(arguments).output().expect("run weiche")))
    }

    /// Starts it, so that a test can come in between.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let [out, err] = ["out", "err"].map(|name| self.path().join(name));
        let mut command = self.command(arguments);
        command.stdout(fs::File::create(&out).expect("a file")).stderr(fs::File::create(&err).expect("a file"));
        let child = command.spawn().expect("start weiche");
        Running { child, out, err, arguments: arguments.iter().map(|&word| word.to_owned()).collect() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.command(weiche());
        command.arg("-C").arg(self.path()).args(arguments).env_remove("SSH_AUTH_SOCK");
        command
    }
}

/// Shows where a test fails what ran until then, in a line each: what was said is in the failure.
fn shown(arguments: &[&str], ran: Ran) -> Ran {
    eprintln!("$ weiche {} [{}]", arguments.join(" "), ran.code);
    ran
}

/// A `weiche` at work; killed when dropped.
pub(crate) struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    arguments: Vec<String>,
}

impl Running {
    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ran {
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
    pub(crate) fn is_over(&mut self) -> bool {
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

/// What an independent tool inside the host sees of its configuration: contents, modes, owners, links.
pub(crate) fn etc(host: &LabHost) -> String {
    // The dynamic linker's and dpkg's caches and the machine's own state are nobody's configuration.
    let find = "find /etc /opt /root /srv /usr /var/lib/systemd/deb-systemd-helper-* -xdev \
                ! -path '/etc/ld.so.cache' ! -path '/etc/.pwd.lock' -printf '%p %y %m %u %g %l\\n' | sort; \
                find /etc /opt /root /srv -xdev -type f ! -path '/etc/ld.so.cache' -exec sha256sum {} + | sort -k 2";
    String::from_utf8_lossy(&host.exec(&["sh", "-c", find]).stdout).into_owned()
}

/// Packages with versions, states and marks.
pub(crate) fn packages(host: &LabHost) -> String {
    host.run(&[
        "sh",
        "-c",
        "dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\\n' | sort; apt-mark showauto | sort",
    ])
}

/// Everything that has to be as it was: [`etc`], [`packages`], units.
pub(crate) fn state(host: &LabHost) -> String {
    let units = "systemctl list-unit-files --no-legend --type=service | awk '{print $1, $2}'; \
                 systemctl list-units --no-legend --plain --type=service --state=active,failed wl-* ssh* | \
                 awk '{print $1, $3, $4}'";
    [etc(host), packages(host), host.run(&["sh", "-c", units])].join("\n-- \n")
}

/// Panics with the lines that differ, and only those.
#[track_caller]
pub(crate) fn assert_same(now: &str, before: &str, what: &str) {
    let (old, have): (HashSet<&str>, HashSet<&str>) = (before.lines().collect(), now.lines().collect());
    let gone = before.lines().filter(|line| !have.contains(line)).map(|line| format!("-{line}"));
    let new = now.lines().filter(|line| !old.contains(line)).map(|line| format!("+{line}"));
    let differs: Vec<String> = gone.chain(new).collect();
    assert!(now == before, "{what}: the host differs:\n{}", differs.join("\n"));
}
