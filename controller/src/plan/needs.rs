//! Programs that steps need, and whether their host will have them by then: what is certain to fail is refused before
//! anything changes, what may fail is said.

use serde_json::Value;
use weiche_agent::protocol::{Fault, FaultCode};
use weiche_agent::resource::{Claim, kind};

use super::Seen;
use super::procedure::Action;

/// The program, and the package that has it.
const RSYNC: &str = "rsync";

/// Kinds that may bring a program without naming it.
const BRINGS: [&str; 4] = ["archive", "command", "package", "tree"];

/// What the steps of one host so far say of rsync(1).
#[derive(Default)]
pub(super) struct Needs {
    /// A step installs it.
    comes: bool,
    /// A step may bring it.
    perhaps: bool,
    /// It was said once.
    told: bool,
}

/// That a step needs it, and it is not there.
#[derive(Debug, PartialEq)]
pub(super) enum Lack {
    /// No step before can have brought it.
    Certain(Fault),
    /// A step before may have brought it.
    Perhaps(&'static str),
}

impl Needs {
    /// Whether the next step of the host lacks it; `changes`: the step has something to do.
    pub(super) fn next(&mut self, action: &Action, changes: bool, seen: &Seen) -> Option<Lack> {
        let Action::Resource(step) = action else {
            self.perhaps |= matches!(action, Action::Transfer(_) | Action::Manual(_));
            return None;
        };
        if changes
            && !self.comes
            && !self.told
            && !seen.away
            && seen.facts.rsync.is_empty()
            && uses(&step.kind, &step.spec)
        {
            self.told = true;
            return Some(if self.perhaps {
                Lack::Perhaps("? there is no `rsync` on this host now, and no step before this one names it")
            } else {
                let fault =
                    Fault::new(FaultCode::Unsupported, "there is no `rsync` on this host, and no step brings it");
                Lack::Certain(fault.hint("declare `package: { name: rsync }` before it"))
            });
        }
        let absent = step.spec["state"] == "absent";
        self.comes |= step.kind == "package" && step.spec["name"] == RSYNC && !absent;
        self.perhaps |= BRINGS.contains(&step.kind.as_str()) && !absent;
        // Whoever puts a file of that name somewhere may mean it.
        let named = |claim: &Claim| matches!(claim, Claim::Path(path) if path.ends_with(RSYNC));
        let claims = kind(&step.kind).and_then(|kind| kind.claims(&step.spec).ok());
        self.perhaps |= claims.is_some_and(|claims| claims.iter().any(named));
        None
    }
}

/// Whether a step's resource needs it: a directory that follows another, and a key that lets it be read (see
/// `expand/direct/part`).
fn uses(kind: &str, spec: &Value) -> bool {
    let read = |options: &str| options.contains("command=\"rsync --server --daemon --config=/etc/weiche/mirror/");
    match kind {
        "mirror" => spec["mode"] != "gone",
        "authorized_key" => spec["state"] != "absent" && spec["options"].as_str().is_some_and(read),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weiche_agent::protocol::{Facts, Step, StepId};

    use super::*;

    /// What is said of the last of these steps.
    fn said(steps: &[(&str, Value)], rsync: &str) -> Option<bool> {
        let seen = Seen { facts: Facts { rsync: rsync.into(), ..Facts::default() }, ..Seen::default() };
        let mut needs = Needs::default();
        let mut last = None;
        for (name, spec) in steps {
            let (watches, anchor, timeout_ms, inject) = Default::default();
            let (id, kind) = (StepId("s.0".into()), (*name).to_owned());
            let step = Step { id, kind, spec: spec.clone(), watches, anchor, timeout_ms, inject };
            last = needs.next(&Action::Resource(step), true, &seen);
        }
        last.map(|lack| matches!(lack, Lack::Certain(_)))
    }

    #[test]
    fn what_is_certain_to_be_missing_is_told_apart_from_what_may_be() {
        let follow = ("mirror", json!({ "name": "x", "path": "/srv/x", "mode": "follow", "of": { "address": "a" } }));
        let gone = ("mirror", json!({ "name": "x", "path": "/srv/x", "mode": "gone" }));
        let package = |name: &str, state: &str| ("package", json!({ "name": name, "state": state }));
        let command = "restrict,command=\"rsync --server --daemon --config=/etc/weiche/mirror/x/rsyncd.conf .\"";
        let key = |options: &str| ("authorized_key", json!({ "user": "root", "key": "k", "options": options }));
        let motd = ("file", json!({ "path": "/etc/motd", "content": "x" }));
        for (steps, expected) in [
            (vec![follow.clone()], Some(true)),
            (vec![motd, follow.clone()], Some(true)),
            (vec![package("rsync", "absent"), follow.clone()], Some(true)),
            (vec![package("rsync", "present"), follow.clone()], None),
            (vec![package("backup-tools", "present"), follow.clone()], Some(false)),
            (vec![("symlink", json!({ "path": "/usr/bin/rsync", "target": "x" })), follow.clone()], Some(false)),
            (vec![follow.clone(), follow.clone()], None),
            (vec![key(command)], Some(true)),
            (vec![key("restrict")], None),
            (vec![gone], None),
        ] {
            assert_eq!(said(&steps, ""), expected, "{steps:?}");
        }
        assert_eq!(said(&[follow], "3.2.7"), None);
    }
}
