//! What is mounted at a path, from `/proc/self/mountinfo` (proc(5)), and mount(8) and umount(8) to change it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Spec;
use super::table::unescaped;
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Output, read_text};
use crate::resource::Cx;

const MOUNTS: &str = "/proc/self/mountinfo";

/// Flags of a mount that are compared, with what mount(8) calls their absence.
const FLAGS: [(&str, &str); 6] = [
    ("ro", "rw"),
    ("nosuid", "suid"),
    ("nodev", "dev"),
    ("noexec", "exec"),
    ("noatime", "atime"),
    ("nodiratime", "diratime"),
];

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// What is mounted; in the words of the spec if it means the same.
    pub device: String,
    /// Type of the file system, likewise.
    #[serde(rename = "type")]
    pub fs_type: String,
    /// Those of its flags that restrict something, e.g. `ro`, `noexec`.
    pub flags: BTreeSet<String>,
}

impl fmt::Display for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.device, self.fs_type)?;
        self.flags.iter().try_for_each(|flag| write!(f, ", {flag}"))?;
        f.write_str(")")
    }
}

/// Reads what is mounted last at the path.
pub(super) fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<Option<Mounted>, Fault> {
    let text = read_text(cx.host, Path::new(MOUNTS))?.unwrap_or_default();
    let Some(row) = text.lines().rev().find_map(|line| Row::parse(line).filter(|row| row.point == spec.path)) else {
        return Ok(None);
    };
    let flags = row.options.split(',').filter(|o| FLAGS.iter().any(|(flag, _)| flag == o));
    let mut mounted =
        Mounted { flags: flags.map(str::to_owned).collect(), device: row.source.clone(), fs_type: row.fs_type.clone() };
    if let (Some(device), Some(fs_type)) = (&spec.device, &spec.fs_type)
        && means(spec, device, fs_type, &row, cx)?
    {
        (mounted.device, mounted.fs_type) = (device.clone(), fs_type.clone());
    }
    Ok(Some(mounted))
}

/// What shall be mounted, given what is. Flags that the spec does not name stay.
pub(super) fn wanted(spec: &Spec, now: Option<&Mounted>) -> Mounted {
    let (device, fs_type) = (spec.device.clone().unwrap_or_default(), spec.fs_type.clone().unwrap_or_default());
    let here = now.filter(|m| m.device == device && m.fs_type == fs_type);
    let mut flags = here.map(|m| m.flags.clone()).unwrap_or_default();
    for option in &spec.options {
        for (flag, without) in FLAGS {
            if option == flag {
                flags.insert(flag.to_owned());
            } else if option == without {
                flags.remove(flag);
            }
        }
    }
    Mounted { device, fs_type, flags }
}

/// Unmounts, mounts and remounts. `back`: an old entry of `/etc/fstab` is there again and knows best how.
///
/// # Errors
/// `Conflict` if a file system is in use and cannot be unmounted; `CommandFailed` if it cannot be mounted.
pub(super) fn put(
    spec: &Spec,
    now: Option<&Mounted>,
    to: Option<&Mounted>,
    back: bool,
    cx: &mut Cx<'_>,
) -> Result<(), Fault> {
    if now == to {
        return Ok(());
    }
    let path = spec.path.as_str();
    let Some(to) = to else { return unmount(path, cx) };
    if let Some(now) = now {
        if now.device == to.device && now.fs_type == to.fs_type {
            return remount(path, to, cx);
        }
        unmount(path, cx)?;
    }
    let ours = spec.device.as_ref() == Some(&to.device) && spec.fs_type.as_ref() == Some(&to.fs_type);
    if back && !ours {
        // Credentials and the like are in the entry only. That an entry is there is no promise that it is this one.
        let argv = ["mount".to_owned(), path.to_owned()];
        if run(&argv, cx)?.ok() {
            return match get(spec, cx)? {
                Some(now) if now == *to => Ok(()),
                Some(now) if now.device == to.device => remount(path, to, cx),
                _ => unmount(path, cx).and_then(|()| mount(spec, to, ours, cx)),
            };
        }
    }
    mount(spec, to, ours, cx)
}

fn mount(spec: &Spec, to: &Mounted, ours: bool, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let mut options: Vec<&str> = if ours { spec.options.iter().map(String::as_str).collect() } else { Vec::new() };
    options.extend(to.flags.iter().map(String::as_str).filter(|flag| !spec.options.iter().any(|o| o == flag)));
    if options.is_empty() {
        options.push("defaults");
    }
    let argv = ["mount", "-t", &to.fs_type, "-o", &options.join(","), "--", &to.device, &spec.path].map(str::to_owned);
    let done = run(&argv, cx)?.expect_ok(&argv).map(drop);
    done.map_err(|fault| fault.hint("`dmesg` on the host may tell more; is the package of its file system declared?"))
}

fn remount(path: &str, to: &Mounted, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let side = |(flag, without): &(&'static str, &'static str)| if to.flags.contains(*flag) { *flag } else { *without };
    let flags: Vec<&str> = FLAGS.iter().map(side).collect();
    let argv = ["mount", "-o", &format!("remount,{}", flags.join(",")), "--", path].map(str::to_owned);
    run(&argv, cx)?.expect_ok(&argv).map(drop)
}

fn unmount(path: &str, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let argv = ["umount", "--", path].map(str::to_owned);
    let output = run(&argv, cx)?;
    if output.stderr.contains("busy") {
        let fault = Fault::new(FaultCode::Conflict, format!("{path} is in use and cannot be unmounted"));
        return Err(fault.hint(format!("`fuser -vm {path}` on the host tells by whom")));
    }
    output.expect_ok(&argv).map(drop)
}

fn run(argv: &[String], cx: &mut Cx<'_>) -> Result<Output, Fault> {
    cx.host.run(&Command::changing(argv.to_vec(), cx.timeout)).map_err(|fault| match fault.code {
        FaultCode::NotFound => Fault::new(FaultCode::Unsupported, format!("there is no `{}` on this host", argv[0]))
            .hint("declare the package `mount` before it"),
        _ => fault,
    })
}

/// A line of the kernel's table.
struct Row {
    /// Which part of the file system is mounted.
    root: String,
    point: String,
    options: String,
    fs_type: String,
    source: String,
}

impl Row {
    fn parse(line: &str) -> Option<Row> {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point, options) = (mount.next()?, mount.next()?, mount.next()?);
        let mut system = system.split(' ');
        let (fs_type, source) = (system.next()?, system.next()?);
        Some(Row {
            root: unescaped(root),
            point: unescaped(point),
            options: options.to_owned(),
            fs_type: fs_type.to_owned(),
            source: unescaped(source),
        })
    }
}

/// Whether a row is what the spec means by its device and type.
fn means(spec: &Spec, device: &str, fs_type: &str, row: &Row, cx: &mut Cx<'_>) -> Result<bool, Fault> {
    let option = |names: &[&str]| spec.options.iter().any(|o| names.contains(&o.as_str()));
    if option(&["bind", "rbind"]) {
        // The row names the file system that the directory is on, and its path there.
        return Ok(row.root == "/" || device.ends_with(&row.root));
    }
    let types = match fs_type {
        "auto" => true,
        "nfs" => row.fs_type.starts_with("nfs"),
        "cifs" | "smb3" => ["cifs", "smb3"].contains(&row.fs_type.as_str()),
        _ => row.fs_type == fs_type || row.fs_type.strip_prefix("fuse.").is_some_and(|t| fs_type.ends_with(t)),
    };
    if !types || device == row.source || (option(&["loop"]) && row.source.starts_with("/dev/loop")) {
        return Ok(types);
    }
    let link = match device.split_once('=') {
        Some((tag @ ("UUID" | "LABEL" | "PARTUUID" | "PARTLABEL"), value)) => {
            format!("/dev/disk/by-{}/{}", tag.to_ascii_lowercase(), value.trim_matches('"'))
        }
        _ => device.to_owned(),
    };
    let (link, source) = (block_device(&link, cx)?, block_device(&row.source, cx)?);
    Ok(link.is_some() && link == source)
}

/// The last name of the device that a path below `/dev` leads to.
fn block_device(path: &str, cx: &mut Cx<'_>) -> Result<Option<String>, Fault> {
    if !path.starts_with("/dev/") {
        return Ok(None);
    }
    let path = Path::new(path);
    let target = match cx.host.lstat(path)?.map(|meta| meta.file_type) {
        Some(crate::host::FileType::Symlink) => cx.host.read_link(path)?,
        _ => path.to_owned(),
    };
    Ok(target.file_name().map(|name| name.to_string_lossy().into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_the_kernel_writes_them() {
        let line = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let row = Row::parse(line).unwrap();
        assert_eq!((row.root.as_str(), row.point.as_str(), row.options.as_str()), ("/mnt1", "/mnt 2", "rw,noatime"));
        assert_eq!((row.fs_type.as_str(), row.source.as_str()), ("ext3", "/dev/root"));
        assert!(Row::parse("").is_none() && Row::parse("36 35 98:0 / - ext3").is_none());
    }
}
