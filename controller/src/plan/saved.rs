//! A plan as a file: JSON with its digest, so that what was cut or altered is refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weiche_agent::digest::Digest;

use super::Plan;

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
    serde_json::from_value(saved.plan).map_err(ReadPlanError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
