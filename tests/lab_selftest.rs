//! Tests of the test harness itself: that it offers what its documentation says, and leaves nothing behind.

#![expect(clippy::disallowed_methods, reason = "shell")]

#[path = "lab_selftest/console.rs"]
mod console;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use weiche_tests::lab::{HostOptions, Lab};
use weiche_tests::skip;
use weiche_tests::sshd::{Sshd, SshdOptions};

#[test]
fn two_hosts_live_and_leave_nothing_behind() {
    if let Err(why) = Lab::available() {
        return skip("two_hosts_live_and_leave_nothing_behind", &why);
    }
    let lab = Lab::new("two");
    let hosts = lab.boot_all(&[HostOptions::named("a"), HostOptions::named("b")]);
    let [a, b] = hosts.as_slice() else { panic!("two hosts") };

    for host in [a, b] {
        let failed = host.run(&["systemctl", "--failed", "--plain", "--no-legend"]);
        assert_eq!(host.run(&["systemctl", "is-system-running"]), "running", "{failed}");
        assert_eq!(host.run(&["hostname"]), host.name);
        assert_eq!(host.run(&["pwd"]), "/");
        let default = fs::read(host.root().join("usr/share/openssh/sshd_config")).unwrap();
        assert_eq!(fs::read(host.root().join("etc/ssh/sshd_config")).unwrap(), default);
    }
    assert_ne!(boot_id(a), boot_id(b));
    assert_ne!(a.run(&["cat", "/etc/machine-id"]), b.run(&["cat", "/etc/machine-id"]));
    assert_ne!(a.host_key, b.host_key);

    a.run(&["ping", "-c1", "-W2", &b.address.to_string()]);
    a.run(&["ping", "-c1", "-W2", &Lab::CONTROLLER.to_string()]);
    let addresses = output(lab.command("ip").args(["-brief", "address", "show", "dev", "br0"]));
    assert!(addresses.contains(&Lab::CONTROLLER.to_string()), "{addresses}");
    assert!(lab.inside(|| TcpStream::connect((b.address, 22))).is_ok());
    assert_eq!(a.run(&["ls", "/sys/class/net"]), "eth0\nlo");
    a.run(&["sysctl", "-w", "net.ipv4.ip_forward=1"]);
    a.run(&["nft", "add", "table", "inet", "mine"]);
    a.run(&["ip", "address", "add", "198.51.100.1/32", "dev", "eth0"]);

    for (user, expected) in [("root", "0"), ("weiche", "1000"), ("nosudo", "1001")] {
        assert_eq!(output(a.ssh(user).args(["id", "-u"])), expected);
    }
    assert_eq!(output(a.ssh("weiche").args(["sudo", "-n", "id", "-u"])), "0");
    assert!(!a.ssh("nosudo").args(["sudo", "-n", "true"]).output().unwrap().status.success());
    let session = output(a.ssh("weiche").args(["cat", "/proc/self/cgroup"]));
    assert!(session.contains("/user.slice/user-1000.slice/session-"), "a login is a session of logind: {session}");

    let before = boot_id(a);
    fs::write(a.root().join("var/lib/mark"), "kept").unwrap();
    a.reboot();
    assert_ne!(boot_id(a), before);
    assert_eq!(a.boots(), 2);
    assert_eq!(a.run(&["cat", "/var/lib/mark"]), "kept");
    a.power_off();
    assert!(!a.is_on());
    a.power_on();
    assert_eq!(output(a.ssh("root").args(["cat", "/var/lib/mark"])), "kept");
    b.command(&["systemctl", "poweroff"]).output().unwrap();
    b.wait_off();
    assert!(!b.is_on());

    let seen = traces(lab.id());
    assert!(seen.iter().any(|trace| trace.starts_with("process")), "{seen:?}");
    assert!(seen.iter().any(|trace| trace.starts_with("mount")), "{seen:?}");
    assert!(seen.iter().any(|trace| trace.starts_with("namespace")), "{seen:?}");
    assert!(seen.iter().any(|trace| trace.starts_with("control group")), "{seen:?}");
    // A program of the test that is still running in the lab goes with it.
    let mut straggler = lab.command("sleep").arg("1000").spawn().unwrap();
    let (id, dir) = (lab.id().to_owned(), lab.dir().to_owned());
    assert!(dir.exists());
    drop(lab);
    assert_eq!(traces(&id), Vec::<String>::new());
    assert!(!dir.exists());
    assert!(!straggler.wait().unwrap().success());
}

#[test]
fn packages_come_in_two_versions() {
    if let Err(why) = Lab::available() {
        return skip("packages_come_in_two_versions", &why);
    }
    let lab = Lab::new("packages");
    let host = lab.boot(HostOptions::named("a"));
    let install = |package| host.exec(&["apt-get", "install", "-y", "-qq", package]);
    let version = |package| host.run(&["dpkg-query", "-W", "-f", "${Version}", package]);

    assert!(install("wl-server=1.0").status.success());
    assert_eq!(version("wl-server"), "1.0");
    assert_eq!(host.run(&["systemctl", "is-active", "wl-server"]), "active");
    assert_eq!(host.run(&["systemctl", "is-enabled", "wl-server"]), "enabled");
    let process = host.run(&["systemctl", "show", "-P", "MainPID", "wl-server"]);
    assert!(install("wl-server").status.success());
    assert_eq!(version("wl-server"), "2.0");
    assert_ne!(host.run(&["systemctl", "show", "-P", "MainPID", "wl-server"]), process, "an upgrade restarts it");
    host.run(&["apt-get", "install", "-y", "-qq", "--allow-downgrades", "wl-server=1.0", "wl-lib=1.0"]);
    assert_eq!(host.run(&["cat", "/usr/lib/wl/lib.txt"]), "1.0");
    host.run(&["sh", "-c", "echo broken >>/etc/wl-server.conf"]);
    assert!(!host.exec(&["systemctl", "restart", "wl-server"]).status.success());
    host.run(&["apt-get", "purge", "-y", "-qq", "wl-server"]);
    assert!(!host.root().join("etc/wl-server.conf").exists());

    assert!(install("wl-tool=1.0").status.success());
    assert_eq!(host.run(&["wl-tool"]), "wl-tool 1.0");
    assert!(install("wl-other").status.success());
    assert!(!host.exec(&["wl-tool"]).status.success(), "wl-other conflicts with wl-tool");
    assert!(!install("wl-broken").status.success());
    assert_eq!(host.run(&["dpkg-query", "-W", "-f", "${db:Status-Abbrev}", "wl-broken"]).trim(), "iF");
}

#[test]
fn real_packages_can_be_installed_without_a_network() {
    if let Err(why) = Lab::available() {
        return skip("real_packages_can_be_installed_without_a_network", &why);
    }
    let lab = Lab::new("offered");
    let host = lab.boot(HostOptions::named("a"));
    // Everything can be had together; one of them is tried in earnest.
    let all =
        ["cron", "cups", "cups-ipp-utils", "curl", "ifupdown", "locales", "nginx", "postgresql", "samba", "smbclient"];
    let simulate = ["apt-get", "install", "--simulate", "-qq", "--no-install-recommends"];
    let planned = host.run(&[simulate.as_slice(), all.as_slice()].concat());
    for name in all {
        assert!(planned.contains(&format!("Inst {name} (")), "{name} is not on offer, or installed already: {planned}");
    }
    host.run(&["apt-get", "install", "-y", "-qq", "nginx"]);
    assert_eq!(host.run(&["systemctl", "is-active", "nginx"]), "active");
}

#[test]
fn an_independent_suite_agrees_with_the_host() {
    if let Err(why) = Lab::available().and_then(|()| Lab::testinfra_available()) {
        return skip("an_independent_suite_agrees_with_the_host", &why);
    }
    let lab = Lab::new("testinfra");
    let host = lab.boot(HostOptions::named("a"));
    let passed = lab.testinfra(&[&host], "tests/lab/test_base.py");
    assert!(passed.status.success(), "{}", String::from_utf8_lossy(&passed.stdout));
    // It can fail.
    host.run(&["systemctl", "mask", "--now", "systemd-journald.service", "systemd-journald.socket"]);
    let failed = lab.testinfra(&[&host], "tests/lab/test_base.py");
    let said = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains("FAILED tests/lab/test_base.py::test_services_run"), "{said}");
}

#[test]
fn a_host_can_have_a_small_file_system_that_outlives_its_power() {
    if let Err(why) = Lab::available() {
        return skip("a_host_can_have_a_small_file_system_that_outlives_its_power", &why);
    }
    let lab = Lab::new("tmpfs");
    let host = lab.boot(HostOptions::named("a").tmpfs("/var/lib/weiche", "size=1m,noexec"));
    let fill = host.exec(&["dd", "if=/dev/zero", "of=/var/lib/weiche/big", "bs=64k", "count=64"]);
    assert!(String::from_utf8_lossy(&fill.stderr).contains("No space left on device"));
    host.run(&["rm", "/var/lib/weiche/big"]);
    host.run(&["cp", "/bin/true", "/var/lib/weiche/true"]);
    assert_eq!(host.exec(&["/var/lib/weiche/true"]).status.code(), Some(126), "noexec");
    host.power_off();
    assert!(host.root().join("var/lib/weiche/true").exists());
    host.power_on();
    host.run(&["test", "-e", "/var/lib/weiche/true"]);
}

#[test]
fn a_plug_can_be_pulled_and_packets_lost() {
    if let Err(why) = Lab::available() {
        return skip("a_plug_can_be_pulled_and_packets_lost", &why);
    }
    let lab = Lab::new("cut");
    let host = lab.boot(HostOptions::named("a"));
    let carrier = || host.run(&["cat", "/sys/class/net/eth0/carrier"]);
    let is_reached = || {
        let connect = || TcpStream::connect_timeout(&(host.address, 22).into(), Duration::from_millis(300));
        lab.inside(connect).is_ok()
    };
    assert!(is_reached());
    host.cut();
    assert_eq!((carrier().as_str(), is_reached()), ("0", false));
    host.uncut();
    eventually("the host is reached again", is_reached);
    let listener = lab.inside(|| std::net::UdpSocket::bind((Lab::CONTROLLER, 9)).unwrap());
    listener.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let is_heard = || {
        host.run(&["bash", "-c", &format!("echo >/dev/udp/{}/9", Lab::CONTROLLER)]);
        listener.recv(&mut [0; 8]).is_ok()
    };
    assert!(is_heard());
    host.mute();
    assert_eq!((carrier().as_str(), is_reached(), is_heard()), ("1", false, false));
    host.unmute();
    eventually("the host is heard again", is_reached);
}

#[test]
fn the_next_process_sweeps_up_after_a_killed_one() {
    if let Err(why) = Lab::available() {
        return skip("the_next_process_sweeps_up_after_a_killed_one", &why);
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["victim", "--exact", "--nocapture"])
        .env("WEICHE_LAB_VICTIM", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    let id = lines.find_map(|line| Some(line.split_once("victim is ")?.1.to_owned())).expect("the victim is ready");
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(traces(&id).iter().any(|trace| trace.starts_with("process")), "{:?}", traces(&id));
    Lab::sweep();
    assert_eq!(traces(&id), Vec::<String>::new());
}

/// Not a test, and does nothing unless asked by name: what [`the_next_process_sweeps_up_after_a_killed_one`] kills.
#[test]
fn victim() {
    if std::env::var_os("WEICHE_LAB_VICTIM").is_none() {
        return;
    }
    let lab = Lab::new("victim");
    let _host = lab.boot(HostOptions::named("a").tmpfs("/var/lib/weiche", "size=1m"));
    println!("\nvictim is {}", lab.id());
    loop {
        std::thread::park();
    }
}

#[test]
fn a_panic_removes_the_lab() {
    if let Err(why) = Lab::available() {
        return skip("a_panic_removes_the_lab", &why);
    }
    let mut id = String::new();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let lab = Lab::new("panic");
        let _host = lab.boot(HostOptions::named("a"));
        id = lab.id().to_owned();
        std::panic::resume_unwind(Box::new("a failing test"));
    }));
    assert!(outcome.is_err());
    assert_eq!(traces(&id), Vec::<String>::new());
}

#[test]
fn sshd_serves_the_current_user_only_with_its_key() {
    if let Err(why) = Sshd::available() {
        return skip("sshd_serves_the_current_user_only_with_its_key", &why);
    }
    let sshd = Sshd::start(SshdOptions::default());
    assert!(sshd.host_key.starts_with("ssh-ed25519 AAAA"));
    assert!(sshd.fingerprint.starts_with("SHA256:"));
    assert_eq!(output(sshd.ssh().args(["id", "-un"])), sshd.user);
    assert!(sshd.log().contains("Accepted publickey"));

    let port = sshd.port.to_string();
    let login = || {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentityFile=none", "-p", &port]);
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", sshd.known_hosts.display()));
        ssh.arg(sshd.address.to_string()).arg("echo in").env_remove("SSH_AUTH_SOCK");
        ssh
    };
    assert!(!login().output().unwrap().status.success(), "nobody gets in without the key");
    let agent = sshd.ssh_agent();
    assert_eq!(output(login().env("SSH_AUTH_SOCK", &agent.socket)), "in");
    let socket = agent.socket.clone();
    drop(agent);
    assert!(!socket.exists());

    let dir = sshd.dir().to_owned();
    let mut session = sshd.ssh();
    session.args(["echo $$; exec sleep 1000"]);
    let mut session = session.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut pid = String::new();
    BufReader::new(session.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    let pid = pid.trim_end();
    sshd.drop_connections();
    assert_eq!(session.wait().unwrap().code(), Some(255), "ssh lost its connection");
    assert_eq!(output(sshd.ssh().args(["echo", "again"])), "again");
    let is_running = || fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
    assert!(is_running(), "what a session started outlives the connection");
    let address = (sshd.address, sshd.port);
    drop(sshd);
    eventually("what outlived its connection is gone", || !is_running());
    assert!(TcpStream::connect(address).is_err());
    assert!(!dir.exists());
}

#[test]
fn sshd_takes_options() {
    if let Err(why) = Sshd::available() {
        return skip("sshd_takes_options", &why);
    }
    let home = Path::new("/nonexistent");
    let env = vec![("WEICHE_TEST".to_owned(), "two words".to_owned())];
    let sshd = Sshd::start(SshdOptions { home: Some(home.into()), env, ..SshdOptions::default() });
    assert_eq!(output(sshd.ssh().arg("echo $HOME $WEICHE_TEST")), "/nonexistent two words");

    let config = ["KexAlgorithms curve25519-sha256", "Match Address 127.0.0.0/8", "ForceCommand echo forced"];
    let config = config.map(str::to_owned).to_vec();
    let sshd = Sshd::start(SshdOptions { config, ..SshdOptions::default() });
    assert_eq!(output(sshd.ssh().arg("true")), "forced");
    assert!(!sshd.ssh().args(["-o", "KexAlgorithms=ecdh-sha2-nistp256"]).output().unwrap().status.success());
}

/// Everything on this machine that carries the name of a lab.
fn traces(id: &str) -> Vec<String> {
    let mut found = Vec::new();
    for pid in names(Path::new("/proc")).into_iter().filter(|name| name.parse::<u32>().is_ok()) {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        // A zombie has no command line; it waits for its parent, and is not the harness's any more.
        if command.contains(id) || (groups.contains(id) && !command.is_empty()) {
            found.push(format!("process {pid} {command}"));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(id)).map(|line| format!("mount {line}")));
    for (what, dir) in [("namespace", "/run/netns"), ("nspawn", "/run/systemd/nspawn/propagate")] {
        let names = names(Path::new(dir)).into_iter().filter(|name| name.starts_with(id));
        found.extend(names.map(|name| format!("{what} {name}")));
    }
    let mut dirs = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = dirs.pop() {
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name().to_string_lossy().starts_with(id) {
                found.push(format!("control group {}", entry.path().display()));
            }
            dirs.push(entry.path());
        }
    }
    found
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn boot_id(host: &weiche_tests::lab::LabHost) -> String {
    host.run(&["cat", "/proc/sys/kernel/random/boot_id"])
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
