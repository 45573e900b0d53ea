//! The resources of a direct transfer, host by host. Whatever is made here has its counterpart in [`nothing`].

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::key::Pair;
use crate::input::resource::TIMEOUT;
use crate::input::scalar::Period;
use crate::input::target::Target;

/// Directories that all mirrors of a host share; they stay.
pub(super) const SHARED: [&str; 2] = ["/etc/weiche", PLACE];
/// What the kind `mirror` knows, too.
const PLACE: &str = "/etc/weiche/mirror";
/// Who reads, and who lets read: only root sees all owners, access lists and attributes.
const USER: &str = "root";
/// How long first rounds may take, unless the step has a `timeout`: a day's data over a slow line.
const ROUNDS: Duration = Duration::from_hours(24);
/// How long a last round may take unless it says so, as the kind has it.
const WITHIN: Duration = Duration::from_mins(1);
/// How often the way back is fed, unless the step says so.
const FEED: &str = "1m";

/// A resource before it is checked.
pub(super) struct Piece {
    pub(super) kind: &'static str,
    pub(super) spec: Value,
    pub(super) content: Option<String>,
    pub(super) timeout: Duration,
}

/// How one host is reached by the other.
pub(super) struct Side {
    address: String,
    port: u16,
    /// Type and key.
    host_key: String,
}

impl Side {
    /// As the fleet has it.
    pub(super) fn of(target: Target) -> Side {
        let words: Vec<&str> = target.host_key.split_whitespace().take(2).collect();
        Side { host_key: words.join(" "), address: target.address, port: target.port }
    }

    /// Its line in known_hosts, see sshd(8).
    fn known(&self) -> String {
        let Side { address, port, host_key } = self;
        if *port == 22 { format!("{address} {host_key}\n") } else { format!("[{address}]:{port} {host_key}\n") }
    }
}

/// The directories of a mirror, with those that are shared and not there yet.
pub(super) fn directories(name: &str, shared: &[&str]) -> Vec<Piece> {
    let shared = shared.iter().map(|path| match *path {
        // Other things may lie in it one day.
        PLACE => private("directory", json!({ "path": path, "mode": "0700" })),
        path => piece("directory", json!({ "path": path })),
    });
    shared.chain([private("directory", json!({ "path": directory(name), "mode": "0700" }))]).collect()
}

/// On the host that is read: a key of the reader may read this directory, and do nothing else.
pub(super) fn lets_read(name: &str, path: &str, reader: &Side, key: &Pair) -> Vec<Piece> {
    let conf = file(name, "rsyncd.conf");
    // A daemon for one connection over a remote shell, see rsync(1) and rsyncd.conf(5).
    let text = format!(
        "# {path} may be read with the key {}\n\
         uid = 0\ngid = 0\nuse chroot = no\nmunge symlinks = no\nnumeric ids = no\nreverse lookup = no\nmax verbosity = 0\n\
         [data]\npath = {path}\nread only = yes\nlist = no\n",
        key.fingerprint
    );
    let command = format!("rsync --server --daemon --config={conf} .");
    let options = format!("restrict,from=\"{}\",command=\"{command}\"", reader.address);
    vec![
        Piece { content: Some(text), ..private("file", json!({ "path": conf, "mode": "0600" })) },
        piece("authorized_key", json!({ "user": USER, "key": key.public, "options": options, "by_comment": true })),
    ]
}

/// On the reader: its key, and the other host's.
pub(super) fn can_read(name: &str, read: &Side, key: &Pair) -> Vec<Piece> {
    let secret = json!({ "path": file(name, "key"), "mode": "0600", "sensitive": true });
    let known = json!({ "path": file(name, "known_hosts"), "mode": "0600" });
    vec![
        Piece { content: Some(key.private.clone()), ..private("file", secret) },
        Piece { content: Some(read.known()), ..private("file", known) },
    ]
}

/// On the reader: its directory follows the other host's.
pub(super) fn follows(
    name: &str,
    path: &str,
    of: &Side,
    data: &str,
    options: &Map<String, Value>,
    timeout: Option<Duration>,
) -> Piece {
    let mut spec = mirror(name, path, "follow", options);
    spec.insert("of".into(), json!({ "address": of.address, "port": of.port, "user": USER }));
    spec.insert("data".into(), json!(data));
    let timeout = if data == "copy" {
        timeout.unwrap_or(ROUNDS)
    } else {
        spec.entry("every").or_insert_with(|| json!(FEED));
        TIMEOUT
    };
    Piece { timeout, ..piece("mirror", Value::Object(spec)) }
}

/// On a host that may be a reader: all that its directory needs to follow the other one's at once.
pub(super) fn is_ready(name: &str, path: &str, of: &Side, options: &Map<String, Value>) -> Piece {
    let Piece { mut spec, .. } = follows(name, path, of, "own", options, None);
    if let Some(spec) = spec.as_object_mut() {
        spec.insert("mode".into(), json!("ready"));
        spec.remove("data");
    }
    piece("mirror", spec)
}

/// On the reader: the last round; the directory is the users' own.
///
/// `fed_back`: the other host can take a last round from it on the way back.
pub(super) fn own(name: &str, path: &str, options: &Map<String, Value>, fed_back: bool) -> Piece {
    let own = options.iter().filter(|(key, _)| matches!(key.as_str(), "within" | "owners" | "delete_at_most"));
    let mut spec = mirror(name, path, "own", &own.map(|(key, value)| (key.clone(), value.clone())).collect());
    if fed_back {
        spec.insert("fed_back".into(), json!(true));
    }
    let within = options.get("within").and_then(Value::as_str).and_then(Period::parse);
    Piece { timeout: within.map_or(WITHIN, |within| within.0) + TIMEOUT, ..piece("mirror", Value::Object(spec)) }
}

/// It follows no more, as it is.
pub(super) fn gone(name: &str, path: &str, options: &Map<String, Value>) -> Piece {
    let said = options.iter().filter(|(key, _)| *key == "forget_aside");
    let said = said.map(|(key, value)| (key.clone(), value.clone())).collect();
    piece("mirror", Value::Object(mirror(name, path, "gone", &said)))
}

/// Nothing is left: of a host that could be read, perhaps, and of one that could read, perhaps.
pub(super) fn nothing(name: &str, let_in: Option<&Pair>, read: bool) -> Vec<Piece> {
    let absent = |kind, path: String| piece(kind, json!({ "path": path, "state": "absent" }));
    let mut list = Vec::new();
    if let Some(key) = let_in {
        list.push(piece(
            "authorized_key",
            json!({ "user": USER, "key": key.public, "state": "absent", "by_comment": true }),
        ));
        list.push(absent("file", file(name, "rsyncd.conf")));
    }
    if read {
        list.push(Piece {
            spec: json!({ "path": file(name, "key"), "state": "absent", "sensitive": true }),
            ..piece("file", Value::Null)
        });
        list.push(absent("file", file(name, "known_hosts")));
    }
    list.push(absent("directory", directory(name)));
    list
}

fn mirror(name: &str, path: &str, mode: &str, options: &Map<String, Value>) -> Map<String, Value> {
    let mut spec = options.clone();
    spec.extend([("name", name), ("path", path), ("mode", mode)].map(|(key, value)| (key.to_owned(), json!(value))));
    spec
}

fn directory(name: &str) -> String {
    format!("{PLACE}/{name}")
}

fn file(name: &str, file: &str) -> String {
    format!("{PLACE}/{name}/{file}")
}

fn piece(kind: &'static str, spec: Value) -> Piece {
    Piece { kind, spec, content: None, timeout: TIMEOUT }
}

/// Root's own.
fn private(kind: &'static str, mut spec: Value) -> Piece {
    if let Some(spec) = spec.as_object_mut() {
        spec.extend(["owner", "group"].map(|key| (key.to_owned(), json!("root"))));
    }
    piece(kind, spec)
}
