//! The cached Debian root that every host starts from.
//!
//! It is built once, under a lock, in a directory whose name is a digest of everything that determines it, and never
//! written again: change a list below and the next lab builds a new one. Building takes about two minutes and needs a
//! Debian mirror; hosts themselves reach no network and install from the local repository in [`REPOSITORY`] only.

use std::fs::{self, File};
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};

use super::{cache, debian, leftover, package};
use crate::tool;

/// Debian's release that a host runs. The root of one is built when it is first asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// Debian 12, with PostgreSQL 15: what this machine's mirror is known for.
    #[default]
    Bookworm,
    /// Debian 13, with PostgreSQL 17: what a server is replaced with today.
    Trixie,
}

impl Release {
    /// Its name in a mirror.
    pub(crate) fn suite(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

/// What a host has besides Debian's minimal system.
const PACKAGES: [&str; 15] = [
    "acl",
    "attr",
    "dbus",
    "e2fsprogs",
    "iproute2",
    "iputils-ping",
    "libpam-systemd",
    "nftables",
    "openssh-server",
    "openssl",
    "procps",
    "rsync",
    "sudo",
    "systemd",
    "systemd-sysv",
];

/// Makes a fresh Debian system a lab host.
///
/// The sshd configuration stays Debian's. The timers are those that take apt's lock at a time of their own choosing.
const CUSTOMISE: &str = r"set -eu
export DEBIAN_FRONTEND=noninteractive
useradd --create-home --shell /bin/bash --uid 1000 weiche
useradd --create-home --shell /bin/bash --uid 1001 nosudo
printf 'weiche ALL=(ALL:ALL) NOPASSWD: ALL\n' >/etc/sudoers.d/weiche
chmod 440 /etc/sudoers.d/weiche
: >/etc/resolv.conf
: >/etc/machine-id
rm -f /etc/systemd/system/timers.target.wants/apt-daily*.timer
rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
echo 'deb [trusted=yes] file:/srv/apt ./' >/etc/apt/sources.list
apt-get update -qq
";

/// The local repository inside the root.
const REPOSITORY: &str = "srv/apt";

/// Homes of the users who can log in, and the numbers of users and groups alike.
pub(crate) const HOMES: [(&str, u32); 3] = [("root", 0), ("home/weiche", 1000), ("home/nosudo", 1001)];

/// The directory of a release's root; builds it if need be.
pub(crate) fn ready(release: Release) -> PathBuf {
    let (cache, suite, offers) = (cache(), release.suite(), debian::offered(release));
    let system = cache.join(format!("debian-{}", digest(&(suite, PACKAGES))));
    let offered = cache.join(format!("offered-{}", digest(&(suite, PACKAGES, offers))));
    let base = cache.join(format!("base-{}", digest(&(suite, PACKAGES, offers, CUSTOMISE, package::ALL))));
    if base.exists() {
        return base;
    }
    let lock = File::create(cache.join("lock")).and_then(|lock| lock.lock().map(|()| lock));
    let _lock = lock.unwrap_or_else(|error| panic!("{}: {error}", cache.display()));
    if !system.exists() {
        build(&system, |root| bootstrap(release, root));
    }
    if !base.exists() {
        if !offered.exists() {
            build(&offered, |dir| debian::fetch(release, &system, &mirror(), dir));
        }
        build(&base, |root| customise(&system, &offered, root));
    }
    base
}

/// Builds a directory under another name first: it exists only when it is complete.
fn build(dir: &Path, fill: impl FnOnce(&Path)) {
    // We hold the lock, so what others began they did not finish: their test process was killed. The program it ran
    // may still be writing, hence a name of our own.
    for entry in fs::read_dir(cache()).into_iter().flatten().flatten() {
        let old = entry.path();
        if old.extension().is_some_and(|extension| extension == "partial") {
            // An interrupted debootstrap leaves /proc and /sys mounted.
            leftover::unmount_below(&old).unwrap_or_else(|error| panic!("{error}"));
            let _ = fs::remove_dir_all(&old);
        }
    }
    let partial = dir.with_added_extension(format!("{}.partial", std::process::id()));
    fill(&partial);
    leftover::unmount_below(&partial).unwrap_or_else(|error| panic!("{error}"));
    fs::rename(&partial, dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
}

fn bootstrap(release: Release, root: &Path) {
    let suite = release.suite();
    eprintln!("lab: building the Debian root of {suite} for hosts, once; this takes about a minute");
    let debs = cache().join("debs");
    fs::create_dir_all(&debs).unwrap_or_else(|error| panic!("{}: {error}", debs.display()));
    let mut debootstrap = tool::command("debootstrap");
    debootstrap.arg("--variant=minbase").arg(format!("--include={}", PACKAGES.join(",")));
    debootstrap.arg(format!("--cache-dir={}", debs.display())).arg(suite).arg(root).arg(mirror());
    tool::try_run(&mut debootstrap).unwrap_or_else(|error| panic!("{error}"));
}

fn customise(system: &Path, offered: &Path, root: &Path) {
    tool::run("cp", ["--archive", "--reflink=auto", tool::text(system), tool::text(root)]);
    // As links: the repository is only read, and so are these.
    tool::run("cp", ["--recursive", "--link", tool::text(offered), tool::text(&root.join(REPOSITORY))]);
    package::build_repository(&root.join(REPOSITORY));
    tool::run("chroot", [tool::text(root), "sh", "-c", CUSTOMISE]);
}

/// The Debian mirror that this machine itself uses, or `WEICHE_LAB_MIRROR`; it has all releases.
fn mirror() -> String {
    let known = Release::default().suite();
    if let Ok(mirror) = std::env::var("WEICHE_LAB_MIRROR") {
        return mirror;
    }
    let format = ["indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"];
    let targets = tool::run("apt-get", format);
    let mut repositories = targets.lines().filter_map(|line| line.split_once(' '));
    let found = repositories.find(|(release, _)| *release == known).map(|(_, uri)| uri.to_owned());
    found.unwrap_or_else(|| panic!("apt knows no repository of {known} here; set WEICHE_LAB_MIRROR to one"))
}

/// A short name for content; collisions would need somebody to try.
fn digest(content: &impl std::hash::Hash) -> String {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    content.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// FNV-1a (<http://www.isthe.com/chongo/tech/comp/fnv/>): stable over versions of Rust, unlike the default hasher.
struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
