//! `weiche.yaml`: what holds for the whole fleet.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::paper::{Language, Person};
use super::scalar::{Name, Period};
use super::target::{AgentPlace, Become};
use super::webhook::Webhook;
use super::yaml::Located;

/// What holds for the whole fleet.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the fleet.
    pub fleet: Located<Name>,
    /// IANA time zone in which windows are meant, e.g. `Europe/Berlin`.
    pub timezone: Located<String>,
    /// Calendar of public holidays, e.g. `DE-ST`.
    #[serde(default)]
    pub holidays: Option<Located<String>>,
    /// How hosts are reached.
    pub ssh: Ssh,
    /// Where and how the agent runs.
    #[serde(default)]
    pub agent: AgentPlace,
    /// How much at once.
    #[serde(default)]
    pub limits: Limits,
    /// How many people do manual steps at once; as many as it takes, if it is not given.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub technicians: Option<std::num::NonZeroU32>,
    /// Where runs are kept: `sqlite:PATH`, absolute or relative to the fleet's directory.
    #[serde(default = "Config::default_store")]
    pub store: String,
    /// OpenSSH `allowed_signers` file, relative to the fleet's directory.
    #[serde(default)]
    pub approvers: Option<Located<String>>,
    /// Who else is told of what happens in runs.
    #[serde(default)]
    pub webhooks: Vec<Webhook>,
    /// Language of papers.
    #[serde(default)]
    pub language: Language,
    /// Who has to do with runs, by the short name that a manual step's `by` may give.
    #[serde(default)]
    pub people: BTreeMap<Name, Person>,
}

impl Config {
    fn default_store() -> String {
        String::from("sqlite:.weiche/weiche.db")
    }
}

/// How hosts are reached.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ssh {
    /// Login name.
    pub user: String,
    /// `agent`, or a private key file: absolute, `~/...`, or relative to the fleet's directory.
    #[serde(default = "Ssh::default_identity")]
    pub identity: String,
    /// Not needed: host keys are pinned in the members' files.
    #[serde(default)]
    pub known_hosts: Option<String>,
    /// A host of the fleet, `member/name`, that all others are reached through.
    #[serde(default)]
    pub jump: Option<Located<String>>,
    /// How the agent becomes root.
    #[serde(default)]
    pub r#become: Become,
    /// TCP port of sshd.
    #[serde(default = "Ssh::default_port")]
    pub port: u16,
    /// Key exchange methods offered, most preferred first.
    #[serde(default)]
    pub key_exchange: Vec<String>,
    /// From the first packet to a working channel.
    #[serde(default = "Ssh::default_connect_timeout")]
    pub connect_timeout: Period,
    /// A line on which the host answers nothing for this long counts as cut.
    #[serde(default = "Ssh::default_silence_timeout")]
    pub silence_timeout: Period,
}

impl Ssh {
    fn default_identity() -> String {
        String::from("agent")
    }

    fn default_port() -> u16 {
        22
    }

    /// Long enough for a line with losses, short enough that a host that is off is noticed.
    fn default_connect_timeout() -> Period {
        Period(std::time::Duration::from_secs(10))
    }

    /// Long enough for a router that starts anew; the agent goes on with its step in any case.
    fn default_silence_timeout() -> Period {
        Period(std::time::Duration::from_secs(60))
    }
}

/// What one host does differently.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SshOverride {
    /// See [`Ssh::user`].
    #[serde(default)]
    pub user: Option<String>,
    /// See [`Ssh::identity`].
    #[serde(default)]
    pub identity: Option<String>,
    /// A host to go through; `null` for none at all.
    #[serde(default, deserialize_with = "even_null")]
    pub jump: Option<Option<Located<String>>>,
    /// See [`Ssh::become`].
    #[serde(default)]
    pub r#become: Option<Become>,
    /// See [`Ssh::key_exchange`].
    #[serde(default)]
    pub key_exchange: Option<Vec<String>>,
    /// See [`Ssh::connect_timeout`].
    #[serde(default)]
    pub connect_timeout: Option<Period>,
    /// See [`Ssh::silence_timeout`].
    #[serde(default)]
    pub silence_timeout: Option<Period>,
}

/// Tells `null` from a missing key.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Located<String>>>, D::Error> {
    Option::<Located<String>>::deserialize(deserializer).map(Some)
}

/// How much at once.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Connections open at the same time.
    #[serde(default = "Limits::default_connections")]
    pub connections: u32,
}

impl Limits {
    /// What one controller and its line bear easily.
    fn default_connections() -> u32 {
        50
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { connections: Limits::default_connections() }
    }
}
