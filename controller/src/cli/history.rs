//! `weiche history`: what steps took, and what is expected of the next ones.

use std::path::PathBuf;

use super::exit::{Exit, Failure};
use super::{Context, output, read, work};
use crate::drive::clock::now_ms;
use crate::history::{self, History};

/// Longest file that is read, in bytes.
const MOST: u64 = 512 << 20;

/// Show what steps took in earlier runs, and the bounds that plans go by; export and import them
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show them, by kind of step (the default)
    Show {
        /// Only this kind of step
        kind: Option<String>,
    },
    /// Write them as JSON lines, for another provider: without names of members, hosts and files
    Export {
        /// With names, for oneself
        #[arg(long)]
        names: bool,
        /// Where to; else to the standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Take what `weiche history export` wrote
    Import {
        /// The file
        file: PathBuf,
    },
    /// Forget what steps took, e.g. because somebody said too late that a manual step was done
    Forget {
        /// The kind of step, as `weiche history` names it
        kind: String,
        /// Its title, as `weiche history` names it; else all of the kind
        title: Option<String>,
    },
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let store = work::store(context, None).await?;
    let failed = |e| Failure::of("the run log", &e);
    match args.command.unwrap_or(Command::Show { kind: None }) {
        Command::Show { kind } => {
            let all = store.durations().await.map_err(failed)?;
            let wanted = all.into_iter().filter(|sample| kind.as_ref().is_none_or(|kind| *kind == sample.what));
            let history = History::new(wanted);
            let text = if context.json {
                history::write(history.samples(), true)
            } else {
                crate::show::history::text(&history)
            };
            work::print(&text);
        }
        Command::Export { names, output } => {
            let all = store.durations().await.map_err(failed)?;
            let text = history::write(all.iter(), names);
            match output {
                Some(path) => output::whole(&path, &text)?,
                None => work::print(&text),
            }
        }
        Command::Import { file } => {
            let text = read::text(&file, MOST)?;
            let samples = history::read(&text, now_ms()).map_err(|e| {
                Failure::of(&format!("{} cannot be used; nothing was taken from it", file.display()), &e)
            })?;
            store.add_durations(&samples).await.map_err(failed)?;
            work::print(&format!("{} duration(s) read.\n", samples.len()));
        }
        Command::Forget { kind, title } => {
            let forgotten = store.forget_durations(&kind, title.as_deref()).await.map_err(failed)?;
            if forgotten == 0 {
                return Err(
                    Failure::new("nothing like that is remembered").hint("weiche history names kinds and titles")
                );
            }
            work::print(&format!("{forgotten} duration(s) forgotten.\n"));
        }
    }
    Ok(Exit::Done)
}
