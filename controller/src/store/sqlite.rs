//! The run log in SQLite: write-ahead log, every append synced before it returns.

use std::path::Path;
use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use weiche_agent::digest::Digest;
use weiche_agent::protocol::RunId;

use super::{
    Answer, Confirmed, Event, LEASE_MS, Lease, Letter, Mailbox, Run, Store, StoreError, Waiting, durations, outbox,
};
use crate::history::Sample;
use crate::rollout::Happening;

/// `user_version` of the database.
const VERSION: i64 = 4;

/// One transaction: one sync instead of one a table.
const SCHEMA: &str = "
begin immediate;
create table if not exists run (
    id text primary key, plan_digest text not null unique, plan text not null, created_ms integer not null
) strict;
create table if not exists event (
    run text not null references run(id), seq integer not null, at_ms integer not null, what text not null,
    primary key (run, seq)
) strict, without rowid;
create table if not exists confirmation (
    run text not null references run(id), step text not null, confirmed_by text not null, at_ms integer not null
) strict;
create table if not exists decision (
    n integer primary key autoincrement, run text not null references run(id), what text not null, at_ms integer not null,
    taken integer not null default 0
) strict;
create table if not exists lease (
    member text primary key, holder text not null, epoch integer not null, until_ms integer not null
) strict;
create table if not exists took (
    what text not null, title text not null, way text not null, class text not null, member text not null,
    bytes integer not null, items integer not null, took_us integer not null, at_ms integer not null,
    run_ms integer not null, primary key (what, way, title, class, member, at_ms, took_us)
) strict, without rowid;
-- Until version 3 a sample did not tell its run.
create table if not exists duration (what, title, way, class, member, bytes, items, took_us, at_ms);
insert or ignore into took
    select what, title, way, class, member, bytes, items, took_us, at_ms, 0 from duration;
drop table duration;
create table if not exists outbox (
    n integer primary key autoincrement, webhook text not null, key text not null, body text not null,
    tries integer not null default 0, next_ms integer not null default 0, said text not null default '',
    delivered_ms integer, unique (webhook, key)
) strict;
create index if not exists outbox_waiting on outbox (webhook, n) where delivered_ms is null;
pragma user_version = 4;
commit;
";

/// A database file.
#[derive(Debug)]
pub struct SqliteStore {
    pool: SqlitePool,
    place: String,
}

impl SqliteStore {
    /// Opens the file, making it (not its directory) if missing.
    ///
    /// # Errors
    /// If it cannot be opened, is no database, or was made by a newer weiche.
    pub async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        let place = path.display().to_string();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        // One connection: one writer, and every read sees what was written. It is never too old; without these limits
        // there is no task that looks for such, which in rare cases spins for ever (sqlx issue 3645) and would hang us.
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let pool = pool.connect_with(options).await;
        let store = SqliteStore { pool: pool.map_err(|source| database(&place, source))?, place };
        let found: i64 = sqlx::query("pragma user_version")
            .fetch_one(&store.pool)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(|e| store.fault(e))?;
        if found > VERSION {
            return Err(StoreError::Version { found, known: VERSION });
        }
        if found < VERSION {
            sqlx::raw_sql(SCHEMA).execute(&store.pool).await.map_err(|e| store.fault(e))?;
        }
        Ok(store)
    }

    /// After what time a connection is too old, idle or at all.
    #[cfg(test)]
    pub(super) fn aging(&self) -> [Option<Duration>; 2] {
        let options = self.pool.options();
        [options.get_idle_timeout(), options.get_max_lifetime()]
    }

    /// As an earlier weiche left it.
    #[cfg(test)]
    pub(super) async fn back_to_version_2(&self) {
        let text = "drop table outbox; drop table took; pragma user_version = 2;";
        sqlx::raw_sql(text).execute(&self.pool).await.expect("an older database");
    }

    /// As the weiche after that left it: no sample tells its run.
    #[cfg(test)]
    pub(super) async fn back_to_version_3(&self) {
        let text = "
            create table duration (
                what text not null, title text not null, way text not null, class text not null, member text not null,
                bytes integer not null, items integer not null, took_us integer not null, at_ms integer not null,
                primary key (what, way, title, class, member, at_ms, took_us)
            ) strict, without rowid;
            insert into duration
                select what, title, way, class, member, bytes, items, took_us, at_ms from took;
            drop table took; pragma user_version = 3;";
        sqlx::raw_sql(text).execute(&self.pool).await.expect("an older database");
    }

    fn fault(&self, source: sqlx::Error) -> StoreError {
        database(&self.place, source)
    }
}

impl Store for SqliteStore {
    fn add_run<'a>(&'a self, run: &'a Run, plan: &'a Digest) -> Answer<'a, bool> {
        Box::pin(async move {
            let text = "insert into run (id, plan_digest, plan, created_ms) values (?, ?, ?, ?)";
            let query =
                sqlx::query(text).bind(run.id.as_str()).bind(plan.as_str()).bind(&run.plan).bind(run.created_ms);
            match query.execute(&self.pool).await {
                Ok(_) => Ok(true),
                Err(sqlx::Error::Database(e)) if e.is_unique_violation() => Ok(false),
                Err(e) => Err(self.fault(e)),
            }
        })
    }

    fn append_with<'a>(&'a self, events: &'a [Event], letters: &'a [Letter]) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut transaction = self.pool.begin().await.map_err(|e| self.fault(e))?;
            for event in events {
                let what = serde_json::to_string(&event.what).map_err(StoreError::Unreadable)?;
                let text = "insert into event (run, seq, at_ms, what) values (?, ?, ?, ?)";
                let seq = i64::try_from(event.seq).unwrap_or(i64::MAX);
                let query = sqlx::query(text).bind(event.run.as_str()).bind(seq).bind(event.at_ms).bind(what);
                query.execute(&mut *transaction).await.map_err(|e| match e {
                    sqlx::Error::Database(e) if e.is_unique_violation() => {
                        StoreError::Contended { run: event.run.clone(), seq: event.seq }
                    }
                    e => self.fault(e),
                })?;
            }
            outbox::put(&mut transaction, letters).await.map_err(|e| self.fault(e))?;
            transaction.commit().await.map_err(|e| self.fault(e))
        })
    }

    fn mailboxes(&self) -> Answer<'_, Vec<Mailbox>> {
        Box::pin(async move { outbox::mailboxes(&self.pool).await.map_err(|e| self.fault(e)) })
    }

    fn first_letter<'a>(&'a self, webhook: &'a str) -> Answer<'a, Option<Waiting>> {
        Box::pin(async move { outbox::first(&self.pool, webhook).await.map_err(|e| self.fault(e)) })
    }

    fn delivered(&self, letter: i64, at_ms: i64) -> Answer<'_, ()> {
        Box::pin(async move { outbox::delivered(&self.pool, letter, at_ms).await.map_err(|e| self.fault(e)) })
    }

    fn refused<'a>(&'a self, letter: i64, why: &'a str, next_ms: i64) -> Answer<'a, ()> {
        Box::pin(async move { outbox::refused(&self.pool, letter, why, next_ms).await.map_err(|e| self.fault(e)) })
    }

    fn events<'a>(&'a self, run: &'a RunId) -> Answer<'a, Vec<Event>> {
        Box::pin(async move {
            let text = "select seq, at_ms, what from event where run = ? order by seq";
            let rows = sqlx::query(text).bind(run.as_str()).fetch_all(&self.pool).await.map_err(|e| self.fault(e))?;
            let event = |row: &sqlx::sqlite::SqliteRow| -> Result<Event, StoreError> {
                let seq: i64 = row.try_get(0).map_err(|e| self.fault(e))?;
                let at_ms = row.try_get(1).map_err(|e| self.fault(e))?;
                let what: String = row.try_get(2).map_err(|e| self.fault(e))?;
                let what = serde_json::from_str(&what).map_err(StoreError::Unreadable)?;
                Ok(Event { v: super::EVENT_VERSION, run: run.clone(), seq: seq.unsigned_abs(), at_ms, what })
            };
            rows.iter().map(event).collect()
        })
    }

    fn runs(&self) -> Answer<'_, Vec<Run>> {
        Box::pin(async move {
            // By the order in which they were added: clocks are set back.
            let text = "select id, plan, created_ms from run order by rowid desc";
            let rows = sqlx::query(text).fetch_all(&self.pool).await.map_err(|e| self.fault(e))?;
            let run = |row: &sqlx::sqlite::SqliteRow| -> Result<Option<Run>, StoreError> {
                let id: String = row.try_get(0).map_err(|e| self.fault(e))?;
                let plan = row.try_get(1).map_err(|e| self.fault(e))?;
                let created_ms = row.try_get(2).map_err(|e| self.fault(e))?;
                Ok(RunId::try_from(id).ok().map(|id| Run { id, plan, created_ms }))
            };
            rows.iter().filter_map(|row| run(row).transpose()).collect()
        })
    }

    fn confirm<'a>(&'a self, run: &'a RunId, step: &'a str, by: &'a str, at_ms: i64) -> Answer<'a, ()> {
        Box::pin(async move {
            let text = "insert into confirmation (run, step, confirmed_by, at_ms) values (?, ?, ?, ?)";
            let query = sqlx::query(text).bind(run.as_str()).bind(step).bind(by).bind(at_ms);
            query.execute(&self.pool).await.map(drop).map_err(|e| self.fault(e))
        })
    }

    fn confirmed<'a>(&'a self, run: &'a RunId) -> Answer<'a, Vec<Confirmed>> {
        Box::pin(async move {
            let text = "select step, confirmed_by, at_ms from confirmation where run = ? order by rowid";
            let rows = sqlx::query(text).bind(run.as_str()).fetch_all(&self.pool).await.map_err(|e| self.fault(e))?;
            let confirmed =
                |row: &SqliteRow| Ok(Confirmed { step: row.try_get(0)?, by: row.try_get(1)?, at_ms: row.try_get(2)? });
            rows.iter().map(|row| confirmed(row).map_err(|e| self.fault(e))).collect()
        })
    }

    fn order<'a>(&'a self, run: &'a RunId, order: &'a Happening, at_ms: i64) -> Answer<'a, ()> {
        Box::pin(async move {
            let what = serde_json::to_string(order).map_err(StoreError::Unreadable)?;
            let text = "insert into decision (run, what, at_ms) values (?, ?, ?)";
            let query = sqlx::query(text).bind(run.as_str()).bind(what).bind(at_ms);
            query.execute(&self.pool).await.map(drop).map_err(|e| self.fault(e))
        })
    }

    fn orders<'a>(&'a self, run: &'a RunId) -> Answer<'a, Vec<(i64, Happening)>> {
        Box::pin(async move {
            let text = "select n, what from decision where run = ? and taken = 0 order by n";
            let rows = sqlx::query(text).bind(run.as_str()).fetch_all(&self.pool).await.map_err(|e| self.fault(e))?;
            let order = |row: &sqlx::sqlite::SqliteRow| -> Result<(i64, Happening), StoreError> {
                let what: String = row.try_get(1).map_err(|e| self.fault(e))?;
                let what = serde_json::from_str(&what).map_err(StoreError::Unreadable)?;
                Ok((row.try_get(0).map_err(|e| self.fault(e))?, what))
            };
            rows.iter().map(order).collect()
        })
    }

    fn taken<'a>(&'a self, run: &'a RunId, order: i64) -> Answer<'a, ()> {
        Box::pin(async move {
            let query = sqlx::query("update decision set taken = 1 where run = ? and n <= ?").bind(run.as_str());
            query.bind(order).execute(&self.pool).await.map(drop).map_err(|e| self.fault(e))
        })
    }

    fn lease<'a>(&'a self, members: &'a [String], holder: &'a str, now_ms: i64) -> Answer<'a, Result<u64, Lease>> {
        Box::pin(async move {
            let mut transaction = self.pool.begin_with("begin immediate").await.map_err(|e| self.fault(e))?;
            let mut epoch = now_ms;
            for member in members {
                let text = "select holder, epoch, until_ms from lease where member = ?";
                let row = sqlx::query(text).bind(member).fetch_optional(&mut *transaction).await;
                let Some(row) = row.map_err(|e| self.fault(e))? else { continue };
                let (other, last, until_ms): (String, i64, i64) = (
                    row.try_get(0).map_err(|e| self.fault(e))?,
                    row.try_get(1).map_err(|e| self.fault(e))?,
                    row.try_get(2).map_err(|e| self.fault(e))?,
                );
                if other != holder && until_ms > now_ms {
                    return Ok(Err(Lease { member: member.clone(), holder: other, until_ms }));
                }
                epoch = epoch.max(last + 1);
            }
            for member in members {
                let text = "insert or replace into lease (member, holder, epoch, until_ms) values (?, ?, ?, ?)";
                let query = sqlx::query(text).bind(member).bind(holder).bind(epoch).bind(now_ms + LEASE_MS);
                query.execute(&mut *transaction).await.map_err(|e| self.fault(e))?;
            }
            transaction.commit().await.map_err(|e| self.fault(e))?;
            Ok(Ok(epoch.unsigned_abs()))
        })
    }

    fn renew<'a>(&'a self, members: &'a [String], epoch: u64, now_ms: i64) -> Answer<'a, bool> {
        Box::pin(async move {
            let mut ours = true;
            for member in members {
                let text = "update lease set until_ms = ? where member = ? and epoch = ?";
                let query = sqlx::query(text).bind(now_ms + LEASE_MS).bind(member).bind(signed(epoch));
                let done = query.execute(&self.pool).await.map_err(|e| self.fault(e))?;
                ours &= done.rows_affected() == 1;
            }
            Ok(ours)
        })
    }

    fn release<'a>(&'a self, members: &'a [String], epoch: u64) -> Answer<'a, ()> {
        Box::pin(async move {
            for member in members {
                let text = "update lease set until_ms = 0 where member = ? and epoch = ?";
                let query = sqlx::query(text).bind(member).bind(signed(epoch));
                query.execute(&self.pool).await.map_err(|e| self.fault(e))?;
            }
            Ok(())
        })
    }

    fn expire<'a>(&'a self, lease: &'a Lease) -> Answer<'a, ()> {
        Box::pin(async move {
            let text = "update lease set until_ms = 0 where member = ? and holder = ? and until_ms = ?";
            let query = sqlx::query(text).bind(&lease.member).bind(&lease.holder).bind(lease.until_ms);
            query.execute(&self.pool).await.map(drop).map_err(|e| self.fault(e))
        })
    }

    fn add_durations<'a>(&'a self, samples: &'a [Sample]) -> Answer<'a, ()> {
        Box::pin(async move { durations::add(&self.pool, samples).await.map_err(|e| self.fault(e)) })
    }

    fn forget_durations<'a>(&'a self, what: &'a str, title: Option<&'a str>) -> Answer<'a, u64> {
        Box::pin(async move { durations::forget(&self.pool, what, title).await.map_err(|e| self.fault(e)) })
    }

    fn durations(&self) -> Answer<'_, Vec<Sample>> {
        Box::pin(async move { durations::all(&self.pool).await.map_err(|e| self.fault(e)) })
    }
}

fn signed(epoch: u64) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX)
}

fn database(place: &str, source: sqlx::Error) -> StoreError {
    let place = place.to_owned();
    // SQLITE_FULL, and SQLITE_IOERR_SHMSIZE where there is no room for the index of the write-ahead log.
    let code = source.as_database_error().and_then(|e| e.code().map(std::borrow::Cow::into_owned));
    match code.as_deref() {
        Some("13" | "4874") => StoreError::Full { place },
        _ => StoreError::Database { place, source },
    }
}
