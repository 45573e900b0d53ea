//! `unit`: a systemd unit is enabled or not, running or not, and restarted when what it reads has changed.
//!
//! A restart on changed configuration has to be taken back in two parts: the `unit` step after the configuration, and
//! an *anchor* before it (the same kind with `settle`), which is undone once the old configuration is back and then
//! starts the unit anew.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Output};
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};

mod words;

/// What one `systemctl show` is asked for.
const PROPERTIES: &str =
    "LoadState,UnitFileState,ActiveState,SubState,InvocationID,Type,RemainAfterExit,NeedDaemonReload";

/// Endings of unit names, from systemd.unit(5).
const TYPES: [&str; 11] =
    ["automount", "device", "mount", "path", "scope", "service", "slice", "socket", "swap", "target", "timer"];

/// A systemd unit.
#[derive(Debug)]
pub struct Unit;

/// A systemd unit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "unit")]
pub struct Spec {
    /// Name, e.g. `nginx` (a service) or `backup.timer`.
    pub name: String,
    /// Whether it is started at boot; without it, as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether it runs; without it, as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// Resources of the same list, e.g. `/etc/nginx/nginx.conf`; when one of them changes, the unit is restarted if it
    /// runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart_on: Vec<String>,
    /// An anchor: changes nothing going forward; its undo restarts a unit that has been restarted since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(skip)]
    pub settle: bool,
}

/// A unit as systemd has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Whether systemd finds it.
    pub exists: bool,
    /// `enabled`, `disabled`, `masked`, `static` and so on, from systemctl(1); empty if there is no unit file.
    pub enablement: String,
    /// Whether it runs.
    pub active: Activity,
    /// Its invocation id while it runs; `None` in a wanted state means any but the one it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

/// Whether a unit runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// It runs.
    Active,
    /// It does not.
    Inactive,
    /// It does not, and should.
    Failed,
}

/// What else `systemctl show` tells.
struct Shown {
    state: State,
    reload: bool,
    leaves: bool,
    invocation: Option<String>,
}

impl Lens for Unit {
    const NAME: &'static str = "unit";
    const TELLING: bool = true;
    const UNDO: Exactness = Exactness::BestEffort("what the unit did while it ran");
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems = Vec::new();
        let ok = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
        if spec.name.is_empty() || spec.name.starts_with('-') || !spec.name.bytes().all(ok) || full(spec).len() > 255 {
            problems.push(format!("`{}` is no unit name", spec.name));
        }
        let nothing = spec.enabled.is_none() && spec.running.is_none() && spec.restart_on.is_empty();
        if nothing && !spec.settle {
            problems.push("a unit needs `enabled`, `running` or `restart_on`".into());
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        if spec.settle { Vec::new() } else { vec![Claim::Name("unit", full(spec))] }
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        show(spec, cx).map(|shown| shown.state)
    }

    fn want(spec: &Spec, state: &State, given: Circumstances) -> Result<State, Fault> {
        let mut wanted = state.clone();
        if spec.settle {
            return Ok(wanted);
        }
        match (spec.enabled, state.enablement.as_str()) {
            (Some(true), "" | "disabled" | "masked" | "masked-runtime") => wanted.enablement = "enabled".into(),
            (Some(false), "enabled" | "enabled-runtime") => wanted.enablement = "disabled".into(),
            // `static`, `generated`, `indirect` and so on have no choice; what is masked is not enabled.
            _ => {}
        }
        match (spec.running, state.active) {
            (Some(true), Activity::Inactive | Activity::Failed) => {
                wanted.active = Activity::Active;
                wanted.instance = None;
            }
            (Some(false), Activity::Active) => {
                wanted.active = Activity::Inactive;
                wanted.instance = None;
            }
            (_, Activity::Active) if given.watched_changed => wanted.instance = None,
            _ => {}
        }
        wanted.exists |= wanted != *state;
        Ok(wanted)
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if spec.settle {
            let restarted = now.active != Activity::Active || now.instance != to.instance;
            if to.active == Activity::Active && to.instance.is_some() && restarted {
                reload(spec, cx)?;
                start("restart", spec, cx)?;
            }
            return Ok(());
        }
        if now == to {
            return Ok(());
        }
        let now = if to.exists { reload(spec, cx)? } else { now.clone() };
        if to.exists && !now.exists && !masked(&now) && !masked(to) {
            return Err(missing(spec));
        }
        enable(spec, &now, to, cx)?;
        run_or_stop(spec, &now, to, cx)
    }

    /// Instances never come back. A unit that has an anchor is started again by that, later; what the anchor did is
    /// checked by its `put`.
    fn same(spec: &Spec, a: &State, b: &State) -> bool {
        let running = |s: &State| s.active == Activity::Active;
        let left_to_anchor = !spec.restart_on.is_empty() && running(a);
        let enablement = a.enablement == b.enablement || !a.exists || !b.exists;
        spec.settle || (enablement && (running(a) == running(b) || left_to_anchor))
    }

    /// A unit that was restarted by hand is no drift.
    fn intact(spec: &Spec, after: &State, now: &State) -> bool {
        spec.settle || (after.enablement == now.enablement && after.active == now.active)
    }

    fn title(spec: &Spec) -> String {
        full(spec)
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "name": "nginx", "enabled": true, "running": true, "restart_on": ["/etc/nginx/nginx.conf"] }),
            json!({ "name": "cron.service", "enabled": false, "running": false }),
        ]
    }
}

fn full(spec: &Spec) -> String {
    let typed = spec.name.rsplit_once('.').is_some_and(|(_, ending)| TYPES.contains(&ending));
    if typed { spec.name.clone() } else { format!("{}.service", spec.name) }
}

fn missing(spec: &Spec) -> Fault {
    let fault = Fault::new(FaultCode::NotFound, format!("there is no unit {}", full(spec)));
    fault.hint("declare its package or its unit file before it")
}

fn masked(state: &State) -> bool {
    state.enablement.starts_with("masked")
}

fn show(spec: &Spec, cx: &mut Cx<'_>) -> Result<Shown, Fault> {
    let argv = ["systemctl", "show", "-p", PROPERTIES, &full(spec)].map(str::to_owned);
    let output = run(Command::reading(argv.clone()), cx)?.expect_ok(&argv)?;
    let value = |name: &str| {
        let found = output.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    };
    let active = match (value("ActiveState").as_str(), value("SubState").as_str()) {
        ("active" | "reloading" | "refreshing", _) => Activity::Active,
        // Waiting to be started again after it failed.
        ("failed", _) | (_, "auto-restart") => Activity::Failed,
        _ => Activity::Inactive,
    };
    // Some units have no invocation id; they must not look as if a restart was wanted.
    let invocation = Some(value("InvocationID")).filter(|id| !id.is_empty());
    let instance = invocation.clone().unwrap_or_else(|| "none".into());
    let state = State {
        exists: value("LoadState") != "not-found",
        enablement: value("UnitFileState"),
        active,
        instance: (active == Activity::Active).then_some(instance),
    };
    let leaves = value("Type") == "oneshot" && value("RemainAfterExit") == "no";
    Ok(Shown { state, reload: value("NeedDaemonReload") == "yes", leaves, invocation })
}

/// Lets systemd read new and changed unit files, if there may be any.
fn reload(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
    let shown = show(spec, cx)?;
    if !shown.reload && shown.state.exists {
        return Ok(shown.state);
    }
    daemon_reload(cx)?;
    show(spec, cx).map(|shown| shown.state)
}

/// Lets systemd read new, changed and removed unit files.
pub(crate) fn daemon_reload(cx: &mut Cx<'_>) -> Result<(), Fault> {
    let argv = ["systemctl", "daemon-reload"].map(str::to_owned);
    run(Command::changing(argv.clone(), cx.timeout), cx)?.expect_ok(&argv).map(drop)
}

fn enable(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
    if now.enablement == to.enablement || !now.exists && !masked(now) && !masked(to) {
        return Ok(());
    }
    if masked(now) {
        let runtime = now.enablement == "masked-runtime";
        change("unmask", runtime, spec, cx)?;
        let under = show(spec, cx)?.state;
        if under.enablement == to.enablement {
            return Ok(());
        }
        if !under.exists {
            // There was nothing behind the mask: as it was.
            change("mask", runtime, spec, cx)?;
            return Err(missing(spec));
        }
    }
    match to.enablement.as_str() {
        "enabled" => change("enable", false, spec, cx),
        "enabled-runtime" => change("disable", false, spec, cx).and_then(|()| change("enable", true, spec, cx)),
        "masked" => change("disable", false, spec, cx).or_else(crashes).and_then(|()| change("mask", false, spec, cx)),
        "masked-runtime" => change("mask", true, spec, cx),
        "disabled" => change("disable", false, spec, cx),
        // There was no unit file: a unit that appeared since is not started at boot.
        "" if now.enablement == "enabled" => change("disable", false, spec, cx),
        _ => Ok(()),
    }
}

fn run_or_stop(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
    match (now.active, to.active) {
        (Activity::Active, Activity::Active) if to.instance.is_none() => start("restart", spec, cx),
        (Activity::Active, Activity::Active) => Ok(()),
        // Going back (only then an instance is named): the anchor starts it, once its old configuration is there.
        (_, Activity::Active) if to.instance.is_some() && !spec.restart_on.is_empty() => Ok(()),
        (_, Activity::Active) => start("start", spec, cx),
        (Activity::Active, _) => change("stop", false, spec, cx),
        (Activity::Failed, Activity::Inactive) => change("reset-failed", false, spec, cx),
        _ => Ok(()),
    }
}

/// Starts or restarts, waiting for the job; a failure tells the last lines of the unit's journal.
fn start(verb: &str, spec: &Spec, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let name = full(spec);
    let argv = ["systemctl", verb, &name].map(str::to_owned);
    let output = run(Command::changing(argv.clone(), cx.timeout), cx)?;
    let shown = show(spec, cx)?;
    if output.ok() && shown.state.active == Activity::Active {
        return Ok(());
    }
    if output.ok() && shown.leaves {
        return Err(Fault::new(FaultCode::Invalid, format!("{name} is a oneshot that ends at once, so it never runs"))
            .hint("leave `running` out and enable its timer, or set RemainAfterExit=yes in the unit"));
    }
    let status = output.status;
    let fault = match words::last(&name, shown.invocation.as_deref(), cx) {
        Some(said) => Fault::new(FaultCode::CommandFailed, said),
        None => output.expect_ok(&argv).err().unwrap_or_else(|| {
            Fault::new(FaultCode::CommandFailed, format!("`{}` ended with status {status}", argv.join(" ")))
        }),
    };
    let hint = format!("`journalctl -u {name}` on the host tells more");
    Err(fault.within(format!("{name} does not start")).hint(hint))
}

fn change(verb: &str, runtime: bool, spec: &Spec, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let mut argv = vec!["systemctl".to_owned(), verb.to_owned()];
    argv.extend(runtime.then(|| "--runtime".to_owned()));
    argv.push(full(spec));
    run(Command::changing(argv.clone(), cx.timeout), cx)?.expect_ok(&argv).map(drop)
}

/// Ignores a failure that does not end the agent.
fn crashes(fault: Fault) -> Result<(), Fault> {
    if fault.code == FaultCode::Crashed { Err(fault) } else { Ok(()) }
}

fn run(command: Command, cx: &mut Cx<'_>) -> Result<Output, Fault> {
    let output = cx.host.run(&command).map_err(|fault| match fault.code {
        FaultCode::NotFound => Fault::new(FaultCode::Unsupported, "there is no `systemctl` on this host"),
        _ => fault,
    })?;
    if output.stderr.contains("has not been booted with systemd") {
        return Err(Fault::new(FaultCode::Unsupported, "this host does not run systemd"));
    }
    Ok(output)
}
