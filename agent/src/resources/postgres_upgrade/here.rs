//! The database on this host: what it says of its part, and whether it takes writes.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::other::Other;
use super::{MAX_WITHIN, Part, Spec};
use crate::fault::{Fault, FaultCode};
use crate::resource::Cx;
use crate::resources::period;
use crate::resources::postgres::{ask, change, text};
use crate::resources::postgres_server::cluster::{Cluster, until};

/// How long the server may take to follow its configuration, and sessions to end.
const SOON: Duration = Duration::from_secs(10);

/// The database, and what it was asked to be.
pub(super) struct Here {
    /// `VERSION/NAME` of its cluster.
    pub(super) cluster: String,
    pub(super) database: String,
    /// Of publication, subscription and slot.
    pub(super) name: String,
    pub(super) user: String,
    /// How long it may take to have all.
    pub(super) within: Duration,
    /// How long rows may be counted.
    pub(super) compare: Duration,
}

#[derive(Deserialize)]
struct Said {
    ready: bool,
    rests: bool,
    connection: Option<String>,
    follows: Option<bool>,
}

impl Here {
    pub(super) fn new(spec: &Spec, cluster: &Cluster) -> Here {
        let time = |text: &str| period::read(text, MAX_WITHIN).unwrap_or_default();
        Here {
            cluster: cluster.id.clone(),
            database: spec.database.clone(),
            name: spec.name.clone(),
            user: spec.user.clone(),
            within: time(&spec.within),
            compare: time(&spec.compare_within),
        }
    }

    /// The part that it plays, but for what the file system says.
    pub(super) fn part(&self, cx: &mut Cx<'_>) -> Result<Part, Fault> {
        let ours = text(&self.name);
        let sql = format!(
            "SELECT json_build_object('ready', EXISTS (SELECT FROM pg_publication WHERE pubname = {ours}), 'rests', \
             EXISTS (SELECT FROM pg_file_settings WHERE name = 'default_transaction_read_only' AND setting = 'on' AND \
             sourcefile LIKE '%/postgresql.auto.conf'), 'connection', (SELECT subconninfo FROM pg_subscription JOIN \
             pg_database d ON d.oid = subdbid WHERE datname = current_database() AND subname = {ours}), 'follows', \
             (SELECT subenabled FROM pg_subscription JOIN pg_database d ON d.oid = subdbid WHERE datname = \
             current_database() AND subname = {ours}));"
        );
        // There may be no database yet: psql(1) cannot connect then, either.
        let Ok(Some(said)) = ask::<Said>(&sql, &self.database, Some(&self.cluster), cx)? else {
            return Ok(Part::default());
        };
        Ok(Part {
            answers: true,
            ready: said.ready,
            rests: said.rests,
            of: said.connection.as_deref().map(Other::read),
            follows: said.follows == Some(true),
            ..Part::default()
        })
    }

    /// The same, as soon as the server answers.
    ///
    /// # Errors
    /// `NotConverged` if it does not.
    pub(super) fn awake(&self, cx: &mut Cx<'_>) -> Result<Part, Fault> {
        until(SOON, cx, |cx| {
            let away = || Fault::new(FaultCode::NotConverged, format!("the cluster {} does not answer", self.cluster));
            Ok(self.part(cx)?.answers.then_some(()).ok_or_else(away))
        })?;
        self.part(cx)
    }

    /// One answer in JSON.
    pub(super) fn ask<T: DeserializeOwned>(&self, sql: &str, cx: &mut Cx<'_>) -> Result<T, Fault> {
        let silent = || Fault::new(FaultCode::Invalid, "the server has said nothing");
        ask::<T>(sql, &self.database, Some(&self.cluster), cx)??.ok_or_else(silent)
    }

    /// Carries out statements, also while the server takes no writes of users.
    pub(super) fn change(&self, what: &str, sql: &str, cx: &mut Cx<'_>) -> Result<(), Fault> {
        self.change_in(&self.database, what, sql, cx)
    }

    pub(super) fn change_in(&self, database: &str, what: &str, sql: &str, cx: &mut Cx<'_>) -> Result<(), Fault> {
        change(what, &format!("SET default_transaction_read_only = off;\n{sql}"), database, Some(&self.cluster), cx)
    }

    /// Takes no more writes: new transactions read only, sessions are ended, and all that was written is on the disk.
    ///
    /// # Errors
    /// `NotConverged` if a session does not end.
    pub(super) fn close(&self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        self.change_in(
            "postgres",
            "rest",
            "ALTER SYSTEM SET default_transaction_read_only = on;\nSELECT pg_reload_conf();",
            cx,
        )?;
        self.reads_only(true, cx)?;
        // Whoever comes from here on reads only; who was there before may be in the middle of a transaction.
        let since = self.ask::<String>("SELECT to_json(clock_timestamp()::text);", cx)?;
        let others = format!(
            "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND datname = {} \
             AND backend_start < {}::timestamptz",
            text(&self.database),
            text(&since)
        );
        self.change("end sessions", &format!("SELECT count(pg_terminate_backend(pid)) {others};"), cx)?;
        until(SOON, cx, |cx| match self.ask::<u32>(&format!("SELECT count(*) {others};"), cx)? {
            0 => Ok(Ok(())),
            left => Ok(Err(Fault::new(FaultCode::NotConverged, format!("{left} sessions do not end")))),
        })?;
        // A commit that is waited for takes all earlier ones to the disk.
        let flush = "SET synchronous_commit = local;\nSELECT pg_logical_emit_message(true, 'weiche', 'rests');";
        self.change("write its log", flush, cx)
    }

    /// Takes writes again.
    pub(super) fn open(&self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let sql = "ALTER SYSTEM RESET default_transaction_read_only;\nSELECT pg_reload_conf();";
        self.change_in("postgres", "take writes", sql, cx)?;
        self.reads_only(false, cx)
    }

    fn reads_only(&self, wanted: bool, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let sql = "SELECT to_json(current_setting('default_transaction_read_only') = 'on');";
        until(SOON, cx, |cx| {
            let unlike = || Fault::new(FaultCode::NotConverged, "the server does not follow its configuration");
            Ok((self.ask::<bool>(sql, cx)? == wanted).then_some(()).ok_or_else(unlike))
        })
    }

    /// Whether it has the slot.
    pub(super) fn has_slot(&self, cx: &mut Cx<'_>) -> Result<bool, Fault> {
        let sql = format!(
            "SELECT to_json(EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {}));",
            text(&self.name)
        );
        self.ask(&sql, cx)
    }

    /// Makes the slot, unless it is there: all that is written from now on waits for whoever follows.
    pub(super) fn make_slot(&self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if self.has_slot(cx)? {
            return Ok(());
        }
        let sql = format!("SELECT pg_create_logical_replication_slot({}, 'pgoutput');", text(&self.name));
        self.change("make a slot", &sql, cx)
    }

    /// Removes the slot once nobody uses it.
    pub(super) fn drop_slot(&self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let sql = format!(
            "SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots WHERE slot_name = {};",
            text(&self.name)
        );
        until(SOON, cx, |cx| match self.change("drop a slot", &sql, cx) {
            Err(fault) if fault.to_string().contains("is active") => Ok(Err(fault)),
            done => done.map(Ok),
        })
    }
}
