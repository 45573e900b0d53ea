//! The profile of a whole server on a real host: applied, seen by an independent witness, taken back to what it was.

use std::path::Path;
use std::process::Command;

use weiche_agent::journal::KEPT_UNDONE;
use weiche_tests::disk;
use weiche_tests::lab::{HostOptions, Lab, LabHost};

use crate::fleet::{Fleet, assert_same, packages, state};

/// The public key of a technician, made up.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f frida@town.example";

/// What is compared by `weiche` itself besides what it manages.
const WATCH: &str = "watch: [/etc, /srv, /home, /usr/local, /var/spool]\nunwatched: [/etc/ld.so.cache, /srv/apt]\n";

/// What the independent manifest lists.
const SEEN: [&str; 6] = ["etc", "home", "root", "srv", "usr/local", "var/spool"];

const APPLY: [&str; 4] = ["apply", "converge", "hosts=all", "--yes"];

/// Pages, a certificate, the parameters that have no default.
fn server<'a>(lab: &'a Lab, host: &LabHost, profile: &str) -> Fleet<'a> {
    let fleet = Fleet::new(lab, "weiche", &[(host, profile)]);
    let member = std::fs::read_to_string(fleet.path().join("members/rathaus.yaml")).expect("the member");
    let parameters = format!(
        "profile: {profile}, parameters: {{ admin_key: {KEY:?}, printer_driver: \"drv:///sample.drv/generpcl.ppd\" }}"
    );
    let member = member.replace("servers:", &format!("{WATCH}servers:"));
    fleet.write("members/rathaus.yaml", &member.replace(&format!("profile: {profile}"), &parameters));
    fleet.write("files/seiten/index.html", "<p>Seiten</p>\n");
    fleet.write("files/seiten/amt/zeiten.html", "<p>Sprechzeiten</p>\n");
    certificate(&fleet.path().join("files/tls"));
    fleet
}

/// A certificate that signs itself.
fn certificate(dir: &Path) {
    std::fs::create_dir_all(dir).expect("make a directory");
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90"]);
    openssl.args(["-subj", "/CN=intranet.example", "-addext", "subjectAltName=DNS:intranet.example"]);
    openssl.args(["-keyout", "intranet.key", "-out", "intranet.pem"]).current_dir(dir);
    let output = openssl.output().expect("run openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What independent tools see of a host: mtree(8) and getfattr(1), from outside; packages and units, from inside; what
/// the kernel was told.
fn seen(host: &LabHost) -> String {
    let kernel = "hostname; sysctl net.ipv4.tcp_keepalive_time; nft -s list ruleset; findmnt --noheadings --raw --output TARGET,FSTYPE \
                  --type tmpfs,ext4 | sort";
    let mut parts: Vec<String> = SEEN.iter().map(|dir| disk::manifest(&host.root().join(dir))).collect();
    parts.extend([packages(host), host.run(&["sh", "-c", kernel]), state(host)]);
    // ldconfig(8) writes its cache anew with every library that comes or goes, and logind keeps the directory of a
    // user who has logged in for some seconds.
    let theirs = |line: &&str| !line.starts_with("\"ld.so.cache\"") && !line.starts_with("/run/user/");
    let parts = parts.join("\n-- \n");
    parts.lines().filter(theirs).collect::<Vec<_>>().join("\n")
}

/// The witness needs a client; it and all that came with it goes again.
fn with_smbclient(host: &LabHost, look: impl FnOnce()) {
    let names = || host.run(&["dpkg-query", "-W", "-f", "${Package}\\n"]);
    let before = names();
    host.run(&["apt-get", "install", "-q", "-y", "smbclient"]);
    look();
    let now = names();
    let new = now.lines().filter(|name| !before.lines().any(|old| old == *name));
    host.run(&[&["dpkg", "--purge"], new.collect::<Vec<_>>().as_slice()].concat());
}

#[test]
fn a_whole_server_is_set_up_and_taken_back() {
    if let Err(why) = Lab::available().and_then(|()| Lab::testinfra_available()) {
        return weiche_tests::skip("a_whole_server_is_set_up_and_taken_back", &why);
    }
    let lab = Lab::new("server");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = server(&lab, &host, "town-server");
    fleet.weiche(&["check"]).expect(0);
    let before = seen(&host);
    fleet.weiche(&APPLY).expect(0);
    fleet.weiche(&["plan", "converge", "hosts=all"]).expect(0);
    with_smbclient(&host, || {
        let witness = lab.testinfra(&[&host], "tests/lab/test_server.py");
        let said = String::from_utf8_lossy(&witness.stdout);
        assert!(witness.status.success(), "{said}");
    });

    let back = fleet.weiche(&["rollback", "latest"]).expect(0);
    assert!(back.stderr.contains("identical to before"), "{}", back.stderr);
    fleet.weiche(&["verify", "latest"]).expect(0);
    assert_same(&seen(&host), &before, "taken back");
}

/// What CUPS keeps below `/etc` for itself: it writes there when a queue comes and when it goes.
const CUPS: [&str; 3] = ["cups/printers.conf", "cups/subscriptions.conf", "cups/ppd"];

/// Runs that a host remembers, and the bytes in its state directory.
fn remembered(host: &LabHost) -> (usize, u64) {
    let runs = host.run(&["sh", "-c", "ls /var/lib/weiche/runs | wc -l"]);
    let bytes =
        host.run(&["sh", "-c", "find /var/lib/weiche -type f -printf '%s\\n' | awk '{ sum += $1 } END { print sum }'"]);
    (runs.parse().expect("a number"), bytes.parse().expect("a number"))
}

/// The same profile on a host that has the large packages already: installing them each time would take most of an hour. The
/// package `cron` still comes and goes. `WEICHE_CYCLES=25` has it so many times.
#[test]
fn a_server_is_set_up_and_taken_back_time_and_again_without_residue() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_server_is_set_up_and_taken_back_time_and_again_without_residue", &why);
    }
    let lab = Lab::new("cycles");
    let host = lab.boot(HostOptions::named("srv"));
    host.run(&["apt-get", "install", "-q", "-y", "cups", "locales", "nginx", "postgresql", "samba"]);
    let fleet = server(&lab, &host, "town-server");
    let member = std::fs::read_to_string(fleet.path().join("members/rathaus.yaml")).expect("the member");
    let unwatched = CUPS.map(|name| format!("/etc/{name}, /etc/{name}.O, ")).concat();
    fleet.write("members/rathaus.yaml", &member.replace("unwatched: [", &format!("unwatched: [{unwatched}")));
    let seen = || {
        let others = |line: &&str| !CUPS.iter().any(|name| line.contains(name));
        seen(&host).lines().filter(others).collect::<Vec<_>>().join("\n")
    };
    let before = seen();
    // A run that is taken back is remembered until four others are: what grows has grown by then.
    let cycles = std::env::var("WEICHE_CYCLES").map_or(12, |text| text.parse().expect("WEICHE_CYCLES is a number"));
    assert!(cycles >= 10, "that is too few to see what grows");
    let mut sizes = Vec::new();
    for cycle in 1..=cycles {
        fleet.weiche(&APPLY).expect(0);
        let back = fleet.weiche(&["rollback", "latest"]).expect(0);
        assert!(back.stderr.contains("identical to before"), "cycle {cycle}: {}", back.stderr);
        if [1, 2, 10, cycles].contains(&cycle) {
            assert_same(&seen(), &before, &format!("cycle {cycle}"));
        }
        sizes.push(remembered(&host));
        let (runs, _) = sizes[cycle - 1];
        // Those before this run, and this run.
        assert!(runs <= KEPT_UNDONE + 1, "cycle {cycle}: {runs} runs");
    }
    // Run names and times have their own lengths; a kept file or a journal is far larger.
    let (tenth, last) = (sizes[9].1, sizes[cycles - 1].1);
    assert!(last <= tenth + 512, "the state directory has grown from {tenth} to {last} bytes: {sizes:?}");
}
