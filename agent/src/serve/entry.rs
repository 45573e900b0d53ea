//! Who may change this host: a controller that means this machine and that no other one has taken over from.

use std::io::Read;

use crate::facts;
use crate::fault::{Fault, FaultCode};
use crate::host::Host;
use crate::protocol::{Expect, Request};

/// In the state directory: the highest epoch that a controller has come with, and the last of its connections.
const EPOCH: &str = "epoch";

/// Refuses to change a machine that is not the one meant, takes the lock, and refuses controllers of the past.
///
/// # Errors
/// `WrongHost`, `Busy`, `Superseded`, `Stale` (a line that its controller has given up); those of the host. Nothing was
/// changed then.
pub(super) fn let_in(expect: &Expect, host: &mut dyn Host) -> Result<(), Fault> {
    if !expect.is_empty() {
        let (serial, machine_id) = (facts::hardware(host).serial, facts::machine_id(host));
        expect.check(&serial, &machine_id, host.simulated())?;
    }
    host.lock()?;
    // Under the lock: of two that come at once, the lower one is refused or through before the higher one begins.
    expect.epoch.map_or(Ok(()), |epoch| fence((epoch, expect.line.unwrap_or(0)), host))
}

/// Whether the lock is let go after this request, not with the session. Between requests an epoch keeps other controllers
/// out, and a guard other runs; a session that holds on would keep out who comes to confirm over a new connection.
pub(super) fn held_for_one(request: &Request) -> bool {
    match request {
        Request::Arm { .. } | Request::Confirm { .. } | Request::Cancel { .. } => true,
        Request::Stage { expect, .. }
        | Request::Undo { expect, .. }
        | Request::Witness { expect, .. }
        | Request::Reboot { expect, .. } => expect.epoch.is_some(),
        _ => false,
    }
}

/// What was sent over a line that is cut may still arrive, long after its controller has come again and has taken it back:
/// the controller's connections are numbered, and only the last one is heard.
fn fence(told: (u64, u64), host: &mut dyn Host) -> Result<(), Fault> {
    let mut text = String::new();
    if let Some(reader) = host.state_open(EPOCH)? {
        reader.take(64).read_to_string(&mut text).map_err(|e| Fault::io("read the epoch", &e))?;
    }
    let seen = read(&text).ok_or_else(|| {
        Fault::new(FaultCode::Corrupt, "the file `epoch` of the state directory is damaged")
            .hint("write the number of the newest lease into it, or remove it once no other controller runs")
    })?;
    if told.0 < seen.0 {
        let message = format!("another controller has taken over; epoch {} < {}", told.0, seen.0);
        return Err(Fault::new(FaultCode::Superseded, message).hint("see `weiche status` on the controller in charge"));
    }
    if told < seen {
        let message = format!("the controller has given this line up; connection {} < {}", told.1, seen.1);
        return Err(Fault::new(FaultCode::Stale, message));
    }
    if told > seen {
        host.state_write(EPOCH, &mut format!("{} {}\n", told.0, told.1).as_bytes())?;
        host.sync()?;
    }
    Ok(())
}

/// Reads `EPOCH LINE`; the line may be missing, and an empty file is the beginning.
fn read(text: &str) -> Option<(u64, u64)> {
    let numbers = text.split_whitespace().map(|number| number.parse().ok()).collect::<Option<Vec<u64>>>()?;
    match numbers[..] {
        [] => Some((0, 0)),
        [epoch] => Some((epoch, 0)),
        [epoch, line] => Some((epoch, line)),
        _ => None,
    }
}
