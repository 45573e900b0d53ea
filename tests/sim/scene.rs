//! What a seed means: a fleet, a playbook's stages and their rules, and what goes wrong when.

use std::collections::BTreeMap;

use weiche::approval::gate::Gate;
use weiche::input::target::HostName;
use weiche::plan::procedure::Probe;
use weiche::rollout::Part;
use weiche::rollout::rules::{Amount, OnStop, Over, Rules, Scope, ServiceProbe, StopRule};

use crate::rng::Rng;

/// A fleet and a rollout to it.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) hosts: usize,
    pub(crate) sites: BTreeMap<HostName, String>,
    pub(crate) stages: Vec<Stage>,
    pub(crate) chances: Chances,
    /// What happens from outside, and when, in milliseconds.
    pub(crate) troubles: Vec<(i64, Trouble)>,
    /// How often a person decides something before they leave the run as it stands.
    pub(crate) decisions: usize,
}

/// A stage of it.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) part: Part,
    pub(crate) steps: usize,
    /// A person has something to do in front of this step.
    pub(crate) manual: Option<usize>,
}

/// How often something goes wrong, in a thousand; and how many times at most, so that every seed comes to rest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chances {
    pub(crate) budget: usize,
    pub(crate) drop: usize,
    pub(crate) late: usize,
    pub(crate) twice: usize,
    pub(crate) put_fails: usize,
    pub(crate) undo_fails: usize,
    pub(crate) hang: usize,
    pub(crate) controller_dies: usize,
    pub(crate) slow: bool,
}

/// Something that happens to a machine from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// Power off; on again after so many milliseconds, or never while the run lasts.
    Down(usize, Option<i64>),
    /// No message comes through for so long.
    Cut(usize, i64),
    /// The agent is killed.
    Kill(usize),
    /// The host's wall clock jumps by so much.
    Jump(usize, i64),
    /// The controller is killed and started again.
    Controller,
    /// Another controller takes over though the first one lives.
    Takeover,
    /// A person pauses the run.
    Pause,
}

pub(crate) fn host(n: usize) -> HostName {
    HostName(format!("m{}/h{n}", n % 2))
}

/// The number of a host by its name.
pub(crate) fn number(host: &HostName) -> usize {
    host.name().trim_start_matches('h').parse().unwrap_or(usize::MAX)
}

impl Scene {
    /// So many hosts in two stages, the second one guarded: one host, a tenth, the rest; nothing goes wrong.
    pub(crate) fn big(hosts: usize) -> Scene {
        let all: Vec<HostName> = (0..hosts).map(host).collect();
        let stage = |at: usize, guard_ms| {
            let rules = Rules {
                waves: vec![all[..1].to_vec(), all[1..hosts / 10].to_vec()],
                at_once: Some(500),
                pause_ms: 60_000,
                stop: vec![StopRule { failed: Amount::Percent(5), over: Over::Wave }],
                guard_ms,
                ..Rules::default()
            };
            let part = Part { name: format!("s{at}"), hosts: all.iter().cloned().collect(), rules, alone_ms: 0 };
            Stage { part, steps: 2, manual: None }
        };
        let stages = vec![stage(0, None), stage(1, Some(86_400_000))];
        let chances = Chances::default();
        Scene { hosts, sites: BTreeMap::new(), stages, chances, troubles: Vec::new(), decisions: 0 }
    }

    pub(crate) fn new(rng: &mut Rng) -> Scene {
        let hosts = rng.range(1, 8);
        let sites = (0..hosts).filter(|n| n % 3 != 0).map(|n| (host(n), format!("site{}", n % 2))).collect();
        let stages = (0..rng.range(1, 4)).map(|at| stage(at, hosts, rng)).collect();
        // Some seeds are calm, so that what should go well does.
        let wild = rng.range(0, 4);
        let rate = |rng: &mut Rng, most: usize| if wild == 0 { 0 } else { rng.range(0, most * wild + 1) };
        let chances = Chances {
            budget: wild * rng.range(1, 12),
            drop: rate(rng, 20),
            late: rate(rng, 10),
            twice: rate(rng, 30),
            put_fails: rate(rng, 30),
            undo_fails: rate(rng, 40),
            hang: rate(rng, 10),
            controller_dies: rate(rng, 30),
            slow: rng.chance(200),
        };
        let troubles = (0..wild * rng.range(0, 4)).map(|_| trouble(hosts, rng)).collect();
        Scene { hosts, sites, stages, chances, troubles, decisions: rng.range(0, 6) }
    }
}

fn stage(at: usize, hosts: usize, rng: &mut Rng) -> Stage {
    let taking_part: Vec<HostName> = (0..hosts).filter(|_| rng.chance(850)).map(host).collect();
    let mut left: Vec<HostName> = taking_part.clone();
    let mut waves = Vec::new();
    for _ in 0..rng.range(0, 3) {
        let size = rng.range(0, 3).min(left.len());
        waves.push(left.drain(..size).collect());
    }
    let some = |rng: &mut Rng, from, to| if rng.chance(500) { Some(rng.ms(from, to)) } else { None };
    let rules = Rules {
        waves,
        at_once: if rng.chance(400) { Some(rng.range(1, 4)) } else { None },
        pause_ms: if rng.chance(300) { rng.ms(1, 120_000) } else { 0 },
        stop: (0..rng.range(0, 3)).map(|_| stop_rule(rng)).collect(),
        on_stop: match rng.range(0, 6) {
            0 => OnStop::Rollback(Scope::Host),
            1 => OnStop::Rollback(Scope::Wave),
            2 => OnStop::Rollback(Scope::Stage),
            3 => OnStop::Hold,
            4 => OnStop::SetAside,
            _ => OnStop::Rollback(Scope::Run),
        },
        offline_ms: some(rng, 60_000, 3_600_000),
        guard_ms: some(rng, 30_000, 600_000),
        hold_ms: if rng.chance(200) { rng.ms(1, 300_000) } else { 0 },
        ..Rules::default()
    };
    let steps = rng.range(1, 4);
    let part = Part { name: format!("s{at}"), hosts: taking_part.into_iter().collect(), rules, alone_ms: 0 };
    Stage { part, steps, manual: if rng.chance(150) { Some(rng.range(0, steps)) } else { None } }
}

impl Scene {
    /// Some stages probe a service, some wait for approvals.
    pub(crate) fn add_services_and_gates(&mut self, rng: &mut Rng) {
        for stage in &mut self.stages {
            if rng.chance(300) {
                let approve = if rng.chance(500) { 1 } else { 2 };
                stage.part.rules.gate = Some(Gate { approve, ..Gate::default() });
            }
            if rng.chance(500) {
                let probe = Probe::Tcp("service.example:443".into());
                stage.part.rules.probes = vec![ServiceProbe { service: "m/service".into(), probe }];
            }
        }
    }
}

fn stop_rule(rng: &mut Rng) -> StopRule {
    let percent = u8::try_from(rng.range(1, 101)).unwrap_or(1);
    let failed = if rng.chance(500) { Amount::Hosts(rng.range(1, 4)) } else { Amount::Percent(percent) };
    StopRule { failed, over: rng.pick(&[Over::Wave, Over::Stage, Over::Run, Over::Member, Over::Site]) }
}

fn trouble(hosts: usize, rng: &mut Rng) -> (i64, Trouble) {
    let host = rng.range(0, hosts);
    let trouble = match rng.range(0, 16) {
        0..4 => Trouble::Down(host, Some(rng.ms(1_000, 1_200_000))),
        4 => Trouble::Down(host, None),
        5..7 => Trouble::Cut(host, rng.ms(1_000, 900_000)),
        7..9 => Trouble::Kill(host),
        9 => Trouble::Jump(host, rng.ms(0, 7_200_000) - 3_600_000),
        10..13 => Trouble::Controller,
        13..15 => Trouble::Takeover,
        _ => Trouble::Pause,
    };
    let at = if rng.chance(700) { rng.ms(0, 30_000) } else { rng.ms(0, 1_200_000) };
    (at, trouble)
}
