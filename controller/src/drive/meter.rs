//! Measures how long services are away: each is probed ten times a second for as long as a run is driven, from here and,
//! where its member says so, from a host in the users' network. A look waits for no other one, so a service that hangs is
//! looked at just as often.

mod eye;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::clock::now_ms;
use super::pool::Pool;
use super::shared::Events;
use super::vantage::{self, Sight};
use crate::input::target::HostName;
use crate::plan::Metered;
use crate::rollout::Happening;
use crate::rollout::meter::{Answer, Change, Measure, Meter, Sample};

use eye::{Begun, Eye, Looked, millis};

/// Between the beginnings of two looks.
const PERIOD: Duration = Duration::from_millis(100);

/// So many looks may wait for their answers: more than there are in the time after which one is given up.
const PENDING: usize = 64;

/// So many questions may be open on the line to a vantage host, those that are not waited for any more among them: each is
/// a file of its sshd, which may have 1024. Its services have equal shares.
const OPEN: usize = 256;

/// The measurements of a run that is being driven.
pub(super) struct Meters {
    tasks: JoinSet<(String, Option<HostName>, Measure)>,
    stop: watch::Sender<bool>,
    /// They end with the value.
    _lines: JoinSet<()>,
}

impl Meters {
    /// Begins to measure these services.
    pub(super) fn start(services: &[Metered], pool: &Arc<Pool>, events: &Events) -> Meters {
        let (stop, stopped) = watch::channel(false);
        let (mut tasks, mut lines) = (JoinSet::new(), JoinSet::new());
        let mut begin = |of: &Metered, eye: Eye| {
            let (of, events, stopped) = (of.clone(), events.clone(), stopped.clone());
            tasks.spawn(async move { measure(of, eye, &events, stopped).await });
        };
        services.iter().for_each(|of| begin(of, Eye::Here));
        let mut of_host: BTreeMap<&HostName, Vec<&Metered>> = BTreeMap::new();
        for of in services {
            of.vantage.iter().for_each(|host| of_host.entry(host).or_default().push(of));
        }
        for (host, services) in of_host {
            let (sender, sight) = watch::channel(Sight::Before);
            let share = (OPEN / services.len()).clamp(1, PENDING);
            for of in services {
                begin(of, Eye::there(host.clone(), sight.clone(), share));
            }
            let (host, pool) = (host.clone(), Arc::clone(pool));
            lines.spawn(async move { vantage::hold(&host, &pool, &sender).await });
        }
        Meters { tasks, stop, _lines: lines }
    }

    /// Ends it: what was measured.
    pub(super) async fn end(mut self) -> Vec<Happening> {
        self.stop.send_replace(true);
        let mut all = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            // A measurement that panicked has nothing to say.
            all.extend(ended.ok());
        }
        all.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        let measured = |(service, vantage, measure)| Happening::ServiceMeasured { service, vantage, measure };
        all.into_iter().map(measured).collect()
    }
}

async fn measure(
    of: Metered,
    mut eye: Eye,
    events: &Events,
    mut stopped: watch::Receiver<bool>,
) -> (String, Option<HostName>, Measure) {
    let vantage = eye.vantage().cloned();
    let mut begin = Instant::now();
    let mut meter = Meter::new(now_ms(), of.budget_ms);
    let mut number = 0;
    match eye.opens(&mut stopped).await {
        // It begins with the first connection, if that does not take long.
        None => {
            begin = Instant::now();
            meter = Meter::new(now_ms(), of.budget_ms);
        }
        Some(fault) => {
            let sample = Sample { start_ms: 0, answer: Answer::Untold(fault) };
            let changes = meter.take(number, sample);
            changes.into_iter().for_each(|change| events.send(happening(&of.service, vantage.as_ref(), change)));
            number += 1;
        }
    }
    let mut pending: JoinSet<(u64, u64, Looked)> = JoinSet::new();
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ended = None;
    loop {
        let (number, start_ms, looked) = tokio::select! {
            biased;
            Some(looked) = pending.join_next() => {
                // A look that panicked is one without an answer; those behind it are never taken then.
                let Ok(looked) = looked else { continue };
                looked
            }
            _ = stopped.wait_for(|stopped| *stopped), if ended.is_none() => {
                ended = Some(millis(begin.elapsed()));
                continue;
            }
            _ = tick.tick(), if ended.is_none() && pending.len() < PENDING => {
                let start_ms = millis(begin.elapsed());
                let looked = match eye.look(&of.probe) {
                    Begun::Under(look) => {
                        let this = number;
                        pending.spawn(async move { (this, start_ms, look.await) });
                        None
                    }
                    Begun::Over(looked) => Some((number, start_ms, looked)),
                    Begun::Not => continue,
                };
                number += 1;
                let Some(looked) = looked else { continue };
                looked
            }
            // Looks that are under way when it ends are waited for: what takes long may be what was to be measured.
            else => break,
        };
        let answer = eye.heed(looked);
        for change in meter.take(number, Sample { start_ms, answer }) {
            events.send(happening(&of.service, vantage.as_ref(), change));
        }
    }
    let after_ms = ended.unwrap_or_else(|| millis(begin.elapsed()));
    (of.service, vantage, meter.end(after_ms))
}

/// What a look has changed, for the run log.
fn happening(service: &str, vantage: Option<&HostName>, change: Change) -> Happening {
    let (service, host) = (service.to_owned(), vantage.cloned());
    // Only a look from elsewhere leaves something untold.
    let there = || vantage.cloned().unwrap_or_else(|| HostName(String::new()));
    match change {
        Change::Away(gap) => Happening::ServiceAway { service, vantage: host, gap },
        Change::Back(gap) => Happening::ServiceBack { service, vantage: host, gap },
        Change::Blank(blank) => Happening::ServiceUntold { service, vantage: there(), blank },
        Change::Again(blank) => Happening::ServiceTold { service, vantage: there(), blank },
    }
}
