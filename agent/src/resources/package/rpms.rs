//! The packages (rpm(8)) of versions that a transaction gives up, kept for undo in the run's directory: a repository may
//! drop a version the day after it was replaced.
//!
//! They come from dnf's own cache or, by `dnf reinstall --downloadonly`, from the repositories as they still are.

use std::path::Path;

use super::apt::{change, read};
use super::archive::Version;
use super::dnf::{FORMAT, OPTIONS, plain, rows};
use crate::fault::{Fault, FaultCode};
use crate::resource::Cx;

/// dnf's cache: a directory for each repository, in which `packages` lies.
const CACHE: &str = "/var/cache/dnf";

/// Keeps the packages of these installed versions.
///
/// # Errors
/// `Irreversible` if one is nowhere to be had: then the change is not made.
pub(super) fn keep(replaced: &[Version], cx: &mut Cx<'_>) -> Result<(), Fault> {
    let mut missing = Vec::new();
    for (name, version) in replaced {
        if kept(name, version, cx)?.is_none() && !from_cache(name, version, cx)? {
            missing.push((name, version));
        }
    }
    let Some(directory) = directory(cx).filter(|_| !missing.is_empty()) else { return Ok(()) };
    cx.kept = true;
    // dnf makes no directory for it, and one that is empty is none here.
    let made = format!("{directory}/made");
    cx.host.state_write(&made, &mut std::io::empty())?;
    let to = format!("--downloaddir={}", cx.host.state_path(&directory)?.display());
    let argv = ["dnf"].into_iter().chain(OPTIONS).chain(["-y", "--downloadonly", &to, "reinstall"]);
    let words: Vec<String> = missing.iter().map(|(n, version)| format!("{}-{version}", plain(n, version))).collect();
    // What it could is seen afterwards.
    change(argv, &words, cx)?;
    cx.host.state_remove(&made)?;
    for (name, version) in missing {
        if kept(name, version, cx)?.is_none() {
            let message =
                format!("{name} {version} could not be brought back: no repository gives it and dnf has no copy");
            let hint =
                format!("put {} into {CACHE}/kept/packages, or add a repository that has it", file(name, version));
            return Err(Fault::new(FaultCode::Irreversible, message).hint(hint));
        }
    }
    Ok(())
}

/// Where the package of a version is kept, as dnf(8) takes it: a path.
///
/// # Errors
/// Those of the host.
pub(super) fn kept(name: &str, version: &str, cx: &mut Cx<'_>) -> Result<Option<String>, Fault> {
    let Some(directory) = directory(cx) else { return Ok(None) };
    let file = file(name, version);
    if !cx.host.state_list(&directory)?.contains(&file) {
        return Ok(None);
    }
    let path = cx.host.state_path(&format!("{directory}/{file}"))?.to_string_lossy().into_owned();
    // A copy that was cut off, or is another's: file names have no epoch.
    if !read(["rpm", "-K", "--nosignature"], std::slice::from_ref(&path), cx)?.ok() {
        return Ok(None);
    }
    let shown = read(["rpm", "-q", "--nosignature", "--qf", FORMAT, "-p"], std::slice::from_ref(&path), cx)?;
    let is = rows(&shown.stdout).any(|(n, v)| n == plain(name, version) && v == version);
    Ok(is.then_some(path))
}

fn directory(cx: &Cx<'_>) -> Option<String> {
    cx.run_dir.as_ref().map(|run| format!("{run}/kept/rpms"))
}

/// The name of a package's file.
fn file(name: &str, version: &str) -> String {
    let without_epoch = version.split_once(':').map_or(version, |(_, rest)| rest);
    format!("{}-{without_epoch}.rpm", plain(name, version))
}

/// Copies it from dnf's cache, if it is there.
fn from_cache(name: &str, version: &str, cx: &mut Cx<'_>) -> Result<bool, Fault> {
    let cache = Path::new(CACHE);
    let Some(directory) = directory(cx) else { return Ok(false) };
    if cx.host.lstat(cache)?.is_none() {
        return Ok(false);
    }
    let file = file(name, version);
    for repository in cx.host.read_dir(cache)? {
        let path = cache.join(repository).join("packages").join(&file);
        let Ok(Some(_)) = cx.host.lstat(&path) else { continue };
        cx.kept = true;
        let mut reader = cx.host.open(&path)?;
        cx.host.state_write(&format!("{directory}/{file}"), &mut reader)?;
        if kept(name, version, cx)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::file;

    #[test]
    fn files_are_named_without_epoch() {
        assert_eq!(file("nginx", "1:1.20.1-16.el9.x86_64"), "nginx-1.20.1-16.el9.x86_64.rpm");
        assert_eq!(file("nginx.x86_64", "1.20.1-16.el9.x86_64"), "nginx-1.20.1-16.el9.x86_64.rpm");
        assert_eq!(file("python3.11", "3.11.7-1.el9.x86_64"), "python3.11-3.11.7-1.el9.x86_64.rpm");
    }
}
