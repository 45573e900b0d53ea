//! rm(1) and mv(1) of whole trees in a sandbox: below its root, never on the machine that it stands on.

use std::path::{Path, PathBuf};

use super::files::Owners;
use super::program;
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Output};

/// Runs such a program on the sandbox's own paths; `None` for any other.
///
/// # Errors
/// `Conflict` for a path that a link leads out of the sandbox.
pub(super) fn run(root: &Path, owners: &mut Owners, command: &Command, left: &Path) -> Result<Option<Output>, Fault> {
    let words: Vec<&str> = command.argv.iter().map(String::as_str).collect();
    let (from, to) = match words.as_slice() {
        ["rm", "-rf", "--", path] => (*path, None),
        ["mv", "-T", "--", from, to] => (*from, Some(*to)),
        ["find", .., "-delete"] => {
            return Err(Fault::new(FaultCode::Unsupported, "a sandbox has no file systems of its own to empty"));
        }
        _ => return Ok(None),
    };
    let mut inside = command.clone();
    let first = words.len() - 1 - to.iter().len();
    for (word, path) in inside.argv.iter_mut().skip(first).zip([Some(from), to].into_iter().flatten()) {
        *word = below(root, path)?;
    }
    let output = program::run(&inside, command.effect.then_some(left))?;
    if output.ok() {
        owners.moved(from, to)?;
    }
    Ok(Some(output))
}

fn below(root: &Path, path: &str) -> Result<String, Fault> {
    let inside = root.join(path.trim_start_matches('/'));
    let canonical = |path: &Path| path.canonicalize().map_err(|e| Fault::path("look at", path, &e));
    let parent = inside.parent().map_or_else(PathBuf::new, Path::to_owned);
    match (inside.to_str(), canonical(&parent)?.starts_with(canonical(root)?), inside.file_name()) {
        (Some(text), true, Some(_)) => Ok(text.to_owned()),
        _ => Err(Fault::new(FaultCode::Conflict, format!("{path} leads out of the sandbox"))),
    }
}
