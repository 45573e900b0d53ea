//! The host in the users' network that a member's services are measured from: one of its own, which can be reached.

use std::collections::BTreeMap;

use super::{Gaps, Place};
use crate::input::diagnostic::{Diagnostic, Problems};
use crate::input::fleet::{Fleet, TargetFault};
use crate::input::suggest;

/// Checks each member's `vantage`; `places` are the members' files, by name.
pub(super) fn check(fleet: &Fleet, places: &BTreeMap<String, Place>, gaps: Gaps, problems: &mut Problems) {
    if gaps.hosts {
        return;
    }
    for (member, (source, _)) in places {
        let given = fleet.member(member).and_then(|member| member.vantage.as_ref());
        let (Some(given), Some(host)) = (given, fleet.vantage(member)) else { continue };
        let (message, hint) = if host.member() != member {
            let hint = "name one of its own PCs or servers: what its users see is to be measured";
            (format!("`{host}` is no host of the member `{member}`"), Some(hint.to_owned()))
        } else if fleet.host(&host).is_none() {
            let own = fleet.hosts().filter(|other| other.name.member() == member).map(|other| other.name.name());
            (format!("there is no host `{host}`"), suggest::hint(host.name(), own))
        } else {
            // What else there is was said where it is written.
            let hint = match fleet.target(&host) {
                Err(TargetFault::NoAddress(name)) if name == host => {
                    "give it an `address` and a `host_key`, or name another host"
                }
                Err(TargetFault::NoHostKey(name)) if name == host => {
                    "give it its `host_key` from /etc/ssh/ssh_host_ed25519_key.pub, or name another host"
                }
                _ => continue,
            };
            (format!("nothing can be measured from `{host}`: it cannot be reached"), Some(hint.to_owned()))
        };
        problems.add(Diagnostic::new(source, given.span, message).maybe_hint(hint));
    }
}
