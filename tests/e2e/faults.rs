//! Faults in the middle of a run: processes are killed, hosts go away, steps hang, disks fill up, people press Ctrl-C or
//! start two controllers. Whatever happens, every host is new, or exactly as it was, or loudly stuck; and no step runs
//! twice.

mod away;
mod clock;
mod disk;
mod hang;
mod kill;
mod person;
mod turns;
mod two;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use weiche_tests::town::{Ran, Town, ran};
use weiche_tests::until;

/// Notes that it ran, outside of the host; and leaves a trace on the host that goes back with `undo`.
const SCRIPT: &str = "\
set -e
echo \"$1\" >>\"$2\"
case $1 in
do) echo once >>\"$3\" ;;
undo) rm -f \"$3\" ;;
esac
";

/// The directory in which commands note that they ran.
fn notes(town: &Town) -> PathBuf {
    town.fleet().join("notes")
}

/// A step that notes when it runs and when it is taken back.
fn noted(town: &Town, stage: &str) -> String {
    fs::create_dir_all(notes(town)).unwrap();
    town.write("files/note.sh", SCRIPT);
    let script = town.fleet().join("files/note.sh");
    let note = notes(town).join("{{host.name}}-").display().to_string() + stage;
    let mark = town.root("{{host.name}}").join("srv").join(stage);
    let argv = |way: &str| format!("[sh, {script:?}, {way}, {note:?}, {mark:?}]");
    format!("command: {{ argv: {}, undo: {} }}", argv("do"), argv("undo"))
}

/// What a host's command of a stage has noted, and forgets it.
fn take_notes(town: &Town, host: &str, stage: &str) -> Vec<String> {
    let path = notes(town).join(format!("{host}-{stage}"));
    let text = fs::read_to_string(&path).unwrap_or_default();
    let _ = fs::remove_file(path);
    text.lines().map(str::to_owned).collect()
}

/// A step that waits until [`open`].
fn door(town: &Town) -> String {
    let path = town.fleet().join("door");
    format!("wait_for: {{ command: [test, -e, {path:?}] }}\n        within: 10m\n        every: 100ms")
}

fn open(town: &Town) {
    town.write("door", "open\n");
}

fn shut(town: &Town) {
    let _ = fs::remove_file(town.fleet().join("door"));
}

/// Writes the playbook `x` of these stages: name, keys (a line each), steps.
fn playbook(town: &Town, stages: &[(&str, &[&str], &[String])]) {
    let mut text = String::from("playbook: x\ninputs: { hosts: hosts }\nstages:\n");
    for (name, keys, steps) in stages {
        text += &format!("  - stage: {name}\n    on: hosts\n");
        keys.iter().for_each(|key| text += &format!("    {key}\n"));
        text += "    steps:\n";
        steps.iter().for_each(|step| text += &format!("      - {step}\n"));
    }
    town.write("playbooks/x.yaml", &text);
}

fn file(path: &str) -> String {
    format!("file: {{ path: {path}, content: \"new\\n\" }}")
}

const APPLY: [&str; 5] = ["apply", "x", "hosts=all", "--yes", "--quiet"];

fn apply(more: &[&'static str]) -> Vec<&'static str> {
    [&APPLY[..], more].concat()
}

/// The lines of the last run's log.
fn log(town: &Town) -> Vec<String> {
    town.weiche(&["log", "latest"]).expect(0).stdout.lines().map(str::to_owned).collect()
}

/// How many lines of the log have this in them.
#[track_caller]
fn count(log: &[String], with: &str) -> usize {
    log.iter().filter(|line| line.contains(with)).count()
}

/// A `weiche` under way; it writes into files, so that nobody has to read along.
struct Under {
    child: Option<Child>,
    out: tempfile::TempDir,
}

impl Under {
    fn start(town: &Town, arguments: &[&str]) -> Under {
        Under::with(town, arguments, |_| {})
    }

    fn with(town: &Town, arguments: &[&str], set: impl FnOnce(&mut Command)) -> Under {
        let out = tempfile::TempDir::with_prefix("weiche-under-").unwrap();
        let file = |name: &str| Stdio::from(fs::File::create(out.path().join(name)).unwrap());
        let mut command = town.command(arguments);
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        set(&mut command);
        Under { child: Some(command.spawn().unwrap()), out }
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("not waited for yet")
    }

    fn is_over(&mut self) -> bool {
        self.child().try_wait().unwrap().is_some()
    }

    /// What it has said until now.
    fn said(&self) -> String {
        fs::read_to_string(self.out.path().join("err")).unwrap()
    }

    fn interrupt(&mut self) {
        let pid = rustix::process::Pid::from_child(self.child());
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    fn end(mut self) -> Ran {
        until("its end", || self.is_over());
        let child = self.child.take().expect("not waited for yet");
        let mut ended = ran(child.wait_with_output().unwrap());
        ended.stdout = fs::read_to_string(self.out.path().join("out")).unwrap();
        ended.stderr = self.said();
        ended
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether a process is there and has not ended.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// The agents at work on this town's hosts (not the watches of their guards).
fn agents(town: &Town) -> Vec<u32> {
    let place = town.fleet().parent().expect("the town's directory").display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<String> =
            line.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let ours =
            words.first().is_some_and(|program| program.starts_with(&place) && program.ends_with("/weiche-agent"));
        if ours && words.get(1).is_some_and(|word| word == "serve") && is_alive(pid) {
            found.push(pid);
        }
    }
    found
}
