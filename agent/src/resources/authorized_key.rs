//! `authorized_key`: a public key that may log in as a user, in the AUTHORIZED_KEYS FILE FORMAT of sshd(8).
//!
//! The file lies where a user may write, so nothing is followed out of it: a link in place of `.ssh` or of the file is
//! refused.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::account::{PASSWD, name_problem};
use super::node::{Mode, Node, Owned, Presence};
use super::owner::Database;
use super::text::{self, Text};
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::host::read_text;
use crate::resource::{Circumstances, Claim, Cx, Lens};

/// Types of keys that today's OpenSSH takes.
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Bound of a line, in bytes: sshd(8) allows 8 kilobytes.
const MAX_LINE: usize = 8 << 10;

/// A public key.
#[derive(Debug)]
pub struct AuthorizedKey;

/// A public key that may log in as a user, in `~/.ssh/authorized_keys`. The home directory is the one of `/etc/passwd`.
/// `.ssh` is made 0700 and the file 0600, both owned by the user. A key is told by its type and its base64 part: a line
/// with the same key and other options or another comment is replaced, a second one is removed. Links in place of
/// `.ssh` or of the file are refused. Undo leaves `.ssh` where others have put something into it meanwhile.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "authorized_key")]
pub struct Spec {
    /// Who may log in with it. The account may be made by an earlier step.
    pub user: String,
    /// The public key: one line as `ssh-keygen` writes it, `ssh-ed25519 AAAA... comment`. Without a comment, that of
    /// the line that is there stays.
    pub key: String,
    /// Options before the key, as in sshd(8): `from="192.0.2.0/24",no-pty`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
    /// `present` (default) or `absent`: every line with this key is removed, whatever its options.
    #[serde(default)]
    pub state: Presence,
    /// Whether the key is told by its comment as well: lines with the same comment and another key are replaced, or
    /// removed, too. For keys that are made anew each time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_comment: bool,
}

/// The directory and the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Home directory; `None`: there is no such user yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Name of the user's group.
    pub group: String,
    /// `~/.ssh`.
    pub directory: Node,
    /// `~/.ssh/authorized_keys`, and what would become of it.
    pub file: text::State,
    /// `~/.ssh` holds other things, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

impl Lens for AuthorizedKey {
    const NAME: &'static str = "authorized_key";
    // Where the file is, only the account that an earlier step may have made tells: so it is carried out alone.
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = name_problem("user", &spec.user).into_iter().collect();
        problems.extend(text::line_problem("key", &spec.key));
        if spec.key.len() + spec.options.as_ref().map_or(0, String::len) > MAX_LINE {
            problems.push(format!("`key` and `options` are longer than {MAX_LINE} bytes"));
        } else if problems.is_empty() {
            problems.extend(key_problem(&spec.key));
        }
        if spec.by_comment && parts(&spec.key).2.is_empty() {
            problems.push("`by_comment` needs a key with a comment".into());
        }
        if let Some(options) = &spec.options {
            problems.extend(text::line_problem("options", options));
            let one = field_end(options) == Some(options.len()) && !options.starts_with('#');
            if !one || options.contains('\t') || TYPES.contains(&options.as_str()) {
                problems.push("`options` must be a comma-separated list with blanks in double quotes only".into());
            }
            if spec.state == Presence::Absent {
                problems.push("an absent key has no `options`".into());
            }
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        let (kind, data, comment) = parts(&spec.key);
        if spec.by_comment {
            return vec![Claim::Name("authorized key", format!("{} of {comment}", spec.user))];
        }
        vec![Claim::Name("authorized key", format!("{} {kind} {}", spec.user, Digest::of(data.as_bytes()).short()))]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let edit = |text: &mut Text| edit(spec, text);
        let Some((home, gid)) = account(&spec.user, cx)? else {
            let file = text::of_nothing(&edit, Mode(0o600))?;
            return Ok(State { home: None, group: String::new(), directory: Node::Absent, file, shared: false });
        };
        let (directory, path) = places(&home);
        let node = Node::get(&directory, cx)?;
        let mut shared = false;
        match node {
            Node::Absent => {}
            Node::Directory { .. } => {
                shared = cx.names(&directory)?.iter().any(|name| name != "authorized_keys");
            }
            _ => return Err(refused(&directory, "is not a directory")),
        }
        if !matches!(Node::get(&path, cx)?, Node::Absent | Node::File { .. }) {
            return Err(refused(&path, "is not a regular file"));
        }
        let file = text::look(&path, &edit, Some(Mode(0o600)), false, cx)?;
        let group = Database::Group.name(gid, cx.host)?;
        Ok(State { home: Some(home), group, directory: node, file, shared })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        if spec.state == Presence::Absent {
            return Ok(State { file: text::wanted(&state.file), ..state.clone() });
        }
        let with = |owned: &Owned, mode| owned.clone().with(Some(Mode(mode)), Some(&spec.user), Some(&state.group));
        let mut file = text::wanted(&state.file);
        if let Node::File { owned, .. } = &mut file.file {
            *owned = with(owned, 0o600);
        }
        let owned = match &state.directory {
            Node::Directory { owned } => owned.clone(),
            _ => Owned::new(0o700),
        };
        let directory = Node::Directory { owned: with(&owned, 0o700) };
        Ok(State { directory, file, ..state.clone() })
    }

    fn keep(spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let Some(home) = &now.home else {
            let fault = Fault::new(FaultCode::NotFound, format!("there is no user `{}` in {PASSWD}", spec.user));
            return Err(
                fault.hint("declare a `user` resource before this one; accounts of directory services have none")
            );
        };
        if !matches!(Node::get(Path::new(home), cx)?, Node::Directory { .. } | Node::Symlink { .. }) {
            let message = format!("the home directory {home} of `{}` is not there", spec.user);
            return Err(Fault::new(FaultCode::NotFound, message).hint("declare a `directory` resource for it"));
        }
        now.file.file.keep(&places(home).1, &wanted.file.file, cx)
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let Some(home) = now.home.as_ref().or(to.home.as_ref()) else { return Ok(()) };
        let (directory, path) = places(home);
        // Once more, because the user may have changed it since `get`.
        if matches!(Node::get(&directory, cx)?, Node::Symlink { .. }) {
            return Err(refused(&directory, "is not a directory"));
        }
        if to.directory != Node::Absent {
            to.directory.put(&directory, &now.directory, cx)?;
        }
        if to.file.change.is_none() && now.file.change.is_none() {
            // The keys are as wanted both ways: only metadata differs, whatever others have written meanwhile.
            metadata(&now.file.file, &to.file.file).put(&path, &now.file.file, cx)?;
        } else {
            text::put(&path, &|text: &mut Text| edit(spec, text), &now.file, &to.file, cx)?;
        }
        if to.directory == Node::Absent && now.directory != Node::Absent && cx.names(&directory)?.is_empty() {
            to.directory.put(&directory, &now.directory, cx)?;
        }
        Ok(())
    }

    fn same(_spec: &Spec, a: &State, b: &State) -> bool {
        let used = b.shared || b.file.file != Node::Absent;
        let directory = a.directory == b.directory || (a.directory == Node::Absent && used);
        let neither = a.file.change.is_none() && b.file.change.is_none();
        let attributes = neither && metadata(&b.file.file, &a.file.file).alike(&b.file.file);
        directory && (text::same(&a.file, &b.file) || attributes)
    }

    fn intact(_spec: &Spec, after: &State, now: &State) -> bool {
        let file = metadata(&now.file.file, &after.file.file).alike(&now.file.file);
        now.file.change.is_none() && file && after.directory == now.directory
    }

    fn change(now: &State, wanted: &State) -> Option<Vec<String>> {
        let mut lines = text::change(&now.file).unwrap_or_default();
        for (path, is, will) in [
            ("~/.ssh", &now.directory, &wanted.directory),
            ("~/.ssh/authorized_keys", &now.file.file, &wanted.file.file),
        ] {
            if let (had, Some(has)) = (owned(is), owned(will))
                && had != Some(has)
            {
                lines.push(format!("~ {path}: {} {} {}", String::from(has.mode), has.owner, has.group));
            }
        }
        Some(lines)
    }

    fn title(spec: &Spec) -> String {
        let (kind, data, comment) = parts(&spec.key);
        let name = if comment.is_empty() { Digest::of(data.as_bytes()).short().to_owned() } else { comment.into() };
        format!("{} for {} ({kind})", name, spec.user)
    }

    fn examples() -> Vec<Value> {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f frida@example.org";
        vec![
            json!({ "user": "root", "key": key, "options": "from=\"192.0.2.0/24\",no-pty" }),
            json!({ "user": "scan", "key": key }),
            json!({ "user": "root", "key": key, "state": "absent" }),
            json!({ "user": "root", "key": key, "by_comment": true }),
        ]
    }
}

/// `.ssh` and the file.
fn places(home: &str) -> (PathBuf, PathBuf) {
    let directory = Path::new(home).join(".ssh");
    let file = directory.join("authorized_keys");
    (directory, file)
}

/// Home and group id of a user.
fn account(user: &str, cx: &mut Cx<'_>) -> Result<Option<(String, u32)>, Fault> {
    let passwd = read_text(cx.host, Path::new(PASSWD))?.unwrap_or_default();
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [name, _, _, gid, _, home, ..] if *name == user => Some(((*home).to_owned(), gid.parse().ok()?)),
            _ => None,
        }
    };
    let Some((home, gid)) = passwd.lines().find_map(row) else { return Ok(None) };
    if super::node::path_problem(&home).is_some() {
        let message = format!("{PASSWD} gives `{user}` the home directory `{home}`, which can hold no keys");
        return Err(Fault::new(FaultCode::Conflict, message).hint("give the user a home directory of its own"));
    }
    Ok(Some((home, gid)))
}

fn refused(path: &Path, why: &str) -> Fault {
    let fault = Fault::new(FaultCode::Conflict, format!("{} {why}", path.display()));
    fault.hint("links and the like are not followed out of a home directory: put the real thing there")
}

fn owned(node: &Node) -> Option<&Owned> {
    match node {
        Node::File { owned, .. } | Node::Directory { owned } => Some(owned),
        _ => None,
    }
}

/// What is there, with the metadata of `of`.
fn metadata(is: &Node, of: &Node) -> Node {
    match (is, of) {
        (Node::File { digest, size, .. }, Node::File { owned, .. }) => of.rewritten(digest, *size, owned.clone()),
        _ => of.clone(),
    }
}

/// Type, data and comment of a public key.
fn parts(key: &str) -> (&str, &str, &str) {
    let (kind, rest) = key.trim().split_once([' ', '\t']).unwrap_or((key.trim(), ""));
    let (data, comment) = rest.trim().split_once([' ', '\t']).unwrap_or((rest.trim(), ""));
    (kind, data, comment.trim())
}

/// What is wrong with a public key, if anything. The data begins with the type once more (RFC 4253 section 6.6).
fn key_problem(key: &str) -> Option<String> {
    let (kind, data, _) = parts(key);
    if !TYPES.contains(&kind) {
        return Some(format!("`{kind}` is no type of key that sshd takes: write e.g. `ssh-ed25519 AAAA... comment`"));
    }
    let bytes = base64(data).unwrap_or_default();
    match strings(&bytes).as_deref() {
        Some([inner, _, ..]) if *inner == kind.as_bytes() => None,
        Some([_, _, ..]) => Some(format!("`key` says {kind}, its data another type")),
        _ => Some("the data of `key` is damaged or cut off".into()),
    }
}

/// The strings of RFC 4251 section 5 that the data of a key consists of: a length in four bytes, then that many.
fn strings(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut strings = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_at_checked(4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?);
        let (string, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        strings.push(string);
        bytes = rest;
    }
    Some(strings)
}

/// Decodes RFC 4648 base64 with padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let body = text.trim_end_matches('=');
    if text.is_empty() || !text.len().is_multiple_of(4) || text.len() - body.len() > 2 {
        return None;
    }
    let (mut bytes, mut bits, mut have) = (Vec::new(), 0_u32, 0);
    for letter in body.bytes() {
        bits = (bits << 6) | u32::try_from(LETTERS.iter().position(|l| *l == letter)?).ok()?;
        have += 6;
        if have >= 8 {
            have -= 8;
            bytes.push(u8::try_from(bits >> have & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// Where the first field ends; blanks in double quotes belong to it. `None` if a quote is not closed.
fn field_end(line: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return Some(at),
            _ => {}
        }
    }
    (!quoted).then_some(line.len())
}

/// Type, data and comment of a line, its options aside.
fn of_line(line: &str) -> Option<(&str, &str, &str)> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let key = parts(line);
    if TYPES.contains(&key.0) {
        return Some(key);
    }
    let key = parts(&line[field_end(line)?..]);
    TYPES.contains(&key.0).then_some(key)
}

fn edit(spec: &Spec, text: &mut Text) -> Result<(), Fault> {
    let (kind, data, comment) = parts(&spec.key);
    let is_it = |key: (&str, &str, &str)| (key.0, key.1) == (kind, data) || spec.by_comment && key.2 == comment;
    let ours = |line: &str| of_line(line).is_some_and(is_it);
    if spec.state == Presence::Absent {
        text.retain(|line| !ours(line));
        return Ok(());
    }
    let options = spec.options.as_ref().map_or(String::new(), |options| format!("{options} "));
    let line = |comment: &str| format!("{options}{kind} {data} {comment}").trim_end().to_owned();
    let Some(first) = text.find(0, ours) else {
        text.insert(text.len(), &line(comment));
        return Ok(());
    };
    while let Some(again) = text.find(first + 1, ours) {
        text.remove(again);
    }
    let has = text.lines().nth(first).and_then(of_line).map_or("", |key| key.2).to_owned();
    text.replace(first, &line(if comment.is_empty() { &has } else { comment }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    fn edited(more: Value, before: &str) -> String {
        let mut spec = json!({ "user": "u", "key": format!("ssh-ed25519 {DATA} new") });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut text = Text::parse(before.replace("KEY", &format!("ssh-ed25519 {DATA}")).as_bytes());
        edit(&serde_json::from_value(spec).unwrap(), &mut text).unwrap();
        let text = String::from_utf8(text.bytes(Path::new("/x")).unwrap()).unwrap();
        text.replace(&format!("ssh-ed25519 {DATA}"), "KEY")
    }

    #[test]
    fn a_key_has_one_line() {
        let other = "ssh-rsa AAAAB3NzaC1yc2E= other\n";
        let bare = json!({ "key": format!("ssh-ed25519 {DATA}") });
        let cases = [
            (json!({}), "", "KEY new\n"),
            (json!({}), "KEY new\n", "KEY new\n"),
            (json!({}), other, &format!("{other}KEY new\n")),
            (json!({}), "# KEY old\n", "# KEY old\nKEY new\n"),
            (json!({}), "KEY old one\nssh-rsa x\nno-pty KEY\n", "KEY new\nssh-rsa x\n"),
            (json!({}), "command=\"a \\\"b\\\" c\",no-pty   KEY old", "KEY new"),
            (bare, "no-pty KEY old", "KEY old"),
            (json!({ "options": "restrict" }), "KEY old\n", "restrict KEY new\n"),
            (json!({ "state": "absent" }), "KEY a\nno-pty KEY b\n#x\n", "#x\n"),
            (
                json!({ "by_comment": true }),
                "ssh-rsa A new\nssh-rsa B old\nssh-rsa C new\n",
                "KEY new\nssh-rsa B old\n",
            ),
            (
                json!({ "by_comment": true, "state": "absent" }),
                "ssh-rsa A new\nssh-rsa B old\nKEY x\n",
                "ssh-rsa B old\n",
            ),
        ];
        for (more, before, after) in cases {
            assert_eq!(edited(more.clone(), before), after, "{more} in {before:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let problems = |spec: Value| AuthorizedKey::problems(&serde_json::from_value(spec).unwrap());
        for (key, begin) in [
            ("ssh-dss AAAA x", "`ssh-dss` is no type"),
            ("ssh-ed25519", "the data of `key` is damaged"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAB", "the data of `key` is damaged"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "the data of `key` is damaged"),
            ("ssh-ed25519 AAAAC3!zaC1lZDI1NTE5AAAA", "the data of `key` is damaged"),
            (&format!("ssh-rsa {DATA}"), "`key` says ssh-rsa"),
            ("ssh-ed25519 AAAA\nssh-rsa BBBB", "`key` must be one line"),
        ] {
            let found = problems(json!({ "user": "u", "key": key }));
            assert!(found.len() == 1 && found[0].starts_with(begin), "{key}: {found:?}");
        }
        for options in ["no-pty restrict", "from=\"x", "#x", "ssh-rsa"] {
            let spec = json!({ "user": "u", "key": format!("ssh-ed25519 {DATA}"), "options": options });
            assert_eq!(problems(spec).len(), 1, "{options}");
        }
        let good = json!({ "user": "u", "key": format!("ssh-ed25519 {DATA}"), "options": "command=\"a b\",no-pty" });
        assert_eq!(problems(good), Vec::<String>::new());
    }
}
