//! Profiles: their includes, the values that hosts set, and whether all of it can be rendered. Each profile is rendered
//! once for every distinct set of values, not for every host.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use weiche_agent::digest::Digest;

use super::Gaps;
use super::member::Later;
use crate::input::apply::{Applier, profile_context};
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::files::Files;
use crate::input::fleet::{Fleet, Host, HostKind};
use crate::input::profile::{Profile, typed};
use crate::input::scalar::Type;
use crate::input::shipped;
use crate::input::source::{Source, Sources, Span};
use crate::input::suggest;
use crate::input::target::HostName;

/// Checks them.
pub(super) fn check(
    fleet: &Fleet,
    files: &dyn Files,
    later: &[Later],
    gaps: Gaps,
    sources: &mut Sources,
    problems: &mut Problems,
) {
    for profile in fleet.profiles.values() {
        includes(fleet, profile, gaps, problems);
    }
    let mut groups: HashMap<Digest, (&str, &Host)> = HashMap::new();
    let mut usable = HashMap::new();
    for rest in later {
        let Some(host) = fleet.hosts.get(&rest.host) else { continue };
        let Some(name) = fleet.profile_of(host).filter(|name| fleet.profiles.contains_key(*name)) else {
            for (parameter, span) in rest.parameters.iter().filter(|_| fleet.profile_of(host).is_none()) {
                let message = format!("`{parameter}` is set, but the host has no profile");
                problems.add(Diagnostic::new(&rest.source, *span, message).hint("add `profile: ...`"));
            }
            continue;
        };
        if !sound(fleet, name) {
            continue;
        }
        let parameters = usable.entry(name).or_insert_with(|| fleet.parameters(name));
        let mut complete = true;
        for (parameter, span) in &rest.parameters {
            let value = host.parameters.get(parameter).unwrap_or(&Value::Null);
            let wrong = match parameters.get(parameter.as_str()) {
                Some(known) => typed(&rest.source, *span, parameter, known.r#type, value),
                None => {
                    let message = format!("the profile `{name}` has no parameter `{parameter}`");
                    let hint = suggest::hint(parameter, parameters.keys().copied());
                    Problems::from(Diagnostic::new(&rest.source, *span, message).maybe_hint(hint))
                }
            };
            complete &= wrong.is_empty();
            problems.extend(wrong);
        }
        let set = fleet.set_by(host);
        for (parameter, _) in parameters.iter().filter(|(n, p)| p.default.is_none() && !set.contains_key(*n)) {
            complete = false;
            let message =
                format!("the profile `{name}` needs the parameter `{parameter}`, which `{}` does not set", rest.host);
            let hint = format!("add `parameters: {{ {parameter}: ... }}`");
            problems.add(Diagnostic::new(&rest.source, rest.span, message).hint(hint));
        }
        if complete {
            groups.entry(likeness(name, host, &set)).or_insert((name, host));
        }
    }
    render(fleet, files, &groups, sources, problems);
}

/// Whether a profile and all that it includes were read without a problem: the rest would only repeat what was said.
fn sound(fleet: &Fleet, profile: &str) -> bool {
    fleet.closure(profile).iter().all(|profile| profile.sound)
}

/// What makes two hosts alike for a profile: the values set, and which of the optional keys they have.
fn likeness(profile: &str, host: &Host, set: &std::collections::BTreeMap<&str, &Value>) -> Digest {
    let has = [host.address.is_some(), host.serial.is_some(), host.model.is_some(), host.site.is_some()];
    Digest::of_json(&json!([profile, has, set]))
}

fn render(
    fleet: &Fleet,
    files: &dyn Files,
    groups: &HashMap<Digest, (&str, &Host)>,
    sources: &mut Sources,
    problems: &mut Problems,
) {
    let mut applier = Applier::checking(files);
    let mut used: Vec<&(&str, &Host)> = groups.values().collect();
    used.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
    for (name, host) in &used {
        let context = profile_context(fleet, host, fleet.parameters_of(host));
        applier.profile(fleet, name, &context, problems);
    }
    // A shipped profile that no host has may ask for files that this fleet has no reason to have.
    let own = |name: &String| !fleet.profiles[name].source.name().starts_with(shipped::PREFIX);
    let unused = |name: &&String| own(name) && sound(fleet, name) && !used.iter().any(|(used, _)| used == name);
    for name in fleet.profiles.keys().filter(unused) {
        let host = example(name);
        let values = fleet.parameters(name).into_iter().map(|(n, p)| {
            let value = p.default.as_ref().map_or_else(|| placeholder(p.r#type), |default| default.value.clone());
            (n.to_owned(), value)
        });
        let context = profile_context(fleet, &host, values.collect::<Map<_, _>>());
        applier.profile(fleet, name, &context, problems);
    }
    applier.sources().for_each(|source| sources.add(source.clone()));
}

/// A host of a profile that no host has.
fn example(profile: &str) -> Host {
    Host {
        name: HostName::new("example", "example"),
        kind: HostKind::Server,
        address: Some("192.0.2.1".into()),
        port: None,
        host_key: None,
        serial: Some("EXAMPLE".into()),
        machine_id: None,
        mac: None,
        model: Some("example".into()),
        site: Some("example".into()),
        profile: Some(profile.to_owned()),
        parameters: std::collections::BTreeMap::new(),
        replaces: None,
        labels: Vec::new(),
        lease: None,
        ssh: None,
        agent: None,
        place: (Source::new("example", ""), Span::default()),
    }
}

fn placeholder(r#type: Type) -> Value {
    match r#type {
        Type::Int => json!(1),
        Type::Bool => json!(false),
        Type::Path => json!("/example"),
        Type::List => json!([]),
        Type::String | Type::Host | Type::Hosts => json!("example"),
    }
}

fn includes(fleet: &Fleet, profile: &Profile, gaps: Gaps, problems: &mut Problems) {
    let own = &*profile.head.profile.value;
    for include in &profile.head.includes {
        let Some(included) = fleet.profiles.get(&include.value) else {
            if !gaps.profiles {
                let hint = suggest::hint(include, fleet.profiles.keys().map(String::as_str));
                let message = format!("there is no profile `{}`", include.value);
                problems.add(Diagnostic::new(&profile.source, include.span, message).maybe_hint(hint));
            }
            continue;
        };
        if let Some(way) = way(fleet, &include.value, own, &mut Vec::new()) {
            let message = format!("profiles include each other in a circle: {own} -> {}", way.join(" -> "));
            let hint = "move what they share into a third profile";
            problems.add(Diagnostic::new(&profile.source, include.span, message).hint(hint));
            continue;
        }
        for (name, parameter) in &profile.head.parameters {
            if let Some(other) = included.head.parameters.get(name).filter(|other| other.r#type != parameter.r#type) {
                let message =
                    format!("the parameter `{name}` has another type in the included profile `{}`", include.value);
                problems.add(
                    Diagnostic::new(&profile.source, parameter.span, message)
                        .hint("give it the same type or another name")
                        .related(&included.source, other.span, "declared here"),
                );
            }
        }
    }
}

/// A way from one profile to another along includes.
fn way(fleet: &Fleet, from: &str, to: &str, seen: &mut Vec<String>) -> Option<Vec<String>> {
    if from == to {
        return Some(vec![to.to_owned()]);
    }
    if seen.iter().any(|name| name == from) {
        return None;
    }
    seen.push(from.to_owned());
    let includes = &fleet.profiles.get(from)?.head.includes;
    let rest = includes.iter().find_map(|next| way(fleet, next, to, seen))?;
    Some([from.to_owned()].into_iter().chain(rest).collect())
}
