//! Counts failures and says which stop rule they meet.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::{Amount, Over, StopRule};
use crate::input::target::HostName;

/// At the first failure.
const FIRST: StopRule = StopRule { failed: Amount::Hosts(1), over: Over::Run };

/// Failures since the run began, or since a person let it go on in spite of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    failed: BTreeMap<Group, BTreeSet<HostName>>,
}

/// Hosts that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Wave(usize, usize),
    Stage(usize),
    Run,
    Member(usize, String),
    Site(usize, String),
}

impl Group {
    fn over(&self) -> Over {
        match self {
            Group::Wave(..) => Over::Wave,
            Group::Stage(_) => Over::Stage,
            Group::Run => Over::Run,
            Group::Member(..) => Over::Member,
            Group::Site(..) => Over::Site,
        }
    }
}

impl Tally {
    /// Counts a failure of a host in its groups, each with the number of its hosts; returns which rule stops the stage now.
    pub(super) fn count(&mut self, host: &HostName, groups: &[(Group, usize)], rules: &[StopRule]) -> Option<String> {
        let rules = if rules.is_empty() { &[FIRST][..] } else { rules };
        let mut met = None;
        for (group, whole) in groups {
            let failed = self.failed.entry(group.clone()).or_default();
            failed.insert(host.clone());
            let hit = rules.iter().find(|rule| rule.over == group.over() && rule.failed.reached(failed.len(), *whole));
            if let Some(rule) = hit.filter(|_| met.is_none()) {
                met = Some(match group {
                    Group::Member(_, name) | Group::Site(_, name) => {
                        format!("{} of {whole} hosts of {name} failed (stop rule: {rule})", failed.len())
                    }
                    _ => format!("{} of {whole} hosts failed (stop rule: {rule})", failed.len()),
                });
            }
        }
        met
    }

    /// A person has decided: what has failed until now does not count any more.
    pub(super) fn forget(&mut self) {
        self.failed.clear();
    }
}
