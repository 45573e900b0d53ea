//! Small programs of the system: tee(1) on values of the kernel, testparm(1) and smbcontrol(1), locale-gen(8) and
//! localedef(1), whose archive is a list of names here.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Host, Output, World, fails, file_attributes, says};
use crate::fault::{Fault, FaultCode};
use crate::host::read_text;

const ARCHIVE: &str = "/usr/lib/locale/locale-archive";

/// Writes a value of the kernel: below `/proc/sys`, and only where there is one. The kernel refuses `invalid`.
pub(super) fn tee(host: &mut dyn Host, arguments: &[&str], stdin: &[u8]) -> Result<Option<Output>, Fault> {
    let [path] = arguments else { return Ok(None) };
    if !path.starts_with("/proc/sys/") {
        return Ok(None);
    }
    if host.lstat(Path::new(path))?.is_none() {
        return Ok(Some(fails(1, format!("tee: {path}: No such file or directory"))));
    }
    if stdin == b"invalid\n" {
        return Ok(Some(fails(1, format!("tee: {path}: Invalid argument"))));
    }
    host.write(Path::new(path), &mut &*stdin, &file_attributes())?;
    Ok(Some(says(String::from_utf8_lossy(stdin))))
}

/// Checks a configuration: parameters that begin with `no such` are unknown, `syntax error` is one.
pub(super) fn testparm(world: &World, stdin: &[u8]) -> Result<Output, Fault> {
    if world.packages.get("samba-common").is_none_or(|p| p.status != "installed") {
        return Err(Fault::new(FaultCode::NotFound, "start `testparm`: no such program"));
    }
    let text = String::from_utf8_lossy(stdin);
    if text.contains("syntax error") {
        return Ok(fails(1, "Error loading services."));
    }
    let unknown = text.lines().map(str::trim).filter(|line| line.starts_with("no such"));
    let stderr = unknown.map(|line| {
        let name = line.split('=').next().unwrap_or_default().trim();
        format!("Unknown parameter encountered: \"{name}\"\nIgnoring unknown parameter \"{name}\"\n")
    });
    Ok(Output { stderr: stderr.collect(), ..says("") })
}

/// Tells smbd, which changes nothing that a snapshot sees.
pub(super) fn smbcontrol(_host: &mut dyn Host, _world: &mut World, _arguments: &[&str]) -> Result<Output, Fault> {
    Ok(says(""))
}

/// Adds what `/etc/locale.gen` lists to the archive.
pub(super) fn locale_gen(host: &mut dyn Host, _world: &mut World, _arguments: &[&str]) -> Result<Output, Fault> {
    let list = read_text(host, Path::new("/etc/locale.gen"))?.unwrap_or_default();
    let archive = read_text(host, Path::new(ARCHIVE))?.unwrap_or_default();
    let mut names: BTreeSet<String> = archive.lines().map(str::to_owned).collect();
    let listed = list.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').next());
    names.extend(listed.map(|name| name.replace("UTF-8", "utf8")));
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    host.write(Path::new(ARCHIVE), &mut text.as_bytes(), &file_attributes())?;
    Ok(says("Generation complete.\n"))
}

/// Lists the archive.
pub(super) fn localedef(host: &mut dyn Host, _world: &mut World, _arguments: &[&str]) -> Result<Output, Fault> {
    Ok(says(read_text(host, Path::new(ARCHIVE))?.unwrap_or_default()))
}
