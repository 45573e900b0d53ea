//! Estimates from samples, and samples from run logs.

use weiche_agent::protocol::{StepEvent, StepId, StepOutcome};

use super::*;
use crate::forecast::tests::scene;
use crate::input::target::HostName;
use crate::plan::procedure::{Action, Manual};
use crate::plan::takes::Basis;
use crate::rollout::Happening;

fn sample(title: &str, class: &str, member: &str, took_ms: u64, at_ms: i64) -> Sample {
    let (what, size) = ("package".to_owned(), Size::default());
    let (title, class, member) = (title.to_owned(), class.to_owned(), member.to_owned());
    Sample { what, title, way: Way::Forward, class, member, size, took_us: took_ms * 1000, at_ms, run_ms: 0 }
}

fn sought<'a>(title: &'a str, class: &'a str, member: &'a str) -> Sought<'a> {
    Sought { what: "package", title, way: Way::Forward, class, member, size: Size::default() }
}

#[test]
fn three_runs_say_something_and_two_do_not() {
    let all: Vec<Sample> =
        (0..3).map(|n| sample("package nginx", "server", "alpha", 1_000 + 730 * n, n.cast_signed())).collect();
    assert_eq!(History::new(all[..2].to_vec()).estimate(&sought("package nginx", "server", "alpha")), None);
    let estimate = History::new(all).estimate(&sought("package nginx", "server", "alpha")).unwrap();
    assert_eq!(estimate, Estimate { least_ms: 1_000, usual_ms: 1_730, bound_ms: 2_500, from: Basis::Runs(3) });
}

#[test]
fn the_nearest_samples_count() {
    let of = |title: &str, class: &str, member: &str, ms| {
        (0..3).map(|n| sample(title, class, member, ms, n)).collect::<Vec<_>>()
    };
    let all = [
        of("package nginx", "server", "alpha", 1_000),
        of("package nginx", "server", "beta", 2_000),
        of("package samba", "server", "alpha", 3_000),
        of("package samba", "pc", "alpha", 4_000),
    ];
    let history = History::new(all.concat());
    let bound = |title, class, member| history.estimate(&sought(title, class, member)).map(|found| found.bound_ms);
    assert_eq!(bound("package nginx", "server", "alpha"), Some(1_000));
    assert_eq!(bound("package nginx", "server", "gamma"), Some(2_000), "the same package, elsewhere");
    assert_eq!(bound("package cups", "server", "alpha"), Some(3_000), "any package of that member");
    assert_eq!(bound("package cups", "pc", "gamma"), Some(4_000), "any package on such a host");
    assert_eq!(bound("package cups", "simulated", "alpha"), None, "what is simulated says nothing of what is not");
}

#[test]
fn only_the_newest_samples_count() {
    let mut all: Vec<Sample> = (0..20).map(|n| sample("p", "server", "alpha", 1_000, 100 + n)).collect();
    all.push(sample("p", "server", "alpha", 60_000, 1));
    assert_eq!(History::new(all).estimate(&sought("p", "server", "alpha")).unwrap().bound_ms, 1_000);
}

#[test]
fn what_moves_much_is_latency_and_rate() {
    // 2 s, and 10 ms for each MiB; once the line was slower.
    let moved = |mib: u64, ms: u64| Sample {
        size: Size { bytes: mib << 20, items: 1 },
        ..sample("mirror /srv", "server", "alpha", ms, ms.cast_signed())
    };
    let history = History::new([moved(100, 3_000), moved(200, 4_000), moved(400, 6_000), moved(300, 4_600)]);
    let at = |mib: u64| {
        let size = Size { bytes: mib << 20, items: 1 };
        history.estimate(&Sought { size, ..sought("mirror /srv", "server", "alpha") }).unwrap()
    };
    assert_eq!(at(350).bound_ms, 5_500);
    assert_eq!(at(100).bound_ms, 3_000);
    let usual = at(350).usual_ms;
    assert!((5_000..=5_500).contains(&usual), "{usual}");
    // Nobody has seen so much: all of the 6 s may have been rate.
    assert_eq!(at(1_000).bound_ms, 15_000);
}

#[test]
fn more_never_takes_less_and_much_more_takes_much_longer() {
    let mut rng = fastrand::Rng::with_seed(9);
    for _ in 0..1_000 {
        let many: Vec<Sample> = (0..rng.usize(3..12))
            .map(|n| Sample {
                size: Size { bytes: rng.u64(1..1_000_000), items: 1 },
                ..sample("t", "server", "alpha", rng.u64(100..600_000), n as i64)
            })
            .collect();
        let most = many.iter().map(|of| of.size.bytes).max().unwrap();
        let history = History::new(many);
        let bound = |bytes: u64| {
            let size = Size { bytes, items: 1 };
            history.estimate(&Sought { size, ..sought("t", "server", "alpha") }).unwrap().bound_ms
        };
        let sizes = [most / 2, most, most * 2, most * 100, most * 10_000].map(|bytes| bound(bytes.max(1)));
        assert!(sizes.is_sorted(), "{sizes:?}");
        assert!(sizes[4] >= sizes[1].saturating_sub(100) * 10_000, "{sizes:?}");
    }
}

#[test]
fn no_sample_lies_above_its_own_bound() {
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..1_000 {
        let many: Vec<Sample> = (0..rng.usize(3..12))
            .map(|n| Sample {
                size: Size { bytes: rng.u64(1..1_000_000_000), items: 1 },
                ..sample("t", "server", "alpha", rng.u64(0..600_000), n as i64)
            })
            .collect();
        let history = History::new(many.clone());
        for of in &many {
            let found = history.estimate(&Sought { size: of.size, ..sought("t", "server", "alpha") }).unwrap();
            assert!(found.bound_ms * 1000 + 1 >= of.took_us, "{of:?}: {found:?}");
            assert!(found.least_ms <= found.usual_ms && found.usual_ms <= found.bound_ms, "{found:?}");
        }
    }
}

#[test]
fn a_run_log_is_folded_into_samples() {
    let plan = scene::plan(&mut scene::Draw(fastrand::Rng::with_seed(1)));
    let stage = &plan.stages[0];
    let (host, steps) = stage.hosts.iter().find(|(_, steps)| !steps.is_empty()).expect("a host with a step");
    let (host, step): (HostName, StepId) = (host.clone(), steps[0].action.id().clone());
    let name = stage.name.clone();
    let event =
        |what| Happening::Step { host: host.clone(), event: StepEvent { step: step.clone(), what, took_us: 700_000 } };
    let events = [
        (0, Happening::StageStarted { stage: name.clone() }),
        (1_500, Happening::HostBegun { host: host.clone(), stage: name.clone() }),
        (2_200, event(StepOutcome::Changed)),
        (2_300, event(StepOutcome::AlreadyDone)),
        (2_900, Happening::HostDone { host: host.clone(), stage: name }),
    ];
    let found = fold(&plan, events.iter().map(|(at, what)| (*at, what)), []);
    let told: Vec<(&str, &str, u64)> = found.iter().map(|s| (s.what.as_str(), s.title.as_str(), s.took_us)).collect();
    assert_eq!(
        told,
        [("around", "first", 1_500_000), ("file", "file /etc/0", 700_000), ("around", "between", 700_000)]
    );
}

#[test]
fn who_does_much_by_hand_does_one_thing_after_the_other() {
    let mut plan = scene::big(3, 4, &mut scene::Draw(fastrand::Rng::with_seed(1)));
    let by_hand = |step: &mut crate::plan::Step| {
        let (id, by) = (step.action.id().clone(), Some("frida".to_owned()));
        step.action = Action::Manual(Manual { id, text: "plug it in".into(), by, takes: None });
        step.title = "manual plug it in".into();
    };
    plan.stages[0].hosts.values_mut().for_each(|steps| by_hand(&mut steps[0]));
    let hosts: Vec<HostName> = plan.stages[0].hosts.keys().cloned().collect();
    let step = StepId("s0.0".into());
    let waits = |host: &HostName| {
        let (host, step) = (host.clone(), step.clone());
        (1_000, Happening::HostWaits { host, stage: "s0".into(), step, text: String::new() })
    };
    let events: Vec<(i64, Happening)> = hosts.iter().map(waits).collect();
    let names: Vec<String> = hosts.iter().map(|host| format!("{host}:{step}")).collect();
    let said = [(0, "frida", 61_000), (1, "frida", 121_000), (2, "otto", 40_000_000)];
    let said = said.map(|(n, by, at_ms)| ByHand { step: &names[n], by, at_ms });
    let found = fold(&plan, events.iter().map(|(at, what)| (*at, what)), said);
    let took: Vec<(&str, u64)> = found.iter().map(|sample| (sample.title.as_str(), sample.took_us)).collect();
    // What otto found in the morning had been done by somebody else, nobody knows when.
    assert_eq!(took, [("manual plug it in", 60_000_000), ("manual plug it in", 60_000_000)]);
    // Two of one run are one run.
    let more = [2, 3].map(|run_ms| Sample { run_ms, ..found[0].clone() });
    attach(&mut plan, &History::new(found.into_iter().chain(more)));
    let takes = plan.stages[0].hosts[&hosts[0]][0].takes.expect("known by now");
    assert_eq!(takes.forward, Estimate { from: Basis::Runs(3), ..Estimate::just(60_000, Basis::Assumed) });
}

#[test]
fn a_file_is_read_as_it_was_written_and_names_stay_at_home() {
    let all = [sample("package nginx", "server", "alpha", 10, 1), sample("package samba", "pc", "beta", 20, 2)];
    assert_eq!(read(&write(all.iter(), true), 0).unwrap(), all);
    let text = write(all.iter(), false);
    assert!(!text.contains("alpha") && !text.contains("nginx"), "{text}");
    assert_eq!(read(&text, 0).unwrap().len(), 2);
    assert!(matches!(read("{}\n", 0), Err(ReadHistoryError::Header)));
    let strange = |sample: Sample| read(&write([sample].iter(), true), 1_000);
    let plain = || sample("package nginx", "server", "alpha", 10, 1);
    for wrong in [
        Sample { took_us: u64::MAX, ..plain() },
        Sample { at_ms: i64::MAX, ..plain() },
        Sample { size: Size { bytes: u64::MAX, items: 0 }, ..plain() },
    ] {
        assert!(matches!(strange(wrong), Err(ReadHistoryError::Cannot { line: 2, .. })));
    }
    assert!(strange(plain()).is_ok());
    let cut = &text[..text.len() - 10];
    assert!(matches!(read(cut, 0), Err(ReadHistoryError::Line { line: 3, .. })));
}

#[test]
fn twenty_thousand_steps_find_what_they_took_before() {
    let mut plan = scene::big(500, 40, &mut scene::Draw(fastrand::Rng::with_seed(1)));
    plan.classes = plan.hosts().into_iter().map(|host| (host, "pc".to_owned())).collect();
    let steps: Vec<(HostName, StepId)> =
        plan.steps().map(|(_, host, s)| (host.clone(), s.action.id().clone())).collect();
    let mut samples = Vec::new();
    for run in 0..3_i64 {
        let event = |(host, step): &(HostName, StepId)| {
            let event = StepEvent { step: step.clone(), what: StepOutcome::Changed, took_us: 1_000_000 };
            (run * 1_000, Happening::Step { host: host.clone(), event })
        };
        let events: Vec<(i64, Happening)> = steps.iter().map(event).collect();
        samples.extend(fold(&plan, events.iter().map(|(at, what)| (*at, what)), []));
    }
    assert_eq!(samples.len(), 3 * 20_000);
    attach(&mut plan, &History::new(samples));
    let learned =
        |step: &crate::plan::Step| step.takes.is_some_and(|takes| matches!(takes.forward.from, Basis::Runs(3)));
    assert!(plan.steps().all(|(_, _, step)| learned(step)));
}

#[test]
fn hosts_of_a_stage_go_back_side_by_side_and_long_lists_count() {
    let plan = scene::big(2, 2, &mut scene::Draw(fastrand::Rng::with_seed(1)));
    let hosts: Vec<HostName> = plan.stages[0].hosts.keys().cloned().collect();
    let step = StepId("s0.0".into());
    let undone = |host: &HostName, took_us: u64| Happening::Step {
        host: host.clone(),
        event: StepEvent { step: step.clone(), what: StepOutcome::Undone, took_us },
    };
    let back = |host: &HostName| Happening::HostUndone { host: host.clone(), stage: "s0".into() };
    let (reason, scope) = ("x".to_owned(), crate::rollout::rules::Scope::Run);
    let events = [
        (0, Happening::StageStarted { stage: "s0".into() }),
        (720_000, Happening::HostBegun { host: hosts[0].clone(), stage: "s0".into() }),
        (800_000, Happening::RollbackStarted { reason, scope, over_drift: false }),
        (806_000, undone(&hosts[0], 1_000_000)),
        (806_500, back(&hosts[0])),
        (808_000, undone(&hosts[1], 2_000_000)),
        (808_500, back(&hosts[1])),
    ];
    let found = fold(&plan, events.iter().map(|(at, what)| (*at, what)), []);
    let of = |title: &str| found.iter().filter(|s| s.title == title).map(|s| s.took_us / 1_000).collect::<Vec<_>>();
    assert_eq!(of("first"), [720_000], "twelve minutes to list all files");
    assert_eq!(of("back"), [5_000, 6_000], "both since it turned back");
}

#[test]
fn what_an_author_says_counts_for_more_than_what_others_took() {
    let mut plan = scene::big(1, 4, &mut scene::Draw(fastrand::Rng::with_seed(1)));
    let steps = plan.stages[0].hosts.values_mut().next().expect("a host");
    let within = std::time::Duration::from_secs(1_800);
    let probe = crate::plan::procedure::Probe::Tcp("fs.example:445".into());
    let (id, every) = (steps[0].action.id().clone(), std::time::Duration::from_secs(1));
    steps[0].action = Action::Check(crate::plan::procedure::Check { id, probe, within, every, waits: true });
    if let Action::Resource(step) = &mut steps[1].action {
        step.kind = "command".into();
    }
    steps.iter_mut().for_each(|step| (step.takes, step.outlook.changes) = (None, true));
    plan.classes = plan.hosts().into_iter().map(|host| (host, "server".to_owned())).collect();
    let other = |what: &str, way| Sample {
        what: what.into(),
        way,
        ..sample(&format!("another {what}"), "server", "alpha", 100, 1)
    };
    let ways = [Way::Forward, Way::Back];
    let all = ["check", "command", "file"].into_iter().flat_map(|what| ways.map(|way| other(what, way)));
    let all: Vec<Sample> = all.flat_map(|sample| (0..3).map(move |n| Sample { at_ms: n, ..sample.clone() })).collect();
    attach(&mut plan, &History::new(all.clone()));
    let takes = |n: usize| plan.stages[0].hosts.values().next().expect("a host")[n].takes;
    assert_eq!((takes(0), takes(1)), (None, None), "an unseen wait, an unseen program");
    // The plan has a file in another stage.
    let file = plan.stages[1].hosts.values().next().expect("a host")[0].takes;
    assert_eq!(file.map(|takes| takes.forward.from), Some(Basis::Runs(3)), "a file is a file");
}

/// The first step of the plan, which is on a server, is one of this kind, whose plan says that it changes something or not.
fn alone(kind: &str, changes: bool) -> (crate::plan::Plan, HostName) {
    let mut plan = scene::big(1, 2, &mut scene::Draw(fastrand::Rng::with_seed(1)));
    let host = plan.hosts().first().expect("a host").clone();
    plan.classes = [(host.clone(), "server".to_owned())].into();
    let step = &mut plan.stages[0].hosts.values_mut().next().expect("a host")[0];
    (step.title, step.takes, step.outlook.changes) = (format!("{kind} it"), None, changes);
    step.outlook.irreversible = false;
    if let Action::Resource(step) = &mut step.action {
        step.kind = kind.into();
    }
    (plan, host)
}

/// Samples of runs of [`alone`] in which it took so long and had nothing to do.
fn idle_runs(said_to_change: bool, runs: std::ops::Range<i64>) -> Vec<Sample> {
    let (plan, host) = alone("package", said_to_change);
    let event = StepEvent { step: StepId("s0.0".into()), what: StepOutcome::Unchanged, took_us: 50_000 };
    let idle = Happening::Step { host, event };
    let started = Happening::StageStarted { stage: "s0".into() };
    runs.flat_map(|run| fold(&plan, [(run * 1_000, &started), (run * 1_000 + 50, &idle)], [])).collect()
}

#[test]
fn what_had_nothing_to_do_tells_nothing_of_what_has() {
    let takes = |changes: bool, samples: Vec<Sample>| {
        let mut plan = alone("package", changes).0;
        attach(&mut plan, &History::new(samples));
        let step = &plan.stages[0].hosts.values().next().expect("a host")[0];
        step.takes.unwrap_or_else(|| crate::forecast::assumed(step))
    };
    let upgraded = takes(true, idle_runs(false, 1..4));
    assert_eq!((upgraded.forward.bound_ms, upgraded.forward.from), (180_000, Basis::Assumed));
    assert_eq!(upgraded.back.bound_ms, 120_000);
    let same = takes(false, idle_runs(false, 1..4));
    assert_eq!((same.forward.bound_ms, same.forward.from), (100, Basis::Runs(3)));
    // What was said to change and never did is expected not to, and to leave nothing to take back.
    let never = takes(true, idle_runs(true, 1..4));
    assert_eq!((never.forward.bound_ms, never.forward.from), (100, Basis::Runs(3)));
    assert_eq!((never.back.bound_ms, never.back.from), (0, Basis::Runs(3)));
}

#[test]
fn what_many_hosts_took_in_one_night_happened_once() {
    let of_host = |run: i64, host: i64| Sample {
        run_ms: run * 1_000_000,
        ..sample("package nginx", "pc", "alpha", if host == 0 { 900_000 } else { 120_000 }, run * 1_000_000 + host)
    };
    let of_runs = |runs: i64| History::new((1..=runs).flat_map(|run| (0..100).map(move |host| of_host(run, host))));
    let found = |runs: i64| of_runs(runs).estimate(&sought("package nginx", "pc", "alpha"));
    assert_eq!(found(2), None, "two hundred hosts, two nights");
    let old = Estimate { least_ms: 120_000, usual_ms: 120_000, bound_ms: 900_000, from: Basis::Runs(3) };
    assert_eq!(found(3), Some(old), "the slow one was not among the last");
    assert_eq!(found(30).unwrap().from, Basis::Runs(20));
    assert_eq!(of_runs(3).groups()[0].1, old);
    // A file without names tells runs apart as well.
    let text = write(of_runs(3).samples(), false);
    let read = History::new(read(&text, i64::from(u32::MAX)).unwrap());
    assert_eq!(read.estimate(&sought("package nginx", "pc", "alpha")), Some(old));
}

#[test]
fn few_samples_of_a_run_tell_what_all_do() {
    let mut rng = fastrand::Rng::with_seed(11);
    for _ in 0..5 {
        let of_run = |run: i64| {
            (0..200).map(move |host| Sample { run_ms: run, ..sample("t", "pc", "alpha", 0, run * 1_000 + host) })
        };
        let all: Vec<Sample> = (1..4).flat_map(of_run).collect();
        let drawn = |sample: Sample| {
            let size = Size { bytes: rng.u64(1..1_000_000_000), items: rng.u64(1..100) };
            Sample { size, took_us: rng.u64(0..600_000_000), ..sample }
        };
        let all: Vec<Sample> = all.into_iter().map(drawn).collect();
        let kept = few(all.clone());
        assert!(kept.len() < 3 * 60, "{}", kept.len());
        let history = History::new(kept);
        for of in &all {
            for size in [of.size, Size { bytes: 0, ..of.size }, Size::default()] {
                let found = history.estimate(&Sought { size, ..sought("t", "pc", "alpha") }).unwrap();
                assert!(found.bound_ms * 1000 + 1 >= of.took_us, "{of:?}: {found:?}");
            }
        }
    }
}

#[test]
fn one_size_that_is_not_known_does_not_hide_the_others() {
    let moved = |gb: u64, ms: u64, run_ms: i64| Sample {
        size: Size { bytes: gb * 1_000_000_000, items: 1 },
        run_ms,
        ..sample("archive it", "server", "alpha", ms, run_ms)
    };
    let bound = |samples: Vec<Sample>| {
        let size = Size { bytes: 50_000_000_000, items: 1 };
        let found = History::new(samples).estimate(&Sought { size, ..sought("archive it", "server", "alpha") });
        found.map(|found| (found.bound_ms, found.from))
    };
    let mut all: Vec<Sample> = (1..4).map(|run| moved(1, 60_000, run)).collect();
    all.push(moved(0, 500, 4));
    assert_eq!(bound(all.clone()), Some((3_000_000, Basis::Runs(3))), "fifty times what one takes");
    // Too few to tell a rate: no faster than is assumed of anything.
    assert_eq!(bound(all[1..].to_vec()), Some((2_500_000, Basis::Assumed)));
    let slow: Vec<Sample> = (1..4).map(|run| moved(0, 2_700_000, run)).collect();
    assert_eq!(bound(slow), Some((2_700_000, Basis::Runs(3))));
}

#[test]
fn hosts_of_a_kind_that_never_ran_are_not_taken_for_quick() {
    let mut plan = scene::big(2, 2, &mut scene::Draw(fastrand::Rng::with_seed(1)));
    let hosts = plan.hosts().into_iter().collect::<Vec<_>>();
    plan.classes = [(hosts[0].clone(), "server".to_owned()), (hosts[1].clone(), "pc".to_owned())].into();
    let first = |run: i64| {
        let (what, title) = ("around".to_owned(), "first".to_owned());
        Sample { what, title, ..sample("", "server", "alpha", 700, run) }
    };
    attach(&mut plan, &History::new((1..4).map(first)));
    let around = plan.stages[0].around.expect("something is known");
    assert_eq!(around.first, crate::forecast::AROUND.first);
    plan.classes.values_mut().for_each(|class| *class = "server".into());
    attach(&mut plan, &History::new((1..4).map(first)));
    assert_eq!(plan.stages[0].around.expect("something is known").first.bound_ms, 700);
}

#[test]
fn what_a_controller_was_gone_is_not_what_the_machinery_takes() {
    let plan = scene::big(2, 2, &mut scene::Draw(fastrand::Rng::with_seed(1)));
    let hosts: Vec<HostName> = plan.hosts().into_iter().collect();
    let begun = |n: usize| Happening::HostBegun { host: hosts[n].clone(), stage: "s0".into() };
    let done = |n: usize| Happening::HostDone { host: hosts[n].clone(), stage: "s0".into() };
    let confirmed = |n: usize| Happening::HostConfirmed { host: hosts[n].clone(), stage: "s0".into() };
    let took = |events: &[(i64, Happening)]| -> Vec<(String, u64)> {
        let found = fold(&plan, events.iter().map(|(at, what)| (*at, what)), []);
        found.into_iter().map(|sample| (sample.title, sample.took_us / 1_000)).collect()
    };
    let told = |all: &[(&str, u64)]| all.iter().map(|(title, ms)| ((*title).to_owned(), *ms)).collect::<Vec<_>>();
    let started = || Happening::StageStarted { stage: "s0".into() };
    // It is gone for four minutes when one is through and the other is not.
    let events = [
        (0, started()),
        (1_000, begun(0)),
        (1_100, begun(1)),
        (2_000, done(0)),
        (242_000, begun(1)),
        (242_500, confirmed(0)),
        (243_000, done(1)),
        (243_800, confirmed(1)),
    ];
    let expected = [("first", 1_000), ("first", 1_100), ("between", 1_000), ("between", 1_000), ("confirm", 800)];
    assert_eq!(took(&events), told(&expected));
}
