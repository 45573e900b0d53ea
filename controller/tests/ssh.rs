//! The SSH layer against real OpenSSH servers and agents on the loopback.
#![expect(clippy::disallowed_methods, reason = "shell")]

#[path = "ssh/local.rs"]
mod local;
#[path = "ssh/login.rs"]
mod login;
#[path = "ssh/openssh.rs"]
mod openssh;
#[path = "ssh/sandbox.rs"]
mod sandbox;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use openssh::{Scratch, Sshd, keygen, missing, public};
use serde_json::json;
use weiche::drive::agent_binary::agent_digest;
use weiche::drive::link::Traffic;
use weiche::drive::push::PushError;
use weiche::drive::session::{Blob, Fetched, Session, SessionError, Source};
use weiche::drive::ssh::{ConnectError, Connector};
use weiche::input::target::{Become, Target};
use weiche_agent::protocol::{Digest, HostPath, Injection, RunId, Status, Step, StepId, StepOutcome};

const WITHIN: Duration = Duration::from_secs(30);

/// A server, a user key that it accepts, and how to reach it.
struct Setup {
    scratch: Scratch,
    sshd: Sshd,
    target: Target,
}

fn setup(more: &str) -> Setup {
    let scratch = Scratch::new();
    let key = keygen(&scratch.0, "user", "ed25519", "");
    let sshd = Sshd::start(&scratch, &[public(&key)], more);
    let target = sshd.target(&scratch, &key);
    Setup { scratch, sshd, target }
}

async fn connect(target: &Target) -> Session {
    match Connector::default().connect(target).await {
        Ok(link) => Session::new(link),
        Err(error) => panic!("{}", chain(&error)),
    }
}

async fn refusal(target: &Target) -> ConnectError {
    Connector::default().connect(target).await.expect_err("it must not connect")
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn run_id() -> RunId {
    RunId::try_from(String::from("r1")).unwrap()
}

fn step(number: usize, kind: &str, spec: serde_json::Value) -> Step {
    Step {
        id: StepId(format!("build.{number}")),
        kind: kind.into(),
        spec,
        watches: Vec::new(),
        anchor: false,
        timeout_ms: 20_000,
        inject: None,
    }
}

fn agent_file(setup: &Setup) -> std::path::PathBuf {
    setup.scratch.path("state/agent").join(agent_digest().as_str()).join("weiche-agent")
}

#[tokio::test]
async fn the_agent_is_pushed_once_and_found_again() {
    if missing("the_agent_is_pushed_once_and_found_again").is_some() {
        return;
    }
    let setup = setup("");
    let mut first = connect(&setup.target).await;
    let facts = first.facts(WITHIN).await.unwrap();
    assert_eq!((facts.os.id.as_str(), facts.simulated), ("debian", true));
    assert_eq!(first.traffic().pushes, 1);
    let mask = vec![String::from("sh"), "-c".into(), "umask".into()];
    let before = first.check(mask.clone(), WITHIN).await.unwrap();
    let pushed = fs::metadata(agent_file(&setup)).unwrap();
    assert_eq!(pushed.mode() & 0o7777, 0o700);

    let mut second = connect(&setup.target).await;
    second.facts(WITHIN).await.unwrap();
    assert_eq!(second.traffic().pushes, 0);
    // Pushing is private; what the agent does later is not.
    assert_eq!(second.check(mask, WITHIN).await.unwrap(), before);
    assert!(!before.1.contains("077"), "{}", before.1);
    let found = fs::metadata(agent_file(&setup)).unwrap();
    assert_eq!((found.ino(), found.mtime_nsec()), (pushed.ino(), pushed.mtime_nsec()));
}

#[tokio::test]
async fn old_agents_are_cleared_away_but_for_two() {
    if missing("old_agents_are_cleared_away_but_for_two").is_some() {
        return;
    }
    let setup = setup("");
    for name in ["a", "b", "c", "d"] {
        fs::create_dir_all(setup.scratch.path("state/agent").join(name)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    connect(&setup.target).await;
    let mut left: Vec<_> =
        fs::read_dir(setup.scratch.path("state/agent")).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    let mut expected = vec![agent_digest().as_str(), "c", "d"];
    expected.sort_unstable();
    assert_eq!(left, expected);
}

#[tokio::test]
async fn the_number_of_round_trips_does_not_depend_on_the_number_of_steps() {
    if missing("the_number_of_round_trips_does_not_depend_on_the_number_of_steps").is_some() {
        return;
    }
    let setup = setup("");
    let mut costs = Vec::new();
    for (name, count) in [("few", 3), ("many", 300)] {
        let steps: Vec<Step> = (0..count)
            .map(|n| step(n, "directory", json!({ "path": format!("/{name}-{n}"), "mode": "0755" })))
            .collect();
        let run = RunId::try_from(name.to_owned()).unwrap();
        let mut session = connect(&setup.target).await;
        let seen = session.observe(steps.clone(), WITHIN).await.unwrap();
        assert_eq!(seen.len(), count);
        let mut changed = 0;
        let on_event = &mut |event: weiche_agent::protocol::StepEvent| {
            changed += usize::from(event.what == StepOutcome::Changed);
        };
        assert!(session.stage(&run, Vec::new(), steps, on_event, WITHIN).await.unwrap());
        assert_eq!(changed, count);
        assert_eq!(session.journal(&run, WITHIN).await.unwrap().len(), count);
        assert_eq!(session.undo(&run, (None, &[]), false, &mut |_| {}, WITHIN).await.unwrap(), []);
        assert!(!setup.scratch.path("root").join(format!("{name}-0")).exists());
        costs.push(Traffic { sent_bytes: 0, received_bytes: 0, pushes: 0, ..session.traffic() });
    }
    let expected = Traffic { connections: 1, execs: 1, round_trips: 4, ..Traffic::default() };
    assert_eq!(costs, [expected, expected]);
}

#[tokio::test]
async fn a_large_content_streams_and_a_slow_reader_fetches_it_back() {
    if missing("a_large_content_streams_and_a_slow_reader_fetches_it_back").is_some() {
        return;
    }
    const SIZE: usize = 64 << 20;
    let setup = setup("");
    let file = setup.scratch.path("large");
    let part: Vec<u8> = (0..1 << 20).map(|n: u32| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    fs::write(&file, part.repeat(SIZE >> 20)).unwrap();
    let (digest, size) = Digest::of_reader(&mut fs::File::open(&file).unwrap()).unwrap();
    let mut session = connect(&setup.target).await;
    session.facts(WITHIN).await.unwrap();

    let before = peak_kib();
    let spec = json!({ "path": "/large", "blob": { "digest": digest, "size": size } });
    let blob = Blob { digest: digest.clone(), size, source: Source::File(file) };
    let mut events = Vec::new();
    let on_event = &mut |event| events.push(event);
    let ok = session.stage(&run_id(), vec![blob], vec![step(0, "file", spec)], on_event, WITHIN).await.unwrap();
    assert!(ok, "{events:?}");
    assert_eq!(session.traffic().round_trips, 2);

    let mut fetch = session.fetch(vec![HostPath::Text("/large".into())], WITHIN).await.unwrap();
    let mut bytes = 0;
    while let Some(part) = fetch.next().await.unwrap() {
        match part {
            Fetched::Data(data) => bytes += data.len(),
            Fetched::File { digest: seen, size } => assert_eq!((seen, size), (digest.clone(), SIZE as u64)),
        }
    }
    assert_eq!(bytes, SIZE);
    let grown = peak_kib() - before;
    assert!(grown < 40 << 10, "memory grew by {grown} KiB");
    session.facts(WITHIN).await.unwrap();
}

/// The most memory that this process ever had, in KiB (proc(5)).
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_refused_content_is_a_fault_and_the_session_goes_on() {
    if missing("a_refused_content_is_a_fault_and_the_session_goes_on").is_some() {
        return;
    }
    let setup = setup("");
    let mut session = connect(&setup.target).await;
    let blob = Blob { digest: Digest::of(b"other"), size: 3, source: Source::Bytes(b"abc".to_vec()) };
    let error = session.stage(&run_id(), vec![blob], Vec::new(), &mut |_| {}, WITHIN).await.unwrap_err();
    assert!(matches!(error, SessionError::Fault(_)), "{error:?}");
    session.facts(WITHIN).await.unwrap();
    let gone = Blob { digest: Digest::of(b""), size: 9, source: Source::Bytes(b"abc".to_vec()) };
    let error = session.blob(&run_id(), gone, WITHIN).await.unwrap_err();
    assert!(matches!(error, SessionError::Content { .. }), "{error:?}");
    assert!(matches!(session.facts(WITHIN).await.unwrap_err(), SessionError::Over));
}

#[tokio::test]
async fn a_passed_deadline_ends_the_session_but_not_the_agent() {
    if missing("a_passed_deadline_ends_the_session_but_not_the_agent").is_some() {
        return;
    }
    let setup = setup("");
    let mut session = connect(&setup.target).await;
    let began = Instant::now();
    let (ok, said, output) = session.check(vec!["sh".into(), "-c".into(), "echo gut".into()], WITHIN).await.unwrap();
    assert_eq!(output, "gut\n");
    assert!(ok, "{said}");
    assert!(said.contains("gut"), "{said}");
    let mut slow = step(0, "directory", json!({ "path": "/slow" }));
    (slow.inject, slow.timeout_ms) = (Some(Injection::Hang), 3_000);
    let patience = Duration::from_millis(300);
    let error = session.stage(&run_id(), Vec::new(), vec![slow], &mut |_| {}, patience).await.unwrap_err();
    assert!(matches!(error, SessionError::Deadline(_)), "{error:?}");
    assert!(matches!(session.facts(WITHIN).await.unwrap_err(), SessionError::Over));
    drop(session);

    // The cut line did not kill the agent: it brought the step to its end and wrote that down.
    let mut again = connect(&setup.target).await;
    loop {
        let statuses = again.journal(&run_id(), WITHIN).await.unwrap();
        assert_eq!(statuses.len(), 1);
        if statuses[0].status != Status::Begun {
            assert_eq!(statuses[0].status, Status::Failed);
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the step never ends");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(again.undo(&run_id(), (None, &[]), false, &mut |_| {}, WITHIN).await.unwrap(), []);
}

#[tokio::test]
async fn noise_from_the_login_is_skipped_within_bounds() {
    if missing("noise_from_the_login_is_skipped_within_bounds").is_some() {
        return;
    }
    let scratch = Scratch::new();
    let key = keygen(&scratch.0, "user", "ed25519", "");
    let line = |command: &str| format!("command=\"{command}\" {}", public(&key));
    let noisy =
        Sshd::start(&scratch, &[line(r#"echo Willkommen; printf Rathaus; eval \"$SSH_ORIGINAL_COMMAND\""#)], "");
    connect(&noisy.target(&scratch, &key)).await.facts(WITHIN).await.unwrap();

    let endless = Sshd::start(&scratch, &[line("yes Willkommen")], "");
    let error = refusal(&endless.target(&scratch, &key)).await;
    assert!(matches!(error, ConnectError::Start { source: PushError::Noise(_), .. }), "{}", chain(&error));

    let nologin = Sshd::start(&scratch, &[line("echo This account is currently not available.; exit 1")], "");
    let error = refusal(&nologin.target(&scratch, &key)).await;
    assert!(chain(&error).contains("not available"), "{}", chain(&error));
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    if missing("a_directory_that_cannot_be_made_is_named").is_some() {
        return;
    }
    let mut setup = setup("");
    setup.target.agent.directory = "/dev/null/weiche".into();
    let error = refusal(&setup.target).await;
    let ConnectError::Start { source: PushError::Directory { directory, detail }, .. } = &error else {
        panic!("{}", chain(&error));
    };
    assert!(directory == "/dev/null/weiche" && detail.contains("Not a directory"), "{detail}");
    if !Path::new("/usr/bin/sudo").exists() {
        setup.target.r#become = Become::Sudo;
        let error = refusal(&setup.target).await;
        assert!(matches!(error, ConnectError::Start { source: PushError::SudoMissing, .. }), "{}", chain(&error));
    }
}

#[tokio::test]
async fn a_damaged_agent_is_found_out() {
    if missing("a_damaged_agent_is_found_out").is_some() {
        return;
    }
    let setup = setup("");
    connect(&setup.target).await;
    let script = setup.scratch.path("script");
    fs::write(&script, "#!/bin/sh\necho weiche-agent hello 0.0.0-other\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    fs::rename(&script, agent_file(&setup)).unwrap();
    let error = refusal(&setup.target).await;
    assert!(matches!(error, ConnectError::Start { source: PushError::OtherBuild { .. }, .. }), "{}", chain(&error));
    assert!(error.hint().unwrap().contains("remove"));
}

#[tokio::test]
async fn a_directory_that_is_noexec_or_full_is_named() {
    if missing("a_directory_that_is_noexec_or_full_is_named").is_some() {
        return;
    }
    let private = std::process::Command::new("unshare").args(["-m", "true"]).output();
    if !private.is_ok_and(|output| output.status.success()) {
        println!("skipped: a_directory_that_is_noexec_or_full_is_named: no mount namespaces here");
        return;
    }
    let scratch = Scratch::new();
    let key = keygen(&scratch.0, "user", "ed25519", "");
    fs::create_dir(scratch.path("state")).unwrap();
    let mut errors = Vec::new();
    for options in ["noexec,size=16m", "size=1m"] {
        let script = scratch.path("mounted");
        let mount = format!("mount -t tmpfs -o {options} tmpfs \"$0\" && exec sh -c \"$SSH_ORIGINAL_COMMAND\"");
        fs::write(&script, format!("exec unshare -m sh -c '{mount}' {}", scratch.path("state").display())).unwrap();
        let sshd = Sshd::start(&scratch, &[format!("command=\"sh {}\" {}", script.display(), public(&key))], "");
        match refusal(&sshd.target(&scratch, &key)).await {
            ConnectError::Start { source, .. } => errors.push(source),
            other => panic!("{}", chain(&other)),
        }
    }
    assert!(matches!(errors[..], [PushError::NoExec(_), PushError::DiskFull(_)]), "{errors:?}");
}
