//! Stand-ins for the package, unit and account programs, for the sandbox and the fake host.

use super::{Command, Host, Output};
use crate::fault::Fault;

/// Runs a simulated program; `None` if it is not one that is simulated.
pub(crate) fn run(_host: &mut dyn Host, _command: &Command) -> Result<Option<Output>, Fault> {
    Ok(None)
}
