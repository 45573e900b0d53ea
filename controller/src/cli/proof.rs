//! Approvals in the run log: what was signed, and whether it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Write, stderr};
use std::sync::Arc;

use weiche_agent::protocol::RunId;

use crate::approval::{Statement, StatementFault, approval};
use crate::drive::run::Proof;
use crate::input::load::Loaded;
use crate::plan::{Plan, Stage};

/// What persons sign who approve a stage of a run.
pub(super) fn statement(run: &RunId, plan: &Plan, stage: &Stage) -> Result<Statement, StatementFault> {
    let window = stage.rules.windows.first().map(ToString::to_string);
    Statement::new(run.as_str(), plan.digest(), &stage.name, window, None)
}

/// Whether approvals in the run log count, as the fleet is now. Whoever writes into the run log has no key for that.
pub(super) fn proof(loaded: &Loaded, run: &RunId, plan: &Plan) -> Proof {
    let gated = plan.stages.iter().filter(|stage| stage.rules.gate.is_some());
    let gated: BTreeMap<String, (Statement, BTreeSet<String>)> = gated
        .filter_map(|stage| {
            let members = stage.hosts.keys().map(|host| host.member().to_owned()).collect();
            Some((stage.name.clone(), (statement(run, plan, stage).ok()?, members)))
        })
        .collect();
    let fleet = (!gated.is_empty()).then(|| loaded.fleet().clone());
    Arc::new(move |stage, claimed, signature| {
        let (Some(fleet), Some((statement, members))) = (&fleet, gated.get(stage)) else { return false };
        let members = members.iter().map(String::as_str);
        let why = match approval(fleet, statement, signature, members, claimed.at_ms) {
            Ok(proven) if proven == *claimed => return true,
            Ok(proven) => format!("its signature is that of {} as {}", proven.principal, proven.role.name()),
            Err(fault) => fault.to_string(),
        };
        let who = &claimed.principal;
        let _ = writeln!(stderr(), "The approval of {who} for stage {stage} does not count: {why}");
        false
    })
}
