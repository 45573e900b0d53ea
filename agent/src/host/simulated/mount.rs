//! mount(8) and umount(8): the table of what is mounted is the file that the kernel would show. Nothing mounts a device
//! whose name has `no-such` in it, and what is mounted with the option `busy` cannot be unmounted.

use std::path::Path;

use super::{Host, Output, fails, file_attributes};
use crate::fault::Fault;
use crate::host::{Attributes, FileType, read_text};

const MOUNTS: &str = "/proc/self/mountinfo";

pub(super) fn mount(host: &mut dyn Host, arguments: &[&str]) -> Result<Output, Fault> {
    let (fs_type, options, device, path) = match arguments {
        ["-t", fs_type, "-o", options, "--", device, path] => {
            ((*fs_type).to_owned(), (*options).to_owned(), (*device).to_owned(), *path)
        }
        ["-o", options, "--", path] => return remount(host, options, path),
        [path] => {
            let table = read_text(host, Path::new("/etc/fstab"))?.unwrap_or_default();
            let entry = |line: &str| {
                let fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
                (fields.len() > 3 && fields[1] == **path).then_some(fields)
            };
            let Some(fields) = table.lines().find_map(entry) else {
                return Ok(fails(32, format!("mount: {path}: can't find in /etc/fstab.")));
            };
            (fields[2].clone(), fields[3].clone(), fields[0].clone(), *path)
        }
        _ => return Ok(fails(1, "mount: bad usage")),
    };
    if host.lstat(Path::new(path))?.is_none_or(|meta| meta.file_type != FileType::Directory) {
        return Ok(fails(32, format!("mount: {path}: mount point does not exist.")));
    }
    if device.contains("no-such") {
        return Ok(fails(32, format!("mount: {path}: special device {device} does not exist.")));
    }
    let mut rows = rows(host)?;
    rows.push(format!("20 1 0:1 / {path} {} - {fs_type} {device} rw", flags(&options, "rw")));
    // Numbers and order say nothing but what lies on what.
    rows.sort_by_key(|row| row.split(' ').nth(4).map(str::to_owned));
    save(host, &rows)
}

fn remount(host: &mut dyn Host, options: &str, path: &str) -> Result<Output, Fault> {
    let mut rows = rows(host)?;
    let Some(row) = rows.iter_mut().rev().find(|row| of(row, path)) else {
        return Ok(fails(32, format!("mount: {path}: mount point not mounted.")));
    };
    let mut fields: Vec<String> = row.split(' ').map(str::to_owned).collect();
    fields[5] = flags(options, &fields[5]);
    *row = fields.join(" ");
    save(host, &rows)
}

pub(super) fn umount(host: &mut dyn Host, arguments: &[&str]) -> Result<Output, Fault> {
    let ["--", path] = arguments else { return Ok(fails(1, "umount: bad usage")) };
    let mut rows = rows(host)?;
    let Some(at) = rows.iter().rposition(|row| of(row, path)) else {
        return Ok(fails(32, format!("umount: {path}: not mounted.")));
    };
    if rows[at].contains(",busy") {
        return Ok(fails(32, format!("umount: {path}: target is busy.")));
    }
    rows.remove(at);
    save(host, &rows)
}

fn rows(host: &mut dyn Host) -> Result<Vec<String>, Fault> {
    Ok(read_text(host, Path::new(MOUNTS))?.unwrap_or_default().lines().map(str::to_owned).collect())
}

fn of(row: &str, path: &str) -> bool {
    row.split(' ').nth(4) == Some(path)
}

/// The options of a mount after these words, in the kernel's order.
fn flags(options: &str, before: &str) -> String {
    let known = ["nosuid", "nodev", "noexec", "noatime", "nodiratime", "busy"];
    let mut set: Vec<&str> = before.split(',').collect();
    for option in options.split(',') {
        match option {
            "ro" | "rw" => set[0] = option,
            _ if known.contains(&option) && !set.contains(&option) => set.push(option),
            _ => set.retain(|flag| flag.strip_prefix("no") != Some(option)),
        }
    }
    let first = set[0];
    let rest = known.into_iter().filter(|flag| set.contains(flag));
    [first].into_iter().chain(rest).collect::<Vec<_>>().join(",")
}

/// Nothing is mounted: there is no table.
fn save(host: &mut dyn Host, rows: &[String]) -> Result<Output, Fault> {
    let path = Path::new(MOUNTS);
    if rows.is_empty() {
        host.remove(path)?;
        return Ok(Output::default());
    }
    for directory in ["/proc", "/proc/self"] {
        if host.lstat(Path::new(directory))?.is_none() {
            host.make_dir(Path::new(directory), &Attributes::default())?;
        }
    }
    host.write(path, &mut format!("{}\n", rows.join("\n")).as_bytes(), &file_attributes())?;
    Ok(Output::default())
}
