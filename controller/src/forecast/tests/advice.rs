//! What is proposed makes a plan fit, and a little less of it does not.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::promise::each;
use super::scene::{self, Draw, FRIDAY_MS, MINUTE};
use crate::forecast::lengths::{Lengths, Pace};
use crate::forecast::model::Model;
use crate::forecast::weekend::Weekend;
use crate::forecast::{Advice, Options, of};
use crate::plan::Plan;
use crate::plan::procedure::{Action, Manual};
use crate::plan::takes::{Basis, Estimate, Takes};

/// Whether it fits if windows close so much later.
fn fits_longer(plan: &Plan, options: &Options, longer_ms: i64) -> bool {
    let mut model = Model::new(plan, options);
    model.declare();
    model.longer_ms = longer_ms;
    let bound = Lengths::new(&model, &mut Pace::Bound);
    Weekend::of(&model, &bound, options.start_ms).fits(&model, &bound)
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
                Advice::AtOnce { stage, hosts } => {
                    let with = |hosts: usize| {
                        let mut plan = plan.clone();
                        let of = plan.stages.iter_mut().find(|of| of.name == *stage).expect("a stage");
                        // The waves in one, in their order; whoever is in none comes last.
                        let mut wave = of.rules.waves.concat();
                        wave.extend(of.hosts.keys().filter(|host| !of.rules.waves.concat().contains(host)).cloned());
                        (of.rules.waves, of.rules.at_once) = (vec![wave], Some(hosts));
                        super::super::of(&plan, &options).fits
                    };
                    assert!(with(*hosts as usize), "seed {seed}: {advice:?}");
                    "at once"
                }
                Advice::Without(gone) => {
                    let without = gone.iter().cloned().collect();
                    assert!(fits(&Options { without, ..options.clone() }), "seed {seed}: {advice:?}");
                    "without"
                }
                Advice::LongerWindow { by_ms, .. } => {
                    let by = i64::try_from(*by_ms).expect("short");
                    assert!(fits_longer(plan, &options, by) && !fits_longer(plan, &options, by - 1), "seed {seed}");
                    "longer"
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
