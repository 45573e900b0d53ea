//! Resources rendered for one host: templates filled in, contents found, specs checked, references resolved.

mod spec;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use handlebars::Context;
use serde_json::{Map, Value, json};
use weiche_agent::digest::Digest;
use weiche_agent::resource::{Claim, Kind};

use super::diagnostic::{Diagnostic, Problems};
use super::files::{FileFault, Files, name_problem};
use super::fleet::{Fleet, Host};
use super::resource::Resource;
use super::shipped;
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
}

/// Renders resources, remembering templates and files between hosts.
pub struct Applier<'a> {
    files: &'a dyn Files,
    /// Renders texts outside of resources, too.
    pub renderer: Renderer,
    texts: HashMap<String, Result<Source, FileFault>>,
    /// Only checks: the digests of large files are not computed.
    check: bool,
}

impl<'a> Applier<'a> {
    /// For a run.
    pub fn new(files: &'a dyn Files) -> Applier<'a> {
        Applier { files, renderer: Renderer::default(), texts: HashMap::new(), check: false }
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
        let mut bodies = Vec::new();
        for key in resource.kind.sent() {
            bodies.extend(self.body(source, resource, key, &mut spec, context, problems)?);
        }
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
            match earlier.iter().position(|other| other.is(&text)) {
                Some(at) => watches.push(at),
                None => {
                    let known: Vec<String> = earlier.iter().flat_map(Applied::references).collect();
                    let hint = suggest::nearest(&text, known.iter().map(String::as_str))
                        .map(|near| format!("did you mean `{near}`?"))
                        .unwrap_or_else(|| {
                            "name a resource above this one as `KIND NAME`, e.g. `file /etc/x.conf`".into()
                        });
                    let message = format!("there is no resource `{text}` above this unit");
                    problems.add(Diagnostic::new(source, *span, message).hint(hint));
                }
            }
        }
        watches.sort_unstable();
        watches.dedup();
        watches
    }

    /// Turns `content`, `template` or `source` under a key (the empty one: of the spec itself) into a digest. `None` if
    /// that failed.
    #[expect(clippy::option_option, reason = "no content, and no usable content")]
    fn body(
        &mut self,
        source: &Source,
        resource: &Resource,
        holder: &str,
        spec: &mut Value,
        context: &Context,
        problems: &mut Problems,
    ) -> Option<Option<(Digest, Body)>> {
        let (spec, node) = match holder {
            "" => (Some(spec), Some(&resource.spec)),
            key => (spec.get_mut(key), resource.spec.get(key)),
        };
        let Some(map) = spec.and_then(Value::as_object_mut) else { return Some(None) };
        let span = |key: &str| node.and_then(|node| node.get(key)).map_or(resource.key, |node| node.span);
        let (digest, body) = if let Some(text) = text(map, "content") {
            (Digest::of(text.as_bytes()), Body::Text(text))
        } else if let Some(path) = text(map, "template") {
            let rendered = match self.template(source, &path, span("template")) {
                Ok(file) => self
                    .renderer
                    .text(file.text(), context)
                    .map_err(|fault| fault.in_file(&file).related(source, span("template"), "used here")),
                Err(problem) => Err(problem),
            };
            match rendered {
                Ok(text) => (Digest::of(text.as_bytes()), Body::Text(text)),
                Err(problem) => {
                    problems.add(problem);
                    return None;
                }
            }
        } else if let Some(path) = text(map, "source") {
            match self.file(&path) {
                Ok(found) => found,
                Err(message) => {
                    problems.add(file_problem(source, span("source"), message));
                    return None;
                }
            }
        } else {
            return Some(None);
        };
        let size = match &body {
            Body::Text(text) => text.len() as u64,
            Body::File(_, size) => *size,
        };
        map.insert("blob".into(), json!({ "digest": digest, "size": size }));
        Some(Some((digest, body)))
    }

    fn template(&mut self, source: &Source, path: &str, span: Span) -> Result<Source, Diagnostic> {
        if let Some(problem) = name_problem(path) {
            return Err(file_problem(source, span, problem));
        }
        let read = || match (self.files.text(path), shipped::file(path)) {
            (Ok(text), _) => Ok(Source::new(&format!("files/{path}"), text)),
            (Err(FileFault::Missing(_)), Some(text)) => {
                Ok(Source::new(&format!("{}files/{path}", shipped::PREFIX), text))
            }
            (Err(fault), _) => Err(fault),
        };
        let found = self.texts.entry(path.to_owned()).or_insert_with(read);
        found.clone().map_err(|fault| file_problem(source, span, fault.to_string()))
    }

    fn file(&self, path: &str) -> Result<(Digest, Body), String> {
        if let Some(problem) = name_problem(path) {
            return Err(problem);
        }
        let read = if self.check {
            self.files.size(path).map(|size| (Digest::of(b""), size))
        } else {
            self.files.digest(path)
        };
        match (read, shipped::file(path)) {
            (Ok((digest, size)), _) => Ok((digest, Body::File(self.files.place(path), size))),
            (Err(FileFault::Missing(_)), Some(text)) => Ok((Digest::of(text.as_bytes()), Body::Text(text.to_owned()))),
            (Err(fault), _) => Err(fault.to_string()),
        }
    }

    /// The template files that were read, for messages that point into them.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.texts.values().flatten()
    }
}

fn file_problem(source: &Source, span: Span, message: String) -> Diagnostic {
    Diagnostic::new(source, span, message).hint("paths are relative to the fleet's `files/`")
}

fn text(map: &mut Map<String, Value>, key: &str) -> Option<String> {
    match map.remove(key)? {
        Value::String(text) => Some(text),
        _ => None,
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
}

impl Applied {
    /// Whether a reference means it: `KIND NAME`, or the name alone where that is a path.
    fn is(&self, reference: &str) -> bool {
        let path = |claim: &Claim| matches!(claim, Claim::Path(path) if path.as_os_str() == reference);
        self.references().any(|known| known == reference) || self.claims.iter().any(path)
    }

    fn references(&self) -> impl Iterator<Item = String> {
        let claims = self.claims.iter().map(|claim| match claim {
            Claim::Path(path) => path.display().to_string(),
            Claim::Name(_, name) => name.clone(),
        });
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
