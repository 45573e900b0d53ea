//! `postgres_database`: a database of a PostgreSQL server (CREATE DATABASE in the manual).
//!
//! Data is never lost by an undo, and never silently: a database that this kind made is dropped again only while nothing
//! is in it, and one in which something is is removed only if the spec says that there is no way back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::Presence;
use super::postgres::{ask, change, cluster_problem, name, name_problem, text};
use crate::fault::{Fault, FaultCode};
use crate::resource::{Circumstances, Claim, Cx, Exactness, Lens};

/// A database.
#[derive(Debug)]
pub struct PostgresDatabase;

/// A database of the host's PostgreSQL server, without its contents. The server must run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "postgres_database")]
pub struct Spec {
    /// Name.
    pub name: String,
    /// Role that owns it, which must exist or be declared before; a new one belongs to `postgres`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Encoding, e.g. `UTF8`. Only a new database can be given one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Locale for sorting and letters, e.g. `de_DE.UTF-8`; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Database that a new one is a copy of; `template1`, or `template0` if `encoding` or `locale` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Which cluster of the host, e.g. `15/main` (Debian); the default one without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// `present` (default) or `absent`. A database in which something is is only removed with `irreversible: true`.
    #[serde(default)]
    pub state: Presence,
    /// An absent database is removed with all that is in it; there is no way back.
    #[serde(default)]
    pub irreversible: bool,
}

/// The database as the server has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Whether the server answered; if not, the rest is not known.
    pub answers: bool,
    /// `None` if there is none.
    pub database: Option<Database>,
}

/// A database, without what is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// Role that owns it.
    pub owner: String,
    /// Encoding; `None` in a wanted state means the template's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Locale for sorting, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collate: Option<String>,
    /// Locale for letters, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ctype: Option<String>,
    /// How many connections it takes at once; -1 is no limit.
    pub connection_limit: i32,
    /// Whether it has rights or settings of its own, which are not part of this state.
    #[serde(default)]
    pub more: bool,
}

impl Lens for PostgresDatabase {
    const NAME: &'static str = "postgres_database";
    const UNDO: Exactness = Exactness::BestEffort(
        "a database that was removed empty has another number; a new one in which something is stays",
    );
    const BARRIER: bool = true;
    type Spec = Spec;
    type State = State;

    fn problems(spec: &Spec) -> Vec<String> {
        let mut problems: Vec<String> = name_problem("database", &spec.name).into_iter().collect();
        problems.extend(spec.owner.iter().filter_map(|owner| name_problem("role", owner)));
        problems.extend(spec.template.iter().filter_map(|template| name_problem("database", template)));
        problems.extend(cluster_problem(spec.cluster.as_ref()));
        let ok = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
        for (key, value) in [("encoding", &spec.encoding), ("locale", &spec.locale)] {
            if let Some(value) = value.as_ref().filter(|v| v.is_empty() || !v.bytes().all(ok)) {
                problems.push(format!("`{value}` is no `{key}`"));
            }
        }
        if ["postgres", "template0", "template1"].contains(&spec.name.as_str()) {
            problems.push(format!("`{}` is the server's own database", spec.name));
        }
        let more = spec.owner.is_some() || spec.encoding.is_some() || spec.locale.is_some() || spec.template.is_some();
        match spec.state {
            Presence::Absent if more => problems.push("an absent database has nothing but its name and cluster".into()),
            Presence::Present if spec.irreversible => {
                problems.push("`irreversible` is for databases with `state: absent`".into());
            }
            _ => {}
        }
        problems
    }

    fn claims(spec: &Spec) -> Vec<Claim> {
        let cluster = spec.cluster.as_ref().map_or_else(String::new, |cluster| format!("{cluster}: "));
        vec![Claim::Name("postgres_database", format!("{cluster}{}", spec.name))]
    }

    fn get(spec: &Spec, cx: &mut Cx<'_>) -> Result<State, Fault> {
        match look(spec, cx)? {
            Ok(database) => Ok(State { answers: true, database }),
            Err(_) => Ok(State { answers: false, database: None }),
        }
    }

    fn want(spec: &Spec, state: &State, _given: Circumstances) -> Result<State, Fault> {
        if spec.state == Presence::Absent {
            return Ok(State { database: None, ..state.clone() });
        }
        let mut database = match &state.database {
            Some(database) => {
                let values =
                    [("encoding", &database.encoding, &spec.encoding), ("locale", &database.collate, &spec.locale)];
                for (key, has, wanted) in values {
                    if let (Some(has), Some(wanted)) = (has, wanted)
                        && plain(has) != plain(wanted)
                    {
                        let message =
                            format!("the {key} of the database `{}` is {has}, which cannot be changed", spec.name);
                        let hint = "dump it, drop it, and restore it into a new one; or leave the key out";
                        return Err(Fault::new(FaultCode::Conflict, message).hint(hint));
                    }
                }
                database.clone()
            }
            None => Database {
                owner: "postgres".into(),
                encoding: spec.encoding.clone(),
                collate: spec.locale.clone(),
                ctype: spec.locale.clone(),
                connection_limit: -1,
                more: false,
            },
        };
        if let Some(owner) = &spec.owner {
            database.owner.clone_from(owner);
        }
        Ok(State { answers: true, database: Some(database) })
    }

    fn put(spec: &Spec, now: &State, to: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let cluster = spec.cluster.as_ref();
        let name = name(&spec.name);
        match (&now.database, &to.database) {
            (now, to) if now == to => Ok(()),
            (_, None) => {
                // Going back, or asked for: only `irreversible` takes data with it.
                if !spec.irreversible && !is_empty(spec, cx)? {
                    return Err(full(spec));
                }
                change("remove the database", &format!("DROP DATABASE {name};"), "postgres", cluster, cx)
            }
            (None, Some(_)) if spec.state == Presence::Absent && spec.irreversible => {
                let message =
                    format!("the database `{}` is gone with its data: that was declared irreversible", spec.name);
                Err(Fault::new(FaultCode::Irreversible, message).hint("restore it from a backup"))
            }
            (None, Some(to)) => change("make the database", &creation(spec, to), "postgres", cluster, cx),
            (Some(now), Some(to)) => {
                let owner = (now.owner != to.owner)
                    .then(|| format!("ALTER DATABASE {name} OWNER TO {};", super::postgres::name(&to.owner)));
                owner.map_or(Ok(()), |sql| change("give the database an owner", &sql, "postgres", cluster, cx))
            }
        }
    }

    fn keep(spec: &Spec, now: &State, wanted: &State, cx: &mut Cx<'_>) -> Result<(), Fault> {
        look(spec, cx)??;
        let Some(database) = now.database.as_ref().filter(|_| wanted.database.is_none() && !spec.irreversible) else {
            return Ok(());
        };
        if database.more {
            let message = format!("the database `{}` has rights or settings of its own", spec.name);
            let hint = "revoke them first, or declare `irreversible: true`";
            return Err(Fault::new(FaultCode::Irreversible, message).hint(hint));
        }
        if is_empty(spec, cx)? { Ok(()) } else { Err(full(spec)) }
    }

    fn irreversible(spec: &Spec) -> bool {
        spec.irreversible
    }

    fn title(spec: &Spec) -> String {
        spec.name.clone()
    }

    fn examples() -> Vec<Value> {
        vec![
            json!({ "name": "minutes", "owner": "council", "encoding": "UTF8", "locale": "C.UTF-8" }),
            json!({ "name": "obsolete", "state": "absent" }),
            json!({ "name": "archive", "state": "absent" }),
        ]
    }
}

/// Asks the server.
fn look(spec: &Spec, cx: &mut Cx<'_>) -> Result<Result<Option<Database>, Fault>, Fault> {
    let sql = format!(
        "SELECT json_build_object('owner', pg_catalog.pg_get_userbyid(datdba), \
         'encoding', pg_catalog.pg_encoding_to_char(encoding), 'collate', datcollate, 'ctype', datctype, \
         'connection_limit', datconnlimit, 'more', datacl IS NOT NULL OR EXISTS \
         (SELECT FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = d.oid)) \
         FROM pg_catalog.pg_database d WHERE datname = {};",
        text(&spec.name)
    );
    ask(&sql, "postgres", spec.cluster.as_ref(), cx)
}

/// Whether nobody has made anything in it: no relation, routine, schema, extension or large object.
fn is_empty(spec: &Spec, cx: &mut Cx<'_>) -> Result<bool, Fault> {
    let own = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";
    let sql = format!(
        "SELECT json_build_object('empty', NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
         ON n.oid = c.relnamespace WHERE {own}) AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN \
         pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE {own}) AND NOT EXISTS (SELECT FROM \
         pg_catalog.pg_namespace n WHERE {own} AND n.nspname <> 'public') AND NOT EXISTS (SELECT FROM \
         pg_catalog.pg_extension WHERE extname <> 'plpgsql') AND NOT EXISTS (SELECT FROM \
         pg_catalog.pg_largeobject_metadata));"
    );
    let answer: Option<Value> = ask(&sql, &spec.name, spec.cluster.as_ref(), cx)??;
    Ok(answer.is_some_and(|answer| answer["empty"] == true))
}

fn full(spec: &Spec) -> Fault {
    let message = format!("the database `{}` is not empty: removing it would take data with it", spec.name);
    let hint = "save it with pg_dump(1) and drop it by hand with dropdb(1), or declare `irreversible: true`";
    Fault::new(FaultCode::Irreversible, message).hint(hint)
}

fn creation(spec: &Spec, to: &Database) -> String {
    let chosen = to.encoding.is_some() || to.collate.is_some();
    let template = spec.template.as_deref().or(chosen.then_some("template0")).unwrap_or("template1");
    let mut sql =
        format!("CREATE DATABASE {} WITH OWNER {} TEMPLATE {}", name(&spec.name), name(&to.owner), name(template));
    for (word, value) in [("ENCODING", &to.encoding), ("LC_COLLATE", &to.collate), ("LC_CTYPE", &to.ctype)] {
        if let Some(value) = value {
            sql.push_str(&format!(" {word} {}", text(value)));
        }
    }
    sql.push_str(&format!(" CONNECTION LIMIT {};", to.connection_limit));
    sql
}

/// `UTF8` and `utf-8` are one.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(value: Value) -> Spec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn creation_names_what_was_asked_for() {
        let wanted = |spec: &Spec| {
            let none = State { answers: true, database: None };
            PostgresDatabase::want(spec, &none, Circumstances::default()).unwrap().database.unwrap()
        };
        let plain = spec(json!({ "name": "a\"b" }));
        assert_eq!(
            creation(&plain, &wanted(&plain)),
            "CREATE DATABASE \"a\"\"b\" WITH OWNER \"postgres\" TEMPLATE \"template1\" CONNECTION LIMIT -1;"
        );
        let full = spec(json!({ "name": "x", "owner": "o", "encoding": "UTF8", "locale": "de_DE.UTF-8" }));
        assert_eq!(
            creation(&full, &wanted(&full)),
            "CREATE DATABASE \"x\" WITH OWNER \"o\" TEMPLATE \"template0\" ENCODING 'UTF8' LC_COLLATE 'de_DE.UTF-8' \
             LC_CTYPE 'de_DE.UTF-8' CONNECTION LIMIT -1;"
        );
    }

    #[test]
    fn what_cannot_be_changed_is_refused() {
        let has = Database {
            owner: "o".into(),
            encoding: Some("UTF8".into()),
            collate: Some("de_DE.utf8".into()),
            ctype: None,
            connection_limit: -1,
            more: false,
        };
        let state = State { answers: true, database: Some(has) };
        let given = Circumstances::default();
        let same = spec(json!({ "name": "x", "encoding": "utf-8", "locale": "de_DE.UTF-8" }));
        assert_eq!(PostgresDatabase::want(&same, &state, given).ok(), Some(state.clone()));
        let other = spec(json!({ "name": "x", "encoding": "LATIN1" }));
        assert_eq!(PostgresDatabase::want(&other, &state, given).unwrap_err().code, FaultCode::Conflict);
    }
}
