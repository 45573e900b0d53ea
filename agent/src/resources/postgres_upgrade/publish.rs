//! What another server needs to follow: a publication of all tables, and rights for the role; and what stands against it.

use super::here::Here;
use crate::fault::{Fault, FaultCode};
use crate::resource::Cx;
use crate::resources::postgres::{name, text};
use crate::resources::postgres_server::cluster::Cluster;
use crate::resources::postgres_server::copy;

/// How many things that would not come along are listed.
const MOST: usize = 20;

/// What a user's table is: `c` of `pg_class`, `n` of `pg_namespace`.
pub(super) const USERS: &str =
    "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'";

/// Tables whose updates could not be published: they have no key.
const KEYLESS: &str = "c.relkind = 'r' AND c.relpersistence = 'p' AND c.relreplident = 'd' AND NOT EXISTS (SELECT FROM \
                       pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)";

/// What would not come along, or could not follow.
pub(super) fn against(here: &Here, cx: &mut Cx<'_>) -> Result<Vec<String>, Fault> {
    let class = |what: &str, is: &str| {
        format!(
            "UNION ALL SELECT '{what} ' || c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = \
             c.relnamespace WHERE {USERS} AND {is} "
        )
    };
    let sql = format!(
        "SELECT coalesce(json_agg(o), '[]') FROM (SELECT count(*) || ' large objects' AS o FROM \
         pg_largeobject_metadata HAVING count(*) > 0 {}{}{}{}{}UNION ALL SELECT 'the setting `wal_level`, which has to be \
         `logical`' WHERE current_setting('wal_level') <> 'logical' AND EXISTS (SELECT FROM pg_class c JOIN pg_namespace \
         n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND {USERS}) UNION ALL SELECT 'table ' || c.oid::regclass || \
         ' without a key, with a column of type ' || t.typname FROM pg_class c JOIN pg_namespace n ON n.oid = \
         c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0 JOIN pg_type t ON t.oid = a.atttypid \
         WHERE {USERS} AND {KEYLESS} AND t.typname IN ('json', 'xml', 'point', 'line', 'lseg', 'box', 'path', \
         'polygon', 'circle') UNION ALL SELECT 'tablespace ' || spcname FROM pg_tablespace WHERE spcname NOT IN \
         ('pg_default', 'pg_global') UNION ALL SELECT 'database ' || datname FROM pg_database WHERE NOT datistemplate \
         AND datname NOT IN ('postgres', current_database()) UNION ALL SELECT 'subscription ' || subname FROM \
         pg_subscription UNION ALL SELECT 'publication ' || pubname FROM pg_publication WHERE pubname <> {} UNION ALL \
         SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE slot_type = 'logical') x;",
        class("unlogged table", "c.relkind = 'r' AND c.relpersistence = 'u'"),
        class("materialized view", "c.relkind = 'm'"),
        class("foreign table", "c.relkind = 'f'"),
        class("table with row security", "c.relrowsecurity"),
        class(
            "table of an extension",
            "c.relkind = 'r' AND EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')"
        ),
        text(&here.name),
    );
    let mut found: Vec<String> = here.ask(&sql, cx)?;
    if found.len() > MOST {
        let more = found.len() - MOST;
        found.truncate(MOST);
        found.push(format!("and {more} more"));
    }
    Ok(found)
}

/// Publishes all tables, and lets the role read them. A table without a key has the whole row logged with each update,
/// which else would be refused; which these were is the publication's comment.
///
/// # Errors
/// `Unsupported` with what stands against it. `CommandFailed` if somebody holds a table for long.
pub(super) fn publish(here: &Here, cx: &mut Cx<'_>) -> Result<(), Fault> {
    if here.part(cx)?.ready {
        return rights(here, cx);
    }
    let against = against(here, cx)?;
    if !against.is_empty() {
        return Err(Fault::new(FaultCode::Unsupported, against.join("; ")).within("not all would come along"));
    }
    let logical = "SELECT to_json(current_setting('wal_level') = 'logical');";
    if !here.ask::<bool>(logical, cx)? {
        let message = "the server's `wal_level` is not `logical`";
        return Err(Fault::new(FaultCode::Unsupported, message)
            .hint("profile `town-database` sets it with `wal_level: logical`; it takes a restart of PostgreSQL"));
    }
    let keyless: Vec<(String, String)> = here.ask(
        &format!(
            "SELECT coalesce(json_agg(json_build_array(n.nspname, c.relname)), '[]') FROM pg_class c JOIN pg_namespace n \
             ON n.oid = c.relnamespace WHERE {USERS} AND {KEYLESS};"
        ),
        cx,
    )?;
    let list = serde_json::to_string(&keyless).unwrap_or_default();
    let ours = name(&here.name);
    let sql = format!(
        "BEGIN;\nSET LOCAL lock_timeout = '2s';\n{}CREATE PUBLICATION {ours} FOR ALL TABLES;\nCOMMENT ON PUBLICATION \
         {ours} IS {};\nCOMMIT;",
        identity(&keyless, "FULL"),
        text(&list)
    );
    here.change("publish its tables", &sql, cx)?;
    rights(here, cx)
}

/// Of roles with their verifiers; not in the database itself, for what is granted there would come along.
fn rights(here: &Here, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let sql = format!("GRANT SELECT ON pg_authid TO {};", name(&here.user));
    here.change_in("postgres", "let the role read roles", &sql, cx)
}

fn identity(tables: &[(String, String)], word: &str) -> String {
    let line = |(schema, table): &(String, String)| {
        format!("ALTER TABLE IF EXISTS {}.{} REPLICA IDENTITY {word};\n", name(schema), name(table))
    };
    tables.iter().map(line).collect()
}

/// What a publication's comment says; `null` if there is none.
pub(super) fn comment(here: &Here) -> String {
    format!(
        "SELECT to_json((SELECT obj_description(oid, 'pg_publication') FROM pg_publication WHERE pubname = {}));",
        text(&here.name)
    )
}

/// Takes [`publish`] back.
pub(super) fn unpublish(here: &Here, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let ours = name(&here.name);
    let comment: Option<String> = here.ask(&comment(here), cx)?;
    let keyless: Vec<(String, String)> =
        comment.and_then(|comment| serde_json::from_str(&comment).ok()).unwrap_or_default();
    let sql = format!(
        "BEGIN;\nSET LOCAL lock_timeout = '2s';\n{}DROP PUBLICATION IF EXISTS {ours};\nCOMMIT;",
        identity(&keyless, "DEFAULT")
    );
    here.change("publish its tables no more", &sql, cx)?;
    let known = format!("SELECT to_json(EXISTS (SELECT FROM pg_roles WHERE rolname = {}));", text(&here.user));
    if !here.ask::<bool>(&known, cx)? {
        return Ok(());
    }
    let user = name(&here.user);
    here.change_in("postgres", "take the role's rights", &format!("REVOKE SELECT ON pg_authid FROM {user};"), cx)
}

/// Removes all that an upgrade has made here, and the data that were put aside.
pub(super) fn end(here: &Here, cluster: &mut Cluster, cx: &mut Cx<'_>) -> Result<(), Fault> {
    unsubscribe(here, cx)?;
    here.drop_slot(cx)?;
    unpublish(here, cx)?;
    copy::forget(cluster, cx)
}

/// Removes the subscription, if there is one; what belongs to it on the other server stays.
pub(super) fn unsubscribe(here: &Here, cx: &mut Cx<'_>) -> Result<(), Fault> {
    if here.part(cx)?.of.is_none() {
        return Ok(());
    }
    let ours = name(&here.name);
    let sql = format!(
        "ALTER SUBSCRIPTION {ours} DISABLE;\nALTER SUBSCRIPTION {ours} SET (slot_name = NONE);\nDROP SUBSCRIPTION {ours};"
    );
    here.change("follow no more", &sql, cx)
}
