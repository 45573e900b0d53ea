//! What a resource names by file, template, text or address, turned into digests: the contents of a `file`, the entries
//! of a `tree` or an `archive`, what a `download` will bring.

use std::sync::Arc;

use handlebars::Context;
use serde_json::{Map, Value, json};
use weiche_agent::digest::Digest;

use super::{Applier, Body};
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::files::{FileFault, Held, Origin, name_problem};
use crate::input::resource::Resource;
use crate::input::shipped;
use crate::input::source::{Source, Span};

type Bodies = Vec<(Digest, Body)>;

impl Applier<'_> {
    /// The contents that a spec needs, which then names them by digest. `None` if that failed.
    pub(super) fn bodies(
        &mut self,
        source: &Source,
        resource: &Resource,
        spec: &mut Value,
        context: &Context,
        problems: &mut Problems,
    ) -> Option<Bodies> {
        let mut sent = Vec::new();
        for key in resource.kind.sent() {
            let (holder, node) = match *key {
                "" => (Some(&mut *spec), Some(&resource.spec)),
                key => (spec.get_mut(key), resource.spec.get(key)),
            };
            let Some(map) = holder.and_then(Value::as_object_mut) else { continue };
            let span = |key: &str| node.and_then(|node| node.get(key)).map_or(resource.key, |node| node.span);
            match self.content(source, map, context, span) {
                Ok(bodies) => sent.extend(bodies),
                Err(problem) => {
                    problems.add(problem);
                    return None;
                }
            }
        }
        let Some(map) = spec.as_object_mut() else { return Some(sent) };
        let span = |key: &str| resource.spec.get(key).map_or(resource.key, |node| node.span);
        let found = match resource.kind.name() {
            "tree" => self.tree(map).map_err(|fault| file_problem(source, span("source"), fault.to_string())),
            "archive" => {
                let key = if map.contains_key("url") { "url" } else { "source" };
                self.archive(map).map_err(|fault| file_problem(source, span(key), fault.to_string()))
            }
            "download" => Ok(download(map)),
            _ => Ok(sent),
        };
        found.map_err(|problem| problems.add(problem)).ok()
    }

    /// Turns `content`, `template` or `source` into a digest.
    fn content(
        &mut self,
        source: &Source,
        map: &mut Map<String, Value>,
        context: &Context,
        span: impl Fn(&str) -> Span,
    ) -> Result<Bodies, Diagnostic> {
        let (digest, body) = if let Some(text) = text(map, "content") {
            (Digest::of(text.as_bytes()), Body::Text(text))
        } else if let Some(path) = text(map, "template") {
            let file = self.template(source, &path, span("template"))?;
            let rendered = self.renderer.text(file.text(), context);
            let text = rendered.map_err(|fault| fault.in_file(&file).related(source, span("template"), "used here"))?;
            (Digest::of(text.as_bytes()), Body::Text(text))
        } else if let Some(path) = text(map, "source") {
            self.file(&path).map_err(|message| file_problem(source, span("source"), message))?
        } else {
            return Ok(Vec::new());
        };
        let size = match &body {
            Body::Text(text) => text.len() as u64,
            Body::File(_, size) => *size,
            Body::Url(_) => 0,
        };
        map.insert("blob".into(), json!({ "digest": digest, "size": size }));
        Ok(vec![(digest, body)])
    }

    fn tree(&mut self, map: &mut Map<String, Value>) -> Result<Bodies, FileFault> {
        let Some(path) = map.get("source").and_then(Value::as_str).map(str::to_owned) else { return Ok(Vec::new()) };
        if let Some(reason) = name_problem(&path) {
            return Err(FileFault::Unusable { path, reason });
        }
        let (files, check) = (self.files, self.check);
        self.held(map, format!("tree {path}"), || files.tree(&path, !check))
    }

    fn archive(&mut self, map: &mut Map<String, Value>) -> Result<Bodies, FileFault> {
        let get = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
        let sha256 = get("sha256").and_then(|text| Digest::try_from(text).ok());
        let origin = match (get("source"), get("url"), sha256) {
            (Some(path), _, sha256) => match name_problem(&path) {
                Some(reason) => return Err(FileFault::Unusable { path, reason }),
                None => Origin::File { path, sha256 },
            },
            (None, Some(url), Some(sha256)) => Origin::Url { url, sha256 },
            _ => return Ok(Vec::new()),
        };
        if self.check {
            // Unpacking costs, and fetching more: that is for the plan.
            return match &origin {
                Origin::File { path, .. } => self.files.size(path).map(|_| Vec::new()),
                Origin::Url { .. } => Ok(Vec::new()),
            };
        }
        let strip = map.get("strip").and_then(Value::as_u64).and_then(|strip| u8::try_from(strip).ok()).unwrap_or(0);
        let files = self.files;
        self.held(map, format!("archive {strip} {origin:?}"), || files.archive(&origin, strip))
    }

    /// Reads what is held once for all hosts.
    fn held(
        &mut self,
        map: &mut Map<String, Value>,
        name: String,
        read: impl FnOnce() -> Result<Held, FileFault>,
    ) -> Result<Bodies, FileFault> {
        let held = self.held.entry(name).or_insert_with(|| read().map(Arc::new)).clone()?;
        map.insert("entries".into(), json!(held.entries));
        let body = |(digest, (path, size)): (&Digest, &(_, _))| (digest.clone(), Body::File(Clone::clone(path), *size));
        Ok(held.bodies.iter().map(body).collect())
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
}

/// What the controller will fetch, if it is to.
fn download(map: &Map<String, Value>) -> Bodies {
    let get = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
    let digest = get("sha256").and_then(|text| Digest::try_from(text).ok());
    let url = get("url").filter(|_| get("via").as_deref() != Some("host"));
    digest.zip(url).map(|(digest, url)| (digest, Body::Url(url))).into_iter().collect()
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
