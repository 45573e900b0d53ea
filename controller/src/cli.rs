//! The command line: one file per command, each with its arguments and a `run` function.
//!
//! stdout is data, stderr is talk. Every failure is a [`Failure`] whose kind decides the exit code, see [`exit`].

mod abort;
mod apply;
mod approve;
mod calendar;
mod catch_up;
mod check;
mod completions;
mod demo;
mod done;
mod drift;
mod exit;
mod expect;
mod facts;
mod go_on;
mod history;
mod init;
mod kind;
mod lease;
mod log;
mod metrics;
mod outbox;
mod output;
mod paper;
mod pause;
mod plan;
mod post;
mod proof;
mod read;
mod report;
mod resume;
mod rollback;
mod schema;
mod seed;
mod show;
mod status;
mod stuck;
mod tick;
mod undo;
mod verify;
mod whatif;
mod work;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use exit::{Exit, Failure};

/// Plans and carries out staged, reversible changes to the servers and PCs of many members.
#[derive(Debug, Parser)]
#[command(name = "weiche", version, after_help = exit::TABLE)]
pub struct Cli {
    /// The fleet's directory
    #[arg(short = 'C', long, global = true, default_value = ".", value_name = "DIR")]
    pub fleet: PathBuf,
    /// The run log [default: the fleet's `store:`]
    #[arg(long, global = true, value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// Data as JSON; runs as JSON lines of their events
    #[arg(long, global = true)]
    pub json: bool,
    /// Who you are, as the file of approvers names you [default: $WEICHE_AS, else $USER]
    #[arg(long = "as", global = true, value_name = "NAME")]
    pub who: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Abort(abort::Args),
    Apply(apply::Args),
    Approve(approve::Args),
    Calendar(calendar::Args),
    CatchUp(catch_up::Args),
    Check(check::Args),
    Completions(completions::Args),
    Continue(go_on::Args),
    Demo(demo::Args),
    Done(done::Args),
    Drift(drift::Args),
    Facts(facts::Args),
    History(history::Args),
    Init(init::Args),
    Kind(kind::Args),
    Log(log::Args),
    Metrics(metrics::Args),
    Outbox(outbox::Args),
    Paper(paper::Args),
    Pause(pause::Args),
    Plan(plan::Args),
    Report(report::Args),
    Resume(resume::Args),
    Rollback(rollback::Args),
    Schema(schema::Args),
    Show(show::Args),
    Status(status::Args),
    Stuck(stuck::Args),
    Tick(tick::Args),
    Undo(undo::Args),
    Verify(verify::Args),
    Whatif(whatif::Args),
}

/// What every command gets.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The fleet's directory.
    pub(crate) fleet: PathBuf,
    /// Overrides the fleet's run log.
    pub(crate) store: Option<PathBuf>,
    /// Machine-readable output.
    pub(crate) json: bool,
    /// Who plans, approves and decides.
    pub(crate) who: String,
}

/// Runs the command that the arguments name.
///
/// # Errors
/// See [`Failure`].
pub async fn run(cli: Cli) -> Result<Exit, Failure> {
    let who = cli.who.unwrap_or_else(work::whoever);
    let context = Context { fleet: cli.fleet, store: cli.store, json: cli.json, who };
    match cli.command {
        Command::Abort(args) => abort::run(args, &context).await,
        Command::Apply(args) => apply::run(args, &context).await,
        Command::Approve(args) => approve::run(args, &context).await,
        Command::Calendar(args) => calendar::run(args, &context).await,
        Command::CatchUp(args) => catch_up::run(args, &context).await,
        Command::Check(args) => check::run(&args, &context),
        Command::Completions(args) => completions::run(&args),
        Command::Continue(args) => go_on::run(args, &context).await,
        Command::Demo(args) => demo::run(args, &context).await,
        Command::Done(args) => done::run(args, &context).await,
        Command::Drift(args) => drift::run(args, &context).await,
        Command::Facts(args) => facts::run(args, &context).await,
        Command::History(args) => history::run(args, &context).await,
        Command::Init(args) => init::run(&args),
        Command::Kind(args) => kind::run(&args),
        Command::Log(args) => log::run(args, &context).await,
        Command::Metrics(args) => metrics::run(args, &context).await,
        Command::Outbox(args) => outbox::run(args, &context).await,
        Command::Paper(args) => paper::run(args, &context).await,
        Command::Pause(args) => pause::run(args, &context).await,
        Command::Plan(args) => plan::run(args, &context).await,
        Command::Report(args) => report::run(args, &context).await,
        Command::Resume(args) => resume::run(args, &context).await,
        Command::Rollback(args) => rollback::run(args, &context).await,
        Command::Schema(args) => schema::run(&args),
        Command::Show(args) => show::run(&args, &context),
        Command::Status(args) => status::run(args, &context).await,
        Command::Stuck(args) => stuck::run(args, &context).await,
        Command::Tick(args) => tick::run(args, &context).await,
        Command::Undo(args) => undo::run(args, &context).await,
        Command::Verify(args) => verify::run(args, &context).await,
        Command::Whatif(args) => whatif::run(args, &context).await,
    }
}
