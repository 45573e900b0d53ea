//! The world in virtual time: messages under way, hosts at work, controllers that live and die, one run log. Every
//! event is followed by a look at whether all that is promised still holds.

use std::collections::{BTreeMap, BTreeSet};

use weiche::approval::gate::{Approval, Role};
use weiche::rollout::rules::Scope;
use weiche::rollout::{Happening, Outcome, Rollout, Settled, Standing};
use weiche_agent::protocol::Digest;

use crate::book::{Book, PERSON, Said};
use crate::driver::Controller;
use crate::host::{Answer, Condition, Envelope, Guard, Host, Reply, Request};
use crate::rng::Rng;
use crate::scene::{Scene, Trouble, host, number};

/// More events than this and a run does not end.
const MOST: usize = 200_000;

/// Every event is followed by a look at every host in fleets up to this size, else at the one that it was about.
pub(crate) const SMALL: usize = 100;

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A request comes to a host.
    Arrives(usize, Envelope),
    /// An answer comes to the controller.
    Answered { controller: usize, task: usize, connection: usize, reply: Reply },
    /// A host goes on with its work.
    Works { host: usize, token: usize, hung: bool },
    /// An answer was waited for long enough.
    Bound { controller: usize, task: usize, connection: usize },
    /// The same is asked once more.
    Again { controller: usize, task: usize, connection: usize },
    /// A controller looks what is due.
    Tick(usize),
    /// A host's guard is due.
    Guard { host: usize, stage: usize },
    /// A host is switched on.
    On(usize),
    /// Something goes wrong.
    Trouble(Trouble),
    /// A controller is started, with what a person has decided.
    Start(Option<Happening>),
    /// A person looks at how the run stands.
    Person(Standing),
    /// A controller has looked at the services of a stage after a wave.
    Probed(usize, (usize, usize)),
}

/// The world.
pub(crate) struct World {
    pub(crate) scene: Scene,
    pub(crate) rng: Rng,
    pub(crate) now: i64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) log: Vec<(i64, Happening)>,
    pub(crate) book: Book,
    pub(crate) controllers: BTreeMap<usize, Controller>,
    /// Manual steps that a person has done: stage and host.
    pub(crate) done_by_hand: BTreeSet<(usize, usize)>,
    pub(crate) trace: bool,
    /// From which standing to which controllers came.
    pub(crate) ways: BTreeSet<(String, String)>,
    /// From which fate to which a host's part of a stage came.
    pub(crate) fates: BTreeSet<(String, String)>,
    pub(crate) wrong: Option<String>,
    pub(crate) numbers: usize,
    queue: BTreeMap<(i64, usize), Event>,
    epoch: u64,
    cut_until: Vec<i64>,
    events: usize,
}

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> World {
        let mut rng = Rng::new(seed);
        let mut scene = Scene::new(&mut rng);
        if seed % 2 == 1 {
            scene.add_services_and_gates(&mut Rng::new(!seed));
        }
        let world = World::of(scene, rng, trace);
        world.tell(|| format!("seed {seed}: {:#?}", world.scene));
        world
    }

    /// A big fleet, and nothing goes wrong.
    pub(crate) fn big(hosts: usize) -> World {
        World::of(Scene::big(hosts), Rng::new(1), false)
    }

    fn of(scene: Scene, rng: Rng, trace: bool) -> World {
        let mut world = World {
            hosts: (0..scene.hosts).map(|_| Host::new(&scene)).collect(),
            book: Book::new(&scene),
            cut_until: vec![0; scene.hosts],
            rng,
            now: 0,
            log: Vec::new(),
            controllers: BTreeMap::new(),
            done_by_hand: BTreeSet::new(),
            trace,
            ways: BTreeSet::new(),
            fates: BTreeSet::new(),
            wrong: None,
            numbers: 0,
            queue: BTreeMap::new(),
            epoch: 0,
            events: 0,
            scene,
        };
        for (at, trouble) in world.scene.troubles.clone() {
            world.after(at, Event::Trouble(trouble));
        }
        world.after(0, Event::Start(None));
        world
    }

    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>9} {}", self.now, what());
        }
    }

    pub(crate) fn number(&mut self) -> usize {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn after(&mut self, ms: i64, event: Event) {
        let key = (self.now + ms.max(0), self.number());
        self.queue.insert(key, event);
    }

    pub(crate) fn demand(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.wrong.is_none() {
            self.wrong = Some(what());
        }
    }

    /// Whether something goes wrong now, as long as there is a budget for it.
    pub(crate) fn fails(&mut self, per_mille: usize) -> bool {
        let fails = self.scene.chances.budget > 0 && self.rng.chance(per_mille);
        self.scene.chances.budget -= usize::from(fails);
        fails
    }

    /// Lets everything happen, and then looks at what is left.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub(crate) fn play(&mut self) -> Result<usize, String> {
        self.drain()?;
        // Whoever was switched off for good comes up when everything is over: its guard takes back what it has to.
        for n in 0..self.hosts.len() {
            if !self.hosts[n].up {
                self.hosts[n].boot();
            }
        }
        self.drain()?;
        self.at_the_end();
        self.wrong.take().map_or(Ok(self.events), Err)
    }

    fn drain(&mut self) -> Result<(), String> {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            self.events += 1;
            self.demand(self.events < MOST.max(self.hosts.len() * 200), || "it does not come to an end".into());
            let about = match event {
                Event::Arrives(n, _) | Event::Works { host: n, .. } | Event::Guard { host: n, .. } => n..n + 1,
                _ => 0..0,
            };
            self.happens(event);
            for n in if self.hosts.len() > SMALL { about } else { 0..self.hosts.len() } {
                self.inspect(n);
            }
            if self.wrong.is_none() {
                self.wrong = self.book.wrong.take();
            }
            if let Some(wrong) = self.wrong.take() {
                return Err(wrong);
            }
        }
        match self.controllers.is_empty() {
            true => Ok(()),
            false => Err("a controller waits for nothing".into()),
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Arrives(n, envelope) => self.arrives(n, envelope),
            Event::Answered { controller, task, connection, reply } => {
                self.answered(controller, task, connection, reply);
            }
            Event::Works { host, token, hung } => self.works(host, token, hung),
            Event::Bound { controller, task, connection } => self.lost(controller, task, connection),
            Event::Again { controller, task, connection } => self.again(controller, task, connection),
            Event::Tick(controller) => self.pump(controller),
            Event::Guard { host, stage } => {
                if self.hosts[host].up && !self.hosts[host].guard_due(stage, self.now) {
                    self.after(1_000, Event::Guard { host, stage });
                }
            }
            Event::On(n) => {
                self.tell(|| format!("h{n} comes up"));
                self.hosts[n].boot();
            }
            Event::Trouble(trouble) => self.trouble(trouble),
            Event::Start(decision) => self.start(decision),
            Event::Person(standing) => self.person(&standing),
            Event::Probed(controller, of) => self.probed(controller, of),
        }
    }

    fn trouble(&mut self, trouble: Trouble) {
        self.tell(|| format!("{trouble:?}"));
        match trouble {
            Trouble::Down(n, ms) => {
                if self.hosts[n].up {
                    self.hosts[n].up = false;
                    self.hosts[n].stop_work();
                    if let Some(ms) = ms {
                        self.after(ms, Event::On(n));
                    }
                }
            }
            Trouble::Cut(n, ms) => self.cut_until[n] = self.now + ms,
            Trouble::Kill(n) => {
                self.hosts[n].stop_work();
                self.free(n);
            }
            Trouble::Jump(n, ms) => self.hosts[n].wall_offset_ms += ms,
            Trouble::Controller => {
                if let Some((_, _)) = self.controllers.pop_last() {
                    let ms = self.rng.ms(1, 300_000);
                    self.after(ms, Event::Start(None));
                }
            }
            Trouble::Takeover => self.start(None),
            Trouble::Pause => {
                if let Some(id) = self.controllers.keys().last().copied() {
                    self.note(id, Happening::Paused { by: "frida".into() });
                    self.pump(id);
                }
            }
        }
    }

    /// Starts a controller on the run log. The others go on until they notice.
    fn start(&mut self, decision: Option<Happening>) {
        let parts = self.scene.stages.iter().map(|stage| stage.part.clone()).collect();
        let mut rollout = Rollout::new(parts, self.scene.sites.clone());
        self.log.iter().for_each(|(at, happening)| rollout.on(*at, happening));
        rollout.wake();
        self.epoch += 1;
        let id = self.number();
        self.tell(|| format!("controller {id} starts"));
        self.controllers.insert(id, Controller::new(self.epoch, self.log.len(), rollout));
        let first = Happening::RunStarted { plan: Digest::of(b"plan"), playbook: "p".into() };
        let first = if self.log.is_empty() { Some(first) } else { decision };
        if let Some(first) = first {
            self.note(id, first);
        }
        self.pump(id);
    }

    fn person(&mut self, standing: &Standing) {
        if !self.controllers.is_empty() || self.scene.decisions == 0 {
            return;
        }
        self.scene.decisions -= 1;
        let back = || Happening::RollbackStarted {
            reason: format!("{PERSON} wants it"),
            scope: Scope::Run,
            over_drift: false,
        };
        let go_on = || Happening::Continued { by: "frida".into() };
        let choice = self.rng.range(0, 10);
        let decision = match (standing, choice) {
            (Standing::Manual, 0..7) => {
                let all = (0..self.scene.stages.len()).flat_map(|s| (0..self.scene.hosts).map(move |n| (s, n)));
                let waits: Vec<_> = all.filter(|(s, n)| self.book.note(*s, *n).said == Said::Waits).collect();
                self.done_by_hand.extend(waits);
                return self.after(1, Event::Start(None));
            }
            (Standing::Held(_), 0..4) | (Standing::Paused, 0..7) => go_on(),
            (Standing::Gate { stage, .. }, 0..7) => {
                let principal = (*self.rng.pick(&["anna", "bert", "Bert", "carla"])).to_owned();
                let approval = Approval { principal, role: Role::Member, at_ms: self.now };
                Happening::Approved {
                    stage: stage.clone(),
                    approval,
                    statement: String::new(),
                    signature: String::new(),
                }
            }
            (Standing::Manual | Standing::Held(_) | Standing::Paused | Standing::Gate { .. }, 7..9) => back(),
            (Standing::Ended(Outcome::Done | Outcome::Partial), 0) => back(),
            (Standing::Ended(Outcome::Stuck), _) => {
                let all = (0..self.scene.stages.len()).flat_map(|s| (0..self.scene.hosts).map(move |n| (s, n)));
                let is_stuck = |(s, n): &(usize, usize)| self.book.note(*s, *n).said == Said::Stuck;
                let stuck: Vec<_> = all.filter(is_stuck).collect();
                let Some((_, n)) = stuck.first().copied() else { return };
                let how = self.rng.pick(&[Settled::Retry, Settled::Retry, Settled::ByHand, Settled::Forward]);
                if how == Settled::ByHand {
                    for (stage, _) in stuck.iter().filter(|(_, other)| *other == n) {
                        self.hosts[n].by_hand(*stage);
                    }
                }
                Happening::HostSettled { host: host(n), by: "frida".into(), how, reason: "seen to it".into() }
            }
            _ => return,
        };
        self.tell(|| format!("a person decides: {decision:?}"));
        self.start(Some(decision));
    }

    /// A message between the controller and a host: it may be lost, late or doubled.
    pub(crate) fn deliver(&mut self, n: usize, event: Event) {
        let chances = self.scene.chances.clone();
        let mut ms = self.rng.ms(1, 50);
        let left = self.cut_until[n] - self.now;
        if left > 0 {
            // What the sender's kernel still holds comes through when the line is whole again.
            if !self.fails(chances.late * 10) {
                return;
            }
            ms += left;
        } else if self.fails(chances.drop) {
            return;
        } else if self.fails(chances.late) {
            ms += self.rng.ms(1_000, 900_000);
        }
        if self.fails(chances.twice) {
            let more = self.rng.ms(0, 60_000);
            self.after(ms + more, event.clone());
        }
        self.after(ms, event);
    }

    fn reply(&mut self, n: usize, to: Envelope, reply: Reply) {
        let Envelope { controller, task, connection, .. } = to;
        self.deliver(n, Event::Answered { controller, task, connection, reply });
    }

    fn arrives(&mut self, n: usize, envelope: Envelope) {
        if !self.hosts[n].up {
            return;
        }
        let answer = self.hosts[n].take(envelope, self.now);
        if let Request::Arm { stage, .. } = envelope.request
            && let Guard::Armed(due) = self.hosts[n].guards[stage]
        {
            self.after(due - self.now, Event::Guard { host: n, stage });
        }
        match answer {
            Answer::Now(reply) => self.reply(n, envelope, reply),
            Answer::Later => self.go_on(n),
        }
    }

    fn go_on(&mut self, n: usize) {
        let hung = self.fails(self.scene.chances.hang);
        let ms = match (hung, self.scene.chances.slow) {
            (true, _) => 300_000,
            (false, true) => self.rng.ms(1, 15_000),
            (false, false) => self.rng.ms(1, 400),
        };
        self.after(ms, Event::Works { host: n, token: self.hosts[n].job_token, hung });
    }

    fn works(&mut self, n: usize, token: usize, hung: bool) {
        let at_work = &mut self.hosts[n];
        if !at_work.busy() || at_work.job_token != token {
            return;
        }
        match at_work.step(hung, &mut self.scene.chances, &mut self.rng) {
            Some((envelope, reply)) => {
                self.reply(n, envelope, reply);
                self.free(n);
            }
            None => self.go_on(n),
        }
    }

    /// Nobody works any more: the watches that have waited for that come first.
    fn free(&mut self, n: usize) {
        for stage in 0..self.scene.stages.len() {
            if self.hosts[n].up {
                self.hosts[n].guard_due(stage, self.now);
            }
        }
    }

    /// What the log says now must be true now.
    pub(crate) fn written(&mut self, happening: &Happening) {
        let (is, name, stage) = match happening {
            Happening::HostDone { host, stage } => (Condition::New, host, stage),
            Happening::HostConfirmed { host, stage } => (Condition::New, host, stage),
            Happening::HostUndone { host, stage } => (Condition::Old, host, stage),
            _ => return,
        };
        let (n, at) = (number(name), self.book.stage(stage));
        let (real, guard) = (self.hosts[n].condition(at), self.hosts[n].guards[at]);
        let fired = matches!(happening, Happening::HostDone { .. }) && guard == Guard::Fired;
        self.demand(real == is || fired, || format!("the log says {happening:?}, but it is {real:?} ({guard:?})"));
        let confirmed = !matches!(happening, Happening::HostConfirmed { .. }) || guard == Guard::Confirmed;
        self.demand(confirmed, || format!("{name} is said to be confirmed in {stage}: {guard:?}"));
    }

    /// A host is new, old, or the run's, at any moment.
    fn inspect(&mut self, n: usize) {
        for stage in 0..self.scene.stages.len() {
            let (real, note) = (self.hosts[n].condition(stage), self.book.note(stage, n));
            let changed = real != Condition::Old;
            self.demand(!changed || note.begun, || format!("h{n} is {real:?} in s{stage} and was never begun"));
            let back = matches!(note.said, Said::Undone | Said::GivenUp);
            self.demand(!(changed && back), || format!("h{n} is {real:?} in s{stage}, said to be {:?}", note.said));
            let kept = note.said != Said::Done || self.book.back || real == Condition::New;
            self.demand(kept, || format!("h{n} is {real:?} in s{stage}, said to be done"));
            let late = match self.hosts[n].guards[stage] {
                Guard::Armed(due) => self.hosts[n].up && !self.hosts[n].busy() && self.now > due + 2_000,
                _ => false,
            };
            self.demand(!late, || format!("the guard of s{stage} on h{n} has not fired"));
        }
    }

    /// Everything is over: what the log says of a host is what the host is.
    fn at_the_end(&mut self) {
        for n in 0..self.hosts.len() {
            for stage in 0..self.scene.stages.len() {
                let guard = self.hosts[n].guards[stage];
                let real = self.hosts[n].condition(stage);
                let guarded = self.scene.stages[stage].part.rules.guarded();
                self.demand(!matches!(guard, Guard::Armed(_)), || format!("h{n}: a guard of s{stage} is left armed"));
                let unconfirmed = guarded && guard != Guard::Confirmed && real != Condition::Old;
                let stuck = matches!(self.book.note(stage, n).said, Said::Stuck | Said::Left);
                self.demand(!unconfirmed || stuck, || format!("h{n} is {real:?} in s{stage}, never confirmed"));
            }
        }
        let outcome = match self.log.last() {
            Some((_, Happening::RunEnded { outcome })) => *outcome,
            _ => return,
        };
        for stage in 0..self.scene.stages.len() {
            for name in self.scene.stages[stage].part.hosts.clone() {
                let n = number(&name);
                let (note, real) = (self.book.note(stage, n), self.hosts[n].condition(stage));
                let right = match note.said {
                    Said::Done => real == Condition::New,
                    Said::Undone | Said::Idle | Said::GivenUp => real == Condition::Old,
                    Said::Offline => real == Condition::Old && (self.book.back || self.book.is_out(stage, n)),
                    Said::Failed => real == Condition::Old && !note.begun,
                    Said::Stuck | Said::Left => true,
                    Said::Waits | Said::Ready => false,
                };
                self.demand(right, || {
                    format!(
                        "{outcome:?}: h{n} ended as {:?} (begun: {}) in s{stage}; it is {real:?}",
                        note.said, note.begun
                    )
                });
                let as_said = match outcome {
                    Outcome::Done => real == Condition::New,
                    Outcome::RolledBack => real == Condition::Old,
                    _ => true,
                };
                self.demand(as_said, || format!("{outcome:?}: h{n} is {real:?} in s{stage}"));
            }
        }
    }
}
