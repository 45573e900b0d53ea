//! apt-get(8), apt-mark(8), dpkg(1), dpkg-deb(1) and dpkg-query(1), as far as the `package` kind uses them.

use std::collections::BTreeMap;
use std::path::Path;

use super::catalogue::{entry, unit_file, versions};
use super::{Host, Output, Package, World, fails, file_attributes, says, state_name, unit};
use crate::fault::Fault;
use crate::host::{Attributes, FileType, read_text};

/// Directory of the unit files that packages ship.
const UNITS: &str = "/lib/systemd/system";

/// One package in a transaction.
#[derive(Clone, Debug, PartialEq)]
enum Change {
    Install { version: String, auto: bool },
    Remove,
}

/// Reads `/DIRECTORY/NAME_VERSION_ARCH.deb`, if such a file is there, as `NAME=VERSION`.
fn local(host: &mut dyn Host, word: &str) -> Result<Option<String>, Fault> {
    let Some(file) = word.strip_suffix(".deb").filter(|word| word.starts_with('/')) else { return Ok(None) };
    let there = match state_name(host, word)? {
        Some(name) => host.state_open(&name)?.is_some(),
        None => host.lstat(Path::new(word))?.is_some(),
    };
    let mut parts = file.rsplit('/').next().unwrap_or_default().split('_');
    let (name, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    Ok(there.then(|| format!("{name}={}", version.replace("%3a", ":"))))
}

/// What `--download-only` leaves of what the archive offers.
fn download(host: &mut dyn Host, archives: &str, names: &[&str]) -> Result<Output, Fault> {
    for (name, version) in names.iter().filter_map(|word| word.split_once('=')) {
        let path = format!("{archives}{name}_{}_amd64.deb", version.replace(':', "%3a"));
        if let Some(path) = state_name(host, &path)?.filter(|_| versions(name).contains(&version)) {
            host.state_write(&path, &mut format!("{name} {version}\n").as_bytes())?;
        }
    }
    Ok(Output::default())
}

pub(super) fn dpkg_deb(host: &mut dyn Host, _world: &mut World, arguments: &[&str]) -> Result<Output, Fault> {
    let Some(path) = arguments.last() else { return Ok(fails(2, "dpkg-deb: error: need an action")) };
    match local(host, path)? {
        Some(package) => Ok(says(package.replace('=', "\t") + "\n")),
        None => Ok(fails(2, "dpkg-deb: error: no such file")),
    }
}

pub(super) fn apt_get(host: &mut dyn Host, world: &mut World, arguments: &[&str]) -> Result<Output, Fault> {
    let simulate = arguments.iter().any(|a| matches!(*a, "-s" | "--simulate"));
    let purge = arguments.contains(&"--purge");
    let mut words = Vec::new();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        match *word {
            "-o" => drop(rest.next()),
            option if option.starts_with('-') => {}
            word => words.push(word),
        }
    }
    if arguments == ["--version"] {
        return Ok(says("apt 2.6.1 (simulated)\n"));
    }
    let Some((verb, names)) = words.split_first() else { return Ok(fails(100, "E: no command")) };
    if *verb == "update" {
        return super::source::update(host, arguments);
    }
    if !matches!(*verb, "install" | "remove" | "purge") {
        return Ok(fails(100, format!("E: Invalid operation {verb}")));
    }
    let archives = arguments.iter().find_map(|a| a.strip_prefix("Dir::Cache::archives="));
    if arguments.contains(&"--print-uris") {
        return Ok(says(""));
    }
    if let Some(archives) = archives.filter(|_| arguments.contains(&"--download-only")) {
        return download(host, archives, names);
    }
    if !simulate && world.packages.values().any(broken) {
        let message = "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem. ";
        return Ok(fails(100, message));
    }
    let files = names.iter().map(|name| local(host, name)).collect::<Result<Vec<_>, Fault>>()?;
    let names: Vec<&str> = names.iter().zip(&files).map(|(name, file)| file.as_deref().unwrap_or(name)).collect();
    let files: Vec<&str> = files.iter().flatten().map(String::as_str).collect();
    let changes = match solve(world, *verb == "install", &names, &files) {
        Ok(changes) => changes,
        Err(message) => return Ok(fails(100, message)),
    };
    let mut said = String::new();
    for (name, change) in &changes {
        let old = world.packages.get(name).filter(|p| p.status == "installed").map(|p| p.version.clone());
        match (change, old) {
            (Change::Install { version, .. }, None) => {
                said += &format!("Inst {name} ({version} Sim:1/stable [amd64])\n")
            }
            (Change::Install { version, .. }, Some(old)) => {
                said += &format!("Inst {name} [{old}] ({version} Sim:1/stable [amd64])\n");
            }
            (Change::Remove, old) => said += &format!("Remv {name} [{}]\n", old.unwrap_or_default()),
        }
    }
    for (name, change) in &changes {
        if let Change::Install { version, .. } = change {
            said += &format!("Conf {name} ({version} Sim:1/stable [amd64])\n");
        }
    }
    if simulate {
        return Ok(says(said));
    }
    for (name, _) in changes.iter().filter(|(_, c)| *c == Change::Remove) {
        remove(host, world, name, purge || *verb == "purge")?;
    }
    for (name, change) in &changes {
        if let Change::Install { version, auto } = change {
            unpack(host, world, name, version, *auto)?;
        }
    }
    configure(host, world)?;
    Ok(says(said))
}

pub(super) fn apt_mark(host: &mut dyn Host, world: &mut World, arguments: &[&str]) -> Result<Output, Fault> {
    let [verb, names @ ..] = arguments else { return Ok(fails(100, "E: no command")) };
    if *verb == "showauto" {
        let asked = |name: &str| names.is_empty() || names.contains(&name);
        let auto = world.packages.iter().filter(|(name, package)| package.auto && asked(name));
        return Ok(says(auto.map(|(name, _)| format!("{name}\n")).collect::<String>()));
    }
    for name in names {
        let Some(package) = world.packages.get_mut(*name) else {
            return Ok(fails(100, format!("E: Can't select installed nor candidate version from package {name}")));
        };
        match *verb {
            "auto" => package.auto = true,
            "manual" => package.auto = false,
            "hold" => package.hold = true,
            "unhold" => package.hold = false,
            _ => return Ok(fails(100, format!("E: Invalid operation {verb}"))),
        }
    }
    world.save(host)?;
    Ok(Output::default())
}

pub(super) fn dpkg(host: &mut dyn Host, world: &mut World, arguments: &[&str]) -> Result<Output, Fault> {
    let words: Vec<&str> = arguments.iter().copied().filter(|a| !a.starts_with("--force-")).collect();
    match words.as_slice() {
        ["--configure", "-a"] => configure(host, world)?,
        [verb @ ("--purge" | "--remove"), names @ ..] => {
            for name in names {
                remove(host, world, name, *verb == "--purge")?;
            }
        }
        _ => return Ok(fails(2, "dpkg: error: need an action option")),
    }
    Ok(Output::default())
}

pub(super) fn dpkg_query(_host: &mut dyn Host, world: &mut World, arguments: &[&str]) -> Result<Output, Fault> {
    let ["-W", "-f", format, names @ ..] = arguments else { return Ok(fails(2, "dpkg-query: error: need an action")) };
    let mut output = Output::default();
    let all: Vec<String> = if names.is_empty() { world.packages.keys().cloned().collect() } else { Vec::new() };
    for name in names.iter().copied().chain(all.iter().map(String::as_str)) {
        let Some(package) = world.packages.get(name) else {
            output.status = 1;
            output.stderr += &format!("dpkg-query: no packages found matching {name}\n");
            continue;
        };
        let want = match (package.hold, package.status.as_str()) {
            (true, _) => "hold",
            (false, "config-files") => "deinstall",
            _ => "install",
        };
        output.stdout += &format
            .replace("${Package}", name)
            .replace("${Architecture}", "amd64")
            .replace("${db:Status-Want}", want)
            .replace("${db:Status-Status}", &package.status)
            .replace("${db:Status-Eflag}", if package.status == "half-installed" { "reinstreq" } else { "ok" })
            .replace("${Version}", &package.version)
            .replace("${Conffiles}", &conffiles(name))
            .replace("\\t", "\t")
            .replace("\\n", "\n");
    }
    Ok(output)
}

/// As dpkg-query(1) lists them, with a digest that nobody reads.
fn conffiles(name: &str) -> String {
    let paths = entry(name).map(|e| e.conffiles).unwrap_or_default();
    paths.iter().map(|path| format!("\n {path} d41d8cd98f00b204e9800998ecf8427e")).collect()
}

fn broken(package: &Package) -> bool {
    !matches!(package.status.as_str(), "installed" | "config-files")
}

/// Whether dpkg knows it as more than left-over configuration.
fn there(world: &World, name: &str) -> Option<String> {
    world.packages.get(name).filter(|p| p.status != "config-files").map(|p| p.version.clone())
}

/// What apt would do about the words after `install` or `remove`, dependencies first.
/// Of packages that are there as `files`, any version will do.
fn solve(world: &World, install: bool, words: &[&str], files: &[&str]) -> Result<Vec<(String, Change)>, String> {
    let mut wanted: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    let mut removed: Vec<String> = Vec::new();
    for word in words {
        let (name, version) = word.split_once('=').map_or((*word, None), |(name, version)| (name, Some(version)));
        // A name that ends in `-` is to be removed.
        if !install || (version.is_none() && name.ends_with('-')) {
            let name = if install { &name[..name.len() - 1] } else { name };
            if versions(name).is_empty() && there(world, name).is_none() {
                return Err(format!("E: Unable to locate package {name}"));
            }
            removed.extend(there(world, name).map(|_| name.to_owned()));
            continue;
        }
        match version {
            _ if versions(name).is_empty() => return Err(format!("E: Unable to locate package {name}")),
            Some(version)
                if !versions(name).contains(&version)
                    && !files.contains(word)
                    && there(world, name).as_deref() != Some(version) =>
            {
                return Err(format!("E: Version '{version}' for '{name}' was not found"));
            }
            _ => drop(wanted.insert(name, version)),
        }
    }
    let mut changes: Vec<(String, Change)> = Vec::new();
    for (name, version) in &wanted {
        add(world, &wanted, name, version.unwrap_or(versions(name)[0]), false, &mut changes);
    }
    // Whatever needs what goes, goes too.
    loop {
        let needs = |name: &str| entry(name).is_some_and(|e| e.depends.iter().any(|d| removed.iter().any(|r| r == d)));
        let more = world.packages.keys().find(|n| there(world, n).is_some() && !removed.contains(n) && needs(n));
        match more {
            Some(name) => removed.insert(0, name.clone()),
            None => break,
        }
    }
    changes.extend(removed.into_iter().map(|name| (name, Change::Remove)));
    Ok(changes)
}

fn add(
    world: &World,
    wanted: &BTreeMap<&str, Option<&str>>,
    name: &str,
    version: &str,
    auto: bool,
    changes: &mut Vec<(String, Change)>,
) {
    if changes.iter().any(|(n, _)| n == name) {
        return;
    }
    for dependency in entry(name).map(|e| e.depends).unwrap_or_default() {
        // Packages of one source need each other in the same version.
        let matching = versions(dependency).contains(&version).then_some(version);
        let have = there(world, dependency);
        let needed = matching.or(have.as_deref()).unwrap_or(versions(dependency)[0]);
        let needed = wanted.get(dependency).copied().flatten().unwrap_or(needed);
        add(world, wanted, dependency, needed, !wanted.contains_key(dependency), changes);
    }
    let old = world.packages.get(name).filter(|p| p.status == "installed");
    if old.is_none_or(|p| p.version != version) {
        let auto = old.map_or(auto, |p| p.auto && auto);
        changes.push((name.to_owned(), Change::Install { version: version.to_owned(), auto }));
    }
}

fn unpack(host: &mut dyn Host, world: &mut World, name: &str, version: &str, auto: bool) -> Result<(), Fault> {
    let fresh = there(world, name).is_none();
    let mut package = world.packages.get(name).cloned().unwrap_or_default();
    if fresh {
        package.auto = auto;
    }
    let mut shipped: Vec<(String, String)> = Vec::new();
    if let Some(entry) = entry(name) {
        let conf = |path: &&str| ((*path).to_owned(), format!("# {path} as {name} ships it (simulated)\n"));
        shipped.extend(entry.conffiles.iter().map(conf));
        let unit = |(unit, config): &(&str, &str)| (format!("{UNITS}/{unit}"), unit_file(name, unit, config));
        shipped.extend(entry.units.iter().map(unit));
    }
    // What is already there stays; what is not becomes ours, and is written down before it is made.
    let mut missing = Vec::new();
    for (path, text) in shipped {
        for directory in Path::new(&path).ancestors().skip(1) {
            if host.lstat(directory)?.is_none() {
                package.directories.insert(directory.to_string_lossy().into_owned());
            }
        }
        if host.lstat(Path::new(&path))?.is_none() {
            package.files.insert(path.clone());
            missing.push((path, text));
        }
    }
    // Units are set up in full when they come for the first time, even if the installation is interrupted.
    package.status = match (fresh, world.packages.contains_key(name)) {
        (true, false) => "half-installed",
        (true, true) => "half-configured",
        (false, _) => "unpacked",
    }
    .into();
    package.version = version.into();
    world.packages.insert(name.to_owned(), package.clone());
    world.save(host)?;
    for directory in &package.directories {
        if host.lstat(Path::new(directory))?.is_none() {
            host.make_dir(Path::new(directory), &Attributes { mode: Some(0o755), ..file_attributes() })?;
        }
    }
    for (path, text) in missing {
        host.write(Path::new(&path), &mut text.as_bytes(), &file_attributes())?;
    }
    Ok(())
}

/// Makes a group that is left behind when its package is purged, as many are.
fn group(host: &mut dyn Host, line: &str) -> Result<(), Fault> {
    let path = Path::new("/etc/group");
    match read_text(host, path)? {
        Some(text) if !text.lines().any(|known| known == line) => {
            host.write(path, &mut format!("{text}{line}\n").as_bytes(), &file_attributes())
        }
        _ => Ok(()),
    }
}

fn configure(host: &mut dyn Host, world: &mut World) -> Result<(), Fault> {
    let waiting: Vec<String> = world.packages.iter().filter(|(_, p)| broken(p)).map(|(n, _)| n.clone()).collect();
    for name in waiting {
        let Some(package) = world.packages.get_mut(&name) else { continue };
        let come = match package.status.as_str() {
            "half-installed" => unit::Come::First,
            "unpacked" => unit::Come::Newer,
            _ => unit::Come::Back,
        };
        if name == "samba" {
            group(host, "sambashare:x:997:")?;
        }
        // An interrupted unpacking left files out: they are made now.
        "installed".clone_into(&mut package.status);
        for (unit, config) in entry(&name).map(|e| e.units).unwrap_or_default() {
            let path = format!("{UNITS}/{unit}");
            if host.lstat(Path::new(&path))?.is_none() {
                host.write(Path::new(&path), &mut unit_file(&name, unit, config).as_bytes(), &file_attributes())?;
            }
            unit::installed(host, world, unit, come)?;
        }
        world.save(host)?;
    }
    Ok(())
}

fn remove(host: &mut dyn Host, world: &mut World, name: &str, purge: bool) -> Result<(), Fault> {
    let Some(mut package) = world.packages.get(name).cloned() else { return Ok(()) };
    let (units, conffiles) = entry(name).map(|e| (e.units, e.conffiles)).unwrap_or_default();
    for (unit, _) in units {
        unit::removed(world, unit, purge);
    }
    if package.status != "config-files" {
        // Interrupted from here on: neither there nor gone.
        package.status = "half-configured".into();
        world.packages.insert(name.to_owned(), package.clone());
        world.save(host)?;
    }
    let stays = |path: &str| !purge && conffiles.contains(&path);
    for path in package.files.clone() {
        if stays(&path) {
            continue;
        }
        if host.lstat(Path::new(&path))?.is_some_and(|m| m.file_type != FileType::Directory) {
            host.remove(Path::new(&path))?;
        }
        package.files.remove(&path);
    }
    for path in package.directories.clone().iter().rev() {
        let empty = host.lstat(Path::new(path))?.is_none() || host.read_dir(Path::new(path))?.is_empty();
        if empty {
            if host.lstat(Path::new(path))?.is_some() {
                host.remove(Path::new(path))?;
            }
            package.directories.remove(path);
        }
    }
    // With conffiles or maintainer scripts (units have some) dpkg remembers it.
    if purge || (conffiles.is_empty() && units.is_empty()) {
        world.packages.remove(name);
    } else {
        package.status = "config-files".into();
        package.version.clear();
        package.auto = false;
        world.packages.insert(name.to_owned(), package);
    }
    world.save(host)
}
