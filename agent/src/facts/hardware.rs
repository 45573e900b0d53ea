//! The machine: DMI (sysfs-class-dmi), the device tree, processors, and whether it is virtual.

use super::{clip, line, text, value};
use crate::host::Host;
use crate::protocol::facts::{Hardware, Machine, Virtualisation};

/// What makers leave where a serial number should be.
const PLACEHOLDERS: [&str; 12] = [
    "0",
    "0123456789",
    "123456789",
    "chassis serial number",
    "default string",
    "empty",
    "n/a",
    "none",
    "not applicable",
    "not specified",
    "system serial number",
    "to be filled by o.e.m.",
];

/// Makers of virtual machines as DMI names them, and what systemd-detect-virt(1) calls those.
const MAKERS: [(&str, &str); 9] = [
    ("qemu", "kvm"),
    ("red hat", "kvm"),
    ("vmware", "vmware"),
    ("innotek", "oracle"),
    ("virtualbox", "oracle"),
    ("xen", "xen"),
    ("amazon ec2", "amazon"),
    ("google compute engine", "google"),
    ("parallels", "parallels"),
];

/// What identifies the machine: empty in a container, whose firmware is another's.
pub fn told(host: &mut dyn Host) -> Hardware {
    let cpuinfo = text(host, "/proc/cpuinfo").unwrap_or_default();
    match virtualisation(host, &cpuinfo).kind {
        Machine::Container => Hardware::default(),
        Machine::Physical | Machine::Virtual => dmi(host),
    }
}

pub(super) fn dmi(host: &mut dyn Host) -> Hardware {
    let mut one = |dmi: &str, tree: &str| {
        let told = line(host, &format!("/sys/class/dmi/id/{dmi}"));
        told.or_else(|| line(host, &format!("/sys/firmware/devicetree/base/{tree}"))).unwrap_or_default()
    };
    let (vendor, product) = (one("sys_vendor", "vendor"), one("product_name", "model"));
    let serial = one("product_serial", "serial-number");
    Hardware { vendor, product, serial: if placeholder(&serial) { String::new() } else { serial } }
}

fn placeholder(serial: &str) -> bool {
    let serial = serial.to_ascii_lowercase();
    PLACEHOLDERS.contains(&serial.as_str()) || serial.bytes().all(|byte| !byte.is_ascii_alphanumeric())
}

pub(super) fn cpu_model(cpuinfo: &str) -> String {
    let names = ["model name", "Model", "cpu", "Hardware"];
    names.iter().find_map(|name| value(cpuinfo, name)).map(clip).unwrap_or_default()
}

/// In the order of systemd-detect-virt(1): a container on a virtual machine is a container.
pub(super) fn virtualisation(host: &mut dyn Host, cpuinfo: &str) -> Virtualisation {
    let found = |kind, technology: &str| Virtualisation { kind, technology: clip(technology) };
    if let Some(name) = line(host, "/run/systemd/container").or_else(|| environ(host)) {
        return found(Machine::Container, &name);
    }
    for (file, name) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
        if super::exists(host, file) {
            return found(Machine::Container, name);
        }
    }
    let mut told = |file: &str| line(host, &format!("/sys/class/dmi/id/{file}")).unwrap_or_default();
    let dmi = format!("{} {}", told("sys_vendor"), told("product_name"));
    match (maker(&dmi), hypervisor(cpuinfo)) {
        (Some(name), _) => found(Machine::Virtual, name),
        (None, true) => found(Machine::Virtual, ""),
        (None, false) => Virtualisation::default(),
    }
}

/// What started process 1, if it says so (<https://systemd.io/CONTAINER_INTERFACE>).
fn environ(host: &mut dyn Host) -> Option<String> {
    let text = text(host, "/proc/1/environ")?;
    text.split('\0').find_map(|variable| variable.strip_prefix("container=")).filter(|n| !n.is_empty()).map(clip)
}

fn maker(dmi: &str) -> Option<&'static str> {
    let dmi = dmi.to_ascii_lowercase();
    // Their real machines have the same maker.
    if dmi.contains("microsoft corporation virtual machine") {
        return Some("microsoft");
    }
    MAKERS.iter().find(|(maker, _)| dmi.contains(maker)).map(|(_, name)| *name)
}

fn hypervisor(cpuinfo: &str) -> bool {
    value(cpuinfo, "flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"))
}
