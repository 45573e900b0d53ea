//! The vocabulary of the wire: one `Hello` line, then length-prefixed frames both ways over stdin and stdout.
//!
//! Controller and agent are always of the same build (the controller carries the agent), so messages have no versions.
//! Only [`Hello`] never changes. One [`Request`] is answered by any number of replies, the last of which
//! [`Reply::ends`]; blobs that a stage needs are sent ahead of it and are not answered at all, so that a stage costs one
//! round trip however many steps and contents it has.

mod entry;
mod event;
mod expect;
pub mod facts;
mod frame;
mod guard;
mod mac;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::digest::Digest;
pub use crate::fault::{Fault, FaultCode};
pub use entry::{Entry, EntryKind, HostPath};
pub use event::{Status, StepEvent, StepOutcome, StepStatus};
pub use expect::{Expect, Proof};
pub use facts::Facts;
pub use frame::{Frame, MAX_DATA, MAX_MESSAGE, read_frame, write_data, write_message};
pub use guard::{GuardState, GuardStatus, MAX_GUARD_MS};
pub use mac::mac;

/// A digest of the sources that this agent was built from; the controller's library has the same constant.
pub const BUILD: &str = env!("WEICHE_AGENT_BUILD");

/// The first line that an agent writes, and all that two different builds understand of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// [`BUILD`] of the agent.
    pub build: String,
}

impl Hello {
    const MAGIC: &str = "weiche-agent hello ";

    /// Reads a line without its newline; `None` if this is not a `Hello`.
    pub fn parse(line: &str) -> Option<Hello> {
        line.strip_prefix(Hello::MAGIC).map(|build| Hello { build: build.to_owned() })
    }
}

impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Hello::MAGIC, self.build)
    }
}

/// Names one execution of a plan, on the controller and in every journal: letters, digits and `-`, at most 64.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct RunId(String);

impl RunId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = String;

    fn try_from(text: String) -> Result<RunId, String> {
        let ok = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(ok) && !text.starts_with('-') {
            Ok(RunId(text))
        } else {
            Err(format!("`{text}` is no run id (letters, digits and `-`, at most 64)"))
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names a step within a run and host: `STAGE.NUMBER`, e.g. `build.3`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct StepId(pub String);

impl StepId {
    /// The stage that it is of: what stands before the last dot.
    pub fn stage(&self) -> Option<&str> {
        self.0.rsplit_once('.').map(|(stage, _)| stage)
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The smallest unit that is journalled: one resource and what it shall be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Its name within the run.
    pub id: StepId,
    /// The resource kind, a name in [`crate::resource::kinds`].
    pub kind: String,
    /// What is wanted, in the form of that kind.
    pub spec: Value,
    /// Steps on the same host; if one of them changed something, this one has to react (`restart_on`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watches: Vec<StepId>,
    /// Journalled even if nothing changes going forward, because its undo has work to do once the steps after it are
    /// undone (a unit that must be restarted on its old configuration).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anchor: bool,
    /// After this many milliseconds what the step started is ended and the step has failed.
    pub timeout_ms: u64,
    /// A rehearsed fault; agents that work on a real `/` refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inject: Option<Injection>,
}

/// What goes wrong in a rehearsal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Injection {
    /// The step fails after it has changed the host.
    Fail,
    /// The agent dies (SIGKILL) after the step has changed the host, before that is journalled.
    Crash,
    /// The step never ends; its deadline ends it.
    Hang,
}

/// What the controller asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Answered by [`Reply::Facts`].
    Facts,
    /// Reads the state of each step's resource, changing nothing. Answered by [`Reply::Observed`].
    Observe {
        /// In order: what an earlier step would change is taken into account for `watches`.
        steps: Vec<Step>,
    },
    /// A content that a following stage of this run will need; followed by data frames of `size` bytes. Not answered.
    Blob {
        /// The run that will need it.
        run: RunId,
        /// Checked after the last byte.
        digest: Digest,
        /// Length in bytes.
        size: u64,
    },
    /// A content whose digest is known only at its end: data frames follow, then [`Request::BlobEnd`]. Not answered.
    BlobStream {
        /// The run that will need it.
        run: RunId,
    },
    /// Ends a [`Request::BlobStream`]. Not answered.
    BlobEnd {
        /// Of the bytes that were sent.
        digest: Digest,
    },
    /// Applies steps in order, stopping at the first that fails. Answered by events and [`Reply::StageEnd`].
    Stage {
        /// The run that this belongs to.
        run: RunId,
        /// Only these steps, already carried out ones are skipped.
        steps: Vec<Step>,
        /// Refused with `WrongHost`, before anything is changed, if the host is another one.
        #[serde(default)]
        expect: Expect,
        /// Rehearsal: SIGKILL to itself after this many journal records of this request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crash_after_records: Option<u64>,
        /// They are the last of a guarded stage: from their end on it has to be confirmed within so many milliseconds, also
        /// if they have cut the line and nobody can tell the host so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm_ms: Option<u64>,
    },
    /// Takes back, last first, what the journal of the run holds. Answered by events and [`Reply::UndoEnd`].
    Undo {
        /// The run to take back.
        run: RunId,
        /// Only steps of this stage (the part of the id before the dot); all if `None`.
        stage: Option<String>,
        /// Only these of them; all if empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        only: Vec<StepId>,
        /// Also where others have changed since what the run had made; what they left is kept.
        #[serde(default)]
        over_drift: bool,
        /// As for `Stage`.
        #[serde(default)]
        expect: Expect,
        /// Rehearsal, as for `Stage`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crash_after_records: Option<u64>,
    },
    /// Arms a stage's guard before its first change, or moves its deadline: if nobody confirms in time, the host takes
    /// the stage back by itself. Answered by [`Reply::Guard`].
    Arm {
        /// The run.
        run: RunId,
        /// The part of its steps' ids before the dot.
        stage: String,
        /// SHA-256 of the nonce; the same again for a new deadline.
        nonce: Digest,
        /// From now; at most [`MAX_GUARD_MS`].
        within_ms: u64,
        /// As for `Stage`.
        #[serde(default)]
        expect: Expect,
    },
    /// Says that the stage may stay: disarms its guard for good. Answered by [`Reply::Guard`].
    Confirm {
        /// The run.
        run: RunId,
        /// The stage.
        stage: String,
        /// The only thing that confirms.
        nonce: String,
        /// As for `Stage`.
        #[serde(default)]
        expect: Expect,
    },
    /// Takes the stage back now, as its guard would. Answered by events and [`Reply::UndoEnd`].
    Cancel {
        /// The run.
        run: RunId,
        /// The stage.
        stage: String,
        /// As for `Confirm`.
        nonce: String,
        /// As for `Stage`.
        #[serde(default)]
        expect: Expect,
    },
    /// Asks how a guard stands; waits for no other agent. Answered by [`Reply::Guard`].
    Guarded {
        /// The run.
        run: RunId,
        /// The stage.
        stage: String,
    },
    /// Wakes a machine on one of the host's networks. Answered by [`Reply::Woken`].
    Wake {
        /// Its network card's address: six bytes in hexadecimal with `:` or `-` between them.
        mac: String,
    },
    /// Lists what a run will manage, before its first change; a list that is there already stays. Answered by
    /// [`Reply::Witnessed`].
    Witness {
        /// The run.
        run: RunId,
        /// What is listed.
        scope: Scope,
        /// As for `Stage`.
        #[serde(default)]
        expect: Expect,
    },
    /// Compares the list of [`Request::Witness`] with what is there now. Answered by any number of
    /// [`Reply::Difference`] and [`Reply::Verified`].
    Verify {
        /// The run.
        run: RunId,
    },
    /// Tells the paths of that list. Answered by any number of [`Reply::Entries`] and [`Reply::End`].
    Export {
        /// The run.
        run: RunId,
    },
    /// Asks the journal. Answered by [`Reply::Journal`].
    Journal {
        /// The run in question.
        run: RunId,
    },
    /// Compares what the newest runs have made with what is there now. Answered by [`Reply::Drift`].
    Drift,
    /// Lists a directory tree. Answered by any number of [`Reply::Entries`] and [`Reply::End`].
    Scan {
        /// An absolute path on the host.
        path: String,
    },
    /// Reads files. Each is answered by data frames and one [`Reply::Fetched`]; then [`Reply::End`].
    Fetch {
        /// Absolute paths.
        paths: Vec<HostPath>,
    },
    /// Reads a text file of at most 256 KiB, links followed. Answered by [`Reply::Read`].
    Read {
        /// An absolute path on the host.
        path: String,
    },
    /// Restarts the host. Answered by [`Reply::End`]; the line is cut some time later.
    Reboot {
        /// Refused as stale if the host runs another boot by now.
        boot_id: String,
        /// As for `Stage`.
        #[serde(default)]
        expect: Expect,
    },
    /// Runs a program that only looks (a `check` step). Answered by [`Reply::Checked`].
    Check {
        /// Program and arguments.
        argv: Vec<String>,
        /// Then it is ended and the check has failed.
        timeout_ms: u64,
    },
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The host's facts.
    Facts(Box<Facts>),
    /// One observation a step, in the order asked.
    Observed(Vec<Observation>),
    /// Something happened to a step.
    Event(StepEvent),
    /// The stage's steps are through, or stopped at a failure (which was an event).
    StageEnd {
        /// Whether every step succeeded.
        ok: bool,
    },
    /// Undo is through.
    UndoEnd {
        /// Steps whose undo failed, or that lie before such a step: the host is stuck. Empty means it is as it was.
        stuck: Vec<StepId>,
    },
    /// How a guard stands now.
    Guard(GuardStatus),
    /// The packets are on their way; whether anybody hears them is not known.
    Woken {
        /// One for each of the host's IPv4 networks; 0 if it has none.
        packets: u32,
    },
    /// The journal's view of a run, in the order of beginning; empty if the host knows nothing of it.
    Journal(Vec<StepStatus>),
    /// What was listed; `None` if the run has changed the host already: then it is too late.
    Witnessed(Option<Manifest>),
    /// Something is not as it was listed.
    Difference(Difference),
    /// The comparison is through.
    Verified {
        /// What was listed; `None` if there is no list, because the run has never changed this host.
        manifest: Option<Manifest>,
        /// How many things differ, also those that were not told.
        differences: u64,
    },
    /// What others have changed since.
    Drift(Vec<Drift>),
    /// A part of a tree's entries, in path order.
    Entries(Vec<Entry>),
    /// The file whose data frames came before.
    Fetched {
        /// Digest of the bytes sent.
        digest: Digest,
        /// Their number.
        size: u64,
    },
    /// How a check's program ended.
    Checked {
        /// Exit status 0.
        ok: bool,
        /// Exit status and the end of its output, for people.
        detail: String,
        /// The first 512 Ki characters of its standard output.
        output: String,
    },
    /// The beginning of the file, `None` if there is none that can be read.
    Read(Option<String>),
    /// The end of an answer of unknown length.
    End,
    /// The request as a whole failed; nothing was changed by it beyond the events before.
    Fault(Fault),
}

impl Reply {
    /// Whether this is the last reply to its request.
    pub fn ends(&self) -> bool {
        !matches!(self, Reply::Event(_) | Reply::Entries(_) | Reply::Fetched { .. } | Reply::Difference(_))
    }
}

/// What a manifest covers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scope {
    /// Steps whose resources are listed: paths by what stands there, others by their state.
    pub steps: Vec<Step>,
    /// Directories that are listed with size and time of files instead of digests: what a transfer brings.
    pub listed: Vec<String>,
    /// Paths that are listed with all that lies below.
    pub watch: Vec<String>,
    /// Paths that are left out with all that lies below.
    pub except: Vec<String>,
}

/// A list of what was there, summed up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// SHA-256 over all of its lines.
    pub digest: Digest,
    /// Number of paths.
    pub entries: u64,
    /// Bytes in its files.
    pub bytes: u64,
}

/// Something that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// A path, a package or a resource.
    pub subject: String,
    /// What it was, in words; `None` if it was not there.
    pub was: Option<String>,
    /// What it is; `None` if it is not there.
    pub is: Option<String>,
}

/// A resource that is no longer as a run has left it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// The run that wrote it last.
    pub run: RunId,
    /// Its step.
    pub step: StepId,
    /// The resource kind.
    pub kind: String,
    /// The resource in a few words, see [`crate::resource::Lens::title`].
    pub title: String,
    /// What the run left, in the form of the kind.
    pub left: Value,
    /// What is there, or why it cannot be seen.
    pub now: Result<Value, Fault>,
}

/// What was seen of one step's resource, and what it would become.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observation {
    /// The step.
    pub step: StepId,
    /// Seen and wanted, or why it could not be seen.
    pub result: Result<Seen, Fault>,
}

/// State before and after, both in the form of the kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    /// What the host has.
    pub state: Value,
    /// What it would have.
    pub wanted: Value,
    /// Text content that would be replaced, if it is text, small and not sensitive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
}
