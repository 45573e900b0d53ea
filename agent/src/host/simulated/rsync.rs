//! rsync(1) from another host, as far as `mirror` uses it: the other host has the same two files always. If its name begins
//! with `no-such-` it is not there, and with `empty-` its directory has nothing. Beside these a directory has nothing after
//! a round.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Host, MTIME, Output, fails, file_attributes, says};
use crate::fault::Fault;
use crate::host::{Attributes, Command, FileType, read_text};

/// What the other host has.
const FILES: [(&str, &str); 2] = [("letter.txt", "Sehr geehrte Frau Meier\n"), ("plan.txt", "3 Obergeschoss\n")];

pub(super) fn rsync(host: &mut dyn Host, command: &Command) -> Result<Output, Fault> {
    let words: Vec<&str> = command.argv.iter().map(String::as_str).collect();
    let [_, options @ .., from, to] = words.as_slice() else {
        return Ok(says("rsync  version 3.2.7  protocol version 31\n"));
    };
    if from.starts_with("no-such-") {
        return Ok(fails(255, "ssh: Could not resolve hostname"));
    }
    let has = |option: &str| options.contains(&option);
    if has("--from0") {
        return Ok(says(""));
    }
    let files = if from.starts_with("empty-") { &[] } else { &FILES[..] };
    if has("--list-only") {
        let names = files.iter().map(|(name, _)| format!("-rw-r--r-- {name}\n"));
        return Ok(says(format!("drwxr-xr-x .\n{}", names.collect::<String>())));
    }
    let dry = has("-n");
    let most = options.iter().find_map(|option| option.strip_prefix("--max-delete=")?.parse().ok()).unwrap_or(u64::MAX);
    let (mut deleted, mut skipped) = (0, 0);
    let top = Path::new(to.trim_end_matches('/'));
    let mut said = String::new();
    if host.lstat(top)?.is_none() {
        said.push_str("cd+++++++++ 0 ./\n");
        if !dry {
            host.make_dir(top, &Attributes { mode: Some(0o750), ..Attributes::default() })?;
        }
    }
    if host.lstat(top)?.is_some() {
        for name in host.read_dir(top)? {
            let ours = files.iter().any(|(ours, _)| name == *ours) || name == "lost+found";
            if !ours && deleted >= most {
                skipped += 1;
            } else if !ours {
                deleted += 1;
                said.push_str(&format!("*deleting   0 {}\n", name.to_string_lossy()));
                if !dry {
                    remove(host, &top.join(name))?;
                }
            }
        }
    }
    let mut bytes = 0;
    for &(name, text) in files {
        let path = top.join(name);
        let is = host
            .lstat(&path)?
            .is_some_and(|meta| meta.file_type == FileType::File && meta.attributes.mtime == Some(MTIME));
        if !is || read_text(host, &path)?.as_deref() != Some(text) {
            said.push_str(&format!(">f+++++++++ {} {name}\n", text.len()));
            bytes += text.len();
            if !dry {
                if host.lstat(&path)?.is_some_and(|meta| meta.file_type == FileType::Directory) {
                    remove(host, &path)?;
                }
                host.write(&path, &mut text.as_bytes(), &file_attributes())?;
            }
        }
    }
    if has("--stats") {
        said = format!("Number of deleted files: {deleted}\nLiteral data: {bytes} bytes\n");
    }
    if skipped > 0 {
        let stderr = format!("Deletions stopped due to --max-delete limit ({skipped} skipped)\n");
        return Ok(Output { status: 25, stderr, ..says(said) });
    }
    Ok(says(said))
}

/// With all that is below it.
fn remove(host: &mut dyn Host, path: &Path) -> Result<(), Fault> {
    if host.lstat(path)?.is_some_and(|meta| meta.file_type == FileType::Directory) {
        let names: Vec<OsString> = host.read_dir(path)?;
        let paths: Vec<PathBuf> = names.into_iter().map(|name| path.join(name)).collect();
        paths.iter().try_for_each(|path| remove(host, path))?;
    }
    host.remove(path)
}
