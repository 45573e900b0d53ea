//! `replica`: a directory with all that is in it, as a `transfer` step brings it from another host. Its state is its
//! manifest: one [`Entry`] a line. Files are told apart by size and modification time, as rsync(1) does it; what is
//! replaced or removed is kept by content.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::file::Blob;
use super::node::{Mode, Node, Owned, path_problem, to_hex};
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::host::FileType;
use crate::protocol::{Entry, EntryKind, HostPath};
use crate::resource::{Circumstances, Claim, Cx, Lens, Witness};
use crate::resources::owner::Database;

/// Deepest directory nesting that is followed.
const MAX_DEPTH: usize = 256;

/// What a manifest has for the time of a link; what was kept for an undo has the true one.
const NO_TIME: (i64, u32) = (0, 0);

/// A directory tree.
#[derive(Debug)]
pub struct Replica;

/// A directory tree as a manifest describes it; made by the controller from a `transfer` step.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "replica")]
pub struct Spec {
    /// Absolute path of the directory.
    pub path: String,
    /// What the tree shall be.
    pub wanted: State,
    /// The manifest behind it, with the digests of the contents that were sent.
    pub manifest: Blob,
}

/// A whole tree in a few words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct State {
    /// Digest of the manifest without content digests; `None` if there is no such directory.
    pub manifest: Option<Digest>,
    /// Number of entries.
    pub entries: u64,
    /// Bytes in its files.
    pub bytes: u64,
}

/// A manifest in memory, by path.
pub type Manifest = BTreeMap<HostPath, Entry>;

impl State {
    /// Sums up a manifest.
    pub fn of(manifest: &Manifest) -> State {
        if manifest.is_empty() {
            return State::default();
        }
        let bytes = manifest.values().map(|e| if let EntryKind::File { size, .. } = e.kind { size } else { 0 }).sum();
        let plain: Manifest = manifest.iter().map(|(path, entry)| (path.clone(), without_digest(entry))).collect();
        State { manifest: Some(Digest::of(&to_lines(&plain))), entries: manifest.len() as u64, bytes }
    }
}

/// Writes a manifest: one JSON object a line, in path order.
pub fn to_lines(manifest: &Manifest) -> Vec<u8> {
    let mut text = Vec::new();
    for entry in manifest.values() {
        // An `Entry` is made of strings and numbers: it always serialises.
        serde_json::to_writer(&mut text, entry).unwrap_or_default();
        text.push(b'\n');
    }
    text
}

/// Reads what [`to_lines`] wrote.
///
/// # Errors
/// `Corrupt` if it is something else.
pub fn from_lines(reader: &mut dyn std::io::Read) -> Result<Manifest, Fault> {
    let corrupt = |e: &dyn std::fmt::Display| Fault::new(FaultCode::Corrupt, format!("unreadable manifest: {e}"));
    let mut manifest = Manifest::new();
    for line in BufReader::new(reader).lines() {
        let entry: Entry = serde_json::from_str(&line.map_err(|e| corrupt(&e))?).map_err(|e| corrupt(&e))?;
        let unsafe_part = |part: &[u8]| part.is_empty() || part == b"." || part == b".." || part.contains(&0);
        let bytes = bytes_of(&entry.path);
        if !bytes.is_empty() && bytes.split(|b| *b == b'/').any(unsafe_part) {
            return Err(corrupt(&"an entry leads out of the tree"));
        }
        manifest.insert(entry.path.clone(), entry);
    }
    Ok(manifest)
}

/// Lists a tree, without content digests. Devices, sockets and pipes are left out.
///
/// # Errors
/// Those of the host; `Invalid` if it is nested deeper than 256 directories.
pub fn scan(root: &Path, cx: &mut Cx<'_>) -> Result<Manifest, Fault> {
    let mut manifest = Manifest::new();
    let mut open: Vec<(PathBuf, usize)> = vec![(PathBuf::new(), 0)];
    while let Some((relative, depth)) = open.pop() {
        let path = if relative.as_os_str().is_empty() { root.to_owned() } else { root.join(&relative) };
        let Some(meta) = cx.host.lstat(&path)? else { continue };
        let at = &meta.attributes;
        let kind = match meta.file_type {
            FileType::File => EntryKind::File { size: meta.size, digest: None },
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Symlink { target: host_path(&cx.host.read_link(&path)?) },
            FileType::Other => continue,
        };
        if kind == EntryKind::Directory {
            if depth > MAX_DEPTH {
                let message = format!("{} is nested deeper than {MAX_DEPTH} directories", root.display());
                return Err(Fault::new(FaultCode::Invalid, message));
            }
            open.extend(cx.host.read_dir(&path)?.into_iter().map(|name| (relative.join(name), depth + 1)));
        } else if depth == 0 {
            let message = format!("{} is not a directory", root.display());
            return Err(Fault::new(FaultCode::Conflict, message));
        }
        let path = host_path(&relative);
        // Linux keeps no mode of links; nobody asks for their time to be copied.
        let link = matches!(kind, EntryKind::Symlink { .. });
        let entry = Entry {
            path: path.clone(),
            kind,
            mode: if link { 0o777 } else { at.mode.unwrap_or(0) },
            owner: Database::User.name(at.uid.unwrap_or(0), cx.host)?,
            group: Database::Group.name(at.gid.unwrap_or(0), cx.host)?,
            mtime: if link { NO_TIME } else { at.mtime.unwrap_or((0, 0)) },
            xattrs: at.xattrs.iter().flatten().map(|(k, v)| (k.clone(), to_hex(v))).collect(),
            sparse: at.sparse.unwrap_or(false),
            hard_link: None,
        };
        manifest.insert(path, entry);
    }
    Ok(manifest)
}

impl Lens for Replica {
    const NAME: &'static str = "replica";
    const WITNESS: Witness = Witness::Paths;
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        path_problem(&spec.path).into_iter().collect()
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Path(PathBuf::from(&spec.path))]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        Ok(State::of(&scan(Path::new(&spec.path), cx)?))
    }

    fn want(spec: &Spec, _state: &State, _given: Circumstances) -> Result<State, Fault> {
        Ok(spec.wanted.clone())
    }

    /// `to` is the wanted tree or one that was kept.
    fn put(spec: &Spec, _now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        make(Path::new(&spec.path), &target(spec, to, cx)?, cx)
    }

    /// Keeps the manifest of what is there, and every content that the wanted tree replaces or lacks.
    fn keep(spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let root = Path::new(&spec.path);
        let Some(digest) = &now.manifest else { return Ok(()) };
        let wanted = target(spec, wanted, cx)?;
        let mut here = scan(root, cx)?;
        for (path, entry) in &mut here {
            if wanted.get(path).is_some_and(|w| unchanged(entry, w)) {
                continue;
            }
            if let EntryKind::File { digest, .. } = &mut entry.kind {
                let file = join(root, path);
                let here = Node::get(&file, cx)?;
                here.keep(&file, &Node::Absent, cx)?;
                if let Node::File { digest: seen, hard_link, .. } = here {
                    *digest = Some(seen);
                    entry.hard_link = hard_link;
                }
            } else if let Node::Symlink { mtime: Some(mtime), .. } = Node::get(&join(root, path), cx)? {
                entry.mtime = mtime;
            }
        }
        cx.keep_bytes(&format!("tree-{digest}"), &to_lines(&here))
    }

    fn title(spec: &Spec) -> String {
        format!("{}/**", spec.path)
    }

    fn examples() -> Vec<Value> {
        // A transfer of nothing: the directory must not be there. Trees with contents have their own tests.
        let empty = Blob { digest: Digest::of(b""), size: 0 };
        vec![json!({ "path": "/srv/share", "wanted": State::default(), "manifest": empty })]
    }
}

/// The tree behind a state: the wanted one, or one that was kept.
fn target(spec: &Spec, state: &State, cx: &mut Cx<'_>) -> Result<Manifest, Fault> {
    if *state == spec.wanted {
        return from_lines(&mut cx.content(&spec.manifest.digest)?);
    }
    match &state.manifest {
        None => Ok(Manifest::new()),
        Some(digest) => from_lines(&mut cx.kept_bytes(&format!("tree-{digest}"))?),
    }
}

/// Makes the tree below `root` be `target`: removes what it lacks, deepest first, then makes and sets the rest in path
/// order, directories' times and modes last.
fn make(root: &Path, target: &Manifest, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let here = scan(root, cx)?;
    for (path, entry) in here.iter().rev() {
        let stays =
            target.get(path).is_some_and(|t| std::mem::discriminant(&t.kind) == std::mem::discriminant(&entry.kind));
        if !stays {
            cx.host.remove(&join(root, path))?;
        }
    }
    for (path, entry) in target {
        let file = join(root, path);
        let same = here.get(path).filter(|h| unchanged(h, entry));
        if let Some(same) = same
            && without_digest(same) == without_digest(entry)
        {
            continue;
        }
        if same.is_some() && matches!(entry.kind, EntryKind::File { .. }) {
            // The content stays; only metadata differs.
            let now = Node::get(&file, cx)?;
            if let Node::File { digest, size, .. } = &now {
                now.rewritten(digest, *size, owned(entry)).put(&file, &now, cx)?;
            }
            continue;
        }
        let now = Node::get(&file, cx)?;
        node(entry, &file)?.put(&file, &now, cx)?;
    }
    for (path, entry) in target.iter().rev().filter(|(_, e)| e.kind == EntryKind::Directory) {
        let file = join(root, path);
        let attributes = crate::host::Attributes { mtime: Some(entry.mtime), ..Default::default() };
        cx.host.set_attributes(&file, &attributes)?;
    }
    Ok(())
}

/// Whether the content can be taken as the same: same type and, for files, size and modification time.
pub fn unchanged(a: &Entry, b: &Entry) -> bool {
    match (&a.kind, &b.kind) {
        (EntryKind::File { size: x, .. }, EntryKind::File { size: y, .. }) => x == y && a.mtime == b.mtime,
        (x, y) => x == y,
    }
}

fn node(entry: &Entry, file: &Path) -> Result<Node, Fault> {
    Ok(match &entry.kind {
        EntryKind::Directory => Node::Directory { owned: owned(entry) },
        EntryKind::Symlink { target } => {
            let Entry { owner, group, xattrs, .. } = entry.clone();
            let mtime = Some(entry.mtime).filter(|time| *time != NO_TIME);
            Node::Symlink { target: path_of(target), owner, group, xattrs, mtime }
        }
        EntryKind::File { size, digest } => {
            let missing = || Fault::new(FaultCode::Invalid, format!("the content of {} was not sent", file.display()));
            let digest = digest.clone().ok_or_else(missing)?;
            let (mtime, sparse, hard_link) = (Some(entry.mtime), entry.sparse, entry.hard_link);
            Node::File { digest, size: *size, owned: owned(entry), mtime, sparse, hard_link }
        }
    })
}

fn owned(entry: &Entry) -> Owned {
    let Entry { mode, owner, group, xattrs, .. } = entry.clone();
    Owned { mode: Mode(mode), owner, group, xattrs }
}

fn without_digest(entry: &Entry) -> Entry {
    // Neither is how a file is stored part of what a tree is.
    let mut plain = Entry { sparse: false, hard_link: None, ..entry.clone() };
    match &mut plain.kind {
        EntryKind::File { digest, .. } => *digest = None,
        EntryKind::Symlink { .. } => plain.mtime = NO_TIME,
        EntryKind::Directory => {}
    }
    plain
}

/// A path of a manifest below its root.
pub fn join(root: &Path, path: &HostPath) -> PathBuf {
    let relative = path_of(path);
    if relative.as_os_str().is_empty() { root.to_owned() } else { root.join(relative) }
}

fn bytes_of(path: &HostPath) -> &[u8] {
    match path {
        HostPath::Text(text) => text.as_bytes(),
        HostPath::Bytes(bytes) => bytes,
    }
}

/// As the operating system takes it.
pub fn path_of(path: &HostPath) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(bytes_of(path).to_vec()))
}

/// As the wire takes it.
pub fn host_path(path: &Path) -> HostPath {
    let bytes = path.as_os_str().as_bytes();
    String::from_utf8(bytes.to_vec()).map_or_else(|e| HostPath::Bytes(e.into_bytes()), HostPath::Text)
}
