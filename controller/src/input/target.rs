//! How to reach a host: everything that the SSH layer needs, resolved from `weiche.yaml`, the member and the host.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weiche_agent::protocol::Expect;

/// A host's name in full: `member/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct HostName(pub String);

impl HostName {
    /// Joins the two parts.
    pub fn new(member: &str, name: &str) -> HostName {
        HostName(format!("{member}/{name}"))
    }

    /// The part before the slash.
    pub fn member(&self) -> &str {
        self.0.split_once('/').map_or("", |(member, _)| member)
    }

    /// The part behind the slash.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, name)| name)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a host that is switched off is woken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wake {
    /// Address of its network card.
    pub mac: String,
    /// Hosts on its site that may send the packet.
    pub through: Vec<HostName>,
}

/// Everything needed to reach a host and start the agent on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Its name in the fleet.
    pub name: HostName,
    /// Address or DNS name.
    pub address: String,
    /// TCP port of its sshd.
    pub port: u16,
    /// Which machine is to be there.
    pub expect: Expect,
    /// Login name.
    pub user: String,
    /// Where the private key is.
    pub identity: Identity,
    /// The pinned host key in OpenSSH's one-line form, `ssh-ed25519 AAAA...`.
    pub host_key: String,
    /// How the agent becomes root.
    pub r#become: Become,
    /// How it is woken; `None`: it has no card's address, or nobody on its site can be reached.
    pub wake: Option<Wake>,
    /// A host to go through, itself reached the same way.
    pub jump: Option<Box<Target>>,
    /// Where and how the agent runs.
    pub agent: AgentPlace,
    /// Key exchange methods offered, most preferred first; empty means the default offer.
    pub key_exchange: Vec<String>,
    /// From the first packet to a working channel.
    pub connect_timeout: Duration,
    /// A line on which nothing is answered for this long counts as cut.
    pub silence_timeout: Duration,
}

/// Where a private key is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// In a running ssh-agent (`SSH_AUTH_SOCK`).
    Agent,
    /// In a file.
    File(PathBuf),
}

/// How the agent becomes root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Become {
    /// Not at all: the login is root, or the host is a sandbox.
    None,
    /// `sudo -n`: refused at once if it asks for a password.
    #[default]
    Sudo,
}

/// Where and how the agent runs on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentPlace {
    /// The agent's state directory; relative to the login's home directory if it has no leading `/`.
    #[serde(default = "AgentPlace::default_directory")]
    pub directory: String,
    /// Work below this directory instead of `/` (containers' images, tests).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Simulate package, unit and account programs (needs `root`).
    #[serde(default)]
    pub simulate: bool,
}

impl AgentPlace {
    fn default_directory() -> String {
        String::from("/var/lib/weiche")
    }
}

impl Default for AgentPlace {
    fn default() -> AgentPlace {
        AgentPlace { directory: AgentPlace::default_directory(), root: None, simulate: false }
    }
}

/// Paths that belong to a host's manifest although no step manages them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Watch {
    /// With all that lies below.
    pub paths: Vec<String>,
    /// But not these, with all that lies below.
    pub except: Vec<String>,
}
