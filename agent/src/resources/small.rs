//! A small file that a kind owns whole and whose text it makes up itself (`cron`, `sysctl`, `hostname`): what stands
//! there, and its text for plans.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::node::{Node, Owned};
use crate::digest::Digest;
use crate::fault::Fault;
use crate::resource::Cx;

/// Bound of a text that a state holds, in bytes.
const MAX_BYTES: u64 = 16 << 10;

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Small {
    /// What stands there.
    pub node: Node,
    /// Its text, if it is a small text file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Small {
    /// Reads it.
    ///
    /// # Errors
    /// Those of the host.
    pub fn get(path: &Path, cx: &mut Cx<'_>) -> Result<Small, Fault> {
        let node = Node::get(path, cx)?;
        let mut bytes = Vec::new();
        if matches!(&node, Node::File { size, .. } if *size <= MAX_BYTES) {
            let read = cx.host.open(path)?.take(MAX_BYTES).read_to_end(&mut bytes);
            read.map_err(|e| Fault::path("read", path, &e))?;
        }
        // A file that changed while it was read is told by the digest, which is of the first reading.
        let same = matches!(&node, Node::File { digest, .. } if *digest == Digest::of(&bytes));
        let text = String::from_utf8(bytes).ok().filter(|_| same);
        Ok(Small { node, text })
    }

    /// The file with this text and mode, owned by root; `None`: no file. Extended attributes stay.
    #[must_use]
    pub fn want(&self, text: Option<String>, mode: u32) -> Small {
        let Some(text) = text else { return Small { node: Node::Absent, text: None } };
        let new = Owned::new(mode);
        let (digest, size) = (Digest::of(text.as_bytes()), text.len() as u64);
        let owned = match &self.node {
            Node::File { owned, .. } => owned.clone().with(Some(new.mode), Some(&new.owner), Some(&new.group)),
            _ => new,
        };
        Small { node: self.node.rewritten(&digest, size, owned), text: Some(text) }
    }

    /// Makes it so, coming from `now`.
    ///
    /// # Errors
    /// Those of [`Node::put`].
    pub fn put(&self, path: &Path, now: &Small, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if let Some(text) = &self.text {
            cx.offer(text.as_bytes());
        }
        self.node.put(path, &now.node, cx)
    }

    /// The change as lines of a diff.
    pub fn change(&self, wanted: &Small) -> Vec<String> {
        let lines = |file: &Small| file.text.iter().flat_map(|t| t.lines().map(str::to_owned)).collect::<Vec<_>>();
        let (old, new) = (lines(self), lines(wanted));
        let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("- {line}"));
        gone.chain(new.iter().filter(|line| !old.contains(line)).map(|line| format!("+ {line}"))).collect()
    }
}
