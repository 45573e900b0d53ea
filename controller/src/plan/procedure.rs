//! A playbook expanded for its hosts: what is to be done where and in which order, before any host was looked at.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weiche_agent::digest::Digest;
use weiche_agent::protocol::{Step, StepId};

use super::Metered;
use super::rules::Rules;
use crate::input::probe::RecordType;
use crate::input::room::Room;
use crate::input::scalar::Period;
use crate::input::target::{HostName, Watch};

/// A playbook with its inputs filled in and its templates rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct Procedure {
    /// The plan's, see there: the keys of its direct transfers were made with it.
    pub nonce: String,
    /// Name of the playbook.
    pub playbook: String,
    /// Inputs as given, by name, with defaults filled in.
    pub inputs: BTreeMap<String, serde_json::Value>,
    /// What members watch, by host.
    pub watch: BTreeMap<HostName, Watch>,
    /// The site of each host that has one.
    pub sites: BTreeMap<HostName, String>,
    /// The services that are measured throughout.
    pub meter: Vec<Metered>,
    /// In order.
    pub stages: Vec<Stage>,
    /// The contents that resource steps refer to by digest.
    pub contents: BTreeMap<Digest, Content>,
}

/// A stage: hosts in parallel, the actions of each in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Its name in the playbook, unique there.
    pub name: String,
    /// What each host of the stage does.
    pub hosts: BTreeMap<HostName, Vec<Action>>,
    /// If its hosts take turns: who does which steps, in order; each begins when the one before it is through. Taken back
    /// in the reverse order.
    pub turns: Vec<Turn>,
    /// In which waves, and when it stops.
    pub rules: Rules,
}

/// Steps of one host that follow one another in a stage whose hosts take turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Turn {
    /// Whose turn it is.
    pub host: HostName,
    /// Its steps, in order.
    pub steps: Vec<StepId>,
    /// On the way back, turns before it do not wait until it is taken back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside: bool,
}

/// The smallest thing a plan speaks of. Step ids are `STAGE.NUMBER`, unique per host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A resource on the host, carried out by its agent.
    Resource(Step),
    /// A directory tree brought here from another host.
    Transfer(Transfer),
    /// A look from outside or on the host; fails the stage if it does not succeed in time.
    Check(Check),
    /// An instruction to a person, who confirms it.
    Manual(Manual),
    /// A restart of the host.
    Reboot(Reboot),
}

impl Action {
    /// The step's name.
    pub fn id(&self) -> &StepId {
        match self {
            Action::Resource(step) => &step.id,
            Action::Transfer(transfer) => &transfer.id,
            Action::Check(check) => &check.id,
            Action::Manual(manual) => &manual.id,
            Action::Reboot(reboot) => &reboot.id,
        }
    }
}

/// Makes `path` on this host the same as on `from`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Transfer {
    /// The step.
    pub id: StepId,
    /// Where it comes from.
    pub from: HostName,
    /// Absolute path of the directory, the same on both hosts.
    pub path: String,
    /// Whether entries that the source does not have are removed here.
    pub delete: bool,
}

/// What is looked at, and for how long success is waited for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// The step.
    pub id: StepId,
    /// What is looked at.
    pub probe: Probe,
    /// The probe is repeated until it succeeds or this much time has passed.
    pub within: Duration,
    /// Pause between two attempts.
    pub every: Duration,
    /// Success is waited for rather than expected; for people.
    pub waits: bool,
}

/// Ways to look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// A TCP connection from the controller to `host:port` succeeds.
    Tcp(String),
    /// A GET from the controller is answered with this status.
    Http {
        /// `http://` or `https://`.
        url: String,
        /// The expected status.
        status: u16,
    },
    /// The DNS, asked from the controller, has records of this name.
    Dns {
        /// The name in full.
        name: String,
        /// Type of the records.
        r#type: RecordType,
        /// IP address of the server, perhaps with a port; `None`: those of the controller's system.
        server: Option<String>,
        /// Just these values, in any order; empty: any.
        expect: Vec<String>,
    },
    /// A TLS server, asked from the controller, has a certificate for a name that is valid for some time.
    Certificate {
        /// `host:port`.
        endpoint: String,
        /// The name; `None`: the endpoint's.
        name: Option<String>,
        /// Days that must be left.
        days_left: u32,
    },
    /// The same of a PEM file on the host.
    CertificateFile {
        /// Absolute.
        path: String,
        /// The name; `None`: any.
        name: Option<String>,
        /// Days that must be left.
        days_left: u32,
    },
    /// A unit on the host is active.
    Unit(String),
    /// The PostgreSQL on the host answers its user `postgres`.
    Postgres {
        /// Its database.
        database: String,
        /// SQL.
        query: String,
        /// The answer; `None`: any.
        expect: Option<String>,
    },
    /// A file system of the host has room.
    Disk {
        /// A path on it.
        path: String,
        /// At least.
        free: Room,
    },
    /// A file, or one below a directory, was written lately.
    Fresh {
        /// Absolute.
        path: String,
        /// Not longer ago.
        within: Duration,
    },
    /// The host's clock agrees with the controller's.
    Clock {
        /// To this.
        within: Duration,
    },
    /// Files that users have open on the host's shares are told.
    OpenFiles {
        /// So many may be open; `None`: any number.
        most: Option<u32>,
    },
    /// A program on the host ends with status 0.
    Command(Vec<String>),
}

impl Probe {
    /// Whether it is looked at on the host, not from the controller.
    pub fn on_host(&self) -> bool {
        match self {
            Probe::Tcp(_) | Probe::Http { .. } | Probe::Dns { .. } | Probe::Certificate { .. } => false,
            Probe::CertificateFile { .. } | Probe::Unit(_) | Probe::Postgres { .. } | Probe::Command(_) => true,
            Probe::Disk { .. } | Probe::Fresh { .. } | Probe::Clock { .. } | Probe::OpenFiles { .. } => true,
        }
    }

    /// Whether it is one connection, which another host can make as well.
    pub fn is_connection(&self) -> bool {
        matches!(self, Probe::Tcp(_) | Probe::Http { .. } | Probe::Certificate { .. })
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificate = |f: &mut fmt::Formatter<'_>, place: &str, name: &Option<String>, days: &u32| {
            let name = name.as_ref().map(|name| format!(" for {name}")).unwrap_or_default();
            write!(f, "certificate of {place}{name}, valid for {days} days")
        };
        match self {
            Probe::Tcp(address) => write!(f, "tcp {address}"),
            Probe::Http { url, status } => write!(f, "http {url} answers {status}"),
            Probe::Dns { name, r#type, server, expect } => {
                write!(f, "dns {} {name}", r#type.as_str())?;
                if !expect.is_empty() {
                    write!(f, " is {}", expect.join(", "))?;
                }
                server.iter().try_for_each(|server| write!(f, " at {server}"))
            }
            Probe::Certificate { endpoint, name, days_left } => certificate(f, endpoint, name, days_left),
            Probe::CertificateFile { path, name, days_left } => certificate(f, path, name, days_left),
            Probe::Unit(unit) => write!(f, "unit {unit} is active"),
            Probe::Postgres { database, query, expect } => {
                write!(f, "postgres {database}: {query}")?;
                expect.iter().try_for_each(|expect| write!(f, " answers {expect}"))
            }
            Probe::Disk { path, free } => write!(f, "disk of {path} has {free} free"),
            Probe::Fresh { path, within } => write!(f, "{path} was written within {}", Period(*within)),
            Probe::Clock { within } => write!(f, "clock agrees to {}", Period(*within)),
            Probe::OpenFiles { most: None } => write!(f, "files that users have open"),
            Probe::OpenFiles { most: Some(most) } => write!(f, "at most {most} files that users have open"),
            Probe::Command(argv) => write!(f, "command {}", argv.join(" ")),
        }
    }
}

/// A restart of the host; success is a new boot id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reboot {
    /// The step.
    pub id: StepId,
    /// Why, for people.
    pub reason: Option<String>,
    /// The host must answer from a new boot before this much time has passed.
    pub within: Duration,
}

/// An instruction to a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manual {
    /// The step.
    pub id: StepId,
    /// What to do.
    pub text: String,
    /// Who is to do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How long it is expected to take. Nothing ends when it has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes: Option<Duration>,
}

impl fmt::Display for Manual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        let takes = self.takes.and_then(|takes| jiff::SignedDuration::try_from(takes).ok());
        match (&self.by, takes) {
            (Some(by), Some(takes)) => write!(f, " ({by}, about {takes:#})"),
            (Some(by), None) => write!(f, " ({by})"),
            (None, Some(takes)) => write!(f, " (about {takes:#})"),
            (None, None) => Ok(()),
        }
    }
}

/// Where the bytes of a content come from.
#[derive(Clone, PartialEq)]
pub enum Content {
    /// Inline or rendered.
    Text(String),
    /// A file, absolute or relative to the fleet's directory, with its length; streamed, never held in memory.
    File {
        /// Where it is.
        path: PathBuf,
        /// Length in bytes when it was read.
        size: u64,
    },
    /// Fetched from this address before a run begins, if a host needs it.
    Url(String),
}

impl fmt::Debug for Content {
    /// Texts may be secrets, which are in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Content::File { path, size } => write!(f, "File({}, {size} bytes)", path.display()),
            Content::Url(url) => write!(f, "Url({url})"),
        }
    }
}
