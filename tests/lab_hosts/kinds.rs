//! Kinds that the shipped profiles do not use, or that need care, on a real host: applied, looked at by the host's own
//! programs, taken back.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;

use weiche_tests::lab::{HostOptions, Lab, LabHost};

use crate::fleet::{Fleet, assert_same};
use crate::witness::{APPLY, manifest, taken_back, watch_all};

/// As sha256sum(1) prints it, of `viewer\n`.
const VIEWER: &str = "e31d7415373540ad701e59239e9f76fad08e8f89a355db78884217df6d0406dc";

/// A web server where the controller is, that answers every request with `viewer\n` until it is stopped.
struct Web {
    address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Web {
    fn start(lab: &Lab) -> Web {
        let listener = lab.inside(|| TcpListener::bind((Lab::CONTROLLER, 0)).expect("a port"));
        let address = listener.local_addr().expect("an address");
        let thread = std::thread::spawn(move || {
            loop {
                let (mut stream, _) = listener.accept().expect("a connection");
                let lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
                let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                if head.first().is_none_or(|line| line.starts_with("STOP")) {
                    return;
                }
                let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n\r\nviewer\n";
                stream.write_all(answer.as_bytes()).expect("an answer");
            }
        });
        Web { address, thread }
    }

    fn stop(self, lab: &Lab) {
        lab.inside(|| TcpStream::connect(self.address).and_then(|mut s| s.write_all(b"STOP\n\n")).expect("it listens"));
        self.thread.join().expect("the web server");
    }
}

/// A host with a fleet that watches all of it.
pub(crate) fn set_up<'a>(lab: &'a Lab, host: &LabHost) -> Fleet<'a> {
    let fleet = Fleet::new(lab, "weiche", &[(host, "kinds")]);
    watch_all(&fleet);
    fleet
}

fn sh(host: &LabHost, script: &str) -> String {
    host.run(&["sh", "-c", script])
}

fn tool(program: &str, arguments: &[&str], dir: &Path) {
    let output = Command::new(program).args(arguments).current_dir(dir).output().expect("run it");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn contents_are_put_on_a_real_host_and_taken_back() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("contents_are_put_on_a_real_host_and_taken_back", &why);
    }
    let lab = Lab::new("contents");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = set_up(&lab, &host);
    let web = Web::start(&lab);
    let url = format!("http://{}/viewer.jar", web.address);
    fleet.write("files/forms/bau/antrag.txt", "Bauantrag\n");
    fleet.write("files/forms/run", "#!/bin/sh\necho moin\n");
    let files = fleet.path().join("files");
    fs::set_permissions(files.join("forms/run"), fs::Permissions::from_mode(0o755)).expect("chmod");
    symlink("bau/antrag.txt", files.join("forms/antrag")).expect("link");
    fleet.write("made/app-1.0/lib/part.txt", "part\n");
    symlink("lib/part.txt", fleet.path().join("made/app-1.0/part")).expect("link");
    let part = fleet.path().join("made/app-1.0/lib/part.txt");
    fs::hard_link(part, fleet.path().join("made/app-1.0/lib/same.txt")).expect("link");
    tool("tar", &["-czf", "files/app.tar.gz", "-C", "made", "app-1.0"], &fleet.path());
    // What is in the way: with attributes, access lists, several names, holes and other owners.
    sh(
        &host,
        "mkdir -p /srv/forms/old/deep && cd /srv/forms && echo theirs >old/deep/file && ln old/deep/file twin
         ln -s /etc bau && setfattr -n user.note -v hello old && setfacl -m u:weiche:rwx old/deep
         echo '#!/bin/false' >run && chmod 4711 run && chown weiche:nosudo run
         echo old >/srv/current && setfattr -n user.note -v x /srv/current && setfacl -m g:nosudo:r /srv/current
         truncate -s 1M /srv/own.jar && printf end >>/srv/own.jar && touch -d '2020-01-02 03:04:05.678' /srv/own.jar
         printf '[mail]\\r\\nrelay = a\\r\\n' >/etc/wl.ini && printf 'no newline' >/etc/wl.txt && chmod 640 /etc/wl.txt
         setfattr -n user.note -v y /etc/wl.txt",
    );
    let before = manifest(&host);
    fleet.write(
        "profiles/kinds.yaml",
        &format!(
            "\
profile: kinds
resources:
  - package: {{ name: curl }}
  - directory: {{ path: /srv/shop, mode: \"2770\", owner: weiche, group: nosudo }}
  - tree: {{ path: /srv/forms, source: forms, purge: true, owner: weiche }}
  - archive: {{ path: /srv/app, source: app.tar.gz, strip: 1 }}
  - symlink: {{ path: /srv/current, target: app/lib }}
  - download: {{ path: /srv/viewer.jar, url: \"{url}\", sha256: {VIEWER}, mode: \"0755\" }}
  - download: {{ path: /srv/own.jar, url: \"{url}\", sha256: {VIEWER}, via: host }}
  - ini: {{ path: /etc/wl.ini, section: mail, key: relay, value: mail.town.example }}
  - line: {{ path: /etc/wl.txt, line: a line }}
  - block: {{ path: /etc/wl.txt, name: notice, text: \"one\\ntwo\\n\" }}
  - command: {{ argv: [touch, /srv/made], creates: /srv/made, undo: [rm, -f, /srv/made] }}
"
        ),
    );
    fleet.weiche(&APPLY).expect(0);
    let seen = sh(
        &host,
        "cd /srv && stat -c '%n %a %U %G' shop forms/run forms/bau viewer.jar own.jar made && readlink forms/antrag \
         current app/part && find forms -mindepth 1 | sort && cat app/part app/lib/same.txt forms/bau/antrag.txt && \
         sha256sum <viewer.jar && sha256sum <own.jar && ./forms/run && od -c /etc/wl.ini | head -4 && cat /etc/wl.txt",
    );
    for line in [
        "shop 2770 weiche nosudo",
        "forms/bau 755 weiche root",
        "viewer.jar 755 root root",
        "bau/antrag.txt",
        "app/lib",
        "lib/part.txt",
        "part\npart\nBauantrag",
        &format!("{VIEWER}  -\n{VIEWER}  -\nmoin"),
        "no newline\na line\n",
        "one\ntwo\n",
    ] {
        assert!(seen.contains(line), "{line:?} is not in:\n{seen}");
    }
    assert!(!seen.contains("old") && !seen.contains("twin"), "purged: {seen}");
    assert_eq!(sh(&host, "grep -c 'relay = mail.town.example\\|relay=mail.town.example' /etc/wl.ini"), "1");
    let applied = manifest(&host);
    fleet.weiche(&["plan", "converge", "hosts=all"]).expect(0);
    fleet.weiche(&APPLY).expect(0);
    assert_same(&manifest(&host), &applied, "applied again");
    taken_back(&fleet, &host, &before);
    assert_eq!(sh(&host, "cd /srv/forms && test twin -ef old/deep/file && cat twin"), "theirs");

    // Something else comes from the address: the host's own curl gets it, and nothing of it is used.
    let other = fs::read_to_string(fleet.path().join("profiles/kinds.yaml")).expect("read");
    let wrong = VIEWER.replace('e', "f");
    fleet.write("profiles/kinds.yaml", &other.replace(&format!("{VIEWER}, via"), &format!("{wrong}, via")));
    let failed = fleet.weiche(&APPLY).expect(3);
    assert!(failed.stderr.contains("sha256") || failed.stderr.contains("SHA-256"), "{}", failed.stderr);
    assert_same(&manifest(&host), &before, "a wrong download");
    web.stop(&lab);
}

#[test]
fn file_systems_are_mounted_and_a_busy_one_is_taken_back_later() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("file_systems_are_mounted_and_a_busy_one_is_taken_back_later", &why);
    }
    let lab = Lab::new("mounts");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = set_up(&lab, &host);
    sh(&host, "mkdir -p /srv/real /srv/shown && echo here >/srv/real/file && printf '# mine' >/etc/fstab");
    // Mounted by hand, with less.
    sh(&host, "mkdir /srv/open && mount -t tmpfs -o size=2m,nosuid none /srv/open && echo kept >/srv/open/file");
    let before = manifest(&host);
    fleet.write(
        "profiles/kinds.yaml",
        "\
profile: kinds
resources:
  - mount: { path: /srv/data, device: data, type: tmpfs, options: [noexec, nosuid, \"size=1m\"] }
  - mount: { path: /srv/shown, device: /srv/real, type: none, options: [bind] }
  - mount: { path: /srv/open, device: none, type: tmpfs, options: [nodev] }
  - mount: { path: /srv/later, device: later, type: tmpfs, state: present }
",
    );
    fleet.weiche(&APPLY).expect(0);
    assert_eq!(
        sh(&host, "cat /srv/shown/file /srv/open/file; findmnt -no SOURCE,FSTYPE /srv/data"),
        "here\nkept\ndata   tmpfs"
    );
    let options = sh(&host, "findmnt -no OPTIONS /srv/data; findmnt -no OPTIONS /srv/open");
    assert!(options.contains("nosuid,noexec") && options.contains("size=1024k"), "{options}");
    assert!(options.lines().nth(1).is_some_and(|o| o.contains("nosuid,nodev")), "{options}");
    sh(&host, "findmnt --verify >&2; systemctl cat srv-data.mount srv-later.mount >&2");
    assert!(!host.exec(&["findmnt", "/srv/later"]).status.success());
    fleet.weiche(&["plan", "converge", "hosts=all"]).expect(0);

    let mut user = host.command(&["sh", "-c", "cd /srv/data && touch ready && exec sleep 4711"]);
    let mut user = user.spawn().expect("start a program");
    while !host.exec(&["sh", "-c", "test -e /srv/data/ready && pgrep -fx 'sleep 4711'"]).status.success() {}
    let stuck = fleet.weiche(&["rollback", "latest"]).expect(4);
    assert!(stuck.stderr.contains("/srv/data is in use") && stuck.stderr.contains("fuser"), "{}", stuck.stderr);
    assert_eq!(sh(&host, "findmnt -no TARGET /srv/data"), "/srv/data");
    host.run(&["pkill", "-fx", "sleep 4711"]);
    let _ = user.wait();
    taken_back(&fleet, &host, &before);
}

#[test]
fn a_signed_source_and_a_certificate_are_checked_by_the_real_programs() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_signed_source_and_a_certificate_are_checked_by_the_real_programs", &why);
    }
    let lab = Lab::new("signed");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = set_up(&lab, &host);
    let files = fleet.path().join("files");
    fs::create_dir_all(&files).expect("a directory");
    let keys = tempfile::tempdir().expect("a temporary directory");
    let home = keys.path().to_str().expect("UTF-8");
    let gpg =
        |arguments: &[&str], dir: &Path| tool("gpg", &[&["--batch", "--homedir", home][..], arguments].concat(), dir);
    for (name, file) in [("lab@town.example", "key.asc"), ("other@town.example", "other.asc")] {
        gpg(&["--passphrase", "", "--quick-generate-key", name, "ed25519", "sign", "never"], &files);
        gpg(&["--armor", "--output", file, "--export", name], &files);
    }
    // A source with a package that no other has.
    let source = host.root().join("srv/signed_town");
    let package = fleet.path().join("made/DEBIAN/control");
    fleet.write(
        "made/DEBIAN/control",
        "Package: wl-signed\nVersion: 1.0\nArchitecture: all\nMaintainer: Lab <lab@town.example>\nDescription: signed\n",
    );
    fleet.write("made/usr/share/wl-signed", "signed\n");
    fs::create_dir_all(&source).expect("a directory");
    let made = package.parent().and_then(Path::parent).and_then(Path::to_str).expect("a path");
    tool("dpkg-deb", &["--root-owner-group", "--build", made, "wl-signed_1.0_all.deb"], &source);
    tool("sh", &["-c", "apt-ftparchive packages . >Packages && apt-ftparchive release . >Release"], &source);
    gpg(&["--local-user", "lab@town.example", "--output", "InRelease", "--clearsign", "Release"], &source);
    tool("gpgconf", &["--homedir", home, "--kill", "all"], &files);
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=intranet.town.example";
    for (name, days) in [("tls", "90"), ("soon", "3")] {
        let more = ["-days", days, "-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")].join(" ");
        let arguments: Vec<&str> = request.split(' ').chain(more.split(' ')).collect();
        tool("openssl", &arguments, &files);
    }
    let before = manifest(&host);
    let profile = |key: &str, certificate: &str, tls: &str| {
        fleet.write(
            "profiles/kinds.yaml",
            &format!(
                "\
profile: kinds
resources:
  - certificate:
      path: /etc/ssl/certs/intranet.pem
      certificate: {{ source: {certificate}.pem }}
      key_path: /etc/ssl/private/intranet.key
      key: {{ source: {tls}.key }}
      group: nosudo
  - apt_source: {{ name: town, uris: [\"file:/srv/signed_town\"], suites: [./], key: {{ source: {key}.asc }} }}
"
            ),
        );
    };
    profile("key", "tls", "tls");
    let ran = fleet.weiche(&APPLY).expect(0);
    let secret = fs::read_to_string(files.join("tls.key")).expect("read");
    let secret = secret.lines().nth(1).expect("a line");
    assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "the key is shown");
    // The plan asks apt, so a package that only this source has belongs into a later run.
    assert!(sh(&host, "apt-get --simulate install wl-signed").contains("Inst wl-signed (1.0"));
    let policy = sh(&host, "apt-cache policy wl-signed; cat /etc/apt/sources.list.d/town.sources");
    assert!(policy.contains("file:/srv/signed_town ./") && policy.contains("Signed-By:"), "{policy}");
    let ssl =
        "cd /etc/ssl && openssl x509 -noout -subject -in certs/intranet.pem && stat -c '%a %U %G' private/intranet.key
        openssl x509 -noout -pubkey -in certs/intranet.pem >/tmp/a && openssl pkey -pubout -in private/intranet.key \
            >/tmp/b && cmp /tmp/a /tmp/b && rm /tmp/a /tmp/b";
    assert_eq!(sh(&host, ssl), "subject=CN = intranet.town.example\n640 root nosudo");
    fleet.weiche(&["plan", "converge", "hosts=all"]).expect(0);
    taken_back(&fleet, &host, &before);

    // Another key than the one that signed, another key than the certificate's, and one that ends soon.
    for (key, certificate, tls, says) in [
        ("other", "tls", "tls", "the index of the source `town` cannot be fetched"),
        ("key", "tls", "soon", "the key is not that of the certificate"),
        ("key", "soon", "soon", "in less than 14 days"),
    ] {
        profile(key, certificate, tls);
        let refused = fleet.weiche(&APPLY);
        assert!(refused.code != 0 && refused.stderr.contains(says), "{says}: {refused:?}");
        assert_same(&manifest(&host), &before, says);
    }
}

#[test]
fn a_timer_runs_its_program_and_a_unit_is_restarted_for_a_part_of_a_file() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_timer_runs_its_program_and_a_unit_is_restarted_for_a_part_of_a_file", &why);
    }
    let lab = Lab::new("timers");
    let host = lab.boot(HostOptions::named("srv"));
    let fleet = set_up(&lab, &host);
    host.run(&["apt-get", "install", "-q", "-y", "wl-server=1.0"]);
    // A timer of this name is there already, and forbidden.
    sh(
        &host,
        "printf '[Timer]\\nOnCalendar=2098-01-01\\n' >/run/systemd/system/wl-old.timer; systemctl mask wl-old.timer",
    );
    let before = manifest(&host);
    let instance = || sh(&host, "systemctl show -p InvocationID wl-server");
    let first = instance();
    fleet.write(
        "profiles/kinds.yaml",
        "\
profile: kinds
resources:
  - timer:
      name: wl-minutes
      command: [/usr/bin/touch, \"/srv/100% of $HOME \\\"here\\\"\", \"/srv/second's\"]
      user: root
      on_calendar: Mon..Fri 2099-01-01 02:30
      randomized_delay: 10min
  - ini: { path: /etc/wl-server.conf, key: greeting, value: moin }
  - ini: { path: /etc/wl-server.conf, key: colour, value: blue }
  - unit: { name: wl-server, restart_on: [ini /etc/wl-server.conf] }
",
    );
    fleet.weiche(&APPLY).expect(0);
    let second = instance();
    assert_ne!(second, first, "restarted");
    let timer = sh(
        &host,
        "systemctl is-active wl-minutes.timer; systemctl is-enabled wl-minutes.timer; \
                           systemctl show -p NextElapseUSecRealtime,RandomizedDelayUSec wl-minutes.timer",
    );
    assert!(timer.starts_with("active\nenabled\n") && timer.contains("10min"), "{timer}");
    sh(&host, "systemctl start wl-minutes.service");
    assert_eq!(sh(&host, "cd /srv && ls -1d 100* second*"), "100% of $HOME \"here\"\nsecond's");
    sh(&host, "cd /srv && rm 100* second*");
    fleet.weiche(&["plan", "converge", "hosts=all"]).expect(0);
    taken_back(&fleet, &host, &before);
    let third = instance();
    assert!(third != second && third != first, "on its old configuration again");
    assert_eq!(sh(&host, "systemctl is-active wl-server"), "active");
}
