//! Single cases: stop rules, late hosts, holds, pauses, and persons who decide.

use super::*;

fn named(rollout: &Rollout, n: usize) -> Fate {
    fates(rollout)[&("s0".to_owned(), host(n))].clone()
}

#[test]
fn manual_steps_are_waited_for_and_a_failure_elsewhere_ends_the_waiting() {
    let mut rollout = new(&[2], &Rules::default());
    rollout.on(0, &start());
    rollout.on(1, &Happening::StageStarted { stage: "s0".into() });
    assert_eq!(rollout.next(1).len(), 2);
    let stage = || String::from("s0");
    let step = StepId("s0.1".into());
    rollout.on(2, &Happening::HostWaits { host: host(0), stage: stage(), step, text: "plug it in".into() });
    assert_eq!(rollout.standing(2), Standing::Working);
    let mut good = rollout.clone();
    good.on(3, &Happening::HostDone { host: host(1), stage: stage() });
    assert!(good.next(3).is_empty());
    assert_eq!(good.standing(3), Standing::Manual);
    good.wake();
    assert_eq!(good.next(4), [Action::Run { host: host(0), stage: stage() }]);
    rollout.on(3, &Happening::HostFailed { host: host(1), stage: stage(), fault: Fault::new(FaultCode::Io, "no") });
    let next = rollout.next(3);
    assert!(matches!(next.as_slice(), [Action::Record(Happening::RollbackStarted { .. })]), "{next:?}");
}

#[test]
fn three_of_forty_that_are_away_meet_a_rule_of_two_and_the_rest_is_never_begun() {
    let rules = Rules {
        waves: vec![(0..10).map(host).collect()],
        at_once: Some(5),
        stop: vec![StopRule { failed: Amount::Hosts(2), over: Over::Stage }],
        on_stop: OnStop::Rollback(Scope::Wave),
        ..Rules::default()
    };
    let away = [2, 3, 7].map(|n| (host(n), Answer::Bad)).into();
    let (rollout, log) = by_name(new(&[40], &rules), &[], &away);
    assert_eq!(rollout.outcome(), Some(Outcome::RolledBack));
    let begun = log.iter().filter(|(_, h)| matches!(h, Happening::HostBegun { .. })).count();
    assert_eq!(begun, 5, "what had begun ended, nothing else began");
    let idle = fates(&rollout).values().filter(|fate| **fate == Fate::Idle).count();
    assert_eq!(idle, 35);
}

#[test]
fn a_tolerated_failure_goes_back_alone_and_has_no_part_in_later_stages() {
    let rules = Rules { stop: vec![StopRule { failed: Amount::Hosts(2), over: Over::Run }], ..Rules::default() };
    let bad = [(host(1), Answer::Bad)].into();
    let (rollout, _) = by_name(new(&[3, 3], &rules), &[], &bad);
    assert_eq!(rollout.outcome(), Some(Outcome::Partial));
    assert_eq!(named(&rollout, 1), Fate::Undone);
    assert_eq!(fates(&rollout)[&("s1".to_owned(), host(1))], Fate::Skipped("s0".into()));
    assert_eq!(fates(&rollout)[&("s1".to_owned(), host(2))], Fate::Done);
}

#[test]
fn a_stage_that_is_set_aside_goes_back_alone_and_a_person_lets_the_others_go_on() {
    // Two pairs, of which one host of the second fails in a stage of its own.
    let rules = Rules { on_stop: OnStop::SetAside, ..Rules::default() };
    let hosts: [&[usize]; 4] = [&[0, 1], &[3], &[0, 1], &[2, 3]];
    let set = |of: &[usize]| of.iter().map(|n| host(*n)).collect();
    let part = |(at, of): (usize, &[usize])| Part {
        name: format!("s{at}"),
        hosts: set(of),
        rules: rules.clone(),
        alone_ms: 0,
    };
    let parts: Vec<Part> = hosts.into_iter().enumerate().map(part).collect();
    let bad = [(host(3), Answer::Bad)].into();
    let (held, log) = by_name(Rollout::new(parts, BTreeMap::new()), &[], &bad);
    assert!(matches!(held.standing(9), Standing::Held(_)), "{:?}", held.standing(9));
    let of = |rollout: &Rollout, stage: &str, n: usize| fates(rollout)[&(stage.to_owned(), host(n))].clone();
    assert_eq!([of(&held, "s0", 0), of(&held, "s0", 1)], [Fate::Done, Fate::Done]);
    assert_eq!(of(&held, "s1", 3), Fate::Undone);

    let mut on = held.clone();
    on.on(9, &Happening::Continued { by: "anna".into() });
    let (on, _) = by_name(on, &log, &BTreeMap::new());
    assert_eq!(on.outcome(), Some(Outcome::Partial));
    assert_eq!([of(&on, "s2", 0), of(&on, "s2", 1)], [Fate::Done, Fate::Done]);
    assert_eq!([of(&on, "s3", 2), of(&on, "s3", 3)], [Fate::Skipped("s1".into()), Fate::Skipped("s1".into())]);

    let mut back = held;
    back.on(9, &Happening::RollbackStarted { reason: "asked for".into(), scope: Scope::Run, over_drift: false });
    let (back, _) = by_name(back, &log, &BTreeMap::new());
    assert_eq!(back.outcome(), Some(Outcome::RolledBack));
}

#[test]
fn hosts_that_are_switched_off_are_done_when_they_appear_or_given_up() {
    let rules = Rules { offline_ms: Some(3_600_000), ..Rules::default() };
    let away: BTreeMap<HostName, Answer> = [(host(1), Answer::Away)].into();
    let mut rollout = new(&[3, 3], &rules);
    rollout.on(0, &start());
    let mut log = vec![(0, start())];
    // Until the others are through.
    while rollout.standing(0) == Standing::Working {
        for action in rollout.next(0) {
            let how = if let Action::Run { host: h, .. } = &action {
                *away.get(h).unwrap_or(&Answer::Good)
            } else {
                Answer::Good
            };
            for happening in answer(action, how) {
                rollout.on(0, &happening);
                log.push((0, happening));
            }
        }
    }
    assert_eq!(rollout.standing(0), Standing::Offline(1));
    // It appears: both stages, in order.
    let (appeared, _) = by_name(rollout.clone(), &log, &BTreeMap::new());
    assert_eq!(appeared.outcome(), Some(Outcome::Done));
    // It never does.
    let (given_up, log) = by_name(rollout, &log, &away);
    assert_eq!(named(&given_up, 1), Fate::GivenUp);
    assert_eq!(given_up.outcome(), Some(Outcome::Partial));
    assert!(log.iter().any(|(at, h)| matches!(h, Happening::HostGivenUp { .. }) && *at >= 3_600_000));
}

#[test]
fn a_held_run_goes_on_only_when_a_person_says_so() {
    let rules = Rules { waves: vec![vec![host(0)]], on_stop: OnStop::Hold, ..Rules::default() };
    let bad = [(host(0), Answer::Bad)].into();
    let (mut rollout, mut log) = by_name(new(&[3], &rules), &[], &bad);
    assert!(matches!(rollout.standing(0), Standing::Held(_)), "{:?}", rollout.standing(0));
    assert_eq!(named(&rollout, 1), Fate::Idle);
    let go_on = Happening::Continued { by: "frida".into() };
    rollout.on(1, &go_on);
    log.push((1, go_on));
    let (rollout, _) = by_name(rollout, &log, &bad);
    assert_eq!(rollout.outcome(), Some(Outcome::Partial));
    assert_eq!((named(&rollout, 0), named(&rollout, 1)), (Fate::Undone, Fate::Done));
}

/// A run whose first wave is through at 10, and whose service is probed; the second wave may begin at 1010.
fn after_a_wave(on_stop: OnStop) -> Rollout {
    let (pause_ms, probes) = (1000, vec![service()]);
    let rules = Rules { waves: vec![vec![host(0)]], pause_ms, probes, on_stop, ..Rules::default() };
    let mut rollout = new(&[2], &rules);
    rollout.on(0, &start());
    rollout.on(0, &Happening::StageStarted { stage: "s0".into() });
    assert_eq!(rollout.next(0).len(), 1);
    assert_eq!(rollout.probing(), None, "a host is at work");
    rollout.on(10, &Happening::HostDone { host: host(0), stage: "s0".into() });
    assert_eq!(rollout.probing(), Some((0, 0)));
    rollout
}

#[test]
fn no_wave_begins_before_the_services_were_seen_to_work() {
    let mut rollout = after_a_wave(OnStop::Hold);
    assert!(rollout.next(5000).is_empty());
    assert_eq!(rollout.standing(5000), Standing::Working);
    rollout.on(5000, &Happening::ServicesWork { stage: "s0".into(), wave: 0 });
    assert_eq!(rollout.probing(), Some((0, 0)), "until the next wave begins");
    // Whoever resumes looks himself.
    let mut resumed = rollout.clone();
    resumed.wake();
    assert!(resumed.next(5001).is_empty());
    let wave = Happening::WaveStarted { stage: "s0".into(), wave: 1 };
    assert_eq!(rollout.next(5001), [Action::Record(wave.clone())]);
    rollout.on(5001, &wave);
    assert_eq!(rollout.probing(), None);
}

#[test]
fn a_service_that_fails_between_waves_stops_the_stage() {
    let failed = || {
        let fault = Fault::new(FaultCode::Timeout, "no answer");
        Happening::ServiceFailed { stage: "s0".into(), service: "m/files".into(), fault }
    };
    let mut rollout = after_a_wave(OnStop::Rollback(Scope::Run));
    rollout.on(20, &Happening::ServicesWork { stage: "s0".into(), wave: 0 });
    rollout.on(500, &failed());
    let next = rollout.next(500);
    let [Action::Record(Happening::RollbackStarted { reason, .. })] = &next[..] else { panic!("{next:?}") };
    assert!(reason.contains("m/files does not work after wave 1 of stage s0"), "{reason}");
    // Where a person decides, they may go on in spite of it.
    let mut rollout = after_a_wave(OnStop::Hold);
    rollout.on(500, &failed());
    let [Action::Record(held)] = &rollout.next(500)[..] else { panic!("not held") };
    rollout.on(500, held);
    assert!(matches!(rollout.standing(500), Standing::Held(_)));
    rollout.on(600, &Happening::Continued { by: "frida".into() });
    assert_eq!(rollout.probing(), None);
    assert!(matches!(rollout.next(2000)[..], [Action::Record(Happening::WaveStarted { wave: 1, .. })]));
}

#[test]
fn a_paused_run_begins_nothing_more() {
    let rules = Rules { at_once: Some(1), ..Rules::default() };
    let mut rollout = new(&[3], &rules);
    rollout.on(0, &start());
    rollout.on(0, &Happening::StageStarted { stage: "s0".into() });
    assert_eq!(rollout.next(0).len(), 1);
    rollout.on(1, &Happening::Paused { by: "frida".into() });
    rollout.on(2, &Happening::HostDone { host: host(0), stage: "s0".into() });
    assert!(rollout.next(2).is_empty());
    assert_eq!(rollout.standing(2), Standing::Paused);
    rollout.on(3, &Happening::Continued { by: "frida".into() });
    assert_eq!(rollout.next(3), [Action::Run { host: host(1), stage: "s0".into() }]);
}

#[test]
fn a_person_deals_with_a_stuck_host() {
    let answers = [Answer::Good, Answer::Bad, Answer::Bad, Answer::Good];
    let (rollout, log) = play(&[2], &Rules::default(), &answers, &[0]);
    assert_eq!(rollout.outcome(), Some(Outcome::Stuck));
    let stuck: Vec<HostName> =
        rollout.cells().filter(|(_, _, c)| c.fate == Fate::Stuck).map(|(_, host, _)| host.clone()).collect();
    let after = |how: Settled| {
        let mut play = Play::new(rollout.clone(), &log, &[Answer::Good], &[0]);
        let (by, reason) = ("frida".to_owned(), "seen to it".to_owned());
        play.happens(Happening::HostSettled { host: stuck[0].clone(), by, how, reason });
        play.play()
    };
    assert_eq!(after(Settled::Retry), Standing::Ended(Outcome::RolledBack));
    assert_eq!(after(Settled::ByHand), Standing::Ended(Outcome::RolledBack));
    assert_eq!(after(Settled::Forward), Standing::Ended(Outcome::Partial));
}

#[test]
fn fifty_thousand_hosts_go_through_waves() {
    let rules = Rules {
        waves: vec![vec![host(0)], (1..5000).map(host).collect()],
        at_once: Some(500),
        stop: vec![StopRule { failed: Amount::Percent(5), over: Over::Stage }],
        ..Rules::default()
    };
    let (rollout, _) = by_name(new(&[50_000], &rules), &[], &[(host(77), Answer::Bad)].into());
    assert_eq!(rollout.outcome(), Some(Outcome::Partial));
    assert_eq!(named(&rollout, 49_999), Fate::Done);
}

#[test]
fn what_no_window_has_room_for_begins_when_a_person_lets_it() {
    let window = serde_json::json!({ "zone": "UTC", "pattern": { "from": "08:05", "to": "09:00" }, "reserve_ms": 0 });
    let windows = vec![serde_json::from_value(window).unwrap()];
    let long = Rules { windows, takes_ms: 7_200_000, ..Rules::default() };
    let parts = vec![part(0, 1, &Rules::default()), part(1, 1, &long)];
    let mut play = Play::new(Rollout::new(parts, BTreeMap::new()), &[], &[Answer::Good], &[0]);
    play.happens(start());
    let held = play.play();
    assert!(matches!(&held, Standing::Held(reason) if reason.contains("no window of stage s1")), "{held:?}");
    play.happens(Happening::Continued { by: "frida".into() });
    assert_eq!(play.play(), Standing::Ended(Outcome::Done));
    let begun = play.log.iter().find(|(_, what)| matches!(what, Happening::StageStarted { stage } if stage == "s1"));
    let of_day = begun.map(|(at, _)| at % 86_400_000 / 60_000);
    assert_eq!(of_day, Some(8 * 60 + 5), "when the window opens");
}

/// A stage that may be at work from 20:00 to 22:00, and begins at 20:00 on the first day.
fn evening(rules: Rules) -> (Rollout, i64) {
    let window = serde_json::json!({ "zone": "UTC", "pattern": { "from": "20:00", "to": "22:00" }, "reserve_ms": 0 });
    let rules = Rules { windows: vec![serde_json::from_value(window).unwrap()], ..rules };
    let mut rollout = new(&[2], &rules);
    let eight = 20 * HOUR;
    rollout.on(eight, &start());
    assert_eq!(rollout.next(eight), [Action::Record(Happening::StageStarted { stage: "s0".into() })]);
    rollout.on(eight, &Happening::StageStarted { stage: "s0".into() });
    (rollout, eight)
}

const HOUR: i64 = 3_600_000;

#[test]
fn who_goes_on_within_the_window_has_not_said_that_it_may_go_on_beyond_it() {
    let (mut rollout, eight) = evening(Rules { at_once: Some(1), ..Rules::default() });
    assert_eq!(rollout.next(eight).len(), 1);
    rollout.on(eight, &Happening::Paused { by: "frida".into() });
    rollout.on(eight + HOUR, &Happening::Continued { by: "frida".into() });
    let late = eight + 3 * HOUR;
    rollout.on(late, &Happening::HostDone { host: host(0), stage: "s0".into() });
    let [Action::Record(held)] = &rollout.next(late)[..] else { panic!("it went on at 23:00") };
    assert!(matches!(held, Happening::Held { reason, .. } if reason.contains("at the end of its window")), "{held:?}");
    // Whoever lets it go on from there has.
    rollout.on(late, held);
    rollout.on(late, &Happening::Continued { by: "frida".into() });
    assert_eq!(rollout.next(late), [Action::Run { host: host(1), stage: "s0".into() }]);
}

#[test]
fn a_host_that_was_switched_off_catches_up_in_the_window() {
    let (mut rollout, eight) = evening(Rules { offline_ms: Some(100 * HOUR), ..Rules::default() });
    rollout.stages[0].alone_ms = HOUR;
    assert_eq!(rollout.next(eight).len(), 2);
    let fault = Fault::new(FaultCode::Timeout, "no answer");
    let offline = |n| Happening::HostOffline { host: host(n), stage: "s0".into(), fault: fault.clone() };
    rollout.on(eight, &offline(0));
    rollout.on(eight, &Happening::HostDone { host: host(1), stage: "s0".into() });
    let again = [Action::Run { host: host(0), stage: "s0".into() }];
    assert_eq!(rollout.next(eight + 6 * 60_000), again, "it is on again while the window is open");
    rollout.on(eight + 6 * 60_000, &offline(0));
    let half_past_nine = eight + HOUR * 3 / 2;
    assert!(rollout.next(half_past_nine).is_empty(), "an hour is not left");
    assert_eq!(rollout.due_ms(half_past_nine), Some(eight + 24 * HOUR));
    assert_eq!(rollout.next(eight + 24 * HOUR), again);
    // Half-way it does not stay until the window opens again.
    rollout.on(eight + 24 * HOUR, &Happening::HostBegun { host: host(0), stage: "s0".into() });
    rollout.on(eight + 26 * HOUR, &offline(0));
    assert_eq!(rollout.next(eight + 27 * HOUR), again);
}
