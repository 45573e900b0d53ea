//! What steps took, in the database.

use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use crate::history::{LAST, Sample, Way};
use crate::plan::takes::Size;

/// Adds samples in one transaction, and forgets what is too old to be looked at.
pub(super) async fn add(pool: &SqlitePool, samples: &[Sample]) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    for sample in samples {
        let text = "insert or ignore into took (what, title, way, class, member, bytes, items, took_us, at_ms,
            run_ms) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let query = sqlx::query(text).bind(&sample.what).bind(&sample.title).bind(sample.way.as_str());
        let query = query.bind(&sample.class).bind(&sample.member).bind(signed(sample.size.bytes));
        let query = query.bind(signed(sample.size.items)).bind(signed(sample.took_us));
        let query = query.bind(sample.at_ms).bind(sample.run_ms);
        query.execute(&mut *transaction).await?;
    }
    let text = "delete from took where (what, way, title, class, member, at_ms, took_us) in (
        select what, way, title, class, member, at_ms, took_us from (
            select *, dense_rank() over (
                partition by what, way, title, class, member order by iif(run_ms = 0, at_ms, run_ms) desc
            ) as n from took
        ) where n > ?)";
    sqlx::query(text).bind(i64::try_from(LAST).unwrap_or(i64::MAX)).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// Forgets what steps of a kind, or of a title, took.
pub(super) async fn forget(pool: &SqlitePool, what: &str, title: Option<&str>) -> Result<u64, sqlx::Error> {
    let text = "delete from took where what = ?1 and (?2 is null or title = ?2)";
    Ok(sqlx::query(text).bind(what).bind(title).execute(pool).await?.rows_affected())
}

/// All of them.
pub(super) async fn all(pool: &SqlitePool) -> Result<Vec<Sample>, sqlx::Error> {
    let text = "select what, title, way, class, member, bytes, items, took_us, at_ms, run_ms from took";
    sqlx::query(text).fetch_all(pool).await?.iter().map(sample).collect()
}

fn sample(row: &SqliteRow) -> Result<Sample, sqlx::Error> {
    let number = |at: usize| row.try_get::<i64, _>(at).map(i64::unsigned_abs);
    let way: String = row.try_get(2)?;
    let unknown = || sqlx::Error::Decode(format!("`{way}` is no way of a step").into());
    Ok(Sample {
        what: row.try_get(0)?,
        title: row.try_get(1)?,
        way: Way::find(&way).ok_or_else(unknown)?,
        class: row.try_get(3)?,
        member: row.try_get(4)?,
        size: Size { bytes: number(5)?, items: number(6)? },
        took_us: number(7)?,
        at_ms: row.try_get(8)?,
        run_ms: row.try_get(9)?,
    })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
