//! `timer`: a program that systemd runs at set times, as systemd.timer(5) has it: a oneshot service and its timer.

pub(crate) mod pair;
pub(crate) mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::Presence;
use super::nodes::Nodes;
use super::unit;
use crate::fault::{Fault, FaultCode};
use crate::host::Command;
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};

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
        let paths = pair::paths(&spec.name).map(|path| Claim::Path(path.into()));
        paths.into_iter().chain(units.map(|unit| Claim::Name("unit", unit))).collect()
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let state = pair::get(&spec.name, cx)?;
        let differs =
            texts(spec).is_some_and(|t| state.files != pair::wanted_files(&spec.name, Some(&t), &state.files));
        Ok(State { problem: if differs { times_problem(spec, cx)? } else { None }, ..state })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        if let Some(problem) = &state.problem {
            return Err(Fault::new(FaultCode::Invalid, problem.clone()).hint("systemd.time(7) tells how times look"));
        }
        pair::want(&spec.name, texts(spec).as_ref(), state)
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        for text in text::both(spec) {
            cx.offer(text.as_bytes());
        }
        pair::put(&spec.name, now, to, cx)
    }

    fn keep(_spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        pair::keep(now, wanted, cx)
    }

    fn same(spec: &Spec, a: &State, b: &State) -> bool {
        pair::same(&spec.name, a, b)
    }

    fn intact(spec: &Spec, after: &State, now: &State) -> bool {
        pair::intact(&spec.name, after, now)
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

/// The texts of both units, unless there shall be none.
fn texts(spec: &Spec) -> Option<[String; 2]> {
    (spec.state == Presence::Present).then(|| text::both(spec))
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
