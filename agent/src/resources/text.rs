//! Kinds that edit a part of a text file that others own too (`line`, `block`, `ini` ...).
//!
//! Such a kind says, purely, what it makes of a text ([`Edit`]); the rest is here. Its state is the whole file and the
//! change that the edit would make to it. Undo restores the file exactly if nobody else has touched it since, and else
//! takes back only its own lines, found by themselves and their neighbours, as patch(1) does.

mod hunk;

use std::collections::BTreeMap;
use std::io::Read;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::node::{Mode, Node, Owned};
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Lens, Witness};
use hunk::bytewise;

pub use hunk::Hunk;

/// Bound of a file that is edited, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// How a kind edits.
pub trait Edit {
    /// See [`Lens::NAME`].
    const NAME: &'static str;
    /// See [`Lens::Spec`].
    type Spec: Serialize + DeserializeOwned + JsonSchema;

    /// See [`Lens::problems`].
    fn problems(spec: &Self::Spec) -> Vec<String>;
    /// The file.
    fn path(spec: &Self::Spec) -> String;
    /// Which part of the file it owns, in a few words: two owners of one part are refused.
    fn part(spec: &Self::Spec) -> String;
    /// The mode of a file that is made if there is none; `None`: then there is a fault before the change. (A plan may
    /// be made without the file: a package of the same run may bring it.)
    fn create(_spec: &Self::Spec) -> Option<Mode> {
        None
    }
    /// Makes the text be as wanted. Pure and idempotent; a text that is as wanted is not changed.
    ///
    /// # Errors
    /// If this text cannot be edited so.
    fn edit(spec: &Self::Spec, text: &mut Text) -> Result<(), Fault>;
    /// See [`Lens::sensitive`].
    fn sensitive(_spec: &Self::Spec) -> bool {
        false
    }
    /// See [`Lens::examples`].
    fn examples() -> Vec<Value>;
}

/// A [`Lens`] of an [`Edit`].
#[derive(Debug)]
pub struct Edited<E>(PhantomData<fn() -> E>);

/// The file, and what the edit would make of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What stands there.
    pub file: Node,
    /// `None` if the file is as wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

/// What an edit makes of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Of the edited file.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Mode of a file that is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<Mode>,
    /// The lines below are Latin-1: the file is no UTF-8. What the edit leaves of it may well be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub latin1: bool,
    /// The lines that change; `None` if they are sensitive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hunk: Option<Hunk>,
}

impl<E: Edit> Lens for Edited<E> {
    const NAME: &'static str = E::NAME;
    const WITNESS: Witness = Witness::Paths;
    type Spec = E::Spec;
    type State = State;

    fn problems(spec: &E::Spec) -> Vec<String> {
        E::problems(spec)
    }

    fn claims(spec: &E::Spec) -> Vec<Claim> {
        vec![Claim::Name(E::NAME, format!("{}: {}", E::path(spec), E::part(spec)))]
    }

    fn edits(spec: &E::Spec) -> Vec<PathBuf> {
        vec![E::path(spec).into()]
    }

    fn get(spec: &E::Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let edit = |text: &mut Text| E::edit(spec, text);
        look(Path::new(&E::path(spec)), &edit, E::create(spec), E::sensitive(spec), cx)
    }

    fn want(_spec: &E::Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        Ok(wanted(state))
    }

    fn put(spec: &E::Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        put(Path::new(&E::path(spec)), &|text: &mut Text| E::edit(spec, text), now, to, cx)
    }

    fn keep(spec: &E::Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let path = E::path(spec);
        let forward = wanted.change.is_none();
        if forward && now.file == Node::Absent && now.change.as_ref().is_some_and(|change| change.create.is_none()) {
            let hint = "declare what brings it before this, make it with `file`, or give `create` a mode";
            return Err(Fault::new(FaultCode::NotFound, format!("there is no file {path}")).hint(hint));
        }
        now.file.keep(Path::new(&path), &wanted.file, cx)
    }

    fn same(_spec: &E::Spec, a: &State, b: &State) -> bool {
        same(a, b)
    }

    fn intact(_spec: &E::Spec, _after: &State, now: &State) -> bool {
        now.change.is_none()
    }

    fn change(now: &State, _wanted: &State) -> Option<Vec<String>> {
        change(now)
    }

    fn preview(spec: &E::Spec, state: &State, cx: &mut Cx<'_>) -> Option<String> {
        state.file.preview(Path::new(&E::path(spec)), cx)
    }

    fn sensitive(spec: &E::Spec) -> bool {
        E::sensitive(spec)
    }

    fn title(spec: &E::Spec) -> String {
        if E::sensitive(spec) { E::path(spec) } else { format!("{} in {}", E::part(spec), E::path(spec)) }
    }

    fn examples() -> Vec<Value> {
        E::examples()
    }
}

/// An edit, for the functions below: kinds that own an edited file among other things call them themselves.
pub(crate) type EditText<'e> = &'e dyn Fn(&mut Text) -> Result<(), Fault>;

/// Reads a file and what an edit would make of it.
///
/// # Errors
/// `Conflict` if no regular file stands there, `Invalid` over
/// 4 MiB.
pub(crate) fn look(
    path: &Path,
    edit: EditText<'_>,
    create: Option<Mode>,
    sensitive: bool,
    cx: &mut Cx<'_>,
) -> Result<State, Fault> {
    let file = Node::get(path, cx)?;
    let old = read(path, &file, cx)?;
    seen(path, file, &old, edit, create, sensitive)
}

/// What an edit would make of a file that is not there, whatever its path will be.
///
/// # Errors
/// Those of the edit.
pub(crate) fn of_nothing(edit: EditText<'_>, create: Mode) -> Result<State, Fault> {
    seen(Path::new(""), Node::Absent, &Text::parse(b""), edit, Some(create), false)
}

fn seen(
    path: &Path,
    file: Node,
    old: &Text,
    edit: EditText<'_>,
    create: Option<Mode>,
    sensitive: bool,
) -> Result<State, Fault> {
    let mut text = old.clone();
    edit(&mut text)?;
    if text == *old {
        return Ok(State { file, change: None });
    }
    let bytes = text.bytes(path)?;
    let hunk = (!sensitive).then(|| Hunk::between(&old.lines, &text.lines));
    let create = create.filter(|_| file == Node::Absent);
    let (digest, size, latin1) = (Digest::of(&bytes), bytes.len() as u64, old.latin1);
    Ok(State { file, change: Some(Change { digest, size, create, latin1, hunk }) })
}

/// The bytes of the file as it is, and as the edit would make it: for a check before anything is written.
///
/// # Errors
/// Those of the host and the edit.
pub(crate) fn both(path: &Path, edit: EditText<'_>, now: &State, cx: &mut Cx<'_>) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let mut text = read(path, &now.file, cx)?;
    let old = text.bytes(path)?;
    edit(&mut text)?;
    Ok((old, text.bytes(path)?))
}

/// The state once the change is made.
pub(crate) fn wanted(state: &State) -> State {
    let Some(change) = &state.change else { return state.clone() };
    let owned = match &state.file {
        Node::File { owned, .. } => owned.clone(),
        _ => Owned::new(change.create.map_or(0o644, |mode| mode.0)),
    };
    State { file: state.file.rewritten(&change.digest, change.size, owned), change: None }
}

/// Makes the file be so: edited, or as it was.
///
/// # Errors
/// `Drifted` if others have changed the very lines that are to be taken back, unless that is to be gone over.
pub(crate) fn put(path: &Path, edit: EditText<'_>, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let digest = |node: &Node| match node {
        Node::File { digest, .. } => Some(digest.clone()),
        _ => None,
    };
    let is = digest(&now.file);
    let Some(change) = &to.change else {
        if is != digest(&to.file) {
            let mut text = read(path, &now.file, cx)?;
            edit(&mut text)?;
            cx.offer(&text.bytes(path)?);
        }
        return to.file.put(path, &now.file, cx);
    };
    if is == digest(&to.file) || is.as_ref() == Some(&change.digest) {
        return to.file.put(path, &now.file, cx);
    }
    if same(to, now) {
        // Others have taken our lines back already.
        return Ok(());
    }
    // Others have edited it since: only our lines go back.
    let mut text = read(path, &now.file, cx)?;
    text.bytewise();
    if change.hunk.as_ref().is_some_and(|hunk| hunk.bytewise(change.latin1).take_back(&mut text.lines)) {
        let bytes = text.bytes(path)?;
        cx.offer(&bytes);
        let owned = match &now.file {
            Node::File { owned, .. } => owned.clone(),
            _ => Owned::new(0o644),
        };
        let node = now.file.rewritten(&Digest::of(&bytes), bytes.len() as u64, owned);
        return node.put(path, &now.file, cx);
    }
    if cx.over_drift {
        return to.file.put(path, &now.file, cx);
    }
    let message = format!("others have changed {} where this step had changed it", path.display());
    Err(Fault::new(FaultCode::Drifted, message).hint("look at the file, then go on with `--take-back-anyway`"))
}

/// Whether the file is as before, or at least our part of it.
pub(crate) fn same(before: &State, now: &State) -> bool {
    before.file.same(&now.file) || (part(before).is_some() && part(before) == part(now))
}

/// How many more of each line the edit would leave; fewer where it removes some. Others' lines between two places that
/// change are in the hunk as well, and an empty line that sets our part apart depends on what is above it: neither counts.
fn part(state: &State) -> Option<BTreeMap<&str, isize>> {
    let hunk = state.change.as_ref()?.hunk.as_ref()?;
    let mut more = BTreeMap::new();
    let each = hunk.old.iter().map(|line| (line, -1)).chain(hunk.new.iter().map(|line| (line, 1)));
    for (line, n) in each {
        *more.entry(line.trim_end_matches('\r')).or_insert(0) += n;
    }
    more.retain(|line, n| !line.is_empty() && *n != 0);
    Some(more)
}

/// The change as lines of a diff.
pub(crate) fn change(now: &State) -> Option<Vec<String>> {
    let hunk = now.change.as_ref()?.hunk.as_ref()?;
    let old = hunk.old.iter().map(|line| format!("- {line}"));
    Some(old.chain(hunk.new.iter().map(|line| format!("+ {line}"))).collect())
}

/// What an edit makes of a text, for tests.
#[cfg(test)]
pub(crate) fn edited<E: Edit>(spec: &E::Spec, before: &str) -> String {
    let mut text = Text::parse(before.as_bytes());
    E::edit(spec, &mut text).unwrap();
    let once = text.clone();
    E::edit(spec, &mut text).unwrap();
    assert_eq!(once, text, "editing twice is editing once");
    String::from_utf8(text.bytes(Path::new("/x")).unwrap()).unwrap()
}

fn read(path: &Path, file: &Node, cx: &mut Cx<'_>) -> Result<Text, Fault> {
    let size = match file {
        Node::Absent => return Ok(Text::parse(b"")),
        Node::File { size, .. } => *size,
        _ => {
            let message = format!("{} is not a regular file", path.display());
            return Err(Fault::new(FaultCode::Conflict, message).hint("name the file itself, not a link to it"));
        }
    };
    if size > MAX_BYTES {
        let message = format!("{} has {size} bytes; files over {MAX_BYTES} bytes are not edited", path.display());
        return Err(Fault::new(FaultCode::Invalid, message));
    }
    let mut bytes = Vec::new();
    cx.host.open(path)?.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|e| Fault::path("read", path, &e))?;
    Ok(Text::parse(&bytes))
}

/// A text in memory: its lines without their endings, and how they end. Bytes that are no UTF-8 are taken for
/// Latin-1 (old configuration files are), and written as they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    lines: Vec<String>,
    /// New lines end with CR LF: so does the first line.
    crlf: bool,
    /// The last line has a newline, too.
    ended: bool,
    latin1: bool,
}

impl Text {
    /// Reads any bytes.
    pub fn parse(bytes: &[u8]) -> Text {
        let (text, latin1) = match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), false),
            Err(_) => (bytes.iter().map(|byte| char::from(*byte)).collect(), true),
        };
        let ended = text.is_empty() || text.ends_with('\n');
        let body = text.strip_suffix('\n').unwrap_or(&text);
        let lines: Vec<String> =
            if text.is_empty() { Vec::new() } else { body.split('\n').map(str::to_owned).collect() };
        let crlf = lines.first().is_some_and(|line| line.ends_with('\r'));
        Text { lines, crlf, ended, latin1 }
    }

    /// The bytes of the text.
    ///
    /// # Errors
    /// `Invalid` if a new line has a letter that a Latin-1 file cannot have.
    pub fn bytes(&self, path: &Path) -> Result<Vec<u8>, Fault> {
        let mut text = self.lines.join("\n");
        if self.ended && !self.lines.is_empty() {
            text.push('\n');
        }
        if !self.latin1 {
            return Ok(text.into_bytes());
        }
        let byte = |c: char| {
            u8::try_from(c).map_err(|_| {
                let message = format!("{} is written in Latin-1, which has no `{c}`", path.display());
                Fault::new(FaultCode::Invalid, message).hint("convert the file to UTF-8 first, e.g. with iconv(1)")
            })
        };
        text.chars().map(byte).collect()
    }

    /// Takes it for Latin-1, whatever it is: so it is compared and written byte by byte.
    fn bytewise(&mut self) {
        if !self.latin1 {
            self.lines.iter_mut().for_each(|line| *line = bytewise(line));
            self.latin1 = true;
        }
    }

    /// Number of lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines without their endings.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.lines.iter().map(|line| line.strip_suffix('\r').unwrap_or(line))
    }

    /// Index of the first line at or behind `from` that is so.
    pub fn find(&self, from: usize, is: impl Fn(&str) -> bool) -> Option<usize> {
        self.lines().skip(from).position(is).map(|at| at + from)
    }

    /// Index of the last line that is so.
    pub fn rfind(&self, is: impl Fn(&str) -> bool) -> Option<usize> {
        self.lines().rposition(is)
    }

    /// Puts a line before the one at `at`.
    pub fn insert(&mut self, at: usize, line: &str) {
        let at = at.min(self.lines.len());
        let ending = if self.crlf { "\r" } else { "" };
        if at == self.lines.len() && !self.ended {
            // What was the last line gets the ending that it lacked.
            if let Some(last) = self.lines.last_mut() {
                last.push_str(ending);
            }
            self.lines.push(line.to_owned());
        } else {
            self.lines.insert(at, format!("{line}{ending}"));
        }
    }

    /// Replaces the line at `at`, if it is another.
    pub fn replace(&mut self, at: usize, line: &str) {
        if self.lines().nth(at) != Some(line) {
            let ending = if self.lines[at].ends_with('\r') { "\r" } else { "" };
            self.lines[at] = format!("{line}{ending}");
        }
    }

    /// Removes the line at `at`.
    pub fn remove(&mut self, at: usize) {
        self.lines.remove(at);
        self.settle(at == self.lines.len());
    }

    /// Removes lines that are not so.
    pub fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        let stays = |line: &str| stays(line.strip_suffix('\r').unwrap_or(line));
        let last = self.lines.last().is_some_and(|line| !stays(line));
        self.lines.retain(|line| stays(line));
        self.settle(last);
    }

    /// Where the last line had no ending and has gone, the one before it has none.
    fn settle(&mut self, gone: bool) {
        if gone
            && self.crlf
            && !self.ended
            && let Some(last) = self.lines.last_mut()
            && last.ends_with('\r')
        {
            last.pop();
        }
    }
}

/// What is wrong with a text that is to be one line, if anything.
pub(crate) fn line_problem(key: &str, text: &str) -> Option<String> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Some(format!("`{key}` must be one line without control characters"));
    }
    text.trim().is_empty().then(|| format!("`{key}` must not be empty"))
}

#[cfg(test)]
mod tests;
