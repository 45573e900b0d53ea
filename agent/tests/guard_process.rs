//! The guard with real processes: the agent's binary on a directory, its watch, and what kills either of them.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use weiche_agent::digest::Digest;
use weiche_agent::host::RealHost;
use weiche_agent::protocol::{
    Expect, FaultCode, Frame, GuardState, Injection, Reply, Request, RunId, Step, StepId, read_frame, write_message,
};
use weiche_agent::resource::{Cx, kind};

const NONCE: &str = "nonce-1";

/// How long anything may take on a loaded machine before it counts as never.
const NEVER: Duration = Duration::from_secs(60);

/// A sandbox host in a directory; its watches end with it.
struct Place(PathBuf, bool);

impl Place {
    fn new(name: &str) -> Place {
        Place::with(name, false)
    }

    /// In a sandbox, or with the machine's programs, of which these tests use only such as look.
    fn with(name: &str, simulate: bool) -> Place {
        let path = std::env::temp_dir().join(format!("weiche-guard-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("root/etc")).unwrap();
        fs::create_dir_all(path.join("root/proc/sys/kernel/random")).unwrap();
        fs::create_dir_all(path.join("root/srv")).unwrap();
        let place = Place(path, simulate);
        place.boot("first");
        place
    }

    /// From now on it is this boot.
    fn boot(&self, id: &str) {
        fs::write(self.0.join("root/proc/sys/kernel/random/boot_id"), format!("{id}\n")).unwrap();
    }

    fn program(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weiche-agent"));
        command.args(words).arg("--state").arg(self.0.join("state")).arg("--root").arg(self.0.join("root"));
        command.args(self.1.then_some("--simulate"));
        command
    }

    fn runs(&self, words: &[&str]) {
        let status = self.program(words).status().unwrap();
        assert!(status.success(), "{words:?}: {status}");
    }

    fn state(&self) -> GuardState {
        let request = Request::Guarded { run: run(), stage: "s".into() };
        match Session::open(self).ask(&request) {
            Reply::Guard(status) => status.state,
            other => panic!("{other:?}"),
        }
    }

    fn until(&self, what: &str, is: impl Fn() -> bool) {
        let begin = Instant::now();
        while !is() {
            assert!(begin.elapsed() < NEVER, "never {what}: {:?}", self.state());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn has(&self, path: &str) -> bool {
        self.0.join("root").join(path).exists()
    }

    /// The process id of the guard's watch.
    fn watch(&self) -> Option<u32> {
        let state = self.0.join("state");
        let is_it = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|b| *b == 0).collect();
            words.contains(&&b"guard"[..]) && words.contains(&state.as_os_str().as_encoded_bytes())
        };
        let pids = fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
        pids.into_iter().find(is_it)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pid) = self.watch() {
            kill(pid);
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An agent on a line of its own.
struct Session {
    agent: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Session {
    fn open(place: &Place) -> Session {
        let mut agent = place.program(&["serve"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, mut output) = (agent.stdin.take(), agent.stdout.take().unwrap());
        // Its `Hello`.
        let mut byte = [0];
        while byte != *b"\n" {
            std::io::Read::read_exact(&mut output, &mut byte).unwrap();
        }
        Session { agent, input, output }
    }

    fn send(&mut self, request: &Request) {
        let input = self.input.as_mut().unwrap();
        write_message(input, request).and_then(|()| input.flush()).unwrap();
    }

    fn ask(&mut self, request: &Request) -> Reply {
        self.send(request);
        loop {
            match read_frame::<Reply>(&mut self.output).unwrap() {
                Some(Frame::Message(reply)) if reply.ends() => return reply,
                Some(_) => {}
                None => panic!("the agent is gone"),
            }
        }
    }

    /// Waits for the agent's end.
    fn ended(&mut self) {
        self.agent.wait().unwrap();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

fn run() -> RunId {
    RunId::try_from(String::from("run-1")).unwrap()
}

fn arm(within_ms: u64) -> Request {
    let nonce = Digest::of(NONCE.as_bytes());
    Request::Arm { run: run(), stage: "s".into(), nonce, within_ms, expect: Expect::default() }
}

fn confirm() -> Request {
    Request::Confirm { run: run(), stage: "s".into(), nonce: NONCE.into(), expect: Expect::default() }
}

fn stage(inject: Option<Injection>) -> Request {
    let step = |id: &str, path: &str| Step {
        id: StepId(id.into()),
        kind: "symlink".into(),
        spec: json!({ "path": path, "target": "then" }),
        watches: Vec::new(),
        anchor: false,
        timeout_ms: 600_000,
        inject: None,
    };
    let steps = vec![step("s.1", "/srv/one"), Step { inject, ..step("s.2", "/srv/two") }];
    Request::Stage { run: run(), steps, expect: Expect::default(), crash_after_records: None, confirm_ms: None }
}

const FIRED: GuardState = GuardState::Fired { stuck: Vec::new() };

fn is_armed(state: &GuardState) -> bool {
    matches!(state, GuardState::Armed { left_ms } if *left_ms > 0)
}

#[test]
fn the_watch_outlives_the_session_and_takes_back() {
    let place = Place::new("session");
    let mut session = Session::open(&place);
    assert!(matches!(session.ask(&arm(600_000)), Reply::Guard(_)));
    assert_eq!(session.ask(&stage(None)), Reply::StageEnd { ok: true });
    assert!(matches!(session.ask(&arm(1000)), Reply::Guard(_)), "a new deadline");
    drop(session);
    place.until("taken back", || place.state() == FIRED);
    assert!(!place.has("srv/one") && !place.has("srv/two"));
    place.until("the watch's end", || place.watch().is_none());
    assert_eq!(fs::read_dir(place.0.join("root/srv")).unwrap().count(), 0);
}

#[test]
fn a_new_connection_confirms_while_the_old_one_hangs() {
    let place = Place::new("confirm");
    let mut old = Session::open(&place);
    assert!(matches!(old.ask(&arm(600_000)), Reply::Guard(_)));
    assert_eq!(old.ask(&stage(None)), Reply::StageEnd { ok: true });
    assert!(matches!(old.ask(&arm(600_000)), Reply::Guard(_)));
    let Reply::Guard(status) = Session::open(&place).ask(&confirm()) else { panic!("not confirmed") };
    assert_eq!(status.state, GuardState::Confirmed);
    place.until("the watch's end", || place.watch().is_none());
    place.boot("second");
    place.runs(&["guard", "--boot", "early"]);
    place.runs(&["guard", "--boot", "late"]);
    assert!(place.has("srv").then(|| fs::symlink_metadata(place.0.join("root/srv/two"))).unwrap().is_ok());
}

#[test]
fn a_stale_nonce_and_a_run_of_the_past_confirm_nothing() {
    let place = Place::new("stale");
    let old = || RunId::try_from(String::from("run-0")).unwrap();
    let stage_of = |run: RunId, nonce: &str| {
        let request = arm(600_000);
        let Request::Arm { stage, within_ms, expect, .. } = request else { unreachable!() };
        Request::Arm { run, stage, nonce: Digest::of(nonce.as_bytes()), within_ms, expect }
    };
    let confirm_of = |run: RunId, nonce: &str| {
        let (stage, nonce) = (String::from("s"), nonce.to_owned());
        Session::open(&place).ask(&Request::Confirm { run, stage, nonce, expect: Expect::default() })
    };
    // A run of the past: armed, through, confirmed.
    assert!(matches!(Session::open(&place).ask(&stage_of(old(), "nonce-0")), Reply::Guard(_)));
    assert!(matches!(confirm_of(old(), "nonce-0"), Reply::Guard(status) if status.state == GuardState::Confirmed));
    place.until("the watch's end", || place.watch().is_none());

    let mut session = Session::open(&place);
    assert!(matches!(session.ask(&arm(600_000)), Reply::Guard(_)));
    assert_eq!(session.ask(&stage(None)), Reply::StageEnd { ok: true });
    assert!(matches!(session.ask(&arm(600_000)), Reply::Guard(_)));
    drop(session);
    for (run, nonce) in [(run(), "nonce-0"), (run(), "nonce-2"), (run(), ""), (old(), NONCE)] {
        let Reply::Fault(fault) = confirm_of(run, nonce) else { panic!("`{nonce}` confirms") };
        assert_eq!(fault.code, FaultCode::Invalid, "{fault}");
        assert!(is_armed(&place.state()));
    }
    // The past run's own nonce says again what became of that run, and nothing of this one.
    assert!(matches!(confirm_of(old(), "nonce-0"), Reply::Guard(status) if status.state == GuardState::Confirmed));
    assert!(is_armed(&place.state()) && place.watch().is_some());
    place.boot("second");
    place.until("taken back", || place.state() == FIRED);
    assert_eq!(fs::read_dir(place.0.join("root/srv")).unwrap().count(), 0);
}

#[test]
fn an_agent_that_is_killed_in_a_step_is_taken_back_by_the_watch() {
    let place = Place::new("killed");
    let mut session = Session::open(&place);
    assert!(matches!(session.ask(&arm(600_000)), Reply::Guard(_)));
    session.send(&stage(Some(Injection::Hang)));
    place.until("hanging", || place.0.join("state/program").exists());
    kill(session.agent.id());
    session.ended();
    let program = fs::read_to_string(place.0.join("state/program")).unwrap();
    let group: i32 = program.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(is_armed(&place.state()));
    assert!(fs::symlink_metadata(place.0.join("root/srv/two")).is_ok());
    // The deadline comes nearer by a jump of the boot.
    place.boot("second");
    place.until("taken back", || place.state() == FIRED);
    assert_eq!(fs::read_dir(place.0.join("root/srv")).unwrap().count(), 0);
    let group = rustix::process::Pid::from_raw(group).unwrap();
    assert!(rustix::process::test_kill_process_group(group).is_err(), "what hung is ended");
}

#[test]
fn a_step_that_hangs_with_the_lock_is_ended_at_the_deadline() {
    let place = Place::new("hung");
    let mut session = Session::open(&place);
    assert!(matches!(session.ask(&arm(3000)), Reply::Guard(_)));
    session.send(&stage(Some(Injection::Hang)));
    session.ended();
    place.until("taken back", || place.state() == FIRED);
    assert_eq!(fs::read_dir(place.0.join("root/srv")).unwrap().count(), 0);
}

#[test]
fn without_its_watch_the_next_boot_takes_back() {
    let place = Place::new("boot");
    let mut session = Session::open(&place);
    assert!(matches!(session.ask(&arm(600_000)), Reply::Guard(_)));
    assert_eq!(session.ask(&stage(None)), Reply::StageEnd { ok: true });
    drop(session);
    kill(place.watch().expect("a watch"));
    place.until("the watch's end", || place.watch().is_none());
    place.runs(&["guard", "--boot", "early"]);
    assert!(is_armed(&place.state()), "it is the same boot, and the deadline far");
    place.boot("second");
    place.runs(&["guard", "--boot", "early"]);
    assert_eq!(place.state(), FIRED);
    assert_eq!(fs::read_dir(place.0.join("root/srv")).unwrap().count(), 0);
    let Reply::Fault(fault) = Session::open(&place).ask(&stage(None)) else { panic!("carried out") };
    assert_eq!(fault.code, FaultCode::TakenBack);
}

#[test]
fn the_watch_sees_what_agents_have_recorded_since_it_began() {
    let place = Place::with("owners", true);
    let mut session = Session::open(&place);
    assert!(matches!(session.ask(&arm(600_000)), Reply::Guard(_)));
    let Request::Stage { run, mut steps, expect, crash_after_records, .. } = stage(None) else { unreachable!() };
    for (name, text) in [("passwd", "root:x:0:0::/:\nfrida:x:1900:1900::/:\n"), ("group", "root:x:0:\nfrida:x:1900:\n")]
    {
        fs::write(place.0.join("root/etc").join(name), text).unwrap();
    }
    steps.truncate(1);
    steps[0].kind = "directory".into();
    steps[0].spec = json!({ "path": "/srv/mine", "owner": "frida", "group": "frida" });
    let stage = Request::Stage { run, steps, expect, crash_after_records, confirm_ms: None };
    assert_eq!(session.ask(&stage), Reply::StageEnd { ok: true });
    let owners = || fs::read_to_string(place.0.join("state/sandbox-owners.json")).unwrap();
    assert!(owners().contains("/srv/mine"));
    assert!(matches!(session.ask(&arm(2_000)), Reply::Guard(_)));
    place.until("taken back", || place.state() == FIRED);
    assert!(!owners().contains("/srv/mine") && !place.has("srv/mine"));
}

#[test]
fn where_no_watch_can_start_nothing_is_armed() {
    let place = Place::new("no-watch");
    fs::create_dir_all(place.0.join("state/runs/run-1/watch.s")).unwrap();
    assert!(matches!(Session::open(&place).ask(&arm(1000)), Reply::Fault(_)));
    assert_eq!(place.state(), GuardState::None);
}

#[test]
fn the_network_of_a_real_host_is_changed_in_guarded_stages_only() {
    let place = Place::new("network");
    let mut host = RealHost::open(&place.0.join("root"), &place.0.join("state"), false).unwrap();
    let network = kind("network").unwrap();
    let spec = json!({ "interface": "eth0", "addresses": ["192.0.2.10/24"] });
    let state = json!({ "manager": "ifupdown", "files": {}, "present": [] });
    for guarded in [false, true] {
        let mut cx = Cx::changing(&mut host, Duration::from_secs(1), "runs/run-1".into());
        cx.guarded = guarded;
        match network.keep(&spec, &state, &state, &mut cx) {
            Ok(()) => assert!(guarded),
            Err(fault) => {
                assert!(!guarded && fault.code == FaultCode::Unsupported, "{fault:?}");
                assert!(fault.hint.unwrap().contains("`guard:`"));
            }
        }
    }
}

#[test]
fn a_revived_controller_is_refused() {
    let place = Place::new("epoch");
    let undo = |epoch| Request::Undo {
        run: run(),
        stage: None,
        only: Vec::new(),
        over_drift: false,
        expect: Expect { epoch, ..Expect::default() },
        crash_after_records: None,
    };
    let (mut old, mut new) = (Session::open(&place), Session::open(&place));
    assert_eq!(old.ask(&undo(Some(7))), Reply::UndoEnd { stuck: Vec::new() });
    assert_eq!(new.ask(&undo(Some(9))), Reply::UndoEnd { stuck: Vec::new() });
    let Reply::Fault(fault) = old.ask(&undo(Some(7))) else { panic!("not refused") };
    assert_eq!((fault.code, fault.message.contains("epoch 7 < 9")), (FaultCode::Superseded, true), "{fault}");
    assert_eq!(new.ask(&undo(Some(9))), Reply::UndoEnd { stuck: Vec::new() });
    assert!(Path::new(&place.0.join("state/epoch")).exists());
}
