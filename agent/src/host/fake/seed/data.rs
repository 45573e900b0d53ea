//! Data of users on the ready-made hosts: directories that follow others, and a cluster of PostgreSQL.

use std::path::Path;
use std::time::Duration;

use super::{FakeHost, PSQL};
use crate::host::{Attributes, Command, Host as _};

impl FakeHost {
    /// What a mirror needs, and its marker if it follows already.
    pub(super) fn mirror(&mut self, name: &str, follows: Option<&str>) {
        const OF: &str = "\"of\":{\"address\":\"192.0.2.10\",\"port\":22,\"user\":\"root\"},\"owners\":\"name\"";
        for file in ["key", "known_hosts"] {
            self.has(&format!("/etc/weiche/mirror/{name}/{file}"), "x\n");
        }
        if let Some(at) = follows {
            let text = format!("{{{OF},\"path\":\"{at}\"}}\n");
            let path = format!("/etc/weiche/mirror/{name}/follows.json");
            self.file(&path, &text, 0o600);
            self.attributes(&path, &Attributes { mtime: Some((0, 0)), ..Attributes::default() });
        }
    }

    /// A directory as it is after a round.
    pub(super) fn copied(&mut self, path: &str) {
        self.dir(path, 0o750);
        let words = ["rsync", "-aHAXS", "x::data/", path];
        let copied = self.run(&Command::changing(words, Duration::from_secs(1)));
        debug_assert!(copied.is_ok(), "{copied:?}");
        self.effects = 0;
    }

    /// PostgreSQL's cluster `15/main`, which is stopped; a standby as the first example makes it, or a primary.
    pub(super) fn cluster(&mut self, starts: &str, standby: bool) {
        self.feeds(PSQL, "-- init\n");
        for directory in ["/etc/postgresql", "/etc/postgresql/15", "/etc/postgresql/15/main"] {
            if !self.tree.nodes.contains_key(Path::new(directory)) {
                self.dir(directory, 0o755);
            }
        }
        for directory in ["/var/lib/postgresql", "/var/lib/postgresql/15", "/var/lib/postgresql/15/main"] {
            self.dir(directory, 0o700);
        }
        self.file("/etc/postgresql/15/main/start.conf", &format!("# when\n\n{starts}\n"), 0o644);
        self.file("/var/lib/postgresql/15/main/PG_VERSION", "15\n", 0o600);
        let feed = "primary_conninfo = 'host=192.0.2.10 port=5432 user=standby passfile=/var/lib/postgresql/.pgpass'\n\
                    primary_slot_name = 'weiche'\nrecovery_target_timeline = 'latest'\n";
        let settings = format!("# by ALTER SYSTEM\nwork_mem = '8MB'\n{}", if standby { feed } else { "" });
        self.file("/var/lib/postgresql/15/main/postgresql.auto.conf", &settings, 0o600);
        if standby {
            self.file("/var/lib/postgresql/15/main/standby.signal", "", 0o600);
            let time = Attributes { mtime: Some((0, 0)), ..Attributes::default() };
            self.attributes("/var/lib/postgresql/15/main/standby.signal", &time);
        }
    }
}
