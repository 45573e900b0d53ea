//! The parsers on what real hosts say, and a whole host in memory.

use super::*;
use crate::host::fake::FakeHost;
use crate::protocol::facts::{PackageManager, TimeService};

const MOUNTS: &str = "\
sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0
/dev/mapper/vg0-root / ext4 rw,relatime,errors=remount-ro 0 0
tmpfs /run tmpfs rw,nosuid,nodev,size=403920k,mode=755 0 0
/dev/sda1 /boot ext4 ro,relatime 0 0
/dev/sdb1 /srv/Alte\\040Daten xfs rw,relatime 0 0
nas.example:/export /mnt/nas nfs4 rw,relatime,vers=4.2 0 0
/dev/sdc1 /media/usb vfat rw 0 0
tmpfs /media/usb tmpfs rw 0 0
half a line
";

const ROUTE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t010200C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\tFE0200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
";

const ROUTE6: &str = "\
20010db8000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
";

#[test]
fn mounts_that_hold_data_are_found() {
    let found = storage::mounts(MOUNTS);
    let lines: Vec<String> =
        found.iter().map(|f| format!("{} {} {} {}", f.mount_point, f.device, f.r#type, f.read_only)).collect();
    assert_eq!(
        lines,
        [
            "/ /dev/mapper/vg0-root ext4 false",
            "/boot /dev/sda1 ext4 true",
            "/mnt/nas nas.example:/export nfs4 false",
            "/srv/Alte Daten /dev/sdb1 xfs false",
        ]
    );
}

#[test]
fn facts_are_bounded() {
    let many: String = (0..1000).map(|n| format!("/dev/sd{n} /mnt/{n} ext4 rw 0 0\n")).collect();
    assert_eq!(storage::mounts(&many).len(), MAX_ITEMS);
    let servers: String = (0..1000).map(|_| "nameserver 192.0.2.1\n").collect();
    assert_eq!(network::name_servers(&servers).len(), MAX_ITEMS);
    assert_eq!(system::variable(&format!("ID={}\n", "x".repeat(9999)), "ID").len(), MAX_TEXT);
}

#[cfg(target_endian = "little")]
#[test]
fn the_default_route_with_the_lowest_metric_counts() {
    let route = network::default_v4(ROUTE).unwrap();
    assert_eq!((route.gateway.as_str(), route.interface.as_str()), ("192.0.2.254", "eth0"));
    let route = network::default_v6(ROUTE6).unwrap();
    assert_eq!((route.gateway.as_str(), route.interface.as_str()), ("fe80::1", "eth0"));
    assert_eq!(network::default_v4("Iface\nrubbish\n"), None);
    assert_eq!(network::default_v6(""), None);
}

#[test]
fn name_servers_are_addresses() {
    let text = "# made up\nsearch example\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver nonsense\n";
    assert_eq!(network::name_servers(text), ["192.0.2.53", "fe80::1%eth0"]);
}

#[test]
fn a_newer_kernel_of_the_same_flavour_waits() {
    let kernels = |list: &[&str]| list.iter().map(|k| (*k).to_owned()).collect::<Vec<_>>();
    let newest = |list: &[&str]| system::newest("6.1.0-9-amd64", kernels(list));
    assert_eq!(newest(&["6.1.0-9-amd64", "6.1.0-25-amd64", "6.1.0-10-amd64"]).as_deref(), Some("6.1.0-25-amd64"));
    assert_eq!(newest(&["6.1.0-9-amd64", "6.1.0-8-amd64"]), None);
    assert_eq!(newest(&["6.1.0-25-rt-686"]), None);
    assert_eq!(newest(&[]), None);
}

#[test]
fn os_release_is_read_like_a_shell_does() {
    let release = "NAME='Fedora Linux'\nID=fedora\nID_LIKE=x\nVERSION_ID=\"41\"\nPRETTY_NAME=\"A \\\"B\\\"\"\n";
    let of = |name: &str| system::variable(release, name);
    assert_eq!((of("ID"), of("VERSION_ID"), of("NAME")), ("fedora".into(), "41".into(), "Fedora Linux".into()));
    assert_eq!(of("PRETTY_NAME"), "A \"B\"");
}

#[test]
fn a_whole_host_tells_what_it_is() {
    let mut host = FakeHost::debian();
    for (path, text) in [
        ("/usr/lib/os-release", "ID=debian\nVERSION_ID=\"13\"\n"),
        ("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Example CPU\nflags\t\t: fpu hypervisor\n"),
        ("/proc/meminfo", "MemTotal:        2048 kB\nMemAvailable:    1024 kB\nSwapTotal:        512 kB\n"),
        ("/proc/self/mounts", "/dev/sda1 / ext4 rw 0 0\n"),
        ("/sys/block/sda/size", "2048\n"),
        ("/sys/block/sda/queue/rotational", "1\n"),
        ("/sys/block/sda/device/model", "EXAMPLE DISK   \n"),
        ("/sys/block/loop0/size", "2048\n"),
        ("/sys/class/net/eth0/ifindex", "2\n"),
        ("/sys/class/net/eth0/address", "02:00:00:00:00:01\n"),
        ("/sys/class/net/eth0/mtu", "1500\n"),
        ("/sys/class/net/eth0/operstate", "up\n"),
        ("/sys/class/dmi/id/sys_vendor", "QEMU\n"),
        ("/sys/class/dmi/id/product_serial", "Default string\n"),
        ("/etc/resolv.conf", "nameserver 127.0.0.53\n"),
        ("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.53\n"),
        ("/run/systemd/timesync/synchronized", ""),
        ("/run/reboot-required", "*** System restart required ***\n"),
        ("/run/reboot-required.pkgs", "libc6\ndbus\nlibc6\n"),
        ("/usr/bin/apt-get", ""),
    ] {
        host.has(path, text);
    }
    host.link("/etc/os-release", "../usr/lib/os-release");
    let facts = gather(&mut host).unwrap();
    assert_eq!(facts.os.version, "13", "the link is followed");
    assert_eq!((facts.cpu.model.as_str(), facts.cpu.logical), ("Example CPU", 4));
    assert_eq!(facts.memory, Memory { total_bytes: 2 << 20, available_bytes: 1 << 20, swap_bytes: 512 << 10 });
    assert_eq!(facts.disks.len(), 1, "{:?}", facts.disks);
    assert_eq!((facts.disks[0].size_bytes, facts.disks[0].model.as_str()), (1 << 20, "EXAMPLE DISK"));
    assert_eq!(facts.filesystems[0].space.unwrap().free_bytes, 64 << 30);
    assert_eq!(facts.network.interfaces[0].addresses, ["192.0.2.10/24"]);
    assert_eq!(facts.network.dns_servers, ["192.0.2.53"], "not the stub");
    assert_eq!((facts.virtualisation.kind, facts.virtualisation.technology.as_str()), (Machine::Virtual, "kvm"));
    assert_eq!(facts.hardware.serial, "", "a placeholder is no serial number");
    assert_eq!((facts.time.service, facts.time.synchronized), (TimeService::Timesyncd, Some(true)));
    assert!(facts.reboot.pending);
    assert_eq!(facts.reboot.packages, ["dbus", "libc6"]);
    assert_eq!(facts.package_manager, PackageManager::Apt);
    assert_eq!(facts.rsync, "3.2.7");

    host.has("/sys/class/dmi/id/product_serial", "CZC0000001\n");
    assert_eq!(hardware(&mut host).serial, "CZC0000001");
    host.has("/run/systemd/container", "systemd-nspawn\n");
    let facts = gather(&mut host).unwrap();
    assert_eq!(facts.virtualisation.technology, "systemd-nspawn");
    assert_eq!(facts.hardware, Hardware::default(), "a container's machine is another's");
}

#[test]
fn links_that_lead_in_a_circle_end() {
    let mut host = FakeHost::debian();
    host.link("/etc/os-release", "os-release");
    assert_eq!(gather(&mut host).unwrap().os.id, "");
}

#[test]
fn the_version_of_rsync_is_read() {
    let version = system::rsync_version;
    assert_eq!(version("rsync  version 3.2.7  protocol version 31\nCopyright"), Some([3, 2, 7]));
    assert_eq!(version("rsync  version v3.2.7-sub4  protocol"), Some([3, 2, 7]));
    assert_eq!(version(""), None);
}
