//! Stages whose hosts take turns (`on:` beside a step): what they cannot have.

use std::time::Duration;

use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::playbook::{Stage, Step, StepAction, Transfer, Via};
use crate::input::rollout::rule::{OnStop, Scope};
use crate::input::source::Source;

/// The least `within` of such a stage.
const LEAST: Duration = Duration::from_secs(10);

/// Its hosts begin, end and go back together, and each step says whose it is.
pub(super) fn check(stage: &Stage, source: &Source, problems: &mut Problems) {
    if !stage.in_turns() {
        for span in stage.steps.iter().filter_map(|step| step.beside) {
            let message = format!("the hosts of the stage `{}` take no turns, so nobody would wait", stage.name.value);
            problems.add(Diagnostic::new(source, span, message).hint("leave `back` out"));
        }
        let direct = |step: &&Step| matches!(&step.action, StepAction::Transfer(Transfer { via: Via::Direct(_), .. }));
        for step in stage.steps.iter().filter(direct) {
            let message = format!("the hosts of the stage `{}` take no turns", stage.name.value);
            let message = format!("{message}, and a direct transfer has steps on both its hosts");
            let hint = "name both in the stage's `on:`, e.g. `on: [old, new]`, and say beside the step which one receives: `on: new`";
            problems.add(Diagnostic::new(source, step.key, message).hint(hint));
        }
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
    if keys.within.is_some_and(|within| within.0 < LEAST) {
        let message = format!("the hosts of the stage `{name}` take turns, and `within` is less than {LEAST:?}");
        let hint = "they take it back one after the other, seconds apart: give them that time";
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
