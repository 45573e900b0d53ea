//! `make lab` as somebody uses it: by what is typed, and what is said.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use weiche_tests::lab::Lab;
use weiche_tests::skip;

use super::traces;

/// Longer than this nothing takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A lab at work.
struct Talk {
    lab: Child,
    typed: ChildStdin,
    said: Receiver<String>,
}

impl Talk {
    fn begin(words: &str) -> Talk {
        let mut lab = Command::new("sh");
        lab.args(["-c", &format!("exec \"$0\" {words} 2>&1"), env!("CARGO_BIN_EXE_lab")]);
        let mut lab = lab.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (typed, lines) = (lab.stdin.take().unwrap(), BufReader::new(lab.stdout.take().unwrap()).lines());
        let (to, said) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| to.send(line)));
        Talk { lab, typed, said }
    }

    fn types(&mut self, line: &str) {
        writeln!(self.typed, "{line}").unwrap();
    }

    /// Reads on until a line has this in it, and returns that.
    #[track_caller]
    fn hears(&self, part: &str) -> String {
        let mut all = String::new();
        loop {
            let Ok(line) = self.said.recv_timeout(PATIENCE) else { panic!("`{part}` is not said, but:\n{all}") };
            if line.contains(part) {
                return line;
            }
            all = all + &line + "\n";
        }
    }

    #[track_caller]
    fn answers(&mut self, line: &str, part: &str) {
        self.types(line);
        self.hears(part);
    }

    /// What it carries on this machine.
    fn id(&self) -> String {
        format!("wl-{}-0", self.lab.id())
    }

    /// Whether it ends well, and leaves nothing behind.
    fn ends(mut self, fleet: &Path) {
        self.hears("the lab is taken away");
        assert!(self.lab.wait().unwrap().success());
        assert_eq!(traces(&self.id()), Vec::<String>::new());
        assert!(!fleet.exists());
    }

    fn fleet(&self) -> PathBuf {
        let line = self.hears("their fleet is in ");
        let path = line.split_once("is in ").unwrap().1;
        PathBuf::from(path.split_once(';').unwrap().0)
    }
}

#[test]
fn a_town_hall_does_what_is_typed_and_leaves_nothing_behind() {
    if let Err(why) = Lab::available() {
        return skip("a_town_hall_does_what_is_typed_and_leaves_nothing_behind", &why);
    }
    let mut talk = Talk::begin("--hosts 4");
    assert!(talk.hears("hosts were booted in ").ends_with(": srv-old, srv-new, pc-1, pc-2"));
    let fleet = talk.fleet();
    talk.answers("hosts", "srv-old  192.0.2.11 on");
    talk.hears("pc-2     192.0.2.14 on");
    talk.answers("weiche check", "No problems.");
    talk.answers("weiche plan converge hosts=rathaus/pc-1", "file /etc/motd");
    talk.hears("(ended with 2)");
    assert!(!traces(&talk.id()).is_empty());

    let ping = "sh srv-old ping -c 1 -w";
    talk.answers(&format!("{ping} 60 192.0.2.13"), " 1 received");
    talk.answers("cut pc-1", "pc-1 is cut off");
    talk.answers(&format!("{ping} 1 192.0.2.13"), " 0 received");
    talk.answers("hosts", "pc-1     192.0.2.13 on, cut off");
    talk.answers("join pc-1", "pc-1 is on the network");
    talk.answers(&format!("{ping} 60 192.0.2.13"), " 1 received");

    talk.answers("slow pc-1 5mbit", "pc-1 has a line of 5mbit");
    talk.answers("sh pc-1 tc qdisc show dev eth0", "rate 5Mbit");
    talk.answers("slow pc-1 off", "as fast as ever");
    talk.answers("sh pc-1 tc qdisc show dev eth0", "noqueue");

    let write = "sh pc-1 dd if=/dev/zero of=/var/tmp/eight bs=1M count=8";
    talk.answers("fill pc-1", "pc-1 has 4 MiB left");
    talk.answers(write, "No space left on device");
    talk.answers("empty pc-1", "pc-1 has room again");
    talk.answers(write, "8+0 records out");

    talk.answers("sh pc-1 sh -c 'echo kept | tee /root/mark'", "kept");
    talk.answers("reboot pc-1", "pc-1 is up again");
    talk.answers("off pc-1", "pc-1 is off");
    talk.answers("sh pc-1 true", "pc-1 is off; `on pc-1` boots it");
    talk.answers("on pc-1", "pc-1 is up");
    talk.answers("sh pc-1 cat /root/mark", "kept");

    // What is wrong is told, and that is all.
    for (line, part) in [
        ("dance", "there is no `dance`; `help` lists"),
        ("cut", "it is `cut HOST`"),
        ("reboot nobody", "there is no host `nobody`, but srv-old, srv-new, pc-1, pc-2"),
        ("slow pc-1 5m;reboot", "`5m;reboot` is no rate"),
        ("sh pc-1 'x", "there is one ' too few"),
        ("help", "join HOST"),
    ] {
        talk.answers(line, part);
    }
    talk.types("quit");
    talk.ends(&fleet);
}

#[test]
fn whoever_ends_a_town_hall_in_the_middle_leaves_nothing_behind() {
    if let Err(why) = Lab::available() {
        return skip("whoever_ends_a_town_hall_in_the_middle_leaves_nothing_behind", &why);
    }
    let mut talk = Talk::begin("");
    let fleet = talk.fleet();
    talk.types("sh pc-1 sh -c 'echo begun; exec sleep 1000'");
    talk.hears("begun");
    // Ctrl-C is for the program, SIGTERM for all.
    for signal in ["-INT", "-TERM"] {
        assert!(Command::new("kill").args([signal, &talk.lab.id().to_string()]).status().unwrap().success());
    }
    talk.ends(&fleet);

    let mut wrong = Talk::begin("--hosts 2");
    wrong.hears("from 3 to 50 hosts can be booted, not `2`");
    assert!(!wrong.lab.wait().unwrap().success());
}
