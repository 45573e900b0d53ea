//! `weiche completions`: completion scripts for shells.

use clap::CommandFactory;

use super::Cli;
use super::exit::{Exit, Failure};

/// Print a completion script
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "weiche", &mut script);
    super::work::print(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}
