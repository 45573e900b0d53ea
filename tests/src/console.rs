//! A small town hall to try things on: three lab hosts, or more, a fleet beside them, and the commands of `make lab`, which
//! make them do what hosts do on bad days. Whoever ends it leaves nothing behind.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::fleet::{Fleet, entry};
use crate::lab::{HostOptions, Lab, LabHost};

/// The hosts that are always there; profiles are shipped ones, and the second replaces the first.
const HOSTS: [(&str, &str); 3] =
    [("srv-old", "profile: file-server"), ("srv-new", "replaces: srv-old"), ("pc-1", PLAIN)];

/// Of each further host.
const PLAIN: &str = "profile: base";

/// How many hosts there may be: as many as addresses are enough for, and memory.
const MOST: usize = 50;

/// What each host may write, in memory: enough for a file server, and to be filled without harm to this machine.
const DISK: &str = "768m";

/// What `fill` leaves, in mebibytes.
const LEFT: u64 = 4;

/// How often a program is asked whether it has ended.
const PULSE: Duration = Duration::from_millis(20);

/// All commands: what is typed, and what it does.
const COMMANDS: [(&str, &str); 12] = [
    ("weiche WORDS...", "the controller, on this fleet and in this network; it is asked nothing, so say `--yes`"),
    ("sh HOST WORDS...", "a program on a host, as root and not over its line; `sh HOST sh -c 'a | b'` for a shell"),
    ("reboot HOST", "restart it"),
    ("off HOST", "take away its power"),
    ("on HOST", "boot it"),
    ("cut HOST", "pull its network plug"),
    ("join HOST", "put it in again"),
    ("slow HOST RATE|off", "a slow line, both ways: `5mbit`"),
    ("fill HOST", "leave 4 MiB on its disk"),
    ("empty HOST", "make that room again"),
    ("hosts", "list them"),
    ("quit", "end, and leave nothing behind; the same as the end of input, and Ctrl-C while nothing runs"),
];

/// What comes from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A line that was typed.
    Line(String),
    /// There is no more to come.
    End,
    /// Ctrl-C: for the program that runs, if one does, which has had it, too.
    Interrupt,
    /// It is to end at once.
    Stop,
}

/// The hosts, their fleet, and what was typed.
#[derive(Debug)]
pub struct Console<'a> {
    fleet: Fleet<'a>,
    hosts: Vec<LabHost>,
    /// What was pulled, and what was slowed down: by host.
    cut: Vec<String>,
    slow: Vec<(String, String)>,
    inputs: Receiver<Input>,
    later: VecDeque<Input>,
}

impl<'a> Console<'a> {
    /// Reads how many hosts there shall be.
    ///
    /// # Errors
    /// It is no number, or they are too few or too many.
    pub fn count(text: &str) -> Result<usize, String> {
        let least = HOSTS.len();
        let count = text.parse().ok().filter(|count| (least..=MOST).contains(count));
        count.ok_or_else(|| format!("from {least} to {MOST} hosts can be booted, not `{text}`"))
    }

    /// Boots so many hosts, at least the three that have names, and writes their fleet.
    pub fn boot(lab: &'a Lab, count: usize, inputs: Receiver<Input>) -> Console<'a> {
        let more = (2..).map(|n| (format!("pc-{n}"), PLAIN));
        let named = HOSTS.map(|(name, entry)| (name.to_owned(), entry)).into_iter();
        let wanted: Vec<(String, &str)> = named.chain(more).take(count).collect();
        let options: Vec<HostOptions> = wanted.iter().map(|(name, _)| HostOptions::named(name).disk(DISK)).collect();
        let begin = Instant::now();
        let hosts = lab.boot_all(&options);
        let seconds = begin.elapsed().as_secs_f64();
        println!("{count} hosts were booted in {seconds:.1} s: {}", names(&hosts));
        let fleet = Fleet::new(lab, "weiche", &[]).impatient();
        let list = |server: bool| {
            let of = hosts.iter().zip(&wanted).filter(|(host, _)| host.name.starts_with("srv-") == server);
            of.map(|(host, (_, more))| entry(host, more)).collect::<String>()
        };
        let (servers, pcs) = (list(true), list(false));
        fleet.write(
            "members/rathaus.yaml",
            &format!("member: rathaus\nname: The lab's town hall\nservers:\n{servers}pcs:\n{pcs}"),
        );
        println!("their fleet is in {}; try", fleet.path().display());
        println!("  weiche check                     weiche apply converge hosts=rathaus/srv-old --yes");
        println!(
            "  weiche apply copy-swap old=rathaus/srv-old new=rathaus/srv-new --yes        weiche rollback latest"
        );
        println!("  cut srv-new    join srv-new    slow srv-old 5mbit    fill srv-new    reboot pc-1    help    quit");
        Console { fleet, hosts, cut: Vec::new(), slow: Vec::new(), inputs, later: VecDeque::new() }
    }

    /// Does what is typed until it is enough. `prompt` is shown before each line.
    pub fn run(&mut self, prompt: &dyn Fn()) {
        loop {
            prompt();
            let next = self.later.pop_front().or_else(|| self.inputs.recv().ok());
            let Some(Input::Line(line)) = next else { return };
            let words = match words(&line) {
                Ok(words) => words,
                Err(why) => {
                    eprintln!("lab: {why}");
                    continue;
                }
            };
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if words == ["quit"] {
                return;
            }
            // The harness panics where a test could not go on; a person can.
            match catch_unwind(AssertUnwindSafe(|| self.does(&words))) {
                Ok(Ok(said)) if said.is_empty() => {}
                Ok(Ok(said)) => println!("{said}"),
                Ok(Err(why)) => eprintln!("lab: {why}"),
                Err(_) => eprintln!("lab: that failed, see above; the other hosts are as they were"),
            }
        }
    }

    /// One command; what is to be said of it.
    fn does(&mut self, words: &[&str]) -> Result<String, String> {
        match words {
            [] => Ok(String::new()),
            ["help"] => Ok(help()),
            ["hosts"] => Ok(self.list()),
            ["weiche", words @ ..] => self.program(self.fleet.command(words)),
            ["sh", host, words @ ..] if !words.is_empty() => {
                let host = self.on(host)?;
                self.program(host.command(words))
            }
            ["reboot", host] => {
                self.on(host)?.reboot();
                Ok(format!("{host} is up again"))
            }
            ["off", host] => {
                self.on(host)?.power_off();
                Ok(format!("{host} is off"))
            }
            ["on", host] => {
                let there = self.host(host)?;
                if there.is_on() {
                    return Err(format!("{host} is on already; `reboot {host}` restarts it"));
                }
                there.power_on();
                Ok(format!("{host} is up"))
            }
            ["cut", host] => {
                self.host(host)?.cut();
                self.cut.push((*host).to_owned());
                Ok(format!("{host} is cut off"))
            }
            ["join", host] => {
                self.host(host)?.uncut();
                self.cut.retain(|name| name != host);
                Ok(format!("{host} is on the network"))
            }
            ["slow", host, rate] => {
                let there = self.host(host)?;
                let rate = Some(*rate).filter(|rate| *rate != "off");
                if let Some(bad) = rate.filter(|rate| !is_rate(rate)) {
                    return Err(format!("`{bad}` is no rate: `512kbit`, `5mbit`, `1gbit`, or `off`"));
                }
                there.slow(rate);
                self.slow.retain(|(name, _)| name != host);
                self.slow.extend(rate.map(|rate| ((*host).to_owned(), rate.to_owned())));
                Ok(rate.map_or(format!("{host} is as fast as ever"), |rate| format!("{host} has a line of {rate}")))
            }
            ["fill", host] => self.host(host)?.fill(LEFT).map(|()| format!("{host} has {LEFT} MiB left")),
            ["empty", host] => self.host(host)?.empty().map(|()| format!("{host} has room again")),
            [word, ..] => Err(match COMMANDS.iter().find(|(usage, _)| usage.split(' ').next() == Some(word)) {
                Some((usage, _)) => format!("it is `{usage}`"),
                None => format!("there is no `{word}`; `help` lists what there is"),
            }),
        }
    }

    fn host(&self, name: &str) -> Result<&LabHost, String> {
        let found = self.hosts.iter().find(|host| host.name == name);
        found.ok_or_else(|| format!("there is no host `{name}`, but {}", names(&self.hosts)))
    }

    fn on(&self, name: &str) -> Result<&LabHost, String> {
        let host = self.host(name)?;
        if host.is_on() { Ok(host) } else { Err(format!("{name} is off; `on {name}` boots it")) }
    }

    fn list(&self) -> String {
        let line = |host: &LabHost| {
            let mut line = format!("{:<8} {} {}", host.name, host.address, if host.is_on() { "on" } else { "off" });
            if self.cut.contains(&host.name) {
                line.push_str(", cut off");
            }
            for (_, rate) in self.slow.iter().filter(|(name, _)| *name == host.name) {
                line = format!("{line}, {rate}");
            }
            line
        };
        self.hosts.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Runs a program to its end; what it says is seen as it comes.
    fn program(&mut self, mut command: Command) -> Result<String, String> {
        let child = command.stdin(Stdio::null()).spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let code = self.ended(child).map_err(|error| error.to_string())?;
        Ok(code.map_or_else(String::new, |code| format!("(ended with {code})")))
    }

    /// Waits for its end; its exit code unless that is 0. What is typed meanwhile is for later.
    fn ended(&mut self, mut child: Child) -> std::io::Result<Option<i32>> {
        loop {
            if let Some(status) = child.try_wait()? {
                let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
                return Ok(Some(code).filter(|code| *code != 0));
            }
            match self.inputs.recv_timeout(PULSE) {
                Ok(Input::Stop) => {
                    child.kill()?;
                    self.later.push_front(Input::Stop);
                }
                Ok(Input::Interrupt) | Err(RecvTimeoutError::Timeout) => {}
                Ok(input) => self.later.push_back(input),
                // Nobody is there any more to say anything.
                Err(RecvTimeoutError::Disconnected) => drop(child.wait()?),
            }
        }
    }
}

fn names(hosts: &[LabHost]) -> String {
    hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn help() -> String {
    COMMANDS.iter().map(|(usage, what)| format!("{usage:<19} {what}")).collect::<Vec<_>>().join("\n")
}

/// A rate as `tc(8)` has it.
fn is_rate(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    number.parse::<u32>().is_ok_and(|number| number > 0) && ["kbit", "mbit", "gbit"].contains(&unit)
}

/// The words of a line, taken apart at blanks; what is in quotes, of either kind, belongs together.
fn words(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.map_or(Ok(words), |quote| Err(format!("there is one {quote} too few")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart_at_blanks_outside_quotes() {
        for (line, expected) in [
            ("", &[][..]),
            ("  hosts ", &["hosts"]),
            ("sh pc-1 sh -c 'ls | wc -l'", &["sh", "pc-1", "sh", "-c", "ls | wc -l"]),
            ("a\"b c\"'d'\t''", &["ab cd", ""]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
        assert_eq!(words("sh 'x").unwrap_err(), "there is one ' too few");
    }

    #[test]
    fn rates_are_those_of_tc() {
        for (text, good) in
            [("5mbit", true), ("512kbit", true), ("mbit", false), ("0mbit", false), ("5", false), ("5m;x", false)]
        {
            assert_eq!(is_rate(text), good, "{text}");
        }
    }
}
