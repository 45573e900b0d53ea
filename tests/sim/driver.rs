//! The controllers: a loop like the real one around the machine. Each action is a conversation with a host; what has
//! happened is written into the run log before anything comes of it, and a controller that has been overtaken ends when
//! it cannot write.

use std::collections::BTreeMap;

use weiche::input::target::HostName;
use weiche::rollout::{Action, Fate, Happening, Rollout, Standing};
use weiche_agent::protocol::{Fault, FaultCode, StepId};

use crate::host::{Envelope, Reply, Request};
use crate::scene::number;
use crate::world::{Event, SMALL, World};

/// How long a host whose line was cut is looked for, as in the real driver.
const LOST_MS: i64 = 120_000;

/// How long a host's part of a stage may take, and how long a busy agent is waited for.
const MOST_MS: i64 = 600_000;

/// A controller.
pub(crate) struct Controller {
    pub(crate) epoch: u64,
    /// How much of the log it knows.
    known: usize,
    rollout: Rollout,
    tasks: BTreeMap<usize, Task>,
    unwritten: Vec<(i64, Happening)>,
    label: String,
    /// The stage and wave whose services it probes.
    looks: Option<(usize, usize)>,
}

/// A conversation with a host.
#[derive(Clone, Debug)]
struct Task {
    host: HostName,
    stage: String,
    kind: Kind,
    request: Request,
    connection: usize,
    since: i64,
    lost: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Run,
    Confirm,
    Undo,
}

impl Controller {
    pub(crate) fn new(epoch: u64, known: usize, rollout: Rollout) -> Controller {
        let label = "[*]".to_owned();
        Controller { epoch, known, rollout, tasks: BTreeMap::new(), unwritten: Vec::new(), label, looks: None }
    }
}

/// The name of a fate, for people.
fn fate(fate: &Fate) -> String {
    format!("{fate:?}").chars().take_while(|c| c.is_alphanumeric()).collect()
}

/// The name of a standing, for people.
fn label(rollout: &Rollout, standing: &Standing) -> String {
    let name: String = format!("{standing:?}").chars().take_while(|c| c.is_alphanumeric()).collect();
    match (standing, rollout.turning_back()) {
        (Standing::Working, true) => "Back".to_owned(),
        _ => name,
    }
}

impl World {
    /// Tells a controller's machine; the run log will say the same.
    pub(crate) fn note(&mut self, id: usize, happening: Happening) {
        let now = self.now;
        let small = self.hosts.len() <= SMALL;
        if let Some(controller) = self.controllers.get_mut(&id) {
            let fates = |rollout: &Rollout| rollout.cells().map(|(_, _, cell)| fate(&cell.fate)).collect::<Vec<_>>();
            let before = if small { fates(&controller.rollout) } else { Vec::new() };
            controller.rollout.on(now, &happening);
            let after = if small { fates(&controller.rollout) } else { Vec::new() };
            self.fates.extend(before.into_iter().zip(after).filter(|(before, after)| before != after));
            controller.unwritten.push((now, happening));
            self.seen(id);
        }
    }

    fn seen(&mut self, id: usize) {
        let Some(controller) = self.controllers.get_mut(&id) else { return };
        let standing = controller.rollout.standing(self.now);
        let label = label(&controller.rollout, &standing);
        if controller.label != label {
            let from = std::mem::replace(&mut controller.label, label.clone());
            self.ways.insert((from, label));
        }
    }

    /// Writes what a controller has noted; it may die over it, or find that another has taken over.
    fn write(&mut self, id: usize) -> bool {
        let Some(controller) = self.controllers.get_mut(&id) else { return false };
        if controller.unwritten.is_empty() {
            return true;
        }
        let mut batch = std::mem::take(&mut controller.unwritten);
        if controller.known != self.log.len() {
            self.tell(|| format!("controller {id} was overtaken"));
            self.controllers.remove(&id);
            return false;
        }
        let dies = self.fails(self.scene.chances.controller_dies);
        if dies {
            let kept = self.rng.range(0, batch.len() + 1);
            batch.truncate(kept);
        }
        for (at, happening) in batch {
            self.tell(|| format!("log: {happening:?}"));
            self.book.on(&happening);
            self.written(&happening);
            self.log.push((at, happening));
        }
        if dies {
            self.tell(|| format!("controller {id} dies"));
            self.controllers.remove(&id);
            let ms = self.rng.ms(1, 300_000);
            self.after(ms, Event::Start(None));
            return false;
        }
        if let Some(controller) = self.controllers.get_mut(&id) {
            controller.known = self.log.len();
        }
        true
    }

    /// Does what the machine asks for, until it asks for nothing.
    pub(crate) fn pump(&mut self, id: usize) {
        for _ in 0..10_000 {
            let now = self.now;
            let Some(controller) = self.controllers.get_mut(&id) else { return };
            let actions = controller.rollout.next(now);
            self.seen(id);
            if actions.is_empty() {
                return self.rest(id);
            }
            for action in actions {
                if let Action::Record(happening) = action {
                    self.note(id, happening);
                    continue;
                }
                if !self.write(id) {
                    return;
                }
                self.begin(id, action);
            }
        }
        self.demand(false, || "the machine goes round in circles".into());
    }

    /// Nothing is to be done: waits, or leaves.
    fn rest(&mut self, id: usize) {
        if !self.write(id) {
            return;
        }
        let now = self.now;
        let Some(controller) = self.controllers.get_mut(&id) else { return };
        let standing = controller.rollout.standing(now);
        let (due, idle) = (controller.rollout.due_ms(now), controller.tasks.is_empty());
        let current = controller.known == self.log.len();
        let probing = controller.rollout.probing();
        if let Some(of) = probing.filter(|_| controller.looks != probing) {
            controller.looks = probing;
            let ms = self.rng.ms(1, 20_000);
            self.after(ms, Event::Probed(id, of));
        }
        match standing {
            Standing::Working => {
                self.demand(!idle || probing.is_some(), || "it does nothing and does not say why".into())
            }
            Standing::Until(_) | Standing::Offline(_) => {
                if let Some(due) = due {
                    self.after((due - now).max(1), Event::Tick(id));
                }
                self.demand(due.is_some() || !idle, || format!("{standing:?} without a time"));
            }
            // Whatever else it waits for has a name, and a person decides.
            standing => {
                self.tell(|| format!("controller {id} leaves: {standing:?}"));
                self.demand(idle, || format!("{standing:?} while hosts are at work"));
                self.controllers.remove(&id);
                if current {
                    let ms = self.rng.ms(1, 1_800_000);
                    self.after(ms, Event::Person(standing));
                }
            }
        }
    }

    /// A look at the services has come to its end.
    pub(crate) fn probed(&mut self, id: usize, of: (usize, usize)) {
        let Some(controller) = self.controllers.get_mut(&id) else { return };
        controller.looks = None;
        if controller.rollout.probing() == Some(of) {
            let stage = self.scene.stages[of.0].part.name.clone();
            let fails = self.fails(200);
            self.note(
                id,
                match fails {
                    true => {
                        let fault = Fault::new(FaultCode::Timeout, "no answer");
                        Happening::ServiceFailed { stage, service: "m/service".into(), fault }
                    }
                    false => Happening::ServicesWork { stage, wave: of.1 },
                },
            );
        }
        self.pump(id);
    }

    fn begin(&mut self, id: usize, action: Action) {
        let (host, stage, kind) = match action {
            Action::Run { host, stage } => (host, stage, Kind::Run),
            Action::Confirm { host, stage } => (host, stage, Kind::Confirm),
            Action::Undo { host, stage, .. } => (host, stage, Kind::Undo),
            Action::Record(_) => return,
        };
        self.tell(|| format!("controller {id}: {kind:?} {host} {stage}"));
        let at = self.book.stage(&stage);
        let current = self.controllers.get(&id).is_some_and(|c| c.known == self.log.len());
        if kind == Kind::Run && current {
            self.book.asked(number(&host), &stage);
        }
        let request = match kind {
            Kind::Run => Request::Hello,
            Kind::Confirm => Request::Confirm { stage: at },
            Kind::Undo => Request::Undo { stage: at },
        };
        let number = self.number();
        let task = Task { host, stage, kind, request, connection: 0, since: self.now, lost: None };
        if let Some(controller) = self.controllers.get_mut(&id) {
            controller.tasks.insert(number, task);
            self.ask(id, number, request);
        }
    }

    /// Asks a host over a new connection.
    fn ask(&mut self, id: usize, task: usize, request: Request) {
        let connection = self.number();
        let Some(controller) = self.controllers.get_mut(&id) else { return };
        let epoch = controller.epoch;
        let Some(of) = controller.tasks.get_mut(&task) else { return };
        (of.request, of.connection) = (request, connection);
        let n = number(&of.host);
        let bound = match request {
            Request::Hello => 10_000,
            Request::Arm { .. } | Request::Confirm { .. } => 30_000,
            Request::Stage { .. } | Request::Undo { .. } => 150_000,
        };
        let envelope = Envelope { controller: id, epoch, task, connection, request };
        self.deliver(n, Event::Arrives(n, envelope));
        self.after(bound, Event::Bound { controller: id, task, connection });
    }

    fn task(&self, id: usize, task: usize, connection: usize) -> Option<Task> {
        let task = self.controllers.get(&id)?.tasks.get(&task)?;
        (task.connection == connection).then(|| task.clone())
    }

    pub(crate) fn again(&mut self, id: usize, task: usize, connection: usize) {
        if let Some(of) = self.task(id, task, connection) {
            self.ask(id, task, of.request);
        }
    }

    /// No answer came in time.
    pub(crate) fn lost(&mut self, id: usize, task: usize, connection: usize) {
        let Some(of) = self.task(id, task, connection) else { return };
        let fault = Fault::new(FaultCode::Timeout, "simulated");
        match (of.kind, of.request) {
            (Kind::Run, Request::Hello) => {
                let waits = self.scene.stages[self.book.stage(&of.stage)].part.rules.offline_ms.is_some();
                let (host, stage) = (of.host, of.stage);
                self.end(
                    id,
                    task,
                    match waits {
                        true => Happening::HostOffline { host, stage, fault },
                        false => Happening::HostFailed { host, stage, fault },
                    },
                );
            }
            (Kind::Undo, _) => self.failed(id, task, fault),
            _ => {
                let lost = of.lost.unwrap_or(self.now);
                if let Some(of) = self.controllers.get_mut(&id).and_then(|c| c.tasks.get_mut(&task)) {
                    of.lost = Some(lost);
                }
                if self.now > lost + LOST_MS || self.now > of.since + MOST_MS {
                    return self.failed(id, task, fault);
                }
                self.after(2_000, Event::Again { controller: id, task, connection });
            }
        }
    }

    fn failed(&mut self, id: usize, task: usize, fault: Fault) {
        let Some(of) = self.controllers.get(&id).and_then(|c| c.tasks.get(&task)).cloned() else { return };
        let (host, stage) = (of.host, of.stage);
        self.end(
            id,
            task,
            match of.kind {
                Kind::Undo => Happening::HostStuck { host, stage, steps: Vec::new(), fault },
                Kind::Run | Kind::Confirm => Happening::HostFailed { host, stage, fault },
            },
        );
    }

    fn end(&mut self, id: usize, task: usize, happening: Happening) {
        if let Some(controller) = self.controllers.get_mut(&id) {
            controller.tasks.remove(&task);
        }
        self.note(id, happening);
        self.pump(id);
    }

    pub(crate) fn answered(&mut self, id: usize, task: usize, connection: usize, reply: Reply) {
        let Some(of) = self.task(id, task, connection) else { return };
        let (host, stage, at) = (of.host.clone(), of.stage.clone(), self.book.stage(&of.stage));
        match (of.request, reply) {
            (Request::Hello, Reply::Hello) => {
                self.note(id, Happening::HostBegun { host, stage });
                if self.write(id) {
                    match self.scene.stages[at].part.rules.guard_ms {
                        Some(within_ms) => self.ask(id, task, Request::Arm { stage: at, within_ms }),
                        None => self.go_forward(id, task, &of, 0),
                    }
                }
            }
            (Request::Arm { .. }, Reply::Armed) => self.go_forward(id, task, &of, 0),
            (Request::Stage { to, .. }, Reply::Ended { ok: true }) => self.go_forward(id, task, &of, to),
            (Request::Stage { .. }, Reply::Ended { ok: false }) => {
                self.failed(id, task, Fault::new(FaultCode::CommandFailed, "simulated"));
            }
            (Request::Confirm { .. }, Reply::Confirmed) => {
                self.end(id, task, Happening::HostConfirmed { host, stage });
            }
            (Request::Undo { .. }, Reply::Undone { stuck }) if stuck.is_empty() => {
                self.end(id, task, Happening::HostUndone { host, stage });
            }
            (Request::Undo { .. }, Reply::Undone { .. }) => {
                self.failed(id, task, Fault::new(FaultCode::CommandFailed, "simulated"));
            }
            (_, Reply::Fault(FaultCode::Busy)) if self.now <= of.since + MOST_MS => {
                self.after(2_000, Event::Again { controller: id, task, connection });
            }
            (_, Reply::Fault(code)) => self.failed(id, task, Fault::new(code, "simulated")),
            (request, reply) => self.demand(false, || format!("{request:?} is answered with {reply:?}")),
        }
    }

    /// The steps from this one on: until a person is needed, or until the stage is through.
    fn go_forward(&mut self, id: usize, task: usize, of: &Task, from: usize) {
        let (host, stage, at) = (of.host.clone(), of.stage.clone(), self.book.stage(&of.stage));
        let (steps, manual) = (self.scene.stages[at].steps, self.scene.stages[at].manual);
        if from == steps {
            return self.end(id, task, Happening::HostDone { host, stage });
        }
        if manual == Some(from) && !self.done_by_hand.contains(&(at, number(&host))) {
            let step = StepId(format!("{stage}.{from}"));
            return self.end(id, task, Happening::HostWaits { host, stage, step, text: "plug it in".into() });
        }
        let to = manual.filter(|manual| *manual > from).unwrap_or(steps);
        self.ask(id, task, Request::Stage { stage: at, from, to });
    }
}
