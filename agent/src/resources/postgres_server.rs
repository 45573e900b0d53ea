//! `postgres_server`: which part a PostgreSQL cluster of this host plays in streaming replication (the manual, chapter
//! 27), on Debian's layout. It never loses data: what a copy replaces is put aside, and nothing becomes a primary
//! before it has been proven to have all that the other server has written. The data themselves are no part of the
//! state.

pub(in crate::resources) mod cluster;
pub(in crate::resources) mod copy;
pub(in crate::resources) mod feed;
mod part;

use std::io::Read;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::cluster::{Cluster, Stop};
use super::period;
use super::postgres::cluster_problem;
use crate::digest::Digest;
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};

pub use feed::Feed;

/// Bound of the settings of a feed, in bytes.
const MAX_LINES: u64 = 64 << 10;

/// Longest time to catch up: users wait meanwhile.
const MAX_WITHIN: Duration = Duration::from_hours(1);

/// A cluster's part.
#[derive(Debug)]
pub struct PostgresServer;

/// The part that a PostgreSQL cluster of this host (Debian's layout, as `pg_createcluster` makes it) plays in streaming
/// replication. The package must be installed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "postgres_server")]
pub struct Spec {
    /// Which cluster, e.g. `15/main`; without it the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Its part.
    pub mode: Mode,
    /// For a standby: the server that it streams from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Feed>,
    /// For a standby: whether its data become a `copy` of the other server's (its own are put aside), or whether its
    /// `own` can follow: those of a primary that was stopped cleanly before its standby was promoted.
    #[serde(default)]
    pub data: Data,
    /// How long a standby may take to have all that the other server has written before it becomes a primary, and to
    /// stream after it was made: a number with `ms`, `s` or `m`, at most an hour. `10s` without it.
    #[serde(default = "caught_up_within")]
    pub caught_up_within: String,
    /// Whether the data that were put aside for a copy are removed for good. There is no way back then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forget_aside: bool,
    /// For a standby that is stopped for good: whether its slot on the other server is dropped, which would else keep
    /// its log for it until the disk is full. It cannot follow any more then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forget_feed: bool,
}

/// What a cluster is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It runs, now and after a restart of the host, and takes writes.
    Primary,
    /// It runs likewise, and streams from another server.
    Standby,
    /// It does not run, nor after a restart of the host. A fast shutdown: its standby gets all that it wrote.
    Stopped,
}

/// Where a standby's data come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// A base backup of the other server.
    #[default]
    Copy,
    /// The cluster's own.
    Own,
}

/// The part that the cluster plays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// `None` if there is no such cluster.
    pub cluster: Option<Part>,
}

/// A part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Whether it streams from, or waits for, another server; else it is a primary.
    pub standby: bool,
    /// Whether the server runs.
    pub runs: bool,
    /// `auto`, `manual` or `disabled`, from `start.conf`.
    pub starts: String,
    /// Whether its data are a copy, and its own were put aside.
    pub copied: bool,
    /// Where it streams from; `None` if `postgresql.auto.conf` does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Feed>,
    /// Whether it is a standby that can never again follow, since its promotion was taken back: it needs a new copy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strayed: bool,
}

fn caught_up_within() -> String {
    "10s".into()
}

fn within(spec: &Spec) -> Option<Duration> {
    period::read(&spec.caught_up_within, MAX_WITHIN)
}

impl Lens for PostgresServer {
    const NAME: &'static str = "postgres_server";
    const TELLING: bool = true;
    const UNDO: Exactness = Exactness::BestEffort(
        "the timeline of a cluster that was promoted or has followed another, and where its log stands",
    );
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = cluster_problem(spec.cluster.as_ref()).into_iter().collect();
        problems.extend(spec.of.iter().flat_map(Feed::problems));
        match (spec.mode, &spec.of) {
            (Mode::Standby, None) => problems.push("a standby needs `of`: the server that it streams from".into()),
            (Mode::Primary | Mode::Stopped, Some(_)) => problems.push("`of` is for a standby".into()),
            _ => {}
        }
        if within(spec).is_none() {
            let given = &spec.caught_up_within;
            problems.push(format!("`caught_up_within` is a time such as `10s`, at most 60m; not `{given}`"));
        }
        if spec.mode != Mode::Standby && spec.data == Data::Own {
            problems.push("`data` is for a standby".into());
        }
        if spec.mode == Mode::Standby && spec.forget_aside {
            problems
                .push("a standby keeps the data that were put aside for it: `forget_aside` once it is promoted".into());
        }
        if spec.mode != Mode::Stopped && spec.forget_feed {
            problems.push("`forget_feed` is for a standby that is stopped for good: `mode: stopped`".into());
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Name("postgres_server", spec.cluster.clone().unwrap_or_else(|| "default".into()))]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let Some(cluster) = Cluster::find(spec.cluster.as_ref(), cx)? else { return Ok(State { cluster: None }) };
        let of = feed::of(&cluster, cx)?;
        let strayed = match &of {
            Some(of) if cluster.runs && spec.mode == Mode::Standby => part::strayed(&cluster, of, cx)?,
            _ => false,
        };
        let Cluster { standby, runs, starts, copied, .. } = cluster;
        Ok(State { cluster: Some(Part { standby, runs, starts, copied, of, strayed }) })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        // What a package's installation makes.
        let fresh =
            || Part { standby: false, runs: true, starts: "auto".into(), copied: false, of: None, strayed: false };
        let mut part = state.cluster.clone().unwrap_or_else(fresh);
        part.runs = spec.mode != Mode::Stopped;
        part.starts = if part.runs { "auto".into() } else { "manual".into() };
        match spec.mode {
            Mode::Stopped if spec.forget_feed => part.of = None,
            Mode::Stopped => {}
            Mode::Primary => (part.standby, part.of) = (false, None),
            Mode::Standby => {
                if part.strayed && spec.data == Data::Own {
                    let message = "it was a primary meanwhile, and its data cannot follow any more";
                    let hint = "without `data: own` they are put aside, and a copy is taken";
                    return Err(Fault::new(FaultCode::Conflict, message).hint(hint));
                }
                if (!part.standby || part.strayed) && spec.data == Data::Copy {
                    if part.copied && !part.strayed {
                        let message = "data that an earlier run put aside are still there, and these would be next";
                        let hint = "give them up with `forget_aside: true`, or say `data: own` if these can follow";
                        return Err(Fault::new(FaultCode::Conflict, message).hint(hint));
                    }
                    part.copied = true;
                }
                part.standby = true;
                part.of.clone_from(&spec.of);
            }
        }
        part.strayed = false;
        if spec.forget_aside {
            part.copied = false;
        }
        Ok(State { cluster: Some(part) })
    }

    fn keep(spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let (Some(now), Some(wanted)) = (&now.cluster, &wanted.cluster) else { return Err(missing()) };
        if now.of.is_none() && wanted.of.is_none() {
            return Ok(());
        }
        let cluster = Cluster::find(spec.cluster.as_ref(), cx)?.ok_or_else(missing)?;
        if let Some(of) = &now.of {
            let lines = feed::lines(&cluster.data, cx)?;
            cx.keep_bytes(&kept(of), lines.as_bytes())?;
        }
        let ours = wanted.of.as_ref().filter(|of| spec.of.as_ref() == Some(*of));
        if now.standby && ours.is_some() && now.of != wanted.of {
            let message = "it is a standby of another server, or with other settings";
            return Err(Fault::new(FaultCode::Unsupported, message).hint("make it a primary first, in an earlier step"));
        }
        if let Some(of) = ours.filter(|_| !now.standby) {
            let version = of.version(cx)?;
            if cluster.id.split('/').next() != Some(version.as_str()) {
                let message = format!("{} has version {version}, and this cluster is {}", of.address, cluster.id);
                return Err(Fault::new(FaultCode::Unsupported, message).hint(
                    "only the same major version can stream; another one is followed by `postgres_upgrade` (profiles \
                     `town-database-major-...`)",
                ));
            }
            if of.has_slot(cx)? {
                let message =
                    format!("{} has a slot `{}` already, which may be another standby's", of.address, of.slot);
                return Err(Fault::new(FaultCode::Conflict, message).hint("choose another `slot`, or drop it there"));
            }
            if spec.data == Data::Own {
                part::fits(&cluster, of, cx)?;
            }
        }
        Ok(())
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let found = Cluster::find(spec.cluster.as_ref(), cx)?;
        let (mut cluster, to) = match (found, &to.cluster) {
            (Some(cluster), Some(to)) => (cluster, to),
            (None, Some(_)) => return Err(missing()),
            // It came with a package, and goes with it.
            (_, None) => return Ok(()),
        };
        let within = within(spec).unwrap_or_default();
        let to_feed = spec.of.as_ref().filter(|of| to.standby && to.of.as_ref() == Some(*of));
        feed::sweep(&cluster.data, cx)?;
        cluster.set_starts(&to.starts, cx)?;
        if spec.forget_feed && !to.runs {
            // Stopped first, for a slot in use is waited for.
            cluster.stop(Stop::Fast, cx)?;
            feed::of(&cluster, cx)?.map_or(Ok(()), |of| of.drop_slot(cx))?;
        }
        let no_copy = cx.host.lstat(&cluster.data)?.is_none();
        // Once more after a crash in the middle of a swap, too.
        if to.copied && !cluster.copied {
            let of = to_feed.ok_or_else(|| Fault::new(FaultCode::Conflict, "the data that were put aside are gone"))?;
            copy::take(&mut cluster, of, cx)?;
        } else if let Some(of) = to_feed.filter(|_| to.copied && (no_copy || strayed(now) && !to.strayed)) {
            copy::renew(&mut cluster, of, cx)?;
        } else if !to.copied && spec.mode != Mode::Standby {
            if cluster.copied {
                copy::forget(&mut cluster, cx)?;
            }
        } else if !to.copied {
            if cluster.copied {
                // First, for its standby must not come back once the slot is gone.
                cluster.stop(Stop::Fast, cx)?;
            }
            leave(spec, to, &mut cluster, cx)?;
        }
        become_part(spec, to, &mut cluster, within, cx)?;
        if to.runs {
            cluster.start(cx)?;
        } else {
            cluster.stop(Stop::Fast, cx)?;
        }
        // One that could not follow before need not on the way back.
        if to_feed.is_some() && to.runs && !to.strayed { part::streams(&cluster, within, cx) } else { Ok(()) }
    }

    fn same(_spec: &Spec, before: &State, after: &State) -> bool {
        before.cluster.is_none() || plain(before) == plain(after)
    }

    fn intact(_spec: &Spec, after: &State, now: &State) -> bool {
        plain(after) == plain(now)
    }

    fn change(now: &State, wanted: &State) -> Option<Vec<String>> {
        let (now, wanted) = (now.cluster.as_ref(), wanted.cluster.as_ref()?);
        let word = |part: &Part| match (part.standby, part.runs, &part.of) {
            (true, runs, of) => {
                let of = of.as_ref().map_or_else(String::new, |of| format!(" of {}:{}", of.address, of.port));
                format!("standby{of}{}", if runs { "" } else { ", stopped" })
            }
            (false, true, _) => "primary".into(),
            (false, false, _) => "stopped".into(),
        };
        let from = now.map_or_else(|| "no cluster".into(), word);
        let mut lines = vec![format!("{from} -> {}", word(wanted))];
        if let Some(of) = now.and_then(|now| now.of.as_ref()).filter(|_| wanted.standby && wanted.of.is_none()) {
            lines.push(format!("its slot `{}` on {} is dropped: it cannot follow any more", of.slot, of.address));
        }
        let was = now.is_some_and(|now| now.copied);
        match (was, wanted.copied) {
            (false, true) => lines.push("its data are put aside, and a copy of the other server's taken".into()),
            (true, false) => lines.push("the data that were put aside are removed for good".into()),
            (true, true) if now.is_some_and(|now| now.strayed) => {
                lines.push("it was a primary meanwhile and cannot follow any more: a new copy is taken".into());
            }
            _ => {}
        }
        Some(lines)
    }

    fn irreversible(spec: &Spec) -> bool {
        spec.forget_aside || spec.forget_feed
    }

    fn title(spec: &Spec) -> String {
        spec.cluster.clone().unwrap_or_else(|| "the only cluster".into())
    }

    fn examples() -> Vec<Value> {
        let of = json!({ "address": "192.0.2.10", "user": "standby", "passfile": "/var/lib/postgresql/.pgpass" });
        vec![
            json!({ "cluster": "15/main", "mode": "standby", "of": of }),
            json!({ "mode": "standby", "data": "own", "of": { "address": "192.0.2.11", "user": "standby" } }),
            json!({ "mode": "primary" }),
            json!({ "mode": "stopped" }),
        ]
    }
}

/// Makes its data those of a standby or a primary.
fn become_part(spec: &Spec, to: &Part, cluster: &mut Cluster, within: Duration, cx: &mut Cx<'_>) -> Result<(), Fault> {
    if !to.standby {
        if cluster.standby {
            let of = feed::of(cluster, cx)?;
            cluster.start(cx)?;
            part::promote(cluster, of.as_ref(), within, cx)?;
            cluster.look(cx)?;
        }
        let copy_taken_back = spec.mode == Mode::Standby && spec.data == Data::Copy;
        return if copy_taken_back { Ok(()) } else { settle(spec, to, cluster, cx) };
    }
    let lines = match (&to.of, &spec.of) {
        (Some(of), Some(ours)) if of == ours => of.lines(),
        (Some(of), _) => {
            let mut lines = String::new();
            let mut reader = cx.kept_bytes(&kept(of))?.take(MAX_LINES);
            reader.read_to_string(&mut lines).map_err(|e| Fault::io("read the settings of a feed", &e))?;
            lines
        }
        (None, _) => String::new(),
    };
    if !cluster.standby {
        if let Some(of) = spec.of.as_ref().filter(|of| to.of.as_ref() == Some(*of)) {
            of.make_slot(cx)?;
        }
        if cluster.runs {
            let how = part::parting(cluster, cx)?;
            cluster.stop(how, cx)?;
        }
        feed::set_lines(&cluster.data, &lines, cx)?;
        feed::signal(&cluster.data, cx)?;
        return cluster.look(cx);
    }
    if feed::lines(&cluster.data, cx)? != lines {
        feed::set_lines(&cluster.data, &lines, cx)?;
        cluster.reload(cx)?;
    }
    Ok(())
}

/// A standby that this resource made goes for good: its server is stopped or a primary again, its slot removed and, if
/// its data were a copy, its own put back.
fn leave(spec: &Spec, to: &Part, cluster: &mut Cluster, cx: &mut Cx<'_>) -> Result<(), Fault> {
    if spec.data == Data::Own || to.standby {
        return Ok(());
    }
    if let Some(of) = &spec.of {
        of.drop_slot(cx)?;
    }
    copy::give_back(cluster, cx)
}

/// Data that are a primary's now need no feed. A standby with its own data that is taken back needs no slot either; it
/// is stopped first if it shall be, for that ends the stream.
fn settle(spec: &Spec, to: &Part, cluster: &mut Cluster, cx: &mut Cx<'_>) -> Result<(), Fault> {
    feed::set_lines(&cluster.data, "", cx)?;
    if !to.runs {
        cluster.stop(Stop::Fast, cx)?;
    }
    spec.of.as_ref().map_or(Ok(()), |of| of.drop_slot(cx))
}

fn strayed(state: &State) -> bool {
    state.cluster.as_ref().is_some_and(|part| part.strayed)
}

/// Whether it follows is nothing that could be put back.
fn plain(state: &State) -> Option<Part> {
    state.cluster.as_ref().map(|part| Part { strayed: false, ..part.clone() })
}

/// The name under which the settings of a feed that was there are kept.
fn kept(of: &Feed) -> String {
    format!("feed-{}", Digest::of(&serde_json::to_vec(of).unwrap_or_default()))
}

fn missing() -> Fault {
    Fault::new(FaultCode::Unsupported, "there is no PostgreSQL cluster on this host")
        .hint("declare the package `postgresql` before it; pg_lsclusters(1) lists clusters")
}
