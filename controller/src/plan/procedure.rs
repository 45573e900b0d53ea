//! A playbook expanded for its hosts: what is to be done where and in which order, before any host was looked at.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weiche_agent::digest::Digest;
use weiche_agent::protocol::{Step, StepId};

use crate::input::target::HostName;

/// A playbook with its inputs filled in and its templates rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct Procedure {
    /// Name of the playbook.
    pub playbook: String,
    /// Inputs as given, by name, with defaults filled in.
    pub inputs: BTreeMap<String, serde_json::Value>,
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
}

/// The smallest thing a plan speaks of. Step ids are `STAGE.NUMBER`, unique per host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
}

impl Action {
    /// The step's name.
    pub fn id(&self) -> &StepId {
        match self {
            Action::Resource(step) => &step.id,
            Action::Transfer(transfer) => &transfer.id,
            Action::Check(check) => &check.id,
            Action::Manual(manual) => &manual.id,
        }
    }
}

/// Makes `path` on this host the same as on `from`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The step.
    pub id: StepId,
    /// What is looked at.
    pub probe: Probe,
    /// The probe is repeated until it succeeds or this much time has passed.
    pub within: Duration,
}

/// Ways to look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// A program on the host ends with status 0.
    Command(Vec<String>),
}

/// An instruction to a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manual {
    /// The step.
    pub id: StepId,
    /// What to do.
    pub text: String,
}

/// Where the bytes of a content come from.
#[derive(Clone, Debug, PartialEq)]
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
