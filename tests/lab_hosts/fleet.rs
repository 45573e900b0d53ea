//! A fleet of lab hosts, driven by the real `weiche` from inside the lab's network.

use std::fs;
use std::path::PathBuf;

use weiche_tests::lab::{Lab, LabHost};
use weiche_tests::town::{Ran, ran, weiche};

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

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
        fs::write(path, text).expect("write");
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    pub(crate) fn weiche(&self, arguments: &[&str]) -> Ran {
        let mut command = self.lab.command(&weiche().display().to_string());
        ran(command
            .arg("-C")
            .arg(self.path())
            .args(arguments)
            .env_remove("SSH_AUTH_SOCK")
            .output()
            .expect("run weiche"))
    }
}

/// What an independent tool inside the host sees of its configuration: contents, modes, owners, links.
pub(crate) fn etc(host: &LabHost) -> String {
    // The dynamic linker's and dpkg's caches and the machine's own state are nobody's configuration.
    let find = "find /etc /srv /usr/share/doc /usr/local -xdev ! -path '/etc/ld.so.cache' ! -path '/etc/.pwd.lock' \
                -printf '%p %y %m %u %g %l\\n' | sort; \
                find /etc /srv -xdev -type f ! -path '/etc/ld.so.cache' -exec sha256sum {} + | sort -k 2";
    host.run(&["sh", "-c", find])
}

/// Packages with versions, states and marks.
pub(crate) fn packages(host: &LabHost) -> String {
    host.run(&[
        "sh",
        "-c",
        "dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\\n' | sort; apt-mark showauto | sort",
    ])
}
