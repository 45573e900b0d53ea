//! A host with a guarded stage, and what a controller says to its agent.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use weiche_agent::digest::Digest;
use weiche_agent::host::Clock;
use weiche_agent::host::fake::FakeHost;
use weiche_agent::protocol::{
    Expect, Frame, GuardState, GuardStatus, Reply, Request, RunId, Step, StepId, read_frame, write_data, write_message,
};
use weiche_agent::serve::serve;

/// What confirms.
pub(crate) const NONCE: &str = "nonce-1";

const CONTENT: &[u8] = b"new\n";

/// A host, and what it was before.
pub(crate) struct Scene {
    pub(crate) host: FakeHost,
    pub(crate) before: BTreeMap<String, String>,
}

impl Scene {
    /// Nothing is armed; the contents are there.
    pub(crate) fn fresh() -> Scene {
        let mut host = FakeHost::debian();
        host.has("/etc/network/interfaces", "source /etc/network/interfaces.d/*\n");
        host.set_clock(Clock { boottime_ms: 1_000_000, wall_ms: 1_700_000_000_000 });
        let before = host.snapshot();
        Scene { host, before }
    }

    /// Armed for a minute, nothing changed.
    pub(crate) fn armed() -> Scene {
        let mut scene = Scene::fresh();
        assert_eq!(armed(ask(&mut scene.host, &arm(60_000))), 60_000);
        scene
    }

    /// Armed for a minute, and the stage carried out.
    pub(crate) fn changed() -> Scene {
        let mut scene = Scene::armed();
        assert_eq!(ask(&mut scene.host, &stage("run-1", steps(), None)), Reply::StageEnd { ok: true });
        assert_ne!(scene.host.snapshot(), scene.before);
        scene
    }

    pub(crate) fn is_as_before(&self) {
        let now = self.host.snapshot();
        let paths = self.before.keys().chain(now.keys().filter(|path| !self.before.contains_key(*path)));
        let differs: Vec<&String> = paths.filter(|path| self.before.get(*path) != now.get(*path)).collect();
        assert!(differs.is_empty(), "{differs:?}");
    }
}

pub(crate) fn run(id: &str) -> RunId {
    RunId::try_from(id.to_owned()).unwrap()
}

pub(crate) fn nonce(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub(crate) fn arm(within_ms: u64) -> Request {
    Request::Arm { run: run("run-1"), stage: "s".into(), nonce: nonce(NONCE), within_ms, expect: Expect::default() }
}

pub(crate) fn confirm(nonce: &str) -> Request {
    Request::Confirm { run: run("run-1"), stage: "s".into(), nonce: nonce.into(), expect: Expect::default() }
}

pub(crate) fn cancel(nonce: &str) -> Request {
    Request::Cancel { run: run("run-1"), stage: "s".into(), nonce: nonce.into(), expect: Expect::default() }
}

pub(crate) fn guarded() -> Request {
    Request::Guarded { run: run("run-1"), stage: "s".into() }
}

pub(crate) fn stage(of: &str, steps: Vec<Step>, epoch: Option<u64>) -> Request {
    let expect = Expect { epoch, ..Expect::default() };
    Request::Stage { run: run(of), steps, expect, crash_after_records: None, confirm_ms: None }
}

pub(crate) fn step(id: &str, kind: &str, spec: Value) -> Step {
    let id = StepId(id.into());
    Step { id, kind: kind.into(), spec, watches: Vec::new(), anchor: false, timeout_ms: 1000, inject: None }
}

pub(crate) fn steps() -> Vec<Step> {
    let blob = json!({ "digest": Digest::of(CONTENT), "size": CONTENT.len() });
    vec![
        step("s.1", "file", json!({ "path": "/etc/new.conf", "blob": blob })),
        step("s.2", "line", json!({ "path": "/etc/hosts", "line": "192.0.2.7 print" })),
        step("s.3", "symlink", json!({ "path": "/srv/now", "target": "then" })),
    ]
}

pub(crate) fn status(state: GuardState) -> GuardStatus {
    GuardStatus { state }
}

/// Asks an agent of its own: each time is a new connection. The number of events and the last reply; if the host died
/// first, the fault that it died of.
pub(crate) fn converse(host: &mut FakeHost, request: &Request) -> (usize, Reply) {
    let (mut input, mut output) = (Vec::new(), Vec::new());
    if let Request::Stage { run, .. } = request {
        let blob = Request::Blob { run: run.clone(), digest: Digest::of(CONTENT), size: CONTENT.len() as u64 };
        write_message(&mut input, &blob).unwrap();
        write_data(&mut input, CONTENT).unwrap();
    }
    write_message(&mut input, request).unwrap();
    serve(host, &mut input.as_slice(), &mut output).unwrap();
    let hello = output.iter().position(|b| *b == b'\n').unwrap() + 1;
    let mut rest = &output[hello..];
    let mut events = 0;
    loop {
        match read_frame::<Reply>(&mut rest).unwrap() {
            Some(Frame::Message(reply)) if reply.ends() => return (events, reply),
            Some(_) => events += 1,
            None => panic!("no answer to {request:?}"),
        }
    }
}

pub(crate) fn ask(host: &mut FakeHost, request: &Request) -> Reply {
    converse(host, request).1
}

/// Where the guard stands.
pub(crate) fn state(host: &mut FakeHost) -> GuardState {
    match ask(host, &guarded()) {
        Reply::Guard(status) => status.state,
        other => panic!("{other:?}"),
    }
}

/// The time that is left.
pub(crate) fn armed(reply: Reply) -> u64 {
    match reply {
        Reply::Guard(GuardStatus { state: GuardState::Armed { left_ms } }) => left_ms,
        other => panic!("{other:?}"),
    }
}
