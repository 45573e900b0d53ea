//! A content that a spec names and the controller sends apart, by digest: keys, certificates, rulesets.

use std::io::Read;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::file::Blob;
use super::node::{Node, Owned};
use crate::fault::{Fault, FaultCode};
use crate::resource::Cx;

/// A content, given by exactly one of `content`, `template` and `source`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "content")]
pub struct Content {
    /// The content itself; may hold template expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// A Handlebars template below the fleet's (or the shipped) `files/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// A file below the fleet's `files/`, taken as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What the controller makes of the three above; not for playbooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub blob: Option<Blob>,
}

impl Content {
    /// What is wrong with it, if anything; `key` is where it stands.
    pub(crate) fn problem(&self, key: &str) -> Option<String> {
        let given = [self.content.is_some(), self.template.is_some(), self.source.is_some(), self.blob.is_some()];
        let one = given.into_iter().filter(|g| *g).count() == 1;
        (!one).then(|| format!("`{key}` needs exactly one of `content`, `template` and `source`"))
    }

    /// Its digest and size.
    ///
    /// # Errors
    /// `Invalid` if the controller has not sent it; our fault.
    pub(crate) fn blob(&self) -> Result<&Blob, Fault> {
        self.blob.as_ref().ok_or_else(|| Fault::new(FaultCode::Invalid, "a content is missing"))
    }

    /// A file of this content, with these metadata.
    ///
    /// # Errors
    /// As for [`Content::blob`].
    pub(crate) fn node(&self, owned: Owned, now: Option<&Node>) -> Result<Node, Fault> {
        let blob = self.blob()?;
        Ok(now.unwrap_or(&Node::Absent).rewritten(&blob.digest, blob.size, owned))
    }

    /// The content as text of at most `bound` bytes.
    ///
    /// # Errors
    /// `Invalid` if it is longer, or no text; `NotFound` while only observing.
    pub(crate) fn text(&self, key: &str, bound: u64, cx: &mut Cx<'_>) -> Result<String, Fault> {
        let blob = self.blob()?;
        if blob.size > bound {
            let message = format!("`{key}` has {} bytes; more than {bound} are never right", blob.size);
            return Err(Fault::new(FaultCode::Invalid, message));
        }
        let mut text = String::new();
        let read = cx.content(&blob.digest)?.take(bound).read_to_string(&mut text);
        read.map_err(|_| Fault::new(FaultCode::Invalid, format!("`{key}` is not text in UTF-8")))?;
        Ok(text)
    }
}
