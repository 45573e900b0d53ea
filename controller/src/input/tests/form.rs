//! Mistakes of form: keys, kinds, types, and YAML itself.

use std::io::Write as _;

use super::*;
use crate::input::load::load;

#[test]
fn unknown_key() {
    let text = CONFIG.replace("timezone", "time_zone");
    insta::assert_snapshot!(spoiled("weiche.yaml", text), @r###"
  x unknown key `time_zone`
   ,-[weiche.yaml:2:1]
 1 | fleet: test
 2 | time_zone: Europe/Berlin
   : ^^^^^^^^^
 3 | ssh: { user: weiche }
   `----
  help: did you mean `timezone`?

1 error
"###);
}

#[test]
fn unknown_key_of_a_resource() {
    let text = PROFILE.replace("path:", "pth:");
    insta::assert_snapshot!(spoiled("profiles/demo.yaml", text), @r###"
  x `file` has no key `pth`
   ,-[profiles/demo.yaml:5:13]
 4 | resources:
 5 |   - file: { pth: /etc/motd, content: "{{greeting}} {{host.name}}\n" }
   :             ^^^
   `----
  help: did you mean `path`?

1 error
"###);
}

#[test]
fn unknown_kind() {
    let text = PROFILE.replace("file:", "fiel:");
    insta::assert_snapshot!(spoiled("profiles/demo.yaml", text), @r###"
  x unknown key `profiel`
   ,-[profiles/demo.yaml:1:1]
 1 | profiel: demo
   : ^^^^^^^
 2 | parameters:
   `----
  help: did you mean `profile`?

  x unknown kind `fiel`
   ,-[profiles/demo.yaml:5:5]
 4 | resources:
 5 |   - fiel: { path: /etc/motd, content: "{{greeting}} {{host.name}}\n" }
   :     ^^^^
   `----
  help: did you mean `file`?

2 errors
"###);
}

#[test]
fn unknown_step() {
    let text = "playbook: x\nstages: [ { stage: a, on: all, steps: [ { aply: demo } ] } ]\n";
    insta::assert_snapshot!(spoiled("playbooks/x.yaml", text), @r###"
  x unknown kind `aply`
   ,-[playbooks/x.yaml:2:43]
 1 | playbook: x
 2 | stages: [ { stage: a, on: all, steps: [ { aply: demo } ] } ]
   :                                           ^^^^
   `----
  help: did you mean `apply`?

1 error
"###);
}

#[test]
fn unquoted_mode() {
    let text = PROFILE.replace("path: /etc/motd,", "path: /etc/motd, mode: 0644,");
    insta::assert_snapshot!(spoiled("profiles/demo.yaml", text), @r###"
  x `mode`: expected a text, found the number 0644
   ,-[profiles/demo.yaml:5:36]
 4 | resources:
 5 |   - file: { path: /etc/motd, mode: 0644, content: "{{greeting}} {{host.name}}\n" }
   :                                    ^^^^
   `----
  help: put it in quotes: "0644"

1 error
"###);
}

#[test]
fn wrong_types() {
    let text = MEMBER.replace("name: Alpha", "name: 7").replace("name: pc-1,", "name: pc-1, port: many, labels: x,");
    insta::assert_snapshot!(spoiled("members/alpha.yaml", text), @r###"
  x expected a text, found the number 7
   ,-[members/alpha.yaml:2:7]
 1 | member: alpha
 2 | name: 7
   :       ^
 3 | sites: { rathaus: { address: Main Street } }
   `----
  help: put it in quotes: "7"

  x expected a whole number from 0 to 65535, found the text `many`
   ,-[members/alpha.yaml:8:25]
 7 | pcs:
 8 |   - { name: pc-1, port: many, labels: x, site: rathaus }
   :                         ^^^^
   `----

  x expected a list, found the text `x`
   ,-[members/alpha.yaml:8:39]
 7 | pcs:
 8 |   - { name: pc-1, port: many, labels: x, site: rathaus }
   :                                       ^
   `----
  help: write a list: [ x ]

3 errors
"###);
}

#[test]
fn bad_values() {
    let text = MEMBER
        .replace("192.0.2.11", "192.0.2.300")
        .replace("AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, replaces", "AAAA, replaces");
    insta::assert_snapshot!(spoiled("members/alpha.yaml", text), @r###"
  x `192.0.2.300` is neither an IP address nor a DNS name
   ,-[members/alpha.yaml:5:30]
 4 | servers:
 5 |   - { name: fs-old, address: 192.0.2.300, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, profile: demo }
   :                              ^^^^^^^^^^^
 6 |   - { name: fs-new, address: 192.0.2.12, host_key: ssh-ed25519 AAAA, replaces: fs-old }
   `----
  help: write e.g. 192.0.2.11, "2001:db8::11" or fs.example; a port goes into `port`

  x this is no public key in OpenSSH's form (length invalid)
   ,-[members/alpha.yaml:6:52]
 5 |   - { name: fs-old, address: 192.0.2.300, host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL/hjfYrrQpY+sA8hC8sWQTyLtbZq4rkFlfVKRjnqfS7, profile: demo }
 6 |   - { name: fs-new, address: 192.0.2.12, host_key: ssh-ed25519 AAAA, replaces: fs-old }
   :                                                    ^^^^^^^^^^^^^^^^
 7 | pcs:
   `----
  help: copy the line from /etc/ssh/ssh_host_ed25519_key.pub of that host

2 errors
"###);
}

#[test]
fn missing_key() {
    let text = MEMBER.replace("name: pc-1,", "serial: X,");
    insta::assert_snapshot!(spoiled("members/alpha.yaml", text), @r###"
  x the key `name` is missing here
   ,-[members/alpha.yaml:8:7]
 7 | pcs:
 8 |   - { serial: X, site: rathaus }
   :       ^^^^^^
   `----
  help: add `name: ...`

1 error
"###);
}

#[test]
fn duplicate_key() {
    let text = format!("{CONFIG}fleet: again\n");
    insta::assert_snapshot!(spoiled("weiche.yaml", text), @r###"
  x the key `fleet` is there twice
   ,-[weiche.yaml:1:1]
 1 | fleet: test
   : ^^|^^
   :   `-- first here
 2 | timezone: Europe/Berlin
 3 | ssh: { user: weiche }
 4 | fleet: again
   : ^^^^^
   `----
  help: remove one of them

1 error
"###);
}

#[test]
fn tab() {
    insta::assert_snapshot!(spoiled("profiles/demo.yaml", "profile: demo\nresources:\n\t- file: { path: /x }\n"), @r###"
  x a tab is used for indentation
   ,-[profiles/demo.yaml:3:1]
 2 | resources:
 3 |     - file: { path: /x }
   : ^^^^
   `----
  help: YAML is indented with spaces only

1 error
"###);
}

#[test]
fn billion_laughs() {
    let mut text = String::from("a0: &a0 [lol]\n");
    for n in 1..30 {
        let last = n - 1;
        text.push_str(&format!(
            "a{n}: &a{n} [*a{last}, *a{last}, *a{last}, *a{last}, *a{last}, *a{last}, *a{last}, *a{last}]\n"
        ));
    }
    insta::assert_snapshot!(spoiled("profiles/demo.yaml", text), @r###"
  x the document is too large or nested too deeply (recorded anchor events)
   ,-[profiles/demo.yaml:1:9]
 1 | a0: &a0 [lol]
   :         ^
 2 | a1: &a1 [*a0, *a0, *a0, *a0, *a0, *a0, *a0, *a0]
   `----
  help: split it; aliases (`*name`) multiply: write the values out

1 error
"###);
}

#[test]
fn deep_nesting() {
    let text = format!("profile: {}", "[".repeat(10_000));
    insta::assert_snapshot!(spoiled("profiles/demo.yaml", text).lines().next().unwrap_or_default(), @r#"  x this is not valid YAML: recursion limit exceeded"#);
}

#[test]
fn broken_yaml() {
    insta::assert_snapshot!(spoiled("profiles/demo.yaml", "profile: demo\nresources: [\n"), @r###"
  x this is not valid YAML: unclosed bracket '['
   ,-[profiles/demo.yaml:2:12]
 1 | profile: demo
 2 | resources: [
   :            ^
   `----
  help: is the indentation right, and are texts with `:`, `#`, `{` or `*` in quotes?

1 error
"###);
}

#[test]
fn not_utf8_and_unreadable() {
    let directory = Scratch::new("utf8");
    directory.write("weiche.yaml", CONFIG.as_bytes());
    directory.write("members/alpha.yaml", b"member: alpha\nname: Stra\xdfe\n");
    directory.write("members/beta.yaml/x", b"");
    directory.write("profiles/demo.yaml", PROFILE.as_bytes());
    let failure = load(&directory.0).unwrap_err();
    insta::assert_snapshot!(failure.render(false), @r###"
  x the file is not UTF-8 from byte 24 on
   ,-[members/alpha.yaml:2:11]
 1 | member: alpha
 2 | name: Stra�e
   :           ^
   `----
  help: save it as UTF-8; it was probably written as Windows-1252 or Latin-1

  x members/beta.yaml: the file cannot be read: it is no regular file
  help: may you read it?

2 errors
"###);
}

#[test]
fn no_fleet_at_all() {
    let directory = Scratch::new("empty");
    let failure = load(&directory.0).unwrap_err();
    insta::assert_snapshot!(failure.render(false), @r###"
  x weiche.yaml: there is no such file
  help: is this the fleet's directory? See docs/fleet.md for what `weiche.yaml` holds

1 error
"###);
}

#[test]
fn links_lead_nowhere() {
    use crate::input::files::FileFault;
    use crate::input::load::DiskFiles;
    let directory = Scratch::new("links");
    directory.write("files/a", b"x");
    std::os::unix::fs::symlink("a", directory.0.join("files/inside")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", directory.0.join("files/outside")).unwrap();
    let files = DiskFiles::new(&directory.0);
    assert_eq!(files.text("inside"), Ok("x".to_owned()));
    assert_eq!(files.text("outside"), Err(FileFault::Outside("outside".into())));
    assert_eq!(files.digest("missing"), Err(FileFault::Missing("missing".into())));
    assert_eq!(files.digest("a"), Ok((Digest::of(b"x"), 1)));
}

/// A directory that is removed at the end of its test.
pub(super) struct Scratch(pub(super) std::path::PathBuf);

impl Scratch {
    #[expect(clippy::disallowed_methods, reason = "shell")]
    pub(super) fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("weiche-input-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    #[expect(clippy::disallowed_methods, reason = "shell")]
    pub(super) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().write_all(bytes).unwrap();
    }
}

impl Drop for Scratch {
    #[expect(clippy::disallowed_methods, reason = "shell")]
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
