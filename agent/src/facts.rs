//! Facts of the host, from the kernel and a few files (os-release(5), machine-id(5), proc(5)).

use std::path::Path;

use crate::fault::Fault;
use crate::host::{Host, read_text};
use crate::protocol::Facts;

/// Gathers all facts. What a host does not tell stays empty.
///
/// # Errors
/// Those of the host, for what every host has.
pub fn gather(host: &mut dyn Host) -> Result<Facts, Fault> {
    let platform = host.platform()?;
    let mut text = |path: &str| read_text(host, Path::new(path)).ok().flatten().unwrap_or_default();
    let release = text("/etc/os-release");
    let memory = text("/proc/meminfo");
    let machine_id = text("/etc/machine-id").trim().to_owned();
    let boot_id = text("/proc/sys/kernel/random/boot_id").trim().to_owned();
    Ok(Facts {
        hostname: platform.hostname,
        os: variable(&release, "ID"),
        os_version: variable(&release, "VERSION_ID"),
        kernel: platform.kernel,
        arch: platform.arch,
        machine_id,
        boot_id,
        cpus: platform.cpus,
        memory_bytes: kibibytes(&memory, "MemTotal:") * 1024,
        state_free_bytes: platform.state_free_bytes,
        uid: platform.uid,
        simulated: host.simulated(),
    })
}

fn variable(release: &str, name: &str) -> String {
    let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_default().trim_matches('"').to_owned()
}

fn kibibytes(meminfo: &str, name: &str) -> u64 {
    let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.unwrap_or(0)
}
