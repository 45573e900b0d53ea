//! A host as the agent makes it: a journal that never forgets, steps with an effect each, a guard a stage, a lock, and
//! the highest epoch and connection that it has seen. What it promises is what the agent promises; nothing here knows
//! the machine.

use std::collections::VecDeque;

use weiche_agent::protocol::FaultCode;

use crate::rng::Rng;
use crate::scene::{Chances, Scene};

/// What a controller asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Request {
    Hello,
    Arm { stage: usize, within_ms: i64 },
    Stage { stage: usize, from: usize, to: usize },
    Undo { stage: usize },
    Confirm { stage: usize },
}

/// What it is answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Hello,
    Armed,
    Ended { ok: bool },
    Undone { stuck: Vec<usize> },
    Confirmed,
    Fault(FaultCode),
}

/// A request on its way: who asks, and over which connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) controller: usize,
    pub(crate) epoch: u64,
    pub(crate) task: usize,
    pub(crate) connection: usize,
    pub(crate) request: Request,
}

/// What the journal has of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Never,
    Begun,
    Done,
    Undoing,
    Undone,
}

/// How the guard of a stage stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    None,
    /// Until then, in the host's monotonic time.
    Armed(i64),
    Confirmed,
    Fired,
}

/// What is true of a stage on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Old,
    Half,
    New,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Do(usize, usize),
    TakeBack(usize, usize),
}

#[derive(Clone, Debug)]
struct Job {
    ops: VecDeque<Op>,
    phase: u8,
    envelope: Envelope,
    stuck: Vec<usize>,
}

/// A host.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) up: bool,
    pub(crate) boots: usize,
    /// Monotonic time when it came up: its own time counts from there.
    pub(crate) wall_offset_ms: i64,
    pub(crate) guards: Vec<Guard>,
    pub(crate) job_token: usize,
    journal: Vec<Vec<Status>>,
    real: Vec<Vec<bool>>,
    epoch: u64,
    connection: usize,
    job: Option<Job>,
}

/// What comes of a request at once.
pub(crate) enum Answer {
    Now(Reply),
    /// It is at work; the answer comes when it is through.
    Later,
}

impl Host {
    pub(crate) fn new(scene: &Scene) -> Host {
        Host {
            up: true,
            boots: 0,
            wall_offset_ms: 0,
            guards: vec![Guard::None; scene.stages.len()],
            job_token: 0,
            journal: scene.stages.iter().map(|stage| vec![Status::Never; stage.steps]).collect(),
            real: scene.stages.iter().map(|stage| vec![false; stage.steps]).collect(),
            epoch: 0,
            connection: 0,
            job: None,
        }
    }

    pub(crate) fn condition(&self, stage: usize) -> Condition {
        let real = &self.real[stage];
        match (real.iter().all(|done| *done), real.iter().any(|done| *done)) {
            (true, _) => Condition::New,
            (false, true) => Condition::Half,
            (false, false) => Condition::Old,
        }
    }

    pub(crate) fn busy(&self) -> bool {
        self.job.is_some()
    }

    /// Power off, or the agent killed: what was under way stays as it is.
    pub(crate) fn stop_work(&mut self) {
        self.job = None;
        self.job_token += 1;
    }

    /// Comes up again: what was not confirmed is taken back before the network is used.
    pub(crate) fn boot(&mut self) {
        self.up = true;
        self.boots += 1;
        for stage in 0..self.guards.len() {
            if let Guard::Armed(_) = self.guards[stage] {
                self.fire(stage);
            }
        }
    }

    /// The guard of a stage is due; false: somebody works, it tries again.
    pub(crate) fn guard_due(&mut self, stage: usize, now: i64) -> bool {
        match self.guards[stage] {
            Guard::Armed(due) if due <= now && self.busy() => false,
            Guard::Armed(due) if due <= now => {
                self.fire(stage);
                true
            }
            _ => true,
        }
    }

    fn fire(&mut self, stage: usize) {
        for step in (0..self.real[stage].len()).rev() {
            self.real[stage][step] = false;
            if self.journal[stage][step] != Status::Never {
                self.journal[stage][step] = Status::Undone;
            }
        }
        self.guards[stage] = Guard::Fired;
    }

    /// A person takes everything of the run back by hand.
    pub(crate) fn by_hand(&mut self, stage: usize) {
        self.stop_work();
        self.fire(stage);
    }

    pub(crate) fn take(&mut self, envelope: Envelope, now: i64) -> Answer {
        let no = |code| Answer::Now(Reply::Fault(code));
        if envelope.request == Request::Hello {
            return Answer::Now(Reply::Hello);
        }
        // Of two controllers the older one; of one controller's connections one that was given up.
        if envelope.epoch < self.epoch || envelope.connection < self.connection {
            return no(FaultCode::Superseded);
        }
        (self.epoch, self.connection) = (envelope.epoch, envelope.connection);
        if self.busy() {
            return no(FaultCode::Busy);
        }
        for stage in 0..self.guards.len() {
            self.guard_due(stage, now);
        }
        match envelope.request {
            Request::Hello => Answer::Now(Reply::Hello),
            Request::Arm { stage, within_ms } => match self.guards[stage] {
                Guard::Fired => no(FaultCode::TakenBack),
                Guard::Confirmed => no(FaultCode::Conflict),
                Guard::None | Guard::Armed(_) => {
                    self.guards[stage] = Guard::Armed(now + within_ms);
                    Answer::Now(Reply::Armed)
                }
            },
            Request::Confirm { stage } => match self.guards[stage] {
                Guard::Fired => no(FaultCode::TakenBack),
                Guard::None => no(FaultCode::NotFound),
                Guard::Armed(_) | Guard::Confirmed => {
                    self.guards[stage] = Guard::Confirmed;
                    Answer::Now(Reply::Confirmed)
                }
            },
            Request::Stage { stage, from, to } => {
                if self.guards[stage] == Guard::Fired {
                    return no(FaultCode::TakenBack);
                }
                let mut ops: VecDeque<Op> = self.of(|status| matches!(status, Status::Begun | Status::Undoing)).into();
                ops.extend((from..to).map(|step| Op::Do(stage, step)));
                self.work(ops, envelope)
            }
            Request::Undo { stage } => {
                let open = self.of(|status| !matches!(status, Status::Never | Status::Undone));
                let ops = open.into_iter().filter(|op| matches!(op, Op::TakeBack(of, _) if *of == stage)).collect();
                self.work(ops, envelope)
            }
        }
    }

    fn of(&self, is: impl Fn(Status) -> bool) -> Vec<Op> {
        let steps = |(stage, steps): (usize, &Vec<Status>)| {
            let wanted = steps.iter().enumerate().filter(|(_, status)| is(**status));
            wanted.map(|(step, _)| Op::TakeBack(stage, step)).collect::<Vec<_>>()
        };
        let mut found: Vec<Op> = self.journal.iter().enumerate().flat_map(steps).collect();
        found.reverse();
        found
    }

    fn work(&mut self, ops: VecDeque<Op>, envelope: Envelope) -> Answer {
        self.job_token += 1;
        self.job = Some(Job { ops, phase: 0, envelope, stuck: Vec::new() });
        Answer::Later
    }

    /// Goes on with what it works at: a journal record or an effect at a time; `Some` when it is through.
    pub(crate) fn step(&mut self, hung: bool, chances: &mut Chances, rng: &mut Rng) -> Option<(Envelope, Reply)> {
        let mut fails = |per_mille: usize| {
            let fails = chances.budget > 0 && rng.chance(per_mille);
            chances.budget -= usize::from(fails);
            fails
        };
        let job = self.job.as_mut()?;
        let Some(op) = job.ops.front().copied() else { return self.finish(true) };
        let undo = matches!(job.envelope.request, Request::Undo { .. });
        match (op, job.phase) {
            (Op::Do(stage, step), 0) if self.journal[stage][step] == Status::Done => {
                job.ops.pop_front();
                return None;
            }
            (Op::Do(stage, step), 0) => self.journal[stage][step] = Status::Begun,
            (Op::Do(stage, step), 1) => {
                assert!(!self.real[stage][step], "step {step} of stage {stage} is done twice");
                let failed = hung || fails(chances.put_fails);
                self.real[stage][step] = !failed || rng.chance(500);
                if failed {
                    return self.finish(false);
                }
            }
            (Op::Do(stage, step), _) => self.journal[stage][step] = Status::Done,
            (Op::TakeBack(stage, step), 0) => self.journal[stage][step] = Status::Undoing,
            (Op::TakeBack(stage, step), 1) => {
                if hung || fails(chances.undo_fails) {
                    job.stuck.push(step);
                    job.ops.pop_front();
                    job.phase = 0;
                    return if undo { None } else { self.finish(false) };
                }
                self.real[stage][step] = false;
            }
            (Op::TakeBack(stage, step), _) => self.journal[stage][step] = Status::Undone,
        }
        job.phase += 1;
        if job.phase == 3 {
            job.phase = 0;
            job.ops.pop_front();
        }
        None
    }

    fn finish(&mut self, ok: bool) -> Option<(Envelope, Reply)> {
        let job = self.job.take()?;
        self.job_token += 1;
        let reply = match job.envelope.request {
            Request::Undo { stage } => {
                if job.stuck.is_empty() && matches!(self.guards[stage], Guard::Armed(_)) {
                    self.guards[stage] = Guard::Fired;
                }
                Reply::Undone { stuck: job.stuck }
            }
            _ => Reply::Ended { ok },
        };
        Some((job.envelope, reply))
    }
}
