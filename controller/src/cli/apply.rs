//! `weiche apply`: carries out a saved plan, or plans, asks and carries out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use weiche_agent::protocol::{Injection, StepId};

use super::exit::{Exit, Failure};
use super::expect::{self, When};
use super::work::{self, Prepared};
use super::{Context, read};
use crate::drive::clock::now_ms;
use crate::drive::run::{CrashAfter, Patience, Rehearsal, Start};
use crate::forecast::{self, Options};
use crate::input::target::HostName;
use crate::plan::Plan;
use crate::store::{Run, Store};

/// Carry out a playbook (asks first), or a saved plan; a failing step takes everything back
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The playbook
    #[arg(required_unless_present = "plan")]
    playbook: Option<String>,
    /// Its inputs, NAME=VALUE each
    inputs: Vec<String>,
    /// Carry out this saved plan: once, and only if the hosts are still as it saw them
    #[arg(long, value_name = "FILE", conflicts_with = "playbook")]
    plan: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Do not print the plan
    #[arg(short, long)]
    quiet: bool,
    /// Begin although the work or its rollback does not fit: stages wait for a window that is long enough
    #[arg(long)]
    even_if_late: bool,
    /// Begin although the plan is to begin later
    #[arg(long)]
    even_if_early: bool,
    #[command(flatten)]
    rehearse: Rehearse,
}

/// How a run is driven: how long, and which faults are rehearsed (agents on a real `/` refuse them).
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Rehearse {
    /// Rehearsal on sandbox hosts: HOST:STEP=fail|crash|hang
    #[arg(long = "inject", value_name = "FAULT")]
    pub(super) inject: Vec<String>,
    /// Rehearsal on sandbox hosts: HOST=N, the agent dies after N journal records of a request
    #[arg(long, value_name = "CRASH", hide = true)]
    pub(super) crash_agent: Option<String>,
    /// Stay until the run is through, however long it waits: for hosts that are switched off, pauses, windows
    #[arg(long)]
    pub(super) follow: bool,
    /// Rehearsal: this process dies after event N of the run log, or once the step STEP has changed its host
    #[arg(long, value_name = "N|STEP", hide = true)]
    pub(super) crash_after_event: Option<String>,
}

impl Rehearse {
    /// How long the run is waited for: a pause between waves is, a weekend is not.
    pub(super) fn patience(&self) -> Patience {
        if self.follow { Patience::Follow } else { Patience::Upto(Duration::from_secs(15 * 60)) }
    }

    pub(super) fn parse(&self) -> Result<Rehearsal, Failure> {
        let mut inject = BTreeMap::new();
        for text in &self.inject {
            let parsed = text.split_once('=').and_then(|(place, what)| {
                let (host, step) = place.split_once(':')?;
                let what = match what {
                    "fail" => Injection::Fail,
                    "crash" => Injection::Crash,
                    "hang" => Injection::Hang,
                    _ => return None,
                };
                Some(((HostName(host.into()), StepId(step.into())), what))
            });
            let bad = || Failure::new(format!("`{text}` is no fault")).hint("write MEMBER/HOST:STEP=fail|crash|hang");
            let (place, what) = parsed.ok_or_else(bad)?;
            inject.insert(place, what);
        }
        let crash_agent = match &self.crash_agent {
            None => None,
            Some(text) => {
                let parsed = text.split_once('=').and_then(|(host, n)| Some((HostName(host.into()), n.parse().ok()?)));
                Some(parsed.ok_or_else(|| Failure::new(format!("`{text}` is not HOST=N")))?)
            }
        };
        let crash_after = |text: &String| match text.parse() {
            Ok(seq) => CrashAfter::Event(seq),
            Err(_) => CrashAfter::Step(StepId(text.clone())),
        };
        let crash_after_event = self.crash_after_event.as_ref().map(crash_after);
        Ok(Rehearsal { inject, crash_agent, crash_after_event })
    }
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let rehearsal = args.rehearse.parse()?;
    let mut prepared = match (&args.plan, &args.playbook) {
        (Some(path), _) => from_file(path, context).await?,
        (None, Some(playbook)) => work::prepare(context, playbook, &work::inputs(&args.inputs)?, None).await?,
        (None, None) => return Err(Failure::new("name a playbook or a saved plan")),
    };
    if args.plan.is_none() && !context.json && !(args.quiet && args.yes) {
        work::print(&crate::show::plan::text(&prepared.plan));
    }
    if prepared.plan.changes() == 0 {
        prepared.pool.close().await;
        return Ok(Exit::Done);
    }
    let zone = prepared.loaded.fleet().zone();
    if !args.even_if_early {
        expect::refuse_early(&prepared.plan, zone)?;
    }
    // It begins now, whenever it was to.
    let options =
        Options { start_ms: now_ms(), ..When::default().options(&prepared.plan, &prepared.loaded, BTreeSet::new())? };
    // The fleet's limit may have been lowered since the plan was made, and the run works by that.
    let forecast = forecast::of(&prepared.plan.with_connections(prepared.pool.limit()), &options);
    if !args.quiet && !context.json {
        work::print(&crate::show::forecast::text(&forecast, zone));
    }
    if !args.even_if_late {
        expect::refuse(&forecast, zone)?;
    }
    if !args.yes && args.plan.is_none() {
        if !stdin().is_terminal() {
            return Err(Failure::new("there is no terminal to ask on; nothing was changed")
                .hint("give --yes, or save a plan and apply that"));
        }
        if !work::ask("Carry this out?") {
            return Err(Failure::new("not confirmed; nothing was changed"));
        }
        // People think for a while: the hosts must still be what they were shown.
        let now = work::look(&prepared.loaded, &prepared.procedure, &prepared.pool).await?;
        refuse_stale(&prepared, &now)?;
    }
    super::post::check(&prepared.loaded)?;
    let fleet = prepared.loaded.dir().to_owned();
    work::fetch(&prepared.plan, &mut prepared.procedure.contents, &fleet).await?;
    let store = work::store(context, Some(&prepared.loaded)).await?;
    let id = work::new_run()?;
    let run = Run { id: id.clone(), plan: crate::plan::write(&prepared.plan), created_ms: now_ms() };
    claim(&store, &run, &prepared.plan).await?;
    let _lock = work::lock_run(&work::store_dir(context, &prepared.loaded), &id)?;
    let job = work::job(id.clone(), prepared, store, rehearsal, args.rehearse.patience());
    let ending = work::drive(context, job, Start::New).await?;
    Ok(work::tell(context, &id, ending))
}

async fn claim(store: &Arc<dyn Store>, run: &Run, plan: &Plan) -> Result<(), Failure> {
    let fresh = store.add_run(run, &plan.digest()).await.map_err(|e| Failure::of("write the run log", &e))?;
    if fresh {
        return Ok(());
    }
    let digest = plan.digest();
    Err(Failure::new(format!("plan {} was used already; nothing was changed", digest.short()))
        .hint("a plan is used once: plan again"))
}

async fn from_file(path: &Path, context: &Context) -> Result<Prepared, Failure> {
    let saved = read::plan(path)?;
    let mut now = work::prepare(context, &saved.playbook, &work::inputs_of(&saved), Some(&saved.nonce)).await?;
    if !saved.same_work(&now.plan) {
        return Err(Failure::new("the fleet's files have changed since the plan was made; nothing was changed")
            .hint("plan again"));
    }
    let current = std::mem::replace(&mut now.plan, saved);
    refuse_stale(&now, &current)?;
    Ok(now)
}

fn refuse_stale(prepared: &Prepared, now: &Plan) -> Result<(), Failure> {
    let stale = prepared.plan.stale(now);
    if stale.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> =
        stale.iter().map(|(host, step)| format!("  {host}: {} {}", step.action.id(), step.title)).collect();
    let message = format!("the hosts are no longer what the plan saw; nothing was changed\n{}", lines.join("\n"));
    Err(Failure::new(message).hint("plan again and read what has changed"))
}
