//! Stages whose hosts take turns: where one step begins when the one before it, on another host, is through.

use weiche_agent::protocol::StepId;

use crate::input::target::HostName;
use crate::plan::procedure::Turn;

/// The next steps are those of this host.
pub(super) fn add(turns: &mut Vec<Turn>, host: &HostName, steps: Vec<StepId>) {
    if steps.is_empty() {
        return;
    }
    match turns.last_mut().filter(|turn| turn.host == *host) {
        Some(turn) => turn.steps.extend(steps),
        None => turns.push(Turn { host: host.clone(), steps }),
    }
}
