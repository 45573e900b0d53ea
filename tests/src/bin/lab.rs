//! `make lab`: boots a small town hall on this machine and does what is typed; see [`weiche_tests::console`]. `make lab-demo`
//! shows a swap there; see [`weiche_tests::demo`].

#![expect(clippy::disallowed_methods, reason = "shell")]

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use tokio::signal::unix::{Signal, SignalKind, signal};
use weiche_tests::console::{Console, Input};
use weiche_tests::demo;
use weiche_tests::lab::Lab;

const USAGE: &str = "lab [--hosts N]: boots hosts to try Weiche on, as root; `help` says what they can do
lab --swap: shows how a server is replaced while people work";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("lab: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let count = match words.as_slice() {
        [] => Some(3),
        ["--hosts", count] => Some(Console::count(count)?),
        ["--swap"] => None,
        _ => return Err(USAGE.into()),
    };
    Lab::available().map_err(|why| format!("{why}; as root tests/setup.sh installs what is missing"))?;
    let (to, inputs) = channel();
    signals(to.clone()).map_err(|error| format!("signals: {error}"))?;
    let begin = Instant::now();
    let lab = Lab::new("town-hall");
    println!("the base is there after {:.1} s", begin.elapsed().as_secs_f64());
    let Some(count) = count else {
        let shown = demo::run(&lab, &inputs);
        drop(lab);
        println!("the lab is taken away");
        return shown;
    };
    let mut console = Console::boot(&lab, count, inputs);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if to.send(Input::Line(line)).is_err() {
                return;
            }
        }
        // Nobody waits for it once it is over.
        let _ = to.send(Input::End);
    });
    let terminal = std::io::stdin().is_terminal();
    console.run(&|| {
        if terminal {
            print!("lab> ");
            let _ = std::io::stdout().flush();
        }
    });
    println!("the lab is taken away");
    Ok(())
}

/// Hands on what would end the process: it has hosts to take away.
fn signals(to: Sender<Input>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut ends: [Signal; 2] = [signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
    drop(guard);
    std::thread::spawn(move || {
        runtime.block_on(async {
            let [terminate, hangup] = &mut ends;
            loop {
                let input = tokio::select! {
                    _ = interrupt.recv() => Input::Interrupt,
                    _ = terminate.recv() => Input::Stop,
                    _ = hangup.recv() => Input::Stop,
                };
                if to.send(input).is_err() {
                    return;
                }
            }
        });
    });
    Ok(())
}
