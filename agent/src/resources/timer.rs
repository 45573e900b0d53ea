//! `timer`: a program that systemd runs at set times, as systemd.timer(5) has it: a oneshot service and its timer.

mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::{Node, Presence};
use super::nodes::{self, Nodes};
use super::unit::{self, Activity, Unit};
use crate::fault::{Fault, FaultCode};
use crate::host::Command;
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};

/// Where an administrator's units lie, from systemd.unit(5).
const UNITS: &str = "/etc/systemd/system";

/// A program that runs at set times.
#[derive(Debug)]
pub struct Timer;

/// A program that systemd runs at set times. Writes `/etc/systemd/system/NAME.service` and `NAME.timer`, and enables
/// and starts the timer. The program itself is not started at once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "timer")]
pub struct Spec {
    /// Name of both units, without an ending.
    pub name: String,
    /// Program and arguments; no shell is involved, and nothing in them is expanded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Who runs it; root without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When, as in systemd.time(7), e.g. `Mon..Fri 02:30` or `daily`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_calendar: Option<String>,
    /// A time that passed while the host was off is made up for at the next start.
    #[serde(default)]
    pub persistent: bool,
    /// It starts at random up to so much later, e.g. `10min`, so that not all hosts start at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub randomized_delay: Option<String>,
    /// What it is for, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `present` (default) or `absent`: the timer is stopped, and both units are removed.
    #[serde(default)]
    pub state: Presence,
}

/// The two files and the timer as systemd has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// `NAME.service` and `NAME.timer` in `/etc/systemd/system`.
    pub files: Nodes,
    /// The timer.
    pub timer: unit::State,
    /// What systemd says against the times, if it was asked (only if the files differ) and says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Lens for Timer {
    const NAME: &'static str = "timer";
    const UNDO: Exactness = Exactness::BestEffort("what the program did when it ran, and when it last ran");
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        text::problems(spec)
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        let units = [format!("{}.service", spec.name), format!("{}.timer", spec.name)];
        let paths = paths(spec).map(|path| Claim::Path(path.into()));
        paths.into_iter().chain(units.map(|unit| Claim::Name("unit", unit))).collect()
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let files = nodes::get(paths(spec), cx)?;
        let timer = Unit::get(&unit_spec(spec), cx)?;
        let differs = spec.state == Presence::Present && files != wanted_files(spec, &files);
        let problem = if differs { times_problem(spec, cx)? } else { None };
        Ok(State { files, timer, problem })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        if let Some(problem) = &state.problem {
            return Err(Fault::new(FaultCode::Invalid, problem.clone()).hint("systemd.time(7) tells how times look"));
        }
        let files = wanted_files(spec, &state.files);
        if spec.state == Presence::Absent {
            let gone =
                unit::State { exists: false, enablement: String::new(), active: Activity::Inactive, instance: None };
            // Files elsewhere (a package's) may give the unit still: that is not ours.
            let ours = state.files.values().any(|node| *node != Node::Absent);
            return Ok(State { files, timer: if ours { gone } else { state.timer.clone() }, problem: None });
        }
        let given = Circumstances { watched_changed: files != state.files };
        Ok(State { files, timer: Unit::want(&unit_spec(spec), &state.timer, given)?, problem: None })
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let unit = unit_spec(spec);
        let goes = !to.timer.exists && now.timer.exists;
        let masked = |state: &State| state.timer.enablement.starts_with("masked");
        if goes {
            let off = unit::State { exists: true, ..to.timer.clone() };
            Unit::put(&unit, &now.timer, &off, cx)?;
        } else if masked(to) && !masked(now) && now.timer.exists {
            // Our file may stand where the mask is a link to /dev/null: while it does, it can be disabled.
            let off = unit::State { enablement: "disabled".into(), ..to.timer.clone() };
            Unit::put(&unit, &now.timer, &off, cx)?;
        }
        for text in text::both(spec) {
            cx.offer(text.as_bytes());
        }
        nodes::put(&now.files, &to.files, cx)?;
        if !goes && !to.timer.exists {
            return Ok(());
        }
        if now.files != to.files || goes {
            unit::daemon_reload(cx)?;
        }
        if goes {
            return Ok(());
        }
        let shown = Unit::get(&unit, cx)?;
        // Also when going back: the timer runs on what its files said when it was started.
        let restart = to.timer.active == Activity::Active && shown.instance != to.timer.instance;
        let aim = unit::State { instance: to.timer.instance.clone().filter(|_| !restart), ..to.timer.clone() };
        Unit::put(&unit, &shown, &aim, cx)
    }

    fn keep(_spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        nodes::keep(&now.files, &wanted.files, cx)
    }

    fn same(spec: &Spec, a: &State, b: &State) -> bool {
        nodes::same(&a.files, &b.files) && Unit::same(&unit_spec(spec), &a.timer, &b.timer)
    }

    fn intact(spec: &Spec, after: &State, now: &State) -> bool {
        nodes::alike(&after.files, &now.files) && Unit::intact(&unit_spec(spec), &after.timer, &now.timer)
    }

    fn title(spec: &Spec) -> String {
        spec.name.clone()
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({
                "name": "minutes", "command": ["/usr/local/bin/minutes", "--since", "100% of $HOME"], "user": "www-data",
                "on_calendar": "Mon..Fri 02:30", "persistent": true, "randomized_delay": "10min",
                "description": "Collects the minutes of the council",
            }),
            json!({ "name": "nightly", "state": "absent" }),
        ]
    }
}

fn paths(spec: &Spec) -> [String; 2] {
    [format!("{UNITS}/{}.service", spec.name), format!("{UNITS}/{}.timer", spec.name)]
}

fn unit_spec(spec: &Spec) -> unit::Spec {
    let on = Some(spec.state == Presence::Present);
    let name = format!("{}.timer", spec.name);
    unit::Spec { name, enabled: on, running: on, restart_on: Vec::new(), settle: false }
}

fn wanted_files(spec: &Spec, now: &Nodes) -> Nodes {
    let texts = text::both(spec);
    let node = |(path, text): (String, &String)| {
        let node = match spec.state {
            Presence::Present => nodes::file(text.as_bytes(), 0o644, now.get(&path)),
            Presence::Absent => Node::Absent,
        };
        (path, node)
    };
    paths(spec).into_iter().zip(&texts).map(node).collect()
}

/// Asks systemd-analyze(1), where it is installed.
fn times_problem(spec: &Spec, cx: &mut Cx<'_>) -> Result<Option<String>, Fault> {
    let times = [("calendar", &spec.on_calendar), ("timespan", &spec.randomized_delay)];
    for (what, time) in times {
        let Some(time) = time else { continue };
        match cx.host.run(&Command::reading(["systemd-analyze", what, "--", time])) {
            Ok(output) if !output.ok() => {
                return Ok(Some(format!("systemd knows no {what} `{time}`")));
            }
            Err(fault) if fault.code != FaultCode::NotFound => return Err(fault),
            _ => {}
        }
    }
    Ok(None)
}
