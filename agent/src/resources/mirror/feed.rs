//! What makes a directory a follower: the marker, and the units of the timer that brings it up to date.

use std::io::Read as _;
use std::path::Path;

use serde::Deserialize as _;
use serde_json::Value;

use super::rsync::{self, Round};
use super::spec::{Spec, least};
use super::{Follows, State, delete};
use crate::fault::{Fault, FaultCode};
use crate::host::{Attributes, Command};
use crate::resource::Cx;
use crate::resources::timer::text::quoted;
use crate::resources::unit::Activity;

/// Bound of the marker, in bytes.
const MAX_MARKER: u64 = 64 << 10;

/// A file of a mirror.
pub(super) fn file(name: &str, file: &str) -> String {
    format!("/etc/weiche/mirror/{name}/{file}")
}

/// The marker: while it is there the directory is no one's but the other host's.
pub(super) fn marker(name: &str) -> String {
    file(name, "follows.json")
}

/// Beside the marker while something in the directory may be nowhere else: the timer deletes nothing then.
pub(super) fn doubt(name: &str) -> String {
    file(name, "unproven")
}

/// The service and the timer, without an ending.
pub(super) fn unit(name: &str) -> String {
    format!("weiche-mirror-{name}")
}

/// Reads the marker.
///
/// # Errors
/// `Corrupt` if it is not ours.
pub(super) fn follows(name: &str, cx: &mut Cx<'_>) -> Result<Option<Follows>, Fault> {
    let path = marker(name);
    if cx.host.lstat(Path::new(&path))?.is_none() {
        return Ok(None);
    }
    let mut text = String::new();
    let read = cx.host.open(Path::new(&path))?.take(MAX_MARKER).read_to_string(&mut text);
    read.map_err(|e| Fault::path("read", Path::new(&path), &e))?;
    // By way of a value, as states are read: the code for that is there.
    let read = text.parse::<Value>().and_then(|value| Follows::deserialize(&value));
    read.map(Some).map_err(|e| Fault::new(FaultCode::Corrupt, format!("{path} is none that weiche wrote: {e}")))
}

/// Writes or removes the marker, unless it says so already. Its time is always the same.
///
/// # Errors
/// Those of the host.
pub(super) fn set(name: &str, to: Option<&Follows>, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let now = follows(name, cx)?;
    let (path, doubt) = (marker(name), doubt(name));
    let doubts = cx.host.lstat(Path::new(&doubt))?.is_some();
    let unproven = to.is_some_and(|to| to.unproven);
    let meta =
        Attributes { mode: Some(0o600), uid: Some(0), gid: Some(0), mtime: Some((0, 0)), ..Attributes::default() };
    // First what keeps the timer from deleting, last what lets it.
    if unproven && !doubts {
        cx.host.write(Path::new(&doubt), &mut &b""[..], &meta)?;
    }
    match to {
        _ if now.as_ref() == to => {}
        None => cx.host.remove(Path::new(&path))?,
        Some(to) => {
            let value = serde_json::to_value(to).map_err(|e| Fault::new(FaultCode::Invalid, e.to_string()))?;
            cx.host.write(Path::new(&path), &mut format!("{value}\n").as_bytes(), &meta)?;
        }
    }
    if doubts && !unproven { cx.host.remove(Path::new(&doubt)) } else { Ok(()) }
}

/// The texts of both units; none without `every`. The service does nothing without the marker, whoever starts it.
pub(super) fn units(name: &str, follows: &Follows) -> Option<[String; 2]> {
    let every = follows.every.as_ref()?;
    let percent = delete::percent(follows);
    let deletes = if percent < delete::ANY { 0 } else { u64::MAX };
    let round = Round { limit: least(&follows.bandwidth), partial: true, deletes, ..Round::default() };
    let mut words = rsync::argv(name, follows, &round);
    words[0] = "/usr/bin/rsync".into();
    if percent < delete::ANY {
        let percent = percent.to_string();
        let script = ["/bin/sh", "-c", delete::SCRIPT, "weiche-mirror", &percent, &follows.path, &follows.of.address];
        words.splice(0..0, script.map(str::to_owned));
    }
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let told = format!("Brings {} up to date from {}", follows.path, follows.of.address);
    let told: String = told.replace('%', "%%").chars().filter(|c| !c.is_control()).collect();
    let service = format!(
        "# Written by weiche.\n[Unit]\nDescription={told}\nConditionPathExists={}\nConditionPathExists=!{}\nWants=network-online.target\n\
         After=network-online.target\n\n[Service]\nType=oneshot\nExecStart={}\nSuccessExitStatus=20 24\nNice=10\n\
         IOSchedulingClass=best-effort\nIOSchedulingPriority=7\n",
        marker(name),
        doubt(name),
        words.join(" ")
    );
    let timer = format!(
        "# Written by weiche.\n[Unit]\nDescription={told}\n\n[Timer]\nOnActiveSec={every}\nOnUnitInactiveSec={every}\n\
         AccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n"
    );
    Some([service, timer])
}

/// Why the timer does not bring the directory up to date, if its last round was in vain.
///
/// # Errors
/// Those of the host.
pub(super) fn fails(spec: &Spec, cx: &mut Cx<'_>) -> Result<Option<String>, Fault> {
    let name = spec.name.as_str();
    let Some(follows) = follows(name, cx)?.filter(|follows| follows.every.is_some()) else { return Ok(None) };
    if follows.unproven {
        let why = format!("what {} holds may be nowhere else", follows.path);
        return Ok(Some(format!("it is not brought up to date: {why}; take the copy back, which keeps it")));
    }
    let service = format!("{}.service", unit(name));
    let shown = cx.host.run(&Command::reading(["systemctl", "show", "-p", "Result,ExecMainStatus", &service]))?;
    let value = |key: &str| shown.stdout.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    if matches!(value("Result"), None | Some("" | "success")) {
        return Ok(None);
    }
    let why = delete::told(value("ExecMainStatus").unwrap_or_default(), &follows.of.address);
    Ok(Some(format!("it is not brought up to date: {why}; `journalctl -u {service}` tells more")))
}

/// Stops the timer and a round of it that runs; it is up to the last round to bring the rest.
///
/// # Errors
/// `CommandFailed` if it does not stop: nobody may write below it while it runs.
pub(super) fn quiet(name: &str, now: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
    if !now.timer.timer.exists {
        return Ok(());
    }
    let (timer, service) = (format!("{}.timer", unit(name)), format!("{}.service", unit(name)));
    let systemctl = |verb: &str, unit: &str, cx: &mut Cx<'_>| {
        cx.host.run(&Command::changing(["systemctl", verb, unit], cx.timeout))
    };
    if now.timer.timer.active == Activity::Active {
        let argv = ["systemctl", "stop", &timer].map(str::to_owned);
        systemctl("stop", &timer, cx)?.expect_ok(&argv)?;
    }
    // It may be one that systemd does not know, or whose last round has failed.
    systemctl("stop", &service, cx)?;
    systemctl("reset-failed", &service, cx)?;
    let is = cx.host.run(&Command::reading(["systemctl", "is-active", &service]))?;
    match is.stdout.trim() {
        "active" | "activating" | "deactivating" | "reloading" => {
            Err(Fault::new(FaultCode::CommandFailed, format!("{service} does not stop")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::mirror::{Owners, Source};

    #[test]
    fn the_service_does_what_a_round_does() {
        let of = Source { address: "2001:db8::1".into(), port: 2222, user: "root".into() };
        let follows = Follows {
            path: "/srv/a b%".into(),
            of,
            owners: Owners::Number,
            every: Some("30s".into()),
            bandwidth: Vec::new(),
            delete_at_most: None,
            copying: false,
            unproven: false,
        };
        let [service, timer] = units("x", &follows).unwrap();
        let start = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let plain = "/usr/bin/rsync -aHAXS ";
        let script = quoted(delete::SCRIPT);
        let guarded = format!("/bin/sh -c {script} weiche-mirror 50 \"/srv/a b%%\" 2001:db8::1 {plain}");
        assert!(start.starts_with(&guarded) && start.contains(" --max-delete=0 "), "{start}");
        assert!(start.ends_with(" \"[2001:db8::1]::data/\" \"/srv/a b%%/\""), "{start}");
        assert!(start.contains("-p 2222 ") && start.contains("--numeric-ids") && start.contains("--delete"), "{start}");
        assert!(service.contains("\nConditionPathExists=/etc/weiche/mirror/x/follows.json\n"), "{service}");
        assert!(service.contains("\nConditionPathExists=!/etc/weiche/mirror/x/unproven\n"), "{service}");
        assert!(timer.contains("\nOnUnitInactiveSec=30s\n"), "{timer}");
        let any = Follows { delete_at_most: Some(100), ..follows.clone() };
        assert!(units("x", &any).unwrap()[0].contains(&format!("\nExecStart={plain}")));
        assert_eq!(units("x", &Follows { every: None, ..follows }), None);
    }
}
