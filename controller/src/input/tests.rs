//! What people get to read for their mistakes, and that what is shipped has none.

mod calendar;
mod damage;
mod form;
mod meaning;
mod reference;
mod scale;
mod shipped;

use std::collections::BTreeMap;

use weiche_agent::digest::Digest;

use super::check::{self, Documents};
use super::diagnostic::{Problems, render};
use super::files::{FileFault, Files};
use super::fleet::{Base, Fleet};
use super::source::{Source, Sources};

/// A fleet without mistakes that the tests spoil.
pub(crate) const CONFIG: &str = "fleet: test\ntimezone: Europe/Berlin\nssh: { user: weiche }\n";
/// A member with three hosts.
pub(crate) const MEMBER: &str = "\
member: alpha
name: Alpha
sites: { rathaus: { address: Main Street } }
servers:
  - { name: fs-old, address: 192.0.2.11, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, profile: demo }
  - { name: fs-new, address: 192.0.2.12, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, replaces: fs-old }
pcs:
  - { name: pc-1, site: rathaus }
";
/// A profile.
pub(crate) const PROFILE: &str = "\
profile: demo
parameters:
  greeting: { type: string, default: hello }
resources:
  - file: { path: /etc/motd, content: \"{{greeting}} {{host.name}}\\n\" }
";

/// Texts by path, as they lie in a fleet's directory.
pub(crate) type Texts = BTreeMap<&'static str, String>;

/// The fleet without mistakes.
pub(crate) fn good() -> Texts {
    let texts = [("weiche.yaml", CONFIG), ("members/alpha.yaml", MEMBER), ("profiles/demo.yaml", PROFILE)];
    texts.into_iter().map(|(name, text)| (name, text.to_owned())).collect()
}

impl Files for Texts {
    fn text(&self, path: &str) -> Result<String, FileFault> {
        let found = self.iter().find(|(name, _)| name.strip_prefix("files/") == Some(path));
        found.map(|(_, text)| text.clone()).ok_or_else(|| FileFault::Missing(path.to_owned()))
    }

    fn digest(&self, path: &str) -> Result<(Digest, u64), FileFault> {
        self.text(path).map(|text| (Digest::of(text.as_bytes()), text.len() as u64))
    }

    fn size(&self, path: &str) -> Result<u64, FileFault> {
        self.digest(path).map(|(_, size)| size)
    }
}

/// Reads a fleet from texts.
pub(crate) fn read(texts: &Texts) -> (Result<(Fleet, Problems), Problems>, Sources) {
    let mut sources = Sources::default();
    let mut documents = Documents::default();
    for (name, text) in texts {
        let source = Source::new(name, text.as_str());
        sources.add(source.clone());
        match name.split('/').next() {
            Some("weiche.yaml") => documents.config = Some(source),
            Some("allowed_signers") => documents.approvers = Some(source),
            Some("members") => documents.members.push(source),
            Some("profiles") => documents.profiles.push(source),
            Some("papers") => documents.papers.push(source),
            Some("playbooks") => documents.playbooks.push(source),
            _ => {}
        }
    }
    (check::read(&documents, texts, Base::default(), &mut sources), sources)
}

/// A fleet that must have no mistakes.
pub(crate) fn fleet(texts: &Texts) -> Fleet {
    let (result, sources) = read(texts);
    result.map(|(fleet, _)| fleet).unwrap_or_else(|problems| panic!("{}", render(&problems, &sources, false)))
}

/// What people read about a fleet with mistakes.
pub(crate) fn complaint(texts: &Texts) -> String {
    let (result, sources) = read(texts);
    let problems = match result {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    };
    assert!(!problems.is_empty(), "there is nothing to complain about");
    render(&problems, &sources, false)
}

/// The same for the good fleet with one text replaced or added.
pub(crate) fn spoiled(name: &'static str, text: impl Into<String>) -> String {
    let mut texts = good();
    texts.insert(name, text.into());
    complaint(&texts)
}
