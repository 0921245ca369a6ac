//! Schema versions: forward only, one transaction each. The version is SQLite's `user_version`.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::StoreError;

/// Migrations of one file, in order. Never edited once released; a new one is appended.
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
];

/// The subject keys.
pub(crate) const KEYS: Migrations = &[include_str!("../migrations/keys/0001_create_subject_keys.sql")];

/// Brings the schema up to date; refuses a file that a newer program wrote.
pub(crate) fn migrate(connection: &mut Connection, migrations: Migrations) -> Result<(), StoreError> {
    let failed = |source| StoreError::RolledBack { transaction: "schema_migrate", source };
    let version = |connection: &Connection| connection.query_row("pragma user_version", [], |row| row.get(0));
    let known = i64::try_from(migrations.len()).expect("a handful of migrations");
    // A file that is up to date is not written: another process may be in the middle of a write, and may hang there.
    if version(connection).map_err(failed)? == known {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let found: i64 = version(&transaction).map_err(failed)?;
    let done = usize::try_from(found).ok().filter(|done| *done <= migrations.len());
    let done = done.ok_or(StoreError::SchemaTooNew { found, known })?;
    for migration in &migrations[done..] {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(failed)?;
    transaction.commit().map_err(failed)
}
