//! Measures how long services are away: each is probed ten times a second for as long as a run is driven. A look waits for
//! no other one, so a service that hangs is looked at just as often.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use weiche_agent::protocol::Fault;

use super::clock::now_ms;
use super::probe;
use super::shared::Events;
use crate::plan::Metered;
use crate::rollout::Happening;
use crate::rollout::meter::{Change, Measure, Meter, Sample};

/// Between the beginnings of two looks.
const PERIOD: Duration = Duration::from_millis(100);

/// So many looks may wait for their answers: more than there are in the time after which one is given up.
const PENDING: usize = 64;

/// The measurements of a run that is being driven.
pub(super) struct Meters {
    tasks: JoinSet<(String, Measure)>,
    stop: watch::Sender<bool>,
}

impl Meters {
    /// Begins to measure these services.
    pub(super) fn start(services: &[Metered], events: &Events) -> Meters {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for service in services {
            let (service, events, stopped) = (service.clone(), events.clone(), stopped.clone());
            tasks.spawn(async move { measure(service, &events, stopped).await });
        }
        Meters { tasks, stop }
    }

    /// Ends it: what was measured.
    pub(super) async fn end(mut self) -> Vec<Happening> {
        self.stop.send_replace(true);
        let mut all = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            // A measurement that panicked has nothing to say.
            all.extend(ended.ok());
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.into_iter().map(|(service, measure)| Happening::ServiceMeasured { service, measure }).collect()
    }
}

async fn measure(of: Metered, events: &Events, mut stopped: watch::Receiver<bool>) -> (String, Measure) {
    let begin = Instant::now();
    let ms = |at: Instant| u64::try_from(at.duration_since(begin).as_millis()).unwrap_or(u64::MAX);
    let mut meter = Meter::new(now_ms(), of.budget_ms);
    let mut pending = JoinSet::new();
    let mut number = 0;
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ended = None;
    loop {
        tokio::select! {
            biased;
            Some(look) = pending.join_next() => {
                // A look that panicked is one without an answer; those behind it are never taken then.
                let Ok((number, sample)) = look else { continue };
                for change in meter.take(number, sample) {
                    let service = of.service.clone();
                    events.send(match change {
                        Change::Away(gap) => Happening::ServiceAway { service, gap },
                        Change::Back(gap) => Happening::ServiceBack { service, gap },
                    });
                }
            }
            _ = stopped.wait_for(|stopped| *stopped), if ended.is_none() => ended = Some(ms(Instant::now())),
            _ = tick.tick(), if ended.is_none() && pending.len() < PENDING => {
                let (probe, at, this) = (of.probe.clone(), Instant::now(), number);
                number += 1;
                let start_ms = ms(at);
                pending.spawn(async move {
                    let answer = probe::once(&probe).await.map(|()| at.elapsed().as_millis());
                    let answer = answer.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
                    (this, Sample { start_ms, answer: answer.map_err(|fault: Fault| fault.to_string()) })
                });
            }
            // Looks that are under way when it ends are waited for: what takes long may be what was to be measured.
            else => break,
        }
    }
    (of.service, meter.end(ended.unwrap_or_else(|| ms(Instant::now()))))
}
