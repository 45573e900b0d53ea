//! The waves of a stage: its hosts in order, cut as the playbook says.

use std::collections::BTreeSet;

use crate::approval::gate::Gate;
use crate::calendar::Window;
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::fleet::{Fleet, Host};
use crate::input::member::Service;
use crate::input::rollout::{GateSpec, Keys, Order, RolloutSpec, WaveSpec};
use crate::input::scalar::Period;
use crate::input::source::Source;
use crate::input::target::HostName;
use crate::input::yaml::Located;
use crate::plan::rules::{Amount, Rules, ServiceProbe, StopRule};

/// The rules of a stage for its hosts.
pub(super) fn rules(
    fleet: &Fleet,
    spec: &RolloutSpec,
    hosts: &[&Host],
    source: &Source,
    problems: &mut Problems,
) -> Rules {
    let keys = &spec.keys;
    let members: BTreeSet<&str> = hosts.iter().map(|host| host.name.member()).collect();
    let mut windows: Vec<Window> = Vec::new();
    for (member, name) in members.iter().filter_map(|member| Some((*member, keys.window.as_ref()?))) {
        match fleet.window(member, name) {
            Some(window) if windows.contains(&window) => {}
            Some(window) => windows.push(window),
            None => {
                let message = format!("the member `{member}` has no window `{}`", name.value);
                let hint =
                    format!("add it in its file: windows: {{ {}: {{ from: fri 18:00, to: sun 22:00 }} }}", name.value);
                problems.add(Diagnostic::new(source, name.span, message).hint(hint));
            }
        }
    }
    let probes = probes(fleet, &members, keys, source, problems);
    let mut ordered = hosts.to_vec();
    ordered.sort_by_key(|host| match keys.order {
        Order::Name => (None, &host.name),
        Order::Site => (Some((host.name.member(), &host.site)), &host.name),
    });
    let cuts = spec.waves.iter().map(|wave| match wave {
        WaveSpec::Next(amount) => Cut::Next(*amount),
        WaveSpec::Those(selector) => Cut::Those(Box::new(|host: &&Host| selector.matches(fleet, host))),
        WaveSpec::Rest => Cut::Rest,
    });
    let alone = spec.waves.is_empty() && keys.order == Order::Name;
    let waves = if alone { Vec::new() } else { cut(ordered, cuts) };
    let names = |wave: Vec<&Host>| wave.into_iter().map(|host| host.name.clone()).collect::<Vec<HostName>>();
    Rules {
        waves: waves.into_iter().map(names).collect(),
        at_once: keys.at_once.as_ref().map(|n| n.value),
        pause_ms: keys.pause.map_or(0, ms),
        stop: keys.stop.iter().map(|stop| StopRule { failed: stop.failed, over: stop.over }).collect(),
        on_stop: keys.on_stop,
        offline_ms: keys.offline.as_ref().map(|offline| ms(offline.wait_until)),
        within_ms: keys.within.map(ms),
        guard_ms: keys.guard.map(ms),
        hold_ms: keys.hold.map_or(0, ms),
        gate: keys.gate.as_ref().map(gate),
        windows,
        takes_ms: keys.takes.map_or(0, ms),
        room_ms: 0,
        overrun: keys.overrun,
        probes,
    }
}

/// The services that a stage names, of each of its members.
fn probes(
    fleet: &Fleet,
    members: &BTreeSet<&str>,
    keys: &Keys,
    source: &Source,
    problems: &mut Problems,
) -> Vec<ServiceProbe> {
    let named = services(fleet, members, &keys.probes, source, problems);
    let probe =
        |(service, of): (String, &Service)| ServiceProbe { service, probe: super::probe::probe(of.probe.clone()) };
    named.into_iter().map(probe).collect()
}

/// The services of these names, of each of these members; `all` are all that it has.
pub(super) fn services<'f>(
    fleet: &'f Fleet,
    members: &BTreeSet<&str>,
    names: &[Located<String>],
    source: &Source,
    problems: &mut Problems,
) -> Vec<(String, &'f Service)> {
    let mut found = Vec::new();
    for (member, name) in members.iter().flat_map(|member| names.iter().map(move |name| (*member, name))) {
        let services = fleet.member(member).map(|member| &member.services);
        if name.value == "all" {
            let all = services.into_iter().flatten();
            found.extend(all.map(|(name, of)| (format!("{member}/{name}"), &of.value)));
            continue;
        }
        match services.and_then(|services| services.iter().find(|(service, _)| ***service == *name.value)) {
            Some((service, of)) => found.push((format!("{member}/{service}"), &of.value)),
            None => {
                let message = format!("the member `{member}` has no service `{}`", name.value);
                let hint = format!(
                    "add it in its file: services: {{ {}: {{ probe: {{ tcp: \"HOST:PORT\" }} }} }}",
                    name.value
                );
                problems.add(Diagnostic::new(source, name.span, message).hint(hint));
            }
        }
    }
    found
}

/// As the plan has it.
fn gate(spec: &GateSpec) -> Gate {
    Gate {
        approve: spec.approve,
        not_by_planner: spec.not_by.is_some(),
        role: spec.role,
        expires_ms: spec.expires.map(Period::as_ms),
        checklist: spec.checklist.clone(),
    }
}

fn ms(period: Period) -> i64 {
    i64::try_from(period.0.as_millis()).unwrap_or(i64::MAX)
}

/// Which of those that are left make the next wave.
enum Cut<'a, T> {
    /// So many, in order.
    Next(Amount),
    /// Those.
    Those(Box<dyn Fn(&T) -> bool + 'a>),
    /// All.
    Rest,
}

/// Cuts; whoever is left over makes a last wave. No wave is empty, and each host is in exactly one.
fn cut<'a, T>(all: Vec<T>, cuts: impl IntoIterator<Item = Cut<'a, T>>) -> Vec<Vec<T>> {
    let whole = all.len();
    let mut rest = all;
    let mut waves = Vec::new();
    for one in cuts.into_iter().chain([Cut::Rest]) {
        let (wave, others) = match one {
            Cut::Next(amount) => {
                let others = rest.split_off(amount.of(whole).min(rest.len()));
                (rest, others)
            }
            Cut::Those(is) => rest.into_iter().partition(|one| is(one)),
            Cut::Rest => (rest, Vec::new()),
        };
        waves.push(wave);
        rest = others;
    }
    waves.retain(|wave| !wave.is_empty());
    waves
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sizes(all: usize, cuts: &[Amount]) -> Vec<usize> {
        let cuts = cuts.iter().map(|amount| Cut::Next(*amount));
        cut((0..all).collect::<Vec<usize>>(), cuts).iter().map(Vec::len).collect()
    }

    #[test]
    fn a_canary_then_a_share_then_the_rest() {
        let usual = [Amount::Hosts(1), Amount::Percent(10)];
        assert_eq!(sizes(40, &usual), [1, 4, 35]);
        assert_eq!(sizes(400, &usual), [1, 40, 359]);
        assert_eq!(sizes(5, &usual), [1, 1, 3]);
        assert_eq!(sizes(2, &usual), [1, 1]);
        assert_eq!(sizes(1, &usual), [1]);
        assert_eq!(sizes(0, &usual), [0_usize; 0]);
    }

    #[test]
    fn those_that_are_named_come_in_their_wave() {
        let waves = cut(vec![1, 2, 3, 4, 5], [Cut::Those(Box::new(|n| *n == 4)), Cut::Next(Amount::Hosts(2))]);
        assert_eq!(waves, [vec![4], vec![1, 2], vec![3, 5]]);
    }

    fn amount() -> impl Strategy<Value = Amount> {
        prop_oneof![(1..60_usize).prop_map(Amount::Hosts), (1..=100_u8).prop_map(Amount::Percent)]
    }

    proptest! {
        #[test]
        fn everyone_is_in_one_wave_and_none_is_empty(
            all in 0..=200_usize, cuts in prop::collection::vec(amount(), 0..6),
        ) {
            let waves = cut((0..all).collect::<Vec<usize>>(), cuts.iter().map(|amount| Cut::Next(*amount)));
            prop_assert!(waves.iter().all(|wave| !wave.is_empty()));
            let flat: Vec<usize> = waves.iter().flatten().copied().collect();
            prop_assert_eq!(flat, (0..all).collect::<Vec<_>>(), "in order, nobody twice, nobody forgotten");
            for (wave, amount) in waves.iter().zip(&cuts) {
                prop_assert!(wave.len() <= amount.of(all), "{:?} of {}: {}", amount, all, wave.len());
            }
        }
    }
}
