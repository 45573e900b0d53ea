//! The agent's entry point: `weiche-agent serve [--state DIR] [--root DIR] [--simulate]` speaks frames on stdin and
//! stdout. Only this file ends the process.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;
use weiche_agent::host::RealHost;
use weiche_agent::protocol::BUILD;
use weiche_agent::serve::serve;

const USAGE: &str = "usage: weiche-agent serve [--state DIR] [--root DIR] [--simulate] | --version";

struct Options {
    state: PathBuf,
    root: PathBuf,
    simulate: bool,
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
    let mut host = match RealHost::open(&options.root, &options.state, options.simulate) {
        Ok(host) => host,
        Err(fault) => {
            eprintln!("weiche-agent: {fault}");
            return ExitCode::FAILURE;
        }
    };
    match serve(&mut host, &mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weiche-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options { state: "/var/lib/weiche".into(), root: "/".into(), simulate: false };
    let mut serve = false;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("state") => options.state = parser.value()?.into(),
            Long("root") => options.root = parser.value()?.into(),
            Long("simulate") => options.simulate = true,
            Long("version") => {
                println!("weiche-agent {BUILD}");
                return Ok(None);
            }
            Value(word) if word == "serve" => serve = true,
            other => return Err(other.unexpected()),
        }
    }
    if serve { Ok(Some(options)) } else { Err("nothing to do".into()) }
}
