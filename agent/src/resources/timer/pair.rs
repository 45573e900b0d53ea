//! A service and the timer that starts it: two files of ours and what systemd makes of the timer. Shared by kinds that
//! have a program run again and again.

use super::State;
use crate::fault::Fault;
use crate::resource::{Cx, Lens};
use crate::resources::node::Node;
use crate::resources::nodes::{self, Nodes};
use crate::resources::unit::Unit;
use crate::resources::units::{self, DIRECTORY, Units};

/// The files of `NAME.service` and `NAME.timer`.
pub(crate) fn paths(name: &str) -> [String; 2] {
    [format!("{DIRECTORY}/{name}.service"), format!("{DIRECTORY}/{name}.timer")]
}

/// The one of both that is enabled and started.
fn leader(name: &str) -> String {
    format!("{name}.timer")
}

fn both(state: &State) -> Units<'_> {
    (&state.files, &state.timer)
}

/// Reads both.
///
/// # Errors
/// Those of the host.
pub(crate) fn get(name: &str, cx: &mut Cx<'_>) -> Result<State, Fault> {
    let files = nodes::get(paths(name), cx)?;
    let timer = Unit::get(&units::spec(&leader(name), true), cx)?;
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
    let timer = units::want(&leader(name), &files, both(state))?;
    Ok(State { files, timer, problem: None })
}

/// Makes both so. The texts must be known to [`Cx::content`].
///
/// # Errors
/// Those of the host and of systemctl(1).
pub(crate) fn put(name: &str, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
    units::put(&leader(name), both(now), both(to), cx)
}

/// See [`Lens::same`].
pub(crate) fn same(name: &str, a: &State, b: &State) -> bool {
    units::same(&leader(name), both(a), both(b))
}

/// See [`Lens::intact`].
pub(crate) fn intact(name: &str, after: &State, now: &State) -> bool {
    units::intact(&leader(name), both(after), both(now))
}

/// Keeps what `put(now)` will need; see [`nodes::keep`].
///
/// # Errors
/// Those of [`nodes::keep`].
pub(crate) fn keep(now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
    nodes::keep(&now.files, &wanted.files, cx)
}
