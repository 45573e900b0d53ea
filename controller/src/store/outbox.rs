//! The outbox: what webhooks are to be told, kept beside the run log until they have received it. Written in the same
//! transaction as the events it tells of, so that none is lost, and none is told that did not happen.

use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row, Sqlite, Transaction};

/// How many received letters of a webhook are remembered by their keys, so that none is put there again.
const REMEMBERED: i64 = 10_000;

/// Something to be sent to a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The webhook's name.
    pub webhook: String,
    /// No other letter to it has this key: receivers compare it.
    pub key: String,
    /// What is sent; bounded by whoever writes it.
    pub body: String,
}

/// A letter that was not received yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its number: letters of a webhook are sent in this order.
    pub n: i64,
    /// What is sent.
    pub letter: Letter,
    /// How often it was tried.
    pub tries: u32,
    /// When the next try is due, in milliseconds since the epoch.
    pub next_ms: i64,
    /// Why the last try failed.
    pub said: String,
}

/// What waits for one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// The webhook's name.
    pub webhook: String,
    /// How many letters wait.
    pub waiting: u64,
    /// The first of them.
    pub first: Waiting,
}

/// Adds letters, in this order.
pub(super) async fn put(transaction: &mut Transaction<'_, Sqlite>, letters: &[Letter]) -> sqlx::Result<()> {
    for letter in letters {
        let text = "insert or ignore into outbox (webhook, key, body) values (?, ?, ?)";
        let query = sqlx::query(text).bind(&letter.webhook).bind(&letter.key).bind(&letter.body);
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

const COLUMNS: &str = "select n, webhook, key, body, tries, next_ms, said from outbox";

fn waiting(row: &SqliteRow) -> sqlx::Result<Waiting> {
    let letter = Letter { webhook: row.try_get(1)?, key: row.try_get(2)?, body: row.try_get(3)? };
    let tries: i64 = row.try_get(4)?;
    let tries = u32::try_from(tries).unwrap_or(u32::MAX);
    Ok(Waiting { n: row.try_get(0)?, letter, tries, next_ms: row.try_get(5)?, said: row.try_get(6)? })
}

pub(super) async fn first(pool: &SqlitePool, webhook: &str) -> sqlx::Result<Option<Waiting>> {
    let text = format!("{COLUMNS} where webhook = ? and delivered_ms is null order by n limit 1");
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).bind(webhook).fetch_optional(pool).await?;
    row.as_ref().map(waiting).transpose()
}

pub(super) async fn mailboxes(pool: &SqlitePool) -> sqlx::Result<Vec<Mailbox>> {
    let text = "select webhook, count(*) from outbox where delivered_ms is null group by webhook order by webhook";
    let mut found = Vec::new();
    for row in sqlx::query(text).fetch_all(pool).await? {
        let (webhook, count): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        // Another weiche may have sent the last one meanwhile.
        if let Some(first) = first(pool, &webhook).await? {
            found.push(Mailbox { webhook, waiting: count.unsigned_abs(), first });
        }
    }
    Ok(found)
}

pub(super) async fn delivered(pool: &SqlitePool, letter: i64, at_ms: i64) -> sqlx::Result<()> {
    let text = "update outbox set delivered_ms = ?, body = '', said = '', tries = tries + 1 where n = ?";
    sqlx::query(text).bind(at_ms).bind(letter).execute(pool).await?;
    let text = "delete from outbox where delivered_ms is not null and n <= ?";
    sqlx::query(text).bind(letter - REMEMBERED).execute(pool).await.map(drop)
}

pub(super) async fn refused(pool: &SqlitePool, letter: i64, why: &str, next_ms: i64) -> sqlx::Result<()> {
    let text = "update outbox set tries = tries + 1, said = ?, next_ms = ? where n = ?";
    sqlx::query(text).bind(why).bind(next_ms).bind(letter).execute(pool).await.map(drop)
}
