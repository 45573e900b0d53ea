//! Forty steps on six servers, and a run that went a little differently from its forecast.

use std::collections::BTreeMap;
use std::time::Duration;

use weiche_agent::digest::Digest;
use weiche_agent::protocol::{
    Difference, Fault, FaultCode, Manifest, RunId, Step as Resource, StepEvent, StepId, StepOutcome,
};

use crate::calendar::{Moment, Pattern, Window, Zone};
use crate::forecast::{Forecast, Options};
use crate::input::paper::Person;
use crate::input::target::HostName;
use crate::paper::people::People;
use crate::plan::procedure::{Action, Check, Manual, Probe, Reboot, Transfer};
use crate::plan::rules::Rules;
use crate::plan::takes::{Basis, Estimate, Size, Takes};
use crate::plan::{Metered, Outlook, Plan, Stage, Step};
use crate::rollout::meter::{Gap, Measure};
use crate::rollout::{Happening, Outcome, Verdict};
use crate::store::{EVENT_VERSION, Event};

const MINUTE: i64 = 60_000;

const HOSTS: [&str; 6] = ["db-01", "dc-01", "fs-01", "mail-01", "print-01", "web-01"];

pub(super) struct Scene {
    pub(super) plan: Plan,
    pub(super) forecast: Forecast,
    pub(super) people: People,
    pub(super) events: Vec<Event>,
}

fn host(name: &str) -> HostName {
    HostName(format!("obere-aller/{name}"))
}

fn step(action: Action, title: &str, changes: bool, undo: &str) -> Step {
    let outlook = Outlook {
        changes,
        diff: Vec::new(),
        undo: undo.to_owned(),
        irreversible: undo == "none",
        contents: Vec::new(),
        size: Size::default(),
        seen: None,
    };
    Step { action, title: title.to_owned(), outlook, takes: None }
}

fn resource(id: StepId, kind: &str, name: &str, changes: bool, undo: &str) -> Step {
    let (kind, spec) = (kind.to_owned(), serde_json::Value::Null);
    let title = format!("{kind} {name}");
    let resource = Resource { id, kind, spec, watches: Vec::new(), anchor: false, timeout_ms: 1, inject: None };
    step(Action::Resource(resource), &title, changes, undo)
}

fn prepare(stage: &str) -> Vec<Step> {
    let id = |n: u32| StepId(format!("{stage}.{n}"));
    vec![
        resource(id(1), "package", "rsync", false, ""),
        resource(
            id(2),
            "file",
            "/etc/samba/smb.conf.d/freigaben-der-verbandsgemeinde-obere-aller/verwaltung.conf",
            true,
            "put back what is there now",
        ),
        resource(id(3), "firewall", "weiche-move", true, "remove it again"),
    ]
}

fn swap(name: &str, stage: &str) -> Vec<Step> {
    let id = |n: u32| StepId(format!("{stage}.{n}"));
    let unit = resource(id(1), "unit", "smbd.service", true, "put back what is there now (best effort, see below)");
    let transfer = Transfer { id: id(2), from: host("old-01"), path: "/srv/files".into(), delete: true };
    let transfer = step(
        Action::Transfer(transfer),
        "transfer /srv/files",
        true,
        "put back the tree as it is now (replaced contents are kept on the host)",
    );
    let within = Duration::from_secs(300);
    let probe = Probe::Tcp(format!("{name}.obere-aller.example:445"));
    let check = Check { id: id(3), probe, within, every: Duration::from_secs(1), waits: true };
    let mut steps = vec![unit, transfer, step(Action::Check(check), "wait", false, "")];
    if name == "fs-01" {
        let text = "move the cable of the users' network from port 3 to port 7 of the switch in room 0.12".to_owned();
        let manual = Manual { id: id(4), text, by: Some("frida".into()), takes: Some(Duration::from_secs(600)) };
        steps.push(step(Action::Manual(manual), "manual", false, "a person takes it back, if need be"));
    }
    steps
}

fn finish(name: &str, stage: &str) -> Vec<Step> {
    match name {
        "db-01" => {
            let text = "erase the old disks".to_owned();
            let manual =
                Manual { id: StepId(format!("{stage}.1")), text, by: Some("the locksmith".into()), takes: None };
            vec![step(Action::Manual(manual), "manual", false, "none")]
        }
        "dc-01" | "fs-01" => {
            let (id, reason) = (StepId(format!("{stage}.1")), Some("a new kernel".to_owned()));
            let reboot = Reboot { id, reason, within: Duration::from_secs(600) };
            vec![step(
                Action::Reboot(reboot),
                "reboot",
                true,
                "nothing to take back; what is taken back of other steps may take another restart to work",
            )]
        }
        _ => Vec::new(),
    }
}

impl Scene {
    pub(super) fn new(start_ms: i64) -> Scene {
        let stage = |name: &str, steps: fn(&str, &str) -> Vec<Step>| Stage {
            name: name.to_owned(),
            hosts: HOSTS.iter().map(|of| (host(of), steps(of, name))).filter(|(_, steps)| !steps.is_empty()).collect(),
            turns: Vec::new(),
            rules: Rules { guard_ms: (name == "swap").then_some(10 * MINUTE), ..Rules::default() },
            around: None,
            needs_ms: 0,
            alone_ms: 0,
        };
        let mut stages =
            vec![stage("prepare", |_, stage| prepare(stage)), stage("swap", swap), stage("finish", finish)];
        for stage in &mut stages {
            if stage.name != "prepare" {
                stage.rules.windows = vec![window()];
            }
            let steps = stage.hosts.values_mut().flatten();
            steps.for_each(|step| step.takes = Some(takes(&step.action)));
        }
        let service = |name: &str, budget_ms| Metered {
            service: format!("obere-aller/{name}"),
            probe: Probe::Tcp(format!("{name}.obere-aller.example:445")),
            budget_ms,
            vantage: None,
        };
        let plan = Plan {
            crew: Default::default(),
            nonce: "n".into(),
            created_ms: start_ms,
            start_ms: None,
            fleet: "kitu".into(),
            playbook: "town-hall-swap".into(),
            inputs: BTreeMap::new(),
            simulated: Default::default(),
            watch: BTreeMap::new(),
            unidentified: Default::default(),
            planner: "frida".into(),
            sites: BTreeMap::new(),
            meter: vec![service("files", Some(60_000)), service("mail", Some(600_000)), service("web", None)],
            connections: 50,
            classes: BTreeMap::new(),
            stages,
        };
        let options = Options { start_ms, technicians: Some(2), ..Options::default() };
        let forecast = crate::forecast::of(&plan, &options);
        let events = events(&plan, &forecast);
        Scene { plan, forecast, people: people(), events }
    }

    /// Puts a text into everything that is shown.
    pub(super) fn spoil(&mut self, text: &str) {
        self.plan.playbook = text.to_owned();
        self.plan.fleet = text.to_owned();
        self.people.titles.values_mut().for_each(|title| *title = text.to_owned());
        self.people.known.values_mut().for_each(|person| person.name = text.to_owned());
        self.plan.meter.iter_mut().for_each(|metered| metered.service = text.to_owned());
        for steps in self.plan.stages.iter_mut().flat_map(|stage| stage.hosts.values_mut()).flatten() {
            steps.title = text.to_owned();
            steps.outlook.undo = text.to_owned();
        }
        for (stage, expected) in self.plan.stages.iter_mut().zip(&mut self.forecast.stages) {
            stage.name = format!("{text}{}", stage.name);
            expected.stage.clone_from(&stage.name);
        }
    }
}

fn people() -> People {
    let person = |name: &str, phone: &str, role: &str| Person {
        name: name.to_owned(),
        phone: Some(phone.to_owned().try_into().unwrap()),
        role: Some(role.to_owned()),
    };
    let frida = person("Frida Beispiel", "+49 30 23125 001", "technician");
    let otto = person("Otto Muster", "+49 30 23125 002", "town hall, decides");
    let titles = BTreeMap::from([("obere-aller".to_owned(), "Verbandsgemeinde Obere Aller".to_owned())]);
    People { known: BTreeMap::from([("frida".to_owned(), frida), ("otto".to_owned(), otto)]), titles }
}

/// The window of the whole town hall: from the evening to the next morning, whatever clocks do between.
fn window() -> Window {
    let moment = |text: &str| text.parse::<Moment>().unwrap();
    let pattern = Pattern::new(moment("sat 20:00"), moment("sun 13:00")).unwrap();
    let zone = Zone::find("Europe/Berlin").unwrap();
    Window { zone, pattern, reserve_ms: 7_200_000, holidays: None, except: Default::default() }
}

/// What a step has taken in seven earlier runs.
fn takes(action: &Action) -> Takes {
    let minute = 60_000;
    let (usual, back) = match action {
        Action::Transfer(_) => (300, 20),
        Action::Reboot(_) => (6, 0),
        Action::Manual(_) => (10, 0),
        Action::Check(_) => (1, 0),
        Action::Resource(_) => (5, 4),
    };
    let of = |usual: u64| Estimate {
        least_ms: usual * minute / 2,
        usual_ms: usual * minute,
        bound_ms: usual * minute * 4 / 3,
        from: Basis::Runs(7),
    };
    Takes { forward: of(usual), back: of(back) }
}

fn action<'a>(plan: &'a Plan, host: &HostName, id: &StepId) -> &'a Action {
    let mut steps = plan.steps().map(|(_, of, step)| (of, &step.action));
    steps.find(|(of, action)| *of == host && action.id() == id).expect("a step of the plan").1
}

/// What is new there cannot be reached.
fn fails(host: &HostName, stage: &str) -> bool {
    host.name() == "web-01" && stage == "swap"
}

fn refused() -> Fault {
    Fault::new(FaultCode::Timeout, "web-01.obere-aller.example:445: connection refused")
}

/// All that a host has done, last first.
fn taken_back(forecast: &Forecast, host: &HostName, from_ms: i64) -> Vec<(i64, Happening)> {
    let (mut all, mut at_ms) = (Vec::new(), from_ms);
    for stage in forecast.stages.iter().rev() {
        let Some(steps) = stage.hosts.get(host).filter(|_| stage.start.usual_ms < from_ms) else { continue };
        for step in steps.iter().rev().filter(|step| step.back_ms > 0) {
            at_ms = at_ms.saturating_add_unsigned(step.back_ms);
            let (id, took_us) = (step.step.clone(), step.back_ms * 1000);
            let event = StepEvent { step: id, what: StepOutcome::Undone, took_us };
            all.push((at_ms, Happening::Step { host: host.clone(), event }));
        }
        all.push((at_ms, Happening::HostUndone { host: host.clone(), stage: stage.stage.clone() }));
    }
    all
}

/// The run: a little late, one host switched off, one that is taken back and differs.
fn events(plan: &Plan, forecast: &Forecast) -> Vec<Event> {
    let mut all =
        vec![(forecast.start_ms, Happening::RunStarted { plan: plan.digest(), playbook: plan.playbook.clone() })];
    let manifest = Manifest { digest: Digest::of(b"list"), entries: 41_207, bytes: 9_812_000_000 };
    for stage in &forecast.stages {
        let name = || stage.stage.clone();
        all.push((stage.start.usual_ms + MINUTE, Happening::StageStarted { stage: name() }));
        for (host, steps) in &stage.hosts {
            if host.name() == "print-01" {
                let fault = Fault::new(FaultCode::Io, "no route to host");
                all.push((stage.start.usual_ms, Happening::HostOffline { host: host.clone(), stage: name(), fault }));
                continue;
            }
            let begun_ms = steps[0].start.usual_ms + 2 * MINUTE;
            all.push((begun_ms, Happening::HostBegun { host: host.clone(), stage: name() }));
            all.push((begun_ms, Happening::HostWitnessed { host: host.clone(), manifest: manifest.clone() }));
            for step in steps {
                let event = |what| StepEvent { step: step.step.clone(), what, took_us: step.usual_ms * 1100 };
                let note = StepOutcome::Note("letter.odt: anna".into());
                all.push((step.end.usual_ms, Happening::Step { host: host.clone(), event: event(note) }));
                let outcome = match action(plan, host, &step.step) {
                    Action::Check(_) if fails(host, &name()) => StepOutcome::Failed(refused()),
                    Action::Resource(_) | Action::Transfer(_) | Action::Reboot(_) => StepOutcome::Changed,
                    Action::Check(_) | Action::Manual(_) => StepOutcome::Unchanged,
                };
                all.push((
                    step.end.usual_ms + 3 * MINUTE,
                    Happening::Step { host: host.clone(), event: event(outcome) },
                ));
            }
            let end = steps[steps.len() - 1].end.usual_ms + 4 * MINUTE;
            if fails(host, &name()) {
                all.push((end, Happening::HostFailed { host: host.clone(), stage: name(), fault: refused() }));
                all.extend(taken_back(forecast, host, end));
                continue;
            }
            all.push((end, Happening::HostDone { host: host.clone(), stage: name() }));
        }
    }
    let told = vec![Difference { subject: "/etc/motd".into(), was: Some("a file".into()), is: None }];
    let verdict = Verdict { manifest: manifest.clone(), differences: 1, told };
    let end = forecast.end.usual_ms + 10 * MINUTE;
    all.push((end, Happening::HostVerified { host: host("web-01"), verdict }));
    let measured = |service: &Metered, vantage: Option<HostName>, away_ms: u64| {
        let gap = Gap {
            start_ms: forecast.start_ms + 120 * MINUTE,
            away_ms,
            error: "connection refused".into(),
            open: false,
        };
        let measure = Measure {
            from_ms: forecast.start_ms,
            length_ms: 36_000_000,
            probes: 36_000,
            gaps: 1,
            told: vec![gap],
            away_ms,
            longest_ms: away_ms,
            coarsest_ms: 1040,
            budget_ms: service.budget_ms,
            ..Measure::default()
        };
        (end, Happening::ServiceMeasured { service: service.service.clone(), vantage, measure })
    };
    let here = plan.meter.iter().zip([12_345, 900_000, 3_000]).map(|(service, away)| measured(service, None, away));
    all.extend(here);
    all.push(measured(&plan.meter[0], Some(host("pc-17")), 45_000));
    all.push((end, Happening::RunEnded { outcome: Outcome::Partial }));
    all.sort_by_key(|(at, _)| *at);
    let run = RunId::try_from("20260328-2100-a1b2".to_owned()).unwrap();
    all.into_iter()
        .zip(1..)
        .map(|((at_ms, what), seq)| Event { v: EVENT_VERSION, run: run.clone(), seq, at_ms, what })
        .collect()
}
