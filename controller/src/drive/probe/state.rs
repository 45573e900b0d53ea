//! What is looked at on a host by one of its programs, and what its answer means: room, age of files, time.

use std::time::Duration;

use weiche_agent::fault::{Fault, FaultCode};

use crate::input::room::Room;
use crate::input::scalar::Period;
use crate::plan::procedure::Probe;

/// The program and its arguments; `None` if it is another way to look.
pub(super) fn argv(probe: &Probe) -> Option<Vec<String>> {
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    match probe {
        Probe::Disk { path, .. } => words(&["df", "-B1", "--output=avail,size", "--", path]),
        Probe::Fresh { path, within } => {
            let minutes = format!("-{}", within.as_secs().div_ceil(60));
            words(&["find", path, "-type", "f", "-size", "+0", "-mmin", &minutes, "-print", "-quit"])
        }
        Probe::Clock { .. } => words(&["date", "+%s%3N"]),
        _ => None,
    }
}

/// What the answer of the program means; the controller asked and had it at these times, in milliseconds since the epoch.
pub(super) fn judge(probe: &Probe, answer: &str, asked: (i64, i64)) -> Result<(), Fault> {
    let unread = || Fault::new(FaultCode::CommandFailed, format!("`{}` cannot be read", answer.trim()));
    match probe {
        Probe::Disk { path, free } => {
            let mut numbers = answer.lines().last().unwrap_or_default().split_whitespace().map(str::parse::<u64>);
            let (Some(Ok(has)), Some(Ok(size))) = (numbers.next(), numbers.next()) else { return Err(unread()) };
            room(path, has, size, *free)
        }
        Probe::Fresh { path, within } if answer.trim().is_empty() => {
            let message = format!("no file of {path} was written within {}, or they are empty", Period(*within));
            Err(Fault::new(FaultCode::NotConverged, message).hint("let the backup run, and see why it did not"))
        }
        Probe::Clock { within } => {
            let theirs = answer.trim().parse().map_err(|_| unread())?;
            clock(theirs, asked, *within)
        }
        _ => Ok(()),
    }
}

fn room(path: &str, has: u64, size: u64, free: Room) -> Result<(), Fault> {
    if has >= free.of(size) {
        return Ok(());
    }
    let message = format!("the file system of {path} has {} MiB of {} MiB free, not {free}", has >> 20, size >> 20);
    Err(Fault::new(FaultCode::NotConverged, message))
}

/// The host has looked at some time between the two.
fn clock(theirs: i64, (asked, answered): (i64, i64), within: Duration) -> Result<(), Fault> {
    let (off, how) = match theirs {
        behind if behind < asked => (asked - behind, "behind"),
        ahead => ((ahead - answered).max(0), "ahead of"),
    };
    let off = Duration::from_millis(off.unsigned_abs());
    if off <= within {
        return Ok(());
    }
    let message = format!("its clock is {off:.1?} {how} the controller's");
    Err(Fault::new(FaultCode::NotConverged, message).hint("`timedatectl` on the host tells what it is set by"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(probe: &Probe, answer: &str) -> String {
        judge(probe, answer, (100_000, 101_000)).map_or_else(|fault| fault.message, |()| "good".into())
    }

    #[test]
    fn room_is_compared() {
        let disk = |free: &str| Probe::Disk { path: "/srv".into(), free: free.to_owned().try_into().unwrap() };
        let answer = "     Avail  1B-blocks\n1073741824 4294967296\n";
        assert_eq!(said(&disk("1 GiB"), answer), "good");
        assert_eq!(said(&disk("25%"), answer), "good");
        let short = "the file system of /srv has 1024 MiB of 4096 MiB free, not 26%";
        assert_eq!(said(&disk("26%"), answer), short);
        assert!(said(&disk("1%"), "df: no such file").contains("cannot be read"));
    }

    #[test]
    fn an_old_or_empty_backup_is_none() {
        let fresh = Probe::Fresh { path: "/srv/backup".into(), within: Duration::from_secs(90) };
        assert_eq!(argv(&fresh).unwrap()[5..8], ["+0", "-mmin", "-2"]);
        assert_eq!(said(&fresh, "/srv/backup/today\n"), "good");
        assert!(said(&fresh, "").contains("no file of /srv/backup was written within 1m 30s"));
    }

    #[test]
    fn a_clock_may_be_off_by_a_little() {
        let clock = Probe::Clock { within: Duration::from_secs(2) };
        for (theirs, expected) in [
            ("98000", "good"),
            ("100500", "good"),
            ("103000", "good"),
            ("97000", "its clock is 3.0s behind the controller's"),
            ("104500", "its clock is 3.5s ahead of the controller's"),
        ] {
            assert_eq!(said(&clock, theirs), expected);
        }
    }
}
