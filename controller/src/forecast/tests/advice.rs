//! What is proposed makes a plan fit, and a little less of it does not.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::promise::each;
use super::scene::{self, Draw, FRIDAY_MS, MINUTE};
use crate::forecast::{Advice, Options, Waves, of};
use crate::plan::Plan;
use crate::plan::procedure::{Action, Manual};
use crate::plan::takes::{Basis, Estimate, Takes};

/// Whether it fits if the window of a stage, which others may have too, closes so much later; `None`: its reserve is shorter.
fn fits_longer(plan: &Plan, options: &Options, stage: &str, longer_ms: u64) -> Option<bool> {
    let mut plan = plan.clone();
    let windows = plan.stages.iter().find(|of| of.name == stage)?.rules.windows.clone();
    for of in plan.stages.iter_mut().filter(|of| of.rules.windows == windows) {
        for window in &mut of.rules.windows {
            window.reserve_ms = window.reserve_ms.checked_sub(longer_ms)?;
        }
    }
    Some(of(&plan, options).fits)
}

#[test]
fn every_advice_is_enough_and_no_more_than_that() {
    let counts = RefCell::new(BTreeMap::<&str, usize>::new());
    each(1_500, |seed, plan, options, _| {
        let forecast = of(plan, &options);
        let fits = |options: &Options| of(plan, options).fits;
        for advice in &forecast.advice {
            let name = match advice {
                Advice::StartBy(start_ms) => {
                    assert!(fits(&Options { start_ms: *start_ms, ..options.clone() }), "seed {seed}: {advice:?}");
                    assert!(*start_ms < options.start_ms, "seed {seed}");
                    "earlier"
                }
                Advice::StartFrom(start_ms) => {
                    assert!(fits(&Options { start_ms: *start_ms, ..options.clone() }), "seed {seed}: {advice:?}");
                    "later"
                }
                Advice::Technicians(n) => {
                    let with = |n: u32| fits(&Options { technicians: Some(n), ..options.clone() });
                    assert!(with(*n) && !with(n - 1), "seed {seed}: {advice:?}");
                    "technicians"
                }
                Advice::AtOnce { stage, hosts, waves } => {
                    let with = |hosts: u32| {
                        let mut plan = plan.clone();
                        let of = plan.stages.iter_mut().find(|of| of.name == *stage).expect("a stage");
                        let named = of.rules.waves.concat();
                        // In their order; whoever is in none comes last.
                        of.rules.waves.push(of.hosts.keys().filter(|host| !named.contains(host)).cloned().collect());
                        of.rules.waves.retain(|wave| !wave.is_empty());
                        let first = of.rules.waves[0].clone();
                        match waves {
                            Waves::AsPlanned => {}
                            Waves::FirstAndRest => of.rules.waves = vec![first, of.rules.waves[1..].concat()],
                            Waves::One => of.rules.waves = vec![of.rules.waves.concat()],
                        }
                        of.rules.at_once = Some(hosts as usize);
                        super::super::of(&plan, &options).fits
                    };
                    assert!(with(*hosts), "seed {seed}: {advice:?}");
                    match waves {
                        Waves::AsPlanned => "at once",
                        Waves::FirstAndRest => "behind the first",
                        Waves::One => "in one wave",
                    }
                }
                Advice::Without(gone) => {
                    let without = gone.iter().cloned().collect();
                    assert!(fits(&Options { without, ..options.clone() }), "seed {seed}: {advice:?}");
                    "without"
                }
                Advice::LongerWindow { stage, by_ms } => {
                    let longer = |by_ms| fits_longer(plan, &options, stage, by_ms);
                    match (longer(*by_ms), longer(by_ms - 1)) {
                        (Some(enough), Some(less)) => {
                            assert!(enough && !less, "seed {seed}: {advice:?}");
                            "longer"
                        }
                        _ => "much longer",
                    }
                }
            };
            *counts.borrow_mut().entry(name).or_default() += 1;
        }
    });
    let counts = counts.into_inner();
    let rare: Vec<_> = ["earlier", "later", "at once", "without", "longer"]
        .into_iter()
        .filter(|name| counts.get(name).is_none_or(|n| *n < 3))
        .collect();
    assert!(rare.is_empty(), "too rare to say anything: {rare:?} of {counts:?}");
}

#[test]
fn six_hours_of_work_by_hand_fit_into_one_evening_with_two_people() {
    let mut plan = scene::big(6, 2, &mut Draw(fastrand::Rng::with_seed(1)));
    let stage = plan.stages.last_mut().expect("a stage");
    let evening = crate::calendar::Pattern::new("18:00".parse().unwrap(), "23:30".parse().unwrap()).unwrap();
    stage.rules.windows.iter_mut().for_each(|window| (window.pattern, window.reserve_ms) = (evening, 0));
    stage.rules.waves.clear();
    stage.rules.stop.clear();
    for step in stage.hosts.values_mut().flatten() {
        let (id, text) = (step.action.id().clone(), "plug it in".into());
        step.action = Action::Manual(Manual { id, text, by: None, takes: None });
        step.outlook.changes = false;
        let forward = Estimate::just(u64::try_from(60 * MINUTE).unwrap(), Basis::Declared);
        step.takes = Some(Takes { forward, back: Estimate::NOTHING });
    }
    plan.stages.remove(0);
    plan.crew.technicians = None;
    let with = |technicians| of(&plan, &Options { start_ms: FRIDAY_MS, technicians, ..Options::default() });
    let alone = with(Some(1));
    assert!(alone.advice.contains(&Advice::Technicians(2)), "{:?}", alone.advice);
    assert!(with(Some(2)).fits && with(None).fits && !alone.fits);
    assert_eq!(with(None).technicians.at_once, 6);
}

#[test]
fn a_person_is_in_one_place_however_many_others_there_are() {
    let mut plan = scene::big(6, 2, &mut Draw(fastrand::Rng::with_seed(1)));
    plan.stages.remove(0);
    let stage = &mut plan.stages[0];
    stage.rules.waves.clear();
    for (n, step) in stage.hosts.values_mut().flatten().enumerate() {
        let (id, text) = (step.action.id().clone(), "plug it in".into());
        let by = ["frida", "a caretaker"][n % 2].to_owned();
        step.action = Action::Manual(Manual { id, text, by: Some(by), takes: None });
        let forward = Estimate::just(u64::try_from(60 * MINUTE).unwrap(), Basis::Declared);
        step.takes = Some(Takes { forward, back: Estimate::NOTHING });
    }
    let hours = |persons: &[&str], technicians| {
        let mut plan = plan.clone();
        plan.crew.technicians = None;
        plan.crew.persons = persons.iter().map(|name| (*name).to_owned()).collect();
        let forecast = of(&plan, &Options { start_ms: FRIDAY_MS, technicians, ..Options::default() });
        let stage = &forecast.stages[0];
        ((stage.end.latest_ms - stage.start.latest_ms) / (60 * MINUTE), forecast.technicians.at_once)
    };
    assert_eq!(hours(&[], None), (1, 6));
    assert_eq!(hours(&["frida"], None), (3, 4), "three hosts, one after the other; and three caretakers");
    assert_eq!(hours(&["frida"], Some(9)).0, 3);
    assert_eq!(hours(&["a caretaker", "frida"], None), (3, 2));
    assert_eq!(hours(&[], Some(1)).0, 6);
}

#[test]
fn a_window_that_is_never_open_for_long_enough_has_to_be_longer() {
    let mut plan = scene::big(2, 2, &mut Draw(fastrand::Rng::with_seed(1)));
    plan.stages.remove(0);
    let night = crate::calendar::Pattern::new("20:00".parse().unwrap(), "22:00".parse().unwrap()).unwrap();
    let rules = &mut plan.stages[0].rules;
    (rules.windows[0].pattern, rules.windows[0].reserve_ms, rules.takes_ms) = (night, 0, 3 * 60 * MINUTE);
    for step in plan.stages[0].hosts.values_mut().flatten() {
        let minute = Estimate::just(MINUTE.unsigned_abs(), Basis::Runs(3));
        step.takes = Some(Takes { forward: minute, back: minute });
    }
    let forecast = of(&plan, &Options { start_ms: FRIDAY_MS, ..Options::default() });
    let hour = Advice::LongerWindow { stage: "s1".into(), by_ms: (60 * MINUTE).unsigned_abs() };
    assert_eq!(forecast.advice, [hour], "{:?}", forecast.problems);
}
