//! What steps take of which nobody has said anything and that never ran here: long enough for most, and told as what it is.

use crate::plan::Step;
use crate::plan::procedure::Action;
use crate::plan::takes::{Around, Basis, Estimate, LONGEST_MS, Size, Takes};

/// Forward and back, in seconds, by kind; others are edits of files.
const KINDS: [(&str, u64, u64); 14] = [
    ("apt_source", 60, 10),
    ("archive", 120, 60),
    ("command", 60, 60),
    ("download", 120, 10),
    ("locale", 30, 30),
    ("mirror", 900, 120),
    ("network", 15, 15),
    ("package", 180, 120),
    ("postgres_database", 30, 30),
    ("postgres_server", 900, 300),
    ("postgres_upgrade", 1800, 300),
    ("replica", 900, 120),
    ("tree", 60, 60),
    ("unit", 30, 30),
];

/// An edit of a file, there and back.
const EDIT_S: (u64, u64) = (1, 1);

/// A manual step that does not say how long it takes.
const MANUAL_S: u64 = 15 * 60;

/// What moves contents does so at 20 MB/s at least: a line of 200 Mbit/s, or files that are small.
const BYTES_PER_MS: u64 = 20_000;

/// A look that is expected to succeed at once.
const LOOK_S: u64 = 5;

/// A step that finds everything as it is to be.
pub(super) const SAME: Estimate = assumed(100);

/// What the machinery around steps takes, as far as nobody knows better.
pub const AROUND: Around = Around {
    begin: assumed(3_000),
    first: assumed(20_000),
    between: assumed(2_000),
    confirm: assumed(5_000),
    back: assumed(3_000),
    verify: assumed(20_000),
    services: assumed(5_000),
};

const fn assumed(bound_ms: u64) -> Estimate {
    Estimate { least_ms: 0, usual_ms: bound_ms / 3, bound_ms, from: Basis::Assumed }
}

const fn declared(bound_ms: u64) -> Estimate {
    Estimate { least_ms: bound_ms / 4, usual_ms: bound_ms / 2, bound_ms, from: Basis::Declared }
}

/// What a step takes as far as its author or common experience says.
pub fn takes(step: &Step) -> Takes {
    let ms = |within: std::time::Duration| u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let nothing = Estimate::NOTHING;
    let (forward, back) = match &step.action {
        Action::Manual(manual) => {
            (manual.takes.map_or(assumed(MANUAL_S * 1000), |takes| Estimate::just(ms(takes), Basis::Declared)), nothing)
        }
        Action::Check(check) if check.waits => (declared(ms(check.within)), nothing),
        Action::Check(check) => (assumed(ms(check.within).min(LOOK_S * 1000)), nothing),
        Action::Reboot(reboot) => (declared(ms(reboot.within)), nothing),
        Action::Resource(_) | Action::Transfer(_) if !step.outlook.changes => (SAME, nothing),
        Action::Transfer(_) => of("replica"),
        Action::Resource(resource) => of(&resource.kind),
    };
    let moves_ms = moves_ms(step.outlook.size);
    let forward = if step.outlook.changes && moves_ms > forward.bound_ms { assumed(moves_ms) } else { forward };
    Takes { forward, back: if step.outlook.irreversible { nothing } else { back } }
}

/// So long takes at least what moves that much, in milliseconds.
pub fn moves_ms(size: Size) -> u64 {
    (size.bytes / BYTES_PER_MS).min(LONGEST_MS)
}

fn of(kind: &str) -> (Estimate, Estimate) {
    let found = KINDS.iter().find(|(name, ..)| *name == kind).map(|(_, forward, back)| (*forward, *back));
    let (forward, back) = found.unwrap_or(EDIT_S);
    (assumed(forward * 1000), assumed(back * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_much_is_not_assumed_to_be_short() {
        let mut rng = crate::forecast::tests::scene::Draw(fastrand::Rng::with_seed(1));
        let plan = crate::forecast::tests::scene::big(1, 2, &mut rng);
        let mut step = plan.steps().next().expect("a step").2.clone();
        step.outlook.changes = true;
        assert_eq!(takes(&step).forward.bound_ms, EDIT_S.0 * 1000);
        step.outlook.size.bytes = 72_000_000_000;
        assert_eq!(takes(&step).forward.bound_ms, 3_600_000);
        step.outlook.size.bytes = u64::MAX;
        assert_eq!(takes(&step).forward.bound_ms, LONGEST_MS);
    }

    #[test]
    fn the_table_names_kinds_that_there_are() {
        let strange: Vec<_> = KINDS.iter().filter(|(name, ..)| weiche_agent::resource::kind(name).is_none()).collect();
        assert!(strange.is_empty(), "{strange:?}");
    }
}
