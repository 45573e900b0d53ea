//! What a host will be when a step comes, where earlier steps of the plan change the same thing: what was seen of it now is
//! not what the step will find.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use serde_json::Value;
use weiche_agent::protocol::{self, Seen, StepId};
use weiche_agent::resource::{Circumstances, Claim, Lens, Visitor, each, kind};

/// The kinds that are [`Lens::TELLING`].
fn telling() -> &'static BTreeSet<&'static str> {
    struct All(BTreeSet<&'static str>);
    impl Visitor for All {
        fn visit<L: Lens + 'static>(&mut self) {
            self.0.extend(L::TELLING.then_some(L::NAME));
        }
    }
    static KINDS: OnceLock<BTreeSet<&'static str>> = OnceLock::new();
    KINDS.get_or_init(|| {
        let mut all = All(BTreeSet::new());
        each(&mut all);
        all.0
    })
}

/// What the steps of one host so far make.
#[derive(Default)]
pub(super) struct Ahead(BTreeMap<(String, Vec<Claim>), Made>);

/// What a step makes, and which one.
struct Made {
    by: StepId,
    spec: Value,
    is: Value,
    /// It differs from what was seen.
    changed: bool,
}

/// What a step will find.
pub(super) enum Found {
    /// What was seen.
    Seen,
    /// What an earlier step makes of it, and what this one makes of that.
    Made(Seen),
    /// Something that this earlier step makes, and that can only be seen then.
    By(StepId),
}

impl Ahead {
    /// What the next step of the host will find.
    pub(super) fn find(&mut self, step: &protocol::Step, seen: &Seen) -> Found {
        let Some(kind) = kind(&step.kind).filter(|_| !step.anchor) else { return Found::Seen };
        let Ok(claims) = kind.claims(&step.spec) else { return Found::Seen };
        let key = (step.kind.clone(), claims);
        let earlier = self.0.get(&key).filter(|made| made.changed);
        let telling = telling().contains(kind.name());
        let (found, is) = match earlier {
            None => (Found::Seen, seen.wanted.clone()),
            // What is asked for twice is there the second time.
            Some(made) if made.spec == step.spec => {
                let is = made.is.clone();
                (Found::Made(Seen { state: is.clone(), wanted: is.clone(), preview: None }), is)
            }
            Some(made) if telling => match kind.want(&step.spec, &made.is, Circumstances::default()) {
                Ok(wanted) => {
                    let state = made.is.clone();
                    (Found::Made(Seen { state, wanted: wanted.clone(), preview: None }), wanted)
                }
                Err(_) => (Found::By(made.by.clone()), seen.wanted.clone()),
            },
            Some(made) => (Found::By(made.by.clone()), seen.wanted.clone()),
        };
        let changed = earlier.is_some() || is != seen.state;
        self.0.insert(key, Made { by: step.id.clone(), spec: step.spec.clone(), is, changed });
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn step(id: &str, name: &str, spec: Value) -> protocol::Step {
        let (watches, anchor, timeout_ms, inject) = Default::default();
        protocol::Step { id: StepId(id.into()), kind: name.into(), spec, watches, anchor, timeout_ms, inject }
    }

    /// What is said of steps on a host where nothing is yet.
    fn said(steps: &[protocol::Step]) -> Vec<String> {
        let mut ahead = Ahead::default();
        let absent = json!({ "type": "absent" });
        let find = |step: &protocol::Step| {
            let wanted = kind(&step.kind).unwrap().want(&step.spec, &absent, Circumstances::default()).unwrap();
            match ahead.find(step, &Seen { state: absent.clone(), wanted, preview: None }) {
                Found::Seen => "as seen".into(),
                Found::Made(seen) => format!("{} -> {}", seen.state["type"], seen.wanted["type"]),
                Found::By(step) => format!("after {step}"),
            }
        };
        steps.iter().map(find).collect()
    }

    #[test]
    fn a_step_finds_what_the_one_before_it_has_made() {
        let (there, gone) = (json!({ "path": "/srv" }), json!({ "path": "/srv", "state": "absent" }));
        let step = |id, spec: &Value| step(id, "directory", spec.clone());
        let steps = [step("1", &gone), step("2", &there), step("3", &there), step("4", &gone), step("5", &gone)];
        let other = step("6", &json!({ "path": "/opt" }));
        let expected = ["as seen", "as seen", "directory -> directory", "directory -> absent", "absent -> absent"];
        assert_eq!(
            said(&steps),
            expected.map(|text| text.replace("directory", "\"directory\"").replace("absent", "\"absent\""))
        );
        assert_eq!(said(&[steps[1].clone(), other]), ["as seen", "as seen"]);
    }

    #[test]
    fn where_only_the_host_can_tell_the_earlier_step_is_named() {
        let link = |id, target: &str| step(id, "symlink", json!({ "path": "/srv/now", "target": target }));
        let twice = said(&[link("1", "a"), link("2", "b"), link("3", "b"), link("4", "a")]);
        assert_eq!(twice, ["as seen", "after 1", "\"symlink\" -> \"symlink\"", "after 3"]);
    }
}
