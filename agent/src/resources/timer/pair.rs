//! A service and the timer that starts it: two files of ours and what systemd makes of the timer. Shared by kinds that
//! have a program run again and again.

use super::{State, UNITS};
use crate::fault::Fault;
use crate::resource::{Circumstances, Cx, Lens};
use crate::resources::node::Node;
use crate::resources::nodes::{self, Nodes};
use crate::resources::unit::{self, Activity, Unit};

/// The files of `NAME.service` and `NAME.timer`.
pub(crate) fn paths(name: &str) -> [String; 2] {
    [format!("{UNITS}/{name}.service"), format!("{UNITS}/{name}.timer")]
}

fn unit_spec(name: &str, present: bool) -> unit::Spec {
    let (name, on) = (format!("{name}.timer"), Some(present));
    unit::Spec { name, enabled: on, running: on, restart_on: Vec::new(), settle: false }
}

/// Reads both.
///
/// # Errors
/// Those of the host.
pub(crate) fn get(name: &str, cx: &mut Cx<'_>) -> Result<State, Fault> {
    let files = nodes::get(paths(name), cx)?;
    let timer = Unit::get(&unit_spec(name, true), cx)?;
    Ok(State { files, timer, problem: None })
}

/// The files with these texts, or none.
pub(super) fn wanted_files(name: &str, texts: Option<&[String; 2]>, now: &Nodes) -> Nodes {
    let node = |(at, path): (usize, String)| {
        let node = texts.map_or(Node::Absent, |texts| nodes::file(texts[at].as_bytes(), 0o644, now.get(&path)));
        (path, node)
    };
    paths(name).into_iter().enumerate().map(node).collect()
}

/// Both with these texts, the timer enabled and started; or neither.
///
/// # Errors
/// Those of [`Unit`].
pub(crate) fn want(name: &str, texts: Option<&[String; 2]>, state: &State) -> Result<State, Fault> {
    let files = wanted_files(name, texts, &state.files);
    if texts.is_none() {
        let gone = unit::State { exists: false, enablement: String::new(), active: Activity::Inactive, instance: None };
        // Files elsewhere (a package's) may give the unit still: that is not ours.
        let ours = state.files.values().any(|node| *node != Node::Absent);
        return Ok(State { files, timer: if ours { gone } else { state.timer.clone() }, problem: None });
    }
    let given = Circumstances { watched_changed: files != state.files };
    Ok(State { files, timer: Unit::want(&unit_spec(name, true), &state.timer, given)?, problem: None })
}

/// Makes both so. The texts must be known to [`Cx::content`].
///
/// # Errors
/// Those of the host and of systemctl(1).
pub(crate) fn put(name: &str, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let unit = unit_spec(name, to.files.values().any(|node| *node != Node::Absent));
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

/// See [`Lens::same`].
pub(crate) fn same(name: &str, a: &State, b: &State) -> bool {
    nodes::same(&a.files, &b.files) && Unit::same(&unit_spec(name, true), &a.timer, &b.timer)
}

/// See [`Lens::intact`].
pub(crate) fn intact(name: &str, after: &State, now: &State) -> bool {
    nodes::alike(&after.files, &now.files) && Unit::intact(&unit_spec(name, true), &after.timer, &now.timer)
}

/// Keeps what `put(now)` will need; see [`nodes::keep`].
///
/// # Errors
/// Those of [`nodes::keep`].
pub(crate) fn keep(now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
    nodes::keep(&now.files, &wanted.files, cx)
}
