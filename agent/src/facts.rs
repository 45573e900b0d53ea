//! Facts of the host, from the kernel and a few files; the parsers take texts, [`gather`] reads them.
//!
//! Paths are the host's own: below a root directory there is no `/proc`, and what it would tell stays empty.

mod hardware;
mod network;
mod storage;
mod system;

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::fault::Fault;
use crate::host::{FileType, Host, simulated};
use crate::protocol::facts::{Cpu, Facts, Hardware, MAX_ITEMS, MAX_TEXT, Machine, Memory, Os};

pub use hardware::told as hardware;
pub use system::{package_manager, rsync};

/// Most bytes that are read of a file: what is wanted of longer ones stands at their beginning.
const MAX_FILE: u64 = 256 << 10;

/// Links followed to a file: `/etc/os-release` and `/etc/resolv.conf` mostly are some.
const MAX_LINKS: usize = 8;

/// Gathers all facts. What a host does not tell stays empty.
///
/// # Errors
/// Those of the host, for what every host has.
pub fn gather(host: &mut dyn Host) -> Result<Facts, Fault> {
    let platform = host.platform()?;
    let release = text(host, "/etc/os-release").or_else(|| text(host, "/usr/lib/os-release")).unwrap_or_default();
    let cpuinfo = text(host, "/proc/cpuinfo").unwrap_or_default();
    let memory = text(host, "/proc/meminfo").unwrap_or_default();
    let kibibytes = |name: &str| value(&memory, name).and_then(kibibytes).unwrap_or(0) * 1024;
    let virtualisation = hardware::virtualisation(host, &cpuinfo);
    let container = virtualisation.kind == Machine::Container;
    Ok(Facts {
        hostname: clip(&platform.hostname),
        os: Os {
            id: system::variable(&release, "ID"),
            version: system::variable(&release, "VERSION_ID"),
            name: system::variable(&release, "PRETTY_NAME"),
        },
        cpu: Cpu { model: hardware::cpu_model(&cpuinfo), logical: platform.cpus, architecture: clip(&platform.arch) },
        memory: Memory {
            total_bytes: kibibytes("MemTotal"),
            available_bytes: kibibytes("MemAvailable"),
            swap_bytes: kibibytes("SwapTotal"),
        },
        disks: storage::disks(host),
        filesystems: storage::filesystems(host),
        network: network::network(host, &platform.addresses),
        hardware: if container { Hardware::default() } else { hardware::dmi(host) },
        machine_id: machine_id(host),
        boot_id: boot_id(host),
        time: system::time(host),
        reboot: system::reboot(host, &platform.kernel, container),
        virtualisation,
        package_manager: package_manager(host),
        rsync: system::rsync(host).map_or_else(String::new, |[a, b, c]| format!("{a}.{b}.{c}")),
        kernel: clip(&platform.kernel),
        state_free_bytes: platform.state_free_bytes,
        uid: platform.uid,
        simulated: host.simulated(),
    })
}

/// `/etc/machine-id`; empty if there is none yet.
pub fn machine_id(host: &mut dyn Host) -> String {
    line(host, "/etc/machine-id").filter(|id| id != "uninitialized").unwrap_or_default()
}

/// The kernel's random id of this boot; of a sandbox host, one that its simulated restarts change.
pub fn boot_id(host: &mut dyn Host) -> String {
    if host.simulated() {
        return simulated::boot_id(host).unwrap_or_default();
    }
    line(host, "/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// The beginning of a file, links followed; `None` if it cannot be read, whyever.
pub fn text(host: &mut dyn Host, path: &str) -> Option<String> {
    let mut path = PathBuf::from(path);
    for _ in 0..MAX_LINKS {
        match host.lstat(&path).ok()??.file_type {
            FileType::File => {
                let mut bytes = Vec::new();
                host.open(&path).ok()?.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
                return Some(String::from_utf8_lossy(&bytes).into_owned());
            }
            FileType::Symlink => {
                // Where the target starts with `/` it is the whole path.
                path = plain(&path.parent()?.join(host.read_link(&path).ok()?));
            }
            FileType::Directory | FileType::Other => return None,
        }
    }
    None
}

/// A path without `..`: links of system files lead through directories that are none themselves.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
        plain
    })
}

/// A file's first line without blanks around it; `None` if that is empty.
fn line(host: &mut dyn Host, path: &str) -> Option<String> {
    let text = text(host, path)?;
    let line = text.lines().next()?.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!line.is_empty()).then(|| clip(line))
}

/// Names in a directory that are text, sorted, not too many; none if there is no such directory.
fn names(host: &mut dyn Host, path: &str) -> Vec<String> {
    let names = host.read_dir(Path::new(path)).unwrap_or_default();
    names.into_iter().filter_map(|name| name.into_string().ok()).take(8 * MAX_ITEMS).collect()
}

fn exists(host: &mut dyn Host, path: &str) -> bool {
    host.lstat(Path::new(path)).is_ok_and(|meta| meta.is_some())
}

fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

/// The value of `NAME: VALUE` in a file of proc(5).
fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

fn kibibytes(value: &str) -> Option<u64> {
    value.strip_suffix("kB").unwrap_or(value).trim().parse().ok()
}

#[cfg(test)]
mod tests;
