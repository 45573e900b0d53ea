//! Webhooks: a receiver that is down, then errs, then is back gets every notice once and in order, whatever is killed.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use weiche::drive::post::{Post, Receiver as To, Went};
use weiche::input::webhook::Topic;
use weiche::notice::Pace;
use weiche::store::{Letter, SqliteStore, Store};
use weiche_tests::receiver::{Got, Receiver};
use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;
use weiche_tests::until;

/// So small that the schedule of minutes is gone through in less than a second.
const FAST: Pace = Pace { first: Duration::from_millis(1), most: Duration::from_millis(20) };

fn to(receiver: &Receiver) -> To {
    let (name, url, secret) = ("ops".into(), receiver.url(), Some(b"a secret of the fleet".to_vec()));
    To { name, url, secret, on: [Topic::Run].into(), timeout: Duration::from_secs(10) }
}

fn post(store: &Arc<dyn Store>, receiver: &Receiver, holder: &str) -> Post {
    let store = Arc::clone(store);
    Post { store, receivers: vec![to(receiver)], holder: holder.into(), is_gone: |_| false, pace: FAST }
}

fn letters(range: std::ops::Range<u32>) -> Vec<Letter> {
    let letter = |n| Letter { webhook: "ops".into(), key: format!("run-{n}"), body: format!("{{\"n\":{n}}}") };
    range.map(letter).collect()
}

fn keys(range: std::ops::Range<u32>) -> Vec<String> {
    letters(range).into_iter().map(|letter| letter.key).collect()
}

/// What the signature must be, by a tool that is not ours.
fn proven(got: &Got, secret: &str) -> bool {
    let Some((at, hex)) = got.signature.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")) else {
        return false;
    };
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-r", "-hmac", secret]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut openssl = openssl.spawn().expect("openssl");
    let mut stdin = openssl.stdin.take().expect("its input");
    stdin.write_all(format!("{at}.{}", got.body).as_bytes()).expect("write to openssl");
    drop(stdin);
    let said = openssl.wait_with_output().expect("openssl").stdout;
    String::from_utf8_lossy(&said).split_whitespace().next() == Some(hex)
}

#[test]
fn a_receiver_that_was_down_for_ten_minutes_and_then_errs_gets_everything_once_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let store = runtime.block_on(SqliteStore::open(&dir.path().join("weiche.db"))).expect("a store");
    let store: Arc<dyn Store> = Arc::new(store);
    let mut receiver = Receiver::down();
    let first = || runtime.block_on(store.first_letter("ops")).expect("the store");
    runtime.block_on(store.append_with(&[], &letters(0..20))).expect("the store");
    // Two weiches at once: they do not send the same.
    let tasks: Vec<_> = ["one", "two"].map(|holder| post(&store, &receiver, holder)).into_iter().collect();
    let tasks: Vec<_> = tasks
        .into_iter()
        .map(|post| {
            runtime.spawn(async move {
                loop {
                    post.go(false).await.expect("the store");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();
    // The tries that ten minutes of the usual pace hold, and one more.
    let mut minutes = Duration::ZERO;
    let tries = (1..).find(|tries| {
        minutes += Pace::USUAL.after(*tries);
        minutes > Duration::from_secs(600)
    });
    until("it was down for ten minutes", || first().is_some_and(|first| Some(first.tries) > tries));
    assert_eq!(first().map(|first| first.letter.key), Some("run-0".into()), "nothing overtakes the first one");
    receiver.start(&[500, 429, 204, 503, 302, 400, 204, 408]);
    // And more comes meanwhile.
    runtime.block_on(store.append_with(&[], &letters(20..30))).expect("the store");
    until("everything is received", || first().is_none());
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(receiver.accepted(), keys(0..30));
    assert_eq!(receiver.got().len(), 30 + 6, "redirects are not followed, what failed was tried again: {receiver:?}");
    assert!(receiver.got().iter().all(|got| proven(got, "a secret of the fleet")), "{receiver:?}");
}

#[test]
fn a_receiver_that_refuses_is_named_so_and_nothing_is_sent_before_it_is_due() {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir.path().join("weiche.db")).await.expect("a store"));
        let mut receiver = Receiver::down();
        receiver.start(&[401]);
        store.append_with(&[], &letters(0..2)).await.expect("the store");
        let patient = Post { pace: Pace::USUAL, ..post(&store, &receiver, "one") };
        for _ in 0..3 {
            let went = patient.go(false).await.expect("the store").remove("ops");
            let Some(Went::Waits(first)) = went else { panic!("{went:?}") };
            assert!(first.said.contains("REFUSES") && first.said.contains("401"), "{first:?}");
            assert_eq!(first.tries, 1, "it was tried before it was due");
        }
        // The clock is set back by years: what was due then is due.
        let first = store.first_letter("ops").await.expect("the store").expect("a letter");
        store.refused(first.n, "before", i64::MAX).await.expect("the store");
        receiver.answer(&[503]);
        patient.go(false).await.expect("the store");
        assert_eq!(receiver.got().len(), 2);
        // A person who says `send` does not wait.
        assert_eq!(patient.go(true).await.expect("the store").remove("ops"), Some(Went::Empty));
        assert_eq!(receiver.accepted(), keys(0..2));
    });
}

/// Has the fleet tell this receiver.
pub(crate) fn told(town: &Town, receiver: &Receiver) {
    let config = town.fleet().join("weiche.yaml");
    let mut text = std::fs::read_to_string(&config).expect("weiche.yaml");
    text += &format!("webhooks: [{{ name: ops, url: {:?}, secret: {{ env: OPS_SECRET }} }}]\n", receiver.url());
    town.write("weiche.yaml", &text);
    town.write("playbooks/motd.yaml", MOTD);
}

const MOTD: &str = "\
playbook: motd
inputs: { on: host }
stages:
  - stage: first
    on: \"on\"
    steps: [ { file: { path: /etc/motd, content: \"first\\n\" } } ]
  - stage: second
    on: \"on\"
    steps: [ { file: { path: /etc/issue, content: \"second\\n\" } } ]
";

pub(crate) const SECRET: &str = "of the whole town";

/// `weiche` that knows the receiver's secret.
pub(crate) fn weiche(town: &Town, arguments: &[&str]) -> weiche_tests::town::Ran {
    weiche_tests::town::ended(town.command(arguments).env("OPS_SECRET", SECRET))
}

/// The keys of what the run log says that webhooks are told.
fn expected(town: &Town, run: &str) -> Vec<String> {
    let log = weiche(town, &["--json", "log", run]).expect(0).stdout;
    let quiet = ["wave_started", "host_begun", "step", "host_witnessed", "host_verified", "rebooting", "services_work"];
    let events = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an event"));
    let told = events.filter(|event| !quiet.iter().any(|name| event["what"].get(name).is_some()));
    told.map(|event| format!("{}-{}", event["run"].as_str().expect("a run"), event["seq"])).collect()
}

#[test]
fn a_controller_killed_after_any_event_loses_no_notice() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_controller_killed_after_any_event_loses_no_notice", &why);
    }
    let town = Town::new(&["fs"]);
    let mut receiver = Receiver::down();
    told(&town, &receiver);
    let apply = ["apply", "motd", "on=rathaus/fs", "--yes"];
    let mut all = Vec::new();
    for event in ["1", "3", "5"] {
        let crashed = weiche(&town, &[&apply[..], &["--crash-after-event", event]].concat());
        assert_eq!(crashed.code, 128 + 6, "{crashed:?}");
        // It goes on while the receiver is down, and is not kept from it.
        weiche(&town, &["resume", "latest"]).expect(0);
        weiche(&town, &["rollback", "latest"]).expect(0);
        all.extend(expected(&town, "latest"));
    }
    let waits = weiche(&town, &["--json", "outbox"]).expect(0).stdout;
    let waits: serde_json::Value = serde_json::from_str(waits.trim()).expect("a line");
    assert_eq!(waits["waiting"], all.len(), "{waits}");
    super::ci::valid(&town, "outbox", &[waits]);
    receiver.start(&[503, 204, 500]);
    weiche(&town, &["outbox", "send"]).expect(1);
    // Killed while it sends, by a signal that nobody can catch; what was under way may come twice, with its key.
    let mut follow = town.command(&["outbox", "send", "--follow"]).env("OPS_SECRET", SECRET).spawn().expect("weiche");
    until("something is received", || !receiver.accepted().is_empty());
    follow.kill().expect("kill -9");
    follow.wait().expect("it is gone");
    until("the rest is received", || weiche(&town, &["outbox", "send"]).code == 0);
    let mut accepted = receiver.accepted();
    let count = accepted.len();
    accepted.dedup();
    assert!(count - accepted.len() <= 1, "more than what was under way came twice: {:?}", receiver.accepted());
    assert_eq!(accepted, all);
    assert!(receiver.got().iter().all(|got| proven(got, SECRET)), "{receiver:?}");
    assert_eq!(weiche(&town, &["outbox"]).expect(0).stdout, "Nothing waits.\n");
    let unknown = weiche(&town, &["outbox", "forget", "nosuch"]).expect(1);
    assert!(unknown.stderr.contains("nothing waits for `nosuch`"), "{unknown:?}");
}

#[test]
fn a_receiver_that_works_has_everything_when_the_run_is_over_and_a_secret_is_asked_for_first() {
    if let Err(why) = Sshd::available() {
        let name = "a_receiver_that_works_has_everything_when_the_run_is_over_and_a_secret_is_asked_for_first";
        return weiche_tests::skip(name, &why);
    }
    let town = Town::new(&["fs"]);
    let mut receiver = Receiver::down();
    receiver.start(&[]);
    told(&town, &receiver);
    let apply = ["apply", "motd", "on=rathaus/fs", "--yes"];
    let without = weiche_tests::town::ended(town.command(&apply).env_remove("OPS_SECRET"));
    let without = without.expect(1);
    assert!(without.stderr.contains("OPS_SECRET") && without.stderr.contains("webhook `ops`"), "{without:?}");
    assert!(weiche(&town, &["status"]).expect(0).stdout.lines().count() < 2, "a run was begun");
    weiche(&town, &apply).expect(0);
    assert_eq!(receiver.accepted(), expected(&town, "latest"));
    let bodies: Vec<serde_json::Value> =
        receiver.got().iter().map(|got| serde_json::from_str(&got.body).expect("JSON")).collect();
    super::ci::valid(&town, "notice", &bodies);
    let says: Vec<&str> = bodies.iter().filter_map(|body| body["says"].as_str()).collect();
    assert_eq!(says.first(), Some(&"A run of motd has begun."));
    assert_eq!(says.last(), Some(&"The run is done."));
    assert_eq!(bodies.last().map(|body| body["outcome"].clone()), Some("done".into()));
}

#[test]
fn a_stage_that_waits_for_people_is_told_once_however_often_it_is_found_waiting() {
    if let Err(why) = Sshd::available() {
        let name = "a_stage_that_waits_for_people_is_told_once_however_often_it_is_found_waiting";
        return weiche_tests::skip(name, &why);
    }
    let town = Town::new(&["fs"]);
    let mut receiver = Receiver::down();
    receiver.start(&[]);
    told(&town, &receiver);
    let gated = MOTD.replace("  - stage: second\n", "  - stage: second\n    gate: { checklist: [doors are shut] }\n");
    town.write("playbooks/motd.yaml", &gated);
    weiche(&town, &["apply", "motd", "on=rathaus/fs", "--yes"]).expect(6);
    weiche(&town, &["resume", "latest"]).expect(6);
    let waits = |got: &Got| got.body.contains("\"waits_for_people\"") && got.body.contains("doors are shut");
    assert_eq!(receiver.got().iter().filter(|got| waits(got)).count(), 1, "{receiver:?}");
    weiche(&town, &["tick", "latest", "second", "doors are shut"]).expect(0);
    weiche(&town, &["rollback", "latest"]).expect(0);
    assert!(receiver.got().iter().any(|got| got.body.contains("\"ticked\"")), "{receiver:?}");
}
