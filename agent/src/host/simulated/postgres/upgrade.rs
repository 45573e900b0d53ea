//! The statements of `postgres_upgrade`: what a cluster knows of its part lies in its data directory, and goes where that
//! goes. The other server always has all, and is at rest.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{Host, MTIME, Output, World, fails, file_attributes, says};
use super::after;
use crate::fault::Fault;
use crate::host::{Attributes, read_text};

const PLACE: &str = "/var/lib/postgresql/15/main/upgrade";

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
struct Part {
    comment: Option<String>,
    rights: bool,
    rests: bool,
    connection: Option<String>,
    follows: bool,
    slot: bool,
}

/// Carries them out; `None` if it is none of them.
pub(super) fn psql(host: &mut dyn Host, text: &str, database: &str) -> Result<Option<Output>, Fault> {
    if database.contains("host=192.0.2.") {
        return other(host, text).map(Some);
    }
    if !text.contains("default_transaction_read_only") && answer(&Part::default(), text).is_none() {
        return Ok(None);
    }
    if !World::load(host)?.postgres.is_some_and(|server| server.runs) {
        return Ok(Some(fails(2, "psql: error: connection to server on socket failed")));
    }
    let known = read_text(host, Path::new(PLACE))?;
    let mut part: Part = known.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let before = part.clone();
    if let Some(answer) = answer(&part, text) {
        return Ok(Some(says(format!("{answer}\n"))));
    }
    for line in text.lines() {
        if let Err(error) = change(host, &mut part, line)? {
            return Ok(Some(fails(3, format!("psql:<stdin>: ERROR:  {error}\n"))));
        }
    }
    if part == Part::default() && before != part {
        host.remove(Path::new(PLACE))?;
    } else if before != part {
        let text = serde_json::to_string(&part).unwrap_or_default();
        host.write(Path::new(PLACE), &mut text.as_bytes(), &file_attributes())?;
    }
    Ok(Some(says("")))
}

fn answer(part: &Part, text: &str) -> Option<serde_json::Value> {
    let is = |words: &str| text.contains(words);
    Some(match () {
        () if is("pg_file_settings") => json!({ "ready": part.comment.is_some(), "rests": part.rests,
            "connection": part.connection, "follows": part.connection.as_ref().map(|_| part.follows) }),
        () if is("json_agg(o)") => json!([]),
        () if is("current_setting('wal_level')") => json!(true),
        () if is("json_build_array(n.nspname, c.relname))") => json!([["public", "row"]]),
        () if is("obj_description") => json!(part.comment),
        () if is("FROM pg_roles") => json!(true),
        () if is("current_setting('default_transaction_read_only')") => json!(part.rests),
        () if is("clock_timestamp") => json!("now"),
        () if is("SELECT count(*) FROM pg_stat_activity") => json!(0),
        () if is("pg_stat_subscription_stats") => {
            json!({ "tables": 1, "left": 0, "failures": 0, "works": part.follows })
        }
        () if is("SELECT count(*) FROM pg_class c") => json!(0),
        () if is("server_version_num") => json!(15),
        () if is("pg_available_extensions") => json!(["plpgsql"]),
        () if is("hashtextextended") => json!(["5 1"]),
        () if is("string_agg(attname") => json!([["public", "row", "number bigint"]]),
        () if is("SELECT to_json(EXISTS (SELECT FROM pg_replication_slots") => json!(part.slot),
        () if is("pg_logical_slot_peek_binary_changes") => json!(0),
        () => return None,
    })
}

fn change(host: &mut dyn Host, part: &mut Part, line: &str) -> Result<Result<(), String>, Fault> {
    let words: Vec<&str> = line.trim_end_matches(';').split(' ').collect();
    match words.as_slice() {
        ["CREATE", "PUBLICATION", ..] if part.comment.is_some() => return Ok(Err("it already exists".into())),
        // Somebody follows at once.
        ["CREATE", "PUBLICATION", ..] => (part.comment, part.slot) = (Some(String::new()), true),
        ["COMMENT", ..] => part.comment = after(&words, "IS").map(|text| text.trim_matches('\'').to_owned()),
        ["DROP", "PUBLICATION", ..] => (part.comment, part.slot) = (None, false),
        ["GRANT", ..] => part.rights = true,
        ["REVOKE", ..] => part.rights = false,
        ["ALTER", "SYSTEM", verb, ..] => part.rests = *verb == "SET",
        ["CREATE", "SUBSCRIPTION", ..] => {
            if part.connection.is_some() {
                return Ok(Err("it already exists".into()));
            }
            part.connection = line.split('\'').nth(1).map(str::to_owned);
            part.follows = true;
            if !line.contains("create_slot = false") {
                let mut world = World::load(host)?;
                if let Some(server) = &mut world.postgres
                    && !server.slots.insert("weiche".into())
                {
                    return Ok(Err("the slot already exists".into()));
                }
                world.save(host)?;
            }
        }
        ["ALTER", "SUBSCRIPTION", _, verb @ ("ENABLE" | "DISABLE")] => part.follows = *verb == "ENABLE",
        ["DROP", "SUBSCRIPTION", ..] => part.connection = None,
        _ if line.contains("pg_create_logical_replication_slot") => part.slot = true,
        _ if line.contains("pg_drop_replication_slot") => part.slot = false,
        _ => {}
    }
    Ok(Ok(()))
}

fn other(host: &mut dyn Host, text: &str) -> Result<Output, Fault> {
    let is = |words: &str| text.contains(words);
    let mut world = World::load(host)?;
    let Some(server) = &mut world.postgres else { return Ok(fails(127, "runuser: failed to execute psql")) };
    let answer = match () {
        () if is("pg_drop_replication_slot") => {
            server.slots.clear();
            world.save(host)?;
            json!(1)
        }
        () if is("slot_type = 'logical'") => json!(server.slots.len()),
        () if is("confirmed_flush_lsn") => json!({ "written": "0/1", "confirmed": "0/1", "rests": true }),
        () if is("FROM pg_subscription") => json!([0, 1]),
        () if is("EXISTS (SELECT FROM pg_replication_slots") => json!(true),
        () if is("FROM pg_extension") => json!(["plpgsql"]),
        () if is("FROM pg_sequences") => json!([["public", "numbers", 5, true]]),
        () => return Ok(answer(&Part::default(), text).map_or_else(|| says("1\n"), |said| says(format!("{said}\n")))),
    };
    Ok(says(format!("{answer}\n")))
}

/// initdb(1), in a few effects.
pub(super) fn initdb(host: &mut dyn Host, part: &str) -> Result<Output, Fault> {
    let directory = Attributes { mode: Some(0o700), mtime: Some(MTIME), ..Attributes::default() };
    host.make_dir(Path::new(part), &directory)?;
    for name in ["PG_VERSION", "postgresql.conf", "postgresql.auto.conf"] {
        host.write(&Path::new(part).join(name), &mut "15\n".as_bytes(), &file_attributes())?;
    }
    Ok(says(""))
}
