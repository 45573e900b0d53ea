//! Several paths as one state, for kinds that own more than one file: what stands at each, put in an order in which
//! directories come before and go after what is in them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::node::{Node, Owned};
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::resource::Cx;

/// Absolute paths and what stands there.
pub type Nodes = BTreeMap<String, Node>;

/// Reads what stands at these paths.
///
/// # Errors
/// Those of the host.
pub fn get(paths: impl IntoIterator<Item = impl Into<String>>, cx: &mut Cx<'_>) -> Result<Nodes, Fault> {
    let mut nodes = Nodes::new();
    for path in paths {
        let path = path.into();
        let node = Node::get(Path::new(&path), cx)?;
        nodes.insert(path, node);
    }
    Ok(nodes)
}

/// A file of this content, with the metadata of what is there or, if nothing is, of a new file of this mode.
pub fn file(content: &[u8], mode: u32, now: Option<&Node>) -> Node {
    let owned = match now {
        Some(Node::File { owned, .. }) => owned.clone(),
        _ => Owned::new(mode),
    };
    now.unwrap_or(&Node::Absent).rewritten(&Digest::of(content), content.len() as u64, owned)
}

/// A symbolic link to this target, with the owner of a link that is there.
pub fn link(target: &str, now: Option<&Node>) -> Node {
    now.unwrap_or(&Node::Absent).relinked(target.into())
}

/// Keeps what `put(now)` will need once `to` stands there, and refuses what could not be undone.
///
/// # Errors
/// `Conflict` for directories that would go with something in them that is not in `to`; `NoSpace`.
pub fn keep(now: &Nodes, to: &Nodes, cx: &mut Cx<'_>) -> Result<(), Fault> {
    for (path, node) in now {
        let wanted = to.get(path).unwrap_or(&Node::Absent);
        let stays = |node: &Node| matches!(node, Node::Directory { .. });
        if stays(node) && !stays(wanted) {
            let gone = |name: &OsString| {
                let below = format!("{path}/{}", name.to_string_lossy());
                matches!(to.get(&below), Some(Node::Absent))
            };
            if let Some(other) = cx.names(Path::new(path))?.iter().find(|name| !gone(name)) {
                let message = format!("{path} is a directory that holds `{}`", other.to_string_lossy());
                return Err(
                    Fault::new(FaultCode::Conflict, message).hint("move its entries away first, or manage them")
                );
            }
        } else {
            node.keep(Path::new(path), wanted, cx)?;
        }
    }
    Ok(())
}

/// Makes every path be as in `to`: first what goes, deepest first, then the rest in path order. Contents must be known
/// to [`Cx::content`].
///
/// # Errors
/// Those of the host.
pub fn put(now: &Nodes, to: &Nodes, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let here = |path: &str| now.get(path).unwrap_or(&Node::Absent);
    for (path, node) in to.iter().rev().filter(|(_, node)| **node == Node::Absent) {
        node.put(Path::new(path), here(path), cx)?;
    }
    for (path, node) in to.iter().filter(|(_, node)| **node != Node::Absent) {
        node.put(Path::new(path), here(path), cx)?;
    }
    Ok(())
}

/// Whether `now` is what undo promises, where `before` was.
pub fn same(before: &Nodes, now: &Nodes) -> bool {
    before.len() == now.len() && before.iter().zip(now).all(|((p, x), (q, y))| p == q && x.same(y))
}

/// Whether the same things stand there, see [`Node::alike`].
pub fn alike(a: &Nodes, b: &Nodes) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((p, x), (q, y))| p == q && x.alike(y))
}
