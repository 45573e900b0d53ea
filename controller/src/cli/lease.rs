//! One controller per member at a time: leases in the run log, and who holds them.
#![expect(clippy::disallowed_methods, reason = "shell")]

use std::fs;

use super::exit::Failure;
use crate::drive::clock::now_ms;
use crate::drive::run::Held;
use crate::store::{Lease, Store};

/// Takes the leases of these members.
///
/// # Errors
/// If another controller holds one: the operator waits for it, or ends it.
pub(super) async fn take(store: &dyn Store, members: Vec<String>) -> Result<Held, Failure> {
    let holder = holder();
    let failed = |e| Failure::of("take the lease", &e);
    loop {
        match store.lease(&members, &holder, now_ms()).await.map_err(failed)? {
            Ok(epoch) => return Ok(Held { members, epoch }),
            // It died here without giving it back.
            Err(lease) if is_gone(&lease) => store.expire(&lease).await.map_err(failed)?,
            Err(Lease { member, holder, until_ms }) => {
                let until = crate::show::time(until_ms);
                let message = format!("another weiche works on {member}: {holder}, at least until {until}");
                return Err(Failure::new(message).hint(
                    "wait for its run to end (`weiche status`), or end that process: its lease lapses within a minute",
                ));
            }
        }
    }
}

/// `NODE process PID of START`: enough to know whether it still runs.
pub(super) fn holder() -> String {
    let pid = std::process::id();
    format!("{} process {pid} of {}", node(), started(pid).unwrap_or_default())
}

fn node() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// When a process of this machine was started, in clock ticks since its boot (proc_pid_stat(5)).
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

/// Whether a holder was a process of this machine that runs no more.
pub(super) fn is_gone(lease: &Lease) -> bool {
    let parse = || {
        let (name, rest) = lease.holder.split_once(" process ")?;
        let (pid, start) = rest.split_once(" of ")?;
        Some((name, pid.parse::<u32>().ok()?, start))
    };
    parse().is_some_and(|(name, pid, start)| name == node() && started(pid).as_deref() != Some(start))
}
