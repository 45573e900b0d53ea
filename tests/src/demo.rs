//! `make lab-demo`: the server of a town hall is replaced, and the way back is taken, while people work there; with a live
//! view of how they fare, and at the end what became of all that they wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read, Write as _};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::console::Input;
use crate::hall::users::{Users, Written, meanwhile};
use crate::hall::{Hall, Writer, longest, lost_letters, lost_rows, swap};
use crate::lab::{HostOptions, Lab};

/// How often the view is drawn on a terminal.
const FRAME: Duration = Duration::from_millis(200);

/// How often it is written where there is none, unless another server serves.
const LINE: Duration = Duration::from_secs(10);

/// What is said, and how users fare below it.
struct View<'a> {
    users: &'a Users<'a>,
    writers: &'a [Writer<'a>; 2],
    begin: Instant,
    terminal: bool,
    /// When it was last drawn, and who served then.
    drawn: (Instant, String),
}

impl<'a> View<'a> {
    fn new(users: &'a Users<'a>, writers: &'a [Writer<'a>; 2]) -> View<'a> {
        let now = Instant::now();
        let terminal = std::io::stdout().is_terminal();
        View { users, writers, begin: now, terminal, drawn: (now, String::new()) }
    }

    fn say(&mut self, line: &str) {
        let erase = if self.terminal { "\r\x1b[K" } else { "" };
        println!("{erase}{:7.1} s  {line}", self.begin.elapsed().as_secs_f64());
        if self.terminal {
            self.draw();
        }
    }

    /// Shows how users fare, if it is time.
    fn tick(&mut self) {
        let other = self.users.seen().server != self.drawn.1;
        let due = self.drawn.0.elapsed() >= if self.terminal { FRAME } else { LINE };
        if due || other && !self.terminal {
            self.draw();
        }
    }

    fn draw(&mut self) {
        let seen = self.users.seen();
        let [clerk, secretary] = self.writers.each_ref().map(Writer::count);
        let text = format!(
            "{} serves | HTTP {} written, {} failed, slowest {:.1} s | database {clerk} | files {secretary}",
            seen.server,
            seen.acknowledged,
            seen.failed,
            seen.slowest.as_secs_f64()
        );
        if self.terminal {
            print!("\r\x1b[K\x1b[7m {text} \x1b[0m");
            let _ = std::io::stdout().flush();
        } else {
            println!("           [{text}]");
        }
        self.drawn = (Instant::now(), seen.server);
    }
}

/// Its line makes room for what comes then.
impl Drop for View<'_> {
    fn drop(&mut self) {
        if self.terminal {
            println!("\r\x1b[K");
        }
    }
}

/// Shows it from the beginning to the end.
///
/// # Errors
/// What users noticed, or that it was ended.
pub fn run(lab: &Lab, inputs: &Receiver<Input>) -> Result<(), String> {
    println!(
        "a town hall is set up: a server with files, a database and an application, a new one, and people; half a minute"
    );
    let hosts = lab.boot_all(&["old", "new", "user"].map(HostOptions::named));
    let hall = Hall::new(lab, &hosts);
    let writers = hall.writers();
    let users = Users::default();
    println!("people write: fifty rows a second over HTTP, others straight into the database, others files to a share");
    let mut view = View::new(&users, &writers);
    let there = shown(&hall, lab, inputs, &mut view, (&swap("server-swap"), 6))?;
    let before = writers.each_ref().map(Writer::written);
    let back = shown(&hall, lab, inputs, &mut view, (&["rollback", "latest"], 0))?;
    drop(view);

    let [rows, letters] = writers.map(Writer::end);
    let since = |of: &BTreeMap<u32, u64>, known: &BTreeMap<u32, u64>| of.len() - known.len();
    println!("there: {}", told(&there, &before.each_ref().map(BTreeMap::len)));
    println!("back:  {}", told(&back, &[since(&rows, &before[0]), since(&letters, &before[1])]));
    println!(
        "the longest time in which nobody was answered: over HTTP {:.1} s, in the database {:.1} s, for a file {:.1} s",
        there.gap().max(back.gap()).as_secs_f64(),
        longest(&rows).as_secs_f64(),
        longest(&letters).as_secs_f64()
    );
    let mut expected: BTreeSet<u32> = rows.into_keys().collect();
    expected.extend(there.acknowledged.union(&back.acknowledged));
    let failed = there.failed.iter().chain(&back.failed);
    let wrong: Vec<String> = lost_rows(hall.old, &expected)
        .into_iter()
        .chain(lost_letters(hall.old, &letters))
        .chain(failed.take(3).map(|said| format!("a request failed: {said}")))
        .collect();
    if !wrong.is_empty() {
        return Err(format!("users noticed: {}", wrong.join("; ")));
    }
    println!(
        "{} rows and {} files were acknowledged: all are on the old server, each once. Nobody was refused.",
        expected.len(),
        letters.len()
    );
    Ok(())
}

/// Runs `weiche` while users write: its words, and how it has to end.
fn shown(
    hall: &Hall<'_>,
    lab: &Lab,
    inputs: &Receiver<Input>,
    view: &mut View<'_>,
    (words, code): (&[&str], i32),
) -> Result<Written, String> {
    let users = view.users;
    let mut ended = Ok(());
    let written = meanwhile(lab, users, || {
        view.say(&format!("$ weiche {}", words.join(" ")));
        ended = weiche(hall, inputs, view, words).and_then(|is| match is {
            Some(is) if is == code => Ok(()),
            is => Err(format!("weiche ended with {is:?}, not {code}")),
        });
    });
    ended.map(|()| written)
}

/// Runs `weiche`; its exit code.
fn weiche(
    hall: &Hall<'_>,
    inputs: &Receiver<Input>,
    view: &mut View<'_>,
    words: &[&str],
) -> Result<Option<i32>, String> {
    let said = |error: std::io::Error| format!("weiche: {error}");
    let mut command = hall.fleet.command(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(said)?;
    let (to, lines) = channel();
    let outputs = [child.stdout.take().map(boxed), child.stderr.take().map(boxed)];
    for output in outputs.into_iter().flatten() {
        let to = to.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if to.send(line).is_err() {
                    return;
                }
            }
        });
    }
    drop(to);
    loop {
        match lines.recv_timeout(FRAME / 2) {
            Ok(line) => view.say(&line),
            Err(RecvTimeoutError::Timeout) => view.tick(),
            // It says no more.
            Err(RecvTimeoutError::Disconnected) => return child.wait().map(|status| status.code()).map_err(said),
        }
        // Lines are for nobody here, nor is their end.
        if let Ok(Input::Interrupt | Input::Stop) = inputs.try_recv() {
            child.kill().and_then(|()| child.wait()).map_err(said)?;
            return Err("it was ended".into());
        }
    }
}

fn boxed(output: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(output)
}

/// How users fared.
fn told(written: &Written, [rows, letters]: &[usize; 2]) -> String {
    format!(
        "{} rows over HTTP, {} failed, the slowest took {:.1} s; {rows} rows straight into the database, {letters} files",
        written.acknowledged.len(),
        written.failed.len(),
        written.slowest.as_secs_f64()
    )
}
