//! Work of several plans beside one another.

use super::scene;
use crate::calendar::Opening;
use crate::forecast::agenda::{Conflict, Entry, Why, conflicts, entries, of_member};
use crate::forecast::{Options, of};
use weiche_agent::digest::Digest;

fn entry(plan: &str, member: &str, (from_ms, back_by_ms): (i64, i64), people: u32) -> Entry {
    Entry {
        plan: Digest::of(plan.as_bytes()),
        playbook: plan.into(),
        members: [member.to_owned()].into(),
        stages: Vec::new(),
        hosts: Default::default(),
        opening: Opening { start_ms: 0, end_ms: 100, close_ms: 90 },
        from_ms,
        to_ms: from_ms + 1,
        back_by_ms,
        taken_to_ms: back_by_ms,
        no_return_ms: None,
        people,
        persons: Default::default(),
        fits: true,
        holidays: Vec::new(),
    }
}

#[test]
fn a_member_has_one_weiche_at_a_time_and_people_are_in_one_place() {
    let entries = [
        entry("a", "alpha", (0, 20), 1),
        entry("b", "beta", (10, 30), 2),
        entry("c", "alpha", (15, 40), 1),
        // The others are over, their way back included.
        entry("d", "alpha", (40, 50), 3),
    ];
    let members = |entries: Vec<usize>| Conflict { entries, why: Why::Members(["alpha".to_owned()].into()) };
    assert_eq!(conflicts(&entries, None), [members(vec![0, 2])]);
    let people = |entries: Vec<usize>, needed| Conflict { entries, why: Why::People { needed, there_are: 3 } };
    assert_eq!(conflicts(&entries, Some(3)), [members(vec![0, 2]), people(vec![0, 1, 2], 4)]);
    assert_eq!(conflicts(&entries, Some(4)), [members(vec![0, 2])]);
}

#[test]
fn a_member_is_taken_while_it_soaks_and_people_are_not() {
    let soaks = Entry { taken_to_ms: 100, ..entry("a", "alpha", (0, 20), 2) };
    let entries = [soaks, entry("b", "alpha", (50, 60), 2)];
    let why = Why::Members(["alpha".to_owned()].into());
    assert_eq!(conflicts(&entries, Some(2)), [Conflict { entries: vec![0, 1], why }]);
}

#[test]
fn what_cannot_be_taken_back_is_not_back_by_any_time() {
    // The first stage has no window, the second one has.
    let mut plan = scene::big(2, 2, &mut scene::Draw(fastrand::Rng::with_seed(1)));
    let options = Options { start_ms: scene::FRIDAY_MS, ..Options::default() };
    plan.stages.iter_mut().flat_map(|stage| stage.hosts.values_mut().flatten()).for_each(|step| {
        (step.outlook.changes, step.outlook.irreversible) = (true, false);
    });
    plan.stages[1].rules.hold_ms = 60 * scene::MINUTE;
    let told = |plan: &crate::plan::Plan| entries(plan, &of(plan, &options));
    let found = told(&plan);
    let soaks = |entry: &Entry| entry.taken_to_ms >= entry.to_ms + 60 * scene::MINUTE;
    assert!(found.len() == 1 && found[0].no_return_ms.is_none() && soaks(&found[0]), "{found:?}");
    plan.stages[1].hosts.values_mut().flatten().for_each(|step| step.outlook.irreversible = true);
    let last = told(&plan).pop().expect("an entry");
    assert!(last.no_return_ms.is_some_and(|from_ms| from_ms <= last.to_ms), "{last:?}");
}

#[test]
fn a_member_sees_its_own_work_and_what_collides_with_it() {
    let entries = [
        entry("a", "gamma", (0, 5), 1),
        entry("b", "beta", (10, 30), 2),
        entry("c", "alpha", (15, 40), 1),
        entry("d", "gamma", (60, 70), 1),
        entry("e", "gamma", (65, 75), 1),
    ];
    let found = conflicts(&entries, Some(2));
    assert_eq!(found.len(), 2);
    let (shown, of_alpha) = of_member("alpha", entries.to_vec(), found.clone());
    assert_eq!(shown, entries[1..3], "beta's work takes the people away");
    assert_eq!(of_alpha, [Conflict { entries: vec![0, 1], why: Why::People { needed: 3, there_are: 2 } }]);
    let (shown, of_gamma) = of_member("gamma", entries.to_vec(), found);
    assert_eq!((shown.len(), &of_gamma[0].entries[..]), (3, &[1, 2][..]));
}

#[test]
fn a_person_is_not_in_two_towns() {
    let with = |entry: Entry, persons: &[&str]| Entry {
        persons: persons.iter().map(|name| (*name).to_owned()).collect(),
        ..entry
    };
    let entries = [
        with(entry("a", "alpha", (0, 20), 1), &["frida", "alpha/otto"]),
        with(entry("b", "beta", (10, 30), 1), &["frida", "beta/otto"]),
        with(entry("c", "gamma", (30, 40), 1), &["frida"]),
    ];
    let why = Why::Persons(["frida".to_owned()].into());
    assert_eq!(conflicts(&entries, None), [Conflict { entries: vec![0, 1], why }]);
}
