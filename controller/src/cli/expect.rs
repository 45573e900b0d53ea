//! What a plan is expected to take: what the store remembers goes into the plan, and what a run took into the store.

use std::collections::BTreeSet;

use weiche_agent::protocol::RunId;

use super::exit::{Exit, Failure};
use super::{Context, work};
use crate::calendar::{Moment, Zone};
use crate::drive::clock::now_ms;
use crate::forecast::{self, Forecast, Options};
use crate::history::{self, ByHand, History};
use crate::input::fleet::{Fleet, HostKind};
use crate::input::load::Loaded;
use crate::input::target::HostName;
use crate::plan::procedure::Action;
use crate::plan::{Crew, Plan};
use crate::store::Store;

/// Weekends that are sampled for one forecast.
const WEEKENDS: u32 = 1_000;

/// For when a forecast is made, and with whom.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct When {
    /// The run begins then, in the fleet's time zone [default: as the plan says, else now]: `2026-11-27 18:00`, `sat 20:00` or `20:00`, the next one
    #[arg(long, value_name = "TIME")]
    start: Option<Moment>,
    /// So many people do manual steps at once [default: as the plan says; there: the fleet's `technicians:`, else as many as it takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    technicians: Option<u32>,
}

impl When {
    /// Whether something was asked for.
    pub(super) fn given(&self) -> bool {
        self.start.is_some() || self.technicians.is_some()
    }

    /// How a plan is to be forecast: what was asked for, else what the plan says.
    pub(super) fn options(
        &self,
        plan: &Plan,
        loaded: &Loaded,
        without: BTreeSet<HostName>,
    ) -> Result<Options, Failure> {
        let now = now_ms();
        let start_ms = self.start(loaded.fleet().zone(), now)?.unwrap_or_else(|| plan.begins_ms(now));
        Ok(Options { start_ms, technicians: self.technicians, without, weekends: WEEKENDS, now_ms: now })
    }

    fn start(&self, zone: &Zone, now: i64) -> Result<Option<i64>, Failure> {
        let Some(moment) = &self.start else { return Ok(None) };
        let over = || {
            Failure::new(format!("`{moment}` is no time that is yet to come"))
                .hint("it is now ".to_owned() + &zone.tell(now))
        };
        Ok(Some(moment.next(zone, now).ok_or_else(over)?))
    }

    /// Notes in a plan when it is to begin, and with whom.
    pub(super) fn note(&self, plan: &mut Plan, zone: &Zone) -> Result<(), Failure> {
        plan.start_ms = self.start(zone, now_ms())?;
        if self.technicians.is_some() {
            plan.crew.technicians = self.technicians;
            forecast::settle(plan);
        }
        Ok(())
    }

    /// The forecast of a plan.
    pub(super) fn forecast(&self, plan: &Plan, loaded: &Loaded) -> Result<Forecast, Failure> {
        Ok(forecast::of(plan, &self.options(plan, loaded, BTreeSet::new())?))
    }
}

/// Notes in a plan what its steps are expected to take. A store that is not there yet remembers nothing.
pub(super) async fn expect(context: &Context, loaded: &Loaded, plan: &mut Plan) -> Result<(), Failure> {
    let fleet = loaded.fleet();
    plan.connections = fleet.connections();
    let class = |host: &HostName| match fleet.host(host).map(|host| host.kind) {
        _ if plan.simulated.contains(host) => "simulated",
        Some(HostKind::Pc) => "pc",
        Some(HostKind::Server) | None => "server",
    };
    plan.crew = crew(fleet, plan);
    plan.classes = plan.hosts().into_iter().map(|host| (host.clone(), class(&host).to_owned())).collect();
    let history = if work::store_path(context, loaded).exists() {
        let store = work::store(context, Some(loaded)).await?;
        store.durations().await.map_err(|e| Failure::of("read the run log", &e))?
    } else {
        Vec::new()
    };
    history::attach(plan, &History::new(history));
    // What is said to be far larger than anything before it may be reckoned to take longer than there are numbers for.
    plan.estimates().for_each(|estimate| *estimate = estimate.capped());
    forecast::settle(plan);
    Ok(())
}

/// Whom the fleet knows of those who do manual steps.
fn crew(fleet: &Fleet, plan: &Plan) -> Crew {
    let named = plan.steps().filter_map(|(_, host, step)| match &step.action {
        Action::Manual(manual) => manual.by.as_ref().filter(|by| fleet.people(host.member()).contains_key(by.as_str())),
        _ => None,
    });
    Crew { technicians: fleet.technicians(), persons: named.cloned().collect() }
}

/// Remembers what the steps of a run took.
pub(super) async fn remember(store: &dyn Store, plan: &Plan, run: &RunId) -> Result<(), Failure> {
    let events = store.events(run).await.map_err(|e| work::store_failure(&e))?;
    let confirmed = store.confirmed(run).await.map_err(|e| work::store_failure(&e))?;
    let by_hand = confirmed.iter().map(|c| ByHand { step: &c.step, by: &c.by, at_ms: c.at_ms });
    let samples = history::fold(plan, events.iter().map(|event| (event.at_ms, &event.what)), by_hand);
    store.add_durations(&history::few(samples)).await.map_err(|e| work::store_failure(&e))
}

/// Refuses a plan that is to begin later.
pub(super) fn refuse_early(plan: &Plan, zone: &Zone) -> Result<(), Failure> {
    match plan.start_ms.filter(|start| now_ms() < *start) {
        None => Ok(()),
        Some(start) => {
            let message = format!("the plan is to begin {}; nothing was changed", zone.tell(start));
            Err(Failure::new(message).hint("wait until then, or begin now all the same with --even-if-early"))
        }
    }
}

/// Refuses a plan that does not fit.
pub(super) fn refuse(forecast: &Forecast, zone: &Zone) -> Result<(), Failure> {
    if forecast.fits {
        return Ok(());
    }
    let text = crate::show::forecast::problems(forecast, zone);
    let failure = Failure::new(format!("the plan does not fit; nothing was changed\n{text}")).exit(Exit::DoesNotFit);
    Err(failure.hint("weiche whatif tells what would; --even-if-late begins all the same: stages wait for a window that is long enough"))
}
