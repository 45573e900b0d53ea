//! The system: os-release(5), the clock, restarts that are due, what installs packages.

use std::time::Duration;

use super::{clip, exists, names, text};
use crate::host::{Command, Host};
use crate::protocol::facts::{MAX_ITEMS, PackageManager, PendingReboot, TimeService, TimeSync};

/// A variable of os-release(5), which are written like a shell's.
pub(super) fn variable(release: &str, name: &str) -> String {
    let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = value.unwrap_or_default().trim();
    let inner = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    let text = inner('"').or_else(|| inner('\'')).unwrap_or(value);
    clip(&text.replace('\\', ""))
}

/// By what these services leave in `/run`; that of timesyncd tells whether the clock was set.
pub(super) fn time(host: &mut dyn Host) -> TimeSync {
    if exists(host, "/run/systemd/timesync") {
        let synchronized = Some(exists(host, "/run/systemd/timesync/synchronized"));
        return TimeSync { service: TimeService::Timesyncd, synchronized };
    }
    let mut any = |files: [&str; 2]| files.iter().any(|file| exists(host, file));
    let service = if any(["/run/chrony/chronyd.pid", "/run/chronyd.pid"]) {
        TimeService::Chrony
    } else if any(["/run/ntpd.pid", "/run/ntp/ntpd.pid"]) {
        TimeService::Ntpd
    } else {
        TimeService::None
    };
    TimeSync { service, synchronized: None }
}

/// Debian's `/run/reboot-required`, and a kernel that waits for its first boot.
pub(super) fn reboot(host: &mut dyn Host, running: &str, container: bool) -> PendingReboot {
    let mut packages: Vec<String> = text(host, "/run/reboot-required.pkgs")
        .unwrap_or_default()
        .lines()
        .map(|line| clip(line.trim()))
        .filter(|line| !line.is_empty())
        .take(MAX_ITEMS)
        .collect();
    packages.sort();
    packages.dedup();
    // A container's kernel is another's business.
    let newer_kernel = if container { None } else { newest(running, names(host, "/lib/modules")) };
    PendingReboot {
        pending: newer_kernel.is_some() || exists(host, "/run/reboot-required"),
        packages,
        newer_kernel: newer_kernel.map(|name| clip(&name)),
    }
}

/// The newest of these kernels that is newer than the running one and of its flavour (what follows the numbers).
pub(super) fn newest(running: &str, kernels: Vec<String>) -> Option<String> {
    let kernels = kernels.into_iter().filter(|kernel| flavour(kernel) == flavour(running));
    kernels.max_by_key(|kernel| version(kernel)).filter(|kernel| version(kernel) > version(running))
}

fn flavour(release: &str) -> &str {
    release.rfind(['-', '.']).map_or("", |at| &release[at..]).trim_matches(|c: char| c.is_numeric())
}

/// A kernel's release for comparing: its numbers in order, up to the flavour.
fn version(release: &str) -> Vec<u64> {
    let numbers = release.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    numbers.map(|part| part.parse().unwrap_or(u64::MAX)).collect()
}

/// What installs packages, by the programs that are there; a sandbox host simulates apt.
pub fn package_manager(host: &mut dyn Host) -> PackageManager {
    let mut any = |files: &[&str]| files.iter().any(|file| exists(host, file));
    if any(&["/usr/bin/apt-get"]) {
        PackageManager::Apt
    } else if any(&["/usr/bin/dnf", "/usr/bin/dnf5"]) {
        PackageManager::Dnf
    } else if host.simulated() {
        PackageManager::Apt
    } else {
        PackageManager::None
    }
}

/// The version of rsync(1); `None` if there is none.
pub fn rsync(host: &mut dyn Host) -> Option<[u32; 3]> {
    let ask = Command { timeout: Duration::from_secs(5), ..Command::reading(["rsync", "--version"]) };
    rsync_version(&host.run(&ask).ok()?.stdout)
}

/// `rsync  version 3.2.7  protocol version 31`.
pub(super) fn rsync_version(said: &str) -> Option<[u32; 3]> {
    let word = said.split_whitespace().skip_while(|word| *word != "version").nth(1)?;
    let mut numbers = word.trim_start_matches('v').split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some([numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?])
}
