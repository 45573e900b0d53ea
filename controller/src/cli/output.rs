//! Files that pipelines read: written whole and renamed, and valid from before the work begins, so that whoever reads
//! one after a crash sees that the work did not end.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::exit::Failure;
use crate::drive::clock::nonce;

/// Where reports go.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Files {
    /// Write JUnit XML; the file is valid at any moment, also after a crash
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
    /// Write a summary in Markdown, e.g. for a merge request
    #[arg(long, value_name = "FILE")]
    pub(super) markdown: Option<PathBuf>,
}

impl Files {
    /// Writes what holds until the work ends.
    ///
    /// # Errors
    /// If a file cannot be written: the operator can name another.
    pub(super) fn begin(&self, what: &str) -> Result<(), Failure> {
        self.write(|| crate::show::junit::running(what), || crate::show::markdown::running(what))
    }

    /// Writes why the work came to no result; `Err` with the failure.
    pub(super) fn fail<T>(&self, what: &str, failure: Failure) -> Result<T, Failure> {
        let (message, code) = (failure.to_string(), failure.exit.code());
        let junit = || crate::show::junit::failed(what, &message, &failure.parts);
        self.write(junit, || crate::show::markdown::failed(what, &message, code))?;
        Err(failure)
    }

    /// Writes the files that were asked for.
    pub(super) fn write(
        &self,
        junit: impl FnOnce() -> String,
        markdown: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if let Some(path) = &self.junit {
            whole(path, &junit())?;
        }
        if let Some(path) = &self.markdown {
            whole(path, &markdown())?;
        }
        Ok(())
    }
}

/// Writes a file under another name beside its place, and renames it once it is on the disk.
///
/// # Errors
/// If it cannot be written: the operator can name another place. What was there is there still.
pub(super) fn whole(path: &Path, text: &str) -> Result<(), Failure> {
    let fail = |e: std::io::Error| Failure::of(&format!("write {}", path.display()), &e);
    let name = path.file_name().ok_or_else(|| Failure::new(format!("{} is no name of a file", path.display())))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(fail)?;
    let beside = directory.join(format!(".{}.{}", name.to_string_lossy(), nonce()));
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|e| {
        let _ = fs::remove_file(&beside);
        fail(e)
    })
}
