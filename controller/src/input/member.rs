//! `members/*.yaml`: a member administration with its sites, windows, services and devices.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::config::SshOverride;
use super::paper::{Language, Person};
use super::probe::ProbeForm;
use super::scalar::{Name, Period};
use super::target::AgentPlace;
use super::window::WindowForm;
use super::yaml::Located;

/// The keys that hold devices; they are decoded one device at a time.
pub const DEVICES: [&str; 3] = ["servers", "pcs", "printers"];

/// A member administration.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its short name.
    pub member: Located<Name>,
    /// Its name in full.
    pub name: String,
    /// Buildings or localities, by short name.
    #[serde(default)]
    pub sites: BTreeMap<Name, Site>,
    /// Maintenance windows, by name.
    #[serde(default)]
    pub windows: BTreeMap<Name, WindowForm>,
    /// Who approves for the member: principals of the fleet's `approvers` file. All others there are technicians.
    #[serde(default)]
    pub approvers: Vec<Located<String>>,
    /// What users notice, by name.
    #[serde(default)]
    pub services: BTreeMap<Name, Located<Service>>,
    /// A host of the member in the users' network: what is measured from the controller is measured from there too.
    #[serde(default)]
    pub vantage: Option<Located<String>>,
    /// What is compared before and after a run on each of its hosts, besides what the run manages.
    #[serde(default)]
    pub watch: Vec<Located<String>>,
    /// What is left out of that.
    #[serde(default)]
    pub unwatched: Vec<Located<String>>,
    /// Language of its papers; the fleet's if it is not given.
    #[serde(default)]
    pub language: Option<Language>,
    /// Its own people, by short name; one of the fleet of the same name is not meant then.
    #[serde(default)]
    pub people: BTreeMap<Name, Person>,
    /// Its servers.
    #[serde(default)]
    pub servers: Vec<Device>,
    /// Its PCs.
    #[serde(default)]
    pub pcs: Vec<Device>,
    /// Its printers.
    #[serde(default)]
    pub printers: Vec<Printer>,
}

/// A building or locality.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Where it is.
    pub address: String,
}

/// What users notice.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// How to see that it works.
    pub probe: ProbeForm,
    /// How long it may be away during a change.
    #[serde(default)]
    pub downtime_budget: Option<Period>,
}

/// A server or PC as written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Host")]
pub struct Device {
    /// Its name, unique in the member.
    pub name: Located<Name>,
    /// IP address or DNS name; without one it cannot be reached yet.
    #[serde(default)]
    pub address: Option<Located<String>>,
    /// TCP port of its sshd, if not the fleet's.
    #[serde(default)]
    pub port: Option<u16>,
    /// The public host key, `ssh-ed25519 AAAA...`.
    #[serde(default)]
    pub host_key: Option<Located<String>>,
    /// Serial number of the machine; before the first change it must be what the machine itself says.
    #[serde(default)]
    pub serial: Option<String>,
    /// `/etc/machine-id` of its system, likewise: for machines whose firmware tells no serial number.
    #[serde(default)]
    #[schemars(extend("pattern" = "^[0-9a-f]{32}$"))]
    pub machine_id: Option<String>,
    /// Address of its network card, `00:00:5e:00:53:01`: another host on its site can wake it.
    #[serde(default)]
    pub mac: Option<Located<String>>,
    /// Model, for people.
    #[serde(default)]
    pub model: Option<String>,
    /// A site of the member.
    #[serde(default)]
    pub site: Option<Located<String>>,
    /// What is to be on it.
    #[serde(default)]
    pub profile: Option<Located<String>>,
    /// Values for the profile's parameters.
    #[serde(default)]
    pub parameters: BTreeMap<String, Value>,
    /// The host whose place it takes; profile and parameters are inherited from it.
    #[serde(default)]
    pub replaces: Option<Located<String>>,
    /// For selectors.
    #[serde(default)]
    pub labels: Vec<String>,
    /// If it is leased.
    #[serde(default)]
    pub lease: Option<Lease>,
    /// What differs from the fleet's `ssh`.
    #[serde(default)]
    pub ssh: Option<SshOverride>,
    /// Instead of the fleet's `agent`.
    #[serde(default)]
    pub agent: Option<AgentPlace>,
}

/// A leasing contract.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// Its number.
    pub contract: String,
    /// Its last day, `2029-06-30`.
    #[schemars(with = "String", extend("format" = "date"))]
    pub ends: jiff::civil::Date,
}

/// A printer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Printer {
    /// Its name, unique in the member.
    pub name: Located<Name>,
    /// A site of the member.
    #[serde(default)]
    pub site: Option<Located<String>>,
    /// Floor; 0 is the ground floor.
    #[serde(default)]
    pub floor: Option<i32>,
    /// Room, for people.
    #[serde(default)]
    pub room: Option<String>,
    /// Make and model.
    #[serde(default)]
    pub model: Option<String>,
    /// Serial number.
    #[serde(default)]
    pub serial: Option<String>,
    /// IP address or DNS name.
    #[serde(default)]
    pub address: Option<Located<String>>,
    /// Whether it prints in colour.
    #[serde(default)]
    pub colour: bool,
    /// Whether it prints both sides.
    #[serde(default)]
    pub duplex: bool,
    /// Measured load.
    #[serde(default)]
    pub pages_per_month: u32,
    /// The printer that takes over its jobs: this one is to go.
    #[serde(default)]
    pub replaced_by: Option<Located<String>>,
    /// If it is leased.
    #[serde(default)]
    pub lease: Option<Lease>,
    /// For selectors.
    #[serde(default)]
    pub labels: Vec<String>,
}
