//! The agent's entry points: `weiche-agent serve` speaks frames on stdin and stdout; `weiche-agent guard RUN STAGE` is the
//! watch of a stage's guard, and `weiche-agent guard --boot early|late` what a host calls when it comes up. All take
//! `[--state DIR] [--root DIR] [--simulate]`. Only this file ends the process.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;
use weiche_agent::fault::Fault;
use weiche_agent::guard::{self, Phase};
use weiche_agent::host::RealHost;
use weiche_agent::protocol::{BUILD, RunId};
use weiche_agent::serve::serve;

const USAGE: &str = "usage: weiche-agent serve | guard RUN STAGE | guard --boot early|late
       [--state DIR] [--root DIR] [--simulate] | --version";

struct Options {
    state: PathBuf,
    root: PathBuf,
    simulate: bool,
    work: Work,
}

enum Work {
    Serve,
    Watch(RunId, String),
    Boot(Phase),
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weiche-agent: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match work(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("weiche-agent: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn work(options: &Options) -> Result<(), Fault> {
    let mut host = RealHost::open(&options.root, &options.state, options.simulate)?;
    match &options.work {
        Work::Serve => {
            serve(&mut host, &mut io::stdin().lock(), &mut io::stdout().lock()).map_err(|e| Fault::io("serve", &e))
        }
        Work::Watch(run, stage) => guard::watch(run, stage, &mut host),
        Work::Boot(phase) => guard::boot(*phase, &mut host),
    }
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    let (mut state, mut root, mut simulate) = (PathBuf::from("/var/lib/weiche"), PathBuf::from("/"), false);
    let (mut words, mut phase) = (Vec::new(), None);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("state") => state = parser.value()?.into(),
            Long("root") => root = parser.value()?.into(),
            Long("simulate") => simulate = true,
            Long("boot") => {
                phase = Some(match parser.value()?.string()?.as_str() {
                    "early" => Phase::Early,
                    "late" => Phase::Late,
                    other => return Err(format!("a host comes up early or late, not `{other}`").into()),
                });
            }
            Long("version") => {
                println!("weiche-agent {BUILD}");
                return Ok(None);
            }
            Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let work = match (words.as_slice(), phase) {
        (["serve"], None) => Work::Serve,
        (["guard"], Some(phase)) => Work::Boot(phase),
        (["guard", run, stage], None) => Work::Watch(RunId::try_from((*run).to_owned())?, (*stage).to_owned()),
        _ => return Err("nothing to do".into()),
    };
    Ok(Some(Options { state, root, simulate, work }))
}
