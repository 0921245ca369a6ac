//! Schema versions: forward only, one transaction each. One list of migrations for both engines; SQLite keeps the version
//! as `user_version`, PostgreSQL in a table of one row.

use std::time::Duration;

use rusqlite::TransactionBehavior;

use crate::database::postgres::{self, schema_dialect};
use crate::database::{DatabaseError, Result};
use crate::error::StoreError;

/// Migrations of one file or schema, in order. Never edited once released; a new one is appended.
type Migrations = &'static [&'static str];

/// The site's database.
pub(crate) const SITE: Migrations = &[
    include_str!("../migrations/site/0001_create_site.sql"),
    include_str!("../migrations/site/0002_add_lease.sql"),
    include_str!("../migrations/site/0003_keep_timings_in_one_row.sql"),
    include_str!("../migrations/site/0004_lock_terminals.sql"),
    include_str!("../migrations/site/0005_watch_device_keys.sql"),
    include_str!("../migrations/site/0006_watch_terminals.sql"),
    include_str!("../migrations/site/0007_limit_pins.sql"),
    include_str!("../migrations/site/0008_sign_in_at_pages.sql"),
    include_str!("../migrations/site/0009_settle_several_slots.sql"),
    include_str!("../migrations/site/0010_narrow_payments.sql"),
    include_str!("../migrations/site/0011_index_continued_payments_only.sql"),
    include_str!("../migrations/site/0012_look_up_no_slot_for_each_row.sql"),
    include_str!("../migrations/site/0013_keep_spending_in_wallets.sql"),
];

/// The subject keys.
pub(crate) const KEYS: Migrations = &[include_str!("../migrations/keys/0001_create_subject_keys.sql")];

fn count(migrations: Migrations) -> i64 {
    i64::try_from(migrations.len()).expect("a handful of migrations")
}

/// Those that come after the version that was found.
fn missing(migrations: Migrations, found: i64) -> std::result::Result<Migrations, StoreError> {
    let done = usize::try_from(found).ok().and_then(|done| migrations.get(done..));
    done.ok_or(StoreError::SchemaTooNew { found, known: count(migrations) })
}

fn failed(source: impl Into<DatabaseError>) -> StoreError {
    StoreError::RolledBack { transaction: "schema_migrate", source: source.into() }
}

/// Brings a file's schema up to date; refuses a file that a newer program wrote.
pub(crate) fn migrate_file(
    connection: &mut rusqlite::Connection,
    migrations: Migrations,
) -> std::result::Result<(), StoreError> {
    let version =
        |connection: &rusqlite::Connection| connection.query_row("pragma user_version", [], |row| row.get(0));
    // A file that is up to date is not written: another process may be in the middle of a write, and may hang there.
    if version(connection).map_err(failed)? == count(migrations) {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    for migration in missing(migrations, version(&transaction).map_err(failed)?)? {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", count(migrations)).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// How often a server that starts at the same moment as another one looks again.
const TRIES: u32 = 10;

/// Brings a schema of a PostgreSQL database up to date; the same refusal.
#[expect(
    clippy::disallowed_methods,
    reason = "another process makes the same schema, and tells nobody when it has"
)]
pub(crate) fn migrate_schema(
    connection: &postgres::Connection,
    schema: &str,
    migrations: Migrations,
) -> std::result::Result<(), StoreError> {
    for _ in 1..TRIES {
        match migrate_schema_once(connection, schema, migrations) {
            Err(error) if error.is_conflict() => std::thread::sleep(Duration::from_millis(100)),
            done => return done,
        }
    }
    migrate_schema_once(connection, schema, migrations)
}

fn migrate_schema_once(
    connection: &postgres::Connection,
    schema: &str,
    migrations: Migrations,
) -> std::result::Result<(), StoreError> {
    // Two that make the same schema at once collide in PostgreSQL's own tables; after that the lock keeps order.
    let prepare = format!(
        "begin;
         create schema if not exists {schema};
         create table if not exists {schema}.schema_versions (version bigint not null);
         lock table {schema}.schema_versions in exclusive mode"
    );
    let migrated = connection.batch(&prepare).map_err(failed).and_then(|()| {
        let found = version(connection, schema).map_err(failed)?;
        for migration in missing(migrations, found)? {
            connection.batch(&schema_dialect(migration)).map_err(failed)?;
        }
        let version = count(migrations);
        let finish = format!(
            "delete from {schema}.schema_versions; insert into {schema}.schema_versions values ({version}); commit"
        );
        if found < version { connection.batch(&finish) } else { connection.batch("commit") }.map_err(failed)
    });
    if migrated.is_err() {
        // Whether it can be said or not, it is so.
        let _ = connection.batch("rollback");
    }
    migrated
}

fn version(connection: &postgres::Connection, schema: &str) -> Result<i64> {
    let found = connection.texts(&format!("select cast(version as text) from {schema}.schema_versions"))?;
    let text = found.first().and_then(|row| row.first());
    let version = text.map_or(Ok(0), |text| text.parse());
    version.map_err(|_| DatabaseError::Unreadable { column: 0, reason: "not a version".to_owned() })
}
