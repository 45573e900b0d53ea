//! What webhooks are told: a pure fold of the run log's events into notices, one an event at most, and when one that was
//! not received is sent again. Of the time that is left people are told when there is something else to decide.
//!
//! A notice names places and outcomes. What steps and probes said is not in it: it may hold contents, or users' names.

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use weiche_agent::protocol::{FaultCode, RunId};

use crate::calendar::Zone;
use crate::input::target::HostName;
use crate::input::webhook::Topic;
use crate::rollout::reckoning::{Decide, Reckoning};
use crate::rollout::{Happening, Outcome};
use crate::store::{Event, Letter};

/// Major and minor version of [`Notice`] as JSON: the major one is raised when a reader of the old form would be wrong.
pub const VERSION: (u32, u32) = (1, 0);

/// Longest sentence of a notice, in characters: what people name things is not bounded elsewhere.
const SENTENCE: usize = 1000;

/// What a webhook is told of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Notice {
    /// Major and minor version of this form.
    pub weiche_notice: (u32, u32),
    /// A notice that comes twice has the same key both times.
    pub key: String,
    /// What it is about.
    pub topic: Topic,
    /// The event's name in the run log; or `waits_for_people` of a stage's gate.
    pub what: String,
    /// The fleet.
    pub fleet: String,
    /// The run.
    pub run: RunId,
    /// The playbook.
    pub playbook: String,
    /// Number of the event in the run log; a notice that no event says has that of the last one.
    pub seq: u64,
    /// When it happened, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The members that the run changes; of a notice about one host its member only.
    pub members: BTreeSet<String>,
    /// The stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// How the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// From then on a rollback no longer ends in the window, in milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort_by_ms: Option<i64>,
    /// The same for people.
    pub says: String,
}

/// What is known of a run without its events, and what people were told to decide last.
#[derive(Clone, Debug)]
pub struct Of {
    /// The fleet.
    pub fleet: String,
    /// The playbook.
    pub playbook: String,
    /// Its members.
    pub members: BTreeSet<String>,
    /// Where people look at their clocks.
    pub zone: Zone,
    /// What there was to decide, by the events so far.
    pub decide: Decide,
}

impl Of {
    /// The notice of the next event; `None` for what nobody needs to be told, or has been told.
    pub fn notice(&mut self, event: &Event) -> Option<Notice> {
        let what = &event.what;
        let mut abort_by_ms = None;
        let (topic, says) = match what {
            Happening::Reckoned { reckoning } => {
                abort_by_ms = reckoning.abort_by_ms;
                if std::mem::replace(&mut self.decide, reckoning.decide) == reckoning.decide {
                    return None;
                }
                (Topic::Run, decide(reckoning, &event.run, &self.zone)?)
            }
            _ => told(what)?,
        };
        let (stage, host) = place(what);
        let outcome = if let Happening::RunEnded { outcome } = what { Some(*outcome) } else { None };
        let members = host.as_ref().map_or_else(|| self.members.clone(), |host| [host.member().to_owned()].into());
        Some(Notice {
            weiche_notice: VERSION,
            key: format!("{}-{}", event.run, event.seq),
            topic,
            what: name(what),
            fleet: self.fleet.clone(),
            run: event.run.clone(),
            playbook: self.playbook.clone(),
            seq: event.seq,
            at_ms: event.at_ms,
            members,
            stage,
            host,
            outcome,
            abort_by_ms,
            says: bounded(says),
        })
    }

    /// The notice that a stage waits for people, which is no event: nothing happens until they act. `last` is the last
    /// event of the run, so that whoever finds the stage still waiting says the same.
    pub fn waits(&self, (run, last, at_ms): (&RunId, u64, i64), stage: &str, missing: &[String]) -> Notice {
        Notice {
            weiche_notice: VERSION,
            key: format!("{run}-{last}-gate"),
            topic: Topic::Gate,
            what: "waits_for_people".into(),
            fleet: self.fleet.clone(),
            run: run.clone(),
            playbook: self.playbook.clone(),
            seq: last,
            at_ms,
            members: self.members.clone(),
            stage: Some(stage.to_owned()),
            host: None,
            outcome: None,
            abort_by_ms: None,
            says: bounded(format!("Stage {stage} waits for people: {}.", missing.join("; "))),
        }
    }
}

/// A notice as a letter to every webhook that asked for its topic.
pub fn letters<'a>(
    notice: &Notice,
    webhooks: impl Iterator<Item = (&'a str, &'a BTreeSet<Topic>)>,
) -> impl Iterator<Item = Letter> {
    // It consists of strings, numbers and lists of them: it always serialises.
    let body = serde_json::to_string(notice).unwrap_or_default();
    let key = notice.key.clone();
    let asked = webhooks.filter(|(_, on)| on.contains(&notice.topic));
    asked.map(move |(webhook, _)| Letter { webhook: webhook.to_owned(), key: key.clone(), body: body.clone() })
}

/// When a letter that was not received is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Before the second try; twice as long before each further one.
    pub first: Duration,
    /// At most so long.
    pub most: Duration,
}

impl Pace {
    /// A receiver that starts anew is back within seconds; one that is away for a weekend is asked every five minutes.
    pub const USUAL: Pace = Pace { first: Duration::from_secs(1), most: Duration::from_secs(300) };

    /// How long to wait after so many tries, at least one.
    pub fn after(self, tries: u32) -> Duration {
        let factor = 1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }
}

fn bounded(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(SENTENCE) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The happening's name in the run log.
fn name(what: &Happening) -> String {
    let value = serde_json::to_value(what).unwrap_or_default();
    value.as_object().and_then(|map| map.keys().next().cloned()).unwrap_or_default()
}

/// What a happening is about, in a sentence; `None` for what nobody needs to be told.
fn told(what: &Happening) -> Option<(Topic, String)> {
    let code = |fault: &weiche_agent::protocol::Fault| fault.code;
    Some(match what {
        Happening::RunStarted { playbook, .. } => (Topic::Run, format!("A run of {playbook} has begun.")),
        Happening::Paused { by } => (Topic::Run, format!("The run was paused by {by}.")),
        Happening::Continued { by } => (Topic::Run, format!("The run goes on: {by} said so.")),
        Happening::Aborted { by, leave: false } => (Topic::Run, format!("The run was aborted by {by}.")),
        Happening::Aborted { by, leave: true } => {
            (Topic::Run, format!("The run was ended by {by}; everything stays as it is."))
        }
        Happening::Held { stage, .. } => {
            (Topic::Run, format!("The run has stopped in stage {stage}; a person has to decide."))
        }
        Happening::RollbackStarted { .. } => (Topic::Run, "The run, or a part of it, is being taken back.".into()),
        Happening::RunEnded { outcome } => (Topic::Run, ended(*outcome).into()),
        Happening::StageStarted { stage } => (Topic::Stage, format!("Stage {stage} has begun.")),
        Happening::HostDone { host, stage } => (Topic::Stage, format!("{host} is through stage {stage}.")),
        Happening::HostUndone { host, stage } => (Topic::Stage, format!("{host} is as it was before stage {stage}.")),
        Happening::HostOffline { host, stage, .. } => {
            (Topic::Stage, format!("{host} is switched off; stage {stage} waits for it."))
        }
        Happening::HostGivenUp { host, stage } => (
            Topic::Stage,
            format!("{host} was switched off for too long: stage {stage} does not wait for it any more."),
        ),
        Happening::ServiceFailed { stage, service, .. } => {
            (Topic::Stage, format!("The service {service} does not work in stage {stage}."))
        }
        Happening::HostFailed { host, stage, fault } if code(fault) == FaultCode::TakenBack => {
            (Topic::Guard, format!("The guard of {host} has taken stage {stage} back, or is about to."))
        }
        Happening::HostFailed { host, stage, .. } => (Topic::Stage, format!("Stage {stage} failed on {host}.")),
        Happening::HostWaits { host, stage, .. } => {
            (Topic::Gate, format!("{host} waits in stage {stage}: a person has a step to do by hand."))
        }
        Happening::Approved { stage, approval, .. } => {
            (Topic::Gate, format!("Stage {stage} was approved by {}.", approval.principal))
        }
        Happening::Ticked { stage, item, by } => {
            (Topic::Gate, format!("{by} has ticked off in stage {stage}: {item}."))
        }
        Happening::HostConfirmed { host, stage } => {
            (Topic::Guard, format!("Stage {stage} is confirmed on {host}: its guard is off."))
        }
        Happening::HostStuck { host, stage, steps, .. } => {
            let (steps, n) = (steps.iter().take(20).map(|s| s.0.as_str()).collect::<Vec<_>>().join(", "), steps.len());
            (Topic::Stuck, format!("{host} is STUCK in stage {stage}: {n} step(s) could not be taken back: {steps}."))
        }
        Happening::HostSettled { host, by, how, .. } => (Topic::Stuck, format!("{host} is {how}: {by} said so.")),
        Happening::Reckoned { .. }
        | Happening::WaveStarted { .. }
        | Happening::HostBegun { .. }
        | Happening::Step { .. }
        | Happening::HostWitnessed { .. }
        | Happening::HostVerified { .. }
        | Happening::Rebooting { .. }
        | Happening::ServicesWork { .. }
        | Happening::ServiceAway { .. }
        | Happening::ServiceBack { .. }
        | Happening::ServiceUntold { .. }
        | Happening::ServiceTold { .. }
        | Happening::ServiceMeasured { .. } => return None,
    })
}

/// What a person has to decide about the time that is left.
fn decide(reckoning: &Reckoning, run: &RunId, zone: &Zone) -> Option<String> {
    let by = reckoning.abort_by_ms.map(|at| zone.tell(at)).unwrap_or_default();
    match reckoning.decide {
        Decide::NotNow => None,
        Decide::Soon => Some(format!("Soon a rollback will no longer end in the window: it has to begin by {by}.")),
        Decide::Now => Some(format!(
            "A person has to decide by {by}: go on without a way back in this window, or have everything back in it \
             (weiche abort {run})."
        )),
        Decide::TooLate => Some(format!("A rollback would no longer end in the window: it had to begin by {by}.")),
    }
}

fn ended(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "The run is done.",
        Outcome::Partial => "The run has ended: some hosts are new, every other is as it was.",
        Outcome::RolledBack => "The run was taken back: every host is as it was.",
        Outcome::Differs => "The run was taken back, but hosts DIFFER from before.",
        Outcome::Stuck => "The run is STUCK: a person is needed.",
        Outcome::Left => "The run has ended; every host is left as it is.",
    }
}

/// Stage and host of a happening.
fn place(what: &Happening) -> (Option<String>, Option<HostName>) {
    match what {
        Happening::StageStarted { stage }
        | Happening::Held { stage, .. }
        | Happening::Approved { stage, .. }
        | Happening::Ticked { stage, .. }
        | Happening::ServiceFailed { stage, .. } => (Some(stage.clone()), None),
        Happening::HostDone { host, stage }
        | Happening::HostUndone { host, stage }
        | Happening::HostOffline { host, stage, .. }
        | Happening::HostGivenUp { host, stage }
        | Happening::HostFailed { host, stage, .. }
        | Happening::HostWaits { host, stage, .. }
        | Happening::HostConfirmed { host, stage }
        | Happening::HostStuck { host, stage, .. } => (Some(stage.clone()), Some(host.clone())),
        Happening::HostSettled { host, .. } => (None, Some(host.clone())),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weiche_agent::protocol::{Fault, StepEvent, StepId, StepOutcome};

    fn of() -> Of {
        let members = ["alpha".into(), "beta".into()].into();
        Of { fleet: "kitu".into(), playbook: "swap".into(), members, zone: Zone::UTC, decide: Decide::NotNow }
    }

    fn event(what: Happening) -> Event {
        Event { v: 1, run: RunId::try_from("r-1".to_owned()).unwrap(), seq: 7, at_ms: 5, what }
    }

    #[test]
    fn a_notice_says_where_and_never_what_a_program_said() {
        let fault = Fault::new(FaultCode::CommandFailed, "password=geheim anna.odt");
        let (host, stage) = (HostName("alpha/fs".into()), String::from("build"));
        let failed = Happening::HostFailed { host: host.clone(), stage: stage.clone(), fault: fault.clone() };
        let notice = of().notice(&event(failed)).unwrap();
        let steps = vec![StepId("build.1".into())];
        let stuck = of().notice(&event(Happening::HostStuck { host: host.clone(), stage, steps, fault })).unwrap();
        for notice in [&notice, &stuck] {
            let text = serde_json::to_string(notice).unwrap();
            assert!(!text.contains("geheim") && !text.contains("anna"), "{text}");
        }
        assert_eq!((notice.topic, notice.what.as_str(), notice.key.as_str()), (Topic::Stage, "host_failed", "r-1-7"));
        assert_eq!(notice.members, ["alpha".to_owned()].into(), "of one host its member only");
        assert_eq!(stuck.topic, Topic::Stuck);
        let step = StepEvent { step: StepId("build.1".into()), what: StepOutcome::Note("anna".into()), took_us: 1 };
        assert_eq!(of().notice(&event(Happening::Step { host, event: step })), None);
    }

    #[test]
    fn a_guard_that_fired_is_told_as_one() {
        let fault = Fault::new(FaultCode::TakenBack, "");
        let what = Happening::HostFailed { host: HostName("alpha/fs".into()), stage: "cutover".into(), fault };
        assert_eq!(of().notice(&event(what)).unwrap().topic, Topic::Guard);
    }

    #[test]
    fn people_are_told_once_what_there_is_to_decide_and_by_when() {
        let mut of = of();
        let mut says = |decide, expected_ms| {
            let stage = String::from("cutover");
            let reckoning = Reckoning {
                stage,
                expected_ms,
                latest_ms: expected_ms,
                ahead_ms: 0,
                abort_by_ms: Some(60_000),
                no_way_back_ms: None,
                decide,
            };
            of.notice(&event(Happening::Reckoned { reckoning })).map(|notice| (notice.says, notice.abort_by_ms))
        };
        assert_eq!(says(Decide::NotNow, 0), None);
        let (now, by) = says(Decide::Now, 0).unwrap();
        assert!(now.contains("by Thu 1970-01-01 00:01 UTC") && now.contains("weiche abort r-1"), "{now}");
        assert_eq!(by, Some(60_000));
        assert_eq!(says(Decide::Now, 90_000), None, "it is expected later: the question is the same");
        assert!(says(Decide::TooLate, 0).is_some());
        assert_eq!(says(Decide::NotNow, 0), None);
        assert!(says(Decide::Soon, 0).is_some(), "there was time again, and it runs out again");
    }

    #[test]
    fn letters_go_to_those_who_asked_and_are_bounded() {
        let run = RunId::try_from("r-1".to_owned()).unwrap();
        let notice = of().waits((&run, 9, 5), "cutover", &["ü".repeat(100_000)]);
        let (gate, stuck) = (BTreeSet::from([Topic::Gate]), BTreeSet::from([Topic::Stuck]));
        let sent: Vec<Letter> = letters(&notice, [("a", &gate), ("b", &stuck)].into_iter()).collect();
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].webhook.as_str(), sent[0].key.as_str()), ("a", "r-1-9-gate"));
        assert!(sent[0].body.len() < 4096, "{}", sent[0].body.len());
    }

    #[test]
    fn the_pause_doubles_up_to_its_bound() {
        let seconds: Vec<u64> = (1..=11).map(|tries| Pace::USUAL.after(tries).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(Pace::USUAL.after(u32::MAX).as_secs(), 300);
    }
}
