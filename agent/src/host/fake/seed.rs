//! Ready-made fake hosts: a small Debian, and variants of it on which something is already there.

mod data;

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
const HOSTS: &str = "127.0.0.1\tlocalhost\n127.0.1.1\tfake\n::1\tlocalhost ip6-localhost\n";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const FSTAB: &str = "# made at installation\nUUID=7f0e / ext4 errors=remount-ro 0 1\n";
const PSQL: &str = "runuser -u postgres -- psql -X -A -t -q -w -v ON_ERROR_STOP=1 --dbname=dbname='postgres'";
const POSTGRES: &str = "-- init\n\
    CREATE ROLE \"readers\" WITH NOLOGIN INHERIT CONNECTION LIMIT -1;\n\
    CREATE ROLE \"retired\" WITH LOGIN NOINHERIT CREATEDB CONNECTION LIMIT 3 PASSWORD 'SCRAM-SHA-256$1:b2xk$YQ==:Yg==';\n\
    CREATE ROLE \"council\" WITH NOLOGIN INHERIT CONNECTION LIMIT -1 PASSWORD 'SCRAM-SHA-256$1:b2xk$Yw==:ZA==';\n\
    GRANT \"readers\" TO \"retired\";\nGRANT \"retired\" TO \"council\";\n\
    CREATE DATABASE \"minutes\" WITH OWNER \"readers\" TEMPLATE \"template0\" ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' \
    LC_CTYPE 'C.UTF-8' CONNECTION LIMIT 7;\n\
    CREATE DATABASE \"obsolete\" WITH OWNER \"readers\" TEMPLATE \"template1\" CONNECTION LIMIT 2;\n\
    CREATE DATABASE \"archive\" WITH OWNER \"readers\" TEMPLATE \"template1\" CONNECTION LIMIT -1;\n\
    FILL \"archive\";\n";
const UNITS: &str = "/etc/systemd/system";
const DNS: &str = "update add records.town.example. 3600 IN A 192.0.2.7\n\
    update add records.town.example. 3600 IN A 192.0.2.8\n\
    update add town.example. 300 IN TXT \"v=spf1 mx -all\" \"more\"\n\
    update add old.town.example. 60 IN CNAME records.town.example.\nsend\n";
const CRON: &str = "[Unit]\nDescription=Regular background program processing daemon\n\
    [Service]\nExecStart=/usr/sbin/cron -f\n[Install]\nWantedBy=multi-user.target\n";

impl FakeHost {
    /// A bare Debian: accounts, an os-release, the usual directories and a `cron.service` that runs.
    pub fn debian() -> FakeHost {
        let mut host = FakeHost::default();
        for dir in [
            "/etc",
            "/etc/apt",
            "/etc/apt/sources.list.d",
            "/etc/cron.d",
            "/etc/default",
            "/etc/network",
            "/etc/network/interfaces.d",
            "/etc/ssl",
            "/etc/sysctl.d",
            "/etc/systemd",
            "/etc/systemd/network",
            "/etc/systemd/system",
            "/lib",
            "/lib/systemd",
            "/lib/systemd/system",
            "/mnt",
            "/proc",
            "/proc/self",
            "/proc/sys",
            "/proc/sys/kernel",
            "/proc/sys/net",
            "/proc/sys/net/ipv4",
            "/proc/sys/vm",
            "/root",
            "/run",
            "/srv",
            "/tmp",
            "/usr",
            "/usr/bin",
            "/usr/lib",
            "/usr/lib/locale",
            "/usr/share",
            "/usr/share/i18n",
            "/usr/share/zoneinfo",
            "/usr/share/zoneinfo/Europe",
            "/var",
            "/var/cache",
            "/var/lib",
            "/var/lib/apt",
            "/var/lib/apt/lists",
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
        host.file("/etc/fstab", FSTAB, 0o644);
        host.file("/etc/os-release", OS_RELEASE, 0o644);
        host.file("/usr/share/zoneinfo/Europe/Berlin", "TZif", 0o644);
        host.link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC");
        host.file("/etc/hostname", "fake\n", 0o644);
        host.file("/etc/hosts", HOSTS, 0o644);
        host.file("/etc/locale.gen", "# de_DE.UTF-8 UTF-8\n# en_GB.UTF-8 UTF-8\n", 0o644);
        host.file("/usr/share/i18n/SUPPORTED", "de_DE.UTF-8 UTF-8\nen_GB.UTF-8 UTF-8\n", 0o644);
        host.kernel("kernel/hostname", "fake\n");
        host.kernel("net/ipv4/tcp_rmem", "4096\t131072\t6291456\n");
        host.kernel("vm/swappiness", "60\n");
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
        host.file("/etc/motd", "Welcome\0\0\n", 0o600);
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
        // Hard links: one name is replaced, one is removed; and a file with holes.
        host.further_name("/etc/old.conf", "/srv/old.conf");
        host.further_name("/etc/secret.conf", "/srv/secret.conf");
        host.attributes("/etc/secret.conf", &Attributes { gid: Some(42), ..Attributes::default() });
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
        host.texts_of_others();
        // Timers and mounts of the examples, otherwise.
        let nightly = "[Timer]\nOnCalendar=03:00\n[Install]\nWantedBy=timers.target\n";
        for name in ["minutes", "nightly"] {
            host.file(&format!("/etc/systemd/system/{name}.timer"), nightly, 0o600);
            host.does(&format!("systemctl enable {name}.timer"));
            host.does(&format!("systemctl start {name}.timer"));
        }
        host.file("/etc/systemd/system/nightly.service", "[Service]\nExecStart=/bin/true\n", 0o644);
        host.file(
            "/etc/fstab",
            &format!("{FSTAB}/dev/sdb1 /srv/archive xfs noatime\n/dev/sdc1 /srv/data ext4 nodev\n#end"),
            0o644,
        );
        host.file("/etc/network/interfaces", "source /etc/network/interfaces.d/*\n", 0o644);
        for card in ["eth0", "eth1"] {
            let text = format!("auto {card}\niface {card} inet static\n\taddress 198.51.100.7/24\n");
            host.file(&format!("/etc/network/interfaces.d/weiche-{card}"), &text, 0o600);
            host.does(&format!("ifup --force {card}"));
        }
        for name in ["region", "old-vendor"] {
            host.file(
                &format!("/etc/apt/sources.list.d/{name}.sources"),
                "Types: deb\nURIs: http://x.example\n",
                0o640,
            );
        }
        host.dir(&format!("{UNITS}/multi-user.target.wants"), 0o755);
        host.does("ip address add 192.0.2.10/24 dev eth2");
        host.does("ip address add 192.0.2.101/24 dev eth2");
        host.does("ip address add 2001:db8::10/64 dev eth2");
        for name in ["192.0.2.100", "192.0.2.101"] {
            host.file(&format!("{UNITS}/weiche-address-{name}.service"), "[Service]\nExecStart=/bin/true\n", 0o600);
        }
        host.link(
            &format!("{UNITS}/multi-user.target.wants/weiche-address-192.0.2.101.service"),
            "../weiche-address-192.0.2.101.service",
        );
        host.feeds(
            "nft -f -",
            "table inet weiche-hold-records\n\t\tiif != \"lo\" tcp flags & (syn | ack) == syn tcp dport { 80 } drop\n",
        );
        host.feeds("nsupdate -v", DNS);
        host.dir("/etc/apt/keyrings", 0o2755);
        host.file("/etc/apt/keyrings/region.asc", "an older key\n", 0o600);
        host.file("/var/lib/apt/lists/deb.example_debian_dists_bookworm_Release", "older\n", 0o644);
        host.file("/etc/ssl/town-hall.key", "an older key\n", 0o644);
        host.file("/etc/ssl/town-hall.pem", "an older certificate\n", 0o600);
        host.dir("/srv/archive", 0o700);
        host.dir("/mnt/plans", 0o755);
        host.feeds(PSQL, POSTGRES);
        host.cluster("auto", false);
        host.does("pg_ctlcluster 15 main start");
        host.feeds("nft -f -", "table ip others { }\n");
        host.file("/etc/nftables.conf", "flush ruleset\ntable ip old { }\n", 0o700);
        host.mirror("plans", None);
        host.dir("/srv/plans", 0o2750);
        host.file("/srv/plans/letter.txt", "another letter\n", 0o600);
        host.dir("/srv/plans/deep", 0o700);
        host.link("/srv/plans/deep/out", "/etc/passwd");
        host.does("mount /srv/archive");
        host.does("mount -t ext4 -o nodev,noexec -- /dev/sdc1 /srv/data");
        host.does("mount -t cifs -o nosuid -- //files.example/plans /mnt/plans");
        host
    }

    /// The files that kinds edit a part of, with that part and others' in them.
    fn texts_of_others(&mut self) {
        self.file("/etc/motd", "# BEGIN weiche notice\nalt\n# END weiche notice\nWelcome", 0o600);
        self.file("/etc/old.conf", "old = true\r\n; relay = x\r\n[mail]\r\nrelay=old.example.org\r\n[x]\r\n", 0o4755);
        let hosts = "192.0.2.8\told older\n192.0.2.9 scan print # rack 2\n192.0.2.7 print.town.example";
        self.file("/etc/hosts", &format!("{HOSTS}{hosts}"), 0o664);
        self.file("/etc/hostname", "# ours\nold-name\n", 0o600);
        self.dir("/root/.ssh", 0o755);
        self.file("/root/.ssh/authorized_keys", &format!("# admins\nno-pty {KEY} old\n{KEY} again\n"), 0o644);
        self.dir("/home", 0o755);
        self.dir("/home/scan", 0o750);
        self.file("/etc/cron.d/weiche-backup", "0 1 * * * root true\n", 0o600);
        self.file("/etc/cron.d/cleanup", "x", 0o644);
        self.file("/etc/sysctl.d/60-weiche-vm.swappiness.conf", "vm.swappiness=10\n", 0o640);
        self.does("apt-get install -y samba");
        let share =
            "[global]\n   workgroup = TOWN\n\n[Council]\n   path = /old\n   writable = yes\n\n# print\n[printers]\n";
        self.file("/etc/samba/smb.conf", share, 0o644);
        self.file("/etc/default/locale", "LANG=\"en_GB.UTF-8\"\nLC_MESSAGES=C", 0o640);
        self.file("/usr/lib/locale/locale-archive", "en_GB.utf8\n", 0o600);
        self.dir("/run/samba", 0o755);
        self.file("/run/samba/smbd.pid", "812\n", 0o644);
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
        host.dir("/etc/samba", 0o755);
        host.link("/etc/hosts", "/etc/hostname");
        host.link("/etc/cron.d/weiche-backup", "/etc/hostname");
        host.dir("/etc/cron.d/cleanup", 0o755);
        host.dir("/etc/sysctl.d/60-weiche-vm.swappiness.conf", 0o755);
        host.link("/root/.ssh", "/tmp");
        host.link("/etc/default/locale", "../locale.conf");
        host.file("/srv/archive", "a file\n", 0o644);
        host.link("/etc/ssl/town-hall.key", "/etc/hostname");
        host.dir("/etc/ssl/town-hall.chain", 0o755);
        host.link("/etc/nftables.conf", "/etc/nftables.d");
        host.link("/etc/systemd/system/minutes.timer", "/dev/null");
        host.file("/srv/forms", "a file\n", 0o644);
        host.link("/etc/council", "/srv/share");
        host.dir("/srv/viewer", 0o755);
        let made = host.tree.device(Path::new("/srv/viewer/device"));
        debug_assert!(made.is_ok());
        host.link("/srv/viewer.jar", "/etc/hostname");
        host.dir(&format!("{UNITS}/multi-user.target.wants"), 0o755);
        host.does("ip address add 192.0.2.10/24 dev eth2");
        host.link(&format!("{UNITS}/weiche-address-192.0.2.100.service"), "/dev/null");
        host.file(&format!("{UNITS}/multi-user.target.wants/weiche-address-2001:db8::100.service"), "x\n", 0o644);
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
        host.file("/etc/hosts", &format!("{HOSTS}192.0.2.9\tprint.town.example print\n"), 0o644);
        host.dir("/root/.ssh", 0o700);
        host.file(
            "/root/.ssh/authorized_keys",
            &format!("from=\"192.0.2.0/24\",no-pty {KEY} frida@example.org\n"),
            0o600,
        );
        host.file("/etc/locale.gen", "de_DE.UTF-8 UTF-8\nen_GB.UTF-8 UTF-8\n", 0o644);
        host.does("locale-gen");
        host.kernel("vm/swappiness", "10\n");
        host.dir("/srv/archive", 0o755);
        host.file("/etc/fstab", &format!("{FSTAB}LABEL=archive /srv/archive ext4 defaults,noexec,nofail 0 2\n"), 0o644);
        host.does("mount /srv/archive");
        host.file("/lib/systemd/system/systemd-networkd.service", CRON, 0o644);
        host.does("systemctl start systemd-networkd.service");
        host.mirror("plans", Some("/srv/plans"));
        host.mirror("letters", None);
        host.copied("/srv/plans");
        host.copied("/srv/share");
        host.cluster("auto", true);
        host.does("pg_ctlcluster 15 main start");
        host.feeds(PSQL, "-- init\nCREATE ROLE \"readers\" WITH NOLOGIN INHERIT CONNECTION LIMIT -1;\n");
        host.dir(&format!("{UNITS}/multi-user.target.wants"), 0o755);
        host.does("ip address add 192.0.2.10/24 dev eth2");
        host.does("ip address add 192.0.2.100/24 dev eth2");
        host.feeds("nft -f -", "table inet weiche-hold-records\n\t\tiif != \"lo\" tcp flags & (syn | ack) == syn tcp dport { 443, 5432 } drop\n");
        host.feeds("nsupdate -v", "update add records.town.example. 60 IN A 192.0.2.100\n");
        host.feeds(PSQL, "CREATE ROLE \"council\" WITH NOLOGIN INHERIT CONNECTION LIMIT -1;\n");
        host
    }

    fn older_packages() -> FakeHost {
        let mut host = FakeHost::debian();
        host.mirror("plans", None);
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
        host.mirror("plans", None);
        host.dir("/srv/plans", 0o1755);
        host.dir("/srv/plans/lost+found", 0o700);
        host.does("mount -t ext4 -o nodev -- /dev/sdb1 /srv/plans");
        host.does("apt-get install -y nginx");
        host.does("apt-get remove -y nginx");
        host.does("apt-get install -y samba telnet");
        host.does("apt-mark hold telnet");
        host.cluster("manual", false);
        host
    }

    /// Versions that no source offers any more: of one apt has a copy, of the other it has none.
    fn dropped_packages() -> FakeHost {
        let mut host = FakeHost::debian();
        host.mirror("letters", Some("/srv/share"));
        host.copied("/srv/share");
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
        let sparse = Some(text.contains("\0\0"));
        let meta = Attributes { mode: Some(mode), mtime: None, sparse, ..old };
        let made = self.tree.write(Path::new(path), text.into(), &meta);
        debug_assert!(made.is_ok(), "{made:?}");
    }

    fn further_name(&mut self, old: &str, new: &str) {
        let made = self.tree.hard_link(Path::new(old), Path::new(new));
        debug_assert!(made.is_ok(), "{made:?}");
    }

    /// A value of the kernel, which has no time of its own.
    fn kernel(&mut self, key: &str, value: &str) {
        let path = format!("/proc/sys/{key}");
        let tee = Command { stdin: value.into(), ..Command::changing(["tee", &path], Duration::from_secs(1)) };
        self.file(&path, value, 0o644);
        let done = self.run(&tee);
        debug_assert!(done.as_ref().is_ok_and(super::super::Output::ok), "{done:?}");
        self.effects = 0;
    }

    /// Makes a link while the host is being set up.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
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

    /// Sets permission bits while the host is being set up.
    pub fn chmod(&mut self, path: &str, mode: u32) {
        self.attributes(path, &Attributes { mode: Some(mode), ..Attributes::default() });
    }

    /// The same host, on which no agent has ever been.
    #[must_use]
    pub fn without_state(self) -> FakeHost {
        FakeHost { tree: self.tree, ..FakeHost::default() }
    }

    /// A simulated program with this on its standard input.
    fn feeds(&mut self, line: &str, stdin: &str) {
        let command = Command { stdin: stdin.into(), ..Command::changing(line.split(' '), Duration::from_secs(1)) };
        let done = self.run(&command);
        debug_assert!(done.as_ref().is_ok_and(super::super::Output::ok), "{line}: {done:?}");
        self.effects = 0;
    }

    /// Puts a file there while the host is being set up, with the directories above it.
    pub fn has(&mut self, path: &str, text: &str) {
        for (at, _) in path.match_indices('/').skip(1) {
            if self.tree.lstat(Path::new(&path[..at])).is_ok_and(|there| there.is_none()) {
                self.dir(&path[..at], 0o755);
            }
        }
        self.file(path, text, 0o644);
    }
}
