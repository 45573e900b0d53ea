//! Disks (sysfs) and mounted file systems (proc_pid_mounts(5)).

use std::collections::BTreeMap;
use std::path::Path;

use super::{clip, exists, line, names, text};
use crate::host::Host;
use crate::protocol::facts::{Disk, Filesystem, MAX_ITEMS};

/// What sysfs counts in, whatever the disk's own sectors are.
const SECTOR: u64 = 512;

/// File systems of other machines: asking after their room can take for ever.
const REMOTE: [&str; 11] =
    ["9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "gfs2", "nfs", "nfs4", "smb3", "virtiofs"];

pub(super) fn disks(host: &mut dyn Host) -> Vec<Disk> {
    let mut disks = Vec::new();
    for name in names(host, "/sys/block") {
        let at = format!("/sys/block/{name}");
        // Loops, RAM disks, RAIDs and volumes have no device of their own; optical drives are no storage.
        if name.starts_with("sr") || !exists(host, &format!("{at}/device")) {
            continue;
        }
        let sectors = line(host, &format!("{at}/size")).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        if sectors > 0 && disks.len() < MAX_ITEMS {
            disks.push(Disk {
                size_bytes: sectors.saturating_mul(SECTOR),
                rotational: line(host, &format!("{at}/queue/rotational")).as_deref() == Some("1"),
                model: line(host, &format!("{at}/device/model")).unwrap_or_default(),
                name: clip(&name),
            });
        }
    }
    disks
}

pub(super) fn filesystems(host: &mut dyn Host) -> Vec<Filesystem> {
    let mut mounted = mounts(&text(host, "/proc/self/mounts").unwrap_or_default());
    for filesystem in &mut mounted {
        if !REMOTE.contains(&filesystem.r#type.as_str()) {
            filesystem.space = host.space(Path::new(&filesystem.mount_point)).ok();
        }
    }
    mounted
}

/// The file systems that hold data, by mount point; of several at one place the last, which hides the others.
pub(super) fn mounts(text: &str) -> Vec<Filesystem> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split(' ').map(unescaped);
        let (Some(device), Some(mount_point), Some(kind), Some(options)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let data = device.starts_with("/dev/") || kind == "zfs" || REMOTE.contains(&kind.as_str());
        if !data && mount_point != "/" {
            // What hides a file system with data is none itself.
            found.remove(&mount_point);
            continue;
        }
        let read_only = options.split(',').any(|option| option == "ro");
        let (device, r#type) = (clip(&device), clip(&kind));
        found.insert(mount_point.clone(), Filesystem { device, mount_point, r#type, space: None, read_only });
    }
    found.into_values().filter(|f| f.mount_point.len() <= 4096).take(MAX_ITEMS).collect()
}

/// Undoes the octal escapes of blanks, backslashes and the like.
fn unescaped(word: &str) -> String {
    let mut parts = word.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[3..]);
            }
            None => {
                bytes.push(b'\\');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
