//! MariaDB's and MySQL's statements for the ledger.

use std::collections::HashSet;

use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::{
    error::is_duplicate,
    statement::{MOST_ROWS, Statement},
};
use crate::sink::{
    chunks::{placeholders, runs},
    ledger::{Digest, Entry},
};

/// `INSERT IGNORE` would also let texts be cut, and the affected rows of ON DUPLICATE KEY do not tell which were new. A
/// plain INSERT waits for a concurrent writer of the same entry and fails if that one commits; the statement alone is
/// then rolled back, and the entries that are there are read under a lock.
pub(super) async fn enter(
    connection: &mut MySqlConnection,
    entries: &[&Entry],
) -> Result<HashSet<Digest>, sqlx::Error> {
    let mut fresh = HashSet::with_capacity(entries.len());
    for run in runs(entries, MOST_ROWS, |_| true) {
        enter_run(connection, run, &mut fresh).await?;
    }
    Ok(fresh)
}

async fn enter_run(
    connection: &mut MySqlConnection,
    run: &[&Entry],
    fresh: &mut HashSet<Digest>,
) -> Result<(), sqlx::Error> {
    let mut unknown: Vec<&Entry> = run.to_vec();
    while !unknown.is_empty() {
        match insert_entries(connection, &unknown).await {
            Ok(()) => {
                fresh.extend(unknown.iter().map(|entry| entry.digest));
                return Ok(());
            }
            Err(error) if is_duplicate(&error) => {
                let there = present(connection, &unknown).await?;
                if there.is_empty() {
                    return Err(error);
                }
                unknown.retain(|entry| !there.contains(&entry.digest));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn insert_entries(connection: &mut MySqlConnection, entries: &[&Entry]) -> Result<(), sqlx::Error> {
    let statement = format!(
        "INSERT INTO jobqueue_ledger (digest, queue, job_id, created_at, generation) VALUES {}",
        placeholders(entries.len(), 5)
    );
    let mut query: Statement = sqlx::query(AssertSqlSafe(statement)).persistent(entries.len().is_power_of_two());
    for entry in entries {
        query = query
            .bind(entry.digest.as_slice())
            .bind(entry.queue.as_str())
            .bind(entry.job_id.as_str())
            .bind(entry.created_at.as_str())
            .bind(entry.generation);
    }
    query.execute(connection).await.map(drop)
}

async fn present(connection: &mut MySqlConnection, entries: &[&Entry]) -> Result<HashSet<Digest>, sqlx::Error> {
    let marks = vec!["?"; entries.len()].join(",");
    let statement = format!("SELECT digest FROM jobqueue_ledger WHERE digest IN ({marks}) LOCK IN SHARE MODE");
    let mut query: Statement = sqlx::query(AssertSqlSafe(statement)).persistent(false);
    for entry in entries {
        query = query.bind(entry.digest.as_slice());
    }
    let mut there = HashSet::new();
    for row in query.fetch_all(connection).await? {
        let digest: Vec<u8> = row.try_get(0)?;
        there.extend(Digest::try_from(digest.as_slice()));
    }
    Ok(there)
}
