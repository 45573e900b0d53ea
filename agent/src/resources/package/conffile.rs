//! The configuration files of packages (deb-conffiles(5), `%config` of rpm) and what dpkg or rpm lays beside them.
//!
//! Both keep an edited file and take a pristine one back on a downgrade, but leave their own version beside the edited
//! one, over whatever lay there; and maintainer scripts do what they like. So undo puts all of them back itself.

use std::collections::BTreeMap;
use std::path::Path;

use crate::fault::Fault;
use crate::resource::Cx;
use crate::resources::node::Node;

/// Paths and what stands there.
pub(super) type Files = BTreeMap<String, Node>;

/// Reads configuration files at these paths, and what has one of these endings beside them.
///
/// # Errors
/// Those of the host.
pub(super) fn get(paths: &[String], beside: &[&str], cx: &mut Cx<'_>) -> Result<Files, Fault> {
    let mut files = Files::new();
    for path in paths {
        for ending in [""].iter().chain(beside) {
            let path = format!("{path}{ending}");
            match Node::get(Path::new(&path), cx)? {
                // Nothing that a package would replace.
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
