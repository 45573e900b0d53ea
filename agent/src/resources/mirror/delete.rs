//! What a round may delete. A source whose volume is not mounted, or whose disk died, is a directory that looks empty: the
//! copy of it may be all that is left, and keeps everything until a person has looked.

use std::time::Duration;

use super::rsync::{self, End, Round};
use super::{Follows, Spec, place};
use crate::fault::{Fault, FaultCode};
use crate::host::Output;
use crate::resource::Cx;

/// So many entries may always go: who tidies up is not asked.
const FREE: u64 = 1000;

/// How many percent of the copy's entries may go, unless it is said.
const PERCENT: u8 = 50;

/// With it anything may go.
pub(super) const ANY: u8 = 100;

/// How rsync(1) ends when it was not to delete all that is to go ("EXIT VALUES"), and [`SCRIPT`] when too much would go.
pub(super) const MUCH: i32 = 25;

/// How [`SCRIPT`] ends when the other host's directory looks empty; none of rsync's.
const EMPTY: i32 = 40;

/// Time for a look at the top of the other host's directory.
const LOOK: Duration = Duration::from_secs(60);

/// What rsync lists the other host's directory with, without what is below: the words of a round, and these.
const LIST: [&str; 3] = ["--list-only", "--no-recursive", "--dirs"];

/// A timer's round: it repeats itself, so nothing at all is deleted unless all of it may go; for that it looks first what
/// would. Constant: `$1` is the percentage, `$2` the copy, `$3` the other host; the words of a round are behind them.
/// `<3>` makes an error of a line, see sd-daemon(3). The words of a round have a bound that says none may go: the last counts.
pub(super) const SCRIPT: &str = r#"percent=$1 copy=$2 from=$3; shift 3
no() { echo "<3>nothing was brought and nothing deleted: $1" >&2; exit "$2"; }
if [ -n "$(find "$copy" -mindepth 1 -maxdepth 1 ! -name lost+found -print -quit)" ]; then
seen=$("$@" --list-only --no-recursive --dirs | wc -l)
[ "$seen" -ge 1 ] || no "$from does not list its directory" 12
[ "$seen" -ge 2 ] || no "$from shows an empty directory, and $copy is not empty; is its volume mounted?" 40
told=$("$@" -n --stats --max-delete=2147483647) || true
goes=$(echo "$told" | sed -n 's/^Number of deleted files: \([0-9,.]*\).*/\1/p' | tr -d ,.)
[ -n "$goes" ] || no "$from does not tell what would be deleted" 12
if [ "$goes" -gt 1000 ]; then
has=$(find "$copy" -mindepth 1 -printf . | wc -c)
most=$((has * percent / 100))
[ "$goes" -le "$most" ] || no "$goes of $has entries of $copy are not on $from any more; are its volumes mounted?" 25
fi
fi
exec "$@" --max-delete="${most:-1000}""#;

/// How many percent may go.
pub(super) fn percent(follows: &Follows) -> u8 {
    follows.delete_at_most.unwrap_or(PERCENT)
}

/// A round that deletes what the other host does not have, within its bounds. At most [`FREE`] entries go before it is
/// known how many there are.
///
/// # Errors
/// `Conflict` if the other host's directory looks empty, or too much would go: a person looks whether it is as it should
/// be. Those of [`rsync::run`].
pub(super) fn run(
    spec: &Spec,
    follows: &Follows,
    round: &Round<'_>,
    timeout: Duration,
    cx: &mut Cx<'_>,
) -> Result<End, Fault> {
    let percent = spec.delete_at_most.unwrap_or(percent(follows));
    let run = |round: &Round<'_>, timeout, cx: &mut Cx<'_>| rsync::run(&spec.name, follows, round, timeout, cx);
    if percent >= ANY {
        return run(&Round { deletes: u64::MAX, ..round.clone() }, timeout, cx);
    }
    let (path, address) = (&follows.path, &follows.of.address);
    if !place::contents(path, cx)?.is_empty() {
        let top = match run(&Round { more: &LIST, shared: round.shared, ..Round::default() }, timeout.min(LOOK), cx)? {
            End::Through(output) | End::Stopped(output) => output,
            cut @ End::Cut(..) => return Ok(cut),
        };
        // Itself is listed always.
        if top.stdout.lines().count() < 2 {
            let message = format!("{address} shows an empty directory, and {path} is not empty");
            return Err(refused(message, "is its volume mounted?"));
        }
    }
    let first = match run(&Round { deletes: FREE, ..round.clone() }, timeout, cx)? {
        End::Through(output) if skipped(&output) => output,
        other => return Ok(other),
    };
    let count = match run(&Round { more: &["-n", "--stats"], shared: round.shared, ..Round::default() }, timeout, cx)? {
        End::Through(output) | End::Stopped(output) => output,
        cut @ End::Cut(..) => return Ok(cut),
    };
    let goes = rsync::number(&count, "Number of deleted files:").unwrap_or(u64::MAX).saturating_add(FREE);
    let has = cx.host.survey(path.as_ref(), None)?.entries.saturating_add(FREE).saturating_sub(1);
    let most = has.saturating_mul(percent.into()) / 100;
    if goes > most {
        let message =
            format!("{goes} of {has} entries of {path} are not on {address} any more; {FREE} of them are deleted");
        return Err(refused(message, "are its volumes mounted?"));
    }
    match run(&Round { deletes: most, ..round.clone() }, timeout, cx)? {
        End::Through(second) if !skipped(&second) => {
            Ok(End::Through(Output { stdout: first.stdout + &second.stdout, ..second }))
        }
        End::Through(_) => Err(refused(format!("more and more entries vanish on {address}"), "does its disk fail?")),
        other => Ok(other),
    }
}

fn refused(message: String, question: &str) -> Fault {
    let hint = format!("{question} If what is there is right, `delete_at_most: 100` lets everything else go");
    Fault::new(FaultCode::Conflict, message).hint(hint)
}

/// Whether something is to be deleted still.
fn skipped(output: &Output) -> bool {
    output.stderr.lines().any(stopped)
}

/// What rsync says of it; its exit status may be that of something worse.
pub(super) fn stopped(line: &str) -> bool {
    line.starts_with("Deletions stopped due to --max-delete limit") || line.contains("(code 25)")
}

/// What a round of the timer that ended with this status was about.
pub(super) fn told(status: &str, address: &str) -> String {
    if status == EMPTY.to_string() {
        return format!("{address} shows an empty directory, and the copy is not empty: is its volume mounted?");
    }
    if status == MUCH.to_string() {
        return format!("too much of the copy is not on {address} any more: are its volumes mounted?");
    }
    format!("the last round ended with status {status}")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::host::Host as _;
    use crate::host::fake::FakeHost;

    /// A round to a copy of so many files of which the other host has two, or none.
    fn round(address: &str, files: u64, percent: u8) -> (Result<End, Fault>, usize) {
        let mut host = FakeHost::debian();
        host.make_dir(Path::new("/srv/x"), &Default::default()).unwrap();
        for number in 0..files {
            host.write(Path::new(&format!("/srv/x/{number}")), &mut &b"x"[..], &Default::default()).unwrap();
        }
        let spec = json!({ "name": "x", "path": "/srv/x", "mode": "follow", "of": { "address": address } });
        let spec = Spec { delete_at_most: Some(percent), ..serde_json::from_value(spec).unwrap() };
        let follows = Follows::new(&spec).unwrap();
        let mut cx = Cx::looking(&mut host, LOOK);
        let ended = run(&spec, &follows, &Round { more: &["--stats"], ..Round::default() }, LOOK, &mut cx);
        (ended, host.read_dir(Path::new("/srv/x")).unwrap().len())
    }

    fn refused(ended: Result<End, Fault>) -> String {
        let fault = ended.err().expect("it is refused");
        format!("{fault} {}", fault.hint.as_deref().unwrap_or_default())
    }

    #[test]
    fn an_empty_source_empties_no_copy() {
        let (ended, left) = round("empty-host", 3, 50);
        let said = refused(ended);
        assert!(said.contains("empty-host shows an empty directory") && said.contains("mounted?"), "{said}");
        assert_eq!(left, 3);
        assert!(matches!(round("empty-host", 0, 50), (Ok(End::Through(_)), 0)), "nothing is the same as nothing");
        assert!(matches!(round("empty-host", 3, 100), (Ok(End::Through(_)), 0)), "it was said");
    }

    #[test]
    fn much_is_deleted_only_if_that_was_said() {
        assert!(matches!(round("old.example", 1000, 0), (Ok(End::Through(_)), 2)), "a thousand may always go");
        let (ended, left) = round("old.example", 1500, 50);
        let said = refused(ended);
        assert!(said.contains("1500 of 1502 entries of /srv/x are not on old.example"), "{said}");
        assert_eq!(left, 502);
        assert!(matches!(round("old.example", 1500, 100), (Ok(End::Through(_)), 2)));
    }

    /// Two directories, and the timer's script between them: its status, what it says, and how many files the copy has.
    #[expect(clippy::disallowed_methods, reason = "the script is tried as systemd runs it")]
    fn script(source: u32, copy: u32, percent: u8) -> (Option<i32>, String, usize) {
        let dir = TempDir::new().unwrap();
        let place = |name: &str, files: u32| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.join("lost+found")).unwrap();
            (0..files).for_each(|n| fs::write(path.join(n.to_string()), "").unwrap());
            path.display().to_string()
        };
        let places = [place("a source", source), place("a copy", copy)];
        let copy = places[1].as_str();
        let percent = percent.to_string();
        let words = ["-c", SCRIPT, "weiche-mirror", &percent, copy, "192.0.2.1", "rsync", "-a"];
        let more = ["--exclude=/lost+found", "--delete", "--max-delete=0"].map(str::to_owned);
        let places = places.each_ref().map(|place| format!("{place}/"));
        let output = std::process::Command::new("/bin/sh").args(words).args(more).args(places).output().unwrap();
        let left = fs::read_dir(copy).unwrap().count() - 1;
        (output.status.code(), String::from_utf8(output.stderr).unwrap(), left)
    }

    #[test]
    fn the_timer_deletes_all_that_is_to_go_or_nothing() {
        assert_eq!(script(3, 0, 50), (Some(0), String::new(), 3));
        assert_eq!(script(3, 1003, 0), (Some(0), String::new(), 3));
        assert_eq!(script(1500, 2900, 50), (Some(0), String::new(), 1500));
        assert_eq!(script(0, 0, 50), (Some(0), String::new(), 0));
        let (status, said, left) = script(0, 1, 50);
        assert_eq!((status, left), (Some(EMPTY), 1));
        assert!(said.starts_with("<3>nothing was brought and nothing deleted: 192.0.2.1 shows"), "{said}");
        let (status, said, left) = script(1400, 3000, 50);
        assert_eq!((status, left), (Some(MUCH), 3000));
        assert!(said.contains("1600 of 3001 entries of "), "{said}");
    }
}
