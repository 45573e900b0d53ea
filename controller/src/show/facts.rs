//! Facts for people: a few grouped lines a host, in units that are read at a glance, and the line for the inventory.

use std::fmt::Write;

use weiche_agent::protocol::Facts;
use weiche_agent::protocol::facts::{Filesystem, Interface, Machine, PackageManager, TimeService};

use crate::input::target::HostName;

/// One host's facts.
pub fn text(host: &HostName, facts: &Facts) -> String {
    let mut out = format!("{host}{}\n", if facts.simulated { "  (packages and units are simulated)" } else { "" });
    for (name, lines) in groups(facts) {
        for (at, line) in lines.iter().filter(|line| !line.trim().is_empty()).enumerate() {
            // Writing to a string does not fail.
            let _ = writeln!(out, "  {:<12} {}", if at == 0 { name } else { "" }, line.trim());
        }
    }
    out
}

fn groups(facts: &Facts) -> Vec<(&'static str, Vec<String>)> {
    let (os, cpu, memory, hardware) = (&facts.os, &facts.cpu, &facts.memory, &facts.hardware);
    let name = if os.name.is_empty() { format!("{} {}", os.id, os.version) } else { os.name.clone() };
    let available = format!("{} available", bytes(memory.available_bytes));
    let swap = if memory.swap_bytes == 0 { "no swap".into() } else { format!("{} swap", bytes(memory.swap_bytes)) };
    let disks = facts.disks.iter().map(|disk| {
        let spins = if disk.rotational { "rotating" } else { "solid state" };
        format!("{}  {}  {spins}  {}", disk.name, bytes(disk.size_bytes), disk.model)
    });
    let routes = facts.network.default_routes.iter().map(|route| {
        let gateway = if route.gateway.is_empty() { "directly" } else { &route.gateway };
        format!("default route: {gateway} on {}", route.interface)
    });
    let dns = facts.network.dns_servers.join(", ");
    let dns = (!dns.is_empty()).then(|| format!("name servers: {dns}"));
    vec![
        ("system", vec![format!("{name}, kernel {}, {}", facts.kernel, cpu.architecture)]),
        ("hardware", vec![machine(facts), format!("{} x {}", cpu.logical, cpu.model).trim_end_matches(" x ").into()]),
        ("memory", vec![format!("{}, {available}, {swap}", bytes(memory.total_bytes))]),
        ("disks", disks.collect()),
        ("filesystems", facts.filesystems.iter().map(filesystem).collect()),
        (
            "network",
            facts
                .network
                .interfaces
                .iter()
                .filter(|i| i.name != "lo")
                .map(interface)
                .chain(routes)
                .chain(dns)
                .collect(),
        ),
        ("clock", vec![clock(facts)]),
        ("packages", vec![packages(facts)]),
        ("restart", vec![restart(facts)]),
        ("boot id", vec![facts.boot_id.clone()]),
        ("agent", vec![format!("user id {}, {} free for its state", facts.uid, bytes(facts.state_free_bytes))]),
        ("inventory", vec![inventory(&hardware.serial, &facts.machine_id)]),
    ]
}

fn machine(facts: &Facts) -> String {
    let (hardware, on) = (&facts.hardware, &facts.virtualisation);
    let kind = match on.kind {
        Machine::Physical => "",
        Machine::Virtual => "virtual machine",
        Machine::Container => "container",
    };
    let made = format!("{} {}", hardware.vendor, hardware.product);
    let technology = if on.technology.is_empty() { String::new() } else { format!(" ({})", on.technology) };
    [made.trim(), &format!("{kind}{technology}")].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(", ")
}

fn filesystem(filesystem: &Filesystem) -> String {
    let room = filesystem
        .space
        .map_or_else(String::new, |space| format!("{} free of {}", bytes(space.free_bytes), bytes(space.size_bytes)));
    let read_only = if filesystem.read_only { "read-only" } else { "" };
    format!("{}  {}  {room}  {}  {read_only}", filesystem.mount_point, filesystem.r#type, filesystem.device)
}

fn interface(interface: &Interface) -> String {
    let addresses = interface.addresses.join(", ");
    format!("{}  {}  {}  {addresses}", interface.name, interface.state, interface.mac)
}

fn clock(facts: &Facts) -> String {
    let service = match facts.time.service {
        TimeService::Timesyncd => "systemd-timesyncd",
        TimeService::Chrony => "chrony",
        TimeService::Ntpd => "ntpd",
        TimeService::None => "nothing known keeps it right",
    };
    let state = match facts.time.synchronized {
        Some(true) => ", synchronized",
        Some(false) => ", NOT synchronized",
        None => "",
    };
    format!("{service}{state}")
}

fn packages(facts: &Facts) -> String {
    let manager = match facts.package_manager {
        PackageManager::Apt => "apt",
        PackageManager::Dnf => "dnf",
        PackageManager::None => "no known package manager",
    };
    if facts.rsync.is_empty() { manager.into() } else { format!("{manager}, rsync {}", facts.rsync) }
}

fn restart(facts: &Facts) -> String {
    if !facts.reboot.pending {
        return "not needed".into();
    }
    let kernel = facts.reboot.newer_kernel.iter().map(|kernel| format!("kernel {kernel}"));
    let why: Vec<String> = kernel.chain(facts.reboot.packages.iter().cloned()).collect();
    format!("NEEDED {}", why.join(", "))
}

/// Bytes in the unit that a person would use.
fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// What identifies the host, as a member's file wants it.
fn inventory(serial: &str, machine_id: &str) -> String {
    let quoted = |name: &str, value: &str| (!value.is_empty()).then(|| format!("{name}: {value:?}"));
    let known: Vec<String> =
        [quoted("serial", serial), quoted("machine_id", machine_id)].into_iter().flatten().collect();
    known.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use weiche_agent::protocol::facts::{Cpu, Disk, Network, Space};

    #[test]
    fn facts_are_shown_in_groups_with_units() {
        let filesystem = Filesystem {
            device: "/dev/sda1".into(),
            mount_point: "/".into(),
            r#type: "ext4".into(),
            space: Some(Space { size_bytes: 100 << 30, free_bytes: 40 << 30 }),
            read_only: true,
        };
        let interface = Interface {
            name: "eth0".into(),
            mac: "02:00:00:00:00:01".into(),
            mtu: 1500,
            state: "up".into(),
            addresses: vec!["192.0.2.11/24".into()],
        };
        let mut facts = Facts {
            disks: vec![Disk { name: "sda".into(), size_bytes: 1 << 40, rotational: true, model: "EXAMPLE".into() }],
            filesystems: vec![filesystem],
            network: Network { interfaces: vec![interface], ..Network::default() },
            machine_id: "0123456789abcdef0123456789abcdef".into(),
            ..Facts::default()
        };
        facts.os.name = "Debian GNU/Linux 12 (bookworm)".into();
        facts.kernel = "6.1.0-25-amd64".into();
        facts.cpu = Cpu { model: "Example CPU".into(), logical: 4, architecture: "x86_64".into() };
        facts.memory.total_bytes = 16 << 30;
        facts.hardware.serial = "CZC0000001".into();
        facts.reboot.pending = true;
        facts.reboot.packages = vec!["libc6".into()];
        insta::assert_snapshot!(text(&HostName("rathaus/fs".into()), &facts), @r###"
        rathaus/fs
          system       Debian GNU/Linux 12 (bookworm), kernel 6.1.0-25-amd64, x86_64
          hardware     4 x Example CPU
          memory       16.0 GiB, 0.0 KiB available, no swap
          disks        sda  1.0 TiB  rotating  EXAMPLE
          filesystems  /  ext4  40.0 GiB free of 100.0 GiB  /dev/sda1  read-only
          network      eth0  up  02:00:00:00:00:01  192.0.2.11/24
          clock        nothing known keeps it right
          packages     no known package manager
          restart      NEEDED libc6
          agent        user id 0, 0.0 KiB free for its state
          inventory    serial: "CZC0000001", machine_id: "0123456789abcdef0123456789abcdef"
        "###);
    }
}
