//! Modes, owners, attributes, and the rules for paths in specs: what states of paths are made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fault::{Fault, FaultCode};
use crate::host::Attributes;
use crate::protocol::HostPath;
use crate::resource::Cx;
use crate::resources::owner::Database;
use crate::resources::replica::{host_path, path_of};

/// Extended attributes of a state: name to value in hexadecimal.
pub type Xattrs = BTreeMap<String, String>;

/// Whether a path shall be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It is there as described.
    #[default]
    Present,
    /// Nothing is there.
    Absent,
}

/// Permission bits, written in octal: `"0644"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-7]{3,4}$"))]
pub struct Mode(pub u32);

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Mode, String> {
        let octal = (3..=4).contains(&text.len()).then(|| u32::from_str_radix(&text, 8).ok()).flatten();
        octal.map(Mode).ok_or_else(|| format!("`{text}` is no mode: write three or four octal digits, e.g. \"0644\""))
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> String {
        format!("{:04o}", mode.0)
    }
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Owned {
    /// Permission bits.
    pub mode: Mode,
    /// Owner name (or number).
    pub owner: String,
    /// Group name (or number).
    pub group: String,
    /// Extended attributes, ACLs included: name to value in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
}

impl Owned {
    /// What a new file or directory gets where the spec is silent.
    pub fn new(mode: u32) -> Owned {
        Owned { mode: Mode(mode), owner: "root".into(), group: "root".into(), xattrs: BTreeMap::new() }
    }

    /// With what a spec asks for.
    #[must_use]
    pub fn with(mut self, mode: Option<Mode>, owner: Option<&String>, group: Option<&String>) -> Owned {
        if let Some(mode) = mode {
            self.mode = mode;
            super::acl::chmod(&mut self.xattrs, mode.0);
        }
        self.owner = owner.cloned().unwrap_or(self.owner);
        self.group = group.cloned().unwrap_or(self.group);
        self
    }

    pub(super) fn attributes(&self, cx: &mut Cx<'_>) -> Result<Attributes, Fault> {
        Ok(Attributes {
            mode: Some(self.mode.0),
            uid: Some(Database::User.id(&self.owner, cx.host)?),
            gid: Some(Database::Group.id(&self.group, cx.host)?),
            xattrs: Some(bytes(&self.xattrs)?),
            ..Attributes::default()
        })
    }
}

/// What is wrong with a path in a spec, if anything.
pub(crate) fn path_problem(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return Some(format!("path `{path}` is relative: write it from `/`"));
    }
    if path.split('/').any(|part| part == ".." || part == ".") {
        return Some(format!("path `{path}` has `.` or `..` in it: write it out"));
    }
    if path == "/" || path.ends_with('/') || path.contains("//") || path.contains('\0') {
        return Some(format!("path `{path}` must name one entry, without `//`, a trailing `/` or NUL"));
    }
    None
}

/// Writes a target that may be any bytes: as text where it is UTF-8, which is all that older states have.
pub(super) fn write_path<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    host_path(path).serialize(to)
}

pub(super) fn read_path<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    HostPath::deserialize(from).map(|path| path_of(&path))
}

/// As the host takes them.
pub(super) fn bytes(xattrs: &Xattrs) -> Result<BTreeMap<String, Vec<u8>>, Fault> {
    xattrs.iter().map(|(k, v)| Ok((k.clone(), from_hex(v)?))).collect()
}

/// As a state has them.
pub(super) fn text(xattrs: Option<&BTreeMap<String, Vec<u8>>>) -> Xattrs {
    xattrs.into_iter().flatten().map(|(k, v)| (k.clone(), to_hex(v))).collect()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn from_hex(text: &str) -> Result<Vec<u8>, Fault> {
    let bad = || Fault::new(FaultCode::Corrupt, format!("`{text}` is not hexadecimal"));
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()
        .ok_or_else(bad)?;
    if !digits.len().is_multiple_of(2) {
        return Err(bad());
    }
    Ok(digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect())
}
