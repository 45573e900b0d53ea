//! The packages (deb(5)) of versions that a transaction gives up, kept for undo in the run's directory: a source may
//! drop a version the day after it was replaced.
//!
//! They come from apt's own cache or, by `apt-get --download-only`, from the sources as they still are.

use std::path::Path;

use super::apt::{EXACTLY, OPTIONS, change, read};
use crate::fault::{Fault, FaultCode};
use crate::resource::Cx;

/// apt's cache.
const CACHE: &str = "/var/cache/apt/archives";

/// A package and one of its versions.
pub(super) type Version = (String, String);

/// Keeps the packages of these installed versions.
///
/// # Errors
/// `Irreversible` if one is nowhere to be had: then the change is not made.
pub(super) fn keep(replaced: &[Version], cx: &mut Cx<'_>) -> Result<(), Fault> {
    let mut missing = Vec::new();
    for (name, version) in replaced {
        if kept(name, version, cx)?.is_none() && !from_cache(name, version, cx)? {
            missing.push((name.clone(), version.clone()));
        }
    }
    if !missing.is_empty() {
        download(&missing, cx)?;
        from_files(&missing, cx)?;
    }
    for (name, version) in &missing {
        if kept(name, version, cx)?.is_none() {
            let message =
                format!("{name} {version} could not be brought back: no apt source gives it and apt has no copy");
            let hint = format!("put {}*.deb into {CACHE}, or add a source that has it", prefix(name, version));
            return Err(Fault::new(FaultCode::Irreversible, message).hint(hint));
        }
    }
    Ok(())
}

/// Where the package of a version is kept, as apt-get(8) takes it: a path.
///
/// # Errors
/// Those of the host.
pub(super) fn kept(name: &str, version: &str, cx: &mut Cx<'_>) -> Result<Option<String>, Fault> {
    let Some(directory) = directory(cx) else { return Ok(None) };
    let found = cx.host.state_list(&directory)?.into_iter().find(|file| is(file, name, version));
    let Some(file) = found else { return Ok(None) };
    let path = cx.host.state_path(&format!("{directory}/{file}"))?.to_string_lossy().into_owned();
    // A copy that was cut off, or is another's.
    let argv = ["dpkg-deb", "--showformat=${Package}\t${Version}\n", "--show"];
    let shown = read(argv, std::slice::from_ref(&path), cx)?;
    let plain = name.split(':').next().unwrap_or(name);
    Ok((shown.ok() && shown.stdout.trim_end() == format!("{plain}\t{version}")).then_some(path))
}

fn directory(cx: &Cx<'_>) -> Option<String> {
    cx.run_dir.as_ref().map(|run| format!("{run}/kept/debs"))
}

/// How apt's file names begin: it writes the colon of an epoch as `%3a`.
fn prefix(name: &str, version: &str) -> String {
    let plain = name.split(':').next().unwrap_or(name);
    format!("{plain}_{}_", version.replace(':', "%3a"))
}

fn is(file: &str, name: &str, version: &str) -> bool {
    let rest = file.strip_prefix(&prefix(name, version)).and_then(|rest| rest.strip_suffix(".deb"));
    rest.is_some_and(|arch| name.split_once(':').is_none_or(|(_, wanted)| wanted == arch))
}

/// Copies it from apt's cache, if it is there.
fn from_cache(name: &str, version: &str, cx: &mut Cx<'_>) -> Result<bool, Fault> {
    let cache = Path::new(CACHE);
    let Some(directory) = directory(cx) else { return Ok(false) };
    if cx.host.lstat(cache)?.is_none() {
        return Ok(false);
    }
    let files = cx.host.read_dir(cache)?;
    let Some(file) = files.iter().filter_map(|file| file.to_str()).find(|file| is(file, name, version)) else {
        return Ok(false);
    };
    cx.kept = true;
    let mut reader = cx.host.open(&cache.join(file))?;
    cx.host.state_write(&format!("{directory}/{file}"), &mut reader)?;
    Ok(kept(name, version, cx)?.is_some())
}

/// Lets apt fetch what it still can; what it could is seen afterwards.
fn download(missing: &[Version], cx: &mut Cx<'_>) -> Result<(), Fault> {
    let Some(directory) = directory(cx) else { return Ok(()) };
    cx.kept = true;
    // apt wants this directory to be there.
    let made = format!("{directory}/partial/made");
    cx.host.state_write(&made, &mut std::io::empty())?;
    let archives = format!("Dir::Cache::archives={}/", cx.host.state_path(&directory)?.display());
    let own = ["--download-only", "--reinstall", "-o", "APT::Sandbox::User=root", "-o", &archives];
    let words = words(missing);
    let options = ["apt-get"].into_iter().chain(OPTIONS).chain(EXACTLY).chain(own);
    change(options, &words, cx)?;
    cx.host.state_remove(&format!("{directory}/partial"))?;
    cx.host.state_remove(&format!("{directory}/lock"))
}

fn words(missing: &[Version]) -> Vec<String> {
    let words = missing.iter().map(|(name, version)| format!("{name}={version}"));
    std::iter::once("install".to_owned()).chain(words).collect()
}

/// Copies what apt does not download, because its source is a directory of the host (`file:`, sources.list(5)).
fn from_files(missing: &[Version], cx: &mut Cx<'_>) -> Result<(), Fault> {
    let Some(directory) = directory(cx) else { return Ok(()) };
    let options = ["apt-get", "--print-uris", "--reinstall"].into_iter().chain(OPTIONS).chain(EXACTLY);
    let said = read(options, &words(missing), cx)?.stdout;
    for (path, file) in said.lines().filter_map(uri) {
        let wanted = missing.iter().any(|(name, version)| is(file, name, version));
        if wanted && cx.host.lstat(Path::new(path))?.is_some() {
            let mut reader = cx.host.open(Path::new(path))?;
            cx.host.state_write(&format!("{directory}/{file}"), &mut reader)?;
        }
    }
    Ok(())
}

/// Reads a line `'file:/DIRECTORY/FILE' FILE SIZE HASH`. What has to be decoded is left out.
fn uri(line: &str) -> Option<(&str, &str)> {
    let (uri, rest) = line.strip_prefix('\'')?.split_once('\'')?;
    let path = uri.strip_prefix("file://").or_else(|| uri.strip_prefix("file:"))?;
    let file = rest.split_whitespace().next()?;
    (path.starts_with('/') && !path.contains('%') && !file.contains('/')).then_some((path, file))
}

#[cfg(test)]
mod tests {
    use super::{is, uri};

    #[test]
    fn addresses_of_files_are_read() {
        let line = "'file:/srv/repo/./wl-lib_1.0_all.deb' wl-lib_1.0_all.deb 640 MD5Sum:00";
        assert_eq!(uri(line), Some(("/srv/repo/./wl-lib_1.0_all.deb", "wl-lib_1.0_all.deb")));
        assert_eq!(uri("'http://a.example/x.deb' x.deb 640 MD5Sum:00"), None);
        assert_eq!(uri("Reading package lists..."), None);
    }

    #[test]
    fn files_are_told_apart_by_version_and_architecture() {
        #[rustfmt::skip]
        let cases = [
            ("samba_2%3a4.17_amd64.deb", "samba", "2:4.17", true),
            ("samba_2%3a4.17_amd64.deb", "samba", "4.17", false),
            ("libc6_2.36-9_i386.deb", "libc6:i386", "2.36-9", true),
            ("libc6_2.36-9_amd64.deb", "libc6:i386", "2.36-9", false),
            ("libc6_2.36-9+deb12u1_amd64.deb", "libc6", "2.36-9", false),
            ("libc6_2.36-9_amd64.deb.part", "libc6", "2.36-9", false),
        ];
        for (file, name, version, expected) in cases {
            assert_eq!(is(file, name, version), expected, "{file} {name} {version}");
        }
    }
}
