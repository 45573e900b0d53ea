//! The configuration files of packages (dpkg's conffiles, deb-conffiles(5)) and what dpkg lays beside them.
//!
//! dpkg keeps an edited file and takes a pristine one back on a downgrade, but leaves its own version beside the edited
//! one, over whatever lay there; and maintainer scripts do what they like. So undo puts all of them back itself.

use std::collections::BTreeMap;
use std::path::Path;

use super::apt::{expect_answer, read};
use crate::fault::Fault;
use crate::resource::Cx;
use crate::resources::node::Node;

/// Paths and what stands there.
pub(super) type Files = BTreeMap<String, Node>;

/// What dpkg(1) lays beside a configuration file: its own version, the one before it, one that is being unpacked.
const BESIDE: [&str; 4] = ["", ".dpkg-dist", ".dpkg-old", ".dpkg-new"];

/// Reads those of packages that dpkg knows.
///
/// # Errors
/// Those of the host.
pub(super) fn get(names: &[String], cx: &mut Cx<'_>) -> Result<Files, Fault> {
    let mut files = Files::new();
    if names.is_empty() {
        return Ok(files);
    }
    let output = read(["dpkg-query", "-W", "-f", "${Conffiles}\\n"], names, cx)?;
    for path in expect_answer(output)?.lines().filter_map(parse) {
        for beside in BESIDE {
            let path = format!("{path}{beside}");
            match Node::get(Path::new(&path), cx)? {
                // Nothing that dpkg would replace.
                Node::Directory { .. } | Node::Other => {}
                node => drop(files.insert(path, node)),
            }
        }
    }
    Ok(files)
}

/// Keeps all contents: which of them a transaction replaces, nobody knows before.
///
/// # Errors
/// `NoSpace` above all.
pub(super) fn keep(files: &Files, cx: &mut Cx<'_>) -> Result<(), Fault> {
    files.iter().try_for_each(|(path, node)| node.keep(Path::new(path), &Node::Absent, cx))
}

/// Puts back what is not as it was; what stands there instead is kept first.
///
/// # Errors
/// Those of the host.
pub(super) fn put(files: &Files, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let mut differing = Vec::new();
    for (path, was) in files {
        let now = Node::get(Path::new(path), cx)?;
        if now != *was {
            now.keep(Path::new(path), was, cx)?;
            differing.push((Path::new(path), was, now));
        }
    }
    if cx.kept && !differing.is_empty() {
        cx.host.sync()?;
    }
    differing.into_iter().try_for_each(|(path, was, now)| was.put(path, &now, cx))
}

/// Reads a line ` PATH MD5` or ` PATH MD5 obsolete`.
fn parse(line: &str) -> Option<&str> {
    let line = line.trim();
    let line = line.strip_suffix(" obsolete").unwrap_or(line);
    let (path, md5) = line.rsplit_once(' ')?;
    // A new file that was never unpacked has `newconffile` for a digest.
    (path.starts_with('/') && !md5.is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lines_of_dpkg_are_read() {
        assert_eq!(parse(" /etc/a.conf 0cc175b9c0f1b6a831c399e269772661"), Some("/etc/a.conf"));
        assert_eq!(parse(" /etc/b c 0cc175b9c0f1b6a831c399e269772661 obsolete"), Some("/etc/b c"));
        assert_eq!(parse(""), None);
    }
}
