//! The rollout as a sans-I/O state machine: happenings in, actions out; no clock, no socket, no randomness.
//!
//! What happened is the list of [`Happening`]s. Where a run stands is their fold ([`Rollout::on`]), in live execution and
//! after a crash of the controller alike; what is to be done now follows from that and from the time ([`Rollout::next`]).
//! Stages in order; in each, waves in order; the hosts of a wave in parallel. A stage that has failed enough
//! ([`rules::StopRule`]) begins nothing more, lets what has begun end, and is taken back or held, as its rules say.

mod fold;
mod machine;
pub mod meter;
mod probed;
pub mod reckoning;
mod stage;
mod tally;
mod todo;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weiche_agent::protocol::{Difference, Digest, Fault, Manifest, StepEvent, StepId};

use crate::approval::gate::Approval;
use crate::input::target::HostName;
use meter::{Blank, Gap, Measure};
use reckoning::Reckoning;
use rules::Scope;

pub use crate::plan::rules;
pub use machine::{Rollout, Standing};
pub use stage::{Cell, Fate, Part, parts};

/// Something that happened in a run: what the run log holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// The run began; from now on the plan is used.
    RunStarted {
        /// Digest of its plan.
        plan: Digest,
        /// Playbook, for people.
        playbook: String,
    },
    /// The first wave of the stage may begin.
    StageStarted {
        /// The stage.
        stage: String,
    },
    /// Another wave of the stage may begin.
    WaveStarted {
        /// The stage.
        stage: String,
        /// Its number; the first one, which begins with the stage, is 0.
        wave: usize,
    },
    /// The host is about to be changed by the stage for the first time.
    HostBegun {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
    },
    /// An agent (or the controller, for its own steps) reported on a step.
    Step {
        /// The host.
        host: HostName,
        /// What it reported.
        event: StepEvent,
    },
    /// The host's part of the stage is through.
    HostDone {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
    },
    /// The host's part of the stage is confirmed: its guard will not take it back any more.
    HostConfirmed {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
    },
    /// The host is switched off; its part of the stage is done when it appears.
    HostOffline {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
        /// What was tried.
        fault: Fault,
    },
    /// The host was switched off for too long: it is not waited for any more.
    HostGivenUp {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
    },
    /// The host's part of the stage failed.
    HostFailed {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
        /// Why.
        fault: Fault,
    },
    /// The host waits for a person; the run goes on with `weiche done` and `weiche resume`.
    HostWaits {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
        /// The manual step.
        step: StepId,
        /// What the person is to do.
        text: String,
    },
    /// The host's manifest was taken, before its first change.
    HostWitnessed {
        /// The host.
        host: HostName,
        /// What was listed.
        manifest: Manifest,
    },
    /// The host was compared with its manifest.
    HostVerified {
        /// The host.
        host: HostName,
        /// What came of it.
        verdict: Verdict,
    },
    /// The host is about to be restarted.
    Rebooting {
        /// The host.
        host: HostName,
        /// The step that asks for it.
        step: StepId,
        /// Its boot id until then: once it has another, the step is done.
        boot_id: String,
    },
    /// The services that the stage probes work after its wave.
    ServicesWork {
        /// The stage.
        stage: String,
        /// The wave.
        wave: usize,
    },
    /// A service that the stage probes does not work.
    ServiceFailed {
        /// The stage.
        stage: String,
        /// `member/service`.
        service: String,
        /// What was seen.
        fault: Fault,
    },
    /// A service that is measured throughout does not answer any more.
    ServiceAway {
        /// `member/service`.
        service: String,
        /// The host in the users' network that it was seen from; `None`: from the controller.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vantage: Option<HostName>,
        /// Since when, and what was seen.
        gap: Gap,
    },
    /// It answers again.
    ServiceBack {
        /// `member/service`.
        service: String,
        /// The host in the users' network that it was seen from; `None`: from the controller.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vantage: Option<HostName>,
        /// How long it was away.
        gap: Gap,
    },
    /// Whether a service answers cannot be told from its vantage host any more: nothing is measured from there.
    ServiceUntold {
        /// `member/service`.
        service: String,
        /// The host that it was seen from.
        vantage: HostName,
        /// Since when, and why.
        blank: Blank,
    },
    /// It is measured from there again.
    ServiceTold {
        /// `member/service`.
        service: String,
        /// The host that it is seen from.
        vantage: HostName,
        /// For how long it was not.
        blank: Blank,
    },
    /// How a service was measured while the run was driven, without a break.
    ServiceMeasured {
        /// `member/service`.
        service: String,
        /// The host in the users' network that it was seen from; `None`: from the controller.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vantage: Option<HostName>,
        /// What came of it.
        measure: Measure,
    },
    /// How the run lies in time.
    Reckoned {
        /// As things stand.
        reckoning: Reckoning,
    },
    /// The stage has stopped itself; nothing begins until a person decides.
    Held {
        /// The stage.
        stage: String,
        /// Why, in words.
        reason: String,
    },
    /// A person approves a stage.
    Approved {
        /// The stage.
        stage: String,
        /// Who, and as what.
        approval: Approval,
        /// What was signed.
        statement: String,
        /// The signature over it (OpenSSH's).
        signature: String,
    },
    /// A person ticks off an item of a stage's checklist.
    Ticked {
        /// The stage.
        stage: String,
        /// The item.
        item: String,
        /// Who.
        by: String,
    },
    /// A person wants nothing more to begin.
    Paused {
        /// Who.
        by: String,
    },
    /// A person ends the run: what works ends its part of the stage, then everything goes back, or stays as it is.
    Aborted {
        /// Who.
        by: String,
        /// Everything stays as it is.
        leave: bool,
    },
    /// A person lets a paused or held run go on; what has failed until now does not count any more.
    Continued {
        /// Who.
        by: String,
    },
    /// The run, or a part of it, turns back.
    RollbackStarted {
        /// Why, in words.
        reason: String,
        /// What is taken back.
        #[serde(default)]
        scope: Scope,
        /// Also what others have changed since is taken back; a copy of it is kept.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        over_drift: bool,
    },
    /// The host's part of the stage is as it was.
    HostUndone {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
    },
    /// The host could not be taken back: a person is needed.
    HostStuck {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
        /// The steps that remain.
        steps: Vec<StepId>,
        /// Why.
        fault: Fault,
    },
    /// A person has dealt with a host that was stuck.
    HostSettled {
        /// The host.
        host: HostName,
        /// Who.
        by: String,
        /// How.
        how: Settled,
        /// Why, in words.
        reason: String,
    },
    /// The run is through, for now.
    RunEnded {
        /// How.
        outcome: Outcome,
    },
}

/// What came of comparing a host with its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// What it was compared with.
    pub manifest: Manifest,
    /// How many things differ; 0: identical.
    pub differences: u64,
    /// The first of them.
    pub told: Vec<Difference>,
}

impl Verdict {
    /// Whether nothing differs.
    pub fn identical(&self) -> bool {
        self.differences == 0
    }
}

/// How a person has dealt with a host that was stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// The cause is mended: it is to be taken back once more.
    Retry,
    /// It was taken back by hand.
    ByHand,
    /// It stays as it is, for better or worse.
    Forward,
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Settled::Retry => "tried again",
            Settled::ByHand => "taken back by hand",
            Settled::Forward => "left as it is",
        })
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every host is new.
    Done,
    /// Some hosts are new; every other is as it was.
    Partial,
    /// Every host is as it was.
    RolledBack,
    /// Every host was taken back, but at least one differs from its manifest.
    Differs,
    /// At least one host could not be taken back.
    Stuck,
    /// A person has ended it and left every host as it is.
    Left,
}

/// What the driver is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Carry out the host's part of a stage.
    Run {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
    },
    /// Confirm the host's part of a stage over a new connection, once its probes pass.
    Confirm {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
    },
    /// Take back the host's part of a stage.
    Undo {
        /// The host.
        host: HostName,
        /// The stage.
        stage: String,
        /// Also what others have changed since.
        over_drift: bool,
        /// Nothing of the run is left on the host then: compare it with its manifest.
        verify: bool,
    },
    /// Write this into the run log and feed it back.
    Record(Happening),
}

#[cfg(test)]
mod tests;
