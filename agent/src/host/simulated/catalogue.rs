//! The packages that the simulated archive knows more of than that they exist.

/// What the archive says of one package.
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// Newest first.
    pub(super) versions: &'static [&'static str],
    pub(super) depends: &'static [&'static str],
    /// Units that it ships, enabled and started when it is installed, with the configuration they read.
    pub(super) units: &'static [(&'static str, &'static str)],
    /// Configuration files that it ships.
    pub(super) conffiles: &'static [&'static str],
}

/// Version of every package that is not listed.
pub(super) const ANY_VERSION: &[&str] = &["1.0-sim"];

const NGINX: &[&str] = &["1.22.1-9+deb12u2", "1.22.1-9", "1.18.0-6.1+deb11u3"];
const POSTGRESQL: &[&str] = &["15+248"];
const SAMBA: &[&str] = &["2:4.17.12+dfsg-0+deb12u1", "2:4.13.13+dfsg-1~deb11u6"];

static ENTRIES: &[Entry] = &[
    Entry {
        name: "cups",
        versions: &["2.4.2-3+deb12u8"],
        depends: &["cups-common"],
        units: &[("cups.service", "/etc/cups/cupsd.conf")],
        conffiles: &["/etc/cups/cupsd.conf"],
    },
    Entry {
        name: "nginx",
        versions: NGINX,
        depends: &["nginx-common"],
        units: &[("nginx.service", "/etc/nginx/nginx.conf")],
        conffiles: &[],
    },
    Entry { name: "nginx-common", versions: NGINX, depends: &[], units: &[], conffiles: &["/etc/nginx/nginx.conf"] },
    Entry { name: "postgresql", versions: POSTGRESQL, depends: &["postgresql-15"], units: &[], conffiles: &[] },
    Entry {
        name: "postgresql-15",
        versions: &["15.10-0+deb12u1"],
        depends: &["postgresql-common"],
        units: &[("postgresql.service", "/etc/postgresql/15/main/postgresql.conf")],
        conffiles: &["/etc/postgresql/15/main/postgresql.conf"],
    },
    Entry {
        name: "samba",
        versions: SAMBA,
        depends: &["samba-common"],
        units: &[("smbd.service", "/etc/samba/smb.conf"), ("nmbd.service", "/etc/samba/smb.conf")],
        conffiles: &[],
    },
    Entry { name: "samba-common", versions: SAMBA, depends: &[], units: &[], conffiles: &["/etc/samba/smb.conf"] },
];

/// What the archive knows of a package beyond its name.
pub(super) fn entry(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|e| e.name == name)
}

/// The versions on offer, newest first; none for names that begin with `no-such-`.
pub(super) fn versions(name: &str) -> &'static [&'static str] {
    match entry(name) {
        Some(entry) => entry.versions,
        None if name.starts_with("no-such-") => &[],
        None => ANY_VERSION,
    }
}

/// The unit file of a unit that a package ships.
pub(super) fn unit_file(package: &str, unit: &str, config: &str) -> String {
    format!(
        "[Unit]\nDescription={unit} of {package} (simulated)\nX-Config={config}\n\
         [Service]\nExecStart=/usr/sbin/{package}\n[Install]\nWantedBy=multi-user.target\n"
    )
}
