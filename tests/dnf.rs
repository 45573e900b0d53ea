//! `package` with a real dnf and rpm: the machine's own system under an overlay in which there is no apt, so that the
//! agent takes dnf, and a repository of small packages. What a run did is taken back, also when dnf was killed half-way
//! and when the repository no longer has the old versions.

#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use weiche_agent::protocol::{Frame, Reply, Request, RunId, Status, Step, StepId, read_frame, write_message};
use weiche_tests::disk::{Disk, alone, available, run};

/// Builds the repository `/srv/rpm`. `council-slow` kills the dnf that installs it, once for each file `/kill-VERSION`.
const BUILD: &str = r#"set -eu
mkdir -p /srv/rpm /etc/yum.repos.d /tmp/build
printf '[town]\nname=town\nbaseurl=file:///srv/rpm\ngpgcheck=0\n' >/etc/yum.repos.d/town.repo
package() { # name version, lines of the head
    {
        printf 'Name: %s\nVersion: %s\nRelease: 1\nSummary: a test\nLicense: none\nBuildArch: noarch\n' "$1" "$2"
        printf 'AutoReqProv: no\n%s\n%%description\na test\n%%install\n' "$3"
        echo "mkdir -p %{buildroot}/etc %{buildroot}/usr/share/$1"
        echo "echo 'text of $2' >%{buildroot}/etc/$1.conf; echo $2 >%{buildroot}/usr/share/$1/version"
        echo "touch %{buildroot}/usr/share/$1/only-$2"
        if [ "$1" = council-slow ]; then
            echo '%post -p <lua>'
            echo "if posix.access('/kill-$2') then"
            echo "posix.unlink('/kill-$2') posix.kill(posix.getprocessid('pid'), 9) end"
        fi
        printf '%%files\n%%config(noreplace) /etc/%s.conf\n/usr/share/%s\n' "$1" "$1"
    } >/tmp/build/spec
    rpmbuild --quiet -bb --define '_topdir /tmp/build' --define '_rpmdir /srv/rpm' \
        --define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' /tmp/build/spec
}
package council-lib 1.0 ''
package council-lib 2.0 ''
package council-extra 1.0 ''
package council-app 1.0 'Epoch: 1
Requires: council-lib'
package council-app 2.0 'Epoch: 1
Requires: council-lib >= 2.0, council-extra
Obsoletes: council-old'
package council-old 1.0 'Provides: council-alias'
package council-slow 1.0 ''
package council-slow 2.0 ''
createrepo_c --quiet /srv/rpm
"#;

/// All that must be as before: packages, who asked for them, and their files.
const LOOK: &str = r"rpm -qa --qf '%{NAME}-%{EPOCHNUM}:%{VERSION}-%{RELEASE}.%{ARCH}\n' | sort
dnf -q --disablerepo='*' repoquery --userinstalled | sort
cd / && find etc/council* usr/share/council* | sort | while read -r path; do
    stat -c '%n %F %a %u:%g' $path; [ -d $path ] || cat $path
done";

/// A host that has dnf.
struct Host {
    disk: Disk,
}

impl Host {
    /// Within [`alone`].
    fn new() -> Host {
        let host = Host { disk: Disk::tmpfs("size=512m") };
        for dir in ["upper", "work", "root"] {
            fs::create_dir(host.disk.path().join(dir)).unwrap();
        }
        let at = host.disk.path().display().to_string();
        let root = host.root().display().to_string();
        let layers = format!("lowerdir=/,upperdir={at}/upper,workdir={at}/work");
        run("mount", &["-t", "overlay", "-o", &layers, "overlay", &root]);
        run("mount", &["--rbind", "/dev", &format!("{root}/dev")]);
        run("mount", &["-t", "proc", "proc", &format!("{root}/proc")]);
        run("mount", &["-t", "tmpfs", "tmpfs", &format!("{root}/tmp")]);
        for program in ["apt-get", "dpkg-query"] {
            fs::remove_file(host.root().join("usr/bin").join(program)).unwrap();
        }
        // What the machine's own dnf may have had.
        for own in ["etc/yum.repos.d", "var/cache/dnf", "var/lib/dnf", "var/lib/rpm", "srv", "var/lib/weiche"] {
            let _ = fs::remove_dir_all(host.root().join(own));
        }
        let test = std::env::current_exe().unwrap();
        let program = test.ancestors().nth(2).unwrap().join("weiche-agent");
        assert!(program.exists(), "{} is missing: run `cargo build --workspace` first", program.display());
        fs::copy(program, host.root().join("weiche-agent")).unwrap();
        fs::create_dir(host.root().join("srv")).unwrap();
        host.does(BUILD);
        host
    }

    fn root(&self) -> PathBuf {
        self.disk.path().join("root")
    }

    fn does(&self, script: &str) -> String {
        let mut command = Command::new("chroot");
        command.arg(self.root()).args(["sh", "-c", script]).env("LC_ALL", "C.UTF-8").env("HOME", "/root");
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{script}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Applies one step and tells whether it succeeded, with all replies.
    fn stage(&self, id: &str, spec: Value) -> (bool, String) {
        let mut agent = Agent::start(&self.root());
        let step = Step {
            id: StepId("s.0".into()),
            kind: "package".into(),
            spec,
            watches: Vec::new(),
            anchor: false,
            timeout_ms: 120_000,
            inject: None,
        };
        let replies = agent.ask(&Request::Stage {
            run: name(id),
            steps: vec![step],
            expect: Default::default(),
            crash_after_records: None,
            confirm_ms: None,
        });
        (matches!(replies.last(), Some(Reply::StageEnd { ok: true })), format!("{replies:#?}"))
    }

    fn undo(&self, id: &str) {
        let mut agent = Agent::start(&self.root());
        let replies = agent.ask(&Request::Undo {
            run: name(id),
            stage: None,
            only: Vec::new(),
            over_drift: false,
            expect: Default::default(),
            crash_after_records: None,
        });
        let whole = matches!(replies.last(), Some(Reply::UndoEnd { stuck }) if stuck.is_empty());
        assert!(whole, "{id}: {replies:#?}");
        let journal = agent.ask(&Request::Journal { run: name(id) });
        let Some(Reply::Journal(journal)) = journal.last() else { panic!("{id}: {journal:#?}") };
        assert!(journal.iter().all(|step| step.status == Status::Undone), "{id}: {journal:?}");
    }
}

fn name(id: &str) -> RunId {
    RunId::try_from(id.to_owned()).unwrap()
}

/// The agent, in that root.
struct Agent {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Agent {
    fn start(root: &Path) -> Agent {
        let mut command = Command::new("chroot");
        command.arg(root).args(["/weiche-agent", "serve", "--state", "/var/lib/weiche"]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, mut output) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        output.read_line(&mut String::new()).unwrap();
        Agent { process, input, output }
    }

    /// All replies to a request.
    fn ask(&mut self, request: &Request) -> Vec<Reply> {
        write_message(&mut self.input, request).unwrap();
        self.input.flush().unwrap();
        let mut replies = Vec::new();
        while !replies.last().is_some_and(Reply::ends) {
            match read_frame::<Reply>(&mut self.output) {
                Ok(Some(Frame::Message(reply))) => replies.push(reply),
                other => panic!("the agent died: {other:?} after {replies:#?}"),
            }
        }
        replies
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn dnf_takes_back_what_it_did() {
    if let Err(why) = available() {
        return weiche_tests::skip("dnf_takes_back_what_it_did", &why);
    }
    let missing: Vec<&str> = ["dnf", "rpmbuild", "createrepo_c"]
        .into_iter()
        .filter(|name| !Path::new("/usr/bin").join(name).exists())
        .collect();
    if !missing.is_empty() {
        return weiche_tests::skip("dnf_takes_back_what_it_did", &format!("not installed: {}", missing.join(", ")));
    }
    alone(|| {
        let host = Host::new();
        host.does(
            "dnf -y --setopt=obsoletes=False install council-lib-1.0 council-old council-app-1:1.0-1 &&
            dnf mark remove council-lib && echo edited >/etc/council-lib.conf && echo mine >/etc/council-app.conf.rpmnew",
        );
        let before = host.does(LOOK);

        // What it provides is no package, and one that is not there cannot come.
        for (id, name) in [("alias", "council-alias"), ("none", "council-none")] {
            let (ok, said) = host.stage(id, json!({ "name": name }));
            assert!(!ok && said.contains("NotFound"), "{said}");
        }
        let (ok, said) = host.stage("same", json!({ "name": "council-app", "version": "1:1.0-1" }));
        assert!(ok, "{said}");
        assert_eq!(host.does(LOOK), before);

        // Upgrades one more, brings one, makes one obsolete; then nobody has the old ones any more.
        let (ok, said) = host.stage("upgrade", json!({ "name": "council-app", "version": "2.0-1" }));
        assert!(ok, "{said}");
        let packages = host.does("rpm -qa --qf '%{NAME}-%{VERSION} ' 'council*' | tr ' ' '\\n' | sort");
        assert_eq!(
            packages.split_whitespace().collect::<Vec<_>>(),
            ["council-app-2.0", "council-extra-1.0", "council-lib-2.0"]
        );
        host.does("mkdir /srv/gone && mv /srv/rpm/*-1.0-1.noarch.rpm /srv/gone && createrepo_c --quiet /srv/rpm && dnf clean all");
        host.undo("upgrade");
        assert_eq!(host.does(LOOK), before);
        host.does("mv /srv/gone/* /srv/rpm && createrepo_c --quiet /srv/rpm && dnf clean all");

        // Others go with it.
        let (ok, said) = host.stage("remove", json!({ "name": "council-lib", "state": "absent" }));
        assert!(ok, "{said}");
        assert_eq!(host.does("rpm -qa 'council*'").trim(), "council-old-1.0-1.noarch");
        host.undo("remove");
        assert_eq!(host.does(LOOK), before);

        // dnf is killed after it unpacked a package: a new one, then a newer one.
        host.does("touch /kill-1.0 /kill-2.0");
        let (ok, said) = host.stage("killed-new", json!({ "name": "council-slow", "version": "1.0-1" }));
        assert!(!ok && !host.root().join("kill-1.0").exists(), "{said}");
        host.undo("killed-new");
        assert_eq!(host.does(LOOK), before);
        host.does("dnf -y install council-slow-1.0");
        let before = host.does(LOOK);
        let (ok, said) = host.stage("killed-newer", json!({ "name": "council-slow", "version": "2.0-1" }));
        assert!(!ok && !host.root().join("kill-2.0").exists(), "{said}");
        host.undo("killed-newer");
        assert_eq!(host.does(LOOK), before);
    });
}
