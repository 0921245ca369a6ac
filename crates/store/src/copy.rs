//! The whole of a site from one database to another, of the same engine or the other one: how a site moves, and how it is
//! backed up. Row by row, on one snapshot of the source, in one transaction of the target.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::connection::{Readers, Writer};
use crate::database::{Bind, DatabaseError, Result, Transaction, Value, params};
use crate::error::StoreError;
use crate::{LedgerAudit, Store};

/// Tables of the site with their columns, in an order in which every reference is there before it is used. A test holds it
/// against the schema.
pub(crate) const SITE_TABLES: &[(&str, &str)] = &[
    ("site", "id, mode, currency, created_at"),
    ("merchants", "id, request_ref, name, created_at"),
    ("stores", "id, merchant_id, name, created_at"),
    ("api_keys", "id, role, merchant_id, key_hash, created_at, revoked_at"),
    (
        "terminals",
        "id, store_id, name, purpose, state, created_at, updated_by, locked_at, clone_suspected_at",
    ),
    ("activations", "terminal_id, code_hash, expires_at, tries_left, used_at"),
    ("terminal_keys", "id, terminal_id, algorithm, public_key, created_at, retired_at, replaced_by"),
    (
        "key_uses",
        "key_id, start, instance, counter, seen_at, mark_start, mark_counter, marked_at, floor_start, floor_counter, \
         suspected_at",
    ),
    ("signature_nonces", "key_id, nonce, expires_at"),
    ("terminal_health", "terminal_id, received_at, report, updated_by"),
    ("terminal_configurations", "subject, configuration, updated_at, updated_by"),
    ("sign_ins", "token_hash, key_id, page, signed_in_at, used_at, updated_by"),
    ("accounts", "id, request_ref, request_mac, state, profile, created_at, updated_by"),
    ("identifiers", "kind, lookup, account_id, unique_lookup"),
    (
        "wallets",
        "id, account_id, purpose, currency, balance_minor, held_minor, version, spent_since, spent_minor, spent_count",
    ),
    ("consents", "id, account_id, text_version, language, text_hash, given_to, given_at, withdrawn_at"),
    (
        "enrolments",
        "id, account_id, consent_id, terminal_id, modality, instance, state, nonce, expires_at, created_at, updated_by",
    ),
    (
        "templates",
        "id, account_id, consent_id, enrolment_id, modality, instance, algorithm, version, quality, sealed, created_at",
    ),
    ("lookalikes", "account_id, modality, other_account_id, found_at"),
    (
        "verifications",
        "id, terminal_id, store_id, merchant_id, request_ref, modality, sensor_grade, identifier_kind, \
         identifier_lookup, state, reason, nonce, attempts_left, challenge, attack, account_id, code_id, expires_at, \
         timings, created_at, updated_by",
    ),
    (
        "payment_codes",
        "id, mac, pepper_id, verification_id, account_id, merchant_id, store_id, terminal_id, currency, \
         amount_minor_max, request_ref, device_kind, device_version, register, issued_at, expires_at",
    ),
    ("slots", "slot, epoch, sequence, hash, held, beat"),
    (
        "payments",
        "slot, sequence, payment_id, leg, kind, state, part, parent_id, debit, credit, amount_minor, currency, \
         account_id, caller, actor_id, reference, code_id, verification_id, sensor_grade, merchant_id, store_id, \
         terminal_id, created_at, expires_at, hash",
    ),
    ("open_payments", "payment_id, kind, state, merchant_id, terminal_id, amount_minor, expires_at"),
    ("code_guesses", "merchant_id, hour, tries"),
    ("merchant_terms", "merchant_id, category, undo_minutes, fee, updated_by"),
    ("rules", "id, utc_offset_minutes, gesture_confirms, updated_by"),
    (
        "limits",
        "layer, subject, payment_minor_max, day_minor_max, day_count_max, step_up_above_minor, from_minute, to_minute, \
         categories_blocked, updated_at, updated_by",
    ),
    ("pins", "account_id, hash, tries_left, changed_at, updated_by"),
    (
        "settlements",
        "id, merchant_id, currency, state, after_sequence, upto_sequence, opening_minor, goods_minor, tips_minor, \
         deposits_minor, refunds_minor, reversals_minor, undone_minor, adjustments_minor, fees_minor, payouts_minor, \
         closing_minor, frozen_minor, payable_minor, closed_at, closed_by, approved_at, approved_by, paid_at, paid_by, \
         updated_by",
    ),
    ("settlement_ranges", "settlement_id, merchant_id, slot, after_sequence, upto_sequence"),
    ("merchant_rollups", "merchant_id, currency, slot, sequence, balance_minor"),
    ("cursors", "consumer, slot, sequence"),
    ("payment_timings", "payment_id, timings"),
    ("attempts", "id, at, operation, reason, terminal_id, merchant_id, account_id"),
];

/// The same of the subject keys.
pub(crate) const KEY_TABLES: &[(&str, &str)] =
    &[("subject_keys", "account_id, purpose, wrapped, created_at")];

/// Rows that wait between the two databases.
const ROWS_WAITING: usize = 1_000;

/// A value on its way.
enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Cell {
    fn of(value: Value<'_>) -> Self {
        match value {
            Value::Integer(value) => Cell::Integer(value),
            Value::Text(text) => Cell::Text(text.to_owned()),
            Value::Bytes(bytes) => Cell::Bytes(bytes.to_owned()),
            _ => Cell::Null,
        }
    }
}

impl Bind for Cell {
    fn value(&self) -> Value<'_> {
        match self {
            Cell::Null => Value::Null,
            Cell::Integer(value) => Value::Integer(*value),
            Cell::Text(text) => Value::Text(text),
            Cell::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

/// A row with the number of its table, or the end of all of them.
type Sent = Option<(usize, Vec<Cell>)>;

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Rows of each table, in the order of the copy.
    pub rows: Vec<(&'static str, u64)>,
}

impl Copied {
    /// Rows of all tables.
    pub fn total(&self) -> u64 {
        self.rows.iter().map(|(_, rows)| rows).sum()
    }
}

/// Why a site was not copied. Nothing of it is in the target then.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// One of the databases failed.
    #[error("failed to copy")]
    Store(#[from] StoreError),
    /// There is a site in the target already.
    #[error("there is a site in the target already; nothing was changed")]
    NotEmpty,
    /// The source has no site.
    #[error("there is no site to copy")]
    NoSite,
    /// What arrived is not what was sent. The target is not to be used.
    #[error("the copy differs from its source: {0}")]
    Differs(String),
}

fn send(
    tx: &Transaction<'_>,
    tables: &[(&'static str, &'static str)],
    rows: &SyncSender<Sent>,
) -> Result<()> {
    let gone = || DatabaseError::Sink(std::io::Error::other("the target has stopped"));
    for (number, (table, columns)) in tables.iter().enumerate() {
        let count = columns.split(", ").count();
        tx.prepare_cached(&format!("select {columns} from {table}"))?.for_each(params![], |found| {
            let cells = (0..count).map(|column| found.value(column).map(Cell::of)).collect::<Result<_>>()?;
            rows.send(Some((number, cells))).map_err(|_| gone())
        })?;
    }
    rows.send(None).map_err(|_| gone())
}

fn receive(
    tx: &Transaction<'_>,
    tables: &[(&'static str, &'static str)],
    rows: &Receiver<Sent>,
    told: &dyn Fn(u64),
) -> Result<Copied> {
    let mut copied = Copied { rows: tables.iter().map(|(table, _)| (*table, 0)).collect() };
    let mut total = 0;
    loop {
        // Without the end, the source has failed in the middle.
        let sent =
            rows.recv().map_err(|_| DatabaseError::Sink(std::io::Error::other("the source has stopped")))?;
        let Some((number, cells)) = sent else { return Ok(copied) };
        let (table, columns) = tables[number];
        let marks = (1..=cells.len()).map(|mark| format!("?{mark}")).collect::<Vec<_>>().join(", ");
        let parameters: Vec<&dyn Bind> = cells.iter().map(|cell| cell as &dyn Bind).collect();
        tx.execute(&format!("insert into {table} ({columns}) values ({marks})"), &parameters)?;
        copied.rows[number].1 += 1;
        total += 1;
        told(total);
    }
}

async fn copy(
    transaction: &'static str,
    tables: &'static [(&'static str, &'static str)],
    from: impl Future<Output = std::result::Result<(), StoreError>>,
    into: (&Writer, Receiver<Sent>),
    told: impl Fn(u64) + Send + 'static,
) -> std::result::Result<Copied, StoreError> {
    let (writer, rows) = into;
    let writing = writer.write(transaction, move |tx| {
        let copied = receive(tx, tables, &rows, &told)?;
        if tables.iter().any(|(table, _)| *table == "slots") {
            // Whoever owned them wrote to the other database.
            tx.execute("update slots set held = 0", params![])?;
        }
        Ok(copied)
    });
    let (sent, copied) = tokio::join!(from, writing);
    // If the source has failed, the target says no more than that.
    sent?;
    copied
}

fn sending(
    tables: &'static [(&'static str, &'static str)],
) -> (impl FnOnce(&Transaction<'_>) -> Result<()> + Send + 'static, Receiver<Sent>) {
    let (rows, received) = sync_channel(ROWS_WAITING);
    (move |tx: &Transaction<'_>| send(tx, tables, &rows), received)
}

async fn read(
    readers: &Readers,
    work: impl FnOnce(&Transaction<'_>) -> Result<()> + Send + 'static,
) -> std::result::Result<(), StoreError> {
    readers.read("site_read_all", work).await
}

impl Store {
    /// Copies the site to an empty database and recomputes its books there: heads, chains and wallets must be those of
    /// the source. `told` hears of every row. What is written to the source after the copy has begun is not in it, so
    /// for a move nobody may write; for a backup that is as it should be.
    pub async fn copy_to(
        &self,
        target: &Store,
        told: impl Fn(u64) + Send + 'static,
    ) -> std::result::Result<Copied, CopyError> {
        if self.site().await?.is_none() {
            return Err(CopyError::NoSite);
        }
        if target.site().await?.is_some() {
            return Err(CopyError::NotEmpty);
        }
        let (work, rows) = sending(SITE_TABLES);
        let copied =
            copy("site_copy", SITE_TABLES, read(&self.readers, work), (&target.writer, rows), told).await?;
        let audit = target.audit_ledger().await?;
        check(&copied, &audit)?;
        Ok(copied)
    }

    /// Copies the subject keys, to where they are kept apart.
    pub async fn copy_keys_to(&self, target: &Store) -> std::result::Result<Copied, CopyError> {
        let (work, rows) = sending(KEY_TABLES);
        let reading = self.keys.write("keys_read_all", work);
        Ok(copy("keys_copy", KEY_TABLES, reading, (&target.keys, rows), |_| {}).await?)
    }
}

/// Whether the books of the copy are whole.
fn check(copied: &Copied, audit: &LedgerAudit) -> std::result::Result<(), CopyError> {
    for slot in &audit.slots {
        if let Some(error) = &slot.error {
            return Err(CopyError::Differs(format!("slot {}: {error}", slot.slot)));
        }
    }
    if audit.wallets_that_differ > 0 {
        return Err(CopyError::Differs(format!(
            "{} wallets are not the sum of their rows",
            audit.wallets_that_differ
        )));
    }
    let rows: u64 = audit.slots.iter().map(|slot| slot.sequence).sum();
    let sent = copied.rows.iter().find(|(table, _)| *table == "payments").map_or(0, |(_, rows)| *rows);
    if rows != sent {
        return Err(CopyError::Differs(format!("{sent} rows of the ledger, and heads of {rows}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration;

    fn of_schema(migrations: &[&str]) -> Vec<(String, Vec<String>)> {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for migration in migrations {
            connection.execute_batch(migration).unwrap();
        }
        let names = |sql: &str| {
            let mut statement = connection.prepare(sql).unwrap();
            let names = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
            names.collect::<std::result::Result<Vec<_>, _>>().unwrap()
        };
        let tables =
            names("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'");
        let columns = |table: String| {
            let mut columns = names(&format!("select name from pragma_table_info('{table}')"));
            columns.sort();
            (table, columns)
        };
        let mut tables: Vec<_> = tables.into_iter().map(columns).collect();
        tables.sort();
        tables
    }

    #[test]
    fn every_table_and_column_is_copied() {
        for (tables, migrations) in [(SITE_TABLES, migration::SITE), (KEY_TABLES, migration::KEYS)] {
            let listed = |(table, columns): &(&str, &str)| {
                let mut columns: Vec<String> = columns.split(", ").map(str::to_owned).collect();
                columns.sort();
                ((*table).to_owned(), columns)
            };
            let mut listed: Vec<_> = tables.iter().map(listed).collect();
            listed.sort();
            assert_eq!(listed, of_schema(migrations));
        }
    }
}
