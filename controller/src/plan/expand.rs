//! A playbook with its inputs becomes a [`Procedure`]: templates are filled in, profiles become steps, references become
//! step ids. Pure; all problems at once.

mod direct;
mod input;
mod number;
mod probe;
mod stage;
#[cfg(test)]
mod tests;
mod turns;
mod uses;
mod waves;
mod whose;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Metered;
use super::procedure::{Content, Procedure, Stage};
use crate::input::apply::{Applier, Body};
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::files::Files;
use crate::input::fleet::{Fleet, Host};
use crate::input::member::Service;
use crate::input::playbook::Playbook;
use crate::input::suggest;
use crate::input::target::HostName;

use input::Given;

pub use direct::key::Keys;

/// Expands a playbook for inputs given as `name=value`. What it makes keys of, and the plan's nonce, are `keys`.
///
/// # Errors
/// Everything that is wrong: with the inputs (the operator can fix it), or with the playbook or a profile for these
/// inputs (the author of the fleet can fix it).
pub fn expand(
    fleet: &Fleet,
    playbook: &str,
    inputs: &[(String, String)],
    files: &dyn Files,
    keys: &Keys,
) -> Result<Procedure, Problems> {
    let Some(found) = fleet.playbooks().get(playbook) else {
        let problem = Diagnostic::of(input::PLACE, format!("there is no playbook `{playbook}`"));
        let hint = suggest::hint(playbook, fleet.playbooks().keys().map(String::as_str));
        return Err(problem.maybe_hint(hint).into());
    };
    let mut problems = Problems::new();
    let given = input::read(fleet, found, inputs, &mut problems);
    if problems.has_errors() {
        return Err(problems.sorted());
    }
    let (mut contents, mut direct) = (BTreeMap::new(), Default::default());
    let mut expansion = stage::Expansion {
        fleet,
        playbook: found,
        given: &given,
        applier: Applier::new(files),
        contents: &mut contents,
        keys,
        prefix: String::new(),
        direct: &mut direct,
        problems: &mut problems,
    };
    let stages: Vec<Stage> = expansion.all();
    let hosts = stages.iter().flat_map(|stage| stage.hosts.keys());
    let hosts: BTreeSet<&HostName> = hosts.collect();
    let watch = hosts.iter().filter_map(|host| Some(((*host).clone(), fleet.watch(host)?))).collect();
    let sites = hosts.iter().filter_map(|host| Some(((*host).clone(), fleet.host(host)?.site.clone()?))).collect();
    let members: BTreeSet<&str> = hosts.iter().map(|host| host.member()).collect();
    let meter = meter(fleet, found, &members, &mut problems);
    let inputs = given.iter().map(|(name, value)| (name.clone(), value.plain())).collect();
    let (nonce, playbook) = (keys.nonce.clone(), playbook.to_owned());
    let procedure = Procedure { nonce, playbook, inputs, watch, sites, meter, stages, contents };
    problems.or(procedure).map(|(procedure, _)| procedure)
}

/// The services that are measured: those that the playbook names, or one that it uses, of each member of the run.
fn meter(fleet: &Fleet, playbook: &Playbook, members: &BTreeSet<&str>, problems: &mut Problems) -> Vec<Metered> {
    let mut found: BTreeMap<String, &Service> = BTreeMap::new();
    for of in fleet.playbooks_of(playbook) {
        found.extend(waves::services(fleet, members, &of.meter, &of.source, problems));
    }
    let metered = |(service, of): (String, &Service)| {
        let probe = probe::probe(of.probe.clone());
        let member = service.split_once('/').map_or("", |(member, _)| member);
        let vantage = fleet.vantage(member).filter(|_| probe.is_connection());
        let budget_ms = of.downtime_budget.map(|budget| u64::try_from(budget.0.as_millis()).unwrap_or(u64::MAX));
        Metered { service, probe, budget_ms, vantage }
    };
    found.into_iter().map(metered).collect()
}

/// What templates know at the top level of a playbook, for one host.
fn context(fleet: &Fleet, given: &BTreeMap<String, Given<'_>>, host: Option<&Host>) -> Map<String, Value> {
    let mut data: Map<String, Value> = given.iter().map(|(name, value)| (name.clone(), value.value(fleet))).collect();
    data.insert("fleet".into(), fleet.fleet_value());
    if let Some(host) = host {
        data.insert("host".into(), fleet.host_value(host));
        data.insert("member".into(), fleet.member_value(host.name.member()));
    }
    data
}

impl From<Body> for Content {
    fn from(body: Body) -> Content {
        match body {
            Body::Text(text) => Content::Text(text),
            Body::File(path, size) => Content::File { path, size },
            Body::Url(url) => Content::Url(url),
        }
    }
}
