//! The words of a stage's rules: how many hosts, among which, what is taken back, who approves.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A number of hosts; written as a number, or as a share such as `5%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "AmountForm", into = "AmountForm")]
#[schemars(with = "AmountForm")]
pub enum Amount {
    /// So many.
    Hosts(usize),
    /// So many of a hundred.
    Percent(u8),
}

impl Amount {
    /// Whether `part` of `whole` hosts reach it; no host never does.
    pub fn reached(self, part: usize, whole: usize) -> bool {
        part > 0
            && match self {
                Amount::Hosts(n) => part >= n,
                Amount::Percent(p) => part * 100 >= usize::from(p) * whole,
            }
    }

    /// So many of `whole` hosts, a part of one being one.
    pub fn of(self, whole: usize) -> usize {
        match self {
            Amount::Hosts(n) => n,
            Amount::Percent(p) => (whole * usize::from(p)).div_ceil(100),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Hosts(n) => write!(f, "{n}"),
            Amount::Percent(p) => write!(f, "{p} %"),
        }
    }
}

/// Among which hosts failures are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// Those of the wave.
    Wave,
    /// Those of the stage.
    Stage,
    /// All of the run.
    Run,
    /// Those of any one member in the stage.
    Member,
    /// Those of any one site in the stage.
    Site,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Over::Wave => "wave",
            Over::Stage => "stage",
            Over::Run => "run",
            Over::Member => "member",
            Over::Site => "site",
        })
    }
}

/// A stage stops once so many of these hosts have failed. Unreachable, hung and drifted hosts have failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StopRule {
    /// So many.
    pub failed: Amount,
    /// Of these.
    pub over: Over,
}

impl fmt::Display for StopRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of a {}", self.failed, self.over)
    }
}

/// What is taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The stage, on the hosts that failed.
    Host,
    /// The stage, on the hosts of the wave.
    Wave,
    /// The stage.
    Stage,
    /// Everything.
    #[default]
    Run,
}

/// What happens when a stage stops itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnStop {
    /// So much is taken back.
    Rollback(Scope),
    /// Nothing begins any more; a person decides.
    Hold,
    /// The stage is taken back, and its hosts have no part in those behind it; a person decides whether the others go on.
    SetAside,
}

/// What happens when a stage is still at work at the end of its window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overrun {
    /// Nothing begins any more; a person decides.
    #[default]
    Hold,
    /// The stage is taken back.
    Rollback,
}

impl Default for OnStop {
    fn default() -> OnStop {
        OnStop::Rollback(Scope::Run)
    }
}

/// As what a person approves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// For the member administration: its `approvers`.
    Member,
    /// For those who run the fleet: all others in the file of approvers.
    Technician,
}

impl Role {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::Technician => "technician",
        }
    }
}

/// An [`Amount`] as it is written: a number, or a text such as `5%`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum AmountForm {
    /// So many.
    Number(usize),
    /// So many of a hundred.
    Text(String),
}

impl TryFrom<AmountForm> for Amount {
    type Error = String;

    fn try_from(form: AmountForm) -> Result<Amount, String> {
        let amount = match &form {
            AmountForm::Number(n) => (*n > 0).then_some(Amount::Hosts(*n)),
            AmountForm::Text(text) => Amount::parse(text),
        };
        amount.ok_or_else(|| String::from("expected a number of hosts from 1, or a share from `1%` to `100%`"))
    }
}

impl From<Amount> for AmountForm {
    fn from(amount: Amount) -> AmountForm {
        match amount {
            Amount::Hosts(n) => AmountForm::Number(n),
            Amount::Percent(p) => AmountForm::Text(format!("{p}%")),
        }
    }
}

impl Amount {
    /// Reads a share, such as `5%`.
    pub(super) fn parse(text: &str) -> Option<Amount> {
        let percent: u8 = text.strip_suffix('%')?.trim_end().parse().ok()?;
        (1..=100).contains(&percent).then_some(Amount::Percent(percent))
    }
}
