//! Who may change this host: a controller that means this machine and that no other one has taken over from.

use std::io::Read;

use crate::facts;
use crate::fault::{Fault, FaultCode};
use crate::host::Host;
use crate::protocol::{Expect, Request};

/// In the state directory: the highest epoch that a controller has come with.
const EPOCH: &str = "epoch";

/// Refuses to change a machine that is not the one meant, takes the lock, and refuses controllers of the past.
///
/// # Errors
/// `WrongHost`, `Busy`, `Superseded`; those of the host. Nothing was changed then.
pub(super) fn let_in(expect: &Expect, host: &mut dyn Host) -> Result<(), Fault> {
    if !expect.is_empty() {
        let (serial, machine_id) = (facts::hardware(host).serial, facts::machine_id(host));
        expect.check(&serial, &machine_id, host.simulated())?;
    }
    host.lock()?;
    // Under the lock: of two that come at once, the lower one is refused or through before the higher one begins.
    expect.epoch.map_or(Ok(()), |epoch| fence(epoch, host))
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

fn fence(epoch: u64, host: &mut dyn Host) -> Result<(), Fault> {
    let mut text = String::new();
    if let Some(reader) = host.state_open(EPOCH)? {
        reader.take(32).read_to_string(&mut text).map_err(|e| Fault::io("read the epoch", &e))?;
    }
    let seen = match text.trim() {
        "" => 0,
        number => number.parse().map_err(|_| {
            Fault::new(FaultCode::Corrupt, "the file `epoch` of the state directory is damaged")
                .hint("write the number of the newest lease into it, or remove it once no other controller runs")
        })?,
    };
    if epoch < seen {
        let message = format!("another controller has taken over; epoch {epoch} < {seen}");
        return Err(Fault::new(FaultCode::Superseded, message).hint("see `weiche status` on the controller in charge"));
    }
    if epoch > seen {
        host.state_write(EPOCH, &mut format!("{epoch}\n").as_bytes())?;
        host.sync()?;
    }
    Ok(())
}
