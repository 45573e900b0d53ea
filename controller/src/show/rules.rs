//! How a stage will be carried out, as lines of a plan: waves, when it stops and what then, what it waits for.

use jiff::SignedDuration;

use crate::plan::rules::{OnStop, Overrun, Rules, Scope};

/// One line for each rule that is not the usual one; nothing for a stage without rules of its own.
pub(super) fn lines(rules: &Rules) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(rules.gate.as_ref().map(gate));
    for window in &rules.windows {
        let reserve = match window.reserve_ms {
            0 => String::new(),
            ms => format!(", {} of it kept free", time(i64::try_from(ms).unwrap_or(i64::MAX))),
        };
        lines.push(format!("window: {} ({}){reserve}", window.pattern, window.zone));
    }
    if rules.takes_ms > 0 {
        let then = match rules.overrun {
            Overrun::Hold => "held",
            Overrun::Rollback => "taken back",
        };
        lines.push(format!("takes at most {}; still at work when its window closes: {then}", time(rules.takes_ms)));
    }
    if rules.room() > rules.takes_ms {
        let room = time(rules.room());
        lines.push(format!("begins where its window has room for {room}, what waits together with it included"));
    }
    if rules.waves.len() > 1 {
        let sizes: Vec<String> = rules.waves.iter().map(|wave| wave.len().to_string()).collect();
        let first = match &rules.waves[0][..] {
            [canary] => format!(", first {canary}"),
            _ => String::new(),
        };
        lines.push(format!("waves of {} host(s){first}{}", sizes.join(", "), pause(rules)));
    }
    lines.extend(rules.at_once.map(|n| format!("at most {n} host(s) at once")));
    let then = match rules.on_stop {
        OnStop::Hold => "it waits for a person",
        OnStop::SetAside => "the stage is taken back, and a person decides whether others go on without its hosts",
        OnStop::Rollback(Scope::Host) => "the stage is taken back on the hosts that failed",
        OnStop::Rollback(Scope::Wave) => "the wave is taken back",
        OnStop::Rollback(Scope::Stage) => "the stage is taken back",
        OnStop::Rollback(Scope::Run) => "the whole run is taken back",
    };
    if !rules.stop.is_empty() || rules.on_stop != OnStop::default() {
        let when: Vec<String> = rules.stop.iter().map(ToString::to_string).collect();
        let when = if when.is_empty() {
            "at the first failure".into()
        } else {
            format!("once {} have failed", when.join(" or "))
        };
        lines.push(format!("stops {when}; then {then}"));
    }
    if !rules.probes.is_empty() {
        let services: Vec<String> = rules.probes.iter().map(|of| format!("{} ({})", of.service, of.probe)).collect();
        lines.push(format!("after each wave must work: {}", services.join(", ")));
    }
    lines.extend(rules.offline_ms.map(|ms| format!("hosts that are switched off are waited for, {} long", time(ms))));
    lines.extend(rules.within_ms.map(|ms| format!("each host takes it back unless it is through within {}", time(ms))));
    lines.extend(
        rules.guard_ms.map(|ms| {
            format!("each host takes it back unless it is confirmed over a new connection within {}", time(ms))
        }),
    );
    if rules.hold_ms > 0 {
        lines.push(format!("soaks for {}", time(rules.hold_ms)));
    }
    lines
}

fn pause(rules: &Rules) -> String {
    if rules.pause_ms > 0 { format!(", {} between them", time(rules.pause_ms)) } else { String::new() }
}

fn gate(gate: &crate::approval::gate::Gate) -> String {
    let mut parts = Vec::new();
    if gate.approve > 0 {
        let role = gate.role.map(|role| format!(" of a {}", role.name())).unwrap_or_default();
        let other = if gate.not_by_planner { ", not of the planner" } else { "" };
        let expires = gate.expires_ms.map(|ms| format!(", each for {}", time(i64::try_from(ms).unwrap_or(i64::MAX))));
        parts.push(format!("{} approval(s){role}{other}{}", gate.approve, expires.unwrap_or_default()));
    }
    if !gate.checklist.is_empty() {
        parts.push(format!("ticked off: {}", gate.checklist.join(", ")));
    }
    format!("waits for {}", parts.join("; "))
}

fn time(ms: i64) -> String {
    format!("{:#}", SignedDuration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::target::HostName;
    use crate::plan::rules::{Amount, Over, StopRule};

    #[test]
    fn a_plan_tells_how_a_stage_will_go() {
        assert!(lines(&Rules::default()).is_empty());
        let host = |n: usize| HostName(format!("m/h{n}"));
        let rules = Rules {
            waves: vec![vec![host(1)], vec![host(2), host(3)]],
            pause_ms: 600_000,
            stop: vec![StopRule { failed: Amount::Percent(5), over: Over::Stage }],
            on_stop: OnStop::Rollback(Scope::Wave),
            guard_ms: Some(2000),
            takes_ms: 1_800_000,
            room_ms: 5_400_000,
            hold_ms: 172_800_000,
            ..Rules::default()
        };
        let expected = [
            "takes at most 30m; still at work when its window closes: held",
            "begins where its window has room for 1h 30m, what waits together with it included",
            "waves of 1, 2 host(s), first m/h1, 10m between them",
            "stops once 5 % of a stage have failed; then the wave is taken back",
            "each host takes it back unless it is confirmed over a new connection within 2s",
            "soaks for 48h",
        ];
        assert_eq!(lines(&rules), expected);
    }
}
