//! Rounds: while users work, until what is left is little; and the last one, when they wait, with its proof.

use std::time::Duration;

use super::rsync::{self, End, Round, brought, items};
use super::spec::{Spec, bytes, limit_at, minute};
use super::{Follows, back, delete, place};
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Output};
use crate::resource::Cx;

/// How long one program copies at most before it is told how far it is.
const SLICE_MINUTES: u32 = 10;

/// What a program gets beyond its slice to come to its end.
const GRACE: Duration = Duration::from_mins(2);

/// How long a line may be cut before a copy is given up, and how long is waited between two tries.
const PATIENCE: Duration = Duration::from_mins(2);
const BETWEEN: Duration = Duration::from_secs(2);

/// The first copy brings small files without looking for holes in them, for rsync writes what may have some in pieces of
/// 1 KiB: that takes a quarter longer.
const SMALL: [&str; 2] = ["--no-sparse", "--max-size=1m"];

/// How long the last round is tried for someone who takes its host back whatever is missing.
const RELUCTANT: Duration = Duration::from_secs(10);

fn now(cx: &mut Cx<'_>) -> u64 {
    cx.host.clock().boottime_ms
}

fn after(time: Duration, cx: &mut Cx<'_>) -> u64 {
    now(cx).saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn left(end: u64, cx: &mut Cx<'_>) -> Duration {
    Duration::from_millis(end.saturating_sub(now(cx)))
}

/// Brings the whole directory, in rounds.
///
/// # Errors
/// Those of rsync(1); `Timeout` if the step's time is over. What has come is there still: it can be gone on with.
pub(super) fn copy(spec: &Spec, follows: &Follows, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let end = after(cx.timeout, cx);
    let until = bytes(&spec.rounds.until).unwrap_or_default();
    let mut before: Option<u64> = None;
    if place::contents(&spec.path, cx)?.is_empty() {
        let (moved, files) = round(spec, follows, &[&["--stats", "--info=progress2"], &SMALL[..]].concat(), end, cx)?;
        cx.note(format!("small files: {files} files, {}", human(moved)));
    }
    for number in 1..=spec.rounds.at_most {
        let (moved, files) = round(spec, follows, &["--stats", "--info=progress2"], end, cx)?;
        cx.note(format!("round {number}: {files} files, {}", human(moved)));
        if moved <= until {
            break;
        }
        if !shrinks(before, moved) || number == spec.rounds.at_most {
            cx.note(format!(
                "the rest does not shrink: {moved} bytes change in the time that a round takes; the freeze has to move them"
            ));
            break;
        }
        before = Some(moved);
    }
    let more = ["--stats", "--info=progress2", "--checksum"];
    let (_, files) = round(spec, follows, &more, end, cx)?;
    cx.note(match files {
        0 => "compared by digest: no file differs".into(),
        files => format!("compared by digest: {files} files differed, changed meanwhile, and were brought again"),
    });
    place::settle(spec, cx)
}

/// One more round, for which users do not wait, over a connection that is kept for a last one right behind it.
///
/// # Errors
/// As [`copy`]; on the way back it is told only, for the last round will say so.
pub(super) fn one_more(spec: &Spec, follows: &Follows, forward: bool, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let end = after(cx.timeout, cx);
    let all = Follows { bandwidth: Vec::new(), every: None, ..follows.clone() };
    match round(spec, &all, &["--stats", "--info=progress2"], end, cx) {
        Ok((moved, files)) => cx.note(format!("one more round: {files} files, {}", human(moved))),
        Err(fault) if forward || fault.code == FaultCode::Crashed => return Err(fault),
        Err(fault) => cx.note(format!("no round before the last one: {fault}")),
    }
    place::settle(spec, cx)
}

/// A round over what may be nowhere else: what the other host has not, or has an older one of, is kept beside the directory.
///
/// # Errors
/// As [`copy`].
pub(super) fn keeping(spec: &Spec, follows: &Follows, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let end = after(cx.timeout, cx);
    let left = place::left(spec, cx)?;
    let backup = format!("--backup-dir={left}");
    let (moved, files) =
        round(spec, follows, &["--stats", "--info=progress2", "--backup", "--suffix=", &backup], end, cx)?;
    cx.note(format!("one more round: {files} files, {}", human(moved)));
    if cx.host.lstat(left.as_ref())?.is_some() {
        cx.note(format!("what was there before and may be nowhere else is now in {left}"));
    }
    place::settle(spec, cx)
}

/// Whether another round is worth it: this one has not brought more than three quarters of the one before.
fn shrinks(before: Option<u64>, moved: u64) -> bool {
    before.is_none_or(|before| moved / 3 <= before / 4)
}

/// One round, in slices; bytes and files that it has brought.
fn round(spec: &Spec, follows: &Follows, more: &[&str], end: u64, cx: &mut Cx<'_>) -> Result<(u64, u64), Fault> {
    let mut sum = 0;
    let mut patience = after(PATIENCE, cx);
    loop {
        let (limit, minutes) = if follows.bandwidth.is_empty() {
            (None, SLICE_MINUTES)
        } else {
            let output = cx.host.run(&Command::reading(["date", "+%H:%M"]))?;
            limit_at(&follows.bandwidth, minute(&output.stdout).unwrap_or(0))
        };
        let minutes = minutes.min(SLICE_MINUTES);
        let stop = format!("--stop-after={minutes}");
        let more: Vec<&str> = more.iter().copied().chain([stop.as_str()]).collect();
        let slice = Round { limit, partial: true, more: &more, shared: follows.every.is_none(), ..Round::default() };
        let timeout = left(end, cx).min(Duration::from_secs(60) * minutes + GRACE);
        match delete::run(spec, follows, &slice, timeout, cx)? {
            End::Through(output) => return Ok((sum + brought(&output), rsync::files(&output))),
            End::Stopped(output) => {
                sum += brought(&output);
                cx.note(format!("{} so far", human(sum)));
                patience = after(PATIENCE, cx);
            }
            End::Cut(fault, output) => {
                let moved = brought(&output);
                sum += moved;
                if moved > 0 {
                    patience = after(PATIENCE, cx);
                }
                if now(cx) >= patience {
                    return Err(fault.hint("what has come is kept until this step is taken back"));
                }
                cx.note(format!("the line is cut after {}; trying again", human(sum)));
                cx.host.pause(BETWEEN);
            }
        }
        if left(end, cx).is_zero() {
            let fault =
                Fault::new(FaultCode::Timeout, format!("{} came, and the time of this step is over", human(sum)));
            return Err(fault.hint("give the step a longer `timeout`"));
        }
    }
}

/// The last round: brings the rest, and proves that nothing is missing. Then the directory can be the users' own.
///
/// # Errors
/// `NotConverged` with what still differs, `Timeout`, those of rsync(1): the operator sees why, and the directory follows
/// still. Where a person takes back over all that is lost, it is told and gone on with.
pub(super) fn last(spec: &Spec, follows: &Follows, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let within = spec.within();
    let within = if cx.over_drift { within.min(RELUCTANT) } else { within };
    let proven = proven(spec, follows, within, cx);
    rsync::close(&spec.name, follows, cx)?;
    match proven {
        Err(fault) if fault.code == FaultCode::Crashed || !cx.over_drift => {
            let fault = fault.within(format!("{} may lack what {} has", spec.path, follows.of.address));
            let hint = fault.hint.as_deref().unwrap_or("let the other host come back").to_owned();
            return Err(fault.hint(hint + "; `--take-back-anyway` takes a rollback on without what is missing"));
        }
        Err(fault) => cx.note(format!("it goes on without what may be missing: {fault}")),
        Ok(()) => {}
    }
    place::settle(spec, cx)?;
    back::remember(spec, cx)
}

fn proven(spec: &Spec, follows: &Follows, within: Duration, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let end = after(within, cx);
    let format = "--out-format=%i %b %n";
    let (mut names, mut unread, mut moved, mut files) = (Vec::new(), false, 0, 0);
    loop {
        // Without a partial directory: what is left of one is deleted.
        let rest = again(spec, follows, &Round { more: &[format], shared: true, ..Round::default() }, end, cx)?;
        unread |= rest.stdout.len() >= Output::MAX;
        for (_, bytes, name) in items(&rest).into_iter().filter(|(what, ..)| what.starts_with(">f")) {
            (moved, files) = (moved + bytes, files + 1);
            names.extend(rsync::unescaped(name));
            names.push(0);
        }
        let differs =
            again(spec, follows, &Round { more: &["-n", format], shared: true, ..Round::default() }, end, cx)?;
        if differs.stdout.trim().is_empty() {
            break;
        }
        if left(end, cx).is_zero() || differs.stdout == rest.stdout {
            return Err(back::differing(&differs, &follows.of.address, FaultCode::NotConverged));
        }
    }
    if files > 0 || unread {
        // More names than are read: then all are compared.
        let names = Some(names.as_slice()).filter(|_| !unread);
        let digests = Round { names, more: &["-n", "--checksum", format], shared: true, ..Round::default() };
        let differs = again(spec, follows, &digests, end, cx)?;
        if items(&differs).iter().any(|(what, ..)| what.starts_with(">f")) {
            return Err(back::differing(&differs, &follows.of.address, FaultCode::NotConverged));
        }
    }
    cx.note(format!("last round: {files} files, {}, compared by digest; nothing differs", human(moved)));
    Ok(())
}

/// Runs it until it is through, as long as there is time.
fn again(spec: &Spec, follows: &Follows, round: &Round<'_>, end: u64, cx: &mut Cx<'_>) -> Result<Output, Fault> {
    loop {
        let timeout = left(end, cx).max(Duration::from_secs(1));
        let ended = if round.looks() {
            rsync::run(&spec.name, follows, round, timeout, cx)?
        } else {
            delete::run(spec, follows, round, timeout, cx)?
        };
        match ended {
            End::Through(output) if output.status == 0 => return Ok(output),
            // Someone still writes there, or the line is cut.
            End::Through(output) | End::Stopped(output) if left(end, cx).is_zero() => {
                let message = format!("files change on {} in the last round", follows.of.address);
                return Err(Fault::new(FaultCode::NotConverged, message).within(output.stderr.trim().to_owned()));
            }
            End::Cut(fault, _) if left(end, cx).is_zero() => return Err(fault),
            _ => cx.host.pause(Duration::from_millis(500)),
        }
    }
}

fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let unit = (0..3).take_while(|unit| bytes >> (10 * (unit + 1)) >= 10).count();
    format!("{} {}", bytes >> (10 * unit), UNITS[unit])
}

/// What a round would do, without doing it.
///
/// # Errors
/// Those of rsync(1); a line that is cut is tried once only.
pub(super) fn differences(spec: &Spec, follows: &Follows, more: &[&str], cx: &mut Cx<'_>) -> Result<Output, Fault> {
    let more = [&["-n", "--out-format=%i %b %n"], more].concat();
    let look = Round { more: &more, ..Round::default() };
    match rsync::run(&spec.name, follows, &look, spec.within(), cx)? {
        End::Through(output) | End::Stopped(output) => Ok(output),
        End::Cut(fault, _) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_words() {
        for (bytes, text) in
            [(0, "0 B"), (10_239, "10239 B"), (10_240, "10 KiB"), (5 << 30, "5120 MiB"), (50 << 30, "50 GiB")]
        {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn rounds_go_on_as_long_as_the_rest_shrinks() {
        for (before, moved, goes_on) in
            [(None, 1 << 40, true), (Some(1200), 900, true), (Some(1200), 903, false), (Some(1200), 2000, false)]
        {
            assert_eq!(shrinks(before, moved), goes_on, "{before:?} {moved}");
        }
    }
}
