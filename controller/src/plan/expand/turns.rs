//! Stages whose hosts take turns: where one step begins when the one before it, on another host, is through.

use std::collections::BTreeMap;

use handlebars::Context;
use serde_json::Value;
use weiche_agent::protocol::StepId;

use super::context;
use super::number::{Draft, Numbering};
use super::stage::Expansion;
use crate::input::apply::Applied;
use crate::input::fleet::Host;
use crate::input::playbook::{self, StepAction, Via};
use crate::input::target::HostName;
use crate::plan::procedure::{Action, Turn};

impl<'a> Expansion<'a, '_> {
    /// The actions of each host, and who does which, in order.
    pub(super) fn in_turns(
        &mut self,
        (stage, name): (&playbook::Stage, &str),
        on: &[&'a Host],
        whose: &[&'a Host],
    ) -> (BTreeMap<HostName, Vec<Action>>, Vec<Turn>) {
        // Resources of a host refer to one another whoever's turn it is between them.
        let mut all: BTreeMap<&HostName, Vec<Applied>> = BTreeMap::new();
        let mut parts: Vec<(&HostName, Vec<Draft>, bool)> = Vec::new();
        for (step, host) in stage.steps.iter().zip(whose) {
            let beside = step.beside.is_some();
            let known = Context::from(Value::Object(context(self.fleet, self.given, Some(host))));
            if let StepAction::Transfer(transfer) = &step.action
                && let Via::Direct(direct) = &transfer.via
            {
                let turns = self.direct((step, transfer, direct), host, on, &known);
                for (host, applied) in turns.into_iter().filter(|(_, applied)| !applied.is_empty()) {
                    let resources = all.entry(&host.name).or_default();
                    let first = resources.len();
                    resources.extend(applied);
                    parts.push((&host.name, (first..resources.len()).map(Draft::Resource).collect(), beside));
                }
                continue;
            }
            let mut drafts = Vec::new();
            self.step(step, host, &known, all.entry(&host.name).or_default(), &mut drafts);
            parts.push((&host.name, drafts, beside));
        }
        let numbering = |(host, resources)| (host, Numbering::new(name, resources));
        let mut numbered: BTreeMap<&HostName, Numbering<'_>> = all.into_iter().map(numbering).collect();
        let (mut count, mut turns) = (0, Vec::new());
        for (host, drafts, beside) in parts {
            let Some(numbering) = numbered.get_mut(host) else { continue };
            let ids = numbering.push(drafts, &mut count, self.contents);
            add(&mut turns, host, ids, beside);
        }
        let hosts = numbered.into_iter().map(|(host, numbering)| (host.clone(), numbering.actions)).collect();
        (hosts, turns)
    }
}

/// The next steps are those of this host.
fn add(turns: &mut Vec<Turn>, host: &HostName, steps: Vec<StepId>, beside: bool) {
    if steps.is_empty() {
        return;
    }
    match turns.last_mut().filter(|turn| turn.host == *host && turn.beside == beside) {
        Some(turn) => turn.steps.extend(steps),
        None => turns.push(Turn { host: host.clone(), steps, beside }),
    }
}
