//! A power cut, as far as it can be had without one: root and state directory of an agent lie on a real file system in a
//! file, the agent is killed at a moment, and the file is copied as it is, without sync or unmount. The copy is what a
//! disk holds when the power goes: the file system recovers, a new agent takes the run back, and the tree is as before.

#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use weiche_agent::digest::Digest;
use weiche_agent::protocol::{
    Frame, Injection, Reply, Request, RunId, Status, Step, StepId, read_frame, write_data, write_message,
};
use weiche_tests::disk::{self, Disk, alone, manifest};

/// More than a page, so that it is not stored with the inode.
const LENGTH: usize = 70_000;

/// An agent process on a disk.
struct Agent {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Agent {
    fn start(state: &Path, root: &Path) -> Agent {
        let test = std::env::current_exe().unwrap();
        let program = test.ancestors().nth(2).unwrap().join("weiche-agent");
        assert!(program.exists(), "{} is missing: run `cargo build --workspace` first", program.display());
        let mut command = Command::new(program);
        command.args(["serve", "--simulate", "--state"]).arg(state.join("state")).arg("--root").arg(root.join("root"));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, mut output) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        output.read_line(&mut String::new()).unwrap();
        Agent { process, input, output }
    }

    fn send(&mut self, request: &Request) {
        write_message(&mut self.input, request).unwrap();
        self.input.flush().unwrap();
    }

    /// The next reply; `None` if the agent has died.
    fn reply(&mut self) -> Option<Reply> {
        match read_frame::<Reply>(&mut self.output) {
            Ok(Some(Frame::Message(reply))) => Some(reply),
            _ => None,
        }
    }

    /// The last reply to what was asked.
    fn last(&mut self) -> Option<Reply> {
        loop {
            let reply = self.reply()?;
            if reply.ends() {
                return Some(reply);
            }
        }
    }

    /// Sends contents and asks for the stage.
    fn stage(&mut self, steps: Vec<Step>, crash_after_records: Option<u64>) {
        for content in contents() {
            let (digest, size) = (Digest::of(&content), content.len() as u64);
            write_message(&mut self.input, &Request::Blob { run: run(), digest, size }).unwrap();
            content.chunks(16 << 10).for_each(|part| write_data(&mut self.input, part).unwrap());
        }
        self.send(&Request::Stage {
            run: run(),
            steps,
            expect: Default::default(),
            crash_after_records,
            confirm_ms: None,
        });
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn kill(mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

fn run() -> RunId {
    RunId::try_from(String::from("run-1")).unwrap()
}

fn content(seed: u8) -> Vec<u8> {
    (0..LENGTH).map(|n| (n as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

fn contents() -> Vec<Vec<u8>> {
    vec![content(1), content(2)]
}

fn seed(root: &Path) {
    for dir in ["etc", "srv"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
    for (name, seed) in [("one", 11), ("gone", 12), ("two", 13), ("shared", 14)] {
        fs::write(root.join("etc").join(name), content(seed)).unwrap();
    }
    fs::hard_link(root.join("etc/shared"), root.join("srv/shared")).unwrap();
    let sparse = fs::File::create(root.join("srv/sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    symlink("one", root.join("etc/link")).unwrap();
    disk::run("setfattr", &["-n", "user.note", "-v", "kept", root.join("etc/one").to_str().unwrap()]);
    disk::run("sync", &["-f", root.to_str().unwrap()]);
}

/// Several groups: a barrier (a simulated package) lies between them.
fn steps() -> Vec<Step> {
    let file = |path: &str, content: &[u8]| {
        let blob = json!({ "digest": Digest::of(content), "size": content.len() });
        ("file", json!({ "path": path, "blob": blob, "mode": "0640" }))
    };
    let specs: Vec<(&str, Value)> = vec![
        file("/etc/one", &content(1)),
        file("/etc/shared", &content(2)),
        ("file", json!({ "path": "/etc/gone", "state": "absent" })),
        ("directory", json!({ "path": "/srv/new" })),
        file("/srv/new/file", &content(1)),
        ("package", json!({ "name": "nginx" })),
        file("/etc/two", &content(1)),
        ("symlink", json!({ "path": "/etc/link", "target": "two" })),
        file("/srv/sparse", &content(2)),
    ];
    let step = |(number, (kind, spec)): (usize, (&str, Value))| Step {
        id: StepId(format!("s.{number}")),
        kind: kind.into(),
        spec,
        watches: Vec::new(),
        anchor: false,
        timeout_ms: 10_000,
        inject: None,
    };
    specs.into_iter().enumerate().map(step).collect()
}

/// Mounts what is on the disk now, takes the run back there, and compares.
fn take_back(disk: &Disk, kind: &str, before: &str, moment: &str) {
    let after = disk.after_a_power_cut(kind);
    undo(&after.path(), &after.path(), before, &format!("{kind}, {moment}"));
}

/// Takes the run back as a new agent, and compares.
fn undo(state: &Path, root: &Path, before: &str, moment: &str) {
    let mut agent = Agent::start(state, root);
    agent.send(&Request::Undo {
        run: run(),
        stage: None,
        only: Vec::new(),
        over_drift: false,
        expect: Default::default(),
        crash_after_records: None,
    });
    let mut replies = Vec::new();
    while !replies.last().is_some_and(Reply::ends) {
        replies.push(agent.reply().unwrap_or_else(|| panic!("{moment}: the agent died: {replies:#?}")));
    }
    let whole = matches!(replies.last(), Some(Reply::UndoEnd { stuck }) if stuck.is_empty());
    assert!(whole, "{moment}: {replies:#?}");
    agent.send(&Request::Journal { run: run() });
    let Some(Reply::Journal(journal)) = agent.last() else { panic!("{moment}: no journal") };
    assert!(journal.iter().all(|step| step.status == Status::Undone), "{moment}: {journal:?}");
    agent.kill();
    // With the run's own links, a group of hard links has a name more.
    fs::remove_dir_all(state.join("state")).unwrap();
    let now = manifest(&root.join("root"));
    assert!(now == before, "{moment}:\n--- before\n{before}\n--- now\n{now}");
}

/// At every record, or at every `stride`th where a file system is slow.
fn every_moment(kind: &str, megabytes: u64, stride: usize) {
    alone(|| {
        let mut crashes = 0;
        for record in (0..).step_by(stride) {
            let disk = Disk::new(kind, megabytes);
            seed(&disk.path().join("root"));
            let before = manifest(&disk.path().join("root"));
            let mut agent = Agent::start(&disk.path(), &disk.path());
            agent.stage(steps(), Some(record));
            let mut events = 0;
            let ended = loop {
                match agent.reply() {
                    Some(Reply::StageEnd { ok }) => break ok,
                    Some(Reply::Event(_)) if crashes == 0 || events > 0 => events += 1,
                    Some(Reply::Event(_)) => {
                        // What was reported holds, whatever the agent is doing just now.
                        events += 1;
                        agent.signal(Signal::STOP);
                        take_back(&disk, kind, &before, &format!("record {record}, after the first event"));
                        agent.signal(Signal::CONT);
                    }
                    Some(other) => panic!("{kind}: {other:?}"),
                    None => break false,
                }
            };
            agent.kill();
            take_back(&disk, kind, &before, &format!("record {record}"));
            if ended {
                break;
            }
            crashes += 1;
        }
        assert!(crashes > 10 / stride, "only {crashes} crashes: the rehearsal does not crash");
    });
}

#[test]
fn ext4_after_a_power_cut_at_every_record() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("ext4_after_a_power_cut_at_every_record", &why);
    }
    every_moment("ext4", 32, 1);
}

#[test]
fn btrfs_after_a_power_cut() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("btrfs_after_a_power_cut", &why);
    }
    every_moment("btrfs", 128, 4);
}

#[test]
fn xfs_after_a_power_cut() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("xfs_after_a_power_cut", &why);
    }
    every_moment("xfs", 320, 4);
}

/// The worst that a disk may do: what the step changed is on it, what the agent wrote and did not sync is not.
#[test]
fn a_change_is_never_on_the_disk_before_its_record() {
    if let Err(why) = disk::available() {
        return weiche_tests::skip("a_change_is_never_on_the_disk_before_its_record", &why);
    }
    alone(|| {
        // Hard links cannot be kept on another file system, and are refused there.
        let mut steps = steps();
        steps.retain(|step| step.spec["path"] != "/etc/shared");
        for crashing in 0..steps.len() {
            let (state, root) = (Disk::new("ext4", 16), Disk::new("ext4", 16));
            seed(&root.path().join("root"));
            let before = manifest(&root.path().join("root"));
            let mut stage = steps.clone();
            stage[crashing].inject = Some(Injection::Crash);
            let mut agent = Agent::start(&state.path(), &root.path());
            agent.stage(stage, None);
            assert_eq!(agent.last(), None, "the agent lives");
            agent.kill();
            disk::run("sync", &["-f", root.path().to_str().unwrap()]);
            let (state, root) = (state.after_a_power_cut("ext4"), root.after_a_power_cut("ext4"));
            undo(&state.path(), &root.path(), &before, &format!("step {crashing}"));
        }
    });
}
