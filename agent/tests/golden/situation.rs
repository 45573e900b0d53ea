//! What agents were doing when golden journals were written: one procedure of many kinds, in several situations.

use serde_json::{Value, json};
use weiche_agent::digest::Digest;
use weiche_agent::engine;
use weiche_agent::host::Host;
use weiche_agent::host::fake::{FakeHost, Moment};
use weiche_agent::journal::{Journal, Record};
use weiche_agent::manifest;
use weiche_agent::protocol::{Entry, EntryKind, HostPath, Injection, RunId, Scope, Status, Step, StepEvent, StepId};
use weiche_agent::resources::replica::{Manifest, State, to_lines};

/// The run that is taken back.
pub(crate) const RUN: &str = "run-1";

/// A situation that a journal was left in.
pub(crate) struct Situation {
    /// Of its directory.
    pub(crate) name: &'static str,
    /// A command that a person has to run before the undo can go on.
    pub(crate) person: Option<&'static str>,
    leave: fn(&mut FakeHost),
}

/// All of them.
pub(crate) fn situations() -> Vec<Situation> {
    let situation = |name, leave| Situation { name, person: None, leave };
    vec![
        situation("done", |host| assert!(apply(host, &steps()))),
        situation("files-begun", |host| killed(host, 0, "s.02")),
        situation("package-begun", |host| killed(host, 0, "s.08")),
        situation("replica-begun", |host| killed(host, 3, "s.12")),
        situation("failed", |host| {
            let mut steps = steps();
            steps.last_mut().unwrap().inject = Some(Injection::Fail);
            assert!(!apply(host, &steps));
        }),
        situation("undo-begun", |host| {
            assert!(apply(host, &steps()));
            // Everything above the files is back, and of those some.
            crash_while(host, 1, Moment::After, undo, |status| status("s.04") == Some(Status::Undoing));
        }),
        situation("guarded", |host| {
            let mut journal = Journal::open(&id(RUN), host).unwrap();
            let record = |record: Record, journal: &mut Journal, host: &mut FakeHost| {
                journal.append(&[record], host).unwrap();
            };
            let armed = |stage: &str, deadline_boottime_ms| Record::Armed {
                stage: stage.into(),
                nonce: Digest::of(stage.as_bytes()),
                boot_id: "00000000-0000-4000-8000-000000000000".into(),
                deadline_boottime_ms,
                wall_deadline_ms: 1_700_000_060_000,
            };
            for stage in ["q", "r", "s"] {
                record(armed(stage, 60_000), &mut journal, host);
            }
            record(armed("s", 120_000), &mut journal, host);
            record(Record::Confirmed { stage: "q".into() }, &mut journal, host);
            record(Record::Fired { stage: "r".into(), stuck: vec![StepId("r.1".into())] }, &mut journal, host);
            assert!(apply(host, &steps()));
        }),
        Situation {
            name: "stuck",
            person: Some("rm -f /srv/protocols/minutes"),
            leave: |host| {
                assert!(apply(host, &steps()));
                host.has("/srv/protocols/minutes", "of others\n");
                undo(host);
            },
        },
    ]
}

impl Situation {
    /// The host before, and as the agent left it.
    pub(crate) fn play(&self) -> (FakeHost, FakeHost) {
        let mut host = FakeHost::examples().into_iter().find(|(name, _)| *name == "occupied").unwrap().1;
        host.does("systemctl unmask nginx.service");
        let before = host.clone();
        for content in contents() {
            let name = format!("runs/{RUN}/in/{}", Digest::of(&content));
            host.state_write(&name, &mut content.as_slice()).unwrap();
        }
        let scope = Scope { steps: steps(), watch: vec!["/etc".into()], ..Scope::default() };
        manifest::take(&id(RUN), &scope, &mut host).unwrap();
        (self.leave)(&mut host);
        host.reboot();
        (before, host)
    }
}

pub(crate) fn id(run: &str) -> RunId {
    RunId::try_from(run.to_owned()).unwrap()
}

fn apply(host: &mut FakeHost, steps: &[Step]) -> bool {
    let Ok(mut journal) = Journal::open(&id(RUN), host) else { return false };
    let mut report = |event: StepEvent| println!("{event:?}");
    engine::apply(steps, &mut journal, host, &mut report).unwrap_or(false)
}

fn undo(host: &mut FakeHost) {
    let Ok(mut journal) = Journal::open(&id(RUN), host) else { return };
    let _ = engine::undo(None, true, &mut journal, host, &mut |_| {});
}

/// Loses power while a step is begun and `more` effects after the first such moment.
fn killed(host: &mut FakeHost, more: u64, step: &'static str) {
    let begun = move |status: &dyn Fn(&str) -> Option<Status>| status(step) == Some(Status::Begun);
    crash_while(host, 2 + more, Moment::After, |host| assert!(!apply(host, &steps())), begun);
}

/// Loses power at the first moment at which the journal says so, and `more` effects later.
fn crash_while(
    host: &mut FakeHost,
    more: u64,
    moment: Moment,
    act: impl Fn(&mut FakeHost),
    is: impl Fn(&dyn Fn(&str) -> Option<Status>) -> bool,
) {
    let crashed_at = |n: u64| {
        let mut host = host.clone();
        host.crash_at(n, moment);
        act(&mut host);
        assert!(host.crashed(), "there is no such moment");
        host.reboot();
        let journal = Journal::open(&id(RUN), &mut host).unwrap();
        let status = |step: &str| journal.find(&StepId(step.into())).map(|s| s.status);
        (is(&status), host)
    };
    let first = (1..).find(|n| crashed_at(*n).0).unwrap();
    let (still, left) = crashed_at(first + more);
    assert!(still, "that is a later moment");
    *host = left;
}

fn step(id: &str, kind: &str, spec: Value) -> Step {
    let id = StepId(id.into());
    Step { id, kind: kind.into(), spec, watches: Vec::new(), anchor: false, timeout_ms: 1000, inject: None }
}

const MOTD: &[u8] = b"Rathaus Obere Aller\n";
const SERVER: &[u8] = b"worker_processes 2;\n";
const LETTER: &[u8] = b"Sehr geehrte Frau B\xfcrgermeisterin\n";

fn contents() -> Vec<Vec<u8>> {
    vec![MOTD.to_vec(), SERVER.to_vec(), LETTER.to_vec(), to_lines(&manifest_of_share())]
}

fn manifest_of_share() -> Manifest {
    let entry = |path: &str, kind, mode| Entry {
        path: HostPath::Text(path.into()),
        kind,
        mode,
        owner: "root".into(),
        group: "users".into(),
        mtime: (1_650_000_000, 5),
        xattrs: Default::default(),
        sparse: false,
        hard_link: None,
    };
    let file = EntryKind::File { size: LETTER.len() as u64, digest: Some(Digest::of(LETTER)) };
    let entries = [
        entry("", EntryKind::Directory, 0o2770),
        entry("letter.txt", file.clone(), 0o660),
        entry("new", EntryKind::Directory, 0o750),
        entry("new/letter.txt", file, 0o640),
        entry("new/link", EntryKind::Symlink { target: HostPath::Text("../letter.txt".into()) }, 0o777),
    ];
    entries.into_iter().map(|entry| (entry.path.clone(), entry)).collect()
}

fn steps() -> Vec<Step> {
    let blob = |content: &[u8]| json!({ "digest": Digest::of(content), "size": content.len() });
    let share = manifest_of_share();
    let wanted = serde_json::to_value(State::of(&share)).unwrap();
    let unit = json!({ "name": "nginx", "enabled": true, "running": true, "restart_on": ["/etc/nginx/nginx.conf"] });
    let user = json!({ "name": "frida", "group": "frida", "groups": ["council", "adm"] });
    vec![
        step("s.01", "directory", json!({ "path": "/srv/protocols", "mode": "0750", "group": "www-data" })),
        step("s.02", "file", json!({ "path": "/etc/motd", "blob": blob(MOTD), "mode": "0644" })),
        // It has a second name.
        step("s.03", "file", json!({ "path": "/etc/old.conf", "state": "absent" })),
        step("s.04", "symlink", json!({ "path": "/srv/current", "target": "release-2" })),
        step("s.05", "line", json!({ "path": "/etc/hosts", "line": "192.0.2.7 print" })),
        step("s.06", "group", json!({ "name": "frida", "gid": 1900 })),
        step("s.07", "user", user),
        step("s.08", "package", json!({ "name": "nginx" })),
        Step { anchor: true, ..step("s.09", "unit", json!({ "name": "nginx", "settle": true })) },
        step("s.10", "file", json!({ "path": "/etc/nginx/nginx.conf", "blob": blob(SERVER) })),
        Step { watches: vec![StepId("s.10".into())], ..step("s.11", "unit", unit) },
        step("s.12", "replica", json!({ "path": "/srv/share", "wanted": wanted, "manifest": blob(&to_lines(&share)) })),
        step("s.13", "user", json!({ "name": "last", "state": "absent" })),
    ]
}
