//! Ready-made fake hosts: a small Debian, and variants of it on which something is already there.

use std::path::Path;
use std::time::Duration;

use super::FakeHost;
use crate::host::{Attributes, Command, Host};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
    daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
    www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n\
    nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const SHADOW: &str = "root:*:19800:0:99999:7:::\ndaemon:*:19800:0:99999:7:::\nwww-data:*:19800:0:99999:7:::\n\
    nobody:*:19800:0:99999:7:::\n";
const GROUP: &str =
    "root:x:0:\ndaemon:x:1:\nadm:x:4:\nsudo:x:27:\nwww-data:x:33:\nshadow:x:42:\nusers:x:100:\nnogroup:x:65534:\n";
const GSHADOW: &str = "root:*::\ndaemon:*::\nadm:*::\nsudo:*::\nwww-data:*::\nshadow:*::\nusers:*::\nnogroup:*::\n";
const OS_RELEASE: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n";
const CRON: &str = "[Unit]\nDescription=Regular background program processing daemon\n\
    [Service]\nExecStart=/usr/sbin/cron -f\n[Install]\nWantedBy=multi-user.target\n";

impl FakeHost {
    /// A bare Debian: accounts, an os-release, the usual directories and a `cron.service` that runs.
    pub fn debian() -> FakeHost {
        let mut host = FakeHost::default();
        for dir in [
            "/etc",
            "/etc/systemd",
            "/etc/systemd/system",
            "/lib",
            "/lib/systemd",
            "/lib/systemd/system",
            "/root",
            "/run",
            "/srv",
            "/tmp",
            "/usr",
            "/usr/bin",
            "/usr/share",
            "/usr/share/zoneinfo",
            "/usr/share/zoneinfo/Europe",
            "/var",
            "/var/cache",
            "/var/lib",
            "/var/log",
        ] {
            host.dir(dir, 0o755);
        }
        host.file("/etc/passwd", PASSWD, 0o644);
        host.file("/etc/shadow", SHADOW, 0o640);
        host.file("/etc/group", GROUP, 0o644);
        host.file("/etc/gshadow", GSHADOW, 0o640);
        for secret in ["/etc/shadow", "/etc/gshadow"] {
            host.attributes(secret, &Attributes { gid: Some(42), ..Attributes::default() });
        }
        host.file("/etc/os-release", OS_RELEASE, 0o644);
        host.file("/usr/share/zoneinfo/Europe/Berlin", "TZif", 0o644);
        host.link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC");
        host.file("/etc/hostname", "fake\n", 0o644);
        host.file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0o444);
        host.file("/lib/systemd/system/cron.service", CRON, 0o644);
        host.does("systemctl enable cron.service");
        host.does("systemctl start cron.service");
        host
    }

    /// The hosts on which every law has to hold, with their names.
    pub fn examples() -> Vec<(&'static str, FakeHost)> {
        vec![
            ("bare", FakeHost::debian()),
            ("occupied", FakeHost::occupied()),
            ("as wanted", FakeHost::as_wanted()),
            ("in the way", FakeHost::in_the_way()),
            ("older packages", FakeHost::older_packages()),
            ("newer packages", FakeHost::newer_packages()),
            ("dropped packages", FakeHost::dropped_packages()),
        ]
    }

    /// At the paths and names of the kinds' examples stands something else of the same type.
    fn occupied() -> FakeHost {
        let mut host = FakeHost::debian();
        let note = [("user.note".to_owned(), b"keep me".to_vec()), ("user.bin".to_owned(), vec![0, 255])];
        let noted = Attributes { uid: Some(33), gid: Some(100), xattrs: Some(note.into()), ..Attributes::default() };
        host.file("/etc/motd", "Welcome\n", 0o600);
        host.file("/etc/secret.conf", "old token\n", 0o640);
        host.file("/etc/old.conf", "old = true\n", 0o4755);
        host.dir("/srv/data", 0o1700);
        host.file("/srv/data/kept", "not ours\n", 0o644);
        host.dir("/srv/empty", 0o711);
        host.dir("/srv/share", 0o2775);
        host.file("/srv/share/letter.txt", "Sehr geehrte Damen und Herren\n", 0o664);
        host.dir("/srv/share/deep", 0o750);
        host.link("/srv/share/deep/link", "../letter.txt");
        host.link("/srv/current", "release-1");
        host.link("/srv/stale", "/nowhere");
        host.dir("/var/lib/council", 0o755);
        host.dir("/srv/forms", 0o2750);
        host.file("/srv/forms/letter.txt", "an older letter\n", 0o600);
        host.file("/srv/forms/twin.txt", "Antrag auf Wohngeld\n", 0o640);
        host.dir("/srv/forms/empty", 0o700);
        host.file("/srv/forms/empty/others", "not ours\n", 0o644);
        host.dir("/srv/forms/empty/deep", 0o700);
        host.link("/srv/forms/empty/deep/out", "/etc/passwd");
        // A link where a directory is wanted, and what lies behind it is nobody's business.
        host.dir("/srv/elsewhere", 0o755);
        host.file("/srv/elsewhere/run", "elsewhere\n", 0o644);
        host.link("/srv/forms/bin", "/srv/elsewhere");
        host.dir("/etc/council", 0o755);
        host.file("/etc/council/letter.txt", "an older letter\n", 0o755);
        host.file("/etc/council/own.conf", "not ours\n", 0o644);
        host.dir("/etc/council/bin", 0o755);
        host.dir("/srv/viewer", 0o755);
        host.dir("/srv/viewer/letter.txt", 0o755);
        host.file("/srv/viewer/letter.txt/part", "x", 0o644);
        host.file("/srv/viewer/bin", "a file\n", 0o644);
        host.file("/srv/viewer.jar", "an older one\n", 0o755);
        for path in
            ["/etc/motd", "/etc/old.conf", "/srv/data", "/srv/empty", "/srv/share/letter.txt", "/srv/forms/letter.txt"]
        {
            host.attributes(path, &noted);
        }
        // Accounts of the examples, with other values and among others' lines.
        host.file(
            "/etc/passwd",
            &format!("{PASSWD}scan:x:1700:100:Scanner,,,:/home/scan:/bin/bash\nlast:x:1001:100::/:/bin/sh"),
            0o644,
        );
        host.file(
            "/etc/shadow",
            &format!("{SHADOW}scan:$y$j9T$salt:19900:0:99999:7:::\nretired:!:19900::::::\n"),
            0o640,
        );
        host.file(
            "/etc/group",
            &format!("{GROUP}council:x:1500:daemon,retired,www-data\nscan:x:1700:\noldteam:x:1800:\n"),
            0o644,
        );
        host.file("/etc/gshadow", &format!("{GSHADOW}council:!:daemon:daemon,retired\noldteam:!::\n"), 0o640);
        host.does("systemctl mask nginx.service");
        host
    }

    /// A link, a directory and a device where the examples want a file, and the other way round.
    fn in_the_way() -> FakeHost {
        let mut host = FakeHost::debian();
        host.dir("/etc/motd", 0o755);
        host.file("/etc/motd/part", "x", 0o644);
        host.link("/etc/secret.conf", "/etc/hostname");
        host.dir("/etc/old.conf", 0o755);
        host.file("/srv/data", "a file\n", 0o644);
        host.dir("/srv/empty", 0o755);
        host.file("/srv/empty/occupant", "x", 0o644);
        host.dir("/srv/current", 0o700);
        let made = host.tree.device(Path::new("/srv/stale"));
        debug_assert!(made.is_ok());
        host.file("/srv/share", "a file\n", 0o644);
        host.link("/var/lib/council", "/tmp");
        host.file("/srv/forms", "a file\n", 0o644);
        host.link("/etc/council", "/srv/share");
        host.dir("/srv/viewer", 0o755);
        let made = host.tree.device(Path::new("/srv/viewer/device"));
        debug_assert!(made.is_ok());
        host.link("/srv/viewer.jar", "/etc/hostname");
        host
    }

    /// Most examples have been carried out already.
    fn as_wanted() -> FakeHost {
        let mut host = FakeHost::debian();
        host.file("/etc/motd", "Rathaus Obere Aller\n", 0o644);
        host.dir("/srv/data", 0o2770);
        host.link("/srv/current", "release-2");
        host.dir("/var/lib/council", 0o755);
        host.file("/var/lib/council/initialised", "", 0o644);
        host.dir("/srv/forms", 0o755);
        host.file("/srv/forms/letter.txt", "Antrag auf Wohngeld\n", 0o644);
        host.file("/srv/viewer.jar", "a simulated download\n", 0o600);
        host.does("apt-get install -y nginx");
        host
    }

    fn older_packages() -> FakeHost {
        let mut host = FakeHost::debian();
        host.does("apt-get install -y nginx=1.18.0-6.1+deb11u3");
        host.does("apt-get install -y telnet samba=2:4.13.13+dfsg-1~deb11u6");
        host.does("apt-mark auto telnet");
        host.does("systemctl disable nginx.service");
        host.does("systemctl stop nginx.service");
        host.does("systemctl stop smbd.service");
        host
    }

    /// Removed packages that left their configuration, held ones, and some that have to be downgraded.
    fn newer_packages() -> FakeHost {
        let mut host = FakeHost::debian();
        host.does("apt-get install -y nginx");
        host.does("apt-get remove -y nginx");
        host.does("apt-get install -y samba telnet");
        host.does("apt-mark hold telnet");
        host
    }

    /// Versions that no source offers any more: of one apt has a copy, of the other it has none.
    fn dropped_packages() -> FakeHost {
        let mut host = FakeHost::debian();
        host.dir("/var/cache/apt", 0o755);
        host.dir("/var/cache/apt/archives", 0o755);
        for package in ["nginx-common", "nginx"] {
            let path = format!("/var/cache/apt/archives/{package}_1.14.2-2_amd64.deb");
            host.file(&path, package, 0o644);
            host.does(&format!("apt-get install -y {path}"));
        }
        host.file("/tmp/telnet_0.17-41_amd64.deb", "telnet", 0o644);
        host.does("apt-get install -y /tmp/telnet_0.17-41_amd64.deb");
        host.does("apt-mark auto nginx-common");
        host
    }

    fn dir(&mut self, path: &str, mode: u32) {
        let meta = Attributes { mode: Some(mode), ..Attributes::default() };
        let made = self.tree.make_dir(Path::new(path), &meta);
        debug_assert!(made.is_ok(), "{made:?}");
    }

    fn file(&mut self, path: &str, text: &str, mode: u32) {
        let old = self.tree.lstat(Path::new(path)).ok().flatten().map(|m| m.attributes).unwrap_or_default();
        let meta = Attributes { mode: Some(mode), mtime: None, ..old };
        let made = self.tree.write(Path::new(path), text.into(), &meta);
        debug_assert!(made.is_ok(), "{made:?}");
    }

    fn link(&mut self, path: &str, target: &str) {
        let made = self.tree.symlink(Path::new(path), Path::new(target), &Attributes::default());
        debug_assert!(made.is_ok(), "{made:?}");
    }

    fn attributes(&mut self, path: &str, meta: &Attributes) {
        let made = self.tree.set_attributes(Path::new(path), meta);
        debug_assert!(made.is_ok(), "{made:?}");
    }

    /// Runs a simulated program while the host is being set up; its effects do not count.
    pub fn does(&mut self, line: &str) {
        let done = self.run(&Command::changing(line.split(' '), Duration::from_secs(1)));
        debug_assert!(done.as_ref().is_ok_and(super::super::Output::ok), "{line}: {done:?}");
        self.effects = 0;
    }

    /// Puts a file there while the host is being set up.
    pub fn has(&mut self, path: &str, text: &str) {
        self.file(path, text, 0o644);
    }
}
