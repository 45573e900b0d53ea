//! `package`: a package is there (in any or in one exact version) or not, by apt on Debian and its kin, or by dnf 4 on
//! Fedora, Red Hat and theirs.
//!
//! The state covers every package that the transaction would touch, because undo has to bring all of them back. What
//! the transaction would be is asked of apt or dnf itself (`apt-get --simulate`, `dnf --assumeno`), from the local
//! index: `apt-get update` or `dnf makecache` is never run. The packages of versions that are given up are kept for the
//! run, so undo needs no source that still offers them. When the host already is as wanted, one `dpkg-query` or `rpm -q`
//! is all that happens.

mod accounts;
mod apt;
mod archive;
mod conffile;
mod dnf;
mod manager;
mod rpms;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::{Node, Presence};
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens, Witness};
use manager::Manager;

/// A package.
#[derive(Debug)]
pub struct Package;

/// A package of Debian (apt) or of Fedora and Red Hat (dnf 4), installed from the sources that the host has.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "package")]
pub struct Spec {
    /// Name, e.g. `nginx`.
    pub name: String,
    /// `present` (default) or `absent`; of a removed package, apt leaves the configuration files, dnf only edited ones.
    #[serde(default)]
    pub state: Presence,
    /// Exactly this version, e.g. `"1.22.1-9"`, with its release on dnf hosts, e.g. `"1:1.20.1-16.el9"`; without it any
    /// installed version will do, and a new package comes in the version that apt or dnf prefers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// The packages that a transaction touches: what they are, and what it would make of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Each touched package as it is.
    pub packages: BTreeMap<String, Installed>,
    /// What would become of those that change; empty if the host is as wanted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub transaction: BTreeMap<String, Installed>,
    /// The configuration files of the touched packages as they are; empty in a wanted state, which leaves them to dpkg or rpm.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conffiles: BTreeMap<String, Node>,
    /// Why the change cannot be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Fault>,
}

/// One package on a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Installed {
    /// Not known to dpkg or rpm.
    Absent,
    /// Removed, its configuration files are left.
    ConfigFiles,
    /// There.
    Installed {
        /// Exact version.
        version: String,
        /// Marked as installed only because another package needs it.
        auto: bool,
        /// Held at its version.
        hold: bool,
    },
    /// Interrupted half-way.
    Broken {
        /// What dpkg calls it, e.g. `half-configured`.
        dpkg: String,
    },
}

impl Installed {
    fn version(&self) -> Option<&str> {
        match self {
            Installed::Installed { version, .. } => Some(version),
            _ => None,
        }
    }

    fn gone(&self) -> bool {
        matches!(self, Installed::Absent | Installed::ConfigFiles)
    }
}

impl Lens for Package {
    const NAME: &'static str = "package";
    const WITNESS: Witness = Witness::Packages;
    const UNDO: Exactness = Exactness::BestEffort(
        "what packages wrote while they were set up and ran (logs, caches, /var/lib, /var/www), configuration files that \
         only another version has, data that removing a newly installed package deletes, whether units that a package \
         stops and starts were running",
    );
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems = Vec::new();
        // Debian policy 5.6.1, with an architecture behind a colon; rpm's names also have capitals and `_`.
        let ok = |b: u8| b.is_ascii_alphanumeric() || b"+-.:_".contains(&b);
        let begins = spec.name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if !begins || !spec.name.bytes().all(ok) || spec.name.ends_with('-') {
            problems.push(format!("`{}` is no package name (letters, digits, `+`, `-`, `.` and `_`)", spec.name));
        }
        // Debian policy 5.6.12; rpm's versions also have `_` and `^`.
        let ok = |b: u8| b.is_ascii_alphanumeric() || b".+-~:_^".contains(&b);
        if let Some(version) = &spec.version
            && (!version.bytes().next().is_some_and(|b| b.is_ascii_digit()) || !version.bytes().all(ok))
        {
            problems.push(format!("`{version}` is no exact package version"));
        }
        if spec.state == Presence::Absent && spec.version.is_some() {
            problems.push("an absent package has no version".into());
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Name("package", spec.name.clone())]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let named = vec![spec.name.clone()];
        let manager = Manager::of(cx)?;
        let mut packages = manager.query(&named, false, cx)?;
        let now = packages.get(&spec.name).cloned().unwrap_or(Installed::Absent);
        let as_wanted = match (&now, spec.state, &spec.version) {
            (Installed::Installed { .. }, Presence::Present, None) => true,
            (Installed::Installed { version, .. }, Presence::Present, Some(wanted)) => {
                manager.is_version(version, wanted)
            }
            (now, Presence::Absent, _) => now.gone(),
            _ => false,
        };
        if as_wanted {
            // One call only: of a package that stays as it is, the mark is not asked for.
            return Ok(State { packages, ..State::default() });
        }
        if let Installed::Broken { dpkg } = &now {
            let problem = Fault::new(FaultCode::Conflict, format!("package {} is {dpkg}", spec.name))
                .hint("an installation was interrupted: run `dpkg --configure -a` on the host");
            return Ok(State { packages, problem: Some(problem), ..State::default() });
        }
        let outcome = match manager.plan(spec, cx) {
            Ok(outcome) => outcome,
            Err(fault) if fault.code == FaultCode::Crashed => return Err(fault),
            Err(problem) => return Ok(State { packages, problem: Some(problem), ..State::default() }),
        };
        packages = manager.query(&outcome.keys().cloned().collect::<Vec<_>>(), true, cx)?;
        let known = packages.iter().filter(|(_, package)| **package != Installed::Absent);
        let known: Vec<String> = known.map(|(name, _)| name.clone()).collect();
        let conffiles = manager.config_files(&known, cx)?;
        let mut state = State { packages, conffiles, ..State::default() };
        for (name, version) in outcome {
            let now = state.packages.get(&name).unwrap_or(&Installed::Absent);
            if let Installed::Installed { version: old, hold: true, .. } = now
                && version.as_ref() != Some(old)
            {
                let problem = Fault::new(FaultCode::Conflict, format!("package {name} is held at {old}"))
                    .hint(format!("release it with `apt-mark unhold {name}` on the host, or leave it as it is"));
                state.problem = Some(problem);
            }
            let then = match (version, now) {
                (Some(version), Installed::Installed { auto, hold, .. }) => {
                    Installed::Installed { version, auto: *auto && name != spec.name, hold: *hold }
                }
                (Some(version), _) => Installed::Installed { version, auto: name != spec.name, hold: false },
                (None, Installed::Absent) => Installed::Absent,
                (None, _) => manager.removed(),
            };
            state.transaction.insert(name, then);
        }
        Ok(state)
    }

    fn want(_spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        if let Some(problem) = &state.problem {
            return Err(problem.clone());
        }
        let mut packages = state.packages.clone();
        packages.extend(state.transaction.clone());
        Ok(State { packages, ..State::default() })
    }

    fn put(_spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        Manager::of(cx)?.make(&to.packages, cx)?;
        if to.transaction.is_empty() {
            return accounts::note(now, cx);
        }
        accounts::put(to, cx)?;
        conffile::put(&to.conffiles, cx)
    }

    fn keep(_spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let replaced = now.packages.iter().filter_map(|(name, old)| {
            let old = old.version()?;
            let then = wanted.packages.get(name).and_then(Installed::version);
            (wanted.packages.contains_key(name) && then != Some(old)).then(|| (name.clone(), old.to_owned()))
        });
        let replaced: Vec<_> = replaced.collect();
        Manager::of(cx)?.keep(&replaced, cx)?;
        // Going back, what was kept on the way here is still needed.
        if wanted.transaction.is_empty() {
            accounts::keep(now, cx)?;
        }
        conffile::keep(&now.conffiles, cx)
    }

    /// What both know of; `put` has checked the rest.
    fn same(_spec: &Spec, a: &State, b: &State) -> bool {
        a.packages.iter().all(|(name, was)| b.packages.get(name).is_none_or(|is| apt::alike(is, was)))
    }

    fn change(now: &State, wanted: &State) -> Option<Vec<String>> {
        let version = |state: &State, name: &String| match state.packages.get(name) {
            Some(Installed::Installed { version, auto, .. }) => Some((version.clone(), *auto)),
            _ => None,
        };
        let line = |name: &String| match (version(now, name), version(wanted, name)) {
            (None, Some((new, auto))) => Some(format!("+ {name} {new}{}", if auto { " (automatic)" } else { "" })),
            (Some((old, _)), None) => Some(format!("- {name} {old}")),
            (Some((old, _)), Some((new, _))) if old != new => Some(format!("~ {name} {old} -> {new}")),
            (Some((_, old)), Some((_, new))) if old != new => Some(format!("~ {name} automatic: {old} -> {new}")),
            _ => None,
        };
        Some(wanted.packages.keys().filter_map(line).collect())
    }

    fn title(spec: &Spec) -> String {
        match &spec.version {
            Some(version) => format!("{} {version}", spec.name),
            None => spec.name.clone(),
        }
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "name": "nginx" }),
            json!({ "name": "samba", "version": "2:4.17.12+dfsg-0+deb12u1" }),
            json!({ "name": "telnet", "state": "absent" }),
        ]
    }
}

/// Every package of the host: its name, and its version with how dpkg knows it where that is not plainly installed.
///
/// # Errors
/// Those of the host.
pub fn inventory(cx: &mut Cx<'_>) -> Result<BTreeMap<String, String>, Fault> {
    Manager::of(cx)?.inventory(cx)
}
