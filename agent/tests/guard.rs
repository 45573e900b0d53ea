//! The guard of a stage on the fake host: armed before the first change, and whatever happens then (crashes at every
//! effect, other boots, clocks that jump, wrong nonces, other runs), the host is confirmed or as it was.

#[path = "guard/scene.rs"]
mod scene;

use scene::{NONCE, Scene, arm, armed, cancel, confirm, nonce, run, stage, state};
use serde_json::json;
use weiche_agent::fault::Fault;
use weiche_agent::guard::{self, Phase};
use weiche_agent::host::fake::{FakeHost, Moment};
use weiche_agent::host::{Clock, Host};
use weiche_agent::protocol::{Expect, FaultCode, GuardState, Reply, Request, StepId};

const MOMENTS: [Moment; 5] = [Moment::Before, Moment::Within, Moment::After, Moment::Unsynced, Moment::UnsyncedState];

fn code(reply: Reply) -> FaultCode {
    match reply {
        Reply::Fault(fault) => fault.code,
        other => panic!("{other:?}"),
    }
}

/// Lets the watch of the scene's guard run to its end.
fn watch(host: &mut FakeHost) -> Result<(), Fault> {
    guard::watch(&run("run-1"), "s", host)
}

#[test]
fn what_is_confirmed_stays() {
    let mut scene = Scene::changed();
    let host = &mut scene.host;
    assert_eq!(state(host), GuardState::Armed { left_ms: 60_000 });
    assert!(host.watches().contains("run-1 s"), "armed is watched");
    let new = host.snapshot();
    assert_eq!(scene::ask(host, &confirm(NONCE)), Reply::Guard(scene::status(GuardState::Confirmed)));
    assert_eq!(scene::ask(host, &confirm(NONCE)), Reply::Guard(scene::status(GuardState::Confirmed)), "twice");
    watch(host).unwrap();
    host.boot_anew();
    guard::boot(Phase::Early, host).unwrap();
    guard::boot(Phase::Late, host).unwrap();
    assert_eq!(host.snapshot(), new);
    assert_eq!(code(scene::ask(host, &arm(1000))), FaultCode::Conflict);
    assert_eq!(code(scene::ask(host, &cancel(NONCE))), FaultCode::Conflict);
    assert_eq!(host.snapshot(), new);
}

#[test]
fn what_nobody_confirms_goes_back_at_the_deadline() {
    let mut scene = Scene::changed();
    let host = &mut scene.host;
    watch(host).unwrap();
    assert_eq!(host.clock().boottime_ms, 1_000_000 + 60_000, "not earlier, not later");
    assert_eq!(state(host), GuardState::Fired { stuck: Vec::new() });
    scene.is_as_before();
    // Too late for anything but a new run.
    let host = &mut scene.host;
    for request in [confirm(NONCE), arm(1000), stage("run-1", scene::steps(), None)] {
        assert_eq!(code(scene::ask(host, &request)), FaultCode::TakenBack, "{request:?}");
    }
    scene.is_as_before();
}

#[test]
fn only_the_nonce_confirms() {
    let mut scene = Scene::changed();
    let host = &mut scene.host;
    for wrong in ["", "nonce-2", &nonce(NONCE).to_string()] {
        assert_eq!(code(scene::ask(host, &confirm(wrong))), FaultCode::Invalid);
        assert_eq!(code(scene::ask(host, &cancel(wrong))), FaultCode::Invalid);
        assert!(matches!(state(host), GuardState::Armed { .. }));
    }
    // The nonce of another stage or run.
    let of = |run_id: &str, of_stage: &str| Request::Confirm {
        run: run(run_id),
        stage: of_stage.into(),
        nonce: NONCE.into(),
        expect: Expect::default(),
    };
    for request in [of("run-2", "s"), of("run-1", "t")] {
        assert_eq!(code(scene::ask(host, &request)), FaultCode::NotFound);
    }
    let Request::Arm { run, stage, within_ms, expect, .. } = arm(600_000) else { unreachable!() };
    let other = Request::Arm { run, stage, nonce: nonce("nonce-2"), within_ms, expect };
    assert_eq!(code(scene::ask(host, &other)), FaultCode::Conflict, "a stale controller");
    watch(host).unwrap();
    assert_eq!(host.clock().boottime_ms, 1_000_000 + 60_000);
    scene.is_as_before();
}

#[test]
fn arming_again_is_more_time() {
    let mut scene = Scene::changed();
    let host = &mut scene.host;
    host.pause(std::time::Duration::from_secs(50));
    assert_eq!(state(host), GuardState::Armed { left_ms: 10_000 });
    assert_eq!(armed(scene::ask(host, &arm(90_000))), 90_000);
    watch(host).unwrap();
    assert_eq!(host.clock().boottime_ms, 1_000_000 + 50_000 + 90_000);
    scene.is_as_before();
}

#[test]
fn from_the_end_of_the_last_steps_there_is_only_the_time_to_confirm() {
    let last = |confirm_ms| match stage("run-1", scene::steps(), None) {
        Request::Stage { run, steps, expect, crash_after_records, .. } => {
            Request::Stage { run, steps, expect, crash_after_records, confirm_ms }
        }
        other => other,
    };
    // Armed with 60 s left; the stage says how many, and so many are left then.
    for (confirm_ms, left_ms) in [(None, 60_000), (Some(2_000), 2_000), (Some(90_000), 60_000)] {
        let mut scene = Scene::changed();
        assert_eq!(scene::ask(&mut scene.host, &last(confirm_ms)), Reply::StageEnd { ok: true });
        assert_eq!(state(&mut scene.host), GuardState::Armed { left_ms }, "{confirm_ms:?}");
        watch(&mut scene.host).unwrap();
        assert_eq!(scene.host.clock().boottime_ms, 1_000_000 + left_ms);
        scene.is_as_before();
    }
    // Without a guard there is nothing to confirm.
    let mut host = FakeHost::debian();
    assert_eq!(scene::ask(&mut host, &last(Some(2_000))), Reply::StageEnd { ok: true });
    assert_eq!(state(&mut host), GuardState::None);
}

#[test]
fn cancelling_takes_back_at_once_and_tells_the_steps() {
    let mut scene = Scene::changed();
    let (events, last) = scene::converse(&mut scene.host, &cancel(NONCE));
    assert_eq!(last, Reply::UndoEnd { stuck: Vec::new() });
    assert_eq!(events, 3);
    scene.is_as_before();
    assert_eq!(state(&mut scene.host), GuardState::Fired { stuck: Vec::new() });
}

#[test]
fn an_undo_of_the_run_settles_the_guard() {
    let mut scene = Scene::changed();
    let (run, expect) = (run("run-1"), Expect::default());
    let undo =
        Request::Undo { run, stage: None, only: Vec::new(), over_drift: false, expect, crash_after_records: None };
    assert_eq!(scene::ask(&mut scene.host, &undo), Reply::UndoEnd { stuck: Vec::new() });
    assert_eq!(state(&mut scene.host), GuardState::Fired { stuck: Vec::new() });
    scene.is_as_before();
}

#[test]
fn another_run_waits_and_confirms_nothing() {
    let mut scene = Scene::changed();
    let host = &mut scene.host;
    let before = host.snapshot();
    let Request::Arm { stage: of, nonce, within_ms, expect, .. } = arm(1000) else { unreachable!() };
    let second = Request::Arm { run: run("run-2"), stage: of, nonce, within_ms, expect };
    for request in [stage("run-2", scene::steps(), None), second] {
        let Reply::Fault(fault) = scene::ask(host, &request) else { panic!("{request:?}") };
        assert_eq!(fault.code, FaultCode::Conflict);
        assert!(fault.message.contains("run-1") && fault.hint.is_some(), "{fault:?}");
        assert_eq!(host.snapshot(), before);
    }
    // Ten other runs come and go; the one that waits is not forgotten.
    watch(host).unwrap();
    assert_eq!(scene::ask(host, &stage("run-2", scene::steps(), None)), Reply::StageEnd { ok: true });
}

#[test]
fn an_armed_run_is_never_forgotten() {
    let mut host = Scene::armed().host;
    for n in 0..2 * weiche_agent::journal::KEPT_UNDONE {
        // Runs of an agent that knew no guards.
        let id = run(&format!("old-{n}"));
        let mut journal = weiche_agent::journal::Journal::open(&id, &mut host).unwrap();
        weiche_agent::engine::apply(&scene::steps(), &mut journal, &mut host, &mut |_| {}).unwrap();
        weiche_agent::engine::undo(None, false, &mut journal, &mut host, &mut |_| {}).unwrap();
    }
    weiche_agent::journal::prune(&run("new"), &mut host).unwrap();
    assert_eq!(weiche_agent::journal::runs(&mut host).unwrap().len(), 1 + weiche_agent::journal::KEPT_UNDONE);
    assert!(matches!(state(&mut host), GuardState::Armed { .. }));
}

#[test]
fn another_boot_means_now() {
    for phases in [&[Phase::Early][..], &[Phase::Late], &[Phase::Early, Phase::Late]] {
        let mut scene = Scene::changed();
        scene.host.boot_anew();
        assert_eq!(state(&mut scene.host), GuardState::Armed { left_ms: 0 });
        for phase in phases {
            guard::boot(*phase, &mut scene.host).unwrap();
        }
        scene.is_as_before();
        assert_eq!(state(&mut scene.host), GuardState::Fired { stuck: Vec::new() });
    }
}

#[test]
fn before_its_deadline_a_boot_that_is_none_changes_nothing() {
    let mut scene = Scene::changed();
    let new = scene.host.snapshot();
    guard::boot(Phase::Early, &mut scene.host).unwrap();
    guard::boot(Phase::Late, &mut scene.host).unwrap();
    assert_eq!(scene.host.snapshot(), new);
    assert_eq!(state(&mut scene.host), GuardState::Armed { left_ms: 60_000 });
}

#[test]
fn the_clock_on_the_wall_does_not_matter() {
    for wall_ms in [0, 1_700_000_000_000 - 3_600_000, 1_700_000_000_000 + 3_600_000] {
        let mut scene = Scene::changed();
        let boottime_ms = scene.host.clock().boottime_ms;
        scene.host.set_clock(Clock { boottime_ms, wall_ms });
        assert_eq!(state(&mut scene.host), GuardState::Armed { left_ms: 60_000 });
        watch(&mut scene.host).unwrap();
        assert_eq!(scene.host.clock().boottime_ms, boottime_ms + 60_000);
        scene.is_as_before();
    }
}

#[test]
fn early_in_the_boot_files_go_back_and_late_the_rest() {
    let mut scene = Scene::changed();
    let host = &mut scene.host;
    let kinds = [
        ("s.4", "group", json!({ "name": "council" })),
        ("s.5", "network", json!({ "interface": "eth0", "addresses": ["192.0.2.99/24"] })),
        ("s.6", "directory", json!({ "path": "/srv/minutes" })),
    ];
    let steps = kinds.map(|(id, kind, spec)| scene::step(id, kind, spec)).to_vec();
    assert_eq!(scene::ask(host, &stage("run-1", steps, None)), Reply::StageEnd { ok: true });
    // Of others; early in the boot it is in the way, and nobody's loss later.
    host.has("/srv/minutes/of-others", "");
    host.boot_anew();
    guard::boot(Phase::Early, host).unwrap();
    let now = host.snapshot();
    let network = "/etc/network/interfaces.d/weiche-eth0";
    assert!(!now.contains_key(network) && !now.contains_key("/etc/new.conf"), "files are back");
    assert!(now.contains_key("/srv/minutes") && now["/etc/group"] != scene.before["/etc/group"], "the rest is not");
    assert_eq!(state(host), GuardState::Armed { left_ms: 0 }, "what failed early is not stuck");
    host.does("rm -f /srv/minutes/of-others");
    guard::boot(Phase::Late, host).unwrap();
    assert_eq!(state(host), GuardState::Fired { stuck: Vec::new() });
    assert!(!host.snapshot().contains_key("/srv/minutes"));
}

#[test]
fn what_cannot_go_back_is_stuck_and_told() {
    let mut scene = Scene::changed();
    let host = &mut scene.host;
    let steps = vec![scene::step("s.4", "directory", json!({ "path": "/srv/minutes" }))];
    assert_eq!(scene::ask(host, &stage("run-1", steps, None)), Reply::StageEnd { ok: true });
    host.has("/srv/minutes/of-others", "");
    watch(host).unwrap();
    let ids = ["s.4", "s.3", "s.2", "s.1"].map(|id| StepId(id.into())).to_vec();
    assert_eq!(state(host), GuardState::Fired { stuck: ids });
    // A person helps; the retry tells the guard.
    host.does("rm -f /srv/minutes/of-others");
    let (run, expect) = (run("run-1"), Expect::default());
    let undo = Request::Undo {
        run,
        stage: Some("s".into()),
        only: Vec::new(),
        over_drift: false,
        expect,
        crash_after_records: None,
    };
    assert_eq!(scene::ask(host, &undo), Reply::UndoEnd { stuck: Vec::new() });
    assert_eq!(state(host), GuardState::Fired { stuck: Vec::new() });
    scene.is_as_before();
}

#[test]
fn what_is_not_back_yet_stays_guarded() {
    let mut scene = Scene::changed();
    let host = &mut scene.host;
    let only = vec![StepId("s.3".into())];
    let (run, expect) = (run("run-1"), Expect::default());
    let undo =
        Request::Undo { run, stage: Some("s".into()), only, over_drift: false, expect, crash_after_records: None };
    let changed = host.snapshot();
    assert_eq!(scene::ask(host, &undo), Reply::UndoEnd { stuck: Vec::new() });
    let half = host.snapshot();
    assert_ne!(half, changed, "a step is back");
    assert_eq!(scene::ask(host, &undo), Reply::UndoEnd { stuck: Vec::new() }, "twice");
    assert_eq!(host.snapshot(), half);
    assert_eq!(state(host), GuardState::Armed { left_ms: 60_000 });
    watch(host).unwrap();
    assert_eq!(state(host), GuardState::Fired { stuck: Vec::new() });
    scene.is_as_before();
}

#[test]
fn what_others_changed_is_kept_and_does_not_stop_it() {
    let mut scene = Scene::changed();
    scene.host.has("/etc/new.conf", "of others\n");
    watch(&mut scene.host).unwrap();
    assert_eq!(state(&mut scene.host), GuardState::Fired { stuck: Vec::new() });
    let kept = |bytes: &Vec<u8>| bytes == b"of others\n";
    assert!(scene.host.state().iter().any(|(name, bytes)| name.contains("/kept/") && kept(bytes)));
    scene.is_as_before();
}

#[test]
fn a_stage_that_comes_too_late_is_taken_back_by_the_agent_itself() {
    // The watch was killed; the controller's next request is the one that finds out.
    for request in
        [stage("run-1", vec![scene::step("s.9", "directory", json!({ "path": "/srv/x" }))], None), confirm(NONCE)]
    {
        let mut scene = Scene::changed();
        scene.host.watches().clear();
        scene.host.pause(std::time::Duration::from_secs(60));
        assert_eq!(code(scene::ask(&mut scene.host, &request)), FaultCode::TakenBack);
        scene.is_as_before();
    }
}

#[test]
fn a_killed_watch_is_started_again_by_the_next_stage() {
    let mut scene = Scene::changed();
    scene.host.watches().clear();
    let steps = vec![scene::step("s.9", "directory", json!({ "path": "/srv/x" }))];
    assert_eq!(scene::ask(&mut scene.host, &stage("run-1", steps, None)), Reply::StageEnd { ok: true });
    assert!(scene.host.watches().contains("run-1 s"));
}

#[test]
fn a_damaged_or_missing_record_never_means_confirmed() {
    let mut scene = Scene::changed();
    assert!(matches!(scene::ask(&mut scene.host, &confirm(NONCE)), Reply::Guard(_)));
    let journal = scene.host.state()["runs/run-1/journal"].clone();
    let last = journal[..journal.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    let mut armed = 0;
    for cut in last..journal.len() {
        // What a power cut leaves of the confirmation.
        scene.host.state_write("runs/run-1/journal", &mut &journal[..cut]).unwrap();
        match state(&mut scene.host) {
            GuardState::Armed { left_ms: 60_000 } => armed += 1,
            other => panic!("{cut}: {other:?}"),
        }
        // Or another bit.
        let mut damaged = journal.clone();
        damaged[cut] ^= 4;
        scene.host.state_write("runs/run-1/journal", &mut damaged.as_slice()).unwrap();
        let Reply::Fault(fault) = scene::ask(&mut scene.host, &scene::guarded()) else { panic!("{cut}") };
        assert_eq!(fault.code, FaultCode::Corrupt, "{cut}");
    }
    assert!(armed > 20);
    scene.host.state_remove("runs/run-1/journal").unwrap();
    assert_eq!(state(&mut scene.host), GuardState::None);
    assert!(watch(&mut scene.host).is_err(), "a watch that has lost its journal says so");
}

#[test]
fn nothing_is_armed_that_could_not_be_taken_back() {
    let mut scene = Scene::armed();
    let forever = json!({ "argv": ["touch", "/srv/x"], "irreversible": true });
    let steps =
        vec![scene::step("s.1", "directory", json!({ "path": "/srv/y" })), scene::step("s.2", "command", forever)];
    assert_eq!(code(scene::ask(&mut scene.host, &stage("run-1", steps, None))), FaultCode::Irreversible);
    scene.is_as_before();
    for within_ms in [0, weiche_agent::protocol::MAX_GUARD_MS + 1] {
        assert_eq!(code(scene::ask(&mut scene.host, &arm(within_ms))), FaultCode::Invalid);
    }
    for name in ["", "a/b", "../x", "-x", "a b", "x\n"] {
        let (nonce, expect) = (nonce(NONCE), Expect::default());
        let request = Request::Arm { run: run("run-1"), stage: name.into(), nonce, within_ms: 1000, expect };
        assert_eq!(code(scene::ask(&mut scene.host, &request)), FaultCode::Invalid, "{name:?}");
    }
}

/// Loses power at every effect of an act; then what the host does by itself.
fn at_every_crash(start: &FakeHost, act: &Request, check: impl Fn(FakeHost, String)) {
    for n in 1.. {
        let mut crashed = false;
        for moment in MOMENTS {
            let mut host = start.clone();
            host.crash_at(n, moment);
            let _ = scene::ask(&mut host, act);
            crashed |= host.crashed();
            host.reboot();
            check(host, format!("{moment:?} effect {n}"));
        }
        if !crashed {
            assert!(n > 1, "there was no effect");
            return;
        }
    }
}

#[test]
fn crashes_while_it_is_armed_leave_it_armed_or_nothing() {
    let scene = Scene::fresh();
    at_every_crash(&scene.host.clone(), &arm(60_000), |mut host, what| {
        let (state, watched) = (state(&mut host), host.watches().contains("run-1 s"));
        assert!(state == GuardState::None || watched, "{what}: {state:?} and nobody watches");
        assert_eq!(host.snapshot(), scene.before, "{what}");
        // Whoever comes back arms it.
        assert_eq!(armed(scene::ask(&mut host, &arm(60_000))), 60_000, "{what}");
    });
}

#[test]
fn crashes_while_it_is_confirmed_leave_it_confirmed_or_armed() {
    let scene = Scene::changed();
    let new = scene.host.snapshot();
    at_every_crash(&scene.host.clone(), &confirm(NONCE), |mut host, what| match state(&mut host) {
        GuardState::Confirmed => {
            host.boot_anew();
            guard::boot(Phase::Early, &mut host).unwrap();
            guard::boot(Phase::Late, &mut host).unwrap();
            assert_eq!(host.snapshot(), new, "{what}");
        }
        GuardState::Armed { .. } => {
            host.boot_anew();
            guard::boot(Phase::Early, &mut host).unwrap();
            assert_eq!(host.snapshot(), scene.before, "{what}");
        }
        other => panic!("{what}: {other:?}"),
    });
}

#[test]
fn crashes_while_a_guarded_stage_is_carried_out_are_taken_back() {
    let scene = Scene::armed();
    at_every_crash(&scene.host.clone(), &stage("run-1", scene::steps(), None), |mut host, what| {
        // The agent alone died: the watch is there. Or the whole host did.
        let mut booted = host.clone();
        watch(&mut host).unwrap();
        assert_eq!(host.snapshot(), scene.before, "{what}, the watch");
        booted.boot_anew();
        guard::boot(Phase::Early, &mut booted).unwrap();
        guard::boot(Phase::Late, &mut booted).unwrap();
        assert_eq!(booted.snapshot(), scene.before, "{what}, the boot");
        assert_eq!(state(&mut booted), GuardState::Fired { stuck: Vec::new() }, "{what}");
    });
}

/// What fires a guard.
type Fire = fn(&mut FakeHost) -> Result<(), Fault>;

#[test]
fn crashes_while_it_fires_are_made_good_by_the_next_boot() {
    let early: Fire = |host| guard::boot(Phase::Early, host);
    let late: Fire = |host| guard::boot(Phase::Late, host);
    for (name, fire, anew) in [("watch", watch as Fire, false), ("early", early, true), ("late", late, true)] {
        let mut scene = Scene::changed();
        if anew {
            scene.host.boot_anew();
        }
        for n in 1.. {
            let mut crashed = false;
            for moment in MOMENTS {
                let mut host = scene.host.clone();
                host.crash_at(n, moment);
                let _ = fire(&mut host);
                crashed |= host.crashed();
                host.boot_anew();
                guard::boot(Phase::Early, &mut host).unwrap();
                guard::boot(Phase::Late, &mut host).unwrap();
                let what = format!("{name}, {moment:?} effect {n}");
                assert_eq!(host.snapshot(), scene.before, "{what}");
                assert_eq!(state(&mut host), GuardState::Fired { stuck: Vec::new() }, "{what}");
            }
            if !crashed {
                break;
            }
        }
    }
}
