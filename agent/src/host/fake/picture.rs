//! A fake host's file system as text, and back: what golden journals were written on.
//!
//! A JSON object a line, in the order of the paths; bytes that are no text are hexadecimal. Inodes that have a name in the
//! agent's state directory come last, without a path. The form is kept for ever: fields may be added, with a default.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::tree::{Body, Node, Tree};
use super::{FakeHost, State};

#[derive(Serialize, Deserialize)]
struct Line {
    /// `None`: only the state directory has a name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    body: Picture,
    inode: i64,
    mode: String,
    owner: (u32, u32),
    time: (i64, u32),
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, Bytes>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    sparse: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Picture {
    File(Bytes),
    Directory,
    Symlink(PathBuf),
    Other,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Hex { hex: String },
}

impl FakeHost {
    /// The file system as text.
    ///
    /// # Panics
    /// If a path is no UTF-8: golden hosts have none.
    pub fn picture(&self) -> String {
        let named = self.tree.nodes.iter().map(|(path, node)| line(Some(path.clone()), node));
        let kept = self.tree.kept.values().map(|node| line(None, node));
        let text = |line: Line| serde_json::to_string(&line).unwrap_or_else(|e| panic!("{e}")) + "\n";
        named.chain(kept).map(text).collect()
    }

    /// The host of a picture, with a state directory of these files.
    ///
    /// # Panics
    /// If it is none.
    pub fn of_picture(picture: &str, state: BTreeMap<String, Vec<u8>>) -> FakeHost {
        let mut tree = Tree::default();
        tree.nodes.clear();
        for line in picture.lines() {
            let line: Line = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            tree.clock = tree.clock.max(line.inode).max(line.time.0);
            let (path, node) = (line.path.clone(), node(line));
            match path {
                Some(path) => drop(tree.nodes.insert(path, node)),
                None => drop(tree.kept.insert(node.inode, node)),
            }
        }
        FakeHost { tree, state, ..FakeHost::default() }
    }

    /// The files of the agent's state directory.
    pub fn state(&self) -> &State {
        &self.state
    }
}

fn line(path: Option<PathBuf>, node: &Node) -> Line {
    let body = match &node.body {
        Body::File(bytes) => Picture::File(Bytes::of(bytes)),
        Body::Directory => Picture::Directory,
        Body::Symlink(target) => Picture::Symlink(target.clone()),
        Body::Other => Picture::Other,
    };
    let xattrs = node.xattrs.iter().map(|(name, value)| (name.clone(), Bytes::of(value))).collect();
    let Node { inode, mode, uid, gid, mtime, sparse, .. } = *node;
    Line { path, body, inode, mode: format!("{mode:04o}"), owner: (uid, gid), time: mtime, xattrs, sparse }
}

fn node(line: Line) -> Node {
    let body = match line.body {
        Picture::File(bytes) => Body::File(bytes.bytes()),
        Picture::Directory => Body::Directory,
        Picture::Symlink(target) => Body::Symlink(target),
        Picture::Other => Body::Other,
    };
    let mode = u32::from_str_radix(&line.mode, 8).unwrap_or_else(|e| panic!("mode {}: {e}", line.mode));
    let xattrs = line.xattrs.into_iter().map(|(name, value)| (name, value.bytes())).collect();
    let Line { inode, owner: (uid, gid), time: mtime, sparse, .. } = line;
    Node { inode, body, mode, uid, gid, mtime, xattrs, sparse }
}

impl Bytes {
    fn of(bytes: &[u8]) -> Bytes {
        let hex = || Bytes::Hex { hex: bytes.iter().map(|b| format!("{b:02x}")).collect() };
        String::from_utf8(bytes.to_vec()).map_or_else(|_| hex(), Bytes::Text)
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Bytes::Text(text) => text.into_bytes(),
            Bytes::Hex { hex } => {
                let digits = hex.as_bytes().chunks(2);
                let byte = |two: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(two), 16);
                digits.map(|two| byte(two).unwrap_or_else(|e| panic!("{hex}: {e}"))).collect()
            }
        }
    }
}
