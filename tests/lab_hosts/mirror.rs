//! A directory changes its server and comes back, by rsync between two real servers: everything that a file system knows
//! of a file comes along, nothing that users write is lost, and nothing is left behind.

use std::collections::HashSet;
use std::fs;

use weiche_tests::lab::{HostOptions, Lab, LabHost};
use weiche_tests::until;

use crate::fleet::{Fleet, assert_same, etc};

/// Keys made for this test: files of the private one and its text, and the public one.
pub(crate) struct Key {
    pub(crate) private: String,
    pub(crate) public: String,
}

/// What a fleet's playbooks are written with.
pub(crate) struct Town<'a> {
    fleet: Fleet<'a>,
    old: &'a LabHost,
    new: &'a LabHost,
    /// Of the copy, and of the reverse feed.
    keys: [Key; 2],
}

fn key() -> Key {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("key");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "mirror", "-f"])
        .arg(&path)
        .status()
        .expect("run ssh-keygen");
    assert!(made.success());
    let read = |path| fs::read_to_string(path).expect("read");
    Key { private: read(path.clone()), public: read(path.with_extension("pub")).trim().to_owned() }
}

impl<'a> Town<'a> {
    pub(crate) fn new(lab: &'a Lab, old: &'a LabHost, new: &'a LabHost) -> Town<'a> {
        let fleet = Fleet::new(lab, "root", &[(old, "base"), (new, "base")]).impatient();
        for host in [old, new] {
            host.run(&["apt-get", "install", "-q", "-y", "rsync", "acl"]);
        }
        Town { fleet, old, new, keys: [key(), key()] }
    }

    /// Steps that let `to` read a directory of `from`.
    fn let_in(&self, [from, to]: [&str; 2], key: &Key) -> String {
        let address = if to == "old" { self.old.address } else { self.new.address };
        let conf = "uid = 0\ngid = 0\nuse chroot = no\nmunge symlinks = no\nnumeric ids = no\nreverse lookup = no\n\
                    max verbosity = 0\n[data]\npath = /srv/files\nread only = yes\nlist = no\n";
        let command = "rsync --server --daemon --config=/etc/weiche/mirror/files/rsyncd.conf .";
        let options = format!("restrict,from=\"{address}\",command=\"{command}\"");
        self.directories(from)
            + &step(
                from,
                &format!("file: {{ path: /etc/weiche/mirror/files/rsyncd.conf, content: {conf:?}, mode: \"0600\" }}"),
            )
            + &step(from, &format!("authorized_key: {{ user: root, key: {:?}, options: {options:?} }}", key.public))
    }

    /// Steps that let `to` go to `from`.
    fn go_in(&self, [from, to]: [&str; 2], key: &Key) -> String {
        let host = if from == "old" { self.old } else { self.new };
        let known = format!("{} {}\n", host.address, host.host_key.trim());
        let file = |name: &str, text: &str, more: &str| {
            step(
                to,
                &format!("file: {{ path: /etc/weiche/mirror/files/{name}, content: {text:?}, mode: \"0600\"{more} }}"),
            )
        };
        self.directories(to) + &file("key", &key.private, ", sensitive: true") + &file("known_hosts", &known, "")
    }

    fn directories(&self, on: &str) -> String {
        let paths = ["/etc/weiche", "/etc/weiche/mirror", "/etc/weiche/mirror/files"];
        paths.map(|path| step(on, &format!("directory: {{ path: {path}, mode: \"0700\" }}"))).concat()
    }

    fn follow(&self, [from, to]: [&str; 2], more: &str) -> String {
        let address = if from == "old" { self.old.address } else { self.new.address };
        step(
            to,
            &format!("mirror: {{ name: files, path: /srv/files, mode: follow, of: {{ address: {address} }}{more} }}"),
        )
    }

    /// A stage of that name; on the new server alone where no step is on the old one.
    fn playbook(&self, name: &str, steps: &str) {
        let both = steps.contains("        on: old\n");
        let (on, steps) =
            if both { ("[old, new]", steps.into()) } else { ("new", steps.replace("        on: new\n", "")) };
        let inputs = "inputs: { old: host, new: host }";
        self.fleet.write(
            &format!("playbooks/{name}.yaml"),
            &format!("playbook: {name}\n{inputs}\nstages:\n  - stage: {name}\n    on: {on}\n    steps:\n{steps}"),
        );
    }

    /// Both directions, in the order in which a swap has them.
    pub(crate) fn playbooks(&self, more: &str) {
        let [there, back] = [["old", "new"], ["new", "old"]];
        let presync = self.let_in(there, &self.keys[0]) + &self.go_in(there, &self.keys[0]) + &self.follow(there, more);
        self.playbook("presync", &presync);
        let own = step("new", "mirror: { name: files, path: /srv/files, mode: own }");
        self.playbook("forward", &own);
        let reverse = self.let_in(back, &self.keys[1]).replacen(&self.directories("new"), "", 1)
            + &own
            + &self.go_in(back, &self.keys[1]).replacen(&self.directories("old"), "", 1)
            + &self.follow(back, ", data: own, every: 1s");
        self.playbook("cutover", &reverse);
    }

    fn apply(&self, name: &str) -> Vec<String> {
        ["apply", name, "old=rathaus/old", "new=rathaus/new", "--yes"].map(str::to_owned).to_vec()
    }

    /// The key of the copy.
    pub(crate) fn key(&self) -> &Key {
        &self.keys[0]
    }

    /// Applies a playbook; its events, an object a line.
    pub(crate) fn json(&self, name: &str) -> String {
        let mut words = vec!["--json".to_owned()];
        words.extend(self.apply(name));
        self.fleet.weiche(&words.iter().map(String::as_str).collect::<Vec<_>>()).expect(0).stdout
    }

    /// Rolls the newest run of a playbook back.
    fn take_back(&self, name: &str, more: &[&str], code: i32) {
        let runs = self.fleet.weiche(&["status", "--json"]).expect(0).stdout;
        let mut runs = runs.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        let run = runs.find(|run| run["playbook"] == name).expect("a run");
        let words = [&["rollback", run["run"].as_str().expect("its name")], more].concat();
        self.fleet.weiche(&words).expect(code);
    }

    fn run(&self, name: &str, code: i32) -> String {
        let words = self.apply(name);
        self.fleet.weiche(&words.iter().map(String::as_str).collect::<Vec<_>>()).expect(code).stderr
    }
}

fn step(on: &str, what: &str) -> String {
    format!("      - {what}\n        on: {on}\n")
}

/// All that a file system knows of the users' files but for inode numbers and the sizes of directories, in a form that
/// two hosts can be compared by.
pub(crate) fn files(host: &LabHost) -> String {
    let script = r"cd /srv/files || exit 0
        find . ! -type d -printf '%P|%y|%m|%u|%g|%s|%T@|%l|%n\n' | sort
        find . -type d -printf '%P|%y|%m|%u|%g|%T@|%n\n' | grep -av '^lost' | sort
        find . -type f -size +1M -printf '%P %b %s\n' | awk '$2 * 512 < $3 { print $1, $2, $3 }' | sort
        find . -type f -links +1 -printf '%i %P\n' | sort | awk '{ n[$1] = n[$1] $2 } END { for (i in n) print n[i] }' | sort
        find . -type f -print0 | sort -z | xargs -0 sha256sum
        getfacl -R -p . 2>/dev/null; getfattr -R -d -h -m '^user' . 2>/dev/null";
    String::from_utf8_lossy(&host.exec(&["sh", "-c", script]).stdout).into_owned()
}

/// What a mirror could leave behind, besides `/etc` and `/srv`.
fn seen(host: &LabHost) -> String {
    let script = "ls -A /srv /etc/systemd/system; systemctl list-units --all --plain --no-legend 'weiche-mirror*'";
    format!("{}\n{}\n{}", host.run(&["sh", "-c", script]), etc(host), files(host))
}

/// Everything that is not easily copied.
fn fill(old: &LabHost, new: &LabHost) {
    // The same names with other numbers.
    for (host, number) in [(old, "2001"), (new, "3001")] {
        host.run(&["groupadd", "-g", number, "council"]);
        host.run(&["useradd", "-u", number, "-g", "council", "clerk"]);
    }
    let script = r"mkdir -p /srv/files/deep/er && cd /srv/files && chown clerk:council . deep && chmod 2770 deep
        echo minutes >deep/minutes && chown clerk:council deep/minutes && ln deep/minutes deep/er/same
        setfacl -m u:clerk:rw,g:council:r deep/minutes && setfacl -d -m g:council:rwx deep
        setfattr -n user.note -v kept deep/minutes && truncate -s 8M deep/holes && echo end >>deep/holes
        ln -s /nowhere link && printf x >'two
lines' && printf y >$(printf 'not\377utf8') && printf z >'-odd \#012 name' && mkfifo deep/pipe
        head -c 3000000 /dev/urandom >big && touch -d 2001-02-03 big && echo 999 >number && chown 4444:4444 number";
    old.run(&["sh", "-c", script]);
    new.run(&["sh", "-c", "mkdir /srv/files && echo mine >/srv/files/mine && chmod 700 /srv/files"]);
}

#[test]
fn a_directory_changes_its_server_and_comes_back_without_losing_a_write() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_directory_changes_its_server_and_comes_back_without_losing_a_write", &why);
    }
    let lab = Lab::new("mirror");
    let hosts = lab.boot_all(&["old", "new"].map(HostOptions::named));
    let [old, new] = hosts.as_slice() else { panic!("two hosts") };
    let town = Town::new(&lab, old, new);
    fill(old, new);
    let before = [seen(old), seen(new)];
    town.playbooks(", every: 1s");

    // What is not there yet is told before anything changes.
    town.playbook("early", &(town.go_in(["old", "new"], &town.keys[0]) + &town.follow(["old", "new"], "")));
    let said = town.run("early", 3);
    assert!(said.contains("Permission denied (publickey"), "{said}");
    assert_same(&seen(new), &before[1], "new, refused");

    let said = town.run("presync", 0);
    assert!(said.contains("compared by digest: no file differs"), "{said}");
    assert_same(&files(new), &files(old), "the copy");
    assert!(new.root().join("srv/files.weiche-aside-files/mine").exists());
    // While it follows it is brought up to date.
    old.run(&["sh", "-c", "echo later >/srv/files/later; rm /srv/files/link"]);
    until("the copy follows", || files(new) == files(old));
    // Written twice within a second, with the same length.
    let write = "printf $0 >/srv/files/twice && touch -d \"2026-01-02 03:04:05.$1\" /srv/files/twice";
    old.run(&["sh", "-c", write, "one", "1"]);
    until("the copy follows", || files(new) == files(old));
    old.run(&["sh", "-c", write, "two", "9"]);
    until("the copy follows", || files(new) == files(old));
    key_can_do_nothing_else(&town);
    what_looks_empty_empties_nothing(&town);

    // Over to the new server, and the old one follows.
    old.run(&[
        "sh",
        "-c",
        "echo last >>/srv/files/deep/minutes; echo x >\"$(printf '/srv/files/l\\303\\244st\\n\\377')\"",
    ]);
    let said = town.run("cutover", 0);
    assert!(said.contains("nothing differs"), "{said}");
    assert_same(&files(new), &files(old), "the last round");
    assert!(!new.root().join("etc/systemd/system/weiche-mirror-files.timer").exists());
    new.run(&["sh", "-c", "echo new >/srv/files/written; echo more >>/srv/files/deep/minutes; rm /srv/files/number"]);
    until("the old server follows", || files(old) == files(new));
    old.run(&["systemctl", "stop", "weiche-mirror-files.timer"]);
    new.run(&["sh", "-c", "echo just >/srv/files/before; mkdir /srv/files/dir"]);
    old.run(&["systemctl", "start", "weiche-mirror-files.timer"]);
    let written = files(new);

    // Back: what was written on the new server is on the old one.
    town.fleet.weiche(&["rollback", "latest"]).expect(0);
    assert_same(&files(old), &written, "nothing is lost");
    assert!(new.root().join("etc/weiche/mirror/files/follows.json").exists(), "the new server follows again");
    old.run(&["sh", "-c", "echo again >/srv/files/again"]);
    until("the copy follows again", || files(new) == files(old));
    let now = files(old);
    town.take_back("presync", &[], 0);
    assert_same(&seen(new), &before[1], "new, taken back");
    assert_same(&files(old), &now, "the users' files");
    // Of the users' files there are others now; of everything else nothing is new and nothing gone.
    old.run(&["rm", "-r", "/srv/files"]);
    let now = seen(old);
    let (then, now): (HashSet<&str>, HashSet<&str>) = (before[0].lines().collect(), now.lines().collect());
    let (ours, more): (Vec<&&str>, Vec<&&str>) = (then.difference(&now).collect(), now.difference(&then).collect());
    assert!(more.iter().all(|line| line.starts_with("/srv ")), "{more:?}");
    assert!(!ours.iter().any(|line| line.contains("/etc/") || line.contains("/root/")), "{ours:?}");
}

/// The volume of the source is not mounted, or one below it: the copy keeps all, whoever makes the round.
fn what_looks_empty_empties_nothing(town: &Town<'_>) {
    let (old, new) = (town.old, town.new);
    let service = "weiche-mirror-files.service";
    let status = || new.run(&["systemctl", "show", "-P", "ExecMainStatus", service]);
    let told = |what: &str| {
        let log = new.run(&["journalctl", "-q", "-p", "err", "-o", "cat", "-u", service]);
        assert!(log.contains(what), "{log}");
        // While the next round is under way there is nothing to tell.
        until("drift tells", || {
            let said = town.fleet.weiche(&["drift"]);
            said.code == 2 && said.stdout.contains("it is not brought up to date")
        });
    };
    old.run(&["sh", "-c", "mkdir /srv/files/many && cd /srv/files/many && touch $(seq 1500)"]);
    until("the copy follows", || files(new) == files(old));
    let have = files(new);
    old.run(&["sh", "-c", "mv /srv/files /srv/away && mkdir -p -m 2770 /srv/files/lost+found"]);
    until("an empty source is refused", || status() == "40");
    told("shows an empty directory, and /srv/files is not empty; is its volume mounted?");
    let said = town.run("forward", 3);
    assert!(said.contains("shows an empty directory, and /srv/files is not empty"), "{said}");
    assert_same(&files(new), &have, "nothing is deleted");

    old.run(&["sh", "-c", "rm -r /srv/files && mv /srv/away /srv/files && mv /srv/files/many /srv/many"]);
    until("too little is refused", || status() == "25");
    told("entries of /srv/files are not on");
    assert_same(&files(new), &have, "nothing is deleted");
    old.run(&["mv", "/srv/many", "/srv/files/many"]);
    until("the copy goes on", || status() == "0" && files(new) == files(old));
    town.fleet.weiche(&["drift"]).expect(0);
    // Whoever tidies up bit by bit is not asked.
    for some in ["/srv/files/many/[1-8]??", "/srv/files/many"] {
        old.run(&["sh", "-c", &format!("rm -r {some}")]);
        until("the copy follows", || files(new) == files(old));
    }
}

/// With the key that is in it: no command, no other directory, no writing, no forwarding.
fn key_can_do_nothing_else(town: &Town<'_>) {
    let dir = "/etc/weiche/mirror/files";
    let ssh = format!(
        "ssh -F none -i {dir}/key -o IdentitiesOnly=yes -o UserKnownHostsFile={dir}/known_hosts -o BatchMode=yes"
    );
    let try_it = |script: &str| {
        let script = script.replace("SSH", &ssh).replace("OLD", &town.old.address.to_string());
        let output = town.new.exec(&["sh", "-c", &script]);
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    assert!(try_it("rsync -e 'SSH' OLD::data/big /tmp/big && test -s /tmp/big").0, "what it is for");
    for script in [
        "timeout 20 SSH root@OLD id | grep uid=",
        "timeout 20 SSH root@OLD 'cat /etc/shadow' | grep root:",
        "timeout 20 rsync -e 'SSH' root@OLD:/etc/shadow /tmp/shadow",
        "timeout 20 rsync -e 'SSH' OLD::data/../../etc/shadow /tmp/shadow",
        "timeout 20 rsync -e 'SSH' OLD:: | grep data",
        "timeout 20 rsync -e 'SSH' /etc/hostname OLD::data/hostname",
        "timeout 20 SSH -N -o ExitOnForwardFailure=yes -R 7777:localhost:22 root@OLD",
    ] {
        let (done, said) = try_it(script);
        assert!(!done, "{script}: {said}");
    }
    assert!(!town.old.root().join("srv/files/hostname").exists());
    assert!(!town.new.exec(&["test", "-e", "/tmp/shadow"]).status.success());
}

#[test]
fn what_is_only_on_the_new_server_is_not_taken_back() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("what_is_only_on_the_new_server_is_not_taken_back", &why);
    }
    let lab = Lab::new("mirror-only");
    let hosts = lab.boot_all(&["old", "new"].map(HostOptions::named));
    let [old, new] = hosts.as_slice() else { panic!("two hosts") };
    let town = Town::new(&lab, old, new);
    fill(old, new);
    let before = seen(new);
    town.playbooks("");
    town.run("presync", 0);
    town.run("forward", 0);

    // Untouched since: it can go back, though the other server is not to be reached for it.
    old.run(&["chmod", "000", "/etc/weiche/mirror/files/rsyncd.conf"]);
    old.run(&["mv", "/srv/files", "/srv/elsewhere"]);
    town.fleet.weiche(&["rollback", "latest"]).expect(0);
    old.run(&["mv", "/srv/elsewhere", "/srv/files"]);
    old.run(&["chmod", "600", "/etc/weiche/mirror/files/rsyncd.conf"]);

    town.run("forward", 0);
    new.run(&["sh", "-c", "echo new >/srv/files/written"]);
    let written = files(new);
    let said = town.fleet.weiche(&["rollback", "latest"]).expect(4).stderr;
    assert!(said.contains("STUCK") && said.contains("written"), "{said}");
    assert_same(&files(new), &written, "it stays");
    // Who wants it all the same keeps it.
    let said = town.fleet.weiche(&["rollback", "latest", "--take-back-anyway"]).expect(4).stderr;
    assert!(
        said.contains("2 entries differ from") && said.contains("~ /etc/weiche/mirror/files/follows.json"),
        "{said}"
    );
    // A last round would remove it.
    let said = town.run("forward", 3);
    assert!(said.contains("what /srv/files holds may be nowhere else"), "{said}");
    // Who lets it follow again keeps it as well, beside the directory; what is proven then is in doubt again if taken back.
    let presync = fs::read_to_string(town.fleet.path().join("playbooks/presync.yaml")).expect("read");
    town.fleet.write("playbooks/again.yaml", &presync.replacen("playbook: presync", "playbook: again", 1));
    let said = town.run("again", 0);
    assert!(said.contains("may be nowhere else is now in /srv/files.weiche-left-files"), "{said}");
    assert_same(&files(new), &files(old), "it follows again");
    assert_eq!(new.run(&["cat", "/srv/files.weiche-left-files/written"]), "new");
    new.run(&["rm", "-r", "/srv/files.weiche-left-files"]);
    new.run(&["sh", "-c", "echo new >/srv/files/written"]);
    town.fleet.weiche(&["rollback", "latest"]).expect(0);
    town.take_back("presync", &[], 4);
    town.take_back("presync", &["--take-back-anyway"], 0);
    assert_eq!(new.run(&["cat", "/srv/files.weiche-left-files/written"]), "new");
    new.run(&["rm", "-r", "/srv/files.weiche-left-files"]);
    assert_same(&seen(new), &before, "new, taken back");
}

#[test]
fn a_copy_goes_on_when_the_line_is_back_and_goes_when_the_agent_is_killed() {
    if let Err(why) = Lab::available() {
        return weiche_tests::skip("a_copy_goes_on_when_the_line_is_back_and_goes_when_the_agent_is_killed", &why);
    }
    let lab = Lab::new("mirror-cut");
    let hosts = lab.boot_all(&["old", "new"].map(HostOptions::named));
    let [old, new] = hosts.as_slice() else { panic!("two hosts") };
    let town = Town::new(&lab, old, new);
    fill(old, new);
    old.run(&["sh", "-c", "head -c 12000000 /dev/urandom >/srv/files/huge"]);
    let before = [seen(old), seen(new)];
    // A limit that holds all day, so that there is time to come in between.
    town.playbooks(", bandwidth: [{ from: \"00:00\", to: \"00:00\", limit: 1 MiB }]");
    let copying = || new.exec(&["sh", "-c", "ls -A /srv/files | grep -q '^[.]huge'"]).status.success();

    // The line between the two is cut while the biggest file is on its way.
    let words = town.apply("presync");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let apply = town.fleet.start(&words);
    until("the biggest file is on its way", copying);
    new.run(&["pkill", "-x", "ssh"]);
    let said = apply.end().expect(0).stderr;
    assert!(said.contains("the line is cut after") && said.contains("trying again"), "{said}");
    assert_same(&files(new), &files(old), "the copy");
    town.fleet.weiche(&["rollback", "latest"]).expect(0);
    assert_same(&seen(new), &before[1], "new, taken back");
    assert_same(&seen(old), &before[0], "old, taken back");

    let apply = town.fleet.start(&words);
    until("the biggest file is on its way again", copying);
    new.run(&["pkill", "-KILL", "-x", "weiche-agent"]);
    // What an agent leaves running is waited for.
    new.run(&["pkill", "-x", "rsync"]);
    apply.end().expect(3);
    assert_same(&seen(new), &before[1], "new, killed");
    assert_same(&seen(old), &before[0], "old, killed");
}
