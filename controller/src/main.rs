//! The entry point of `weiche`. Only this file ends the process.

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use weiche::cli::{Cli, run};

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("WEICHE_LOG").unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own exit code for bad usage, 2, means `changes pending` here.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("weiche: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => {
            eprintln!("weiche: {failure}");
            ExitCode::from(failure.exit.code())
        }
    }
}
