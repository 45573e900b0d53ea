//! On the way back: what users wrote here must be on the other host before this one follows it again.

use std::collections::HashSet;
use std::io::Read as _;

use super::round::differences;
use super::rsync::items;
use super::{Follows, Spec};
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::host::{Output, Survey};
use crate::resource::Cx;

/// Bound of what is kept of a survey, in bytes.
const MAX_KEPT: u64 = 64 << 10;

/// Most differences that are named.
const NAMED: usize = 5;

fn kept(spec: &Spec) -> String {
    format!("mirror-{}-survey", spec.name)
}

/// Keeps what the directory is like at the moment in which it becomes the users' own.
///
/// # Errors
/// Those of the host.
pub(super) fn remember(spec: &Spec, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let survey = cx.host.survey(spec.path.as_ref(), None)?;
    let Survey { newest: (seconds, nanoseconds), digest, .. } = survey;
    let digest = digest.as_ref().map_or("", Digest::as_str);
    cx.keep_bytes(&kept(spec), format!("{seconds} {nanoseconds} {digest}").as_bytes())
}

fn remembered(spec: &Spec, cx: &mut Cx<'_>) -> Option<((i64, u32), Digest)> {
    let mut text = String::new();
    cx.kept_bytes(&kept(spec)).ok()?.take(MAX_KEPT).read_to_string(&mut text).ok()?;
    let mut words = text.split(' ');
    let newest = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((newest, Digest::try_from(words.next()?.to_owned()).ok()?))
}

/// Whether all that is here is on the other host as well: because nothing has changed since it came from there, or because
/// a round would change nothing. `false` only where a person has said that it goes back all the same.
///
/// # Errors
/// `Conflict` with what would be lost: a person decides.
pub(super) fn nothing_is_lost(spec: &Spec, follows: &Follows, cx: &mut Cx<'_>) -> Result<bool, Fault> {
    let then = remembered(spec, cx);
    let now = cx.host.survey(spec.path.as_ref(), then.as_ref().map(|(newest, _)| *newest))?;
    if then.is_some_and(|(_, digest)| now.digest == Some(digest)) {
        return Ok(true);
    }
    let address = &follows.of.address;
    let fault = match differences(spec, follows, &[], cx) {
        Err(fault) if fault.code == FaultCode::Crashed => return Err(fault),
        Ok(output) if output.stdout.trim().is_empty() => return Ok(true),
        Ok(output) => differing(&output, address, FaultCode::Conflict),
        Err(fault) => {
            let some = if now.newer > 0 { now.newer.to_string() } else { "some".into() };
            let message = format!("{some} files were changed here since, {}, and {fault}", now.names.join(", "));
            Fault::new(FaultCode::Conflict, message)
        }
    };
    or_anyway(spec, fault, address, cx)
}

/// The same, once users work on the other host again: what was here is there, as it was or as it was written since.
///
/// # Errors
/// As [`nothing_is_lost`]. What users remove there in these seconds looks as if it were lost.
pub(super) fn all_is_there(spec: &Spec, follows: &Follows, cx: &mut Cx<'_>) -> Result<bool, Fault> {
    let address = &follows.of.address;
    let looks = differences(spec, follows, &[], cx)
        .and_then(|differing| Ok((differing, differences(spec, follows, &["--update"], cx)?)));
    let fault = match looks {
        Err(fault) if fault.code == FaultCode::Crashed => return Err(fault),
        Err(fault) => fault,
        Ok((differing, _)) if differing.stdout.len() >= Output::MAX => {
            Fault::new(FaultCode::Conflict, format!("more differs from {address} than can be looked at"))
        }
        Ok((differing, older)) => match only_here(&differing, &older).as_slice() {
            [] => return Ok(true),
            lost => {
                let message = format!("{} entries are newer here, or not on {address}: {}", lost.len(), lost[0]);
                Fault::new(FaultCode::Conflict, message)
            }
        },
    };
    or_anyway(spec, fault, address, cx)
}

/// Of what a round would bring or remove: what the other host does not have, and of what it has an older one. A round with
/// `--update` leaves the latter as it is.
fn only_here<'o>(differing: &'o Output, older: &'o Output) -> Vec<&'o str> {
    let brought: HashSet<&str> = items(older).iter().map(|(_, _, name)| *name).collect();
    // A link's time is not looked at.
    let lost = |(what, _, name): &(&str, u64, &str)| {
        let link = what.starts_with("cL") && !what.contains('+');
        what.starts_with("*deleting") || link || what.starts_with('>') && !brought.contains(name)
    };
    items(differing).into_iter().filter(lost).map(|(_, _, name)| name).collect()
}

/// What a person decides about something that would be lost.
fn or_anyway(spec: &Spec, fault: Fault, address: &str, cx: &mut Cx<'_>) -> Result<bool, Fault> {
    if cx.over_drift {
        cx.note(format!("it goes back without what is only here, which is kept: {fault}"));
        return Ok(false);
    }
    Err(fault.within(format!("{} has what {address} has not", spec.path)).hint(
        "have the other host follow this one and take that back first; `--take-back-anyway` keeps what is only here \
         beside the directory",
    ))
}

/// What differs, as a fault: how much, and the first of it.
pub(super) fn differing(output: &Output, address: &str, code: FaultCode) -> Fault {
    let items = items(output);
    let count = items.len();
    let first: Vec<&str> = items.iter().map(|(_, _, name)| *name).take(NAMED).collect();
    let more = if count > NAMED { ", ..." } else { "" };
    Fault::new(code, format!("{count} entries differ from {address}: {}{more}", first.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_write_on_the_other_host_since_is_not_lost_here() {
        let output = |stdout: &str| Output { status: 0, stdout: stdout.into(), ..Output::default() };
        let there = ">f+++++++++ 3 letter\n>f.st...... 5 plan\n.d..t...... 0 ./\n";
        assert_eq!(only_here(&output(there), &output(there)), Vec::<&str>::new());
        let here = format!("{there}*deleting   0 mine\n>f.st...... 5 minutes\ncLc........ 0 link\n");
        let older = format!("{there}*deleting   0 mine\ncLc........ 0 link\n");
        assert_eq!(only_here(&output(&here), &output(&older)), ["mine", "minutes", "link"]);
    }
}
