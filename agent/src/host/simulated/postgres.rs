//! psql(1) through runuser(1), for exactly the statements that the PostgreSQL kinds write. There is a server once one
//! has been put into the world (`init`), and nothing but what those kinds make in it.

pub(super) mod cluster;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Host, Output, World, fails, says};
use crate::fault::Fault;

/// A server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Server {
    roles: BTreeMap<String, Value>,
    databases: BTreeMap<String, Value>,
    /// Whether the cluster `15/main` runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    runs: bool,
    /// Slots of the other server.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    slots: BTreeSet<String>,
}

pub(super) fn runuser(host: &mut dyn Host, arguments: &[&str], stdin: &[u8]) -> Result<Output, Fault> {
    let database = match arguments {
        ["-u", "postgres", "--", "psql", options @ ..] => options.last().copied().unwrap_or_default(),
        ["-u", "postgres", "--", program, "-w", "-D", part, _, _, _, slot, ..]
            if program.ends_with("/pg_basebackup") =>
        {
            return cluster::base_backup(host, part, slot);
        }
        ["-u", "postgres", "--", program, "-D", part, ..] if program.ends_with("/initdb") => {
            return upgrade::initdb(host, part);
        }
        ["-u", "postgres", "--", program, ..] if program.contains("/pg_dump") => return Ok(says("")),
        _ => return Ok(fails(1, "runuser: bad usage")),
    };
    let text = String::from_utf8_lossy(stdin);
    if database.contains("replication=true") {
        return cluster::replication(host, &text);
    }
    if let Some(output) = upgrade::psql(host, &text, database)? {
        return Ok(output);
    }
    if let Some(output) = cluster::psql(host, &text)? {
        return Ok(output);
    }
    let database = database.trim_start_matches("--dbname=dbname=").trim_matches('\'');
    let mut world = World::load(host)?;
    if text.contains("-- init") && world.postgres.is_none() {
        world.postgres = Some(Server::default());
        world.save(host)?;
    }
    let Some(server) = &mut world.postgres else { return Ok(fails(127, "runuser: failed to execute psql")) };
    let before = server.clone();
    let mut said = String::new();
    for line in text.lines() {
        match statement(server, line, database) {
            Ok(answer) => said.push_str(&answer),
            Err(error) => return Ok(fails(3, format!("psql:<stdin>: ERROR:  {error}\n"))),
        }
    }
    if *server != before {
        world.save(host)?;
    }
    Ok(says(said))
}

fn statement(server: &mut Server, line: &str, database: &str) -> Result<String, String> {
    let line = line.trim_end_matches(';');
    let (names, texts) = (quoted(line, '"'), quoted(line, '\''));
    let first = || names.first().cloned().ok_or_else(|| format!("syntax error in {line}"));
    let second = || names.get(1).cloned().ok_or_else(|| format!("syntax error in {line}"));
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["SELECT", ..] if line.contains("pg_authid r WHERE") => {
            let name = texts.last().cloned().unwrap_or_default();
            let Some(mut role) = server.roles.get(&name).cloned() else { return Ok(String::new()) };
            let is_member = |(_, other): &(&String, &Value)| list(other).contains(&name);
            let members: Vec<&String> = server.roles.iter().filter(is_member).map(|(n, _)| n).collect();
            role["members"] = json!(members);
            Ok(format!("{role}\n"))
        }
        ["SELECT", ..] if line.contains("pg_database d WHERE") => {
            let found = server.databases.get(texts.last().map_or("", String::as_str));
            Ok(found.map_or_else(String::new, |found| format!("{found}\n")))
        }
        ["SELECT", ..] => {
            let full = server.databases.get(database).is_some_and(|d| d["full"] == true);
            Ok(format!("{}\n", json!({ "empty": !full })))
        }
        [verb @ ("CREATE" | "ALTER"), "ROLE", ..] => {
            let known = server.roles.contains_key(&first()?);
            match (*verb, known) {
                ("CREATE", true) => return Err(format!("role {} already exists", first()?)),
                ("ALTER", false) => return Err(format!("role {} does not exist", first()?)),
                _ => {}
            }
            let role = server.roles.entry(first()?).or_insert_with(|| json!({ "member_of": [] }));
            for (key, word) in ATTRIBUTES {
                role[*key] = json!(words.contains(word));
            }
            role["connection_limit"] = json!(after(&words, "LIMIT").and_then(|n| n.parse::<i32>().ok()));
            if let Some(password) = after(&words, "PASSWORD") {
                role["verifier"] = json!(password.trim_matches('\''));
                if let Some(fields) = role.as_object_mut().filter(|_| password == "NULL") {
                    fields.remove("verifier");
                }
            }
            Ok(String::new())
        }
        ["GRANT" | "REVOKE", ..] => {
            let (group, member) = (first()?, second()?);
            if !server.roles.contains_key(&group) {
                return Err(format!("role {group} does not exist"));
            }
            let role = server.roles.get_mut(&member).ok_or_else(|| format!("role {member} does not exist"))?;
            let mut groups: Vec<String> = list(role).into_iter().filter(|g| *g != group).collect();
            if words[0] == "GRANT" {
                groups.push(group);
            }
            groups.sort();
            role["member_of"] = json!(groups);
            Ok(String::new())
        }
        ["DROP", "ROLE", ..] => {
            let name = first()?;
            if server.databases.values().any(|d| d["owner"] == name.as_str()) {
                return Err(format!("role {name} cannot be dropped because some objects depend on it"));
            }
            server.roles.remove(&name);
            Ok(String::new())
        }
        ["CREATE", "DATABASE", ..] => {
            let (name, owner) = (first()?, second()?);
            if owner != "postgres" && !server.roles.contains_key(&owner) {
                return Err(format!("role {owner} does not exist"));
            }
            let value = |word: &str| after(&words, word).map_or("C", |v| v.trim_matches('\''));
            let made = json!({
                "owner": owner, "encoding": value("ENCODING"), "collate": value("LC_COLLATE"), "ctype": value("LC_CTYPE"),
                "connection_limit": value("LIMIT").parse::<i32>().unwrap_or(-1),
            });
            server.databases.insert(name, made);
            Ok(String::new())
        }
        ["ALTER", "DATABASE", ..] => {
            let (name, owner) = (first()?, second()?);
            server.databases.entry(name).and_modify(|d| d["owner"] = json!(owner));
            Ok(String::new())
        }
        ["FILL", ..] => {
            server.databases.entry(first()?).and_modify(|d| d["full"] = json!(true));
            Ok(String::new())
        }
        ["DROP", "DATABASE", ..] => {
            server.databases.remove(&first()?);
            Ok(String::new())
        }
        _ => Ok(String::new()),
    }
}

const ATTRIBUTES: &[(&str, &str)] = &[
    ("login", "LOGIN"),
    ("superuser", "SUPERUSER"),
    ("createdb", "CREATEDB"),
    ("createrole", "CREATEROLE"),
    ("replication", "REPLICATION"),
    ("bypassrls", "BYPASSRLS"),
    ("inherit", "INHERIT"),
];

fn list(role: &Value) -> Vec<String> {
    role["member_of"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn after<'w>(words: &[&'w str], word: &str) -> Option<&'w str> {
    words.iter().skip_while(|w| **w != word).nth(1).copied()
}

/// What stands between pairs of this mark.
fn quoted(line: &str, mark: char) -> Vec<String> {
    line.split(mark).skip(1).step_by(2).map(str::to_owned).collect()
}
