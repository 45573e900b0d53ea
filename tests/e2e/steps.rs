//! Steps that look, wait and restart: against servers on the loopback that the tests bring along.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use weiche_tests::sshd::Sshd;
use weiche_tests::town::{Ran, Town};

/// A town whose playbook `x` has these steps.
fn town(steps: &str) -> Town {
    let town = Town::new(&["a"]);
    write(&town, steps);
    town
}

fn write(town: &Town, steps: &str) {
    let head = "playbook: x\ninputs: { hosts: hosts }\nstages:\n  - stage: s\n    on: hosts\n    steps:\n";
    town.write("playbooks/x.yaml", &format!("{head}{steps}"));
}

/// Applies one way to look. A run that changes nothing does not even begin, so it changes a file as well.
fn look(town: &Town, what: &str) -> Ran {
    let old = fs::read(town.root("a").join("etc/motd")).unwrap();
    let steps =
        format!("      - file: {{ path: /etc/motd, content: \"x{}\" }}\n", String::from_utf8_lossy(&old).trim());
    write(town, &format!("{steps}      - check: {{ {what} }}\n        within: 1s\n"));
    town.weiche(&APPLY)
}

const APPLY: [&str; 4] = ["apply", "x", "hosts=all", "--yes"];

/// How often a host was restarted, as the sandbox counts it.
fn boots(town: &Town) -> u64 {
    let text = fs::read_to_string(town.state("a").join("sandbox-instances.json")).unwrap_or_else(|_| "{}".into());
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["boots"].as_u64().unwrap_or(0)
}

const REBOOT: &str = "      - file: { path: /etc/motd, content: \"new\\n\" }
      - reboot: another kernel
        within: 1m
      - file: { path: /etc/after, content: \"after\\n\" }
";

#[test]
fn a_host_is_restarted_once_wherever_the_controller_dies() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_host_is_restarted_once_wherever_the_controller_dies", &why);
    }
    let town = town(REBOOT);
    let before = town.manifest("a");
    let plan = town.weiche(&["plan", "x", "hosts=all"]).expect(2);
    for part in ["reboot: another kernel", "the host restarts", "nothing to take back"] {
        assert!(plan.stdout.contains(part), "{part} is missing in {}", plan.stdout);
    }
    assert_eq!(boots(&town), 0, "a plan restarts nothing");
    let mut died = 0;
    for event in 1.. {
        let earlier = boots(&town);
        let n = event.to_string();
        let code = town.weiche(&[&APPLY[..], &["--crash-after-event", &n]].concat()).code;
        if code == 0 {
            break;
        }
        died += 1;
        assert!(boots(&town) <= earlier + 1);
        // The last crash is behind the end of the run.
        if !town.weiche(&["status", "latest", "--json"]).stdout.contains("\"ended\"") {
            town.weiche(&["resume", "latest"]).expect(0);
        }
        assert_eq!(boots(&town), earlier + 1, "after a crash at event {event}");
        assert!(town.root("a").join("etc/after").exists());
        town.weiche(&["rollback", "latest"]).expect(0);
        assert_eq!(boots(&town), earlier + 1, "taking back restarts nothing");
        assert_eq!(town.manifest("a"), before, "after a crash at event {event}");
    }
    assert!(died > 5, "only {died} crashes: the rehearsal does not crash");
    let log = town.weiche(&["log", "latest"]).expect(0);
    assert!(log.stdout.contains("restarts, boot id until now"), "{}", log.stdout);
}

#[test]
fn a_service_is_waited_for_and_a_unit_is_looked_at() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("a_service_is_waited_for_and_a_unit_is_looked_at", &why);
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let town = town(&format!(
        "      - package: {{ name: nginx }}
      - check: {{ unit: nginx }}
      - file: {{ path: /etc/motd, content: \"new\\n\" }}
      - wait_for: {{ tcp: \"127.0.0.1:{port}\" }}
        within: 1m
        every: 1s
"
    ));
    let before = town.manifest("a");
    let motd = town.root("a").join("etc/motd");
    // The service comes up only once the step before has been carried out.
    let service = thread::spawn(move || {
        while fs::read(&motd).unwrap_or_default() != b"new\n" {
            thread::yield_now();
        }
        TcpListener::bind(("127.0.0.1", port)).unwrap().accept().unwrap();
    });
    town.weiche(&APPLY).expect(0);
    service.join().unwrap();
    town.weiche(&["rollback", "latest"]).expect(0);
    write(&town, "      - package: { name: nginx }\n      - check: { unit: other }\n        within: 1s\n");
    let failed = town.weiche(&APPLY).expect(3);
    assert!(failed.stderr.contains("systemctl is-active other"), "{}", failed.stderr);
    let failed = look(&town, "postgres: { query: SELECT 1 }").expect(3);
    assert!(failed.stderr.contains("failed to execute psql"), "{}", failed.stderr);
    assert_eq!(town.manifest("a"), before);
}

/// Answers every question for an A record with 192.0.2.53, until the test ends (RFC 1035, section 4).
fn name_server() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            let name = query[12..length].iter().position(|b| *b == 0).unwrap();
            let question = &query[12..12 + name + 5];
            let mut answer = query[..2].to_vec();
            // An answer with authority; one question, one record.
            answer.extend([0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend(question);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 53]);
            socket.send_to(&answer, client).unwrap();
        }
    });
    port
}

#[test]
fn the_dns_is_asked() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("the_dns_is_asked", &why);
    }
    let port = name_server();
    let town = Town::new(&["a"]);
    let check =
        |expect: &str| look(&town, &format!("dns: {{ name: fs.example, server: \"127.0.0.1:{port}\"{expect} }}"));
    check("").expect(0);
    check(", expect: 192.0.2.53").expect(0);
    let wrong = check(", expect: [192.0.2.53, 192.0.2.54]").expect(3);
    assert!(wrong.stderr.contains("the answer is 192.0.2.53, expected 192.0.2.53, 192.0.2.54"), "{}", wrong.stderr);
}

/// `openssl s_server` on a port of its own; ends with the value.
pub(super) struct TlsServer(Child, pub(super) u16);

impl TlsServer {
    /// Why there is none.
    pub(super) fn available() -> Result<(), String> {
        let there = Command::new("openssl").arg("version").output().is_ok_and(|o| o.status.success());
        there.then_some(()).ok_or_else(|| "no openssl".into())
    }

    /// With a certificate `cert.pem` in this directory for these names. It answers a GET.
    pub(super) fn start(dir: &Path, names: &str) -> TlsServer {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"])
            .args(["-subj", "/CN=intranet.example", "-addext", &format!("subjectAltName={names}")])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut child = Command::new("openssl")
            .args(["s_server", "-www", "-accept", "127.0.0.1:0", "-cert", "cert.pem", "-key", "key.pem"])
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| line.strip_prefix("ACCEPT ")?.rsplit_once(':')?.1.parse().ok());
        // It says something of every connection, and must not wait for a reader.
        thread::spawn(move || lines.for_each(drop));
        TlsServer(child, port.unwrap())
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn certificates_are_looked_at() {
    if let Err(why) = Sshd::available().and_then(|()| TlsServer::available()) {
        return weiche_tests::skip("certificates_are_looked_at", &why);
    }
    let town = Town::new(&["a"]);
    let dir = town.root("a").join("etc/ssl");
    fs::create_dir_all(&dir).unwrap();
    let server = TlsServer::start(&dir, "DNS:intranet.example");
    // Certificates are mostly links, e.g. those of certbot.
    std::os::unix::fs::symlink("cert.pem", dir.join("live.pem")).unwrap();
    let check = |what: &str| look(&town, &format!("certificate: {{ {what} }}"));
    let endpoint = format!("endpoint: \"127.0.0.1:{}\"", server.1);
    check(&format!("{endpoint}, name: intranet.example")).expect(0);
    check("path: /etc/ssl/live.pem, name: intranet.example, days_left: 20").expect(0);
    for (what, says) in [
        (endpoint.clone(), "it is not for 127.0.0.1"),
        (format!("{endpoint}, name: intranet.example, days_left: 40"), "day(s), expected 40"),
        ("path: /etc/ssl/cert.pem, name: other.example".into(), "it is not for other.example"),
        ("path: /etc/ssl/none.pem".into(), "cannot be read on the host"),
        ("path: /etc/motd".into(), "no certificate in PEM form"),
    ] {
        let failed = check(&what).expect(3);
        assert!(failed.stderr.contains(says), "{says}: {}", failed.stderr);
    }
}
