//! The certificate: what a run manages and a member watches, listed with digests before the first change, and compared
//! line by line afterwards.
//!
//! A manifest is `runs/RUN/manifest` in the state directory: a JSON object a line. The first says what is covered, then
//! come the resources that are more than files, the installed packages, and every path in the order of its components,
//! so that two manifests are compared as they are read, however long they are. Owners are numbers. Times of directories
//! and links are left out: they say nothing about data, and undoing a new file changes them. So are devices, sockets
//! and pipes.

mod walk;

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Hashing;
use crate::fault::{Fault, FaultCode};
use crate::host::Host;
use crate::protocol::{Difference, Entry, EntryKind, HostPath, Manifest, RunId, Scope, Step};
use crate::resource::{Claim, Cx, Kind, Witness, kind};
use crate::resources::package;
use crate::resources::replica::path_of;
use walk::{Root, Walk};

/// Bytes that are written at once.
const CHUNK: usize = 4 << 20;

/// Longest line that is read: a list of all packages.
const LINE_MAX: u64 = 16 << 20;

/// Time for each look at a resource.
const LOOK: Duration = Duration::from_secs(60);

/// Most differences that are told one by one; the rest is counted.
pub const TOLD_MAX: usize = 1000;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// What is covered.
    Roots { roots: Vec<Root>, except: Vec<String>, packages: bool },
    /// A resource that is more than files.
    Resource { kind: String, spec: Value, state: Value },
    /// Every package and its version.
    Packages(BTreeMap<String, String>),
    /// A path.
    #[serde(untagged)]
    Path(Entry),
}

/// Where the manifest of a run lies in the state directory.
pub(crate) fn name(run: &RunId) -> String {
    format!("runs/{run}/manifest")
}

/// Writes the manifest of a run, unless it is there already.
///
/// # Errors
/// `NoSpace` above all; nothing else was changed.
pub fn take(run: &RunId, scope: &Scope, host: &mut dyn Host) -> Result<Manifest, Fault> {
    if let Some(manifest) = summary(run, host)? {
        return Ok(manifest);
    }
    let part = format!("{}.part", name(run));
    host.state_remove(&part)?;
    let mut lines = vec![cover(scope)?];
    let packages = matches!(&lines[0], Line::Roots { packages: true, .. });
    for step in &scope.steps {
        let kind = kind_of(&step.kind)?;
        if kind.witness() == Witness::State {
            let state = kind.get(&step.spec, &mut Cx::looking(host, LOOK))?;
            lines.push(Line::Resource { kind: step.kind.clone(), spec: step.spec.clone(), state });
        }
    }
    if packages {
        lines.push(Line::Packages(package::inventory(&mut Cx::looking(host, LOOK))?));
    }
    let mut walk = Walk::new(&lines[0]);
    let mut sum = Sum::new();
    let mut text = Vec::new();
    for line in &lines {
        write(line, &mut text)?;
    }
    while let Some(entry) = walk.next(host)? {
        sum.add(&entry);
        write(&Line::Path(entry), &mut text)?;
        if text.len() >= CHUNK {
            sum.hash(&text);
            host.state_append(&part, &text)?;
            text.clear();
        }
    }
    sum.hash(&text);
    host.state_append(&part, &text)?;
    host.state_rename(&part, &name(run))?;
    host.sync()?;
    Ok(sum.manifest())
}

/// Compares a run's manifest with what is there now; tells each difference, at most [`TOLD_MAX`], and returns their
/// number with the manifest's summary. `None` if the run has none: nothing was changed here.
///
/// # Errors
/// `Corrupt` for a damaged manifest; those of the host.
pub fn verify(
    run: &RunId,
    host: &mut dyn Host,
    tell: &mut dyn FnMut(Difference),
) -> Result<Option<(Manifest, u64)>, Fault> {
    let Some(mut stored) = Stored::open(run, host)? else { return Ok(None) };
    let mut sum = Sum::new();
    let mut count = 0;
    let mut differs = |difference: Difference| {
        count += 1;
        if count <= TOLD_MAX as u64 {
            tell(difference);
        }
    };
    let mut walk = None;
    let mut here = None;
    while let Some(line) = stored.next()? {
        if let (Line::Path(_), Some(walk)) = (&line, &mut walk)
            && here.is_none()
        {
            here = Walk::next(walk, host)?;
        }
        match line {
            Line::Roots { .. } => walk = Some(Walk::new(&line)),
            Line::Resource { kind, spec, state } => {
                let kind = kind_of(&kind)?;
                let now = kind.get(&spec, &mut Cx::looking(host, LOOK));
                let is = match now {
                    Ok(now) if kind.same(&spec, &state, &now)? => continue,
                    Ok(now) => now.to_string(),
                    Err(fault) => fault.to_string(),
                };
                let subject = format!("{} {}", kind.name(), kind.title(&spec));
                differs(Difference { subject, was: Some(state.to_string()), is: Some(is) });
            }
            Line::Packages(was) => {
                let is = package::inventory(&mut Cx::looking(host, LOOK))?;
                for (name, was, is) in unlike(&was, &is) {
                    differs(Difference { subject: format!("package {name}"), was, is });
                }
            }
            Line::Path(was) => {
                sum.add(&was);
                // What is there and was not, comes first.
                while let (Some(is), Some(walk)) = (&here, &mut walk)
                    && before(is, &was)
                {
                    differs(difference(None, Some(is)));
                    here = walk.next(host)?;
                }
                match here.take_if(|is| is.path == was.path) {
                    Some(is) if is == was => {}
                    Some(is) => differs(difference(Some(&was), Some(&is))),
                    None => differs(difference(Some(&was), None)),
                }
            }
        }
    }
    if let Some(mut walk) = walk {
        while let Some(is) = match here.take() {
            Some(is) => Some(is),
            None => walk.next(host)?,
        } {
            differs(difference(None, Some(&is)));
        }
    }
    sum.lines = stored.lines;
    Ok(Some((sum.manifest(), count)))
}

/// Every path of a run's manifest, in order, as before its first change.
///
/// # Errors
/// As for [`verify`].
pub fn export(run: &RunId, host: &mut dyn Host, tell: &mut dyn FnMut(Entry)) -> Result<(), Fault> {
    let missing = || Fault::new(FaultCode::NotFound, format!("the host has no manifest of run {run}"));
    let mut stored = Stored::open(run, host)?.ok_or_else(missing)?;
    while let Some(line) = stored.next()? {
        if let Line::Path(entry) = line {
            tell(entry);
        }
    }
    Ok(())
}

fn summary(run: &RunId, host: &mut dyn Host) -> Result<Option<Manifest>, Fault> {
    let Some(mut stored) = Stored::open(run, host)? else { return Ok(None) };
    let mut sum = Sum::new();
    while let Some(line) = stored.next()? {
        if let Line::Path(entry) = &line {
            sum.add(entry);
        }
    }
    sum.lines = stored.lines;
    Ok(Some(sum.manifest()))
}

/// What a scope covers: the paths of its steps, and what is watched.
fn cover(scope: &Scope) -> Result<Line, Fault> {
    let mut roots = Vec::new();
    let mut packages = false;
    for Step { kind, spec, .. } in &scope.steps {
        let kind = kind_of(kind)?;
        packages |= kind.witness() == Witness::Packages;
        let owned = kind.claims(spec)?.into_iter().filter_map(|claim| match claim {
            Claim::Path(path) => Some(path),
            Claim::Name(..) => None,
        });
        let root = |path| Root { path, below: kind.witness() == Witness::Trees, contents: true };
        roots.extend(owned.chain(kind.edits(spec)).map(root));
    }
    roots.extend(scope.listed.iter().map(|path| Root { path: path.into(), below: true, contents: false }));
    roots.extend(scope.watch.iter().map(|path| Root { path: path.into(), below: true, contents: true }));
    Ok(Line::Roots { roots: walk::normal(roots), except: scope.except.clone(), packages })
}

struct Sum {
    lines: Hashing<io::Sink>,
    entries: u64,
    bytes: u64,
}

impl Sum {
    fn new() -> Sum {
        Sum { lines: Hashing::new(io::sink()), entries: 0, bytes: 0 }
    }

    fn hash(&mut self, text: &[u8]) {
        // A sink takes everything.
        let _ = self.lines.write_all(text);
    }

    fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        if let EntryKind::File { size, .. } = entry.kind {
            self.bytes += size;
        }
    }

    fn manifest(self) -> Manifest {
        Manifest { digest: self.lines.finish().0, entries: self.entries, bytes: self.bytes }
    }
}

/// A manifest that is read line by line.
struct Stored {
    reader: BufReader<Box<dyn Read>>,
    lines: Hashing<io::Sink>,
    line: Vec<u8>,
}

impl Stored {
    fn open(run: &RunId, host: &mut dyn Host) -> Result<Option<Stored>, Fault> {
        let reader = host.state_open(&name(run))?;
        Ok(reader.map(|r| Stored { reader: BufReader::new(r), lines: Hashing::new(io::sink()), line: Vec::new() }))
    }

    fn next(&mut self) -> Result<Option<Line>, Fault> {
        self.line.clear();
        let mut bounded = (&mut self.reader).take(LINE_MAX);
        bounded.read_until(b'\n', &mut self.line).map_err(|e| Fault::io("read the manifest", &e))?;
        if self.line.is_empty() {
            return Ok(None);
        }
        let _ = self.lines.write_all(&self.line);
        let line = serde_json::from_slice(&self.line);
        line.map(Some).map_err(|e| Fault::new(FaultCode::Corrupt, format!("unreadable manifest: {e}")))
    }
}

fn write(line: &Line, text: &mut Vec<u8>) -> Result<(), Fault> {
    serde_json::to_writer(&mut *text, line)
        .map_err(|e| Fault::new(FaultCode::Invalid, format!("a manifest cannot be written: {e}")))?;
    text.push(b'\n');
    Ok(())
}

fn kind_of(name: &str) -> Result<&'static dyn Kind, Fault> {
    kind(name).ok_or_else(|| Fault::new(FaultCode::Invalid, format!("there is no resource kind `{name}`")))
}

/// Whether `a` comes before `b` in a walk.
fn before(a: &Entry, b: &Entry) -> bool {
    path_of(&a.path).iter().lt(path_of(&b.path).iter())
}

type Unlike<'a> = (&'a String, Option<String>, Option<String>);

fn unlike<'a>(was: &'a BTreeMap<String, String>, is: &'a BTreeMap<String, String>) -> impl Iterator<Item = Unlike<'a>> {
    let names = was.keys().chain(is.keys().filter(|name| !was.contains_key(*name)));
    names.filter(|n| was.get(*n) != is.get(*n)).map(|n| (n, was.get(n).cloned(), is.get(n).cloned()))
}

fn difference(was: Option<&Entry>, is: Option<&Entry>) -> Difference {
    let path = was.or(is).map_or(HostPath::Text(String::new()), |entry| entry.path.clone());
    Difference { subject: path_of(&path).display().to_string(), was: was.map(words), is: is.map(words) }
}

/// An entry in words, with all that is compared.
fn words(entry: &Entry) -> String {
    let Entry { kind, mode, owner, group, mtime, xattrs, sparse, hard_link, .. } = entry;
    let kind = match kind {
        EntryKind::File { size, digest: Some(digest) } => format!("file, {size} bytes, sha256 {}", digest.short()),
        EntryKind::File { size, digest: None } => format!("file, {size} bytes"),
        EntryKind::Directory => "directory".into(),
        EntryKind::Symlink { target } => format!("link to {}", Path::new(&path_of(target)).display()),
    };
    let time = if *mtime == (0, 0) { String::new() } else { format!(", time {}.{:09}", mtime.0, mtime.1) };
    let xattrs: String = xattrs.iter().map(|(name, value)| format!(", {name}={value}")).collect();
    let holes = if *sparse { ", with holes" } else { "" };
    let shared = hard_link.map_or_else(String::new, |inode| format!(", shares inode {inode}"));
    format!("{kind}, {mode:04o} {owner}:{group}{time}{holes}{shared}{xattrs}")
}
