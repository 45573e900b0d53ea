//! Taking a lab away, from the outside: by names alone, so that it works for labs of dead processes too.
//!
//! What belongs to the lab `wl-1-0` is named `wl-1-0`, or `wl-1-0-HOST` for its hosts. The order is processes, mounts,
//! namespaces, control groups, files: each holds the next.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};

use super::network::namespace_file;
use super::{cgroup, tool};
use crate::process;

/// The file in a host's directory that lists the directories of its control group.
pub(crate) const CGROUPS: &str = "cgroups";

/// Removes all labs of processes that are gone; `is_live` says which of this process's own are in use.
pub(crate) fn sweep(run_dir: &Path, is_live: impl Fn(&str) -> bool) {
    fs::create_dir_all(run_dir).unwrap_or_else(|error| panic!("{}: {error}", run_dir.display()));
    // One sweeper at a time; the lock ends with the file.
    let lock = File::create(run_dir.join("lock")).and_then(|lock| lock.lock().map(|()| lock));
    let _lock = lock.unwrap_or_else(|error| panic!("{}: {error}", run_dir.display()));
    let mut names: Vec<String> = [run_dir, &namespace_file("")].into_iter().flat_map(list).collect();
    names.extend(containers().into_iter().map(|(name, _)| name));
    let ids: BTreeSet<String> = names.iter().filter_map(|name| lab_of(name)).collect();
    for id in ids.into_iter().filter(|id| !is_live(id)) {
        let owner = id.split('-').nth(1).and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|owner| owner == std::process::id() || !process::is_alive(owner)) {
            remove(&id, &run_dir.join(&id)).unwrap_or_else(|why| eprintln!("leftover lab {id}: {why}"));
        }
    }
}

/// Removes a lab (`wl-1-0`) or one host of it (`wl-1-0-a`), whose files are in `dir`.
///
/// # Errors
///
/// What could not be removed.
pub(crate) fn remove(name: &str, dir: &Path) -> Result<(), String> {
    let is_ours = |other: &str| other.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    let namespaces: Vec<String> = list(&namespace_file("")).into_iter().filter(|name| is_ours(name)).collect();
    let containers: Vec<(String, u32)> = containers().into_iter().filter(|(name, _)| is_ours(name)).collect();

    let nspawns: Vec<u32> = containers.iter().map(|(_, pid)| *pid).collect();
    let mut pids: Vec<u32> = nspawns.iter().flat_map(|pid| process::descendants(*pid)).collect();
    pids.extend(namespaces.iter().flat_map(|name| process::inside(&namespace_file(name))));
    pids.retain(|pid| *pid != std::process::id() && !nspawns.contains(pid));
    pids.iter().copied().for_each(process::kill);
    await_end(&pids)?;
    // Without its container, systemd-nspawn ends by itself and removes its own files.
    if await_end(&nspawns).is_err() {
        nspawns.iter().copied().for_each(process::kill);
        await_end(&nspawns)?;
    }
    unmount_below(dir)?;
    for namespace in &namespaces {
        // The kernel removes links when the namespace's last user is gone, which can be long after its name.
        for link in ["eth0", "br0"] {
            let _ = tool::try_run(tool::command("ip").args(["-n", namespace, "link", "delete", link]));
        }
        let deleted = tool::try_run(tool::command("ip").args(["netns", "delete", namespace]));
        deleted.map(drop).or_else(|why| if namespace_file(namespace).exists() { Err(why) } else { Ok(()) })?;
    }
    for record in [dir.to_owned()].into_iter().chain(list(dir).iter().map(|host| dir.join(host))) {
        let record = fs::read_to_string(record.join(CGROUPS)).unwrap_or_default();
        cgroup::remove(&record.lines().map(PathBuf::from).collect::<Vec<_>>())?;
    }
    for (container, _) in &containers {
        // systemd-nspawn removes it only where /run is a tmpfs.
        let _ = fs::remove_dir(Path::new("/run/systemd/nspawn/propagate").join(container));
    }
    match fs::remove_dir_all(dir) {
        Err(error) if dir.exists() => Err(format!("{}: {error}", dir.display())),
        _ => Ok(()),
    }
}

/// Unmounts everything below a directory, the last mounted first.
///
/// # Errors
///
/// What could not be unmounted.
pub(crate) fn unmount_below(dir: &Path) -> Result<(), String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    for point in points.filter(|point| point.starts_with(dir)).collect::<Vec<_>>().into_iter().rev() {
        // Detached at once, so that a process of the test that still has a file open there cannot keep it.
        unmount(point, UnmountFlags::DETACH).map_err(|error| format!("{}: {error}", point.display()))?;
    }
    Ok(())
}

/// Waits until killed processes are gone.
///
/// # Errors
///
/// The processes that are still there after five seconds.
fn await_end(pids: &[u32]) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while pids.iter().copied().any(process::is_alive) {
        if Instant::now() > deadline {
            return Err(format!("some of the processes {pids:?} did not end"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The running systemd-nspawns of labs: the name of the machine and the process.
fn containers() -> Vec<(String, u32)> {
    let mut found = Vec::new();
    for pid in process::all() {
        // The name is cut off at 15 characters.
        if process::name(pid).is_some_and(|name| name == "systemd-nspawn") {
            let machine =
                process::arguments(pid).iter().find_map(|word| Some(word.strip_prefix("--machine=")?.to_owned()));
            found.extend(machine.filter(|name| lab_of(name).is_some()).map(|name| (name, pid)));
        }
    }
    found
}

/// `wl-1-0` of `wl-1-0` and of `wl-1-0-HOST`.
fn lab_of(name: &str) -> Option<String> {
    let mut words = name.split('-');
    let (prefix, pid, number) = (words.next()?, words.next()?, words.next()?);
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    (prefix == "wl" && is_number(pid) && is_number(number)).then(|| format!("wl-{pid}-{number}"))
}

fn list(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
