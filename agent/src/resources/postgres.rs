//! What `postgres_role`, `postgres_database` and `postgres_server` share: psql(1) as the user `postgres`, and SQL that data cannot break
//! out of (the manual, "4.1. Lexical Structure").

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Output, read_text};
use crate::resource::Cx;

/// Where Debian keeps the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Longer names are cut off by the server; NAMEDATALEN.
const MAX_NAME: usize = 63;

/// An identifier, quoted.
pub(crate) fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A text, quoted; `standard_conforming_strings` is set by [`change`] and [`ask`], so only `'` is special.
pub(crate) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Says what is wrong with the name of a replication slot.
pub(crate) fn slot_problem(name: &str) -> Option<String> {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let good = !name.is_empty() && name.len() <= 63 && name.bytes().all(lower);
    (!good).then(|| format!("`{name}` is no name of a slot: lower-case letters, digits and `_`"))
}

/// What is wrong with the name of a role or database, if anything.
pub(crate) fn name_problem(class: &str, name: &str) -> Option<String> {
    let bad = name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) || name.starts_with("pg_");
    bad.then(|| format!("`{name}` is no name of a {class}: 1 to {MAX_NAME} bytes, not beginning with `pg_`"))
}

/// What is wrong with the name of a cluster, if anything.
pub(crate) fn cluster_problem(cluster: Option<&String>) -> Option<String> {
    let cluster = cluster?;
    let ok = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b));
    let good = cluster.split_once('/').is_some_and(|(version, name)| ok(version) && ok(name));
    (!good)
        .then(|| format!("`{cluster}` is no cluster: write VERSION/NAME, e.g. `15/main`; pg_lsclusters(1) lists them"))
}

/// Asks for one row of one column that holds JSON; `None` if there is none. `Ok(Err(fault))`: there is no server that
/// answers, which a plan may meet before its package is installed.
pub(crate) fn ask<T: DeserializeOwned>(
    sql: &str,
    database: &str,
    cluster: Option<&String>,
    cx: &mut Cx<'_>,
) -> Result<Result<Option<T>, Fault>, Fault> {
    let output = match run(sql, database, cluster, false, cx) {
        Err(fault) if fault.code == FaultCode::Unsupported => return Ok(Err(fault)),
        output => output?,
    };
    // psql(1): 2 means that the connection went bad. Of runuser(1) it is that there is no such user.
    if output.status == 2 || output.stderr.contains("does not exist\n") && output.stderr.contains("user postgres") {
        return Ok(Err(away(&output, cluster)));
    }
    let argv = [format!("psql --dbname={database}")];
    let row = output.expect_ok(&argv)?.stdout;
    let row = row.trim();
    if row.is_empty() {
        return Ok(Ok(None));
    }
    // The row may hold a verifier: no part of it may get into a message.
    let unread = |_| Fault::new(FaultCode::Invalid, "the server's answer is not what this build expects");
    Ok(Ok(Some(serde_json::from_str(row).map_err(unread)?)))
}

/// Carries out statements, which may hold verifiers: they are in no argument vector, and the server is told not to log
/// them.
pub(crate) fn change(
    what: &str,
    sql: &str,
    database: &str,
    cluster: Option<&String>,
    cx: &mut Cx<'_>,
) -> Result<(), Fault> {
    let quiet =
        "SET log_statement = 'none';\nSET log_min_error_statement = 'panic';\nSET log_min_duration_statement = -1;\n";
    let output = run(&format!("{quiet}{sql}"), database, cluster, true, cx)?;
    if output.ok() {
        return Ok(());
    }
    if output.status == 2 {
        return Err(away(&output, cluster));
    }
    // psql repeats a statement only where it points at a place in it (`LINE 1: ...`).
    let said = |line: &&str| line.contains("ERROR:") || line.contains("DETAIL:") || line.contains("HINT:");
    let said: Vec<&str> = output.stderr.lines().filter(said).map(str::trim).collect();
    Err(Fault::new(FaultCode::CommandFailed, said.join("; ")).within(format!("PostgreSQL refuses to {what}")))
}

fn run(sql: &str, database: &str, cluster: Option<&String>, effect: bool, cx: &mut Cx<'_>) -> Result<Output, Fault> {
    let stdin = format!("SET standard_conforming_strings = on;\n{sql}\n");
    let mut conninfo = conninfo(database);
    let direct = match cluster {
        Some(cluster) => door(cluster, cx)?,
        None => None,
    };
    if let Some(door) = direct {
        conninfo.push_str(&door);
        return session(&conninfo, stdin, effect, cx);
    }
    psql("psql".into(), &conninfo, stdin, cluster, effect, cx)
}

/// Runs psql(1) on a connection string that says which server is meant, with this input. It never asks for a password.
pub(crate) fn session(conninfo: &str, input: String, effect: bool, cx: &mut Cx<'_>) -> Result<Output, Fault> {
    // The one in the path is a wrapper that looks for a cluster, which takes it ten times as long.
    let versions = match cx.host.lstat(Path::new(VERSIONS))? {
        Some(_) => cx.host.read_dir(Path::new(VERSIONS))?,
        None => Vec::new(),
    };
    let newest = versions.iter().filter_map(|name| name.to_str()?.parse::<u32>().ok()).max();
    let program = newest.map_or_else(|| "psql".into(), |version| format!("{VERSIONS}/{version}/bin/psql"));
    psql(program, conninfo, input, None, effect, cx)
}

/// Where the server of a cluster listens on this host, as a part of a connection string: from the lock file of its socket
/// (the manual, "20.3.1"). `None` if it does not run, or keeps its socket elsewhere than Debian does.
fn door(cluster: &str, cx: &mut Cx<'_>) -> Result<Option<String>, Fault> {
    let directory = Path::new("/run/postgresql");
    let Some(process) = read_text(cx.host, &directory.join(format!("{}.pid", cluster.replace('/', "-"))))? else {
        return Ok(None);
    };
    for name in cx.host.read_dir(directory)? {
        let lock = name.to_str().is_some_and(|name| name.starts_with(".s.PGSQL.") && name.ends_with(".lock"));
        let Some(text) = lock.then(|| read_text(cx.host, &directory.join(&name))).transpose()?.flatten() else {
            continue;
        };
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        if let [pid, _, _, port, _, ..] = lines.as_slice()
            && *pid == process.trim()
            && port.parse::<u16>().is_ok()
        {
            return Ok(Some(format!(" host='{}' port={port}", directory.display())));
        }
    }
    Ok(None)
}

fn psql(
    program: String,
    conninfo: &str,
    input: String,
    cluster: Option<&String>,
    effect: bool,
    cx: &mut Cx<'_>,
) -> Result<Output, Fault> {
    let options = ["-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=1"].map(str::to_owned);
    let argv = ["runuser", "-u", "postgres", "--"].map(str::to_owned).into_iter().chain([program]).chain(options);
    let argv = argv.chain([format!("--dbname={conninfo}")]);
    let timeout = cx.timeout;
    let mut command = if effect { Command::changing(argv, timeout) } else { Command::reading(argv) };
    command.stdin = input.into_bytes();
    command.env.extend(cluster.map(|cluster| ("PGCLUSTER".to_owned(), cluster.clone())));
    let output = cx.host.run(&command).map_err(|fault| match fault.code {
        FaultCode::NotFound => missing(),
        _ => fault,
    })?;
    // runuser(1), like env(1): 126 and 127 are about the program.
    if output.status == 127 || output.stderr.contains("user postgres does not exist") {
        return Err(missing());
    }
    Ok(output)
}

/// A name with `=` in it, or that begins like a URI, would be read as a connection string.
fn conninfo(database: &str) -> String {
    format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn missing() -> Fault {
    Fault::new(FaultCode::Unsupported, "there is no PostgreSQL on this host")
        .hint("declare the package `postgresql` before it")
}

fn away(output: &Output, cluster: Option<&String>) -> Fault {
    let which = cluster.map_or_else(String::new, |cluster| format!(" of the cluster {cluster}"));
    let said = output.stderr.lines().next().unwrap_or_default().to_owned();
    Fault::new(FaultCode::NotFound, said)
        .within(format!("no PostgreSQL server{which} answers"))
        .hint("declare `unit postgresql` with `running: true` before it; pg_lsclusters(1) tells what runs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_its_quotes() {
        assert_eq!(name("a\"; DROP TABLE x; --"), "\"a\"\"; DROP TABLE x; --\"");
        assert_eq!(text("o'neill\\"), "'o''neill\\'");
        assert_eq!(conninfo("a'b host=evil\\"), "dbname='a\\'b host=evil\\\\'");
    }

    #[test]
    fn names_that_the_server_would_change_are_refused() {
        for bad in ["", "pg_x", "a\nb", "a\0b", &"x".repeat(64)] {
            assert!(name_problem("role", bad).is_some(), "{bad:?}");
        }
        for good in ["council", "Größe", "a b", "x-y"] {
            assert_eq!(name_problem("role", good), None);
        }
        for (cluster, ok) in [("15/main", true), ("main", false), ("15/", false), ("15/a b", false)] {
            assert_eq!(cluster_problem(Some(&cluster.to_owned())).is_none(), ok, "{cluster}");
        }
    }
}
