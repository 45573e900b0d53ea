//! Where a standby streams from: its lines in `postgresql.auto.conf`, and the other server, asked over the replication
//! protocol (the manual, "55.4. Streaming Replication Protocol") with what a standby needs anyway.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, rewrite};
use crate::fault::{Fault, FaultCode};
use crate::host::read_text;
use crate::resource::Cx;
use crate::resources::postgres::{name, session, slot_problem};

/// The settings of ours; last in the file, they count.
const SETTINGS: [&str; 3] = ["primary_conninfo", "primary_slot_name", "recovery_target_timeline"];

/// The server that a standby streams from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "postgres_feed")]
pub struct Feed {
    /// Its address or host name.
    pub address: String,
    /// Its port.
    #[serde(default = "port")]
    pub port: u16,
    /// A role there that may log in and has REPLICATION.
    pub user: String,
    /// A password file (0600, owned by `postgres`) of this host, as libpq reads it; without it `~postgres/.pgpass`.
    /// Make it with `file` and `sensitive: true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passfile: Option<String>,
    /// Replication slot there; made with the standby and removed with it. Each standby of a server needs its own.
    #[serde(default = "slot")]
    pub slot: String,
}

fn port() -> u16 {
    5432
}

fn slot() -> String {
    "weiche".into()
}

/// What the other server says of itself.
pub(super) struct Identity {
    pub(super) system: String,
    pub(super) timeline: u32,
    /// Up to where its log is on its disk.
    pub(super) written: Lsn,
}

/// A place in the log, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::resources) struct Lsn(pub(in crate::resources) u64);

impl Lsn {
    /// Reads `16/B374D848`.
    pub(in crate::resources) fn parse(text: &str) -> Option<Lsn> {
        let (high, low) = text.trim().split_once('/')?;
        Some(Lsn(u64::from(u32::from_str_radix(high, 16).ok()?) << 32 | u64::from(u32::from_str_radix(low, 16).ok()?)))
    }
}

impl std::fmt::Display for Lsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl Feed {
    /// What is wrong with it. No part of it needs to be quoted.
    pub(super) fn problems(&self) -> Vec<String> {
        let ok = |text: &str, more: &[u8]| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
        };
        let mut problems = Vec::new();
        if !ok(&self.address, b".:-%") {
            problems.push(format!("`{}` is no address", self.address));
        }
        if !ok(&self.user, b"_.-") || self.user.len() > 63 {
            problems.push(format!("`{}` is no name of a role for replication", self.user));
        }
        problems.extend(slot_problem(&self.slot));
        if self.passfile.as_ref().is_some_and(|path| !path.starts_with('/') || !ok(path, b"/._-")) {
            problems.push("`passfile` is an absolute path without blanks".into());
        }
        problems
    }

    fn conninfo(&self) -> String {
        let mut text = format!("host={} port={} user={}", self.address, self.port, self.user);
        if let Some(passfile) = &self.passfile {
            let _ = write!(text, " passfile={passfile}");
        }
        text
    }

    /// The settings of a standby that streams from it.
    pub(super) fn lines(&self) -> String {
        format!(
            "primary_conninfo = '{}'\nprimary_slot_name = '{}'\nrecovery_target_timeline = 'latest'\n",
            self.conninfo(),
            self.slot
        )
    }

    /// Reads [`Feed::lines`], or an administrator's; `None` if there are none. A password in them is not looked at.
    pub(super) fn read(lines: &str) -> Option<Feed> {
        let value = |key: &str| {
            let line = lines.lines().rev().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='))?;
            Some(line.trim().trim_matches('\'').replace("''", "'"))
        };
        let conninfo = value(SETTINGS[0])?;
        let field = |key: &str| {
            let field = conninfo.split_whitespace().find_map(|field| field.strip_prefix(key)?.strip_prefix('='))?;
            Some(field.trim_matches('\'').to_owned())
        };
        Some(Feed {
            address: field("host").unwrap_or_default(),
            port: field("port").and_then(|text| text.parse().ok()).unwrap_or_else(port),
            user: field("user").unwrap_or_default(),
            passfile: field("passfile"),
            slot: value(SETTINGS[1]).unwrap_or_default(),
        })
    }

    /// Who the other server is; `Err` in the inner result says why it does not answer.
    pub(super) fn identity(&self, cx: &mut Cx<'_>) -> Result<Result<Identity, String>, Fault> {
        Ok(match self.ask("IDENTIFY_SYSTEM;", false, cx)? {
            Err(away) => Err(away),
            Ok(row) => {
                let mut fields = row.trim().split('|');
                let (system, timeline, written) = (fields.next(), fields.next(), fields.next());
                let unread = || Fault::new(FaultCode::Invalid, format!("`{}` is no answer", row.trim()));
                Ok(Identity {
                    system: system.unwrap_or_default().to_owned(),
                    timeline: timeline.and_then(|text| text.parse().ok()).ok_or_else(unread)?,
                    written: written.and_then(Lsn::parse).ok_or_else(unread)?,
                })
            }
        })
    }

    /// The same, where it has to answer.
    ///
    /// # Errors
    /// `NotFound` if it does not; the operator looks at `pg_hba.conf`, `listen_addresses`, the role and the way there.
    pub(super) fn answers(&self, cx: &mut Cx<'_>) -> Result<Identity, Fault> {
        self.identity(cx)?.map_err(|away| self.away(away))
    }

    pub(super) fn away(&self, said: String) -> Fault {
        Fault::new(FaultCode::NotFound, said)
            .within(format!("the server {}:{} cannot be asked for its replication", self.address, self.port))
            .hint(format!(
                "it has to run, to listen on that address, and to let the role `{}` in: a line `host replication` in \
                 its pg_hba.conf",
                self.user
            ))
    }

    /// The major version of the other server.
    pub(super) fn version(&self, cx: &mut Cx<'_>) -> Result<String, Fault> {
        let number = self.ask("SHOW server_version_num;", false, cx)?.map_err(|away| self.away(away))?;
        Ok(number.trim().parse::<u32>().map_or_else(|_| number.trim().to_owned(), |n| (n / 10_000).to_string()))
    }

    /// The history of the other server's timeline, as its `.history` file has it; the first one has none.
    pub(super) fn history(&self, identity: &Identity, cx: &mut Cx<'_>) -> Result<String, Fault> {
        if identity.timeline <= 1 {
            return Ok(String::new());
        }
        let text = self.ask(&format!("TIMELINE_HISTORY {};", identity.timeline), false, cx)?;
        let text = text.map_err(|away| self.away(away))?;
        Ok(text.split_once('|').map_or("", |(_, history)| history).trim().to_owned())
    }

    /// Where a timeline of the other server's history ended; `None` if it was not part of it.
    pub(super) fn ended(&self, timeline: u32, identity: &Identity, cx: &mut Cx<'_>) -> Result<Option<Lsn>, Fault> {
        Ok(end_of(timeline, &self.history(identity, cx)?))
    }

    /// Whether the other server has our slot. Versions below 15 cannot say.
    pub(super) fn has_slot(&self, cx: &mut Cx<'_>) -> Result<bool, Fault> {
        match self.ask(&format!("READ_REPLICATION_SLOT {};", name(&self.slot)), false, cx) {
            Ok(row) => Ok(row.map_err(|away| self.away(away))?.starts_with("physical")),
            Err(fault) if fault.to_string().contains("syntax error") => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Makes the slot there, unless it has it.
    pub(super) fn make_slot(&self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let sql = format!("CREATE_REPLICATION_SLOT {} PHYSICAL RESERVE_WAL;", name(&self.slot));
        match self.ask(&sql, true, cx) {
            Ok(row) => row.map(|_| ()).map_err(|away| self.away(away)),
            Err(fault) if fault.to_string().contains("already exists") => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Removes the slot there: nobody else would, and it holds the log back until the disk is full.
    pub(super) fn drop_slot(&self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        match self.ask(&format!("DROP_REPLICATION_SLOT {} WAIT;", name(&self.slot)), true, cx) {
            Ok(Err(_)) if cx.over_drift => Ok(()),
            Ok(row) => row.map(|_| ()).map_err(|away| self.away(away)),
            Err(fault) if fault.to_string().contains("does not exist") => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    fn ask(&self, sql: &str, effect: bool, cx: &mut Cx<'_>) -> Result<Result<String, String>, Fault> {
        let conninfo = format!("{} dbname=replication connect_timeout=3 replication=true", self.conninfo());
        let output = session(&conninfo, format!("{sql}\n"), effect, cx)?;
        let said = || output.stderr.lines().next().unwrap_or("no answer").to_owned();
        match output.status {
            0 => Ok(Ok(output.stdout)),
            2 => Ok(Err(said())),
            _ => Err(Fault::new(FaultCode::CommandFailed, said()).within(format!("{} refuses", self.address))),
        }
    }
}

/// Where a timeline ended, by a history.
pub(super) fn end_of(timeline: u32, history: &str) -> Option<Lsn> {
    history.lines().find_map(|line| {
        let mut fields = line.split('\t');
        (fields.next()?.trim().parse() == Ok(timeline)).then(|| Lsn::parse(fields.next()?))?
    })
}

fn settings(data: &Path) -> PathBuf {
    data.join("postgresql.auto.conf")
}

/// The lines of [`SETTINGS`] in a data directory; secrets may be in them.
pub(super) fn lines(data: &Path, cx: &mut Cx<'_>) -> Result<String, Fault> {
    let text = read_text(cx.host, &settings(data))?.unwrap_or_default();
    Ok(text.lines().filter(|line| is_ours(line)).flat_map(|line| [line, "\n"]).collect())
}

/// Makes these lines the only ones of [`SETTINGS`] there.
pub(super) fn set_lines(data: &Path, lines: &str, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let path = settings(data);
    let text = read_text(cx.host, &path)?.unwrap_or_default();
    let others: String = text.lines().filter(|line| !is_ours(line)).flat_map(|line| [line, "\n"]).collect();
    let wanted = others + lines;
    if wanted == text { Ok(()) } else { rewrite(&path, &wanted, Some(data), cx) }
}

/// Says in a data directory that it is a standby's. The file is empty.
pub(super) fn signal(data: &Path, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let path = mark(data);
    if cx.host.lstat(&path)?.is_some() {
        return Ok(());
    }
    rewrite(&path, "", Some(data), cx)
}

/// Removes what an agent that was killed has left beside what it was to write.
pub(super) fn sweep(data: &Path, cx: &mut Cx<'_>) -> Result<(), Fault> {
    if cx.host.lstat(data)?.is_none() {
        return Ok(());
    }
    cx.host.sweep(&settings(data))?;
    cx.host.sweep(&mark(data))
}

fn mark(data: &Path) -> PathBuf {
    data.join("standby.signal")
}

fn is_ours(line: &str) -> bool {
    let rest = |key: &&str| line.trim_start().strip_prefix(*key).map(str::trim_start);
    SETTINGS.iter().filter_map(rest).any(|rest| rest.starts_with('='))
}

/// The feed of a cluster that is a standby.
pub(super) fn of(cluster: &Cluster, cx: &mut Cx<'_>) -> Result<Option<Feed>, Fault> {
    if cluster.standby { Ok(Feed::read(&lines(&cluster.data, cx)?)) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_is_read_as_it_was_written() {
        let feed = Feed {
            address: "2001:db8::7".into(),
            port: 5433,
            user: "standby".into(),
            passfile: Some("/var/lib/postgresql/.pgpass".into()),
            slot: "new_1".into(),
        };
        assert_eq!(feed.problems(), Vec::<String>::new());
        assert_eq!(Feed::read(&format!("x = 1\n{}", feed.lines())), Some(feed.clone()));
        assert!(feed.lines().lines().all(is_ours) && !is_ours("# primary_conninfo = ''"));
        // As pg_basebackup(1) -R writes it.
        let theirs = "primary_conninfo = 'user=standby password=x host=''192.0.2.1'' port=5432 sslmode=prefer'";
        let read = Feed::read(theirs).unwrap();
        assert_eq!((read.address.as_str(), read.slot.as_str()), ("192.0.2.1", ""));
        assert!(!serde_json::to_string(&read).unwrap().contains("password"));
        for bad in ["a b", "x'", ""] {
            assert!(!Feed { address: bad.into(), ..feed.clone() }.problems().is_empty(), "{bad}");
        }
    }

    #[test]
    fn a_place_in_the_log_is_a_number() {
        assert_eq!(Lsn::parse("1/A0\n"), Some(Lsn(0x1_0000_00A0)));
        assert_eq!(Lsn(0x1_0000_00A0).to_string(), "1/A0");
        assert_eq!(Lsn::parse("x"), None);
    }
}
