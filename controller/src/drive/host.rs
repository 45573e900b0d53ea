//! One host's part of one stage, forward and back: consecutive resource steps are one request to its agent; checks,
//! transfers and manual steps are carried out from here, in between. When the line is cut, the agent goes on with what it
//! owns: we connect again and ask the same once more, and its journal sees to it that nothing is done twice.

use std::time::{Duration, Instant};

use weiche_agent::protocol::{Fault, FaultCode, StepEvent, StepId, StepOutcome};

use super::lost::Search;
use super::observe::unknown;
use super::pool::HostError;
use super::session::SessionError;
use super::shared::{Events, Shared, as_fault, micros, report, stage};
use super::{guard, probe, reboot, transfer, wake, witness};
use crate::input::target::HostName;
use crate::plan::Step;
use crate::plan::procedure::Action;
use crate::plan::rules::LOST;
use crate::rollout::Happening;

/// Time for the machinery around a stage's steps: connection, contents, journal.
const GRACE: Duration = Duration::from_secs(60);

/// Least time for taking one stage back, and how long an agent that still owns a step is waited for.
const UNDO: Duration = Duration::from_secs(600);

/// Why a host's part of a stage ended early.
enum Stop {
    /// It was not there, and nothing was begun.
    Offline(Fault),
    /// It failed.
    Failed(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Failed(fault)
    }
}

/// Carries out the host's part of a stage.
pub(super) async fn run(shared: &Shared, host: &HostName, stage: &str, events: &Events) {
    let (name, part) = (host.clone(), stage.to_owned());
    let what = match forward(shared, host, stage, events).await {
        Ok(None) => Happening::HostDone { host: name, stage: part },
        Ok(Some((step, text))) => Happening::HostWaits { host: name, stage: part, step, text },
        Err(Stop::Offline(fault)) if waits_for_offline(shared, stage) => {
            Happening::HostOffline { host: name, stage: part, fault }
        }
        Err(Stop::Offline(fault) | Stop::Failed(fault)) => {
            shared.turns.fail(stage, host);
            Happening::HostFailed { host: name, stage: part, fault }
        }
    };
    events.send(what);
}

fn waits_for_offline(shared: &Shared, stage: &str) -> bool {
    shared.plan.stages.iter().any(|s| s.name == stage && s.rules.offline_ms.is_some())
}

/// Makes sure that the host is there, and notes that it may be changed from now on.
async fn begin(shared: &Shared, host: &HostName, stage: &str, events: &Events) -> Result<(), Stop> {
    let is_first = witness::is_first(&shared.plan, host, stage);
    let waited_for = waits_for_offline(shared, stage);
    // One that has been there already may be there again soon.
    let longest = if is_first || waited_for { Duration::ZERO } else { LOST };
    match there(shared, host, longest).await {
        Err(Stop::Offline(_)) if waited_for && wake::wake(shared, host).await => there(shared, host, wake::UP).await?,
        there => there?,
    }
    if is_first {
        witness::take(shared, host, events).await?;
    }
    events.record(Happening::HostBegun { host: host.clone(), stage: stage.into() }).await?;
    Ok(guard::arm(shared, host, stage).await?)
}

/// Whether the host can be reached, looking for it for a while.
async fn there(shared: &Shared, host: &HostName, longest: Duration) -> Result<(), Stop> {
    let connect = || async {
        let (mut held, _permit) = shared.pool.hold(host).await.ok_or_else(unknown)?;
        held.session().await?;
        Ok(())
    };
    Search::upto(longest).ask(host, connect).await.map_err(|error| {
        let away = matches!(&error, HostError::Connect(error) if error.is_away());
        let fault = as_fault(error);
        if away { Stop::Offline(fault) } else { Stop::Failed(fault) }
    })
}

/// Takes back the host's part of a stage; `verify`: nothing of the run is left on the host then, so it is compared with
/// its manifest.
pub(super) async fn undo(
    shared: &Shared,
    (host, stage): (&HostName, &str),
    over_drift: bool,
    verify: bool,
    events: &Events,
) {
    let mut what = Happening::HostUndone { host: host.clone(), stage: stage.into() };
    for part in shared.turns.back(stage, host) {
        let undone = match shared.turns.turn_back(stage, host, &part).await {
            Ok(()) => taken_back(shared, host, (stage, &part.only), over_drift, events).await,
            Err(fault) => Err((Vec::new(), fault)),
        };
        if let Err((steps, fault)) = undone {
            what = Happening::HostStuck { host: host.clone(), stage: stage.into(), steps, fault };
            break;
        }
        shared.turns.is_back(stage, host, &part);
    }
    let back = matches!(what, Happening::HostUndone { .. });
    shared.turns.leave(stage, host, !back);
    if verify && back {
        witness::verify(shared, host, events).await;
    }
    events.send(what);
}

/// Takes back a part of the stage; if that cannot be: what is left, and why.
async fn taken_back(
    shared: &Shared,
    host: &HostName,
    part: (&str, &[StepId]),
    over_drift: bool,
    events: &Events,
) -> Result<(), (Vec<StepId>, Fault)> {
    let begin = Instant::now();
    loop {
        match backward(shared, host, part, over_drift, events).await {
            Ok((stuck, _)) if stuck.is_empty() => return Ok(()),
            Ok((steps, fault)) => {
                let fault = fault.unwrap_or_else(|| Fault::new(FaultCode::Unknown, "a step could not be taken back"));
                return Err((steps, fault));
            }
            // The agent of a cut connection still finishes its step; its journal is ours when it is through.
            Err(HostError::Session(SessionError::Fault(fault)))
                if fault.code == FaultCode::Busy && begin.elapsed() < UNDO => {}
            Err(error) => {
                let fault = as_fault(error).hint(format!("once the host answers: weiche rollback {}", shared.run));
                return Err((Vec::new(), fault));
            }
        }
    }
}

/// `Some` if the host now waits for a person.
async fn forward(
    shared: &Shared,
    host: &HostName,
    stage: &str,
    events: &Events,
) -> Result<Option<(StepId, String)>, Stop> {
    shared.turns.enter(stage, host);
    begin(shared, host, stage, events).await?;
    shared.turns.begun(stage, host);
    let stages = shared.plan.stages.iter().find(|s| s.name == stage);
    let mut steps: &[Step] = stages.and_then(|s| s.hosts.get(host)).map_or(&[], Vec::as_slice);
    for (turn, size) in shared.turns.of(stage, host, steps.len()) {
        let (part, after) = steps.split_at(size.min(steps.len()));
        steps = after;
        if let Some(turn) = turn {
            shared.turns.turn(stage, turn).await?;
        }
        if let Some(waits) = in_order(shared, host, (stage, part), events).await? {
            return Ok(Some(waits));
        }
        if let Some(turn) = turn {
            shared.turns.through(stage, turn);
        }
    }
    shared.turns.all(stage).await?;
    guard::through(shared, host, stage).await?;
    Ok(None)
}

/// Carries out steps one after the other; `Some` if the host now waits for a person.
async fn in_order(
    shared: &Shared,
    host: &HostName,
    (stage, steps): (&str, &[Step]),
    events: &Events,
) -> Result<Option<(StepId, String)>, Fault> {
    let mut rest = steps;
    while let Some(first) = rest.first() {
        let resource = |step: &&Step| matches!(step.action, Action::Resource(_));
        let size = rest.iter().take_while(resource).count().max(1);
        let (part, after) = rest.split_at(size);
        rest = after;
        let begin = Instant::now();
        let outcome = match &first.action {
            Action::Resource(_) => {
                let confirm = guard::confirm_within(shared, stage).filter(|_| rest.is_empty());
                resources(shared, host, part, confirm, events).await?;
                continue;
            }
            Action::Transfer(transfer) => transfer::run(shared, host, transfer, events).await?,
            Action::Reboot(step) => reboot::run(shared, host, step, events)
                .await
                .map_err(|fault| fault.within(format!("step {}", step.id)))?,
            Action::Check(check) => {
                let session = || async { shared.pool.hold(host).await.ok_or_else(|| as_fault(unknown().into())) };
                if let Some(told) = probe::check(check, session).await? {
                    report(events, host, first.action.id(), StepOutcome::Note(told), begin);
                }
                StepOutcome::Unchanged
            }
            Action::Manual(manual) => {
                let name = format!("{host}:{}", manual.id);
                let confirmed = shared.store.confirmed(&shared.run).await.map_err(|e| {
                    Fault::new(FaultCode::Io, e.to_string()).within("ask the run log for a confirmation")
                })?;
                if !confirmed.iter().any(|confirmed| confirmed.step == name) {
                    return Ok(Some((manual.id.clone(), manual.to_string())));
                }
                StepOutcome::Unchanged
            }
        };
        if !matches!(first.action, Action::Transfer(_)) {
            report(events, host, first.action.id(), outcome, begin);
        }
    }
    Ok(None)
}

/// How long steps may take, the machinery around them included.
pub(super) fn bound(steps: &[Step]) -> Duration {
    let each = steps.iter().map(|step| match &step.action {
        Action::Resource(step) => Duration::from_millis(step.timeout_ms) * 2,
        Action::Check(check) => check.within,
        Action::Reboot(reboot) => reboot.within,
        Action::Transfer(_) => witness::LOOK,
        Action::Manual(_) => Duration::ZERO,
    });
    GRACE + each.sum::<Duration>()
}

async fn resources(
    shared: &Shared,
    host: &HostName,
    part: &[Step],
    confirm: Option<Duration>,
    events: &Events,
) -> Result<(), Fault> {
    let mut steps = Vec::new();
    for planned in part {
        let Action::Resource(step) = &planned.action else { continue };
        let mut step = step.clone();
        step.inject = shared.rehearsal.inject.get(&(host.clone(), step.id.clone())).copied();
        steps.push(step);
    }
    let mut failed = None;
    // Contents are sent ahead of all steps: the first that needs some took that time too.
    let mut heavy = part.iter().find(|step| !step.outlook.contents.is_empty()).map(|step| step.action.id().clone());
    let (begin, mut ahead_us) = (Instant::now(), None);
    let mut on_event = |mut event: StepEvent| {
        let ahead_us = *ahead_us.get_or_insert_with(|| micros(begin.elapsed()).saturating_sub(event.took_us));
        if heavy.as_ref() == Some(&event.step) && !matches!(event.what, StepOutcome::Note(_)) {
            event.took_us += ahead_us;
            heavy = None;
        }
        if let StepOutcome::Failed(fault) | StepOutcome::UndoFailed(fault) = &event.what {
            failed = Some(fault.clone().within(format!("step {}", event.step)));
        }
        events.send(Happening::Step { host: host.clone(), event });
    };
    let end = Instant::now() + bound(part);
    let mut search = Search::upto(LOST);
    let ok = loop {
        let contents = part.iter().flat_map(|planned| planned.outlook.contents.iter().cloned());
        let contents = contents.filter_map(|digest| shared.blob(digest)).collect();
        let left = end.saturating_duration_since(Instant::now());
        let answer: Result<bool, HostError> = async {
            let (mut held, _permit) = shared.pool.hold(host).await.ok_or_else(unknown)?;
            let session = held.session().await?;
            stage(shared, host, session, (contents, steps.clone(), confirm), left, &mut on_event).await
        }
        .await;
        match answer {
            Ok(ok) => break ok,
            Err(error) if Instant::now() > end => return Err(as_fault(error)),
            Err(error) => search.again(host, error).await.map_err(as_fault)?,
        }
    };
    if ok { Ok(()) } else { Err(failed.unwrap_or_else(|| Fault::new(FaultCode::Unknown, "the stage failed"))) }
}

/// The steps that remain, and why the first of them does.
async fn backward(
    shared: &Shared,
    host: &HostName,
    (stage, only): (&str, &[StepId]),
    over_drift: bool,
    events: &Events,
) -> Result<(Vec<StepId>, Option<Fault>), HostError> {
    let (mut held, _permit) = shared.pool.hold(host).await.ok_or_else(unknown)?;
    let session = held.session().await?;
    let mut failed = None;
    let mut on_event = |event: StepEvent| {
        if let StepOutcome::UndoFailed(fault) = &event.what {
            failed.get_or_insert_with(|| fault.clone().within(format!("step {}", event.step)));
        }
        events.send(Happening::Step { host: host.clone(), event });
    };
    let stuck = session.undo(&shared.run, (Some(stage), only), over_drift, &mut on_event, UNDO).await?;
    Ok((stuck, failed))
}
