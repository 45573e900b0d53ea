//! Host keys, key exchange, user keys, ssh-agent, jump hosts, and ports that do not answer.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use weiche::drive::session::Session;
use weiche::drive::ssh::{ConnectError, Connector};
use weiche::input::target::Identity;

use crate::openssh::{Scratch, SshAgent, Sshd, keygen, missing, public, target};
use crate::{WITHIN, chain, connect, refusal, setup};

#[tokio::test]
async fn another_host_key_is_refused_and_shown() {
    if missing("another_host_key_is_refused_and_shown").is_some() {
        return;
    }
    let mut setup = setup("");
    let shown = |line: &str| {
        let key = russh::keys::PublicKey::from_openssh(line).unwrap();
        key.fingerprint(russh::keys::HashAlg::Sha256).to_string()
    };
    let other = public(&keygen(&setup.scratch.0, "other", "ed25519", ""));
    setup.target.host_key = other.clone();
    let error = refusal(&setup.target).await;
    let text = chain(&error);
    assert!(text.contains(&shown(&setup.sshd.host_key)) && text.contains(&shown(&other)), "{text}");
    assert!(error.hint().unwrap().contains("ssh-keygen"));

    setup.target.host_key = public(&keygen(&setup.scratch.0, "type", "ecdsa", ""));
    let error = refusal(&setup.target).await;
    assert!(matches!(&error, ConnectError::HostKeyType { offered, .. } if offered.contains("ssh-ed25519")), "{error}");

    setup.target.host_key = "nonsense".into();
    assert!(matches!(refusal(&setup.target).await, ConnectError::PinnedKey { .. }));
}

#[tokio::test]
async fn the_pinned_key_of_several_is_asked_for() {
    if missing("the_pinned_key_of_several_is_asked_for").is_some() {
        return;
    }
    let mut setup = setup("");
    setup.target.host_key = fs::read_to_string(setup.scratch.path("sshd/0/rsa.pub")).unwrap();
    connect(&setup.target).await.facts(WITHIN).await.unwrap();
}

#[tokio::test]
async fn every_key_exchange_method_works_alone() {
    if missing("every_key_exchange_method_works_alone").is_some() {
        return;
    }
    let mut setup = setup("");
    for method in ["curve25519-sha256", "ecdh-sha2-nistp256", "diffie-hellman-group16-sha512"] {
        setup.target.key_exchange = vec![method.into()];
        let link = Connector::default().connect(&setup.target).await.unwrap();
        assert_eq!(link.negotiated().kex, method);
    }
    setup.target.key_exchange = vec!["diffie-hellman-group1-sha1".into()];
    let error = refusal(&setup.target).await;
    assert!(matches!(error, ConnectError::NothingInCommon { .. }), "{error}");
    setup.target.key_exchange = vec!["rot13".into()];
    assert!(matches!(refusal(&setup.target).await, ConnectError::KeyExchange(_)));
    // OpenSSH 9.9 and newer has the post-quantum method, older ones fall back to the curve.
    setup.target.key_exchange = Vec::new();
    let link = Connector::default().connect(&setup.target).await.unwrap();
    let kex = link.negotiated().kex;
    assert!(["mlkem768x25519-sha256", "curve25519-sha256"].contains(&kex.as_str()), "{kex}");
}

#[tokio::test]
async fn a_refused_key_is_named_with_its_user() {
    if missing("a_refused_key_is_named_with_its_user").is_some() {
        return;
    }
    let mut setup = setup("");
    setup.target.identity = Identity::File(keygen(&setup.scratch.0, "stranger", "ed25519", ""));
    let error = refusal(&setup.target).await;
    let text = error.to_string();
    assert!(text.contains(&setup.target.user) && text.contains("SHA256:"), "{text}");

    let locked = keygen(&setup.scratch.0, "locked", "ed25519", "secret");
    setup.target.identity = Identity::File(locked);
    let error = refusal(&setup.target).await;
    assert!(matches!(error, ConnectError::KeyLocked(_)) && error.hint().unwrap().contains("ssh-add"), "{error}");

    setup.target.identity = Identity::File(setup.scratch.path("nowhere"));
    assert!(matches!(refusal(&setup.target).await, ConnectError::KeyFile { .. }));
}

#[tokio::test]
async fn the_ssh_agents_keys_are_tried_in_turn() {
    if missing("the_ssh_agents_keys_are_tried_in_turn").is_some() {
        return;
    }
    let scratch = Scratch::new();
    let stranger = keygen(&scratch.0, "stranger", "ed25519", "");
    let rsa = keygen(&scratch.0, "rsa", "rsa", "");
    let sshd = Sshd::start(&scratch, &[public(&rsa)], "");
    let target = target(&scratch, sshd.port, &sshd.host_key, Identity::Agent);

    let agent = SshAgent::start(&scratch, &[&stranger, &rsa]);
    let connector = Connector::with_ssh_agent(agent.socket.clone());
    let mut session = Session::new(connector.connect(&target).await.unwrap());
    session.facts(WITHIN).await.unwrap();
    drop(agent);
    let error = connector.connect(&target).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoSshAgent(_)), "{error}");

    // The same key from a file, signed with SHA-2.
    let target = sshd.target(&scratch, &rsa);
    connect(&target).await.facts(WITHIN).await.unwrap();
}

#[tokio::test]
async fn a_jump_host_leads_to_a_host() {
    if missing("a_jump_host_leads_to_a_host").is_some() {
        return;
    }
    let mut setup = setup("");
    let key = public(&setup.scratch.path("user"));
    let jump = Sshd::start(&setup.scratch, std::slice::from_ref(&key), "");
    let closed = Sshd::start(&setup.scratch, &[key], "AllowTcpForwarding no");
    let through = |sshd: &Sshd| Some(Box::new(sshd.target(&setup.scratch, &setup.scratch.path("user"))));
    setup.target.jump = through(&jump);
    let mut session = connect(&setup.target).await;
    session.facts(WITHIN).await.unwrap();
    assert_eq!(session.traffic().connections, 1);

    setup.target.jump = through(&closed);
    assert!(matches!(refusal(&setup.target).await, ConnectError::Tunnel { .. }));
    let mut wrong = through(&jump);
    wrong.as_mut().unwrap().host_key.clone_from(&setup.sshd.host_key);
    setup.target.jump = wrong;
    let error = refusal(&setup.target).await;
    assert!(matches!(&error, ConnectError::Jump { source, .. } if matches!(**source, ConnectError::HostKey { .. })));
}

#[tokio::test]
async fn a_port_that_is_closed_or_silent() {
    if missing("a_port_that_is_closed_or_silent").is_some() {
        return;
    }
    let scratch = Scratch::new();
    let key = keygen(&scratch.0, "user", "ed25519", "");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut target = target(&scratch, port, &public(&key), Identity::File(key));
    target.connect_timeout = Duration::from_millis(300);
    let began = Instant::now();
    let error = refusal(&target).await;
    assert!(matches!(error, ConnectError::Timeout { phase: "the SSH handshake", .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(3));
    drop(listener);
    assert!(matches!(refusal(&target).await, ConnectError::Unreachable { .. }));
}
