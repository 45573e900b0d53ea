//! The fleet as a whole: everything that people wrote, read and resolved.

mod reach;
mod stages;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::config::{Config, SshOverride};
use super::member::{Lease, Member};
use super::paper::Person;
use super::playbook::Playbook;
use super::profile::{Parameter, Profile};
use super::signer::Signers;
use super::source::{Source, Span};
use super::target::{AgentPlace, HostName};

use crate::calendar::{Holidays, Window, Zone};

pub use reach::TargetFault;
pub use stages::Unending;

/// Longest chain of hosts that replace each other or are jumped through. Checked fleets have no cycles.
const CHAIN_MAX: usize = 16;

/// What a store's name starts with; others may follow.
pub const STORE: &str = "sqlite:";

/// A fleet that was checked.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub(super) config: Config,
    pub(super) zone: Zone,
    pub(super) signers: Signers,
    pub(super) base: Base,
    pub(super) members: BTreeMap<String, Member>,
    pub(super) hosts: BTreeMap<HostName, Host>,
    pub(super) profiles: BTreeMap<String, Profile>,
    pub(super) playbooks: BTreeMap<String, Playbook>,
    pub(super) papers: BTreeMap<String, String>,
}

/// What relative paths are relative to; the shell knows it.
#[derive(Clone, Debug, Default)]
pub struct Base {
    /// The fleet's directory.
    pub directory: PathBuf,
    /// The home directory, for `~/`.
    pub home: Option<PathBuf>,
}

/// A device that an agent can run on.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name in the fleet.
    pub name: HostName,
    /// Server or PC.
    pub kind: HostKind,
    /// IP address or DNS name, if it can be reached.
    pub address: Option<String>,
    /// TCP port, if not the fleet's.
    pub port: Option<u16>,
    /// Its pinned public key.
    pub host_key: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// machine-id(5) of its system.
    pub machine_id: Option<String>,
    /// Address of its network card.
    pub mac: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// A site of its member.
    pub site: Option<String>,
    /// Its own profile; see [`Fleet::profile_of`].
    pub profile: Option<String>,
    /// Its own values; see [`Fleet::parameters_of`].
    pub parameters: BTreeMap<String, Value>,
    /// The host whose place it takes.
    pub replaces: Option<HostName>,
    /// For selectors.
    pub labels: Vec<String>,
    /// If it is leased.
    pub lease: Option<Lease>,
    /// What differs from the fleet's `ssh`.
    pub ssh: Option<Box<SshOverride>>,
    /// Instead of the fleet's `agent`.
    pub agent: Option<Box<AgentPlace>>,
    /// Where it is written.
    pub place: (Source, Span),
}

impl Host {
    /// Whether it has an address and a pinned key.
    pub fn reachable(&self) -> bool {
        self.address.is_some() && self.host_key.is_some()
    }
}

/// What a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostKind {
    /// From `servers:`.
    Server,
    /// From `pcs:`.
    Pc,
}

impl Fleet {
    /// What holds for the whole fleet.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The time zone in which its windows are meant.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Who may approve; nobody, if it names no file of approvers.
    pub fn signers(&self) -> &Signers {
        &self.signers
    }

    /// Its public holidays, if it has some.
    pub fn holidays(&self) -> Option<Holidays> {
        self.config.holidays.as_deref().and_then(|code| Holidays::find(code))
    }

    /// A window of a member.
    pub fn window(&self, member: &str, name: &str) -> Option<Window> {
        let windows = &self.members.get(member)?.windows;
        let (_, form) = windows.iter().find(|(known, _)| ***known == *name)?;
        form.window(&self.zone, self.holidays())
    }

    /// Who has to do with runs on this member, by short name: the fleet's people and its own.
    pub fn people(&self, member: &str) -> BTreeMap<&str, &Person> {
        let own = self.members.get(member).into_iter().flat_map(|member| &member.people);
        self.config.people.iter().chain(own).map(|(name, person)| (&**name, person)).collect()
    }

    /// Templates of papers that take the place of shipped ones, by file name below `papers/`.
    pub fn papers(&self) -> &BTreeMap<String, String> {
        &self.papers
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.config.fleet
    }

    /// Path of the run log's database, absolute or relative to the fleet's directory.
    pub fn store(&self) -> &str {
        self.config.store.strip_prefix(STORE).unwrap_or(&self.config.store)
    }

    /// Connections open at the same time.
    pub fn connections(&self) -> usize {
        self.config.limits.connections as usize
    }

    /// How many people do manual steps at once, if somebody has said so.
    pub fn technicians(&self) -> Option<u32> {
        self.config.technicians.map(std::num::NonZeroU32::get)
    }

    /// Every host, by name.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// A host.
    pub fn host(&self, name: &HostName) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// Finds a host by `member/name`, or by `name` alone if only one host has it.
    ///
    /// # Errors
    /// The hosts that it could be: none, or more than one.
    pub fn find(&self, text: &str) -> Result<&Host, Vec<&HostName>> {
        if text.contains('/') {
            return self.hosts.get(&HostName(text.to_owned())).ok_or_else(Vec::new);
        }
        let mut found = self.hosts.values().filter(|host| host.name.name() == text);
        match (found.next(), found.next()) {
            (Some(host), None) => Ok(host),
            (None, _) => Err(Vec::new()),
            _ => Err(self.hosts.keys().filter(|name| name.name() == text).collect()),
        }
    }

    /// Every member, by name, with its printers and services; its hosts are in [`Fleet::hosts`].
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// A member.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }

    /// The host in the users' network that a member's services are measured from besides the controller.
    pub fn vantage(&self, member: &str) -> Option<HostName> {
        let given = self.members.get(member)?.vantage.as_ref()?;
        Some(if given.contains('/') { HostName(given.value.clone()) } else { HostName::new(member, given) })
    }

    /// Every profile by name, the shipped ones included.
    pub fn profiles(&self) -> &BTreeMap<String, Profile> {
        &self.profiles
    }

    /// Every playbook by name, the shipped ones included.
    pub fn playbooks(&self) -> &BTreeMap<String, Playbook> {
        &self.playbooks
    }

    /// The host, the one it replaces, and so on.
    fn ancestry<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = &'a Host> {
        let next = |host: &&'a Host| host.replaces.as_ref().and_then(|name| self.hosts.get(name));
        std::iter::successors(Some(host), next).take(CHAIN_MAX)
    }

    /// A host's profile: its own, or that of the host it replaces.
    pub fn profile_of<'a>(&'a self, host: &'a Host) -> Option<&'a str> {
        self.ancestry(host).find_map(|host| host.profile.as_deref())
    }

    /// The values that a host sets: its own over those of the host it replaces, unless it has a profile of its own.
    pub fn set_by<'a>(&'a self, host: &'a Host) -> BTreeMap<&'a str, &'a Value> {
        let mut values = BTreeMap::new();
        for host in self.ancestry(host) {
            for (name, value) in &host.parameters {
                values.entry(name.as_str()).or_insert(value);
            }
            if host.profile.is_some() {
                break;
            }
        }
        values
    }

    /// A profile and all that it includes, in the order in which they are applied, each once.
    pub fn closure(&self, profile: &str) -> Vec<&Profile> {
        let (mut order, mut seen) = (Vec::new(), HashSet::new());
        self.collect(profile, &mut order, &mut seen);
        order
    }

    fn collect<'a>(&'a self, name: &str, order: &mut Vec<&'a Profile>, seen: &mut HashSet<&'a str>) {
        if let Some((name, profile)) = self.profiles.get_key_value(name)
            && seen.insert(name)
        {
            for include in &profile.head.includes {
                self.collect(include, order, seen);
            }
            order.push(profile);
        }
    }

    /// The parameters of a profile, those of its includes among them; its own declaration counts.
    pub fn parameters(&self, profile: &str) -> BTreeMap<&str, &Parameter> {
        let declared = self.closure(profile).into_iter().flat_map(|p| &p.head.parameters);
        declared.map(|(name, parameter)| (name.as_str(), &parameter.value)).collect()
    }

    /// The values of a host's parameters, defaults filled in.
    pub fn parameters_of(&self, host: &Host) -> Map<String, Value> {
        let set = self.set_by(host).into_iter().map(|(name, value)| (name.to_owned(), value.clone()));
        let mut values = self.profile_of(host).map(|profile| self.defaults(profile)).unwrap_or_default();
        values.extend(set);
        values
    }

    /// The defaults of a profile's parameters.
    pub fn defaults(&self, profile: &str) -> Map<String, Value> {
        let declared = self.parameters(profile).into_iter();
        let default = |(name, p): (&str, &Parameter)| Some((name.to_owned(), p.default.as_ref()?.value.clone()));
        declared.filter_map(default).collect()
    }

    /// What templates know of a host. What is not known of it is left out, so that asking for it is an error.
    pub fn host_value(&self, host: &Host) -> Value {
        let parameters = self.parameters_of(host);
        let mut value = parameters.clone();
        let port = host.port.unwrap_or(self.config.ssh.port);
        let known = [
            ("name", Some(json!(host.name.name()))),
            ("id", Some(json!(host.name.0))),
            ("member", Some(json!(host.name.member()))),
            ("kind", Some(json!(host.kind))),
            ("port", Some(json!(port))),
            ("address", host.address.as_ref().map(|v| json!(v))),
            ("serial", host.serial.as_ref().map(|v| json!(v))),
            ("model", host.model.as_ref().map(|v| json!(v))),
            ("site", host.site.as_ref().map(|v| json!(v))),
            ("profile", self.profile_of(host).map(|v| json!(v))),
            ("parameters", Some(Value::Object(parameters))),
        ];
        value.extend(known.into_iter().filter_map(|(name, v)| Some((name.to_owned(), v?))));
        Value::Object(value)
    }

    /// What templates know of a member: `name` and `title`.
    pub fn member_value(&self, member: &str) -> Value {
        let title = self.members.get(member).map_or(member, |m| m.name.as_str());
        json!({ "name": member, "title": title })
    }

    /// What templates know of the fleet: `name` and `timezone`.
    pub fn fleet_value(&self) -> Value {
        json!({ "name": &**self.config.fleet, "timezone": self.config.timezone.value })
    }
}

/// The keys of a host that templates know besides its parameters.
pub const HOST_KEYS: [&str; 11] =
    ["name", "id", "member", "kind", "port", "address", "serial", "model", "site", "profile", "parameters"];
