//! `weiche check`: reads the whole fleet and says everything that is wrong with it.

use std::io::IsTerminal;
use std::path::PathBuf;

use super::exit::{Exit, Failure};
use super::{Context, work};

/// Check the fleet's files: all problems at once
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The fleet's directory, instead of -C
    directory: Option<PathBuf>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let directory = args.directory.clone().unwrap_or_else(|| context.fleet.clone());
    let context = Context { fleet: directory, ..context.clone() };
    let loaded = match crate::input::load::load(&context.fleet) {
        Ok(loaded) => loaded,
        Err(failure) if context.json => {
            work::print(&(serde_json::to_string_pretty(&failure.problems).unwrap_or_default() + "\n"));
            return Err(Failure::new(format!("{} problem(s)", failure.problems.len())));
        }
        Err(failure) => {
            let text = failure.render(std::io::stderr().is_terminal());
            return Err(Failure::new(format!("the fleet in {} has problems\n{text}", context.fleet.display())));
        }
    };
    let fleet = loaded.fleet();
    if context.json {
        work::print(&(serde_json::to_string_pretty(&loaded.warnings).unwrap_or_default() + "\n"));
        return Ok(Exit::Done);
    }
    if !loaded.warnings.is_empty() {
        work::print(&loaded.render(&loaded.warnings, std::io::stdout().is_terminal()));
    }
    let printers: usize = fleet.members().map(|member| member.printers.len()).sum();
    work::print(&format!(
        "Fleet {}: {} member(s), {} host(s), {} printer(s), {} profile(s), {} playbook(s). No problems.\n",
        fleet.name(),
        fleet.members().count(),
        fleet.hosts().count(),
        printers,
        fleet.profiles().len(),
        fleet.playbooks().len(),
    ));
    Ok(Exit::Done)
}
