//! `weiche whatif`: whether a plan would fit if it began at another time, with other people, without some hosts.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::exit::{Exit, Failure};
use super::expect::When;
use super::{Context, read, work};
use crate::forecast;
use crate::input::target::HostName;
use crate::plan::Plan;

/// Show when a plan would do what, whether it and its rollback fit, and what would make them fit (exit code 5 if not)
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The playbook; its hosts are looked at
    #[arg(required_unless_present_any = ["plan", "run"])]
    playbook: Option<String>,
    /// Its inputs, NAME=VALUE each
    inputs: Vec<String>,
    /// A saved plan: no host is looked at
    #[arg(long, value_name = "FILE", conflicts_with_all = ["playbook", "run"])]
    plan: Option<PathBuf>,
    /// The plan of a run; `latest` is the newest
    #[arg(long, value_name = "RUN", conflicts_with = "playbook")]
    run: Option<String>,
    #[command(flatten)]
    when: When,
    /// Without this host; may be given more than once
    #[arg(long, value_name = "HOST")]
    without: Vec<String>,
    /// Every step, not only the stages
    #[arg(long)]
    steps: bool,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let loaded = work::load_fleet(context)?;
    let plan = match (&args.plan, &args.run, &args.playbook) {
        (Some(path), ..) => read::plan(path)?,
        (_, Some(run), _) => work::find_run(work::store(context, Some(&loaded)).await?.as_ref(), run).await?.1,
        (.., playbook) => {
            let playbook = playbook.as_deref().unwrap_or_default();
            let prepared = work::prepare(context, playbook, &work::inputs(&args.inputs)?, None).await?;
            prepared.pool.close().await;
            prepared.plan
        }
    };
    let without = args.without.iter().map(|name| host(&plan, name)).collect::<Result<BTreeSet<HostName>, Failure>>()?;
    let forecast = forecast::of(&plan, &args.when.options(&plan, &loaded, without)?);
    let zone = loaded.fleet().zone();
    if context.json {
        work::print(&crate::show::forecast::json(&plan, &forecast));
    } else {
        work::print(&crate::show::forecast::text(&forecast, zone));
        if args.steps {
            work::print(&crate::show::forecast::steps(&plan, &forecast, zone));
        }
    }
    Ok(if forecast.fits { Exit::Done } else { Exit::DoesNotFit })
}

fn host(plan: &Plan, name: &str) -> Result<HostName, Failure> {
    let hosts = plan.hosts();
    let mut found = hosts.into_iter().filter(|host| host.0 == name || host.0.rsplit('/').next() == Some(name));
    match (found.next(), found.next()) {
        (Some(host), None) => Ok(host),
        (None, _) => Err(Failure::new(format!("the plan has no host `{name}`"))),
        (Some(..), Some(_)) => {
            Err(Failure::new(format!("several members have a host `{name}`")).hint("write MEMBER/HOST"))
        }
    }
}
