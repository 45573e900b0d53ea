//! Unit files of ours and what systemd makes of the one that is enabled and started, its leader. Shared by kinds that
//! have systemd do their work.

use super::node::Node;
use super::nodes::{self, Nodes};
use super::unit::{self, Activity, Unit};
use crate::fault::Fault;
use crate::resource::{Circumstances, Cx, Lens};

/// Where an administrator's units lie, from systemd.unit(5).
pub(crate) const DIRECTORY: &str = "/etc/systemd/system";

/// Files as they are or shall be, and their leader.
pub(crate) type Units<'a> = (&'a Nodes, &'a unit::State);

/// What is asked of a leader, such as `weiche-x.timer`.
pub(crate) fn spec(leader: &str, present: bool) -> unit::Spec {
    let on = Some(present);
    unit::Spec { name: leader.into(), enabled: on, running: on, restart_on: Vec::new(), settle: false }
}

/// The leader enabled and started, with these files; or, where there are none, no leader.
///
/// # Errors
/// Those of [`Unit`].
pub(crate) fn want(leader: &str, files: &Nodes, (had, now): Units<'_>) -> Result<unit::State, Fault> {
    if ours(files) {
        let given = Circumstances { watched_changed: files != had };
        return Unit::want(&spec(leader, true), now, given);
    }
    // Files elsewhere (a package's) may give the unit still: that is not ours.
    let gone = unit::State { exists: false, enablement: String::new(), active: Activity::Inactive, instance: None };
    Ok(if ours(had) { gone } else { now.clone() })
}

/// Makes files and leader so. The texts must be known to [`Cx::content`].
///
/// # Errors
/// Those of the host and of systemctl(1).
pub(crate) fn put(leader: &str, now: Units<'_>, to: Units<'_>, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let ((had, now), (files, to)) = (now, to);
    let unit = spec(leader, ours(files));
    let goes = !to.exists && now.exists;
    let masked = |state: &unit::State| state.enablement.starts_with("masked");
    if goes {
        let off = unit::State { exists: true, ..to.clone() };
        Unit::put(&unit, now, &off, cx)?;
    } else if masked(to) && !masked(now) && now.exists {
        // Our file may stand where the mask is a link to /dev/null: while it does, it can be disabled.
        let off = unit::State { enablement: "disabled".into(), ..to.clone() };
        Unit::put(&unit, now, &off, cx)?;
    }
    nodes::put(had, files, cx)?;
    if !goes && !to.exists {
        return Ok(());
    }
    if had != files || goes {
        unit::daemon_reload(cx)?;
    }
    if goes {
        return Ok(());
    }
    let shown = Unit::get(&unit, cx)?;
    // Also when going back: it runs on what its files said when it was started.
    let restart = to.active == Activity::Active && shown.instance != to.instance;
    let aim = unit::State { instance: to.instance.clone().filter(|_| !restart), ..to.clone() };
    Unit::put(&unit, &shown, &aim, cx)
}

/// See [`Lens::same`].
pub(crate) fn same(leader: &str, a: Units<'_>, b: Units<'_>) -> bool {
    nodes::same(a.0, b.0) && Unit::same(&spec(leader, true), a.1, b.1)
}

/// See [`Lens::intact`].
pub(crate) fn intact(leader: &str, after: Units<'_>, now: Units<'_>) -> bool {
    nodes::alike(after.0, now.0) && Unit::intact(&spec(leader, true), after.1, now.1)
}

fn ours(files: &Nodes) -> bool {
    files.values().any(|node| *node != Node::Absent)
}
