//! Which machine is meant: what the inventory says of it, compared with what it says of itself, so that nobody changes
//! the wrong one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, FaultCode};

/// What the inventory says of a host. What is `None` is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expect {
    /// Serial number of the machine, as its firmware tells it; letters may be large or small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// machine-id(5) of the installed system: for machines without a serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// Number of the controller's lease, greater than all before it: a host refuses lower ones than it has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Number of this connection among those of that controller to the host: once it has heard a higher one, it refuses
    /// what was sent over lower ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

/// How far a host is known to be the one that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It says what the inventory says, or the inventory says nothing.
    Same,
    /// It is simulated and says nothing that could be compared.
    Untold,
}

impl Expect {
    /// Whether nothing is asked for that tells one machine from another.
    pub fn is_empty(&self) -> bool {
        self.serial.is_none() && self.machine_id.is_none()
    }

    /// Compares with what a host says of itself; empty texts mean that it says nothing.
    ///
    /// # Errors
    /// `WrongHost` if it says something else, or if it says nothing at all and is real: the operator connects to the
    /// right machine, or corrects the inventory.
    pub fn check(&self, serial: &str, machine_id: &str, simulated: bool) -> Result<Proof, Fault> {
        let parts = [
            ("serial number", "serial", &self.serial, serial),
            ("machine id", "machine_id", &self.machine_id, machine_id),
        ];
        let (mut same, mut untold) = (self.is_empty(), None);
        for (what, key, wanted, told) in parts {
            let Some(wanted) = wanted.as_deref().map(str::trim) else { continue };
            if told.is_empty() {
                untold = Some((what, wanted));
            } else if told.trim().eq_ignore_ascii_case(wanted) {
                same = true;
            } else {
                let message = format!("this is another machine: its {what} is {told}, the inventory says {wanted}");
                let hint = format!(
                    "see to it that the address leads to the right machine, or correct `{key}` in the member's file"
                );
                return Err(Fault::new(FaultCode::WrongHost, message).hint(hint));
            }
        }
        match untold {
            _ if same => Ok(Proof::Same),
            None => Ok(Proof::Same),
            Some(_) if simulated => Ok(Proof::Untold),
            Some((what, wanted)) => {
                let message =
                    format!("it is not known which machine this is: it tells no {what}, the inventory says {wanted}");
                let hint = "machines without a serial number are known by `machine_id` in the member's file; `weiche facts` shows it";
                Err(Fault::new(FaultCode::WrongHost, message).hint(hint))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(serial: Option<&str>, machine_id: Option<&str>) -> Expect {
        Expect { serial: serial.map(str::to_owned), machine_id: machine_id.map(str::to_owned), ..Expect::default() }
    }

    #[test]
    fn every_case_has_its_answer() {
        let (same, untold, wrong) = (Ok(Proof::Same), Ok(Proof::Untold), Err(FaultCode::WrongHost));
        // Inventory's serial and machine id; the host's; whether it is simulated; the answer.
        let cases = [
            (None, None, "", "", false, same),
            (None, None, "B", "2", false, same),
            (Some("A"), None, "A", "", false, same),
            (Some("a "), None, "A", "", false, same),
            (Some("A"), None, "B", "", false, wrong),
            (Some("A"), None, "B", "", true, wrong),
            (Some("A"), None, "", "1", false, wrong),
            (Some("A"), None, "", "1", true, untold),
            (Some("A"), Some("1"), "", "1", false, same),
            (Some("A"), Some("1"), "", "2", false, wrong),
            (Some("A"), Some("1"), "A", "2", false, wrong),
            (Some("A"), Some("1"), "A", "", false, same),
            (None, Some("1"), "B", "1", false, same),
            (None, Some("1"), "B", "", false, wrong),
            (None, Some("1"), "B", "", true, untold),
        ];
        for (serial, machine_id, has_serial, has_id, simulated, answer) in cases {
            let found = expect(serial, machine_id).check(has_serial, has_id, simulated).map_err(|fault| fault.code);
            assert_eq!(found, answer, "{serial:?} {machine_id:?} {has_serial:?} {has_id:?} {simulated}");
        }
    }
}
