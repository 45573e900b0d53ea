//! Debian packages that a host can install from its local repository, with all that they depend on.
//!
//! They are fetched once, by this machine's apt, as if for the root of a host: what that has already is left out.
//! Recommended packages are left out, too, because a host then installs what is asked for and nothing else.

use std::fs;
use std::path::Path;

use super::base::Release;
use crate::tool;

/// What hosts of a release can install.
pub(crate) fn offered(release: Release) -> &'static [&'static str] {
    match release {
        Release::Bookworm => &OFFERED,
        Release::Trixie => &NEWER,
    }
}

/// The same of the newer release: what a server needs whose database moves there.
const NEWER: [&str; 4] = ["cron", "postgresql", "python3-psycopg2", "rsync"];

/// What can be installed; alphabetical.
const OFFERED: [&str; 17] = [
    "acl",
    "bind9",
    "bind9-dnsutils",
    "cron",
    "cups",
    // `ippeveprinter`: a printer that takes jobs.
    "cups-ipp-utils",
    "curl",
    "ifupdown",
    "iputils-arping",
    "locales",
    "nginx",
    "postgresql",
    "python3-psycopg2",
    "rsync",
    "samba",
    "smbclient",
    "systemd-timesyncd",
];

/// The keys that sign Debian's releases.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Fetches all into a directory, for a host whose root is `system`.
///
/// # Panics
/// With what apt said, if it cannot.
pub(crate) fn fetch(release: Release, system: &Path, mirror: &str, dir: &Path) {
    eprintln!("lab: fetching the packages that hosts can install, once");
    let work = dir.join("work");
    for part in ["etc/apt.conf.d", "etc/preferences.d", "lists/partial", "cache/archives/partial"] {
        let part = work.join(part);
        fs::create_dir_all(&part).unwrap_or_else(|error| panic!("{}: {error}", part.display()));
    }
    let sources = work.join("sources.list");
    fs::write(&sources, format!("deb [signed-by={KEYRING}] {mirror} {} main\n", release.suite()))
        .expect("our own directory");
    let set = [
        ("Dir::Etc::SourceList", sources),
        ("Dir::Etc::SourceParts", work.join("etc")),
        ("Dir::Etc::Preferences", work.join("etc/preferences")),
        ("Dir::Etc::PreferencesParts", work.join("etc/preferences.d")),
        ("Dir::State::Lists", work.join("lists")),
        ("Dir::State::status", system.join("var/lib/dpkg/status")),
        ("Dir::State::extended_states", system.join("var/lib/apt/extended_states")),
        ("Dir::Cache", work.join("cache")),
        ("Debug::NoLocking", "true".into()),
        ("APT::Sandbox::User", "root".into()),
        ("APT::Install-Recommends", "false".into()),
    ];
    let apt = |arguments: &[&str]| {
        let mut apt = tool::command("apt-get");
        apt.args(set.iter().flat_map(|(name, value)| [String::from("-o"), format!("{name}={}", value.display())]));
        tool::try_run(apt.args(arguments)).unwrap_or_else(|error| panic!("{error}"));
    };
    apt(&["update", "-qq"]);
    apt(&[&["install", "-qq", "-y", "--download-only"], offered(release)].concat());
    for entry in fs::read_dir(work.join("cache/archives")).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "deb") {
            fs::rename(entry.path(), dir.join(entry.file_name())).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    fs::remove_dir_all(&work).unwrap_or_else(|error| panic!("{}: {error}", work.display()));
}
