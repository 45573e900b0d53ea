//! The cluster `15/main`, once its `start.conf` is there, and another server that it can stream from: what both say is
//! always the same but for whether the server runs, is a standby, and which slots the other has.

use std::path::Path;

use serde_json::json;

use super::super::{Host, MTIME, Output, World, fails, file_attributes, says};
use crate::fault::Fault;
use crate::host::{Attributes, read_text};

const START: &str = "/etc/postgresql/15/main/start.conf";
const DATA: &str = "/var/lib/postgresql/15/main";
const SIGNAL: &str = "/var/lib/postgresql/15/main/standby.signal";

pub(in super::super) fn pg_lsclusters(host: &mut dyn Host) -> Result<Output, Fault> {
    let world = World::load(host)?;
    let (Some(server), Some(text)) = (world.postgres, read_text(host, Path::new(START))?) else { return Ok(says("")) };
    let word = text.lines().find(|line| !line.is_empty() && !line.starts_with("#")).unwrap_or("auto").to_owned();
    let online = if server.runs { "online" } else { "down" };
    let recovery = if host.lstat(Path::new(SIGNAL))?.is_some() { ",recovery" } else { "" };
    Ok(says(format!("15  main    5432 {online}{recovery},{word} postgres {DATA} /var/log/postgresql/15-main.log\n")))
}

pub(in super::super) fn pg_ctlcluster(host: &mut dyn Host, arguments: &[&str]) -> Result<Output, Fault> {
    let mut world = World::load(host)?;
    let Some(server) = &mut world.postgres else { return Ok(fails(1, "Error: no such cluster")) };
    let starts = arguments.contains(&"start");
    if arguments.contains(&"reload") || starts == server.runs {
        return Ok(if server.runs { says("") } else { fails(2, "Cluster is not running.") });
    }
    if starts && host.lstat(Path::new(DATA))?.is_none() {
        return Ok(fails(1, "Error: the data directory is missing"));
    }
    server.runs = starts;
    world.save(host)?;
    Ok(says(""))
}

pub(in super::super) fn pg_controldata(host: &mut dyn Host) -> Result<Output, Fault> {
    let runs = World::load(host)?.postgres.is_some_and(|server| server.runs);
    let state = if runs { "in production" } else { "shut down" };
    Ok(says(format!(
        "Database system identifier:           7000\nDatabase cluster state:               {state}\n\
         Latest checkpoint location:           0/3000028\nLatest checkpoint's TimeLineID:       1\n\
         Bytes per WAL segment:                16777216\n"
    )))
}

/// The statements of `postgres_server`; `None` if it is none of them.
pub(super) fn psql(host: &mut dyn Host, text: &str) -> Result<Option<Output>, Fault> {
    let (promotes, asks) = (text.contains("pg_promote"), text.contains("pg_is_in_recovery"));
    let greets = text.contains("SELECT 1;");
    if !promotes && !asks && !greets {
        return Ok(None);
    }
    if !World::load(host)?.postgres.is_some_and(|server| server.runs) {
        return Ok(Some(fails(2, "psql: error: connection to server on socket failed")));
    }
    if greets {
        return Ok(Some(says("1\n")));
    }
    let standby = host.lstat(Path::new(SIGNAL))?.is_some();
    if promotes {
        host.remove(Path::new(SIGNAL))?;
        return Ok(Some(says("t\n")));
    }
    let said = json!({ "recovery": standby, "replayed": "0/3000110", "received": "0/3000110", "streaming": standby,
                       "system": "7000", "feeds": 0 });
    Ok(Some(says(format!("{said}\n"))))
}

/// The other server.
pub(super) fn replication(host: &mut dyn Host, text: &str) -> Result<Output, Fault> {
    let mut world = World::load(host)?;
    let Some(server) = &mut world.postgres else { return Ok(fails(127, "runuser: failed to execute psql")) };
    let slot = text.split('"').nth(1).unwrap_or_default().to_owned();
    match text.split(' ').next().unwrap_or_default().trim_end_matches([';', '\n']) {
        "IDENTIFY_SYSTEM" => return Ok(says("7000|2|0/3000110|\n")),
        "SHOW" => return Ok(says("150010\n")),
        "TIMELINE_HISTORY" => return Ok(says("00000002.history|1\t0/30000A0\tno recovery target specified\n")),
        "READ_REPLICATION_SLOT" if server.slots.contains(&slot) => return Ok(says("physical|0/3000000|1\n")),
        "READ_REPLICATION_SLOT" => return Ok(says("||\n")),
        "CREATE_REPLICATION_SLOT" if !server.slots.insert(slot.clone()) => {
            return Ok(fails(3, format!("ERROR:  replication slot \"{slot}\" already exists\n")));
        }
        "DROP_REPLICATION_SLOT" if !server.slots.remove(&slot) => {
            return Ok(fails(3, format!("ERROR:  replication slot \"{slot}\" does not exist\n")));
        }
        _ => {}
    }
    world.save(host)?;
    Ok(says(""))
}

/// Copies the other server, in a few effects.
pub(super) fn base_backup(host: &mut dyn Host, part: &str, slot: &str) -> Result<Output, Fault> {
    if !World::load(host)?.postgres.is_some_and(|server| server.slots.contains(slot)) {
        return Ok(fails(1, format!("pg_basebackup: error: replication slot \"{slot}\" does not exist")));
    }
    let directory = Attributes { mode: Some(0o700), mtime: Some(MTIME), ..Attributes::default() };
    for path in [part.to_owned(), format!("{part}/pg_tblspc")] {
        host.make_dir(Path::new(&path), &directory)?;
    }
    for (name, text) in [("PG_VERSION", "15\n"), ("postgresql.auto.conf", "primary_conninfo = 'host=192.0.2.99'\n")] {
        host.write(&Path::new(part).join(name), &mut text.as_bytes(), &file_attributes())?;
    }
    Ok(says(""))
}
