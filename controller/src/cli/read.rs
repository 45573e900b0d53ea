//! Files that are named on the command line: read up to a limit, whatever they are said to hold.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::exit::Failure;
use crate::plan::Plan;

/// Longest saved plan, in bytes: far more than one of a thousand hosts.
const PLAN: u64 = 256 << 20;

/// A text of so many bytes at most.
///
/// # Errors
/// It cannot be read, is longer, or is no text; the file is named.
pub(super) fn text(path: &Path, most: u64) -> Result<String, Failure> {
    let failed = |e: &std::io::Error| Failure::of(&format!("read {}", path.display()), e);
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_string(&mut text));
    let read = read.map_err(|e| failed(&e))?;
    if u64::try_from(read).is_ok_and(|read| read > most) {
        return Err(
            Failure::new(format!("{} is longer than {most} bytes", path.display())).hint("is it the right file?")
        );
    }
    Ok(text)
}

/// A saved plan.
///
/// # Errors
/// It cannot be read, or is none; the file is named.
pub(super) fn plan(path: &Path) -> Result<Plan, Failure> {
    crate::plan::read(&text(path, PLAN)?).map_err(|e| {
        let failure = Failure::of(&format!("{} cannot be used", path.display()), &e);
        failure.hint("`weiche plan PLAYBOOK ... --output FILE` makes such a file: plan again and save that plan")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_not_read_to_its_end() {
        // Zeros are text.
        let failure = text(Path::new("/dev/zero"), 1000).unwrap_err();
        assert!(format!("{failure:?}").contains("longer than 1000 bytes"), "{failure:?}");
        assert_eq!(text(Path::new("/dev/null"), 0).unwrap(), "");
    }
}
