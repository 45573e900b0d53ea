//! An independent account of the run log: what may be begun when, when a stage stops, what every host's part is said to
//! be. It shares no code with the machine, so that one can be wrong where the other is not.

use std::collections::{BTreeMap, BTreeSet};

use weiche::input::target::HostName;
use weiche::rollout::rules::{Amount, OnStop, Over, Scope, StopRule};
use weiche::rollout::{Happening, Settled};

use crate::scene::{Scene, number};

/// What the log says of a host's part of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Idle,
    Waits,
    Ready,
    Done,
    Failed,
    Offline,
    GivenUp,
    Undone,
    Stuck,
    Left,
}

/// The same, and whether it was begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    pub(crate) said: Said,
    pub(crate) begun: bool,
}

/// A stage as the account sees it.
#[derive(Clone, Debug)]
struct Stage {
    name: String,
    notes: BTreeMap<usize, Note>,
    waves: Vec<Vec<usize>>,
    wave_of: BTreeMap<usize, usize>,
    stop: Vec<StopRule>,
    /// If it stops it alone goes back, and its hosts have no part in what comes.
    set_aside: bool,
    /// Hosts that have no part in it, since a stage went back alone.
    out: BTreeSet<usize>,
    guarded: bool,
    probes: bool,
    /// So many persons must approve it before it begins.
    approve: usize,
    approved_by: BTreeSet<String>,
    /// The wave that has begun last.
    wave: Option<usize>,
}

/// The account.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    stages: Vec<Stage>,
    sites: BTreeMap<HostName, String>,
    failed: BTreeMap<String, BTreeSet<usize>>,
    /// It has to stop, for this reason.
    pub(crate) met: Option<String>,
    pub(crate) held: bool,
    pub(crate) back: bool,
    /// The stage that goes back alone.
    aside: Option<usize>,
    pub(crate) wrong: Option<String>,
    /// The stage and wave after which services were seen to work, or need not.
    works: BTreeSet<(usize, usize)>,
    /// The stage and wave after which one did not, and nobody has decided yet.
    broken: Option<(usize, usize)>,
}

/// How a person's reasons begin.
pub(crate) const PERSON: &str = "a person";

impl Book {
    pub(crate) fn new(scene: &Scene) -> Book {
        let stage = |stage: &crate::scene::Stage| {
            let hosts: Vec<usize> = stage.part.hosts.iter().map(number).collect();
            let named = |wave: &Vec<HostName>| wave.iter().map(number).collect::<Vec<_>>();
            let mut waves: Vec<Vec<usize>> = stage.part.rules.waves.iter().map(named).collect();
            let named: BTreeSet<usize> = waves.concat().into_iter().collect();
            let rest = hosts.iter().copied().filter(|host| !named.contains(host)).collect();
            waves.push(rest);
            waves.retain(|wave| !wave.is_empty());
            Stage {
                name: stage.part.name.clone(),
                notes: hosts.iter().map(|host| (*host, Note { said: Said::Idle, begun: false })).collect(),
                wave_of: waves
                    .iter()
                    .enumerate()
                    .flat_map(|(at, wave)| wave.iter().map(move |host| (*host, at)))
                    .collect(),
                waves,
                stop: stage.part.rules.stop.clone(),
                set_aside: stage.part.rules.on_stop == OnStop::SetAside,
                out: BTreeSet::new(),
                guarded: stage.part.rules.guarded(),
                probes: !stage.part.rules.probes.is_empty(),
                approve: stage.part.rules.gate.as_ref().map_or(0, |gate| gate.approve as usize),
                approved_by: BTreeSet::new(),
                wave: None,
            }
        };
        Book {
            stages: scene.stages.iter().map(stage).collect(),
            sites: scene.sites.clone(),
            failed: BTreeMap::new(),
            met: None,
            held: false,
            back: false,
            aside: None,
            wrong: None,
            works: BTreeSet::new(),
            broken: None,
        }
    }

    pub(crate) fn note(&self, stage: usize, host: usize) -> Note {
        self.stages[stage].notes.get(&host).copied().unwrap_or(Note { said: Said::Idle, begun: false })
    }

    pub(crate) fn stage(&self, name: &str) -> usize {
        self.stages.iter().position(|stage| stage.name == name).unwrap_or(usize::MAX)
    }

    fn demand(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.wrong.is_none() {
            self.wrong = Some(what());
        }
    }

    /// Whoever is up to date asks for the host's part of the stage.
    pub(crate) fn asked(&mut self, host: usize, stage: &str) {
        let note = self.note(self.stage(stage), host);
        let met = self.met.clone();
        self.demand(note.begun || met.is_none(), || format!("h{host} is to begin {stage} behind a stop: {met:?}"));
        let open = matches!(note.said, Said::Idle | Said::Offline | Said::Waits);
        self.demand(open, || format!("h{host} is to do {stage} again, which is {:?}", note.said));
        let (back, held) = (self.back, self.held);
        self.demand(!back && !held, || format!("h{host} is to do {stage} on the way back"));
    }

    /// Takes note of what was written into the run log.
    pub(crate) fn on(&mut self, happening: &Happening) {
        match happening {
            Happening::StageStarted { stage } => self.enter(self.stage(stage), 0),
            Happening::WaveStarted { stage, wave } => self.enter(self.stage(stage), *wave),
            Happening::HostBegun { host, stage } => self.begun(number(host), self.stage(stage)),
            Happening::HostDone { host, stage } => {
                let guarded = self.stages[self.stage(stage)].guarded;
                self.say(host, stage, if guarded { Said::Ready } else { Said::Done });
            }
            Happening::HostConfirmed { host, stage } => self.say(host, stage, Said::Done),
            Happening::HostOffline { host, stage, .. } => self.say(host, stage, Said::Offline),
            Happening::HostGivenUp { host, stage } => self.say(host, stage, Said::GivenUp),
            Happening::HostFailed { host, stage, .. } => {
                self.say(host, stage, Said::Failed);
                self.count(host, self.stage(stage));
            }
            Happening::HostWaits { host, stage, .. } => self.say(host, stage, Said::Waits),
            Happening::HostUndone { host, stage } => self.say(host, stage, Said::Undone),
            Happening::HostStuck { host, stage, .. } => self.say(host, stage, Said::Stuck),
            Happening::HostSettled { host, how, .. } => {
                let said = match how {
                    Settled::Retry => Said::Failed,
                    Settled::ByHand => Said::Undone,
                    Settled::Forward => Said::Left,
                };
                for note in self.stages.iter_mut().filter_map(|stage| stage.notes.get_mut(&number(host))) {
                    if note.said == Said::Stuck {
                        note.said = said;
                    }
                }
            }
            Happening::Approved { stage, approval, .. } => {
                let at = self.stage(stage);
                self.stages[at].approved_by.insert(approval.principal.to_lowercase());
            }
            Happening::ServicesWork { stage, wave } => drop(self.works.insert((self.stage(stage), *wave))),
            Happening::ServiceFailed { stage, .. } => {
                let at = self.stage(stage);
                self.broken = self.stages[at].wave.map(|wave| (at, wave));
                self.met.get_or_insert("a service".into());
            }
            Happening::Held { stage, .. } => {
                let aside = self.aside.take();
                let met = self.met.is_some() || aside.is_some_and(|at| self.stages[at].name == *stage);
                self.demand(met, || "it holds though no rule is met".into());
                aside.into_iter().for_each(|at| self.set_aside(at));
                (self.held, self.back) = (true, false);
            }
            Happening::Continued { .. } => {
                (self.held, self.met) = (false, None);
                self.works.extend(self.broken.take());
                self.failed.clear();
            }
            Happening::RollbackStarted { reason, scope, .. } => {
                let met = self.met.is_some() || reason.starts_with(PERSON);
                let last = self.stages.iter().rposition(|stage| stage.wave.is_some());
                self.aside = last.filter(|at| *scope == Scope::Stage && self.stages[*at].set_aside);
                self.demand(met, || "it goes back though no rule is met".into());
                (self.held, self.met, self.back) = (false, None, true);
            }
            _ => {}
        }
    }

    fn say(&mut self, host: &HostName, stage: &str, said: Said) {
        let at = self.stage(stage);
        if let Some(note) = self.stages[at].notes.get_mut(&number(host)) {
            note.said = said;
        }
    }

    /// Whether a host's part is so far through that a later wave may begin.
    fn through(&self, stage: usize, host: usize) -> bool {
        let note = self.note(stage, host);
        match note.said {
            Said::Done | Said::Offline | Said::GivenUp | Said::Undone | Said::Stuck | Said::Left => true,
            Said::Failed => !note.begun,
            Said::Idle => self.lost(stage, host),
            Said::Waits | Said::Ready => false,
        }
    }

    /// The hosts of a stage that went back alone are out, with those that were taken back half-way, and so is whoever shares a
    /// later stage of this kind with one that is.
    fn set_aside(&mut self, at: usize) {
        let mut out: BTreeSet<usize> = self.stages[at].notes.keys().copied().collect();
        let notes = self.stages.iter().flat_map(|stage| &stage.notes);
        out.extend(notes.filter(|(_, note)| note.said == Said::Undone).map(|(host, _)| *host));
        for _ in 0..self.stages.len() {
            for stage in self.stages[at..].iter().filter(|stage| stage.set_aside) {
                if stage.notes.keys().any(|host| out.contains(host)) {
                    out.extend(stage.notes.keys());
                }
            }
        }
        for stage in &mut self.stages[at..] {
            stage.out.extend(&out);
        }
        // Nobody looks whether services work behind what is not there.
        self.works.extend(self.stages[at].wave.map(|wave| (at, wave)));
    }

    /// Whether a host has no part in a stage since one went back alone.
    pub(crate) fn is_out(&self, stage: usize, host: usize) -> bool {
        self.stages[stage].out.contains(&host)
    }

    /// Whether a host has no part in a stage because of what became of it before.
    fn lost(&self, stage: usize, host: usize) -> bool {
        if self.is_out(stage, host) {
            return true;
        }
        let out = |said| !matches!(said, Said::Idle | Said::Done | Said::Ready | Said::Waits);
        self.stages[..stage].iter().filter_map(|stage| stage.notes.get(&host)).any(|note| out(note.said))
    }

    fn enter(&mut self, stage: usize, wave: usize) {
        let name = self.stages[stage].name.clone();
        let stopped = self.back || self.held || self.met.is_some();
        self.demand(!stopped, || format!("wave {wave} of {name} begins behind a stop"));
        let before =
            if wave == 0 { stage.checked_sub(1).map(|stage| (stage, usize::MAX)) } else { Some((stage, wave)) };
        if let Some((stage, upto)) = before {
            let hosts: Vec<usize> = self.stages[stage].waves.iter().take(upto).flatten().copied().collect();
            let open: Vec<usize> = hosts.into_iter().filter(|host| !self.through(stage, *host)).collect();
            self.demand(open.is_empty(), || format!("wave {wave} of {name} begins, but {open:?} are not through"));
        }
        let (approve, by) = (self.stages[stage].approve, self.stages[stage].approved_by.len());
        self.demand(by >= approve, || format!("{name} begins with {by} approvals of {approve}"));
        let last = match wave.checked_sub(1) {
            Some(wave) => Some((stage, wave)),
            None => stage.checked_sub(1).and_then(|at| Some((at, self.stages[at].wave?))),
        };
        if let Some(last) = last.filter(|(at, _)| self.stages[*at].probes) {
            let works = self.works.contains(&last);
            self.demand(works, || format!("wave {wave} of {name} begins, and nobody has seen that the services work"));
        }
        let order = match (wave, self.stages[stage].wave) {
            (0, seen) => seen.is_none() && stage.checked_sub(1).is_none_or(|at| self.stages[at].wave.is_some()),
            (wave, seen) => seen.map(|seen| seen + 1) == Some(wave),
        };
        self.demand(order, || format!("wave {wave} of {name} is out of order"));
        self.stages[stage].wave = Some(wave);
    }

    fn begun(&mut self, host: usize, stage: usize) {
        let (back, held, out) = (self.back, self.held, self.is_out(stage, host));
        let name = self.stages[stage].name.clone();
        self.demand(!back && !held, || format!("h{host} begins {name} behind a stop"));
        self.demand(!out, || format!("h{host} begins {name}, and has no part in it any more"));
        // A wave begins when those before are through: see `enter`.
        let wave = self.stages[stage].wave_of.get(&host).copied();
        let due = self.stages[stage].wave >= wave && wave.is_some();
        self.demand(due, || format!("h{host} begins {name} before its wave"));
        let earlier = self.stages[..stage].iter().filter_map(|stage| stage.notes.get(&host));
        let open: Vec<Said> = earlier.map(|note| note.said).filter(|said| *said != Said::Done).collect();
        self.demand(open.is_empty(), || format!("h{host} begins {name}, but is {open:?} before"));
        if let Some(note) = self.stages[stage].notes.get_mut(&host) {
            note.begun = true;
        }
    }

    /// Counts a failure, and finds out whether the stage has to stop.
    fn count(&mut self, host: &HostName, at: usize) {
        let stage = &self.stages[at];
        let rules = match stage.stop.as_slice() {
            [] => vec![StopRule { failed: Amount::Hosts(1), over: Over::Run }],
            rules => rules.to_vec(),
        };
        let here = || stage.notes.keys().map(|host| crate::scene::host(*host));
        let site = |host: &HostName| self.sites.get(host).map(|site| format!("{}/{site}", host.member()));
        let wave = stage.waves.iter().position(|wave| wave.contains(&number(host))).unwrap_or(0);
        let run: BTreeSet<usize> = self.stages.iter().flat_map(|stage| stage.notes.keys().copied()).collect();
        let same_site = site(host)
            .map(|of| (format!("site {at} {of}"), here().filter(|host| site(host).as_ref() == Some(&of)).count()));
        let same_member = here().filter(|other| other.member() == host.member()).count();
        let groups = [
            (Over::Wave, Some((format!("wave {at} {wave}"), stage.waves[wave].len()))),
            (Over::Stage, Some((format!("stage {at}"), stage.notes.len()))),
            (Over::Run, Some(("run".to_owned(), run.len()))),
            (Over::Member, Some((format!("member {at} {}", host.member()), same_member))),
            (Over::Site, same_site),
        ];
        for (over, group) in groups {
            let Some((name, whole)) = group else { continue };
            let failed = self.failed.entry(name.clone()).or_default();
            failed.insert(number(host));
            let reached = |rule: &&StopRule| match rule.failed {
                Amount::Hosts(n) => failed.len() >= n,
                Amount::Percent(p) => failed.len() * 100 >= usize::from(p) * whole,
            };
            if let Some(rule) = rules.iter().filter(|rule| rule.over == over).find(reached) {
                self.met.get_or_insert(format!("{rule}: {name}"));
            }
        }
    }
}
