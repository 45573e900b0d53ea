//! A control group for each host.
//!
//! Without one, the systemds of all hosts would manage the same groups, those of the test process, and take each
//! other's units for their own. Works with version 1, version 2 and both at once (`cgroups(7)`).

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Directories, one for each hierarchy.
#[derive(Debug)]
pub(crate) struct Cgroup(Vec<PathBuf>);

impl Cgroup {
    /// Makes a group below the one that this process is in, in every hierarchy that can have it.
    pub(crate) fn create(name: &str) -> Self {
        let wanted = of("self").into_iter().map(|dir| dir.join(name));
        Self(wanted.filter(|dir| fs::create_dir_all(dir).is_ok()).collect())
    }

    /// The directories.
    pub(crate) fn dirs(&self) -> &[PathBuf] {
        &self.0
    }
}

/// The directories of the groups that a process is in (`self` or a number), one for each hierarchy.
pub(crate) fn of(pid: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    groups.lines().filter_map(|line| dir(line, &mounts)).collect()
}

/// Removes groups and all below them, waiting for processes that are just ending.
///
/// # Errors
///
/// The directory that is still in use after five seconds.
pub(crate) fn remove(dirs: &[PathBuf]) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    for dir in dirs {
        while let Err(error) = remove_tree(dir) {
            if Instant::now() > deadline {
                return Err(format!("{}: {error}", dir.display()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

/// Finds the directory that a line of `/proc/PID/cgroup` (`ID:CONTROLLERS:PATH`) means.
fn dir(line: &str, mounts: &str) -> Option<PathBuf> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    // A group of this hierarchy accepts no process before its processors are set; systemd does not use it.
    if controllers.split(',').any(|controller| controller == "cpuset") {
        return None;
    }
    mounts.lines().find_map(|mount| {
        let (left, right) = mount.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let (root, point) = (left.get(3)?, left.get(4)?);
        let fits = match (controllers, *right.first()?) {
            ("", "cgroup2") => true,
            (_, "cgroup") => right.get(2)?.ends_with(&format!(",{controllers}")),
            _ => false,
        };
        let below = Path::new(path).strip_prefix(root).ok()?;
        fits.then(|| Path::new(point).join(below))
    })
}

fn remove_tree(dir: &Path) -> std::io::Result<()> {
    let gone = |error: std::io::Error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) };
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&entry.path())?;
    }
    fs::remove_dir(dir).or_else(gone)
}
