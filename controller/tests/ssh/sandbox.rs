//! Sandbox hosts, reached by our own client and by OpenSSH's.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use weiche::drive::session::Session;
use weiche::drive::ssh::Connector;
use weiche::input::target::{Identity, Target};
use weiche::sandbox::{Sandbox, SandboxHost, StartError};

use crate::openssh::{Scratch, missing, target};
use crate::{WITHIN, chain, refusal};

fn reach(sandbox: &Sandbox, host: &SandboxHost, scratch: &Scratch) -> Target {
    target(scratch, host.port, &host.host_key, Identity::File(sandbox.identity.clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_run_in_sandbox_hosts() {
    let scratch = Scratch::new();
    let dir = scratch.path("sandbox");
    let sandbox = Sandbox::start(&["m/alt", "m/neu"], &dir).await.unwrap();
    let mut targets: Vec<Target> = sandbox.hosts.iter().map(|host| reach(&sandbox, host, &scratch)).collect();
    for target in &mut targets {
        // Relative to the home directory, which every sandbox host has for itself.
        target.agent.directory = "state".into();
    }
    targets[0].jump = Some(Box::new(targets[1].clone()));
    for target in &targets {
        let link = Connector::default().connect(target).await.map_err(|error| chain(&error)).unwrap();
        assert_eq!(link.negotiated().kex, "mlkem768x25519-sha256");
        let mut session = Session::new(link);
        assert!(session.facts(WITHIN).await.unwrap().simulated);
        assert_eq!(session.traffic().pushes, 1);
    }
    assert!(sandbox.hosts.iter().all(|host| host.home.join("state/agent").is_dir()));

    let keys: Vec<String> = sandbox.hosts.iter().map(|host| host.host_key.clone()).collect();
    drop(sandbox);
    tokio::time::sleep(Duration::from_millis(100)).await;
    refusal(&targets[1]).await;
    let again = Sandbox::start(&["m/alt", "m/neu"], &dir).await.unwrap();
    assert_eq!(again.hosts.iter().map(|host| host.host_key.clone()).collect::<Vec<_>>(), keys);
    assert!(matches!(Sandbox::start(&["../x"], &dir).await, Err(StartError::Name(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssh_is_served_too() {
    if missing("openssh_is_served_too").is_some() {
        return;
    }
    let scratch = Scratch::new();
    let sandbox = Sandbox::start(&["alt"], &scratch.path("sandbox")).await.unwrap();
    let host = &sandbox.hosts[0];
    let known = scratch.path("known_hosts");
    std::fs::write(&known, format!("[{}]:{} {}\n", host.address, host.port, host.host_key)).unwrap();
    let ssh = |command: &str| {
        let mut ssh = Command::new("ssh");
        let known: PathBuf = known.clone();
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-p", &host.port.to_string(), "-i"]);
        ssh.arg(&sandbox.identity).arg("-o").arg(format!("UserKnownHostsFile={}", known.display()));
        ssh.args(["weiche@127.0.0.1", command]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ssh
    };
    let output = ssh("echo \"$HOME\"; echo weh >&2; exit 7").output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), host.home.display().to_string());
    assert_eq!(String::from_utf8_lossy(&output.stderr).trim(), "weh");
    assert_eq!(output.status.code(), Some(7));

    // More than any buffer or window holds, one way and then the other.
    let mut child = ssh("wc -c").spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeding = tokio::spawn(async move {
        tokio::io::copy(&mut &vec![7; 16 << 20][..], &mut stdin).await.unwrap();
    });
    let output = child.wait_with_output().await.unwrap();
    feeding.await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "16777216");
    let output = ssh("head -c 16777216 /dev/zero").output().await.unwrap();
    assert_eq!((output.stdout.len(), output.status.code()), (16 << 20, Some(0)));

    let killed = ssh("kill -TERM $$").output().await.unwrap();
    assert_eq!(killed.status.code(), Some(255), "OpenSSH's status for a signal");
}
