//! `weiche demo`: the main job on embedded sandbox hosts, through the very code that serves real hosts: plan, a swap
//! with a fault that takes itself back, the swap, and the way back by hand.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use tokio::task::JoinSet;

use super::exit::{Exit, Failure};
use super::{Cli, Context, work};
use crate::sandbox::{Sandbox, town};

/// Swap a server and take it back, on embedded sandbox hosts: no root, no services
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the hosts, the fleet and the report go [default: a new directory below the system's temporary one]
    #[arg(long)]
    dir: Option<PathBuf>,
}

const SWAP: [&str; 3] = ["copy-swap", "old=obere-aller/fs-old", "new=obere-aller/fs-new"];

/// The step of the swap that the rehearsed fault hits: when everything is on its way.
const FAULT: &str = "obere-aller/fs-new:cutover.4=fail";

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let _ = context;
    let begin = Instant::now();
    let dir = match args.dir {
        Some(dir) => dir,
        None => std::env::temp_dir().join(format!("weiche-demo-{}", std::process::id())),
    };
    let io = |e: std::io::Error| Failure::of(&format!("build the sandbox in {}", dir.display()), &e);
    std::fs::create_dir_all(&dir).map_err(io)?;
    let dir = dir.canonicalize().map_err(io)?;
    if dir.join("fleet").exists() {
        return Err(Failure::new(format!("there is a demo in {} already", dir.display())).hint("name another --dir"));
    }
    let sandbox =
        Sandbox::start(&town::HOSTS, &dir.join("ssh")).await.map_err(|e| Failure::of("start the sandbox", &e))?;
    let mut services = JoinSet::new();
    for service in town::build(&dir, &sandbox).map_err(io)? {
        services.spawn(service.serve());
    }
    let demo = Demo { dir: dir.clone() };

    say("This is a sandbox: five SSH hosts on the loopback, each a directory. Files, users, SSH, agent, journal, undo");
    say("and the run log are the real ones; package and unit commands are simulated, and the plan says so.");
    title("Before: the old server is set up and has users' data on it");
    demo.weiche(&["apply", "converge", "hosts=obere-aller/fs-old", "--yes", "--quiet"], &[Exit::Done]).await?;
    town::users_work(&town::root(&dir, "fs-old")).map_err(io)?;
    let before = demo.snapshots("before")?;

    title("1. The plan of the swap: every change, with its undo beside it; nothing is changed");
    demo.weiche(&[&["plan"], &SWAP[..]].concat(), &[Exit::Pending]).await?;

    title("2. The swap with a fault in the middle of the cutover: it takes itself back");
    let faulty = [&["apply"], &SWAP[..], &["--yes", "--quiet", "--inject", FAULT]].concat();
    demo.weiche(&faulty, &[Exit::RolledBack]).await?;
    demo.prove(&before, "after-fault")?;

    title("3. The swap");
    demo.weiche(&[&["apply"], &SWAP[..], &["--yes", "--quiet"]].concat(), &[Exit::Done]).await?;
    let report = demo.report().await?;

    title("4. Monday: back to the old server, by hand");
    demo.weiche(&["rollback", "latest"], &[Exit::Done]).await?;
    demo.prove(&before, "after-rollback")?;

    title("5. Three workplaces at once");
    demo.weiche(&["apply", "converge", "hosts={kind: pc}", "--yes", "--quiet"], &[Exit::Done]).await?;
    demo.weiche(&["status"], &[Exit::Done]).await?;

    title("Summary");
    say("  swap planned, failed on purpose, taken back: every host byte-identical to before");
    say("  swap done, taken back by hand: every host byte-identical to before");
    say(&format!("  report of the swap:  {}", report.display()));
    say(&format!("  manifests to compare: {}/*.txt", dir.display()));
    say(&format!("  the fleet, to play with the files: {}/fleet", dir.display()));
    say(&format!("  took {:.1} s", begin.elapsed().as_secs_f64()));
    Ok(Exit::Done)
}

struct Demo {
    dir: PathBuf,
}

impl Demo {
    /// Runs a command as a user would, and checks how it ends.
    async fn weiche(&self, arguments: &[&str], expected: &[Exit]) -> Result<(), Failure> {
        let fleet = self.dir.join("fleet");
        let fleet = fleet.to_string_lossy();
        let shown: Vec<String> =
            arguments.iter().map(|a| if a.contains(' ') { format!("'{a}'") } else { (*a).into() }).collect();
        say(&format!("$ weiche {}", shown.join(" ")));
        let line = [&["weiche", "-C", &*fleet], arguments].concat();
        let cli = Cli::try_parse_from(line).map_err(|e| Failure::of("the demo's own command", &e))?;
        let exit = Box::pin(super::run(cli)).await?;
        say(&format!("(exit code {})", exit.code()));
        if expected.contains(&exit) {
            return Ok(());
        }
        Err(Failure::new(format!("the demo expected exit {expected:?}, not {exit:?}")).exit(Exit::Stuck))
    }

    fn snapshots(&self, name: &str) -> Result<BTreeMap<&'static str, String>, Failure> {
        let mut found = BTreeMap::new();
        for host in town::HOSTS {
            let fault = |e| Failure::of(&format!("read sandbox host {host}"), &e);
            let (digest, lines) = town::snapshot(&self.dir, host).map_err(fault)?;
            std::fs::write(self.dir.join(format!("{name}-{host}.txt")), lines).map_err(fault)?;
            found.insert(host, digest.to_string());
        }
        Ok(found)
    }

    /// Shows that every host is byte for byte what it was.
    fn prove(&self, before: &BTreeMap<&'static str, String>, name: &str) -> Result<(), Failure> {
        let now = self.snapshots(name)?;
        for host in town::HOSTS {
            if before.get(host) != now.get(host) {
                let (a, b) = (format!("before-{host}.txt"), format!("{name}-{host}.txt"));
                let message = format!("{host} is not what it was: compare {a} and {b} in {}", self.dir.display());
                return Err(Failure::new(message).exit(Exit::Stuck));
            }
            let digest = now.get(host).map_or("", |d| &d[..16]);
            say(&format!(
                "  proof: {host:<7} identical to before (digest of all files, modes, links, owners: {digest})"
            ));
        }
        Ok(())
    }

    async fn report(&self) -> Result<PathBuf, Failure> {
        let context = Context { fleet: self.dir.join("fleet"), store: None, json: true, who: String::new() };
        let store = work::store(&context, None).await?;
        let (run, plan) = work::find_run(store.as_ref(), "latest").await?;
        let events = store.events(&run.id).await.map_err(|e| Failure::of("read the run log", &e))?;
        let path: PathBuf = Path::new(&self.dir).join("report.json");
        let text = crate::show::report::json(&plan, &events);
        std::fs::write(&path, text).map_err(|e| Failure::of("write the report", &e))?;
        Ok(path)
    }
}

fn title(text: &str) {
    say(&format!("\n=== {text}"));
}

fn say(text: &str) {
    work::print(&format!("{text}\n"));
}
