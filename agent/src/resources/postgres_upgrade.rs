//! `postgres_upgrade`: which part a database plays while it moves to a server with another major version of PostgreSQL,
//! by logical replication (the manual, chapter 31), on Debian's layout, and back. No row is merged, guessed or left out:
//! what follows takes over only when it is proven to have all, and what cannot come along is refused beforehand.

mod fresh;
mod here;
mod other;
mod prove;
mod publish;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::here::Here;
use super::period;
use super::postgres::{cluster_problem, name_problem, slot_problem};
use super::postgres_server::Data;
use super::postgres_server::cluster::Cluster;
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};

pub use other::Other;

/// Longest time to catch up: users wait meanwhile.
const MAX_WITHIN: Duration = Duration::from_hours(1);

/// A database's part.
#[derive(Debug)]
pub struct PostgresUpgrade;

/// The part that a database of a PostgreSQL cluster (Debian's layout) plays while it moves to a server with another major
/// version. Rows go over while users work; schema changes have to rest from `ready` to `ended`, sequences are set when the
/// other server takes over. Large objects, unlogged tables, materialized views and further databases would not come
/// along: they are refused, with their list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "postgres_upgrade")]
pub struct Spec {
    /// Which cluster, e.g. `17/main`; without it the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The database that moves: the only one of its server beside `postgres` and the templates.
    pub database: String,
    /// Its part.
    pub mode: Mode,
    /// For one that follows: the other server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Other>,
    /// For one that follows: whether a `copy` of the other server's roles, schema and rows is taken (the cluster's own
    /// data are put aside), or whether it has all and its `own` go on: that of a server that rests, whose follower serves.
    #[serde(default)]
    pub data: Data,
    /// A role that may log in from the other server, has REPLICATION, and is a member of `pg_read_all_data`.
    #[serde(default = "user")]
    pub user: String,
    /// Name of the publications, subscriptions and slots that are made.
    #[serde(default = "name")]
    pub name: String,
    /// How long one that follows may take to have all when it takes over: a number with `ms`, `s` or `m`, at most an hour.
    #[serde(default = "within")]
    pub within: String,
    /// How long each server may then take to count its rows and to make a digest of them, which both have to agree on. What
    /// takes longer is told, and the place in the log counts alone.
    #[serde(default = "compare_within")]
    pub compare_within: String,
}

/// What a database is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Another server can follow it: users notice nothing.
    Ready,
    /// It has what the other server has, and takes no writes of users.
    Follows,
    /// It runs and takes no writes; sessions are ended.
    Rests,
    /// It takes writes, once it is proven to have all; the other server can follow it.
    Serves,
    /// Nothing of all that is left. There is no way back then.
    Ended,
}

/// The part that it plays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// `None` if there is no such cluster.
    pub part: Option<Part>,
}

/// A part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Whether the server answers and has the database; if not, the rest is not known.
    pub answers: bool,
    /// Whether it is published.
    pub ready: bool,
    /// Whether the server takes no writes.
    pub rests: bool,
    /// Whom it has followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Other>,
    /// Whether it follows now.
    pub follows: bool,
    /// Whether data of the cluster's own were put aside.
    pub copied: bool,
    /// What would not come along; looked for while it is not published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<String>,
}

fn user() -> String {
    "standby".into()
}

fn name() -> String {
    "weiche".into()
}

fn within() -> String {
    "10s".into()
}

fn compare_within() -> String {
    "5s".into()
}

fn plain_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

impl Lens for PostgresUpgrade {
    const NAME: &'static str = "postgres_upgrade";
    const TELLING: bool = true;
    const UNDO: Exactness = Exactness::BestEffort("where its log stands, and how rows lie in its files");
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = cluster_problem(spec.cluster.as_ref()).into_iter().collect();
        problems.extend(name_problem("database", &spec.database));
        problems.extend(spec.of.iter().flat_map(Other::problems));
        for (what, text) in [("database", &spec.database), ("user", &spec.user)] {
            if !plain_word(text) {
                problems.push(format!("`{what}` is of letters, digits, `_`, `.` and `-`; not `{text}`"));
            }
        }
        problems.extend(slot_problem(&spec.name));
        if (spec.mode == Mode::Follows) != spec.of.is_some() {
            problems.push("`of` is the server that one follows: for `mode: follows`, and needed there".into());
        }
        if spec.mode != Mode::Follows && spec.data == Data::Own {
            problems.push("`data` is for `mode: follows`".into());
        }
        for (what, text) in [("within", &spec.within), ("compare_within", &spec.compare_within)] {
            if period::read(text, MAX_WITHIN).is_none() {
                problems.push(format!("`{what}` is a time such as `10s`, at most 60m; not `{text}`"));
            }
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        vec![Claim::Name("postgres_upgrade", spec.cluster.clone().unwrap_or_else(|| "default".into()))]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        let Some(cluster) = Cluster::find(spec.cluster.as_ref(), cx)? else { return Ok(State { part: None }) };
        let here = Here::new(spec, &cluster);
        let mut part = here.part(cx)?;
        part.copied = cluster.copied;
        if spec.mode == Mode::Ready && part.answers && !part.ready && part.of.is_none() {
            part.against = publish::against(&here, cx)?;
        }
        Ok(State { part: Some(part) })
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        let mut part = state.part.clone().unwrap_or_default();
        part.answers = true;
        match spec.mode {
            Mode::Ready => {
                if !part.against.is_empty() {
                    let message = format!("not all would come along to another version: {}", part.against.join("; "));
                    return Err(Fault::new(FaultCode::Unsupported, message)
                        .hint("docs/swap.md, `Another major version of PostgreSQL`, says what to do about each"));
                }
                // One that follows already, after a cutover that failed, is published when it serves.
                part.ready |= part.of.is_none();
            }
            Mode::Follows => {
                let first = spec.data == Data::Copy && part.of.is_none();
                if part.of.is_some() && !part.follows {
                    let message = "it has taken over, and users work on it";
                    return Err(Fault::new(FaultCode::Conflict, message).hint("`mode: ended` ends that"));
                }
                if first && part.copied {
                    let message = "data that an earlier run put aside are still there, and these would be next";
                    return Err(Fault::new(FaultCode::Conflict, message)
                        .hint("take that run back, or give them up with `mode: ended`"));
                }
                if first {
                    (part.copied, part.ready) = (true, false);
                }
                (part.of, part.follows, part.rests) = (spec.of.clone(), true, true);
            }
            Mode::Rests => part.rests = true,
            Mode::Serves => (part.ready, part.rests, part.follows) = (true, false, false),
            Mode::Ended => (part.ready, part.of, part.follows, part.copied) = (false, None, false, false),
        }
        part.against = Vec::new();
        Ok(State { part: Some(part) })
    }

    fn keep(spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let (Some(now), Some(wanted)) = (&now.part, &wanted.part) else { return Err(missing(spec)) };
        let refuse = |message: &str, hint: &str| Err(Fault::new(FaultCode::Conflict, message).hint(hint));
        let cluster = Cluster::find(spec.cluster.as_ref(), cx)?.ok_or_else(|| missing(spec))?;
        let forward = match spec.mode {
            Mode::Ready => wanted.ready,
            Mode::Follows => wanted.follows,
            Mode::Rests => wanted.rests,
            Mode::Serves => !wanted.follows,
            Mode::Ended => true,
        };
        if !forward {
            return Ok(());
        }
        if !now.answers {
            let message = format!("the cluster {} does not answer, or has no database `{}`", cluster.id, spec.database);
            return Err(Fault::new(FaultCode::NotFound, message).hint("declare `unit` with `running: true` before it"));
        }
        if spec.mode == Mode::Serves && now.of.is_none() {
            return refuse("it follows no server", "`mode: follows` comes before `mode: serves`");
        }
        if spec.mode == Mode::Follows && now.of.is_some() && now.of != spec.of {
            return refuse("it has followed another server", "end that first, with `mode: ended`");
        }
        if spec.mode == Mode::Follows && spec.data == Data::Own && now.of.is_none() && !(now.ready && now.rests) {
            let message = "it takes writes, or nobody could follow it: its own data may not be the other server's";
            return refuse(message, "`mode: ready` and `mode: rests` come before `data: own`");
        }
        if spec.mode == Mode::Follows && wanted.copied && !now.copied {
            fresh::check(&Here::new(spec, &cluster), spec.of.as_ref().ok_or_else(|| missing(spec))?, cx)?;
        }
        Ok(())
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let found = Cluster::find(spec.cluster.as_ref(), cx)?;
        let (mut cluster, to) = match (found, &to.part) {
            (Some(cluster), Some(to)) => (cluster, to),
            (None, Some(_)) => return Err(missing(spec)),
            // It came with a package, and goes with it.
            (_, None) => return Ok(()),
        };
        let mut now = now.part.clone().unwrap_or_default();
        let here = Here::new(spec, &cluster);
        let swaps = spec.mode == Mode::Follows && spec.data == Data::Copy;
        if to.answers && !now.answers && !swaps {
            // As the host comes up, it may be on its way.
            cluster.start(cx)?;
            now = Part { copied: now.copied, ..here.awake(cx)? };
        }
        match spec.mode {
            Mode::Ready if to.ready => publish::publish(&here, cx),
            Mode::Ready => publish::unpublish(&here, cx),
            Mode::Rests if to.rests => here.close(cx),
            Mode::Rests => here.open(cx),
            Mode::Follows => {
                let of = spec.of.as_ref().ok_or_else(|| missing(spec))?;
                match (spec.data, to.follows) {
                    (Data::Copy, true) => {
                        if now.of.is_none() || !now.copied {
                            fresh::take(&here, &mut cluster, of, cx)?;
                        }
                        prove::copied(&here, cx)
                    }
                    (Data::Copy, false) => fresh::give_back(&here, &mut cluster, of, to.answers, cx),
                    (Data::Own, true) => prove::follow(&here, of, now.of.is_some(), cx),
                    (Data::Own, false) => prove::unfollow(&here, &now, cx),
                }
            }
            Mode::Serves => {
                let of = now.of.as_ref().ok_or_else(|| Fault::new(FaultCode::Conflict, "it follows no server"))?;
                if to.follows { prove::step_back(&here, of, cx) } else { prove::serve(&here, of, &now, cx) }
            }
            Mode::Ended => publish::end(&here, &mut cluster, cx),
        }
    }

    fn same(_spec: &Spec, before: &State, after: &State) -> bool {
        before.part.as_ref().is_none_or(|part| !part.answers) || plain(before) == plain(after)
    }

    fn intact(_spec: &Spec, after: &State, now: &State) -> bool {
        plain(after) == plain(now)
    }

    fn amiss(spec: &Spec, cx: &mut Cx<'_>) -> Result<Option<String>, Fault> {
        let Some(cluster) = Cluster::find(spec.cluster.as_ref(), cx)? else { return Ok(None) };
        let here = Here::new(spec, &cluster);
        if !here.part(cx)?.follows {
            return Ok(None);
        }
        prove::failing(&here, cx)
    }

    fn change(now: &State, wanted: &State) -> Option<Vec<String>> {
        let (now, wanted) = (now.part.clone().unwrap_or_default(), wanted.part.as_ref()?);
        let mut lines = Vec::new();
        let of = |part: &Part| part.of.as_ref().map_or_else(String::new, |of| format!("{}:{}", of.address, of.port));
        match (now.follows, wanted.follows) {
            (false, true) if wanted.copied && !now.copied => lines.extend([
                format!("follows {} by logical replication, for that has another major version", of(wanted)),
                "its data are put aside; roles, schema and rows are copied while users work".into(),
                "schema changes have to rest from now until the retirement".into(),
            ]),
            (false, true) => lines.push(format!("follows {} with the rows that it has", of(wanted))),
            (true, false) if wanted.of.is_some() => lines.extend([
                format!("takes over from {}, once it has all; users wait while rows are compared", of(&now)),
                "sequences are set; the other server can follow from here on".into(),
            ]),
            (true, false) => lines.push(format!("follows {} no more", of(&now))),
            _ => {}
        }
        match (now.rests, wanted.rests) {
            (false, true) => lines.push("takes no writes of users; sessions are ended".into()),
            (true, false) => lines.push("takes writes".into()),
            _ => {}
        }
        match (now.ready, wanted.ready) {
            (false, true) if !wanted.copied => {
                lines.push("is published; updates of tables without a key are logged with the whole row".into());
            }
            (true, false) if !wanted.copied => lines.push("is published no more".into()),
            _ => {}
        }
        if now.copied && !wanted.copied {
            lines.push("the data that were put aside are removed for good".into());
        }
        Some(lines)
    }

    fn irreversible(spec: &Spec) -> bool {
        spec.mode == Mode::Ended
    }

    fn title(spec: &Spec) -> String {
        spec.database.clone()
    }

    fn examples() -> Vec<Value> {
        let of = json!({ "address": "192.0.2.10", "passfile": "/var/lib/postgresql/.pgpass" });
        vec![
            json!({ "cluster": "15/main", "database": "minutes", "mode": "ready" }),
            json!({ "database": "minutes", "mode": "follows", "of": of }),
            json!({ "cluster": "15/main", "database": "minutes", "mode": "rests" }),
            json!({ "database": "minutes", "mode": "serves" }),
            json!({ "database": "minutes", "mode": "follows", "data": "own", "of": { "address": "192.0.2.11" } }),
        ]
    }
}

/// What would not come along is nothing that a step makes.
fn plain(state: &State) -> Option<Part> {
    state.part.as_ref().map(|part| Part { against: Vec::new(), ..part.clone() })
}

fn missing(spec: &Spec) -> Fault {
    let which = spec.cluster.as_deref().unwrap_or("of PostgreSQL");
    Fault::new(FaultCode::Unsupported, format!("there is no cluster {which} on this host"))
        .hint("declare the package `postgresql` before it; pg_lsclusters(1) lists clusters")
}
