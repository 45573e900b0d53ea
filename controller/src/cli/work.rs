//! What several commands do: load the fleet, expand a playbook, look at the hosts, make the plan, open the run log,
//! drive a run and tell how it ended.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use weiche_agent::digest::Digest;
use weiche_agent::protocol::RunId;

use super::exit::{Exit, Failure};
use super::{Context, expect, lease, post, proof, seed};
use crate::content::cache::Cache;
use crate::content::fetch;
use crate::drive::chain;
use crate::drive::clock::{nonce, now_ms};
use crate::drive::observe::observe;
use crate::drive::pool::{HostError, Pool};
use crate::drive::run::{Ending, Job, Patience, Rehearsal, Start, run};
use crate::drive::session::SessionError;
use crate::input::load::{DiskFiles, Loaded, load};
use crate::input::target::HostName;
use crate::plan::expand::Keys;
use crate::plan::procedure::{Action, Content, Procedure};
use crate::plan::{self, Metered, Plan, Unplannable};
use crate::rollout::{Happening, Outcome, Standing};
use crate::show::progress::{Progress, Style};
use crate::store::{Event, Run, SqliteStore, Store, StoreError};
use crate::view::View;

/// A plan with all that is needed to carry it out.
pub(super) struct Prepared {
    pub(super) loaded: Loaded,
    pub(super) procedure: Procedure,
    pub(super) plan: Plan,
    pub(super) pool: Arc<Pool>,
}

/// Loads the fleet, with every problem rendered into the failure.
pub(super) fn load_fleet(context: &Context) -> Result<Loaded, Failure> {
    load(&context.fleet).map_err(|e| {
        let place = context.fleet.display();
        Failure::new(format!("the fleet in {place} cannot be used\n{}", e.render(stderr().is_terminal())))
    })
}

/// Expands a playbook with inputs given as `name=value`; as for the plan with this nonce, if there is one.
pub(super) fn expand(
    loaded: &Loaded,
    playbook: &str,
    inputs: &[(String, String)],
    planned: Option<&str>,
) -> Result<Procedure, Failure> {
    let files = DiskFiles::new(loaded.dir());
    let direct = loaded.fleet().has_direct(playbook);
    let seed = match (direct, planned) {
        (false, _) => [0; 32],
        (true, None) => seed::read_or_make(loaded.dir())?,
        (true, Some(_)) => seed::read(loaded.dir())?,
    };
    let keys = Keys { nonce: planned.map_or_else(nonce, str::to_owned), seed };
    plan::expand::expand(loaded.fleet(), playbook, inputs, &files, &keys).map_err(|problems| {
        let text = loaded.render(&problems, stderr().is_terminal());
        Failure::new(format!("playbook `{playbook}` cannot be carried out as asked\n{text}"))
    })
}

/// The inputs of a plan as text, to expand its playbook once more.
pub(super) fn inputs_of(plan: &Plan) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    plan.inputs.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// Splits `name=value` arguments.
pub(super) fn inputs(arguments: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let split = |argument: &String| {
        argument.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| {
            Failure::new(format!("`{argument}` is no input")).hint("inputs are written NAME=VALUE, e.g. new=fs-new")
        })
    };
    arguments.iter().map(split).collect()
}

/// Expands, looks at the hosts and makes the plan; with the nonce of an earlier one, if that is to be compared.
pub(super) async fn prepare(
    context: &Context,
    playbook: &str,
    inputs: &[(String, String)],
    planned: Option<&str>,
) -> Result<Prepared, Failure> {
    let loaded = load_fleet(context)?;
    let procedure = expand(&loaded, playbook, inputs, planned)?;
    let pool = Arc::new(pool(&loaded, &hosts_of(&procedure), &procedure.meter)?);
    let mut plan = look(&loaded, &procedure, &pool).await?;
    plan.planner.clone_from(&context.who);
    expect::expect(context, &loaded, &mut plan).await?;
    Ok(Prepared { loaded, procedure, plan, pool })
}

/// Looks at the hosts and makes the plan.
pub(super) async fn look(loaded: &Loaded, procedure: &Procedure, pool: &Arc<Pool>) -> Result<Plan, Failure> {
    let seen = observe(procedure, pool).await.map_err(|errors| unreachable(&errors))?;
    plan::build(loaded.fleet().name(), procedure, &seen, now_ms()).map_err(|Unplannable(steps)| {
        let lines: Vec<String> =
            steps.iter().map(|(host, step, title, fault)| format!("  {host}: {step} {title}: {fault}")).collect();
        let hints: BTreeSet<&String> = steps.iter().filter_map(|(.., fault)| fault.hint.as_ref()).collect();
        let parts = steps.iter().map(|(host, step, title, fault)| (host.0.clone(), format!("{step} {title}: {fault}")));
        let failure = Failure::new(format!("{} step(s) cannot be planned\n{}", steps.len(), lines.join("\n")));
        let failure = failure.parts(parts.collect());
        hints.into_iter().fold(failure, |failure, hint| failure.hint(hint))
    })
}

/// Fetches, before anything changes, what steps of the plan need from the network; then it is a file like others.
pub(super) async fn fetch(plan: &Plan, contents: &mut BTreeMap<Digest, Content>, fleet: &Path) -> Result<(), Failure> {
    let cache = Cache::new(fleet);
    let needed: BTreeSet<&Digest> = plan.steps().flat_map(|(_, _, step)| &step.outlook.contents).collect();
    for digest in needed {
        let Some(Content::Url(url)) = contents.get(digest) else { continue };
        let size = fetch::fetch(url, digest, fetch::LIMITS, &cache).await.map_err(|error| {
            Failure::new(format!("{}; nothing was changed by that", error.told()))
                .hint(format!("or put the file itself at {}", cache.path(digest).display()))
        })?;
        contents.insert(digest.clone(), Content::File { path: Cache::place(digest), size });
    }
    Ok(())
}

/// Connections for these hosts, and for those that services are measured from.
pub(super) fn pool(loaded: &Loaded, hosts: &BTreeSet<HostName>, meter: &[Metered]) -> Result<Pool, Failure> {
    let mut targets = Vec::new();
    for host in hosts {
        targets.push(loaded.fleet().target(host).map_err(|e| Failure::of(host.0.as_str(), &e))?);
    }
    // Those that may have to wake one of them, and vantage hosts: no run fails without them.
    let wakers = targets.iter().filter_map(|target| target.wake.as_ref()).flat_map(|wake| &wake.through);
    let vantages = meter.iter().filter_map(|of| of.vantage.as_ref());
    let others: BTreeSet<&HostName> = wakers.chain(vantages).filter(|other| !hosts.contains(other)).collect();
    let others: Vec<_> = others.into_iter().filter_map(|other| loaded.fleet().target(other).ok()).collect();
    targets.extend(others);
    Ok(Pool::new(targets, loaded.fleet().connections()))
}

/// Every host that a procedure works on or reads from.
pub(super) fn hosts_of(procedure: &Procedure) -> BTreeSet<HostName> {
    let mut hosts = BTreeSet::new();
    for (host, actions) in procedure.stages.iter().flat_map(|stage| &stage.hosts) {
        hosts.insert(host.clone());
        hosts.extend(actions.iter().filter_map(source));
    }
    hosts
}

fn source(action: &Action) -> Option<HostName> {
    match action {
        Action::Transfer(transfer) => Some(transfer.from.clone()),
        _ => None,
    }
}

/// The hosts that a stored plan works on or reads from.
pub(super) fn hosts_of_plan(plan: &Plan) -> BTreeSet<HostName> {
    plan.steps().flat_map(|(_, host, step)| [Some(host.clone()), source(&step.action)]).flatten().collect()
}

/// One failure for all hosts that did not answer.
pub(super) fn unreachable(errors: &[(HostName, HostError)]) -> Failure {
    let connect = errors.iter().any(|(_, e)| matches!(e, HostError::Connect(_)));
    let mut lines = Vec::new();
    let mut hints = BTreeSet::new();
    for (host, error) in errors {
        lines.push(format!("  {host}: {}", chain(error)));
        match error {
            HostError::Connect(error) => hints.extend(error.hint()),
            HostError::Session(SessionError::Fault(fault)) => hints.extend(fault.hint.clone()),
            HostError::Session(_) => {}
        }
    }
    let message = format!("{} host(s) cannot be worked on; nothing was changed\n{}", errors.len(), lines.join("\n"));
    let parts = errors.iter().map(|(host, error)| (host.0.clone(), chain(error))).collect();
    let failure = Failure::new(message).parts(parts).exit(if connect { Exit::Unreachable } else { Exit::Error });
    hints.into_iter().fold(failure, |failure, hint| failure.hint(hint))
}

/// Where the run log lies.
pub(super) fn store_path(context: &Context, loaded: &Loaded) -> PathBuf {
    context.store.clone().unwrap_or_else(|| loaded.dir().join(loaded.fleet().store()))
}

/// Opens the run log.
pub(super) async fn store(context: &Context, loaded: Option<&Loaded>) -> Result<Arc<dyn Store>, Failure> {
    let path = match (&context.store, loaded) {
        (Some(path), _) => path.clone(),
        (None, Some(loaded)) => store_path(context, loaded),
        (None, None) => store_path(context, &load_fleet(context)?),
    };
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(|e| Failure::of(&format!("make {}", parent.display()), &e))?;
    }
    let store = SqliteStore::open(&path).await.map_err(|e| Failure::of("open the run log", &e))?;
    Ok(Arc::new(store))
}

/// A failure of the run log while a run is under way.
pub(super) fn store_failure(error: &StoreError) -> Failure {
    Failure::of("the run log", error)
        .exit(Exit::Stuck)
        .hint("the hosts finish the steps they own; mend the cause, then `weiche status` says what is safe to do")
}

/// Finds a run; `latest` names the newest.
pub(super) async fn find_run(store: &dyn Store, name: &str) -> Result<(Run, Plan), Failure> {
    let runs = store.runs().await.map_err(|e| Failure::of("read the run log", &e))?;
    let found = runs.into_iter().find(|run| name == "latest" || run.id.as_str() == name);
    let run = found.ok_or_else(|| {
        Failure::new(format!("there is no run `{name}`")).hint("`weiche status` lists the runs; `latest` is the newest")
    })?;
    let plan = plan::read(&run.plan).map_err(|e| Failure::of("read the plan of the run", &e))?;
    Ok((run, plan))
}

/// Keeps a second weiche of this machine away from a run; released with the value. `None` if one works on it already.
fn try_lock_run(store_dir: &Path, run: &RunId) -> Result<Option<File>, Failure> {
    let path: PathBuf = store_dir.join(format!("run-{run}.lock"));
    let file = File::create(&path).map_err(|e| Failure::of(&format!("make {}", path.display()), &e))?;
    Ok(file.try_lock().is_ok().then_some(file))
}

/// The same, where nobody else may work on it.
pub(super) fn lock_run(store_dir: &Path, run: &RunId) -> Result<File, Failure> {
    try_lock_run(store_dir, run)?.ok_or_else(|| busy(run))
}

fn busy(run: &RunId) -> Failure {
    Failure::new(format!("another weiche works on run {run}"))
        .hint("wait for it to end, or end that process first: the hosts' journals keep everything")
}

/// A run of the log, opened for going on with it or taking it back; nobody else of this machine works on it meanwhile.
pub(super) struct Opened {
    pub(super) loaded: Loaded,
    pub(super) store: Arc<dyn Store>,
    pub(super) id: RunId,
    pub(super) plan: Plan,
    pub(super) view: View,
    _lock: File,
}

/// Opens a run by name.
pub(super) async fn open_run(context: &Context, name: &str) -> Result<Opened, Failure> {
    try_open_run(context, name).await?.map_err(|run| busy(&run))
}

/// The same; the inner error is the run that another weiche of this machine works on.
async fn try_open_run(context: &Context, name: &str) -> Result<Result<Opened, RunId>, Failure> {
    let loaded = load_fleet(context).map_err(|failure| {
        failure.hint(
            "a run needs the fleet's addresses and keys: bring its files back as they were, e.g. with `git stash`",
        )
    })?;
    let store = store(context, Some(&loaded)).await?;
    let (stored, plan) = find_run(store.as_ref(), name).await?;
    let Some(_lock) = try_lock_run(&store_dir(context, &loaded), &stored.id)? else { return Ok(Err(stored.id)) };
    let events = store.events(&stored.id).await.map_err(|e| Failure::of("read the run log", &e))?;
    let view = View::of(&stored.id, &events);
    Ok(Ok(Opened { loaded, store, id: stored.id, plan, view, _lock }))
}

impl Opened {
    /// Drives the run.
    pub(super) async fn drive(
        self,
        context: &Context,
        contents: BTreeMap<Digest, Content>,
        (rehearsal, patience): (Rehearsal, Patience),
        start: Start,
    ) -> Result<Ending, Failure> {
        let pool = Arc::new(pool(&self.loaded, &hosts_of_plan(&self.plan), &self.plan.meter)?);
        let fleet_dir = self.loaded.dir().to_owned();
        let proof = proof::proof(&self.loaded, &self.id, &self.plan);
        let receivers = post::receivers(&self.loaded);
        let (run, plan, store) = (self.id, self.plan, self.store);
        let lease = None;
        let job = Job { run, plan, contents, fleet_dir, pool, store, rehearsal, patience, lease, proof, receivers };
        drive(context, job, start).await
    }
}

/// The directory that the run log lies in.
pub(super) fn store_dir(context: &Context, loaded: &Loaded) -> PathBuf {
    store_path(context, loaded).parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// Drives a run with progress shown, and tells how it ended.
pub(super) async fn drive(context: &Context, mut job: Job, start: Start) -> Result<Ending, Failure> {
    let style = if context.json { Style::Json } else { Style::People };
    let mut progress = Progress::new(style, &job.plan, now_ms);
    let (id, pool, store) = (job.run.clone(), Arc::clone(&job.pool), Arc::clone(&job.store));
    let members: BTreeSet<String> = job.plan.hosts().iter().map(|host| host.member().to_owned()).collect();
    let lease = lease::take(store.as_ref(), members.into_iter().collect()).await?;
    pool.set_epoch(lease.epoch);
    job.lease = Some(lease.clone());
    let plan = job.plan.clone();
    let interactive = stdin().is_terminal() && !context.json;
    let mut confirm =
        |host: &HostName, step: &str, text: &str| interactive && ask(&format!("{host}: {step}: {text}\nDone?"));
    let mut sink = |event: &Event| progress.take(event);
    // From here on: none that comes in between two looks is lost.
    let mut interrupts = signal(SignalKind::interrupt()).map_err(|e| Failure::of("listen for Ctrl-C", &e))?;
    let delivery = post::Delivery::start(post::post(&store, job.receivers.clone()));
    let mut driving = Box::pin(run(job, start, &mut sink, &mut confirm));
    // Beside the driving, which may be using the run log's only connection.
    let mut pausing = JoinSet::new();
    let mut interrupted = false;
    let ending = loop {
        tokio::select! {
            ending = &mut driving => break ending,
            Some(()) = interrupts.recv() => {
                if std::mem::replace(&mut interrupted, true) {
                    let message = format!("interrupted; the hosts finish the step they own (run {id})");
                    let failure = Failure::new(message).exit(Exit::Stuck);
                    let back = format!("or back: weiche rollback {id}");
                    return Err(failure.hint(format!("go on: weiche continue {id}")).hint(back));
                }
                let paused = Happening::Paused { by: format!("{} (Ctrl-C)", context.who) };
                let (store, id) = (Arc::clone(&store), id.clone());
                pausing.spawn(async move { store.order(&id, &paused, now_ms()).await });
            }
            Some(Ok(noted)) = pausing.join_next() => {
                noted.map_err(|e| store_failure(&e))?;
                let _ = writeln!(stderr(), "\nPausing run {id}: what has begun ends. Once more to leave it to the hosts.");
            }
        }
    };
    drop(driving);
    drop(progress);
    pool.close().await;
    store.release(&lease.members, lease.epoch).await.map_err(|e| store_failure(&e))?;
    // How the run ended counts for more than what it took.
    if let Err(failure) = expect::remember(store.as_ref(), &plan, &id).await {
        let _ = writeln!(stderr(), "What the steps took is not remembered: {failure}");
    }
    delivery.end().await;
    ending.map_err(|e| store_failure(&e))
}

/// What is said at the end of a run that was to go forward.
pub(super) fn tell(context: &Context, id: &RunId, ending: Ending) -> Exit {
    let line = match &ending {
        Ending::Ended(Outcome::Done) => format!("Run {id} is done. Take it back with: weiche rollback {id}"),
        Ending::Ended(Outcome::Partial) => {
            format!("Run {id} has ended: some hosts are new, every other is as it was. See: weiche status {id}")
        }
        Ending::Ended(Outcome::Left) => format!("Run {id} has ended; every host is left as it is."),
        Ending::Ended(Outcome::RolledBack) => format!("Run {id} failed and was taken back: every host is as it was."),
        Ending::Ended(Outcome::Differs) => {
            format!("Run {id} was taken back, but hosts DIFFER from before. See: weiche verify {id}")
        }
        Ending::Ended(Outcome::Stuck) => format!("Run {id} is STUCK. See: weiche status {id}"),
        Ending::Waiting(Standing::Until(at)) => {
            format!("Run {id} goes on at {}: weiche resume {id}", crate::show::time(*at))
        }
        Ending::Waiting(Standing::Offline(n)) => {
            format!("Run {id}: {n} host(s) are switched off. When they are on: weiche catch-up {id}")
        }
        Ending::Waiting(Standing::Held(reason)) => {
            format!("Run {id} has stopped: {reason}. Go on: weiche continue {id}; or back: weiche abort {id}")
        }
        Ending::Waiting(Standing::Gate { stage, missing }) => {
            let missing = missing.join("; ");
            format!("Run {id} waits before stage {stage}: {missing}. See: weiche approve --help, weiche tick --help")
        }
        Ending::Waiting(Standing::Paused) => format!("Run {id} is paused. Go on: weiche continue {id}"),
        Ending::Waiting(_) => format!("Run {id} waits for a person. See: weiche status {id}"),
    };
    if !context.json {
        let _ = writeln!(stderr(), "{line}");
    }
    match ending {
        Ending::Ended(outcome) => Exit::forward(outcome),
        Ending::Waiting(_) => Exit::Waiting,
    }
}

/// A job with the parts that every caller has.
pub(super) fn job(
    run: RunId,
    prepared: Prepared,
    store: Arc<dyn Store>,
    rehearsal: Rehearsal,
    patience: Patience,
) -> Job {
    let fleet_dir = prepared.loaded.dir().to_owned();
    let proof = proof::proof(&prepared.loaded, &run, &prepared.plan);
    let (receivers, lease) = (post::receivers(&prepared.loaded), None);
    let (plan, contents, pool) = (prepared.plan, prepared.procedure.contents, prepared.pool);
    Job { run, plan, contents, fleet_dir, pool, store, rehearsal, patience, lease, proof, receivers }
}

/// Asks a yes-or-no question on the terminal; anything but yes is no.
pub(super) fn ask(question: &str) -> bool {
    let _ = write!(stderr(), "{question} [y/N] ").and_then(|()| stderr().flush());
    let mut answer = String::new();
    let read = tokio::task::block_in_place(|| stdin().lock().read_line(&mut answer));
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "j" | "ja")
}

/// Prints data; a reader that went away is no error.
pub(super) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
}

/// A new run's name.
pub(super) fn new_run() -> Result<RunId, Failure> {
    RunId::try_from(crate::drive::clock::run_name()).map_err(Failure::new)
}

/// Who somebody is who does not say so; a pipeline may have no name.
pub(super) fn whoever() -> String {
    let said = |name: &&str| std::env::var(name).ok().filter(|who| !who.trim().is_empty());
    let number = || fs::metadata("/proc/self").map_or_else(|_| "nobody".to_owned(), |of| format!("uid {}", of.uid()));
    ["WEICHE_AS", "USER", "LOGNAME"].iter().find_map(said).unwrap_or_else(number)
}

/// Leaves a decision for whoever drives the run, and drives it here if nobody does and there is something to be done.
pub(super) async fn decide(
    context: &Context,
    name: &str,
    decision: impl FnOnce(&Plan, &View) -> Result<Vec<Happening>, Failure>,
    rehearse: Option<&super::apply::Rehearse>,
) -> Result<Exit, Failure> {
    let store = store(context, None).await?;
    let (stored, plan) = find_run(store.as_ref(), name).await?;
    let read = |e| Failure::of("read the run log", &e);
    let view = View::of(&stored.id, &store.events(&stored.id).await.map_err(read)?);
    for order in decision(&plan, &view)? {
        store.order(&stored.id, &order, now_ms()).await.map_err(|e| Failure::of("write the run log", &e))?;
    }
    drop(store);
    let run = &stored.id;
    let Some(rehearse) = rehearse else {
        let _ = writeln!(stderr(), "Noted. Whoever drives run {run} takes it up; if nobody does: weiche resume {run}");
        return Ok(Exit::Done);
    };
    match try_open_run(context, run.as_str()).await? {
        Ok(opened) => super::resume::go_on(context, opened, rehearse).await,
        Err(run) => {
            let _ = writeln!(stderr(), "Noted. The weiche that drives run {run} takes it up within a second.");
            Ok(Exit::Done)
        }
    }
}
