//! The shell of the input layer: reads a fleet's directory and its `files/`. All else is pure.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use weiche_agent::digest::Digest;
use weiche_agent::resources::entries::Entry;

use super::check::{self, Documents};
use super::diagnostic::{Diagnostic, Problems, render};
use super::files::{FileFault, Files, Held, Origin};
use super::fleet::{Base, Fleet};
use super::signer;
use super::source::{Source, Sources, Span};
use super::yaml::{self, MAX_BYTES};
use crate::content::cache::Cache;
use crate::content::{ContentError, fetch, unpack, walk};

/// Largest template: it is held in memory, and so is what comes of it for every host.
const TEMPLATE_MAX: u64 = 1 << 20;

/// A fleet that was read, and what to show with it.
#[derive(Debug)]
pub struct Loaded {
    /// The fleet.
    pub fleet: Fleet,
    /// Warnings; errors would have prevented this.
    pub warnings: Problems,
    /// The texts that problems point into, later ones of `expand` included.
    pub sources: Sources,
    directory: PathBuf,
}

impl Loaded {
    /// The fleet.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.directory
    }

    /// Shows problems with the lines they point to.
    pub fn render(&self, problems: &Problems, colour: bool) -> String {
        render(problems, &self.sources, colour)
    }
}

/// A fleet that cannot be used: the author of the fleet can fix it.
#[derive(Debug, thiserror::Error)]
#[error("the fleet has problems:\n{problems}")]
pub struct LoadFailure {
    /// What is wrong; never empty.
    pub problems: Problems,
    /// The texts that the problems point into.
    pub sources: Sources,
}

impl LoadFailure {
    /// Shows all problems with the lines they point to.
    pub fn render(&self, colour: bool) -> String {
        render(&self.problems, &self.sources, colour)
    }
}

/// Reads a fleet's directory and checks everything in it.
///
/// # Errors
/// All problems of all files.
pub fn load(directory: &Path) -> Result<Loaded, Box<LoadFailure>> {
    let mut problems = Problems::new();
    let mut sources = Sources::default();
    let mut unread = false;
    let mut document = |name: &str, problems: &mut Problems| {
        let source = read(directory, name, &mut sources, problems);
        unread |= source.is_none();
        source
    };
    let mut folder = |folder: &str, endings: &[&str], problems: &mut Problems| {
        let names = list(directory, folder, endings, problems);
        names.iter().filter_map(|name| document(name, problems)).collect::<Vec<_>>()
    };
    let [members, profiles, playbooks] =
        ["members", "profiles", "playbooks"].map(|name| folder(name, &[".yaml", ".yml"], &mut problems));
    let papers = folder("papers", &[".hbs"], &mut problems);
    let config = document("weiche.yaml", &mut problems);
    // One that is there but cannot be read was reported already.
    let missing = config.is_none() && problems.iter().any(|problem| problem.file == "weiche.yaml");
    let approvers = approvers(directory, config.as_ref(), &mut sources, &mut problems);
    let documents = Documents { config, members, profiles, playbooks, papers, approvers, unread };
    let base = Base { directory: directory.to_owned(), home: std::env::home_dir() };
    let files = DiskFiles::new(directory);
    let result = check::read(&documents, &files, base, &mut sources);
    match result {
        Ok((fleet, warnings)) if problems.is_empty() => {
            Ok(Loaded { fleet, warnings, sources, directory: directory.to_owned() })
        }
        Ok((_, warnings)) => {
            problems.extend(warnings);
            Err(Box::new(LoadFailure { problems: problems.sorted(), sources }))
        }
        Err(found) => {
            for problem in &found {
                if !(missing && problem.file == "weiche.yaml") {
                    problems.add(problem.clone());
                }
            }
            Err(Box::new(LoadFailure { problems: problems.sorted(), sources }))
        }
    }
}

/// The file of approvers that `weiche.yaml` names. One whose name is wrong is not read, and reported by the check.
fn approvers(
    directory: &Path,
    config: Option<&Source>,
    sources: &mut Sources,
    problems: &mut Problems,
) -> Option<Source> {
    let config = config?;
    let root = yaml::parse(config, &mut Problems::new())?;
    let named = root.get("approvers")?;
    let name = named.text().filter(|name| signer::is_place(name))?;
    if !directory.join(name).exists() {
        let hint = "create it in the form of OpenSSH's allowed_signers: a person and their public key on each line";
        problems.add(Diagnostic::new(config, named.span, format!("there is no file `{name}`")).hint(hint));
        return None;
    }
    read(directory, name, sources, problems)
}

/// The files of a folder with one of these endings, in order; none if there is no such folder.
fn list(directory: &Path, folder: &str, endings: &[&str], problems: &mut Problems) -> Vec<String> {
    let entries = match std::fs::read_dir(directory.join(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.add(Diagnostic::of(folder, format!("the folder cannot be read: {error}")));
            return Vec::new();
        }
    };
    let mut names = Vec::new();
    for entry in entries {
        match entry.map(|entry| entry.file_name().into_string()) {
            Ok(Ok(name)) if !name.starts_with('.') && endings.iter().any(|ending| name.ends_with(ending)) => {
                names.push(format!("{folder}/{name}"));
            }
            Ok(Ok(_)) => {}
            Ok(Err(name)) => {
                let message = format!("the file name {} is not UTF-8", name.display());
                problems.add(Diagnostic::of(folder, message).hint("rename the file"));
            }
            Err(error) => problems.add(Diagnostic::of(folder, format!("the folder cannot be read: {error}"))),
        }
    }
    names.sort_unstable();
    names
}

fn read(directory: &Path, name: &str, sources: &mut Sources, problems: &mut Problems) -> Option<Source> {
    let mut bytes = Vec::new();
    // One byte more than allowed, so that the parser notices.
    let limit = MAX_BYTES as u64 + 1;
    let path = directory.join(name);
    // A pipe would keep us waiting.
    let file = path.metadata().and_then(|meta| match meta.is_file() {
        true => File::open(&path),
        false => Err(std::io::Error::other("it is no regular file")),
    });
    let result = file.and_then(|file| file.take(limit).read_to_end(&mut bytes));
    if let Err(error) = result {
        if !(error.kind() == ErrorKind::NotFound && name == "weiche.yaml") {
            let problem = Diagnostic::of(name, format!("the file cannot be read: {error}"));
            problems.add(problem.hint("may you read it?"));
        }
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(text) => {
            let source = Source::new(name, text);
            sources.add(source.clone());
            Some(source)
        }
        Err(error) => {
            let start = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let source = Source::new(name, text);
            let message = format!("the file is not UTF-8 from byte {start} on");
            let hint = "save it as UTF-8; it was probably written as Windows-1252 or Latin-1";
            let len = char::REPLACEMENT_CHARACTER.len_utf8();
            problems.add(Diagnostic::new(&source, Span::new(start, len), message).hint(hint));
            sources.add(source);
            None
        }
    }
}

/// A fleet's `files/` on disk. Links that lead out of it are refused.
#[derive(Debug)]
pub struct DiskFiles {
    root: PathBuf,
    cache: Cache,
    digests: Mutex<HashMap<PathBuf, (Digest, u64)>>,
}

impl DiskFiles {
    /// Of the fleet in this directory.
    pub fn new(directory: &Path) -> DiskFiles {
        DiskFiles { root: directory.join("files"), cache: Cache::new(directory), digests: Mutex::default() }
    }

    fn find(&self, path: &str) -> Result<(PathBuf, u64), FileFault> {
        let (full, meta) = self.place_of(path)?;
        if meta.is_file() { Ok((full, meta.len())) } else { Err(FileFault::NoFile(path.to_owned())) }
    }

    fn place_of(&self, path: &str) -> Result<(PathBuf, Metadata), FileFault> {
        let unreadable = |error: &std::io::Error| match error.kind() {
            ErrorKind::NotFound => FileFault::Missing(path.to_owned()),
            _ => FileFault::Unreadable { path: path.to_owned(), reason: error.to_string() },
        };
        let root = self.root.canonicalize().map_err(|error| unreadable(&error))?;
        let full = root.join(path).canonicalize().map_err(|error| unreadable(&error))?;
        if !full.starts_with(&root) {
            return Err(FileFault::Outside(path.to_owned()));
        }
        let meta = full.metadata().map_err(|error| unreadable(&error))?;
        Ok((full, meta))
    }

    /// Fetches into the cache. The caller may be asynchronous itself, so it is done on a thread of its own.
    fn fetch(&self, url: &str, digest: &Digest) -> Result<u64, ContentError> {
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(ContentError::io("begin to fetch"))?;
            runtime.block_on(fetch::fetch(url, digest, fetch::LIMITS, &self.cache))
        };
        let done = std::thread::scope(|scope| scope.spawn(work).join());
        done.unwrap_or_else(|_| Err(ContentError::refused("fetching it has failed")))
    }

    fn open(&self, path: &str) -> Result<(PathBuf, File, u64), FileFault> {
        let (full, size) = self.find(path)?;
        let unreadable =
            |error: std::io::Error| FileFault::Unreadable { path: path.to_owned(), reason: error.to_string() };
        let file = File::open(&full).map_err(unreadable)?;
        Ok((full, file, size))
    }
}

impl Files for DiskFiles {
    fn text(&self, path: &str) -> Result<String, FileFault> {
        let (_, file, size) = self.open(path)?;
        let no_text = || FileFault::NoText(path.to_owned());
        if size > TEMPLATE_MAX {
            return Err(no_text());
        }
        let mut text = String::new();
        file.take(TEMPLATE_MAX).read_to_string(&mut text).map_err(|_| no_text())?;
        Ok(text)
    }

    fn digest(&self, path: &str) -> Result<(Digest, u64), FileFault> {
        let (full, mut file, _) = self.open(path)?;
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = digests.get(&full) {
            return Ok(known.clone());
        }
        let unreadable =
            |error: std::io::Error| FileFault::Unreadable { path: path.to_owned(), reason: error.to_string() };
        let found = Digest::of_reader(&mut file).map_err(unreadable)?;
        digests.insert(full, found.clone());
        Ok(found)
    }

    fn size(&self, path: &str) -> Result<u64, FileFault> {
        self.open(path).map(|(_, _, size)| size)
    }
    fn tree(&self, path: &str, hash: bool) -> Result<Held, FileFault> {
        let (full, meta) = self.place_of(path)?;
        if !meta.is_dir() {
            return Err(FileFault::NoDirectory(path.to_owned()));
        }
        let (entries, bodies) = walk::walk(&full, walk::LIMITS, hash).map_err(|error| unusable(path, &error))?;
        let place = self.place(path);
        let bodies = bodies.into_iter().map(|(digest, (below, size))| (digest, (place.join(below), size))).collect();
        Ok(Held { entries, bodies })
    }

    fn archive(&self, origin: &Origin, strip: u8) -> Result<Held, FileFault> {
        let (name, full, digest) = match origin {
            Origin::File { path, sha256 } => {
                let (digest, _) = self.digest(path)?;
                if let Some(sha256) = sha256.as_ref().filter(|sha256| **sha256 != digest) {
                    let reason = format!("it has SHA-256 {digest}, not {sha256}");
                    return Err(FileFault::Unusable { path: path.clone(), reason });
                }
                (path, self.find(path)?.0, digest)
            }
            Origin::Url { url, sha256 } => {
                self.fetch(url, sha256).map_err(|error| unusable(url, &error))?;
                (url, self.cache.path(sha256), sha256.clone())
            }
        };
        let unpacked = unpack::unpack(&full, &digest, strip, unpack::LIMITS, &self.cache);
        let entries = unpacked.map_err(|error| unusable(name, &error))?;
        let bodies = entries.values().filter_map(|entry| match entry {
            Entry::File { digest, size, .. } => Some((digest.clone(), (Cache::place(digest), *size))),
            _ => None,
        });
        let bodies = bodies.collect();
        Ok(Held { entries, bodies })
    }
}

fn unusable(path: &str, error: &ContentError) -> FileFault {
    FileFault::Unusable { path: path.to_owned(), reason: error.told() }
}
