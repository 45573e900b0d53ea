//! The steps of a host get their ids: `STAGE.NUMBER`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use weiche_agent::digest::Digest;
use weiche_agent::protocol::{self, StepId};

use crate::input::apply::Applied;
use crate::plan::procedure::{Action, Check, Content, Manual, Reboot, Transfer};

/// What a host does in a stage, before it is numbered: resources keep their positions for references.
pub(super) enum Draft {
    Resource(usize),
    Transfer(Transfer),
    Check(Check),
    Manual(Manual),
    Reboot(Reboot),
}

/// A host's part of a stage, on its way from drafts to actions. A unit that reacts to others gets an anchor before the
/// first of them: undone last, it settles the unit on what the others were put back to.
pub(super) struct Numbering<'s> {
    stage: &'s str,
    resources: Vec<Option<Applied>>,
    /// The units that react, by the first resource that each reacts to.
    anchors: BTreeMap<usize, Vec<usize>>,
    ids: Vec<StepId>,
    pub(super) actions: Vec<Action>,
}

impl<'s> Numbering<'s> {
    /// Of a host with these resources.
    pub(super) fn new(stage: &'s str, resources: Vec<Applied>) -> Numbering<'s> {
        let mut anchors: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, resource) in resources.iter().enumerate() {
            if let Some(first) = resource.watches.first() {
                anchors.entry(*first).or_default().push(at);
            }
        }
        let ids = vec![StepId(String::new()); resources.len()];
        Numbering { stage, resources: resources.into_iter().map(Some).collect(), anchors, ids, actions: Vec::new() }
    }

    /// Numbers what comes next on this host, counting on; returns the new ids.
    pub(super) fn push(
        &mut self,
        drafts: Vec<Draft>,
        count: &mut usize,
        contents: &mut BTreeMap<Digest, Content>,
    ) -> Vec<StepId> {
        let before = self.actions.len();
        let mut next = || {
            *count += 1;
            StepId(format!("{}.{count}", self.stage))
        };
        for draft in drafts {
            match draft {
                Draft::Resource(at) => {
                    for unit in self.anchors.remove(&at).unwrap_or_default() {
                        if let Some(unit) = self.resources.get(unit).and_then(Option::as_ref) {
                            self.actions.push(Action::Resource(anchor(next(), unit)));
                        }
                    }
                    let Some(resource) = self.resources[at].take() else { continue };
                    self.ids[at] = next();
                    let watches = resource.watches.iter().map(|at| self.ids[*at].clone()).collect();
                    for (digest, body) in resource.bodies {
                        contents.entry(digest).or_insert_with(|| body.into());
                    }
                    self.actions.push(Action::Resource(protocol::Step {
                        id: self.ids[at].clone(),
                        kind: resource.kind.name().to_owned(),
                        spec: resource.spec,
                        watches,
                        anchor: false,
                        timeout_ms: milliseconds(resource.timeout),
                        inject: None,
                    }));
                }
                Draft::Transfer(transfer) => self.actions.push(Action::Transfer(Transfer { id: next(), ..transfer })),
                Draft::Check(check) => self.actions.push(Action::Check(Check { id: next(), ..check })),
                Draft::Reboot(reboot) => self.actions.push(Action::Reboot(Reboot { id: next(), ..reboot })),
                Draft::Manual(manual) => self.actions.push(Action::Manual(Manual { id: next(), ..manual })),
            }
        }
        self.actions[before..].iter().map(|action| action.id().clone()).collect()
    }
}

fn anchor(id: StepId, unit: &Applied) -> protocol::Step {
    let name = unit.spec.get("name").cloned().unwrap_or_default();
    protocol::Step {
        id,
        kind: "unit".to_owned(),
        spec: json!({ "name": name, "settle": true }),
        watches: Vec::new(),
        anchor: true,
        timeout_ms: milliseconds(unit.timeout),
        inject: None,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
