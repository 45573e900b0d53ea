//! Whoever takes over is proven to have all: the other server's log up to its end, and then each table's rows, counted and
//! digested on both sides. And the ways between the two servers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::Part;
use super::here::Here;
use super::other::Other;
use super::publish::{USERS, comment, unsubscribe};
use crate::fault::{Fault, FaultCode};
use crate::resource::Cx;
use crate::resources::postgres::{name, text};
use crate::resources::postgres_server::cluster::until;
use crate::resources::postgres_server::feed::Lsn;

/// Between two looks at a first copy, which may take hours.
const LOOK: Duration = Duration::from_millis(200);

/// How often a subscription may fail while tables are copied, as it does when a line is cut.
const FAILURES: u64 = 3;

/// How long the other server may take on a way back to follow no more: it may go back by its own clock, a few seconds later.
const THEIR_WAY: Duration = Duration::from_secs(20);

/// What text a value is on both sides.
const FORMATS: &str = "SET datestyle = 'ISO, YMD';\nSET intervalstyle = 'iso_8601';\nSET timezone = 'UTC';\nSET bytea_output = \
                       'hex';\nSET extra_float_digits = 3;\nSET lc_monetary = 'C';\nSET row_security = off;\n";

/// What a subscription says of itself.
#[derive(Deserialize)]
struct Standing {
    tables: u32,
    left: u32,
    failures: u64,
    works: bool,
}

fn standing(here: &Here, cx: &mut Cx<'_>) -> Result<Standing, Fault> {
    let ours = text(&here.name);
    let sql = format!(
        "SELECT json_build_object('tables', (SELECT count(*) FROM pg_subscription_rel), 'left', (SELECT count(*) FROM \
         pg_subscription_rel WHERE srsubstate <> 'r'), 'failures', (SELECT coalesce(sum(apply_error_count + \
         sync_error_count), 0) FROM pg_stat_subscription_stats WHERE subname = {ours}), 'works', EXISTS (SELECT FROM \
         pg_stat_subscription WHERE subname = {ours} AND pid IS NOT NULL AND relid IS NULL));"
    );
    here.ask(&sql, cx)
}

fn log(here: &Here) -> String {
    format!("/var/log/postgresql/postgresql-{}.log says why", here.cluster.replace('/', "-"))
}

/// What is wrong with a subscription that follows in vain.
pub(super) fn failing(here: &Here, cx: &mut Cx<'_>) -> Result<Option<String>, Fault> {
    let now = standing(here, cx)?;
    let message = || format!("its subscription does not work, and has failed {} times; {}", now.failures, log(here));
    Ok((!now.works).then(message))
}

/// Waits until all tables have been copied.
///
/// # Errors
/// `CommandFailed` if the subscription fails again and again.
pub(super) fn copied(here: &Here, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let end = cx.host.clock().boottime_ms.saturating_add(u64::try_from(cx.timeout.as_millis()).unwrap_or(u64::MAX));
    let mut told = 0;
    loop {
        let now = standing(here, cx)?;
        if now.left == 0 && now.works {
            return Ok(());
        }
        let message = format!("{} of {} tables are not copied yet", now.left, now.tables);
        if now.failures >= FAILURES || cx.host.clock().boottime_ms >= end {
            let fault = Fault::new(FaultCode::CommandFailed, message);
            return Err(fault.within(format!("the subscription has failed {} times", now.failures)).hint(log(here)));
        }
        if now.left != told {
            told = now.left;
            cx.note(message);
        }
        cx.host.pause(LOOK);
    }
}

/// What the other server says of itself and of the slot that is followed.
#[derive(Deserialize)]
struct There {
    written: String,
    confirmed: Option<String>,
    rests: bool,
}

/// Waits until all that the other server has written is here, and compares.
///
/// # Errors
/// `NotConverged` with what is missing: the operator lets the other server come back, or looks at a table.
fn complete(here: &Here, of: &Other, rests: bool, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let sql = format!(
        "SELECT json_build_object('written', pg_current_wal_flush_lsn()::text, 'rests', \
         current_setting('default_transaction_read_only') = 'on', 'confirmed', (SELECT confirmed_flush_lsn::text FROM \
         pg_replication_slots WHERE slot_name = {}));",
        text(&here.name)
    );
    let first: There = of.ask(&sql, here, cx)?;
    let short = |message: String| Fault::new(FaultCode::NotConverged, message);
    if rests && !first.rests {
        return Err(short(format!("{} still takes writes", of.address)).hint("`mode: rests` comes before, there"));
    }
    let goal = Lsn::parse(&first.written).ok_or_else(|| short(format!("`{}` is no place", first.written)))?;
    let within = here.within;
    until(within, cx, |cx| {
        let there: There = of.ask(&sql, here, cx)?;
        let Some(confirmed) = there.confirmed.as_deref().and_then(Lsn::parse) else {
            return Ok(Err(short(format!("{} has no slot `{}`", of.address, here.name))));
        };
        let now = standing(here, cx)?;
        if confirmed >= goal && now.left == 0 {
            return Ok(Ok(()));
        }
        let bytes = goal.0.saturating_sub(confirmed.0);
        let message = format!("{bytes} bytes of the other server's log are not here yet, and {} tables", now.left);
        let fault = short(message).hint(log(here));
        Ok(Err(if now.failures > 0 {
            fault.within(format!("its subscription failed {} times", now.failures))
        } else {
            fault
        }))
    })?;
    compare(here, of, cx)
}

/// A table's columns, by schema and name.
type Tables = BTreeMap<(String, String), String>;

/// Compares tables, and the rows of each.
///
/// # Errors
/// `NotConverged` with the tables that differ.
fn compare(here: &Here, of: &Other, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let sql = format!(
        "SELECT coalesce(json_agg(json_build_array(n.nspname, c.relname, (SELECT string_agg(attname || ' ' || \
         format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 \
         AND NOT attisdropped))), '[]') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = \
         'r' AND c.relpersistence = 'p' AND {USERS};"
    );
    let tables = |rows: Vec<(String, String, Option<String>)>| -> Tables {
        rows.into_iter().map(|(schema, table, columns)| ((schema, table), columns.unwrap_or_default())).collect()
    };
    let (own, theirs) = (tables(here.ask(&sql, cx)?), tables(of.ask(&sql, here, cx)?));
    let unlike = |what: &str, names: &[String]| {
        Fault::new(FaultCode::NotConverged, format!("{what} differ from {}: {}", of.address, names.join(", ")))
    };
    let differing: Vec<String> = own
        .keys()
        .chain(theirs.keys())
        .filter(|key| own.get(key) != theirs.get(key))
        .map(|(schema, table)| format!("{schema}.{table}"))
        .collect();
    if !differing.is_empty() {
        let hint = "schema changes have to rest while a server follows; take the run back and follow anew";
        return Err(unlike("tables", &differing).hint(hint));
    }
    let count = |n: usize, (schema, table): &(String, String)| {
        format!(
            "SELECT {n} AS n, count(*)::text || ' ' || coalesce(sum(hashtextextended((w.*)::text, 0)), 0) AS d FROM ONLY \
             {}.{} w",
            name(schema),
            name(table)
        )
    };
    let counts: Vec<String> = own.keys().enumerate().map(|(n, table)| count(n, table)).collect();
    if counts.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "{FORMATS}SET statement_timeout = {};\nSELECT json_agg(d ORDER BY n) FROM ({}) x;",
        here.compare.as_millis(),
        counts.join(" UNION ALL ")
    );
    let too_long = |fault: &Fault| fault.to_string().contains("statement timeout");
    // A slow one is found out once only.
    let counted = match here.ask::<Vec<String>>(&sql, cx) {
        Ok(own) => of.ask::<Vec<String>>(&sql, here, cx).map(|theirs| (own, theirs)),
        Err(fault) => Err(fault),
    };
    let (rows, others) = match counted {
        Err(fault) if too_long(&fault) => {
            let message = format!(
                "rows were not counted within {} ms: that all of the log is here is what proves it",
                here.compare.as_millis()
            );
            cx.note(message);
            return Ok(());
        }
        counted => counted?,
    };
    let number = |digests: &[String], n: usize| {
        digests.get(n).and_then(|d| d.split(' ').next()?.parse::<u64>().ok()).unwrap_or_default()
    };
    let differing: Vec<String> = own
        .keys()
        .enumerate()
        .filter(|(n, _)| rows.get(*n) != others.get(*n))
        .map(|(n, (schema, table))| {
            format!("{schema}.{table} ({} rows here, {} there)", number(&rows, n), number(&others, n))
        })
        .collect();
    if !differing.is_empty() {
        return Err(unlike("rows", &differing).hint("somebody has written here; take the run back and follow anew"));
    }
    let all: u64 = (0..rows.len()).map(|n| number(&rows, n)).sum();
    cx.note(format!("{all} rows in {} tables are the same on both servers, counted and digested", rows.len()));
    Ok(())
}

/// Sets sequences to where the other server's are: they do not come along.
fn sequences(here: &Here, of: &Other, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let sql = "SELECT coalesce(json_agg(json_build_array(schemaname, sequencename, coalesce(last_value, start_value), \
               last_value IS NOT NULL)), '[]') FROM pg_sequences;";
    let found: Vec<(String, String, i64, bool)> = of.ask(sql, here, cx)?;
    let set = |(schema, sequence, value, called): &(String, String, i64, bool)| {
        let of = text(&format!("{}.{}", name(schema), name(sequence)));
        format!("SELECT setval({of}, {value}, {called});\n")
    };
    let sql: String = found.iter().map(set).collect();
    if sql.is_empty() { Ok(()) } else { here.change("set sequences", &format!("BEGIN;\n{sql}COMMIT;"), cx) }
}

/// Stops following for now.
fn pause(here: &Here, cx: &mut Cx<'_>) -> Result<(), Fault> {
    here.change("follow no more", &format!("ALTER SUBSCRIPTION {} DISABLE;", name(&here.name)), cx)?;
    until(here.within, cx, |cx| {
        let still = || Fault::new(FaultCode::NotConverged, "its subscription does not stop");
        Ok((!standing(here, cx)?.works).then_some(()).ok_or_else(still))
    })
}

/// Takes over, once all is here. The slot for the other server is made ahead of the first write.
pub(super) fn serve(here: &Here, of: &Other, now: &Part, cx: &mut Cx<'_>) -> Result<(), Fault> {
    if now.follows {
        complete(here, of, true, cx)?;
        pause(here, cx)?;
    }
    // From here on, and only from here on, it may be published.
    if !now.ready {
        sequences(here, of, cx)?;
        let ours = name(&here.name);
        let keyless: Option<String> = of.ask(&comment(here), here, cx)?;
        let sql = format!(
            "BEGIN;\nCREATE PUBLICATION {ours} FOR ALL TABLES;\nCOMMENT ON PUBLICATION {ours} IS {};\nCOMMIT;",
            text(&keyless.unwrap_or_else(|| "[]".into()))
        );
        here.change("publish its tables", &sql, cx)?;
    }
    here.make_slot(cx)?;
    here.open(cx)
}

/// Takes [`serve`] back: it follows again, and has nothing that the other server has not.
///
/// # Errors
/// `NotConverged` if something written here is not there, or the other server still follows.
pub(super) fn step_back(here: &Here, of: &Other, cx: &mut Cx<'_>) -> Result<(), Fault> {
    here.close(cx)?;
    let mut known = true;
    if here.part(cx)?.ready {
        let proof = until(THEIR_WAY, cx, |cx| nothing_left(here, of, cx));
        known = proof.is_ok();
        if !cx.over_drift {
            proof?;
        }
        here.drop_slot(cx)?;
        let sql = format!("DROP PUBLICATION {};", name(&here.name));
        here.change("publish its tables no more", &sql, cx)?;
    }
    if !known {
        // What came from here would come back, and be there twice.
        cx.note("it does not follow: nobody knows what the other server has".into());
        return Ok(());
    }
    resume(here, cx)
}

fn resume(here: &Here, cx: &mut Cx<'_>) -> Result<(), Fault> {
    here.change("follow again", &format!("ALTER SUBSCRIPTION {} ENABLE;", name(&here.name)), cx)
}

/// Whether the other server has all that was written here, and follows no more.
fn nothing_left(here: &Here, of: &Other, cx: &mut Cx<'_>) -> Result<Result<(), Fault>, Fault> {
    let short = |message: &str| Ok(Err(Fault::new(FaultCode::NotConverged, message)));
    let ours = text(&here.name);
    let sql = format!(
        "SELECT json_build_array((SELECT count(*) FROM pg_subscription JOIN pg_database d ON d.oid = subdbid WHERE datname \
         = current_database() AND subname = {ours}), (SELECT count(*) FROM pg_replication_slots WHERE slot_name = \
         {ours}));"
    );
    let (follows, slots): (u32, u32) = match of.ask(&sql, here, cx) {
        Err(fault) => return Ok(Err(fault)),
        said => said?,
    };
    if follows > 0 {
        return short("the other server still follows this one");
    }
    if slots == 0 {
        return short("the other server has no slot for this one");
    }
    if !here.has_slot(cx)? {
        return Ok(Ok(()));
    }
    let sql = format!(
        "SELECT count(*) FROM pg_logical_slot_peek_binary_changes({ours}, NULL, 1, 'proto_version', '1', \
         'publication_names', {ours});"
    );
    match here.ask::<u32>(&sql, cx) {
        Ok(0) => Ok(Ok(())),
        Ok(_) => short("something was written here that the other server has not"),
        Err(fault) if fault.to_string().contains("is active") => Ok(Err(fault)),
        Err(fault) => Err(fault),
    }
}

/// Follows the other server with the rows that are here: that one has them all, and has made the slot before its first
/// write.
pub(super) fn follow(here: &Here, of: &Other, has: bool, cx: &mut Cx<'_>) -> Result<(), Fault> {
    if !has {
        let ours = name(&here.name);
        let slot = format!(
            "SELECT to_json(EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {}));",
            text(&here.name)
        );
        if !of.ask::<bool>(&slot, here, cx)? {
            let message = format!("{} has no slot `{}`", of.address, here.name);
            return Err(Fault::new(FaultCode::Conflict, message).hint("`mode: serves` comes before, there"));
        }
        // It would keep all that comes from there, to be sent there.
        here.drop_slot(cx)?;
        let sql = format!(
            "CREATE SUBSCRIPTION {ours} CONNECTION {} PUBLICATION {ours} WITH (create_slot = false, slot_name = {ours}, \
             copy_data = false);",
            text(&of.conninfo(&here.user, &here.database))
        );
        here.change("follow the other server", &sql, cx)?;
    }
    let within = here.within;
    until(within, cx, |cx| {
        let idle = || Fault::new(FaultCode::NotConverged, "its subscription does not work").hint(log(here));
        Ok(standing(here, cx)?.works.then_some(()).ok_or_else(idle))
    })
}

/// Takes [`follow`] back, once all is here: the other server may follow again from now on.
pub(super) fn unfollow(here: &Here, now: &Part, cx: &mut Cx<'_>) -> Result<(), Fault> {
    if let Some(of) = &now.of {
        if !now.follows {
            // An earlier attempt ended behind its proof, of which nothing is known any more.
            resume(here, cx)?;
        }
        let proof = complete(here, of, false, cx);
        if !cx.over_drift {
            proof?;
        }
        pause(here, cx)?;
        let set = sequences(here, of, cx);
        if !cx.over_drift {
            set?;
        }
    }
    here.make_slot(cx)?;
    unsubscribe(here, cx)
}
