//! The write-ahead undo log of one run on one host: `runs/RUN/journal` in the agent's state directory.
//!
//! One record a line: the first 16 digits of the SHA-256 of the rest, a space, JSON. A `Begin` is durable before the
//! host is touched. Records are only appended. A last line that is cut off was never acted upon and is ignored; any
//! other damage, also to the last line, is a fault that needs a person: the record may have been acted upon. Where a step
//! stands is computed by [`Status::next`] alone, in live execution and in recovery alike.

mod guard;
mod line;
mod runs;

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::host::Host;
use crate::protocol::{RunId, Status, Step, StepId, StepStatus};

use line::{cut_off, line, parse};

pub use guard::{Guard, Standing};
pub use runs::{KEPT_IN_EFFECT, KEPT_UNDONE, prune, runs};

/// Major and minor version of the format. A newer agent reads every older one. 1.1 has the records of guards.
pub const VERSION: (u32, u32) = (1, 1);

/// Bound of a journal that is read: tens of thousands of steps.
const MAX_BYTES: u64 = 256 << 20;

/// Space set aside per run, in bytes: enough for the undo records of about a thousand steps.
const RESERVE: u64 = 64 << 10;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The first line.
    Header {
        /// [`VERSION`], as `[major, minor]`.
        version: (u32, u32),
        /// The run.
        run: RunId,
        /// The agent that wrote it.
        build: String,
        /// Greater than that of every run that was there when this one began.
        #[serde(default)]
        order: u64,
    },
    /// About to change the host.
    Begin {
        /// Step with kind and spec.
        step: Step,
        /// State to go back to.
        before: Value,
        /// State to come to.
        wanted: Value,
    },
    /// Changed, checked and durable.
    Done {
        /// The step.
        step: StepId,
        /// State that was reached.
        after: Value,
    },
    /// Failed, possibly half-way.
    Failed {
        /// The step.
        step: StepId,
        /// Why.
        fault: Fault,
    },
    /// About to take back.
    UndoStarted {
        /// The step.
        step: StepId,
    },
    /// Taken back, checked and durable.
    Undone {
        /// The step.
        step: StepId,
    },
    /// Could not be taken back.
    UndoFailed {
        /// The step.
        step: StepId,
        /// Why.
        fault: Fault,
    },
    /// A stage's guard was armed, or got a new deadline.
    Armed {
        /// The stage.
        stage: String,
        /// SHA-256 of the nonce that confirms.
        nonce: Digest,
        /// The boot that the deadline is of.
        boot_id: String,
        /// When it fires, in milliseconds of that boot's `CLOCK_BOOTTIME`.
        deadline_boottime_ms: u64,
        /// The same by the clock on the wall, in milliseconds since the epoch: for people only.
        wall_deadline_ms: u64,
    },
    /// The nonce came in time.
    Confirmed {
        /// The stage.
        stage: String,
    },
    /// The stage was taken back.
    Fired {
        /// The stage.
        stage: String,
        /// Steps that could not be.
        stuck: Vec<StepId>,
    },
}

impl Status {
    /// The status after a record, given the one before (`None`: the journal has nothing of the step).
    ///
    /// # Errors
    /// `Corrupt` for a record that cannot follow: the journal was not written by this code.
    pub fn next(now: Option<Status>, record: &Record) -> Result<Status, Fault> {
        use Status::{Begun, Done, Failed, Stuck, Undoing, Undone};
        Ok(match (now, record) {
            (None | Some(Undone), Record::Begin { .. }) => Begun,
            (Some(Begun), Record::Done { .. }) => Done,
            (Some(Begun), Record::Failed { .. }) => Failed,
            (Some(Begun | Done | Failed | Undoing | Stuck), Record::UndoStarted { .. }) => Undoing,
            (Some(Undoing), Record::Undone { .. }) => Undone,
            (Some(Undoing), Record::UndoFailed { .. }) => Stuck,
            (now, record) => {
                let message = format!("a journal record {record:?} cannot follow status {now:?}");
                return Err(Fault::new(FaultCode::Corrupt, message));
            }
        })
    }
}

impl Record {
    /// The stage whose guard it is about.
    fn guarded(&self) -> Option<&str> {
        match self {
            Record::Armed { stage, .. } | Record::Confirmed { stage } | Record::Fired { stage, .. } => Some(stage),
            _ => None,
        }
    }

    fn step(&self) -> Option<&StepId> {
        match self {
            Record::Header { .. } | Record::Armed { .. } | Record::Confirmed { .. } | Record::Fired { .. } => None,
            Record::Begin { step, .. } => Some(&step.id),
            Record::Done { step, .. }
            | Record::Failed { step, .. }
            | Record::UndoStarted { step }
            | Record::Undone { step }
            | Record::UndoFailed { step, .. } => Some(step),
        }
    }
}

/// One step as the journal knows it.
#[derive(Clone, Debug)]
pub struct Journalled {
    /// With kind and spec.
    pub step: Step,
    /// State to go back to.
    pub before: Value,
    /// State it was to come to.
    pub wanted: Value,
    /// State it came to, once done.
    pub after: Option<Value>,
    /// Where it stands.
    pub status: Status,
}

/// The journal of a run: what is on disk, folded.
#[derive(Debug)]
pub struct Journal {
    name: String,
    run: RunId,
    torn: bool,
    header: bool,
    /// Steps in the order of beginning.
    pub steps: Vec<Journalled>,
    /// Guards by stage.
    pub guards: BTreeMap<String, Guard>,
    /// How many more records may be written before a rehearsed crash.
    pub crash_after_records: Option<u64>,
}

impl Journal {
    /// Reads the journal of a run; an empty one if there is none.
    ///
    /// # Errors
    /// `Corrupt` for damage other than a last line that is cut off, `Unsupported` for a newer major version; a person has
    /// to look.
    pub fn open(run: &RunId, host: &mut dyn Host) -> Result<Journal, Fault> {
        let name = format!("runs/{run}/journal");
        let mut journal = Journal {
            name,
            run: run.clone(),
            torn: false,
            header: false,
            steps: Vec::new(),
            guards: BTreeMap::new(),
            crash_after_records: None,
        };
        let mut bytes = Vec::new();
        if let Some(reader) = host.state_open(&journal.name)? {
            reader.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|e| Fault::io("read the journal", &e))?;
        }
        for (number, line) in (1..).zip(bytes.split_inclusive(|b| *b == b'\n')) {
            match parse(line) {
                Some(record) => journal.fold(&record)?,
                None if cut_off(line) => journal.torn = true,
                None => {
                    let message = format!("line {number} of the journal {} is damaged", journal.name);
                    let hint = "nothing was changed; compare the host with the plan by hand";
                    return Err(Fault::new(FaultCode::Corrupt, message).hint(hint));
                }
            }
        }
        Ok(journal)
    }

    /// The directory of the run, relative to the state directory.
    pub fn run_dir(&self) -> String {
        format!("runs/{}", self.run)
    }

    /// The step, if the journal has it.
    pub fn find(&self, id: &StepId) -> Option<&Journalled> {
        self.steps.iter().find(|s| s.step.id == *id)
    }

    /// Appends records with one durable write; after it returns they hold.
    ///
    /// # Errors
    /// Those of the host; then the host must not be changed.
    pub fn append(&mut self, records: &[Record], host: &mut dyn Host) -> Result<(), Fault> {
        if records.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        if self.torn {
            self.heal(host)?;
        }
        let header = if self.header { None } else { Some(self.new_header(host)?) };
        let first = header.as_ref();
        for record in first.into_iter().chain(records) {
            line(record, &mut text)?;
        }
        if let Some(left) = self.crash_after_records
            && left < records.len() as u64
        {
            // A rehearsal dies between two records of one write: what a power cut may leave behind.
            let mut part = Vec::new();
            for record in first.into_iter().chain(&records[..usize::try_from(left).unwrap_or(0)]) {
                line(record, &mut part)?;
            }
            if !part.is_empty() {
                host.state_append(&self.name, &part)?;
            }
            return Err(host.die());
        }
        if let Err(fault) = self.write(&text, first.is_some(), host) {
            // Part of it may be on disk; the next append cuts that off.
            self.torn = true;
            return Err(fault);
        }
        if let Some(left) = &mut self.crash_after_records {
            *left -= records.len() as u64;
        }
        first.into_iter().chain(records).try_for_each(|record| self.fold(record))
    }

    /// Appends what an undo has to say; where the disk is full, with the space that was set aside for this.
    ///
    /// # Errors
    /// As for [`Journal::append`].
    pub fn append_at_all_costs(&mut self, records: &[Record], host: &mut dyn Host) -> Result<(), Fault> {
        match self.append(records, host) {
            Err(fault) if fault.code == FaultCode::NoSpace => {
                self.release_reserve(host)?;
                self.append(records, host)
            }
            other => other,
        }
    }

    /// The run.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Whether the guard of a stage waits for its confirmation.
    pub fn guarded(&self, stage: &str) -> bool {
        self.guards.get(stage).is_some_and(Guard::armed)
    }

    /// Stages whose guards wait for their confirmation.
    pub fn armed(&self) -> Vec<String> {
        self.guards.iter().filter(|(_, guard)| guard.armed()).map(|(stage, _)| stage.clone()).collect()
    }

    /// Gives back the space that was set aside when the journal was begun, so that a full disk does not stop an undo.
    ///
    /// # Errors
    /// Those of the host.
    pub fn release_reserve(&self, host: &mut dyn Host) -> Result<(), Fault> {
        host.state_remove(&self.reserve())
    }

    /// Where every step stands.
    pub fn statuses(&self) -> Vec<StepStatus> {
        let status =
            |s: &Journalled| StepStatus { step: s.step.id.clone(), kind: s.step.kind.clone(), status: s.status };
        self.steps.iter().map(status).collect()
    }

    fn fold(&mut self, record: &Record) -> Result<(), Fault> {
        if let Record::Header { version, .. } = record {
            self.header = true;
            if version.0 > VERSION.0 {
                let message =
                    format!("the journal has format {}.{}, this agent reads {}", version.0, version.1, VERSION.0);
                return Err(Fault::new(FaultCode::Unsupported, message).hint("use the newer weiche that wrote it"));
            }
            return Ok(());
        }
        if let Some(stage) = record.guarded() {
            let guard = Guard::next(self.guards.get(stage), record)?;
            self.guards.insert(stage.to_owned(), guard);
            return Ok(());
        }
        let at = self.steps.iter().position(|s| Some(&s.step.id) == record.step());
        let status = Status::next(at.map(|at| self.steps[at].status), record)?;
        match (at, record) {
            (at, Record::Begin { step, before, wanted }) => {
                // Begun anew after an undo: it takes its place at the end of the order.
                at.map(|at| self.steps.remove(at));
                let (step, before, wanted) = (step.clone(), before.clone(), wanted.clone());
                self.steps.push(Journalled { step, before, wanted, after: None, status });
            }
            (Some(at), Record::Done { after, .. }) => {
                self.steps[at].after = Some(after.clone());
                self.steps[at].status = status;
            }
            (Some(at), _) => self.steps[at].status = status,
            (None, _) => {}
        }
        Ok(())
    }

    fn new_header(&self, host: &mut dyn Host) -> Result<Record, Fault> {
        let order = 1 + runs::newest(host)?;
        Ok(Record::Header { version: VERSION, run: self.run.clone(), build: crate::protocol::BUILD.into(), order })
    }

    fn reserve(&self) -> String {
        format!("runs/{}/reserve", self.run)
    }

    fn write(&self, text: &[u8], first: bool, host: &mut dyn Host) -> Result<(), Fault> {
        if first {
            host.state_write(&self.reserve(), &mut std::io::repeat(b'.').take(RESERVE))?;
        }
        host.state_append(&self.name, text)
    }

    /// Cuts off a torn last line by writing the good lines anew (atomically), so that appending goes on behind them.
    fn heal(&mut self, host: &mut dyn Host) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        if let Some(reader) = host.state_open(&self.name)? {
            reader.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|e| Fault::io("read the journal", &e))?;
        }
        let good: usize =
            bytes.split_inclusive(|b| *b == b'\n').take_while(|l| parse(l).is_some()).map(<[u8]>::len).sum();
        host.state_write(&self.name, &mut &bytes[..good])?;
        host.sync()?;
        self.torn = false;
        Ok(())
    }
}
