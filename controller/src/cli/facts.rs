//! `weiche facts`: what the hosts say of themselves.

use std::sync::Arc;

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::drive::observe;
use crate::input::target::HostName;

/// Ask hosts for their facts
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Hosts as MEMBER/NAME; all that have an address if left out
    hosts: Vec<String>,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let loaded = work::load_fleet(context)?;
    let hosts: Vec<HostName> = if args.hosts.is_empty() {
        loaded.fleet().hosts().filter(|host| host.reachable()).map(|host| host.name.clone()).collect()
    } else {
        args.hosts.into_iter().map(HostName).collect()
    };
    if hosts.is_empty() {
        return Err(Failure::new("no host of this fleet has an address").hint("give it `address` and `host_key`"));
    }
    let pool = Arc::new(work::pool(&loaded, &hosts.iter().cloned().collect(), &[])?);
    let (found, errors) = observe::facts(hosts, &pool).await;
    if context.json {
        work::print(&(serde_json::to_string_pretty(&found).unwrap_or_default() + "\n"));
    } else {
        for (host, facts) in &found {
            work::print(&crate::show::facts::text(host, facts));
        }
    }
    pool.close().await;
    if errors.is_empty() { Ok(Exit::Done) } else { Err(work::unreachable(&errors)) }
}
