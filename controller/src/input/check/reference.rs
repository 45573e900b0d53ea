//! What hosts say of other hosts and of profiles, once all files are read: replaced hosts, jump hosts, profiles,
//! addresses. Hosts come out of it with `replaces` resolved, and without cycles.

use std::collections::HashMap;

use super::Gaps;
use super::member::Later;
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::fleet::{Fleet, TargetFault};
use crate::input::source::{Source, Span};
use crate::input::suggest;
use crate::input::target::HostName;
use crate::input::yaml::Located;

/// Checks and resolves.
pub(super) fn check(fleet: &mut Fleet, config: Option<&Source>, later: &[Later], gaps: Gaps, problems: &mut Problems) {
    for rest in later {
        if let Some(profile) = &rest.profile
            && !gaps.profiles
            && !fleet.profiles.contains_key(&profile.value)
        {
            let hint = suggest::hint(profile, fleet.profiles.keys().map(String::as_str));
            let message = format!("there is no profile `{}`", profile.value);
            problems.add(Diagnostic::new(&rest.source, profile.span, message).maybe_hint(hint));
        }
        if let Some(replaces) = &rest.replaces {
            let name = full(&rest.host, replaces);
            if fleet.hosts.contains_key(&name) {
                if let Some(host) = fleet.hosts.get_mut(&rest.host) {
                    host.replaces = Some(name);
                }
            } else if !gaps.hosts {
                problems.add(missing(fleet, &rest.source, replaces, &name));
            }
        }
        if let Some(jump) = &rest.jump {
            let name = full(&rest.host, jump);
            if !gaps.hosts && !fleet.hosts.contains_key(&name) {
                problems.add(missing(fleet, &rest.source, jump, &name));
            }
        }
    }
    circles(fleet, later, problems);
    if !gaps.hosts {
        jumps(fleet, config, later, problems);
    }
    addresses(fleet, later, problems);
}

fn full(from: &HostName, text: &str) -> HostName {
    if text.contains('/') { HostName(text.to_owned()) } else { HostName::new(from.member(), text) }
}

fn missing(fleet: &Fleet, source: &Source, at: &Located<String>, name: &HostName) -> Diagnostic {
    let short = |known: &HostName| if at.contains('/') { known.0.clone() } else { known.name().to_owned() };
    let same = fleet.hosts.keys().filter(|known| at.contains('/') || known.member() == name.member());
    let known: Vec<String> = same.map(short).collect();
    let hint = suggest::hint(at, known.iter().map(String::as_str));
    Diagnostic::new(source, at.span, format!("there is no host `{name}`")).maybe_hint(hint)
}

/// Breaks circles of `replaces`, reporting each once.
fn circles(fleet: &mut Fleet, later: &[Later], problems: &mut Problems) {
    for rest in later.iter().filter(|rest| rest.replaces.is_some()) {
        let mut way = vec![rest.host.clone()];
        while let Some(next) = way.last().and_then(|name| fleet.hosts.get(name)).and_then(|host| host.replaces.clone())
        {
            if next == rest.host {
                let text = way.iter().chain([&next]).map(|name| name.name()).collect::<Vec<_>>().join(" -> ");
                let span = rest.replaces.as_ref().map_or(rest.span, |r| r.span);
                let message = format!("hosts replace each other in a circle: {text}");
                problems.add(
                    Diagnostic::new(&rest.source, span, message).hint("remove `replaces` from the oldest of them"),
                );
                if let Some(host) = fleet.hosts.get_mut(&rest.host) {
                    host.replaces = None;
                }
                break;
            }
            if way.contains(&next) {
                break;
            }
            way.push(next);
        }
    }
}

fn jumps(fleet: &Fleet, config: Option<&Source>, later: &[Later], problems: &mut Problems) {
    if let (Some(source), Some(jump)) = (config, &fleet.config.ssh.jump) {
        let name = HostName(jump.value.clone());
        if !fleet.hosts.contains_key(&name) {
            let hint = suggest::hint(jump, fleet.hosts.keys().map(|name| name.0.as_str()));
            let message = format!("there is no host `{}`", jump.value);
            problems.add(Diagnostic::new(source, jump.span, message).maybe_hint(hint));
            return;
        }
        if let Err(fault) = fleet.target(&name) {
            let hint = "a jump host must be reachable itself";
            problems.add(Diagnostic::new(source, jump.span, fault.to_string()).hint(hint));
            return;
        }
    }
    for rest in later {
        let Some(jump) = &rest.jump else { continue };
        let own_fault = |fault: &TargetFault| match fault {
            TargetFault::NoAddress(name) | TargetFault::NoHostKey(name) => *name == rest.host,
            TargetFault::Unknown { .. } => true,
            TargetFault::Circle(_) => false,
        };
        if let Some(fault) = fleet.target(&rest.host).err().filter(|fault| !own_fault(fault)) {
            let hint = "a jump host must be reachable itself, without coming back";
            problems.add(Diagnostic::new(&rest.source, jump.span, fault.to_string()).hint(hint));
        }
    }
}

/// Two devices at one address are probably a mistake, unless one takes the other's place.
fn addresses(fleet: &Fleet, later: &[Later], problems: &mut Problems) {
    let mut seen: HashMap<&str, (&HostName, &Source, Span)> = HashMap::with_capacity(later.len());
    for rest in later {
        let Some(host) = fleet.hosts.get(&rest.host) else { continue };
        let Some(address) = &host.address else { continue };
        // Behind different ports, one address may lead to several hosts; so may one behind different jump hosts.
        if host.port.is_some() || host.ssh.as_ref().is_some_and(|ssh| ssh.jump.is_some()) {
            continue;
        }
        let Some((other, source, span)) = seen.insert(address, (&rest.host, &rest.source, rest.span)) else { continue };
        let related = host.replaces.as_ref() == Some(other)
            || fleet.hosts.get(other).is_some_and(|o| o.replaces.as_ref() == Some(&rest.host));
        if !related {
            problems.add(
                Diagnostic::new(
                    &rest.source,
                    rest.span,
                    format!("`{}` and `{other}` have the address {address}", rest.host),
                )
                .warning()
                .hint("is one of them a typing mistake?")
                .related(source, span, "the other one"),
            );
        }
    }
}
