//! From standby to primary, proven: nothing that the other server has written may be missing. And the other way, for
//! data that the other server's are a continuation of.

use std::time::Duration;

use serde::Deserialize;

use super::cluster::{Cluster, Stop, until, word};
use super::feed::{Feed, Lsn, end_of};
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, read_text};
use crate::resource::Cx;
use crate::resources::postgres::{ask, change};

/// `XLOG_BLCKSZ`, as every build has it.
const PAGE: u64 = 8192;

/// What a server says of its recovery.
#[derive(Deserialize)]
struct Standing {
    recovery: bool,
    replayed: Option<String>,
    received: Option<String>,
    streaming: bool,
    system: String,
    /// Standbys that it feeds.
    feeds: u32,
}

fn standing(cluster: &Cluster, cx: &mut Cx<'_>) -> Result<Result<Standing, Fault>, Fault> {
    let sql = "SELECT json_build_object('recovery', pg_is_in_recovery(), 'replayed', pg_last_wal_replay_lsn()::text, \
               'received', pg_last_wal_receive_lsn()::text, 'streaming', EXISTS (SELECT FROM pg_stat_wal_receiver \
               WHERE status = 'streaming'), 'system', (SELECT system_identifier::text FROM pg_control_system()), \
               'feeds', (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'));";
    let silent = || Fault::new(FaultCode::NotFound, "the server has said nothing");
    Ok(ask::<Standing>(sql, "postgres", Some(&cluster.id), cx)?.and_then(|standing| standing.ok_or_else(silent)))
}

/// Waits until a standby streams.
///
/// # Errors
/// `NotConverged` if it does not in time.
pub(super) fn streams(cluster: &Cluster, within: Duration, cx: &mut Cx<'_>) -> Result<(), Fault> {
    until(within, cx, |cx| {
        Ok(match standing(cluster, cx)? {
            Err(fault) => Err(fault),
            Ok(Standing { streaming: true, .. }) => Ok(()),
            Ok(_) => Err(Fault::new(FaultCode::NotConverged, "the standby does not stream")
                .hint("its log says why; the other server's histories may not fit, or its role may not be let in")),
        })
    })
}

/// Makes a standby whose server runs a primary, once it has all that the other server has written:
///
/// * the other server answers: it streams from it, and has replayed all that was on the other's disk at that moment;
/// * it does not: the last record that was replayed has come over the stream and is a shutdown checkpoint. A primary
///   writes that when it is stopped cleanly, nothing after it, and ends only when its standbys have it (the manual,
///   "27.2.5"). One that it once wrote itself would prove nothing.
///
/// # Errors
/// `NotConverged` with the bytes that are missing; the operator lets the other server come back.
pub(super) fn promote(cluster: &Cluster, of: Option<&Feed>, within: Duration, cx: &mut Cx<'_>) -> Result<(), Fault> {
    until(within, cx, |cx| {
        let here = match standing(cluster, cx)? {
            Err(fault) => return Ok(Err(fault)),
            Ok(Standing { recovery: false, .. }) => return Ok(Ok(())),
            Ok(here) => here,
        };
        if cx.over_drift {
            return Ok(Ok(()));
        }
        let Some(replayed) = here.replayed.as_deref().and_then(Lsn::parse) else {
            return Ok(Err(Fault::new(FaultCode::NotConverged, "the standby has replayed nothing yet")));
        };
        complete(cluster, of, &here, replayed, cx)
    })?;
    change("become a primary", "SELECT pg_promote(true, 60);", "postgres", Some(&cluster.id), cx)?;
    match standing(cluster, cx)?? {
        Standing { recovery: false, .. } => Ok(()),
        _ => Err(Fault::new(FaultCode::NotConverged, "it was promoted, and still takes no writes")),
    }
}

fn complete(
    cluster: &Cluster,
    of: Option<&Feed>,
    here: &Standing,
    replayed: Lsn,
    cx: &mut Cx<'_>,
) -> Result<Result<(), Fault>, Fault> {
    let short = |message: String| Fault::new(FaultCode::NotConverged, message);
    let away = match of.map(|of| of.identity(cx)).transpose()? {
        Some(Ok(there)) if there.system != here.system => {
            let message = format!("the other server has other data: system {}, here {}", there.system, here.system);
            return Err(Fault::new(FaultCode::Conflict, message));
        }
        Some(Ok(there)) => {
            // Without a stream the places may be those of two logs.
            let missing = there.written.0.saturating_sub(replayed.0);
            return Ok(match missing {
                _ if !here.streaming => {
                    Err(short("the other server runs, and this one does not stream from it".into()))
                }
                0 => Ok(()),
                _ => Err(short(format!("{missing} bytes that the other server has written are not here yet"))),
            });
        }
        Some(Err(away)) => away,
        None => "nothing says where it streams from".into(),
    };
    // Since the server's start; where nothing has come it is the beginning of a segment.
    let received = here.received.as_deref().and_then(Lsn::parse);
    let behind = received.map_or(0, |got| got.0.saturating_sub(replayed.0));
    if behind > 0 {
        return Ok(Err(short(format!("{behind} bytes that were received are not replayed yet"))));
    }
    if received == Some(replayed) && ends_with_shutdown(cluster, replayed, cx)? {
        return Ok(Ok(()));
    }
    let fault = short(format!("the other server does not answer ({away}), and was not stopped cleanly"));
    Ok(Err(fault
        .within(format!("what it wrote after {replayed} may be missing here"))
        .hint("let it come back; `--take-back-anyway` takes a rollback on without what is missing")))
}

/// Whether a standby can never again follow the other server: it was a primary for a while, and has a log of its own
/// since. Nothing of the users' is in it then, for who takes a promotion back proves that first.
pub(super) fn strayed(cluster: &Cluster, of: &Feed, cx: &mut Cx<'_>) -> Result<bool, Fault> {
    let Ok(here) = standing(cluster, cx)? else { return Ok(false) };
    if here.streaming || !here.recovery {
        return Ok(false);
    }
    let Ok(there) = of.identity(cx)? else { return Ok(false) };
    if there.system != here.system {
        return Ok(false);
    }
    let logs = cluster.data.join("pg_wal");
    let names = cx.host.read_dir(&logs)?;
    let timelines =
        names.iter().filter_map(|name| u32::from_str_radix(name.to_str()?.strip_suffix(".history")?, 16).ok());
    let own = timelines.max().unwrap_or(1);
    if own > there.timeline {
        return Ok(true);
    }
    let history = of.history(&there, cx)?;
    if own == there.timeline {
        let text = read_text(cx.host, &logs.join(format!("{own:08X}.history")))?.unwrap_or_default();
        return Ok(text.trim() != history);
    }
    let replayed = here.replayed.as_deref().and_then(Lsn::parse).unwrap_or(Lsn(0));
    Ok(end_of(own, &history).is_none_or(|end| end < replayed))
}

/// Whether the record that ends at `end` is a shutdown checkpoint, from pg_waldump(1).
fn ends_with_shutdown(cluster: &Cluster, end: Lsn, cx: &mut Cx<'_>) -> Result<bool, Fault> {
    let Some((segment, timeline)) = segment(cluster, end, cx)? else { return Ok(false) };
    let own = end.0.saturating_sub(1) / segment * segment;
    // The record may begin at the end of the segment before, which need not be there any more if it does not.
    let reaches_back = end.0 - own < PAGE && own > segment;
    Ok(last_is_shutdown(cluster, (Lsn(own), end), (segment, timeline), cx)?
        || reaches_back && last_is_shutdown(cluster, (Lsn(own - segment), end), (segment, timeline), cx)?)
}

/// The same, for a part of the log that begins with a segment.
fn last_is_shutdown(
    cluster: &Cluster,
    (begin, end): (Lsn, Lsn),
    (segment, timeline): (u64, u32),
    cx: &mut Cx<'_>,
) -> Result<bool, Fault> {
    let logs = cluster.data.join("pg_wal");
    let argv = [
        cluster.program("pg_waldump"),
        format!("--path={}", word(&logs)?),
        format!("--timeline={timeline}"),
        format!("--start={begin}"),
        format!("--end={end}"),
        "--rmgr=XLOG".into(),
    ];
    let output = cx.host.run(&Command::reading(argv))?;
    let last = output.stdout.lines().rfind(|line| line.contains("lsn: "));
    Ok(last.is_some_and(|line| line.contains("CHECKPOINT_SHUTDOWN") && record_end(line, segment) == Some(end)))
}

/// Where a record that pg_waldump(1) shows ends: `len (rec/tot): 114/ 114, tx: 0, lsn: 0/03000028, prev ...`.
fn record_end(line: &str, segment: u64) -> Option<Lsn> {
    let (_, rest) = line.split_once("len (rec/tot):")?;
    let total: u64 = rest.split_once('/')?.1.split_once(',')?.0.trim().parse().ok()?;
    let begin = Lsn::parse(line.split_once("lsn: ")?.1.split(',').next()?)?.0;
    let mut end = begin + total;
    if begin / PAGE != (end - 1) / PAGE {
        // The header of the next page lies between: a long one where that begins a segment.
        end += if ((end - 1) / PAGE * PAGE).is_multiple_of(segment) { 40 } else { 24 };
    }
    Some(Lsn(end.next_multiple_of(8)))
}

/// The size of a segment and the newest timeline that has the one in which `end` lies.
fn segment(cluster: &Cluster, end: Lsn, cx: &mut Cx<'_>) -> Result<Option<(u64, u32)>, Fault> {
    let size: u64 = control(cluster, "Bytes per WAL segment", cx)?.parse().unwrap_or(0);
    if !size.is_power_of_two() {
        return Ok(None);
    }
    let number = end.0.saturating_sub(1) / size;
    let per_id = 0x1_0000_0000 / size;
    let ending = format!("{:08X}{:08X}", number / per_id, number % per_id);
    let names = cx.host.read_dir(&cluster.data.join("pg_wal"))?;
    let timelines = names.iter().filter_map(|name| name.to_str()?.strip_suffix(&ending));
    Ok(timelines.filter_map(|text| u32::from_str_radix(text, 16).ok()).max().map(|timeline| (size, timeline)))
}

/// A line of pg_controldata(1).
fn control(cluster: &Cluster, key: &str, cx: &mut Cx<'_>) -> Result<String, Fault> {
    let argv = [cluster.program("pg_controldata"), word(&cluster.data)?.to_owned()];
    let output = cx.host.run(&Command::reading(argv.clone()))?.expect_ok(&argv)?;
    let value = output.stdout.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let missing = || Fault::new(FaultCode::Invalid, format!("pg_controldata does not say `{key}`"));
    value.map(|text| text.trim().to_owned()).ok_or_else(missing)
}

/// Whether data that are a stopped primary's can go on as a standby of the other server: that one's history must branch
/// off behind the last record here.
///
/// # Errors
/// `Conflict` if it does not: the operator takes a new copy.
pub(super) fn fits(cluster: &Cluster, of: &Feed, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let there = of.answers(cx)?;
    let unfit = |message: String| {
        Err(Fault::new(FaultCode::Conflict, message)
            .within(format!("the data of {} cannot follow {}", cluster.id, of.address))
            .hint("without `data: own` they are put aside, and a copy is taken"))
    };
    let system = control(cluster, "Database system identifier", cx)?;
    if system != there.system {
        return unfit(format!("they are other data: system {system}, there {}", there.system));
    }
    let state = control(cluster, "Database cluster state", cx)?;
    if state != "shut down" {
        return unfit(format!("they are `{state}`; the server has to be stopped first, before the other is promoted"));
    }
    let timeline = control(cluster, "Latest checkpoint's TimeLineID", cx)?;
    let last = Lsn::parse(&control(cluster, "Latest checkpoint location", cx)?);
    let (Some(last), Ok(timeline)) = (last, timeline.parse::<u32>()) else {
        return unfit("pg_controldata is not understood".into());
    };
    match if timeline < there.timeline { of.ended(timeline, &there, cx)? } else { None } {
        Some(branch) if branch > last => Ok(()),
        Some(branch) => unfit(format!("the other branched off at {branch}, and here the log goes on to {last}")),
        None => unfit(format!("the other server was not promoted from timeline {timeline}, which is here")),
    }
}

/// How a primary is stopped that shall be a standby with the same data: cleanly if a standby is there to get its last
/// record; if not, that record would be one that nobody else has, and the data could not follow.
pub(super) fn parting(cluster: &Cluster, cx: &mut Cx<'_>) -> Result<Stop, Fault> {
    Ok(match standing(cluster, cx)? {
        Ok(Standing { feeds: 0, .. }) => Stop::Immediate,
        _ => Stop::Fast,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_record_is_where_the_next_one_begins() {
        let line = |total: u64, lsn: &str| {
            format!(
                "rmgr: XLOG        len (rec/tot):    114/   {total}, tx:          0, lsn: {lsn}, prev 0/02000110, desc: \
                 CHECKPOINT_SHUTDOWN redo 0/3000028"
            )
        };
        let end = |total, lsn| record_end(&line(total, lsn), 16 << 20).unwrap().to_string();
        assert_eq!(end(114, "0/03000028"), "0/30000A0");
        assert_eq!(end(114, "0/03001FF0"), "0/3002080", "over a page");
        assert_eq!(end(114, "0/03FFFFF0"), "0/4000090", "over a segment");
        assert_eq!(record_end("nothing", 16 << 20), None);
    }
}
