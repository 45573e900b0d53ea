//! Directories, archives and downloads: read, unpacked and fetched by the controller, put on hosts, taken back.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;
use std::thread::JoinHandle;

use weiche_tests::sshd::Sshd;
use weiche_tests::town::Town;

/// Answers so many requests with one body, then ends.
fn serve(body: &'static str, times: usize) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/viewer.jar", listener.local_addr().expect("an address"));
    let thread = std::thread::spawn(move || {
        for _ in 0..times {
            let (mut stream, _) = listener.accept().expect("a connection");
            let lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + body).as_bytes()).expect("an answer");
        }
    });
    (url, thread)
}

/// As sha256sum(1) prints them: of `viewer\n`, and of what simulated hosts are sent.
const VIEWER: &str = "e31d7415373540ad701e59239e9f76fad08e8f89a355db78884217df6d0406dc";
const SIMULATED: &str = "ca04a5450a4f812b4d200292e6bc50e9a68fa925350243612a97e2ee2266be26";

#[test]
fn trees_archives_and_downloads_are_put_there_and_taken_back() {
    if let Err(why) = Sshd::available() {
        return weiche_tests::skip("trees_archives_and_downloads_are_put_there_and_taken_back", &why);
    }
    let hosts = ["a", "b"];
    let town = Town::new(&hosts);
    // Once for both hosts, and never again.
    let (url, server) = serve("viewer\n", 1);
    town.write(
        "profiles/office.yaml",
        &format!(
            "\
profile: office
resources:
  - tree: {{ path: /srv/forms, source: forms, purge: true, owner: www-data }}
  - archive: {{ path: /srv/app, source: app.tar.gz, strip: 1 }}
  - download: {{ path: /srv/viewer.jar, url: \"{url}\", sha256: {VIEWER}, mode: \"0755\" }}
  - download: {{ path: /srv/own.jar, url: \"https://a.example/x\", sha256: {SIMULATED}, via: host }}
"
        ),
    );
    let member = fs::read_to_string(town.fleet().join("members/rathaus.yaml")).expect("the member");
    town.write("members/rathaus.yaml", &member.replace("simulate: true }", "simulate: true }, profile: office"));
    town.write("files/forms/bau/antrag.txt", "Bauantrag\n");
    town.write("files/forms/run", "#!/bin/sh\n");
    let files = town.fleet().join("files");
    fs::set_permissions(files.join("forms/run"), fs::Permissions::from_mode(0o755)).expect("chmod");
    symlink("bau/antrag.txt", files.join("forms/antrag")).expect("link");
    town.write("made/app-1.0/lib/part.txt", "part\n");
    let mut tar = Command::new("tar");
    tar.args(["-czf", "files/app.tar.gz", "-C", "made", "app-1.0"]).current_dir(town.fleet());
    assert!(tar.status().expect("run tar").success());
    // Others' files in the way, on one host: purged, and brought back.
    fs::create_dir_all(town.root("a").join("srv/forms/old/deep")).expect("make a directory");
    fs::write(town.root("a").join("srv/forms/old/deep/file"), "not ours\n").expect("write");
    symlink("/etc", town.root("a").join("srv/forms/bau")).expect("link");
    fs::write(town.root("b").join("srv/viewer.jar"), "an older one\n").expect("write");
    let before = town.manifests(&hosts);

    town.weiche(&["check"]).expect(0);
    let plan = town.weiche(&["plan", "converge", "hosts=all"]).expect(2);
    assert!(plan.stdout.contains("- /srv/forms/old/deep/file"), "{}", plan.stdout);
    assert!(plan.stdout.contains("+ /srv/app/lib/part.txt"), "{}", plan.stdout);
    assert_eq!(town.manifests(&hosts), before, "a plan changes nothing");
    town.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(0);
    server.join().expect("the server was asked");
    for host in hosts {
        let root = town.root(host);
        assert_eq!(fs::read_to_string(root.join("srv/forms/antrag")).expect("a link"), "Bauantrag\n");
        assert_eq!(fs::metadata(root.join("srv/forms/run")).expect("it").permissions().mode() & 0o777, 0o755);
        assert!(!root.join("srv/forms/old").exists());
        assert_eq!(fs::read_to_string(root.join("srv/app/lib/part.txt")).expect("it"), "part\n");
        assert_eq!(fs::read_to_string(root.join("srv/viewer.jar")).expect("it"), "viewer\n");
    }
    let again = town.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(0);
    assert!(again.stdout.contains("Nothing to change"), "{}", again.stdout);
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&hosts), before, "taken back");
    // From the cache: the server is gone.
    town.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(0);
    town.weiche(&["rollback", "latest"]).expect(0);
    assert_eq!(town.manifests(&hosts), before, "taken back again");

    // What cannot be used is said before anything happens.
    symlink("../../weiche.yaml", files.join("forms/out")).expect("link");
    let refused = town.weiche(&["apply", "converge", "hosts=all", "--yes"]).expect(1);
    assert!(refused.stderr.contains("leads out of the directory"), "{}", refused.stderr);
    fs::remove_file(files.join("forms/out")).expect("remove");
    let profile = fs::read_to_string(town.fleet().join("profiles/office.yaml")).expect("the profile");
    town.write("profiles/office.yaml", &format!("{profile}  - file: {{ path: /srv/forms/run, content: x }}\n"));
    let refused = town.weiche(&["plan", "converge", "hosts=all"]).expect(1);
    assert!(refused.stderr.contains("two resources own path /srv/forms/run"), "{}", refused.stderr);
    assert_eq!(town.manifests(&hosts), before, "refused");
}
