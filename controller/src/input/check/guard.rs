//! Stages that hosts take back by themselves (`guard`, `within`): what they cannot have. What only an expansion shows is
//! refused there.

use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::playbook::{Stage, StepAction};
use crate::input::source::Source;

/// Nothing in it may wait for a person, or outlive the watch.
pub(super) fn check(stage: &Stage, source: &Source, problems: &mut Problems) {
    let keys = &stage.rollout.keys;
    // Those whose hosts take turns are refused persons anyway.
    if keys.guard.is_none() && keys.within.is_none() || stage.in_turns() {
        return;
    }
    for step in &stage.steps {
        let (what, why) = match step.action {
            StepAction::Manual { .. } => ("a manual step", "the guard waits for no person"),
            StepAction::Reboot { .. } => ("a restart", "the host takes the stage back when it comes up"),
            // Templates in it may make it unreadable as it is written: then it is seen when it is expanded.
            StepAction::Resource(ref resource) if resource.kind.irreversible(&resource.spec.json()) => {
                ("an irreversible step", "it could not be taken back")
            }
            StepAction::Apply { .. } | StepAction::Resource(_) | StepAction::Transfer(_) | StepAction::Check { .. } => {
                continue;
            }
        };
        let message = format!("the stage `{}` has a guard and {what}: {why}", stage.name.value);
        let hint = "put it into a stage of its own, without `guard` and `within`";
        problems.add(Diagnostic::new(source, step.key, message).hint(hint));
    }
}
