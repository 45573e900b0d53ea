//! systemctl(1) and journalctl(1), as far as the `unit` kind and checks use them. A unit fails to start if the
//! configuration that its unit file names with `X-Config=` has the words `syntax error` in it, or if its `ExecStart=`
//! is `/bin/false`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Host, INSTANCES, Output, World, fails, says};
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::host::{FileType, read_text};

/// Where unit files are looked for, from systemd.unit(5).
const PATHS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Which start of which unit was the last.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Instances {
    last: u64,
    units: BTreeMap<String, u64>,
    /// How often the host was restarted.
    #[serde(default)]
    boots: u64,
}

impl Instances {
    fn load(host: &mut dyn Host) -> Result<Instances, Fault> {
        let Some(mut reader) = host.state_open(INSTANCES)? else { return Ok(Instances::default()) };
        let mut text = String::new();
        reader.read_to_string(&mut text).map_err(|e| Fault::io(format_args!("read {INSTANCES}"), &e))?;
        serde_json::from_str(&text).map_err(|e| Fault::new(FaultCode::Corrupt, format!("read {INSTANCES}: {e}")))
    }

    fn started(host: &mut dyn Host, unit: &str) -> Result<(), Fault> {
        let mut instances = Instances::load(host)?;
        instances.last += 1;
        instances.units.insert(unit.to_owned(), instances.last);
        instances.save(host)
    }

    fn save(&self, host: &mut dyn Host) -> Result<(), Fault> {
        let text = serde_json::to_vec(self).unwrap_or_default();
        host.state_write(INSTANCES, &mut text.as_slice())
    }
}

/// In the form of the kernel's, a version 4 UUID.
pub(super) fn boot_id(host: &mut dyn Host) -> Result<String, Fault> {
    Ok(format!("00000000-0000-4000-8000-{:012x}", Instances::load(host)?.boots))
}

/// A restart of which nothing is seen but a new boot id: units that were running are running again.
fn reboot(host: &mut dyn Host) -> Result<Output, Fault> {
    let mut instances = Instances::load(host)?;
    instances.boots += 1;
    instances.save(host)?;
    Ok(Output::default())
}

pub(super) fn systemctl(host: &mut dyn Host, world: &mut World, arguments: &[&str]) -> Result<Output, Fault> {
    let names = |rest: &[&str]| rest.iter().map(|n| full(n)).collect::<Vec<_>>();
    match arguments {
        ["daemon-reload"] => Ok(Output::default()),
        ["reboot"] => reboot(host),
        ["show", "-p", properties, name] => show(host, world, properties, &full(name)),
        ["is-active", name] => {
            let active = world.units.get(&full(name)).map_or("inactive", |u| u.active.as_str());
            Ok(Output { status: if active == "active" { 0 } else { 3 }, ..says(format!("{active}\n")) })
        }
        [verb, rest @ ..] if !rest.is_empty() => {
            for name in names(rest) {
                let output = change(host, world, verb, &name)?;
                if !output.ok() {
                    return Ok(output);
                }
            }
            Ok(Output::default())
        }
        _ => Ok(fails(1, "Too few arguments.")),
    }
}

pub(super) fn journalctl(_host: &mut dyn Host, world: &mut World, arguments: &[&str]) -> Result<Output, Fault> {
    let unit = full(arguments.iter().skip_while(|a| **a != "-u").nth(1).unwrap_or(&""));
    match world.units.get(&unit).map(|u| u.active.as_str()) {
        Some("failed") => {
            let message = format!("{unit}: Main process exited, code=exited, status=1/FAILURE");
            Ok(says(format!("{}\n", serde_json::json!({ "MESSAGE": message, "_PID": "1" }))))
        }
        _ => Ok(Output::default()),
    }
}

/// systemd-analyze(1): every time is one that has no word with `bogus` in it.
pub(super) fn systemd_analyze(arguments: &[&str]) -> Output {
    match arguments {
        ["calendar" | "timespan", "--", time] if !time.contains("bogus") => Output::default(),
        _ => fails(1, "Failed to parse: Invalid argument"),
    }
}

/// How a package brings its units.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Come {
    /// It was not known.
    First,
    /// It had been removed, not purged.
    Back,
    /// It was there in another version.
    Newer,
}

/// A package brought this unit. As on Debian it is enabled and started at first, and restarted if it runs.
pub(super) fn installed(host: &mut dyn Host, world: &mut World, unit: &str, come: Come) -> Result<(), Fault> {
    let state = world.units.entry(unit.to_owned()).or_default();
    if come == Come::First && state.file_state == "disabled" {
        state.file_state = "enabled".into();
    }
    let due = state.active == "active" || (come != Come::Newer && state.file_state == "enabled");
    if due { start(host, world, unit).map(drop) } else { Ok(()) }
}

/// A package took this unit with it.
pub(super) fn removed(world: &mut World, unit: &str, purged: bool) {
    if let Some(state) = world.units.get_mut(unit) {
        state.active = "inactive".into();
        state.config = None;
        if purged && state.file_state != "masked" {
            state.file_state = "disabled".into();
        }
    }
}

fn full(name: &str) -> String {
    let typed = name
        .rsplit_once('.')
        .is_some_and(|(_, t)| ["service", "socket", "timer", "target", "mount", "path"].contains(&t));
    if typed { name.to_owned() } else { format!("{name}.service") }
}

fn unit_text(host: &mut dyn Host, unit: &str) -> Result<Option<String>, Fault> {
    for directory in PATHS {
        let path = format!("{directory}/{unit}");
        if host.lstat(Path::new(&path))?.is_some_and(|meta| meta.file_type == FileType::Symlink) {
            // A mask that is a link to /dev/null.
            return Ok(None);
        }
        if let Some(text) = read_text(host, Path::new(&path))? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

fn setting<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

fn show(host: &mut dyn Host, world: &World, properties: &str, unit: &str) -> Result<Output, Fault> {
    let text = unit_text(host, unit)?;
    let state = world.units.get(unit).cloned().unwrap_or_default();
    let link = host.lstat(Path::new(&format!("{}/{unit}", PATHS[0])))?;
    let masked = state.file_state == "masked" || link.is_some_and(|meta| meta.file_type == FileType::Symlink);
    let load = if masked {
        "masked"
    } else if text.is_some() {
        "loaded"
    } else {
        "not-found"
    };
    let installable = text.as_deref().is_some_and(|t| t.contains("[Install]"));
    let file_state = match &text {
        _ if masked => "masked",
        None => "",
        Some(_) if !installable => "static",
        Some(_) => &state.file_state,
    };
    let instance = Instances::load(host)?.units.get(unit).map_or(String::new(), |n| format!("{n:032x}"));
    let text = text.unwrap_or_default();
    let value = |property: &str| match property {
        "LoadState" => load,
        "UnitFileState" => file_state,
        "ActiveState" => &state.active,
        "SubState" => match state.active.as_str() {
            "active" => "running",
            "failed" => "failed",
            _ => "dead",
        },
        "InvocationID" => &instance,
        "Type" => setting(&text, "Type").unwrap_or("simple"),
        "RemainAfterExit" | "NeedDaemonReload" => setting(&text, property).unwrap_or("no"),
        _ => "",
    };
    Ok(says(properties.split(',').map(|p| format!("{p}={}\n", value(p))).collect::<String>()))
}

fn change(host: &mut dyn Host, world: &mut World, verb: &str, unit: &str) -> Result<Output, Fault> {
    let known = unit_text(host, unit)?.is_some();
    let mut state = world.units.get(unit).cloned().unwrap_or_default();
    match verb {
        "enable" | "disable" if !known => {
            return Ok(fails(1, format!("Failed to {verb} unit: Unit file {unit} does not exist.")));
        }
        "start" | "restart" if state.file_state == "masked" => {
            return Ok(fails(1, format!("Failed to {verb} {unit}: Unit {unit} is masked.")));
        }
        "start" | "restart" if !known => {
            return Ok(fails(5, format!("Failed to {verb} {unit}: Unit {unit} not found.")));
        }
        "start" if state.active == "active" => return Ok(Output::default()),
        "start" | "restart" => {
            let started = start(host, world, unit)?;
            world.save(host)?;
            let message = format!("Job for {unit} failed because the control process exited with error code.");
            return Ok(if started { Output::default() } else { fails(1, message) });
        }
        "enable" => state.file_state = "enabled".into(),
        "disable" | "unmask" => state.file_state = "disabled".into(),
        "mask" => state.file_state = "masked".into(),
        "stop" | "reset-failed" => {
            state.active = "inactive".into();
            state.config = None;
        }
        _ => return Ok(fails(1, format!("Unknown command verb '{verb}'."))),
    }
    world.units.insert(unit.to_owned(), state);
    world.save(host)?;
    Ok(Output::default())
}

/// Starts anew; whether it came up. The caller saves.
fn start(host: &mut dyn Host, world: &mut World, unit: &str) -> Result<bool, Fault> {
    Instances::started(host, unit)?;
    let text = unit_text(host, unit)?.unwrap_or_default();
    let config = match setting(&text, "X-Config") {
        Some(path) => read_text(host, Path::new(path))?.unwrap_or_default(),
        None => String::new(),
    };
    let up = !config.contains("syntax error") && setting(&text, "ExecStart").is_none_or(|e| !e.contains("/bin/false"));
    let state = world.units.entry(unit.to_owned()).or_default();
    state.active = if up { "active" } else { "failed" }.into();
    state.config = up.then(|| Digest::of(format!("{text}{config}").as_bytes()).short().to_owned());
    Ok(up)
}
