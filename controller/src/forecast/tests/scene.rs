//! Random plans, small and of every form.

use std::collections::BTreeMap;

use weiche_agent::protocol::{Step as Resource, StepId};

use crate::calendar::{Moment, Pattern, Window, Zone};
use crate::input::target::HostName;
use crate::plan::procedure::{Action, Check, Manual, Probe, Turn};
use crate::plan::rules::{Rules, ServiceProbe};
use crate::plan::takes::{Around, Basis, Estimate, Size, Takes};
use crate::plan::{Crew, Outlook, Plan, Stage, Step};
use crate::rollout::rules::{Amount, OnStop, Over, Scope, StopRule};

/// 2026-03-27 12:00 UTC, a Friday; clocks are put forward in the night to Sunday.
pub(crate) const FRIDAY_MS: i64 = 1_774_612_800_000;

pub(crate) const MINUTE: i64 = 60_000;

/// Draws of one seed.
pub(crate) struct Draw(pub(crate) fastrand::Rng);

impl Draw {
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.0.u32(0..100) < percent
    }

    pub(crate) fn ms(&mut self, most: u64) -> u64 {
        self.0.u64(0..=most)
    }

    fn estimate(&mut self, most_ms: u64) -> Estimate {
        let bound_ms = self.ms(most_ms);
        let usual_ms = self.ms(bound_ms);
        Estimate { least_ms: self.ms(usual_ms), usual_ms, bound_ms, from: Basis::Runs(5) }
    }
}

fn host(n: usize) -> HostName {
    HostName(format!("m/h{n}"))
}

fn step(stage: &str, n: usize, manual: bool, draw: &mut Draw) -> Step {
    let id = StepId(format!("{stage}.{n}"));
    let action = if manual {
        let by = [None, Some("frida"), Some("otto"), Some("a caretaker")][draw.0.usize(0..4)];
        Action::Manual(Manual { id, text: "plug it in".into(), by: by.map(str::to_owned), takes: None })
    } else if draw.chance(15) {
        let within = std::time::Duration::from_secs(draw.ms(3_600));
        let probe = Probe::Tcp("fs.example:445".into());
        Action::Check(Check { id, probe, within, every: std::time::Duration::from_secs(1), waits: true })
    } else {
        let (kind, spec) = ("file".into(), serde_json::Value::Null);
        Action::Resource(Resource { id, kind, spec, watches: Vec::new(), anchor: false, timeout_ms: 1, inject: None })
    };
    let minute = 60_000;
    let back = if manual { Estimate::NOTHING } else { draw.estimate(20 * minute) };
    let takes = Takes { forward: draw.estimate(40 * minute), back };
    let outlook = Outlook {
        changes: matches!(action, Action::Resource(_)) && draw.chance(80),
        diff: Vec::new(),
        undo: String::new(),
        irreversible: false,
        contents: Vec::new(),
        size: Size::default(),
        seen: None,
    };
    Step { action, title: format!("file /etc/{n}"), outlook, takes: Some(takes) }
}

fn window(draw: &mut Draw) -> Window {
    let day = |day: u8, clock: &str| {
        const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        format!("{} {clock}", DAYS[usize::from(day)]).parse::<Moment>().unwrap()
    };
    let pattern = match draw.0.u32(0..3) {
        0 => Pattern::new(day(4, "18:00"), day(6, "22:00")),
        1 => Pattern::new(day(5, "20:00"), day(6, "06:00")),
        _ => Pattern::new("20:00".parse().unwrap(), "23:30".parse().unwrap()),
    };
    let reserve_ms = draw.ms(60) * 60_000;
    let zone = Zone::find("Europe/Berlin").unwrap();
    Window { zone, pattern: pattern.unwrap(), reserve_ms, holidays: None, except: Default::default() }
}

fn stop_rule(draw: &mut Draw) -> StopRule {
    let failed = if draw.chance(50) { Amount::Hosts(draw.0.usize(1..4)) } else { Amount::Percent(draw.0.u8(1..=100)) };
    let over = [Over::Wave, Over::Stage, Over::Run, Over::Member, Over::Site];
    StopRule { failed, over: over[draw.0.usize(0..over.len())] }
}

fn rules(hosts: &[HostName], draw: &mut Draw) -> Rules {
    let mut left = hosts.to_vec();
    draw.0.shuffle(&mut left);
    let mut waves = Vec::new();
    for _ in 0..draw.0.usize(0..3) {
        let size = draw.0.usize(0..3).min(left.len());
        waves.push(left.drain(..size).collect());
    }
    let some = |draw: &mut Draw, percent, most| draw.chance(percent).then(|| 1 + draw.ms(most) as i64);
    let scopes = [Scope::Run, Scope::Run, Scope::Stage, Scope::Wave, Scope::Host];
    Rules {
        waves,
        at_once: draw.chance(40).then(|| draw.0.usize(1..4)),
        pause_ms: some(draw, 30, 600_000).unwrap_or(0),
        stop: (0..draw.0.usize(0..3).saturating_sub(1)).map(|_| stop_rule(draw)).collect(),
        on_stop: OnStop::Rollback(scopes[draw.0.usize(0..scopes.len())]),
        within_ms: some(draw, 10, 3_600_000),
        guard_ms: some(draw, 20, 600_000),
        windows: if draw.chance(60) { vec![window(draw)] } else { Vec::new() },
        hold_ms: some(draw, 20, 7_200_000).unwrap_or(0),
        probes: if draw.chance(20) {
            vec![ServiceProbe { service: "m/files".into(), probe: Probe::Tcp("fs.example:445".into()) }]
        } else {
            Vec::new()
        },
        ..Rules::default()
    }
}

fn stage(at: usize, all: usize, draw: &mut Draw) -> Stage {
    let name = format!("s{at}");
    let turns = draw.chance(20);
    let mut hosts = BTreeMap::new();
    for n in 0..all {
        if draw.chance(80) {
            let steps = (0..draw.0.usize(0..5)).map(|n| (n, !turns && draw.chance(10))).collect::<Vec<_>>();
            hosts.insert(host(n), steps.into_iter().map(|(n, manual)| step(&name, n, manual, draw)).collect());
        }
    }
    let names: Vec<HostName> = hosts.keys().cloned().collect();
    let mut rules = rules(&names, draw);
    let turns = if turns {
        rules.waves.clear();
        rules.at_once = None;
        in_turns(&hosts, draw)
    } else {
        Vec::new()
    };
    let around = Around {
        begin: draw.estimate(10_000),
        first: draw.estimate(30_000),
        between: draw.estimate(5_000),
        confirm: draw.estimate(20_000),
        back: draw.estimate(10_000),
        verify: draw.estimate(30_000),
        services: draw.estimate(10_000),
    };
    Stage { name, hosts, turns, rules, around: Some(around), needs_ms: 0, alone_ms: 0 }
}

/// Each host's steps in order, the hosts in any.
fn in_turns(hosts: &BTreeMap<HostName, Vec<Step>>, draw: &mut Draw) -> Vec<Turn> {
    let mut left: Vec<(HostName, Vec<StepId>)> = hosts
        .iter()
        .map(|(host, steps)| (host.clone(), steps.iter().map(|s| s.action.id().clone()).collect()))
        .collect();
    let mut turns = Vec::new();
    left.retain(|(_, steps)| !steps.is_empty());
    while !left.is_empty() {
        let at = draw.0.usize(0..left.len());
        let (host, steps) = &mut left[at];
        let count = draw.0.usize(1..=steps.len());
        turns.push(Turn { host: host.clone(), steps: steps.drain(..count).collect(), beside: false });
        left.retain(|(_, steps)| !steps.is_empty());
    }
    turns
}

/// A plan.
pub(crate) fn plan(draw: &mut Draw) -> Plan {
    let hosts = draw.0.usize(1..8);
    let stages = (0..draw.0.usize(1..5)).map(|at| stage(at, hosts, draw)).collect();
    Plan {
        nonce: draw.0.u64(..).to_string(),
        created_ms: FRIDAY_MS,
        start_ms: None,
        fleet: "kitu".into(),
        playbook: "p".into(),
        inputs: Default::default(),
        simulated: Default::default(),
        watch: Default::default(),
        unidentified: Default::default(),
        planner: String::new(),
        sites: (0..hosts).map(|n| (host(n), format!("site{}", n % 2))).collect(),
        meter: Vec::new(),
        connections: if draw.chance(50) { 0 } else { draw.0.usize(1..6) },
        classes: Default::default(),
        crew: Crew {
            technicians: draw.chance(50).then(|| draw.0.u32(1..4)),
            persons: ["frida".to_owned(), "otto".to_owned()].into(),
        },
        stages,
    }
}

/// A plan for many PCs: a canary, then a tenth, then the rest, at most 50 at once; a package stage and one in a window.
pub(crate) fn big(hosts: usize, steps: usize, draw: &mut Draw) -> Plan {
    let names: Vec<HostName> = (0..hosts).map(|n| HostName(format!("m/pc-{n:03}"))).collect();
    let stage = |at: usize, windowed: bool, draw: &mut Draw| {
        let name = format!("s{at}");
        let of_host = |host: &HostName| {
            let steps = (0..steps / 2).map(|n| step(&name, n, false, draw)).collect::<Vec<_>>();
            (host.clone(), steps)
        };
        let hosts: BTreeMap<HostName, Vec<Step>> = names.iter().map(of_host).collect();
        let rules = Rules {
            waves: vec![names[..1].to_vec(), names[1..=names.len() / 10].to_vec()],
            stop: vec![StopRule { failed: Amount::Percent(5), over: Over::Stage }],
            windows: if windowed { vec![window(&mut Draw(fastrand::Rng::with_seed(0)))] } else { Vec::new() },
            ..Rules::default()
        };
        Stage { name, hosts, turns: Vec::new(), rules, around: None, needs_ms: 0, alone_ms: 0 }
    };
    let stages = vec![stage(0, false, draw), stage(1, true, draw)];
    Plan { connections: 50, sites: BTreeMap::new(), stages, ..plan(draw) }
}
