//! Stages whose hosts take turns (`on:` beside a step): what they cannot have.

use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::playbook::{Stage, StepAction};
use crate::input::rollout::rule::{OnStop, Scope};
use crate::input::source::Source;

/// Its hosts begin, end and go back together, and each step says whose it is.
pub(super) fn check(stage: &Stage, source: &Source, problems: &mut Problems) {
    if !stage.in_turns() {
        return;
    }
    let keys = &stage.rollout.keys;
    let parts = [
        ("waves", !stage.rollout.waves.is_empty()),
        ("at_once", keys.at_once.is_some()),
        ("pause", keys.pause.is_some()),
        ("stop", !keys.stop.is_empty()),
        ("offline", keys.offline.is_some()),
        ("on_stop: { rollback: host }", keys.on_stop == OnStop::Rollback(Scope::Host)),
        ("guard", keys.guard.is_some()),
    ];
    let name = &stage.name.value;
    for (key, _) in parts.iter().filter(|(_, given)| *given) {
        let message = format!("the hosts of the stage `{name}` take turns, and it has `{key}`");
        let hint = match *key {
            "guard" => "use `within`: its hosts take it back unless it is through and confirmed by then",
            _ => "leave it out: they begin, end and go back together",
        };
        problems.add(Diagnostic::new(source, stage.name.span, message).hint(hint));
    }
    for step in stage.steps.iter().filter(|step| step.on.is_none()) {
        let message = format!("this step of the stage `{name}` does not say on which host");
        let hint = "where one step has `on:`, all have: hosts take turns";
        problems.add(Diagnostic::new(source, step.key, message).hint(hint));
    }
    for step in stage.steps.iter().filter(|step| matches!(step.action, StepAction::Manual { .. })) {
        let message = format!("the hosts of the stage `{name}` take turns, and one would wait for a person");
        let hint = "put the manual step into a stage of its own, before this one";
        problems.add(Diagnostic::new(source, step.key, message).hint(hint));
    }
}
