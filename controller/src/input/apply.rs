//! Resources rendered for one host: templates filled in, contents found, specs checked, references resolved.

mod body;
mod spec;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use handlebars::Context;
use serde_json::{Map, Value};
use weiche_agent::digest::Digest;
use weiche_agent::resource::{Claim, Kind};

use super::diagnostic::{Diagnostic, Problems};
use super::files::{FileFault, Files, Held};
use super::fleet::{Fleet, Host};
use super::resource::Resource;
use super::source::{Source, Span};
use super::suggest;
use super::template::Renderer;

/// A resource for one host.
#[derive(Clone)]
pub struct Applied {
    /// Its kind.
    pub kind: &'static dyn Kind,
    /// What is wanted, ready for the agent.
    pub spec: Value,
    /// The contents that the spec names by digest.
    pub bodies: Vec<(Digest, Body)>,
    /// What it owns.
    pub claims: Vec<Claim>,
    /// Files that it changes a part of.
    pub edits: Vec<PathBuf>,
    /// Positions, in the same list, of the resources whose change it reacts to.
    pub watches: Vec<usize>,
    /// After this time it has failed.
    pub timeout: Duration,
    /// Where it is written.
    pub place: (Source, Span),
}

/// A content.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Inline or rendered.
    Text(String),
    /// A file, with its length.
    File(PathBuf, u64),
    /// Not here yet: fetched from this address once it is known to be needed.
    Url(String),
}

/// Renders resources, remembering templates and files between hosts.
pub struct Applier<'a> {
    /// What it reads from.
    pub files: &'a dyn Files,
    /// Renders texts outside of resources, too.
    pub renderer: Renderer,
    texts: HashMap<String, Result<Source, FileFault>>,
    /// Trees and archives, by what names them.
    held: HashMap<String, Result<Arc<Held>, FileFault>>,
    /// Only checks: the digests of large files are not computed.
    check: bool,
}

impl<'a> Applier<'a> {
    /// For a run.
    pub fn new(files: &'a dyn Files) -> Applier<'a> {
        Applier { files, renderer: Renderer::default(), texts: HashMap::new(), held: HashMap::new(), check: false }
    }

    /// For a check of the fleet.
    pub fn checking(files: &'a dyn Files) -> Applier<'a> {
        Applier { check: true, ..Applier::new(files) }
    }

    /// Renders a profile with all that it includes. Two owners of one thing are refused.
    pub fn profile(
        &mut self,
        fleet: &Fleet,
        profile: &str,
        context: &Context,
        problems: &mut Problems,
    ) -> Vec<Applied> {
        let mut list: Vec<Applied> = Vec::new();
        for profile in fleet.closure(profile) {
            for resource in &profile.resources {
                let Some(applied) = self.resource(&profile.source, resource, context, &list, problems) else {
                    continue;
                };
                owners(&list, &applied, problems);
                list.push(applied);
            }
        }
        list
    }

    /// Renders one resource that comes after `earlier` ones.
    pub fn resource(
        &mut self,
        source: &Source,
        resource: &Resource,
        context: &Context,
        earlier: &[Applied],
        problems: &mut Problems,
    ) -> Option<Applied> {
        let spec = self.renderer.node(source, &resource.spec, context, problems);
        let watches = self.watches(source, resource, context, earlier, problems);
        let mut spec = spec?;
        if !resource.kind.problems(&spec).is_empty() {
            problems.extend(spec::problems(source, resource, &spec));
            return None;
        }
        let bodies = self.bodies(source, resource, &mut spec, context, problems)?;
        let claims = match resource.kind.claims(&spec) {
            Ok(claims) => claims,
            Err(fault) => {
                problems.add(Diagnostic::new(source, resource.key, fault.message));
                return None;
            }
        };
        let edits = resource.kind.edits(&spec);
        let place = (source.clone(), resource.key);
        Some(Applied { kind: resource.kind, spec, bodies, claims, edits, watches, timeout: resource.timeout, place })
    }

    fn watches(
        &mut self,
        source: &Source,
        resource: &Resource,
        context: &Context,
        earlier: &[Applied],
        problems: &mut Problems,
    ) -> Vec<usize> {
        let mut watches = Vec::new();
        for (reference, span) in &resource.restart_on {
            let text = match self.renderer.text(reference, context) {
                Ok(text) => text,
                Err(fault) => {
                    problems.add(fault.at(source, *span));
                    continue;
                }
            };
            let means = earlier.iter().enumerate().filter(|(_, other)| other.is(&text)).map(|(at, _)| at);
            let before = watches.len();
            watches.extend(means);
            if watches.len() == before {
                let known: Vec<String> = earlier.iter().flat_map(Applied::references).collect();
                let hint = suggest::nearest(&text, known.iter().map(String::as_str))
                    .map(|near| format!("did you mean `{near}`?"))
                    .unwrap_or_else(|| "name a resource above this one as `KIND NAME`, e.g. `file /etc/x.conf`".into());
                let message = format!("there is no resource `{text}` above this unit");
                problems.add(Diagnostic::new(source, *span, message).hint(hint));
            }
        }
        watches.sort_unstable();
        watches.dedup();
        watches
    }

    /// The template files that were read, for messages that point into them.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.texts.values().flatten()
    }
}

fn owners(earlier: &[Applied], applied: &Applied, problems: &mut Problems) {
    let owns = |one: &Applied, path: &PathBuf| one.claims.contains(&Claim::Path(path.clone()));
    for other in earlier {
        // Whoever owns a file whole would undo, at every run, what another puts into it.
        let mine = applied.edits.iter().find(|path| owns(other, path));
        if let Some(path) = mine.or_else(|| other.edits.iter().find(|path| owns(applied, path))) {
            let (source, span) = &applied.place;
            let message = format!("one resource owns {} whole, another edits a part of it", path.display());
            problems.add(
                Diagnostic::new(source, *span, message)
                    .hint("put everything into the whole file, or only edit it")
                    .related(&other.place.0, other.place.1, "the other resource"),
            );
        }
    }
    for claim in &applied.claims {
        if let Some(other) = earlier.iter().find(|other| other.claims.contains(claim)) {
            let (source, span) = &applied.place;
            problems.add(
                Diagnostic::new(source, *span, format!("two resources own {claim} on the same host"))
                    .hint("remove one of them, or make one of both")
                    .related(&other.place.0, other.place.1, "the other owner"),
            );
        }
    }
    for other in earlier {
        if let Some(path) = other.holds(applied).or_else(|| applied.holds(other)) {
            let (source, span) = &applied.place;
            problems.add(
                Diagnostic::new(source, *span, format!("two resources own path {} on the same host", path.display()))
                    .hint("leave it out of the tree or archive (and do without `purge`), or drop the other")
                    .related(&other.place.0, other.place.1, "the other owner"),
            );
        }
    }
}

impl Applied {
    /// A path of another resource that is this tree's or archive's own: in its entries, or purged by it. The metadata
    /// of a directory in it may be another's.
    fn holds(&self, other: &Applied) -> Option<PathBuf> {
        let holder = matches!(self.kind.name(), "tree" | "archive");
        let root = self.spec.get("path").and_then(Value::as_str).filter(|_| holder)?;
        let purge = self.spec.get("purge").is_some_and(|purge| purge == true);
        let held = |path: &PathBuf| {
            let below = path.strip_prefix(root).ok().and_then(|below| below.to_str()).filter(|below| !below.is_empty());
            match below.map(|below| self.spec.get("entries").and_then(|entries| entries.get(below))) {
                None => false,
                Some(None) => purge,
                Some(Some(entry)) => !(entry == "directory" && other.kind.name() == "directory"),
            }
        };
        let claims = other.claims.iter().filter_map(|claim| match claim {
            Claim::Path(path) => Some(path.clone()),
            Claim::Name(..) => None,
        });
        claims.chain(other.kind.edits(&other.spec)).find(held)
    }

    /// Whether a reference means it: `KIND NAME`, or the name alone where that is a path. Of a file of which several
    /// resources edit a part, its path means them all.
    fn is(&self, reference: &str) -> bool {
        let path = |claim: &Claim| matches!(claim, Claim::Path(path) if path.as_os_str() == reference);
        let edited = self.edits.iter().any(|path| path.as_os_str() == reference);
        edited || self.references().any(|known| known == reference) || self.claims.iter().any(path)
    }

    fn references(&self) -> impl Iterator<Item = String> {
        let claims = self.claims.iter().map(|claim| match claim {
            Claim::Path(path) => path.display().to_string(),
            Claim::Name(_, name) => name.clone(),
        });
        let claims = claims.chain(self.edits.iter().map(|path| path.display().to_string()));
        // As it is written, too: `unit nginx` owns `nginx.service`.
        let name = self.spec.get("name").and_then(Value::as_str).map(str::to_owned);
        claims.chain(name).map(|name| format!("{} {name}", self.kind.name()))
    }
}

/// What a profile's templates know: its parameters, the host, the member and the fleet.
pub fn profile_context(fleet: &Fleet, host: &Host, parameters: Map<String, Value>) -> Context {
    let mut data = parameters;
    data.insert("host".into(), fleet.host_value(host));
    data.insert("member".into(), fleet.member_value(host.name.member()));
    data.insert("fleet".into(), fleet.fleet_value());
    Context::from(Value::Object(data))
}
