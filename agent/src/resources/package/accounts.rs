//! The accounts that maintainer scripts make. Debian's policy lets packages leave theirs behind when they are purged
//! (<https://www.debian.org/doc/debian-policy/ch-opersys.html#users-and-groups>); undo takes them out again.
//!
//! The databases are listed before a transaction and again right after it. Undo takes back line by line what differs
//! between the two; accounts that others have made or changed since stay. If nobody has, the files are what they were
//! to the byte.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use super::State;
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::resource::Cx;
use crate::resources::node::Node;
use crate::resources::nodes;

/// Databases whose lines begin with a name: passwd(5), shadow(5), group(5), gshadow(5), subuid(5), subgid(5).
const FILES: [&str; 6] = ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/subuid", "/etc/subgid"];

/// Bound of a database, in bytes.
const MAX: u64 = 16 << 20;

type Files = BTreeMap<String, Node>;

/// The databases, and the copies that programs keep of their last contents.
fn files(cx: &mut Cx<'_>) -> Result<Files, Fault> {
    nodes::get(FILES.iter().flat_map(|file| [(*file).to_owned(), format!("{file}-")]), cx)
}

/// Names what is kept for a transaction that starts from this state.
fn name(before: &State, when: &str) -> String {
    let packages = serde_json::to_vec(&before.packages).unwrap_or_default();
    format!("accounts-{}-{when}", Digest::of(&packages).short())
}

fn write(name: &str, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let files = files(cx)?;
    for (path, node) in &files {
        node.keep(Path::new(path), &Node::Absent, cx)?;
    }
    cx.keep_bytes(name, &serde_json::to_vec(&files).unwrap_or_default())
}

/// What was written; `None` if nothing was, or power was lost while it was written.
fn read(name: &str, cx: &mut Cx<'_>) -> Result<Option<Files>, Fault> {
    let reader = match cx.kept_bytes(name) {
        Err(fault) if fault.code == FaultCode::NotFound => return Ok(None),
        reader => reader?,
    };
    let mut text = Vec::new();
    reader.take(MAX).read_to_end(&mut text).map_err(|e| Fault::io(format_args!("read {name}"), &e))?;
    Ok(serde_json::from_slice(&text).ok())
}

/// Keeps the databases before a transaction.
///
/// # Errors
/// `NoSpace` above all.
pub(super) fn keep(now: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
    write(&name(now, "before"), cx)
}

/// Notes what a transaction has made of them.
///
/// # Errors
/// As for [`keep`].
pub(super) fn note(before: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
    write(&name(before, "after"), cx)
}

/// Takes back what the transaction has changed in them.
///
/// # Errors
/// Those of the host.
pub(super) fn put(to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let Some(before) = read(&name(to, "before"), cx)? else { return Ok(()) };
    // The transaction was cut off: nobody else has worked on the host since.
    let after = read(&name(to, "after"), cx)?.unwrap_or_default();
    let now = files(cx)?;
    let mut wanted = now.clone();
    for file in FILES {
        let (Some(is), Some(was)) = (now.get(file), before.get(file)) else { continue };
        let made = after.get(file).unwrap_or(is);
        let (was_lines, text) = (lines(was, None, cx)?, lines(is, Some(file), cx)?);
        let made_lines = if made == is { text.clone() } else { lines(made, None, cx)? };
        let merged = merge(&was_lines, &made_lines, &text);
        if set(&merged) == set(&was_lines) {
            // In its old order, with its old times; the copy of it likewise.
            for path in [file.to_owned(), format!("{file}-")] {
                wanted.extend(before.get(&path).map(|node| (path, node.clone())));
            }
        } else if merged != text {
            let text = merged.join("\n") + "\n";
            cx.offer(text.as_bytes());
            wanted.insert(file.to_owned(), nodes::file(text.as_bytes(), 0o644, Some(is)));
        }
    }
    for (path, node) in wanted.iter().filter(|(path, node)| now.get(*path) != Some(*node)) {
        node.put(Path::new(path), now.get(path).unwrap_or(&Node::Absent), cx)?;
    }
    Ok(())
}

/// The lines of a database: of the file that is there, or of what was kept. None of what is no file.
fn lines(node: &Node, here: Option<&str>, cx: &mut Cx<'_>) -> Result<Vec<String>, Fault> {
    let Node::File { digest, .. } = node else { return Ok(Vec::new()) };
    let reader = match here {
        Some(path) => cx.host.open(Path::new(path))?,
        None => cx.content(digest)?,
    };
    let mut text = String::new();
    reader.take(MAX).read_to_string(&mut text).map_err(|e| Fault::io("read a database of accounts", &e))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn set(lines: &[String]) -> BTreeSet<&String> {
    lines.iter().collect()
}

/// The lines that there are now, without what has come between `before` and `after`.
fn merge(before: &[String], after: &[String], now: &[String]) -> Vec<String> {
    fn name(line: &str) -> &str {
        line.split(':').next().unwrap_or_default()
    }
    let find = |lines: &[String], who: &str| lines.iter().find(|line| name(line) == who).cloned();
    let mut merged = Vec::new();
    for line in now {
        match (find(before, name(line)), find(after, name(line))) {
            // It came with the transaction.
            (None, Some(_)) => {}
            // The transaction has changed it, and nobody since.
            (Some(was), Some(made)) if made == *line => merged.push(was),
            _ => merged.push(line.clone()),
        }
    }
    // What it took away.
    let gone = |line: &&String| find(after, name(line)).is_none() && find(now, name(line)).is_none();
    merged.extend(before.iter().filter(gone).cloned());
    merged
}

#[cfg(test)]
mod tests {
    use super::merge;

    #[test]
    fn only_what_the_transaction_did_is_taken_back() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (before, after, now, merged) in [
            // Made by the package; its own removal has changed it meanwhile.
            ("root:0 bin:1", "root:0 bin:1 ssl:9:pg", "root:0 bin:1 ssl:9:", "root:0 bin:1"),
            // Another account has come since.
            ("root:0", "root:0 pg:9", "root:0 pg:9 frida:1000", "root:0 frida:1000"),
            // A member came with the package; somebody else has changed another line.
            ("lp:7: adm:4:", "lp:7:cups adm:4:", "lp:7:cups adm:4:frida", "lp:7: adm:4:frida"),
            ("lp:7:", "lp:7:cups", "lp:7:cups,frida", "lp:7:cups,frida"),
            // Removed with the package.
            ("root:0 pg:9", "root:0", "root:0 frida:1", "root:0 frida:1 pg:9"),
            ("root:0", "root:0", "root:0", "root:0"),
        ] {
            assert_eq!(merge(&lines(before), &lines(after), &lines(now)), lines(merged), "{now}");
        }
    }
}
