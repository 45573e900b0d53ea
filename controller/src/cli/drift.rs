//! `weiche drift`: what others have changed since the last run wrote it.

use std::path::PathBuf;
use std::sync::Arc;

use super::exit::{Exit, Failure};
use super::{Context, output, work};
use crate::drive::clock::now_ms;
use crate::drive::observe;
use crate::drive::witness::LOOK;
use crate::input::target::HostName;

/// Say what on hosts is no longer as the last run left it (exit 2 if anything is)
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Hosts as MEMBER/NAME; all that have an address if left out
    hosts: Vec<String>,
    /// Only hosts of this member
    #[arg(long)]
    member: Option<String>,
    /// Write metrics for Prometheus into this file: whole, and renamed
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let loaded = work::load_fleet(context)?;
    if let Some(member) = args.member.as_ref().filter(|m| loaded.fleet().member(m).is_none()) {
        return Err(Failure::new(format!("there is no member `{member}`")));
    }
    let mut hosts: Vec<HostName> = if args.hosts.is_empty() {
        loaded.fleet().hosts().filter(|host| host.reachable()).map(|host| host.name.clone()).collect()
    } else {
        args.hosts.into_iter().map(HostName).collect()
    };
    hosts.retain(|host| args.member.as_ref().is_none_or(|member| host.member() == member));
    if hosts.is_empty() {
        return Err(Failure::new("no such host has an address").hint("give it `address` and `host_key`"));
    }
    let pool = Arc::new(work::pool(&loaded, &hosts.iter().cloned().collect(), &[])?);
    let (found, errors) = observe::ask(hosts, &pool, |session| Box::pin(session.drift(LOOK))).await;
    pool.close().await;
    if let Some(path) = &args.metrics {
        let counts = found.iter().map(|(host, drifts)| (host.clone(), drifts.len())).collect();
        let silent: Vec<HostName> = errors.iter().map(|(host, _)| host.clone()).collect();
        output::whole(path, &crate::show::metrics::drift(&counts, &silent, now_ms()))?;
    }
    let drifted = found.values().any(|drifts| !drifts.is_empty());
    if context.json {
        work::print(&(serde_json::to_string_pretty(&found).unwrap_or_default() + "\n"));
    } else {
        found.iter().for_each(|(host, drifts)| work::print(&crate::show::verdict::drift(host, drifts)));
        if !drifted && errors.is_empty() {
            work::print(&format!("{} host(s) are as the last runs left them\n", found.len()));
        }
    }
    match (errors.is_empty(), drifted) {
        (false, _) => Err(work::unreachable(&errors)),
        (true, true) => Ok(Exit::Pending),
        (true, false) => Ok(Exit::Done),
    }
}
