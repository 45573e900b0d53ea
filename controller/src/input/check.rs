//! From texts to a fleet: everything is read and everything is checked, across all files, before anything is said.

mod guard;
mod member;
mod playbook;
mod profile;
mod reference;
mod turns;
mod vantage;
mod window;

use std::collections::BTreeMap;

use super::config::Config;
use super::diagnostic::{Diagnostic, Problems};
use super::files::Files;
use super::fleet::{Base, Fleet, STORE};
use super::scalar::address_problem;
use super::signer::{self, Signers};
use super::source::{Source, Sources, Span};
use super::yaml::{self, decode};
use super::{paper, playbook as playbooks, profile as profiles, shipped, suggest, webhook};
use crate::calendar::{Holidays, Zone};

/// The texts of a fleet, by their part in it.
#[derive(Debug, Default)]
pub struct Documents {
    /// `weiche.yaml`.
    pub config: Option<Source>,
    /// `members/*.yaml`.
    pub members: Vec<Source>,
    /// `profiles/*.yaml`.
    pub profiles: Vec<Source>,
    /// `playbooks/*.yaml`.
    pub playbooks: Vec<Source>,
    /// `papers/*.hbs`.
    pub papers: Vec<Source>,
    /// The file of approvers, if `weiche.yaml` names one.
    pub approvers: Option<Source>,
    /// There are files besides these that could not be read, which was said already.
    pub unread: bool,
}

/// What is not known, so that references into it are not called wrong.
#[derive(Clone, Copy, Debug)]
struct Gaps {
    /// A file of hosts could not be read.
    hosts: bool,
    /// A profile could not be read.
    profiles: bool,
    /// A playbook could not be read.
    playbooks: bool,
}

/// What of the whole fleet a member's file is checked against.
#[derive(Clone, Copy, Debug)]
struct Known<'a> {
    /// `weiche.yaml`, unless it is missing or broken.
    config: Option<&'a Config>,
    /// Who may approve.
    signers: &'a Signers,
    /// That file could not be read.
    signers_unread: bool,
}

/// What stands in for a `weiche.yaml` that is missing or broken, so that the other files are checked all the same.
const STAND_IN: &str = "{ fleet: unnamed, timezone: UTC, ssh: { user: weiche } }";

/// Reads and checks a fleet. `Sources` receives the shipped files and templates that problems may point into.
///
/// # Errors
/// Everything that is wrong; the author of the fleet can fix it.
pub fn read(
    documents: &Documents,
    files: &dyn Files,
    base: Base,
    sources: &mut Sources,
) -> Result<(Fleet, Problems), Problems> {
    let mut problems = Problems::new();
    let (config, sound) = config(documents.config.as_ref(), &mut problems);
    let zone = Zone::find(&config.timezone).unwrap_or(Zone::UTC);
    let signers = documents.approvers.as_ref().map(|source| signer::parse(source, &zone, &mut problems));
    let signers_unread = signers.is_none() && config.approvers.is_some();
    let mut fleet = Fleet {
        config,
        zone,
        signers: signers.unwrap_or_default(),
        base,
        members: BTreeMap::new(),
        hosts: BTreeMap::new(),
        profiles: BTreeMap::new(),
        playbooks: BTreeMap::new(),
        papers: documents.papers.iter().map(template).collect(),
    };
    paper::check(&documents.papers, &mut problems);
    let mut gaps = Gaps { hosts: documents.unread, profiles: documents.unread, playbooks: documents.unread };
    for source in shipped::profiles().iter().chain(&documents.profiles) {
        sources.add(source.clone());
        if let Some(profile) = profiles::parse(source, &mut problems) {
            let name = profile.head.profile.clone();
            let place = (profile.source.clone(), name.span);
            if let Some(other) = fleet.profiles.insert(name.to_string(), profile) {
                twice("profile", &name.value, &place, &(other.source, other.head.profile.span), &mut problems);
            }
        } else {
            gaps.profiles = true;
        }
    }
    for source in shipped::playbooks().iter().chain(&documents.playbooks) {
        sources.add(source.clone());
        if let Some(playbook) = playbooks::parse(source, &mut problems) {
            let name = playbook.name.clone();
            let place = (playbook.source.clone(), name.span);
            if let Some(other) = fleet.playbooks.insert(name.to_string(), playbook) {
                twice("playbook", &name.value, &place, &(other.source, other.name.span), &mut problems);
            }
        } else {
            gaps.playbooks = true;
        }
    }
    let mut later = Vec::new();
    let mut names = BTreeMap::new();
    for source in &documents.members {
        let config = sound.then_some(&fleet.config);
        let known = Known { config, signers: &fleet.signers, signers_unread };
        if let Some(member) = member::parse(source, known, &mut fleet.hosts, &mut later, &mut problems) {
            let (name, place) = (member.member.to_string(), (source.clone(), member.member.span));
            if let Some(first) = names.insert(name.clone(), place.clone()) {
                twice("member", &name, &place, &first, &mut problems);
            }
            fleet.members.insert(name, member);
        } else {
            gaps.hosts = true;
        }
    }
    if !gaps.hosts && fleet.hosts.is_empty() && fleet.members.values().all(|m| m.printers.is_empty()) {
        let hint = "add a member: `members/NAME.yaml` with `servers`, `pcs` or `printers` (docs/fleet.md)";
        let place = documents.members.first().or(documents.config.as_ref());
        let message = "the fleet has no devices";
        problems.add(match place {
            Some(source) => Diagnostic::new(source, Span::default(), message).hint(hint),
            None => Diagnostic::of("members/", message).hint(hint),
        });
    }
    reference::check(&mut fleet, documents.config.as_ref(), &later, gaps, &mut problems);
    vantage::check(&fleet, &names, gaps, &mut problems);
    profile::check(&fleet, files, &later, gaps, sources, &mut problems);
    playbook::check(&mut fleet, files, gaps, &mut problems);
    problems.or(fleet)
}

fn template(source: &Source) -> (String, String) {
    (source.name().trim_start_matches("papers/").to_owned(), source.text().to_owned())
}

/// Reads `weiche.yaml`; says whether that is what is returned.
fn config(source: Option<&Source>, problems: &mut Problems) -> (Config, bool) {
    let read = source.and_then(|source| {
        let node = yaml::parse(source, problems)?;
        let config: Config = decode(source, &node, problems)?;
        if config.ssh.user.is_empty() {
            let span = node.get("ssh").and_then(|ssh| ssh.get("user")).map_or(node.span, |user| user.span);
            problems.add(Diagnostic::new(source, span, "`user` must not be empty").hint("name the login of the hosts"));
        }
        if config.limits.connections == 0 {
            let span = node.get("limits").and_then(|l| l.get("connections")).map_or(node.span, |n| n.span);
            problems.add(Diagnostic::new(source, span, "`connections` must be at least 1"));
        }
        if config.store.strip_prefix(STORE).is_none_or(str::is_empty) {
            let span = node.get("store").map_or(node.span, |store| store.span);
            let hint = "write `sqlite:PATH`";
            problems.add(Diagnostic::new(source, span, format!("unknown store `{}`", config.store)).hint(hint));
        }
        calendar(source, &config, problems);
        webhook::check(source, &config, problems);
        Some(config)
    });
    let sound = read.is_some();
    if source.is_none() {
        let hint = "is this the fleet's directory? See docs/fleet.md for what `weiche.yaml` holds";
        problems.add(Diagnostic::of("weiche.yaml", "there is no such file").hint(hint));
    }
    let config = read.unwrap_or_else(|| {
        let stand_in = Source::new("stand-in", STAND_IN);
        let node = yaml::parse(&stand_in, &mut Problems::new());
        let config = node.and_then(|node| decode(&stand_in, &node, &mut Problems::new()));
        config.expect("the stand-in is a literal, and a test reads it")
    });
    (config, sound)
}

/// The time zone, the public holidays and the name of the file of approvers.
fn calendar(source: &Source, config: &Config, problems: &mut Problems) {
    let zone = &config.timezone;
    if Zone::find(zone).is_none() {
        let names = Zone::names();
        let near = suggest::nearest(zone, names.iter().map(String::as_str));
        let hint = near.map_or("write an IANA name such as `Europe/Berlin`".into(), |n| format!("did you mean `{n}`?"));
        let message = format!("there is no time zone `{}`", zone.value);
        problems.add(Diagnostic::new(source, zone.span, message).hint(hint));
    }
    if let Some(code) = config.holidays.as_ref().filter(|code| Holidays::find(code).is_none()) {
        let hint = suggest::hint(code, Holidays::ALL.map(Holidays::code));
        let message = format!("there is no calendar of holidays `{}`", code.value);
        problems.add(Diagnostic::new(source, code.span, message).maybe_hint(hint));
    }
    if let Some(name) = config.approvers.as_ref().filter(|name| !signer::is_place(name)) {
        let message = format!("`{}` is no file below the fleet's directory", name.value);
        let hint = "write its path from there, such as `allowed_signers`";
        problems.add(Diagnostic::new(source, name.span, message).hint(hint));
    }
}

type Place = (Source, Span);

/// Two things of one name; a fleet's own may take the place of a shipped one.
fn twice(what: &str, name: &str, second: &Place, first: &Place, problems: &mut Problems) {
    if first.0.name().starts_with(shipped::PREFIX) {
        return;
    }
    problems.add(
        Diagnostic::new(&second.0, second.1, format!("there are two {what}s `{name}`"))
            .hint("give one of them another name")
            .related(&first.0, first.1, "first here"),
    );
}

/// A problem of an address, with the usual reasons for it.
fn address(source: &Source, span: Span, address: &str, problems: &mut Problems) {
    if let Some(problem) = address_problem(address) {
        let hint = "write e.g. 192.0.2.11, \"2001:db8::11\" or fs.example; a port goes into `port`";
        problems.add(Diagnostic::new(source, span, problem).hint(hint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_is_a_config() {
        assert_eq!(&**config(None, &mut Problems::new()).0.fleet, "unnamed");
    }
}
