//! Cases for the quoting and for what a failed start means.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::process::Command;
use std::time::Duration;

use super::*;
use crate::input::target::{AgentPlace, HostName, Identity};

fn target(r#become: Become) -> Target {
    Target {
        name: HostName::new("m", "h"),
        address: "192.0.2.1".into(),
        port: 22,
        user: "weiche".into(),
        identity: Identity::Agent,
        host_key: String::new(),
        r#become,
        wake: None,
        jump: None,
        agent: AgentPlace::default(),
        key_exchange: Vec::new(),
        connect_timeout: Duration::from_secs(1),
        expect: weiche_agent::protocol::Expect::default(),
        silence_timeout: Duration::from_secs(1),
    }
}

#[test]
fn a_shell_reads_back_what_was_quoted() {
    for text in ["", "plain", "two words", "it's", "''", "$HOME `id` \"x\" \\ * ! ; &", "line\nline", "ä"] {
        let output = Command::new("sh").args(["-c", &format!("printf %s {}", quote(text))]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
    }
}

#[test]
fn the_script_is_one_line_that_every_login_shell_passes_on() {
    assert!(!SCRIPT.contains(['\'', '!', '\\', '\n']));
    let check = Command::new("sh").args(["-n", "-c", SCRIPT]).status().unwrap();
    assert!(check.success());
}

#[test]
fn data_stays_outside_the_script() {
    let mut target = target(Become::Sudo);
    target.agent.directory = "a'; touch x; '".into();
    target.agent.root = Some("/r".into());
    let command = command(&target);
    assert!(command.starts_with("exec env LC_ALL=C sudo -n -- sh -c 'home=$1; "));
    assert!(command.contains(r#"' weiche "$HOME" 'a'\''; touch x; '\''' '"#));
    assert!(command.ends_with("'--root' '/r'"));
}

#[test]
fn what_a_failed_start_means() {
    let cases: [(Become, &str, &str, &str); 14] = [
        (Become::Sudo, "status 1", "sudo: a password is required", "SudoPassword"),
        (Become::Sudo, "status 1", "sudo: a terminal is required to read the password", "SudoPassword"),
        (Become::Sudo, "status 1", "weiche is not in the sudoers file.", "SudoDenied"),
        (Become::Sudo, "status 1", "Sorry, user weiche is not allowed to execute '/bin/sh' as root.", "SudoDenied"),
        (Become::Sudo, "status 127", "env: 'sudo': No such file or directory", "SudoMissing"),
        (
            Become::None,
            "status 65",
            "mkdir: cannot create directory: Permission denied\nweiche-push: directory",
            "Directory",
        ),
        (
            Become::None,
            "status 65",
            "mkdir: cannot create directory: No space left on device\nweiche-push: directory",
            "DiskFull",
        ),
        (Become::None, "status 65", "head: write error: No space left on device\nweiche-push: write", "DiskFull"),
        (Become::None, "status 65", "weiche-push: digest", "Damaged"),
        (Become::None, "status 65", "weiche-push: noexec", "NoExec"),
        (Become::None, "status 65", "weiche-push: machine aarch64", "OtherMachine { host: \"aarch64\" }"),
        (Become::None, "status 126", "sh: 1: exec: /x/weiche-agent: Permission denied", "NoExec"),
        (Become::None, "status 1", "This account is currently not available.", "Ended"),
        (Become::None, "signal KILL", "", "Ended"),
    ];
    for (r#become, how, stderr, expected) in cases {
        let error = LinkError::Ended { how: how.into(), stderr: stderr.into() };
        let seen = format!("{:?}", explain(error, &target(r#become), ""));
        assert!(seen.starts_with(expected), "{stderr}: {seen}");
    }
}

#[test]
fn a_cut_line_is_no_verdict_on_the_host() {
    let error = explain(LinkError::Closed("reset".into()), &target(Become::None), "");
    assert!(matches!(error, PushError::Link(LinkError::Closed(_))));
}
