//! `weiche approve`: signs a stage of a run, so that its gate opens.

use std::path::PathBuf;

use super::exit::{Exit, Failure};
use super::{Context, proof, read, work};
use crate::approval::{approval, sign, signing_key};
use crate::drive::clock::now_ms;
use crate::plan::Plan;
use crate::rollout::Happening;

/// Longest key or signature, in bytes.
const LONGEST: u64 = 64 << 10;

/// Approve a stage of a run with a signature
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
    /// The stage whose gate is to open
    #[arg(long)]
    stage: String,
    /// Sign with this private key (without passphrase)
    #[arg(long, value_name = "FILE", required_unless_present_any = ["signature", "statement"])]
    key: Option<PathBuf>,
    /// Take this signature, made with `ssh-keygen -Y sign -n weiche` over what --statement prints
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    signature: Option<PathBuf>,
    /// Only print what is to be signed
    #[arg(long)]
    statement: bool,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let loaded = work::load_fleet(context)?;
    let store = work::store(context, Some(&loaded)).await?;
    let (run, plan) = work::find_run(store.as_ref(), &args.run).await?;
    let stage = stage(&plan, &args.stage)?;
    let statement = proof::statement(&run.id, &plan, stage).map_err(|e| Failure::of("state what is approved", &e))?;
    if args.statement {
        work::print(&statement.to_string());
        return Ok(Exit::Done);
    }
    let read = |path: &PathBuf| read::text(path, LONGEST);
    let signature = match (&args.key, &args.signature) {
        (Some(path), _) => {
            let key = signing_key(&read(path)?, None).map_err(|e| Failure::of(&path.display().to_string(), &e))?;
            sign(&key, &statement).map_err(|e| Failure::of("sign", &e))?
        }
        (None, Some(path)) => read(path)?,
        (None, None) => return Err(Failure::new("give --key, or --signature")),
    };
    let at_ms = now_ms();
    let members = stage.hosts.keys().map(|host| host.member());
    let approval = approval(loaded.fleet(), &statement, &signature, members, at_ms)
        .map_err(|e| Failure::of("the approval does not count", &e))?;
    let happening = Happening::Approved { stage: args.stage, approval, statement: statement.to_string(), signature };
    work::decide(context, run.id.as_str(), |_, _| Ok(vec![happening]), None).await
}

fn stage<'a>(plan: &'a Plan, name: &str) -> Result<&'a crate::plan::Stage, Failure> {
    let gated = || plan.stages.iter().filter(|stage| stage.rules.gate.is_some());
    gated().find(|stage| stage.name == name).ok_or_else(|| {
        let names: Vec<&str> = gated().map(|stage| stage.name.as_str()).collect();
        let hint =
            if names.is_empty() { "no stage has one".into() } else { format!("these have: {}", names.join(", ")) };
        Failure::new(format!("the stage `{name}` has no gate")).hint(hint)
    })
}
