//! Probes the services of a stage whenever one of its waves is through: between waves, and while it soaks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::task::JoinHandle;
use weiche_agent::protocol::{Fault, StepId};

use super::observe::unknown;
use super::pool::Held;
use super::probe;
use super::shared::{Events, Shared, as_fault};
use crate::plan::procedure::Check;
use crate::plan::rules::SERVICE_FAILS;
use crate::rollout::Happening;

/// Between two looks at all services.
const EVERY: Duration = Duration::from_secs(5);

/// Between two tries to reach a service that did not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// The probing that goes on now; it ends with the value.
#[derive(Default)]
pub(super) struct Watch {
    of: Option<(usize, usize)>,
    task: Option<JoinHandle<()>>,
}

impl Watch {
    /// Probes for this stage and wave from now on, or nothing.
    pub(super) fn follow(&mut self, of: Option<(usize, usize)>, shared: &Arc<Shared>, events: &Events) {
        if self.of == of {
            return;
        }
        self.end();
        self.of = of;
        self.task = of.map(|(stage, wave)| {
            let (shared, events) = (Arc::clone(shared), events.clone());
            tokio::spawn(async move { look(&shared, stage, wave, &events).await })
        });
    }

    fn end(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

/// Looks until something does not work. What is said after the first good look is only that.
async fn look(shared: &Shared, stage: usize, wave: usize, events: &Events) {
    let Some(of) = shared.plan.stages.get(stage) else { return };
    let name = of.name.clone();
    let mut seen = false;
    loop {
        for of in &of.rules.probes {
            let check = Check {
                id: StepId(of.service.clone()),
                probe: of.probe.clone(),
                within: SERVICE_FAILS,
                every: AGAIN,
                waits: false,
            };
            // Services are probed from outside.
            let nobody = || async { Err::<(Held, SemaphorePermit<'static>), Fault>(as_fault(unknown().into())) };
            if let Err(fault) = probe::check(&check, nobody).await {
                let service = of.service.clone();
                events.send(Happening::ServiceFailed { stage: name, service, fault });
                return;
            }
        }
        if !std::mem::replace(&mut seen, true) {
            events.send(Happening::ServicesWork { stage: name.clone(), wave });
        }
        tokio::time::sleep(EVERY).await;
    }
}
