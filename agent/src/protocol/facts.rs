//! What a host says of itself. Everything is read, and only rsync(1) is asked for its version; what a host does not tell is empty,
//! `0` or absent. Lists have at most [`MAX_ITEMS`] entries, texts at most [`MAX_TEXT`] characters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most entries in a list of facts; what is beyond is left out.
pub const MAX_ITEMS: usize = 128;

/// Most characters of a text among the facts; what is beyond is cut off.
pub const MAX_TEXT: usize = 200;

/// What is known about a host before anything is planned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Facts {
    /// The host name that the kernel reports.
    pub hostname: String,
    /// The distribution.
    pub os: Os,
    /// Kernel release, e.g. `6.1.0-25-amd64`.
    pub kernel: String,
    /// The processors.
    pub cpu: Cpu,
    /// Main memory and swap.
    pub memory: Memory,
    /// Disks, without their partitions and without what is made of them (LVM, RAID), by name.
    pub disks: Vec<Disk>,
    /// Mounted file systems that hold data, by mount point; none that the kernel makes up.
    pub filesystems: Vec<Filesystem>,
    /// Interfaces, routes and name servers.
    pub network: Network,
    /// What the firmware says of the machine; empty in a container, whose machine is another's.
    pub hardware: Hardware,
    /// `/etc/machine-id`, 32 hexadecimal digits; empty if there is none. See machine-id(5).
    pub machine_id: String,
    /// The kernel's random id of this boot.
    pub boot_id: String,
    /// Whether the clock is kept right, and by what.
    pub time: TimeSync,
    /// Whether the host waits for a restart, and why.
    pub reboot: PendingReboot,
    /// What it runs on.
    pub virtualisation: Virtualisation,
    /// What installs packages.
    pub package_manager: PackageManager,
    /// The version of rsync(1), e.g. `3.2.7`; empty if there is none.
    pub rsync: String,
    /// Free bytes for the agent's state directory.
    pub state_free_bytes: u64,
    /// The user the agent runs as.
    pub uid: u32,
    /// Whether package and unit commands are simulated (a sandbox host).
    pub simulated: bool,
}

/// A distribution, as os-release(5) has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Os {
    /// `ID`, e.g. `debian`.
    pub id: String,
    /// `VERSION_ID`, e.g. `12`.
    pub version: String,
    /// `PRETTY_NAME`, e.g. `Debian GNU/Linux 12 (bookworm)`.
    pub name: String,
}

/// The processors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cpu {
    /// Name of the first one.
    pub model: String,
    /// How many programs can run at once.
    pub logical: u32,
    /// As in uname(2), e.g. `x86_64`.
    pub architecture: String,
}

/// Main memory and swap, from proc_meminfo(5).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// Usable main memory.
    pub total_bytes: u64,
    /// What programs could have without swapping.
    pub available_bytes: u64,
    /// Size of all swap areas.
    pub swap_bytes: u64,
}

/// A disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Disk {
    /// Name of its device below `/dev`, e.g. `sda`.
    pub name: String,
    /// Size.
    pub size_bytes: u64,
    /// Whether it has turning platters. Disks of virtual machines often claim that.
    pub rotational: bool,
    /// Its model, if it tells.
    pub model: String,
}

/// A mounted file system.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Filesystem {
    /// Device, or server and path.
    pub device: String,
    /// Where it is mounted.
    pub mount_point: String,
    /// Type, e.g. `ext4`.
    pub r#type: String,
    /// Size and what of it ordinary users can still have; absent for those of other machines, which may not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<Space>,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// Room of a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Space {
    /// Size.
    pub size_bytes: u64,
    /// What ordinary users can still have.
    pub free_bytes: u64,
}

/// Interfaces, routes and name servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Network {
    /// By name.
    pub interfaces: Vec<Interface>,
    /// Where packets go for which there is no other route: the one with the lowest metric, of each family.
    pub default_routes: Vec<Route>,
    /// Name servers of resolv.conf(5); those behind it where it names only systemd-resolved's stub.
    pub dns_servers: Vec<String>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interface {
    /// E.g. `eth0`.
    pub name: String,
    /// Hardware address; empty if it has none.
    pub mac: String,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// `operstate` of the kernel: `up`, `down`, `unknown`, ...
    pub state: String,
    /// Addresses with prefix length, e.g. `192.0.2.11/24`.
    pub addresses: Vec<String>,
}

/// A default route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// The router's address; empty if the interface itself leads everywhere.
    pub gateway: String,
    /// The interface.
    pub interface: String,
}

/// What the firmware (DMI, or the device tree) says of the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hardware {
    /// Who made it.
    pub vendor: String,
    /// What it is.
    pub product: String,
    /// Its serial number; empty if it has none, or only a placeholder that its maker forgot there.
    pub serial: String,
}

/// Who keeps the clock right.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimeSync {
    /// What runs for it.
    pub service: TimeService,
    /// Whether the clock has been set; absent where no file tells that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synchronized: Option<bool>,
}

/// Programs that keep the clock right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeService {
    /// systemd-timesyncd(8).
    Timesyncd,
    /// chronyd(8).
    Chrony,
    /// ntpd of NTP or NTPsec.
    Ntpd,
    /// None that is known.
    #[default]
    None,
}

/// Whether the host waits for a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PendingReboot {
    /// It does.
    pub pending: bool,
    /// Packages that asked for it (`/run/reboot-required.pkgs`).
    pub packages: Vec<String>,
    /// Release of an installed kernel that is newer than the running one of the same flavour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer_kernel: Option<String>,
}

/// What a host runs on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Virtualisation {
    /// Of which sort.
    pub kind: Machine,
    /// Its name in small letters as systemd-detect-virt(1) has it, e.g. `kvm` or `systemd-nspawn`; empty if unknown.
    pub technology: String,
}

/// Sorts of machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Machine {
    /// A machine that can be touched, as far as can be seen.
    #[default]
    Physical,
    /// A virtual machine.
    Virtual,
    /// A container: it shares the kernel with its machine.
    Container,
}

/// What installs packages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PackageManager {
    /// apt-get(8) and dpkg(1).
    Apt,
    /// dnf(8) and rpm(8).
    Dnf,
    /// None that is known.
    #[default]
    None,
}
