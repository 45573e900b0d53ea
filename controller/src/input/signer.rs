//! The file of approvers, OpenSSH's `allowed_signers` (ssh-keygen(1), ALLOWED SIGNERS): who may approve, with which keys.
//!
//! Stricter than OpenSSH, because approvals are counted by person: one principal a line, no patterns, no certificates,
//! and no key that belongs to two. A person may have several keys.

mod line;

use std::collections::BTreeSet;
use std::path::{Component, Path};

use russh::keys::ssh_key::public::KeyData;

use super::diagnostic::{Diagnostic, Problems};
use super::source::{Source, Span};
use crate::calendar::Zone;

/// Longest file in lines.
pub const MAX_LINES: usize = 10_000;

/// Who may approve.
#[derive(Clone, Debug, Default)]
pub struct Signers(Vec<Signer>);

/// A key of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Whose it is.
    pub principal: String,
    /// The public key.
    pub key: KeyData,
    /// What it may sign, as patterns of ssh_config(5); everything, if there are none.
    pub namespaces: Option<Vec<String>>,
    /// From when on it is valid, in milliseconds since 1970, UTC.
    pub valid_after_ms: Option<i64>,
    /// Until when it is valid, likewise.
    pub valid_before_ms: Option<i64>,
}

impl Signers {
    /// All keys, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Signer> {
        self.0.iter()
    }

    /// All persons, each once.
    pub fn principals(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|signer| signer.principal.as_str()).collect::<BTreeSet<_>>().into_iter()
    }

    /// Whether there is this person.
    pub fn has(&self, principal: &str) -> bool {
        self.0.iter().any(|signer| signer.principal == principal)
    }
}

impl Signer {
    /// Whether it may sign for a namespace.
    pub fn signs(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|patterns| line::in_list(namespace, patterns))
    }
}

/// Whether this can be the name of a file below the fleet's directory.
pub fn is_place(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Characters that change what is read of a text without being seen.
pub fn hides(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

/// Reads the file. Times without `Z` are meant in this zone; ssh-keygen takes them in that of its machine.
pub fn parse(source: &Source, zone: &Zone, problems: &mut Problems) -> Signers {
    let mut signers: Vec<Signer> = Vec::new();
    let mut start = 0;
    for (n, text) in source.text().split_inclusive('\n').enumerate() {
        let span = Span::new(start, text.trim_end().len());
        start += text.len();
        if n >= MAX_LINES {
            let problem = Diagnostic::new(source, span, format!("more than {MAX_LINES} lines are too many"));
            problems.add(problem.hint("approvers are the few people who may let a change go on"));
            break;
        }
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        match line::parse(text, zone) {
            Ok(signer) => match signers.iter().find(|other| other.key == signer.key) {
                Some(other) if other.principal != signer.principal => {
                    let message = format!("`{}` has the same key as `{}`", signer.principal, other.principal);
                    let hint = "approvals are counted by person: every person needs a key of their own";
                    problems.add(Diagnostic::new(source, span, message).hint(hint));
                }
                _ => signers.push(signer),
            },
            Err(fault) => problems.add(Diagnostic::new(source, span, fault.message).hint(fault.hint)),
        }
    }
    Signers(signers)
}
