//! `weiche verify`: compares hosts with what was listed before a run's first change.

use std::collections::BTreeSet;
use std::sync::Arc;

use weiche_agent::protocol::RunId;

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::drive::clock::now_ms;
use crate::drive::observe;
use crate::drive::witness::LOOK;
use crate::input::target::HostName;
use crate::rollout::{Happening, Outcome, Verdict};
use crate::show::{manifest, verdict};
use crate::store::{EVENT_VERSION, Event, Store};
use crate::view::State;

/// Compare hosts with their manifests from before a run (exit 2 if anything differs)
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
    /// Only these hosts, as MEMBER/NAME
    hosts: Vec<String>,
    /// Print one host's manifest instead, for public tools
    #[arg(long, value_enum)]
    export: Option<manifest::Form>,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let opened = work::open_run(context, &args.run).await?;
    let all: BTreeSet<HostName> = opened.plan.hosts();
    let hosts: BTreeSet<HostName> = args.hosts.into_iter().map(HostName).collect();
    if let Some(unknown) = hosts.difference(&all).next() {
        return Err(Failure::new(format!("run {} has nothing to do with `{unknown}`", opened.id)));
    }
    let hosts = if hosts.is_empty() { all } else { hosts };
    let pool = Arc::new(work::pool(&opened.loaded, &hosts, &[])?);
    let hosts: Vec<HostName> = hosts.into_iter().collect();
    let run = opened.id.clone();
    if let Some(form) = args.export {
        let [host] = hosts.as_slice() else {
            return Err(Failure::new("one manifest at a time").hint("name one host, as MEMBER/NAME"));
        };
        let (found, errors) = observe::ask(vec![host.clone()], &pool, move |session| {
            let run = run.clone();
            Box::pin(async move {
                work::print(form.head());
                session.export(&run, &mut |part| work::print(&form.lines(&part)), LOOK).await
            })
        })
        .await;
        pool.close().await;
        return if found.is_empty() { Err(work::unreachable(&errors)) } else { Ok(Exit::Done) };
    }
    let (found, errors) = observe::ask(hosts, &pool, move |session| {
        let run = run.clone();
        Box::pin(async move { session.verify(&run, LOOK).await })
    })
    .await;
    pool.close().await;
    let verdicts: Vec<(HostName, Verdict)> =
        found.into_iter().filter_map(|(host, verdict)| Some((host, verdict?))).collect();
    // Only of a host that was to be as before it is known for good whether it is: one that is new, or half-way, is not.
    let over = matches!(&opened.view.state, State::Ended(outcome) if *outcome != Outcome::Left);
    let back = |host: &HostName| opened.view.hosts.get(host).is_some_and(|seen| seen.done.is_empty());
    let kept: Vec<(HostName, Verdict)> = verdicts.iter().filter(|(host, _)| over && back(host)).cloned().collect();
    record(opened.store.as_ref(), &opened.id, opened.view.last_seq, &kept).await?;
    if context.json {
        let by_host: std::collections::BTreeMap<_, _> = verdicts.iter().map(|(host, v)| (host, v)).collect();
        work::print(&(serde_json::to_string_pretty(&by_host).unwrap_or_default() + "\n"));
    } else {
        for (host, verdict) in &verdicts {
            work::print(&(verdict::text(host, verdict, usize::MAX) + "\n"));
        }
        if verdicts.is_empty() && errors.is_empty() {
            work::print("the run has changed none of these hosts\n");
        }
    }
    if !errors.is_empty() {
        return Err(work::unreachable(&errors));
    }
    Ok(if verdicts.iter().all(|(_, verdict)| verdict.identical()) { Exit::Done } else { Exit::Pending })
}

/// Notes what was found in the run log, so that reports have it.
async fn record(store: &dyn Store, run: &RunId, last: u64, verdicts: &[(HostName, Verdict)]) -> Result<(), Failure> {
    let event = |((host, verdict), seq): (&(HostName, Verdict), u64)| {
        let what = Happening::HostVerified { host: host.clone(), verdict: verdict.clone() };
        Event { v: EVENT_VERSION, run: run.clone(), seq: last + seq, at_ms: now_ms(), what }
    };
    let events: Vec<Event> = verdicts.iter().zip(1..).map(event).collect();
    if events.is_empty() {
        return Ok(());
    }
    store.append(&events).await.map_err(|e| work::store_failure(&e))
}
