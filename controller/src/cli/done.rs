//! `weiche done`: confirms a manual step of a run that waits for it.

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::drive::clock::now_ms;
use crate::view::View;

/// Confirm a manual step; then `weiche resume RUN` goes on
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run, or `latest`
    run: String,
    /// The step as `weiche status` names it: MEMBER/HOST:STEP
    step: String,
    /// Who confirms
    #[arg(long, default_value = "operator")]
    by: String,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let store = work::store(context, None).await?;
    let (run, _) = work::find_run(store.as_ref(), &args.run).await?;
    let events = store.events(&run.id).await.map_err(|e| Failure::of("read the run log", &e))?;
    let view = View::of(&run.id, &events);
    let waiting: Vec<String> =
        view.hosts.iter().filter_map(|(host, h)| h.waits.as_ref().map(|(step, _)| format!("{host}:{step}"))).collect();
    // The step's id alone is enough where it is unambiguous.
    let matches: Vec<&String> = waiting
        .iter()
        .filter(|w| **w == args.step || w.rsplit_once(':').is_some_and(|(_, s)| s == args.step))
        .collect();
    let [step] = matches.as_slice() else {
        let failure = Failure::new(format!("run {} does not wait for exactly one step `{}`", run.id, args.step));
        return Err(failure.hint(format!(
            "it waits for: {}",
            if waiting.is_empty() { "nothing".into() } else { waiting.join(", ") }
        )));
    };
    let confirmed = store.confirmed(&run.id).await.map_err(|e| Failure::of("read the run log", &e))?;
    if let Some(before) = confirmed.iter().find(|before| before.step == **step) {
        let failure = Failure::new(format!("{step} is done already, says {}", before.by));
        return Err(failure.hint(format!("go on with: weiche resume {}", run.id)));
    }
    store.confirm(&run.id, step, &args.by, now_ms()).await.map_err(|e| Failure::of("write the run log", &e))?;
    work::print(&format!("Confirmed {step}. Go on with: weiche resume {}\n", run.id));
    Ok(Exit::Done)
}
