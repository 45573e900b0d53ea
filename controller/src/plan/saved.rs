//! A plan as a file: JSON with its digest, so that what was cut or altered is refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weiche_agent::digest::Digest;

use super::Plan;
use super::procedure::Action;
use super::takes::LONGEST_MS;

/// Major and minor version of the format.
pub const VERSION: (u32, u32) = (1, 0);

#[derive(Serialize, Deserialize)]
struct Saved {
    weiche_plan: (u32, u32),
    digest: Digest,
    plan: Value,
}

/// A plan file, for its schema.
#[derive(JsonSchema)]
pub struct File {
    /// Version of the format.
    #[expect(dead_code, reason = "for the schema")]
    weiche_plan: (u32, u32),
    /// Digest of the plan's canonical JSON.
    #[expect(dead_code, reason = "for the schema")]
    digest: Digest,
    /// The plan.
    #[expect(dead_code, reason = "for the schema")]
    plan: Plan,
}

/// Why a file is no plan.
#[derive(Debug, thiserror::Error)]
pub enum ReadPlanError {
    /// Cut off, or never a plan.
    #[error("it is not a whole plan file")]
    Malformed(#[source] serde_json::Error),
    /// Of a newer weiche.
    #[error("it has format {0}.{1}, this weiche reads {major}", major = VERSION.0)]
    Version(u32, u32),
    /// Written by hand, or by a weiche that reckoned wrongly.
    #[error("it says that {0} more than ten years")]
    Long(&'static str),
    /// Not what was saved.
    #[error("it was altered: its content has digest {found}, it says {named}")]
    Altered {
        /// Digest of what is there.
        found: String,
        /// Digest that the file names.
        named: String,
    },
}

/// Writes a plan as text.
pub fn write(plan: &Plan) -> String {
    // A plan always serialises, see `Plan::digest`.
    let value = serde_json::to_value(plan).unwrap_or_default();
    let saved = Saved { weiche_plan: VERSION, digest: Digest::of_json(&value), plan: value };
    serde_json::to_string_pretty(&saved).unwrap_or_default() + "\n"
}

/// Reads what [`write`] wrote.
///
/// # Errors
/// The operator can fix it: plan again.
pub fn read(text: &str) -> Result<Plan, ReadPlanError> {
    let saved: Saved = serde_json::from_str(text).map_err(ReadPlanError::Malformed)?;
    if saved.weiche_plan.0 != VERSION.0 {
        return Err(ReadPlanError::Version(saved.weiche_plan.0, saved.weiche_plan.1));
    }
    let found = Digest::of_json(&saved.plan);
    if found != saved.digest {
        return Err(ReadPlanError::Altered { found: found.short().into(), named: saved.digest.short().into() });
    }
    let mut plan = serde_json::from_value(saved.plan).map_err(ReadPlanError::Malformed)?;
    long(&mut plan).map_or(Ok(plan), |what| Err(ReadPlanError::Long(what)))
}

/// What is longer than anything that weiche itself writes into a plan: sums of such times are no numbers any more.
fn long(plan: &mut Plan) -> Option<&'static str> {
    let too_long = |ms: i64| u64::try_from(ms).is_ok_and(|ms| ms > LONGEST_MS);
    let estimated = plan.estimates().any(|takes| *takes != takes.capped());
    let mut stages = plan.stages.iter().map(|stage| &stage.rules);
    let ruled = stages.any(|rules| {
        let times = [rules.pause_ms, rules.takes_ms, rules.hold_ms];
        let limits = [rules.offline_ms, rules.within_ms, rules.guard_ms];
        times.into_iter().chain(limits.into_iter().flatten()).any(too_long)
    });
    // Sums of what many hosts take one after the other.
    let summed = |ms: i64| ms > i64::MAX / 1024;
    let room = plan
        .stages
        .iter()
        .any(|stage| [stage.needs_ms, stage.alone_ms].into_iter().any(summed) || summed(stage.rules.room_ms));
    let limited = plan.steps().any(|(.., step)| {
        let limit = match &step.action {
            Action::Check(check) => Some(check.within),
            Action::Reboot(reboot) => Some(reboot.within),
            Action::Manual(manual) => manual.takes,
            Action::Resource(_) | Action::Transfer(_) => None,
        };
        limit.is_some_and(|limit| limit.as_millis() > LONGEST_MS.into())
    });
    match () {
        () if estimated => Some("a step takes"),
        () if limited => Some("a step may take"),
        () if ruled || room => Some("a stage takes, or waits for,"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Stage;
    use crate::plan::rules::Rules;
    use crate::plan::takes::{Around, Basis, Estimate};

    fn plan() -> Plan {
        let (inputs, simulated, unidentified) = Default::default();
        let (fleet, playbook) = ("kitu".into(), "server-swap".into());
        Plan {
            nonce: "n".into(),
            created_ms: 1,
            start_ms: None,
            fleet,
            playbook,
            inputs,
            simulated,
            unidentified,
            watch: Default::default(),
            planner: Default::default(),
            meter: Vec::new(),
            sites: Default::default(),
            connections: 0,
            crew: Default::default(),
            classes: Default::default(),
            stages: Vec::new(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&write(&plan())).unwrap(), plan());
    }

    #[test]
    fn every_truncation_and_an_alteration_are_refused() {
        let text = write(&plan());
        let whole = text.trim_end();
        assert!((0..whole.len()).all(|cut| read(&whole[..cut]).is_err()));
        assert!(matches!(read(&text.replace("server-swap", "server-swop")), Err(ReadPlanError::Altered { .. })));
    }

    #[test]
    fn times_that_nothing_takes_are_refused_before_they_are_summed() {
        let with = |bound_ms: u64, hold_ms: i64| {
            let [begin, first, between, confirm, verify, services] = [Estimate::NOTHING; 6];
            let back = Estimate::just(bound_ms, Basis::Assumed);
            let around = Around { begin, first, between, confirm, back, verify, services };
            let (name, hosts, turns) = ("s".into(), Default::default(), Vec::new());
            let rules = Rules { hold_ms, ..Rules::default() };
            let stage = Stage { name, hosts, turns, rules, around: Some(around), needs_ms: 0, alone_ms: 0 };
            read(&write(&Plan { stages: vec![stage], ..plan() }))
        };
        let years = 10 * 366 * 86_400_000_i64;
        assert!(with(years.unsigned_abs(), years).is_ok());
        assert!(matches!(with(years.unsigned_abs() + 1, years), Err(ReadPlanError::Long("a step takes"))));
        assert!(matches!(with(2_600_000_000_000_000_000, 0), Err(ReadPlanError::Long(_))));
        assert!(matches!(with(0, years + 1), Err(ReadPlanError::Long("a stage takes, or waits for,"))));
    }
}
