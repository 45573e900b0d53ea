//! A conversation with one agent: each question is one round trip and has a bound in time.
//!
//! Contents are sent ahead of the stage that needs them without waiting, so a stage is one round trip however much it
//! carries. After a cut line, a passed bound or an abandoned call the session is over, because it may stand in the
//! middle of a frame: connect again and ask the journal what became of the run. The agent itself goes on.

mod copy;
mod fetch;
mod guard;
mod power;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};
use weiche_agent::protocol::{
    Digest, Drift, Entry, Expect, Facts, Fault, Frame, HostPath, MAX_DATA, Manifest, Observation, Reply, Request,
    RunId, Scope, Step, StepEvent, StepId, StepStatus,
};

use crate::drive::link::{Link, LinkError, Traffic};
use crate::rollout::Verdict;

pub use fetch::{Fetch, Fetched};

/// An agent that answers.
pub struct Session {
    link: Box<dyn Link>,
    /// Which machine is to be at the other end: sent with everything that changes it.
    expect: Expect,
    round_trips: u64,
    /// Set while a call is under way; a call that is not brought to its end leaves it set.
    over: bool,
}

/// A content that a stage needs.
#[derive(Debug)]
pub struct Blob {
    /// Checked by the agent.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
    /// Where the bytes come from.
    pub source: Source,
}

/// Where a content's bytes come from.
pub enum Source {
    /// Memory.
    Bytes(Vec<u8>),
    /// A file, opened only when its turn comes.
    File(PathBuf),
    /// Anything else, e.g. what another host is sending.
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The host said no; the session goes on.
    #[error("{0}")]
    Fault(Fault),
    /// The line or the agent is gone.
    #[error(transparent)]
    Link(LinkError),
    /// The bound has passed. The agent may still be at work.
    #[error("the agent has not answered within {0:?}")]
    Deadline(Duration),
    /// The agent answered another question (us).
    #[error("the agent answered `{0}`, which was not asked")]
    Unexpected(String),
    /// An earlier call was not brought to its end.
    #[error("the session is over: connect again")]
    Over,
    /// A content could not be read here; nothing was changed on the host.
    #[error("cannot read the content {name}")]
    Content {
        /// A path or a digest.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

type Result<T> = std::result::Result<T, SessionError>;

impl Session {
    /// Starts a conversation over a link.
    pub fn new(link: impl Link + 'static) -> Session {
        Session { link: Box::new(link), expect: Expect::default(), round_trips: 0, over: false }
    }

    /// The same, with the machine that is to be at the other end.
    #[must_use]
    pub fn expecting(self, expect: Expect) -> Session {
        Session { expect, ..self }
    }

    /// The epoch of the lease that is worked under, and the number of this connection to the host.
    pub fn set_epoch(&mut self, epoch: Option<u64>, line: u64) {
        self.expect.epoch = epoch;
        self.expect.line = epoch.map(|_| line);
    }

    /// The machine that is to be at the other end.
    pub fn expected(&self) -> &Expect {
        &self.expect
    }

    /// Whether it is of no use any more: a call was not brought to its end.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// What this host has cost so far.
    pub fn traffic(&self) -> Traffic {
        Traffic { round_trips: self.round_trips, ..self.link.traffic() }
    }

    /// Asks for the host's facts.
    ///
    /// # Errors
    /// As for all methods: [`SessionError::Fault`] leaves the session usable, everything else ends it.
    pub async fn facts(&mut self, within: Duration) -> Result<Facts> {
        match self.ask(&Request::Facts, within).await? {
            Reply::Facts(facts) => Ok(*facts),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Observes resources without changing anything: one observation a step, in order.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn observe(&mut self, steps: Vec<Step>, within: Duration) -> Result<Vec<Observation>> {
        match self.ask(&Request::Observe { steps }, within).await? {
            Reply::Observed(observations) => Ok(observations),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Asks for the host's facts and observes resources: two questions, sent together, for the latency of one.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn look(&mut self, steps: Vec<Step>, within: Duration) -> Result<(Facts, Vec<Observation>)> {
        let until = self.begin(within)?;
        let work = async {
            self.link.send(&Request::Facts).await.map_err(SessionError::Link)?;
            self.link.send(&Request::Observe { steps }).await.map_err(SessionError::Link)?;
            // Both answers are taken in whatever the first says, so that the session goes on after a fault.
            let (facts, seen) = (self.answer().await?, self.answer().await?);
            match (facts?, seen?) {
                (Reply::Facts(facts), Reply::Observed(seen)) => Ok((*facts, seen)),
                (Reply::Facts(_), other) | (other, _) => Err(self.unexpected(&other)),
            }
        };
        let done = timeout_at(until, work).await;
        self.settle(done.unwrap_or(Err(SessionError::Deadline(within))))
    }

    /// Sends contents and applies steps, all in one round trip; returns whether every step succeeded.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn stage(
        &mut self,
        run: &RunId,
        contents: Vec<Blob>,
        steps: Vec<Step>,
        on_event: &mut (dyn FnMut(StepEvent) + Send),
        within: Duration,
    ) -> Result<bool> {
        let request = Request::Stage {
            run: run.clone(),
            steps,
            expect: self.expect.clone(),
            crash_after_records: None,
            confirm_ms: None,
        };
        match self.carry_out(run, contents, &request, on_event, within).await? {
            Reply::StageEnd { ok } => Ok(ok),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Sends one content ahead of a later stage. It is not answered: if the host cannot keep it, the next question
    /// fails.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn blob(&mut self, run: &RunId, blob: Blob, within: Duration) -> Result<()> {
        let until = self.begin(within)?;
        let sent = timeout_at(until, self.send_blob(run, blob)).await;
        self.settle(sent.unwrap_or(Err(SessionError::Deadline(within))))
    }

    /// Takes back what the journal of a run holds (only steps of `stage`, if given), last first; returns the steps
    /// that could not be taken back.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn undo(
        &mut self,
        run: &RunId,
        (stage, only): (Option<&str>, &[StepId]),
        over_drift: bool,
        on_event: &mut (dyn FnMut(StepEvent) + Send),
        within: Duration,
    ) -> Result<Vec<StepId>> {
        let (stage, only, expect) = (stage.map(str::to_owned), only.to_vec(), self.expect.clone());
        let request = Request::Undo { run: run.clone(), stage, only, over_drift, expect, crash_after_records: None };
        match self.carry_out(run, Vec::new(), &request, on_event, within).await? {
            Reply::UndoEnd { stuck } => Ok(stuck),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Sends contents and a `Stage` or `Undo` as it stands, rehearsed faults included; returns the reply that ends it.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn carry_out(
        &mut self,
        run: &RunId,
        contents: Vec<Blob>,
        request: &Request,
        on_event: &mut (dyn FnMut(StepEvent) + Send),
        within: Duration,
    ) -> Result<Reply> {
        let until = self.begin(within)?;
        let work = async {
            for blob in contents {
                self.send_blob(run, blob).await?;
            }
            self.link.send(request).await.map_err(SessionError::Link)?;
            loop {
                match self.next().await? {
                    Reply::Event(event) => on_event(event),
                    reply => return Ok(reply),
                }
            }
        };
        let done = timeout_at(until, work).await;
        self.settle(done.unwrap_or(Err(SessionError::Deadline(within))))
    }

    /// Lets the agent list what a run will manage, before its first change; `None` if it has changed something already.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn witness(&mut self, run: &RunId, scope: Scope, within: Duration) -> Result<Option<Manifest>> {
        let request = Request::Witness { run: run.clone(), scope, expect: self.expect.clone() };
        match self.ask(&request, within).await? {
            Reply::Witnessed(manifest) => Ok(manifest),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Lets the agent compare that list with what is there now; `None` if there is no list.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn verify(&mut self, run: &RunId, within: Duration) -> Result<Option<Verdict>> {
        let until = self.begin(within)?;
        let work = async {
            self.link.send(&Request::Verify { run: run.clone() }).await.map_err(SessionError::Link)?;
            let mut told = Vec::new();
            loop {
                match self.next().await? {
                    Reply::Difference(difference) => told.push(difference),
                    Reply::Verified { manifest, differences } => {
                        return Ok(manifest.map(|manifest| Verdict { manifest, differences, told }));
                    }
                    other => return Err(self.unexpected(&other)),
                }
            }
        };
        let done = timeout_at(until, work).await;
        self.settle(done.unwrap_or(Err(SessionError::Deadline(within))))
    }

    /// The paths of that list, given in parts as they come.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn export(
        &mut self,
        run: &RunId,
        take: &mut (dyn FnMut(Vec<Entry>) + Send),
        within: Duration,
    ) -> Result<()> {
        self.entries(&Request::Export { run: run.clone() }, take, within).await
    }

    /// What of the runs' work others have changed since.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn drift(&mut self, within: Duration) -> Result<Vec<Drift>> {
        match self.ask(&Request::Drift, within).await? {
            Reply::Drift(drifts) => Ok(drifts),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Asks the journal what it knows of a run.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn journal(&mut self, run: &RunId, within: Duration) -> Result<Vec<StepStatus>> {
        match self.ask(&Request::Journal { run: run.clone() }, within).await? {
            Reply::Journal(statuses) => Ok(statuses),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Lists a directory tree in path order.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn scan(&mut self, path: &str, within: Duration) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.entries(&Request::Scan { path: path.to_owned() }, &mut |part| entries.extend(part), within).await?;
        Ok(entries)
    }

    async fn entries(
        &mut self,
        request: &Request,
        take: &mut (dyn FnMut(Vec<Entry>) + Send),
        within: Duration,
    ) -> Result<()> {
        let until = self.begin(within)?;
        let work = async {
            self.link.send(request).await.map_err(SessionError::Link)?;
            loop {
                match self.next().await? {
                    Reply::Entries(part) => take(part),
                    Reply::End => return Ok(()),
                    other => return Err(self.unexpected(&other)),
                }
            }
        };
        let done = timeout_at(until, work).await;
        self.settle(done.unwrap_or(Err(SessionError::Deadline(within))))
    }

    /// Starts reading files; take the parts with [`Fetch::next`], as fast or slowly as they are needed.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn fetch(&mut self, paths: Vec<HostPath>, within: Duration) -> Result<Fetch<'_>> {
        let until = self.begin(within)?;
        let request = Request::Fetch { paths };
        match timeout_at(until, self.link.send(&request)).await {
            Ok(sent) => sent.map_err(SessionError::Link)?,
            Err(_) => return Err(SessionError::Deadline(within)),
        }
        Ok(Fetch { session: self, until, within, ended: false })
    }

    /// Reads a small text file, links followed; `None` if it cannot be read.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn read(&mut self, path: &str, within: Duration) -> Result<Option<String>> {
        match self.ask(&Request::Read { path: path.to_owned() }, within).await? {
            Reply::Read(text) => Ok(text),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Runs a program that only looks; it is ended after `within`. Returns whether it succeeded, what it said for
    /// people, and the beginning of its standard output.
    ///
    /// # Errors
    /// See [`Session::facts`].
    pub async fn check(&mut self, argv: Vec<String>, within: Duration) -> Result<(bool, String, String)> {
        let timeout_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        // The agent ends the program in time; the line gets a little longer to say so.
        match self.ask(&Request::Check { argv, timeout_ms }, within + CHECK_GRACE).await? {
            Reply::Checked { ok, detail, output } => Ok((ok, detail, output)),
            other => Err(self.unexpected(&other)),
        }
    }

    async fn ask(&mut self, request: &Request, within: Duration) -> Result<Reply> {
        let until = self.begin(within)?;
        let work = async {
            self.link.send(request).await.map_err(SessionError::Link)?;
            self.next().await
        };
        let done = timeout_at(until, work).await;
        self.settle(done.unwrap_or(Err(SessionError::Deadline(within))))
    }

    fn begin(&mut self, within: Duration) -> Result<Instant> {
        if std::mem::replace(&mut self.over, true) {
            return Err(SessionError::Over);
        }
        Ok(Instant::now() + within)
    }

    fn settle<T>(&mut self, result: Result<T>) -> Result<T> {
        if matches!(result, Ok(_) | Err(SessionError::Fault(_))) {
            self.over = false;
        }
        result
    }

    fn unexpected(&mut self, reply: &Reply) -> SessionError {
        self.over = true;
        let text: String = format!("{reply:?}").chars().take(60).collect();
        SessionError::Unexpected(text)
    }

    /// Waits for a reply; the inner error is a fault, the outer one ends the session.
    async fn answer(&mut self) -> Result<Result<Reply>> {
        match self.next().await {
            Err(SessionError::Fault(fault)) => Ok(Err(SessionError::Fault(fault))),
            Err(error) => Err(error),
            Ok(reply) => Ok(Ok(reply)),
        }
    }

    /// Waits for a reply; a fault is an error.
    async fn next(&mut self) -> Result<Reply> {
        match self.link.recv().await.map_err(SessionError::Link)? {
            Frame::Message(reply) => {
                self.round_trips += u64::from(reply.ends());
                if let Reply::Fault(fault) = reply { Err(SessionError::Fault(fault)) } else { Ok(reply) }
            }
            Frame::Data(_) => Err(SessionError::Unexpected("data".into())),
        }
    }

    async fn send_blob(&mut self, run: &RunId, blob: Blob) -> Result<()> {
        let name = match &blob.source {
            Source::File(path) => path.display().to_string(),
            Source::Bytes(_) | Source::Reader(_) => blob.digest.short().to_owned(),
        };
        let broken = |source| SessionError::Content { name: name.clone(), source };
        let mut reader: Box<dyn AsyncRead + Send + Unpin> = match blob.source {
            Source::Bytes(bytes) => Box::new(std::io::Cursor::new(bytes)),
            Source::File(path) => Box::new(File::open(path).await.map_err(broken)?),
            Source::Reader(reader) => reader,
        };
        let request = Request::Blob { run: run.clone(), digest: blob.digest, size: blob.size };
        self.link.send(&request).await.map_err(SessionError::Link)?;
        let mut left = blob.size;
        let mut part = Vec::with_capacity(MAX_DATA.min(usize::try_from(left).unwrap_or(MAX_DATA)));
        while left > 0 {
            part.clear();
            (&mut reader).take(left.min(MAX_DATA as u64)).read_to_end(&mut part).await.map_err(broken)?;
            if part.is_empty() {
                return Err(broken(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "it became shorter")));
            }
            left -= part.len() as u64;
            self.link.send_data(&part).await.map_err(SessionError::Link)?;
        }
        Ok(())
    }
}

/// What a check's answer may take longer than the check.
const CHECK_GRACE: Duration = Duration::from_secs(5);

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("traffic", &self.traffic()).field("over", &self.over).finish_non_exhaustive()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Source::File(path) => write!(f, "File({})", path.display()),
            Source::Reader(_) => f.write_str("Reader"),
        }
    }
}
