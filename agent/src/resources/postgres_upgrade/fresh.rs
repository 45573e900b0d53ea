//! A fresh cluster with the other server's roles, schema and rows, in the place of the one that was there, which is put
//! aside. At every moment one of the directories holds the data that were there, whole.

use super::here::Here;
use super::other::Other;
use super::publish::USERS;
use crate::fault::{Fault, FaultCode};
use crate::host::{Command, Output};
use crate::resource::Cx;
use crate::resources::postgres::{name, text};
use crate::resources::postgres_server::cluster::{Cluster, Stop, run, until, word};
use crate::resources::postgres_server::copy;

/// What initdb(1) makes beside the data; Debian keeps these in `/etc`.
const CONFIGURATION: [&str; 3] = ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"];

/// Looks whether the other server can be followed, and whether nobody needs what is here.
///
/// # Errors
/// `Unsupported` or `Conflict`: the operator installs an extension, or looks at the tables.
pub(super) fn check(here: &Here, of: &Other, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let tables = format!(
        "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND \
         {USERS};"
    );
    let has: u32 = here.ask(&tables, cx)?;
    if has > 0 {
        let message = format!("the database `{}` has {has} tables here already", here.database);
        return Err(
            Fault::new(FaultCode::Conflict, message).hint("look at them; drop the database if nobody needs them")
        );
    }
    let version = "SELECT to_json(current_setting('server_version_num')::int / 10000);";
    let (there, own): (u32, u32) = (of.ask(version, here, cx)?, here.ask(version, cx)?);
    if there < 15 || own < there {
        let message = format!("{} has version {there}, and this server {own}", of.address);
        return Err(Fault::new(FaultCode::Unsupported, message).hint("from 15 on, and never to an older one"));
    }
    let extensions: Vec<String> = of.ask("SELECT coalesce(json_agg(extname), '[]') FROM pg_extension;", here, cx)?;
    let known: Vec<String> = here.ask("SELECT json_agg(name) FROM pg_available_extensions;", cx)?;
    let lacks: Vec<&str> = extensions.iter().filter(|name| !known.contains(name)).map(String::as_str).collect();
    if !lacks.is_empty() {
        let message = format!("this server lacks the extensions {}", lacks.join(", "));
        return Err(Fault::new(FaultCode::Unsupported, message).hint("declare their packages before it"));
    }
    Ok(())
}

/// Makes it, and lets it follow.
///
/// # Errors
/// Those of the programs: the operator sees what they said.
pub(super) fn take(here: &Here, cluster: &mut Cluster, of: &Other, cx: &mut Cx<'_>) -> Result<(), Fault> {
    remove(here, cluster, of, cx)?;
    let (data, part, aside) = (cluster.data.clone(), cluster.part(), cluster.aside());
    let mut argv = vec!["runuser", "-u", "postgres", "--"];
    let (initdb, directory) = (cluster.program("initdb"), word(&part)?.to_owned());
    argv.extend([initdb.as_str(), "-D", &directory, "-U", "postgres", "--encoding=UTF8", "--locale=C.UTF-8"]);
    argv.push("--auth=peer");
    if has_checksums(cluster, cx)? {
        argv.push("--data-checksums");
    }
    run(&argv, cx)?;
    for name in CONFIGURATION {
        let path = part.join(name);
        if cx.host.lstat(&path)?.is_some() {
            cx.host.remove(&path)?;
        }
    }
    // What the swap makes visible has to be there after a power failure.
    cx.host.sync()?;
    cluster.stop(Stop::Fast, cx)?;
    run(&["mv", "-T", "--", word(&data)?, word(&aside)?], cx)?;
    run(&["mv", "-T", "--", word(&part)?, word(&data)?], cx)?;
    cx.host.sync()?;
    cluster.look(cx)?;
    cluster.start(cx)?;

    cx.note("roles and schema".into());
    let roles = dump(here, cluster, of, &["pg_dumpall", "--roles-only", "--database=postgres"], "postgres", cx)?;
    let roles: String =
        roles.lines().filter(|line| *line != "CREATE ROLE postgres;").flat_map(|line| [line, "\n"]).collect();
    here.change_in("postgres", "make the other server's roles", &roles, cx)?;
    let options = ["pg_dump", "--schema-only", "--create", "--no-publications", "--no-subscriptions"];
    let schema = dump(here, cluster, of, &options, &here.database, cx)?;
    here.change_in("postgres", "make the other server's schema", &schema, cx)?;
    here.close(cx)?;
    let (ours, conninfo) = (name(&here.name), of.conninfo(&here.user, &here.database));
    let sql = format!("CREATE SUBSCRIPTION {ours} CONNECTION {} PUBLICATION {ours};", text(&conninfo));
    here.change("follow the other server", &sql, cx)
}

fn has_checksums(cluster: &Cluster, cx: &mut Cx<'_>) -> Result<bool, Fault> {
    let argv = [cluster.program("pg_controldata"), word(&cluster.data)?.to_owned()];
    let output = cx.host.run(&Command::reading(argv.clone()))?.expect_ok(&argv)?;
    let version = output.stdout.lines().find_map(|line| line.strip_prefix("Data page checksum version:"));
    Ok(version.is_some_and(|text| text.trim() != "0"))
}

/// What a program of this version says of the other server. It may hold verifiers.
fn dump(
    here: &Here,
    cluster: &Cluster,
    of: &Other,
    words: &[&str],
    database: &str,
    cx: &mut Cx<'_>,
) -> Result<String, Fault> {
    let [program, options @ ..] = words else { return Ok(String::new()) };
    let argv = ["runuser", "-u", "postgres", "--"].map(str::to_owned).into_iter().chain([cluster.program(program)]);
    let argv = argv.chain(options.iter().map(|&option| option.to_owned()));
    let argv: Vec<String> =
        argv.chain(["-w".into(), format!("--dbname={}", of.conninfo(&here.user, database))]).collect();
    let mut command = Command::reading(argv.clone());
    command.timeout = cx.timeout;
    let output = cx.host.run(&command)?.expect_ok(&argv)?;
    if output.stdout.len() >= Output::MAX {
        let message = format!("what {program} says is longer than {} bytes", Output::MAX);
        return Err(Fault::new(FaultCode::Unsupported, message));
    }
    Ok(output.stdout)
}

/// Puts the data back that were there, and removes what following has made on the other server.
pub(super) fn give_back(
    here: &Here,
    cluster: &mut Cluster,
    of: &Other,
    runs: bool,
    cx: &mut Cx<'_>,
) -> Result<(), Fault> {
    remove(here, cluster, of, cx)?;
    if runs { cluster.start(cx) } else { Ok(()) }
}

fn remove(here: &Here, cluster: &mut Cluster, of: &Other, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let had = cluster.copied;
    copy::give_back(cluster, cx)?;
    if had {
        cluster.start(cx)?;
    }
    // Of the subscription, and of copies of tables that were on their way. There are no others (`against`).
    let ours = format!(
        "FROM pg_replication_slots WHERE slot_type = 'logical' AND database = current_database() AND (slot_name = {} OR \
         slot_name ~ '^pg_[0-9]+_sync_[0-9]+_[0-9]+$')",
        text(&here.name)
    );
    let gone = until(here.within, cx, |cx| {
        if of.ask::<u32>(&format!("SELECT count(*) {ours};"), here, cx)? == 0 {
            return Ok(Ok(()));
        }
        match of.change(&format!("SELECT count(pg_drop_replication_slot(slot_name)) {ours};"), here, cx) {
            Err(fault) if fault.to_string().contains("is active") => Ok(Err(fault)),
            done => done.map(Ok),
        }
    });
    if cx.over_drift { Ok(()) } else { gone }
}
