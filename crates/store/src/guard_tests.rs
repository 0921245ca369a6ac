//! The second line: with the decision out of the way, the database itself refuses what must not be. Each guard is
//! tested twice: the hostile write is refused, and on a database without that guard the same write goes through, so
//! that the test would notice if the guard were gone.

use selfsame_domain::id::{
    AccountId, MerchantId, PaymentCodeId, PaymentId, SettlementId, VerificationId, WalletId,
};
use selfsame_domain::ledger::{CHAIN_START, Caller, ChainedRow, Kind, LedgerAccount, Row, RowState};
use selfsame_domain::limit::Spending;
use selfsame_domain::payment::{Changes, Slot, WalletChange};
use selfsame_domain::time::Timestamp;

use rusqlite::Connection;

use crate::database::{Transaction, params};
use crate::error::Result;
use crate::migration;
use crate::payment::save::save;

fn start() -> Timestamp {
    Timestamp::from_millis(1_000)
}

fn id(number: u8) -> [u8; 10] {
    [number; 10]
}

fn wallet() -> WalletId {
    WalletId::new(start(), id(1))
}

/// A database whose schema lacks one guard: `without` is cut out of its text, wherever it stands, and `instead` put there.
fn database(without: Option<(&str, &str)>) -> Connection {
    let mut schema = migration::SITE.concat();
    if let Some((without, instead)) = without {
        assert!(schema.contains(without), "the schema has no `{without}`");
        schema = schema.replace(without, instead);
    }
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("pragma foreign_keys = on;").unwrap();
    connection.execute_batch(&schema).unwrap();
    let account = AccountId::new(start(), id(1)).to_string();
    connection
        .execute_batch(&format!(
            "insert into slots (slot, epoch, sequence, hash) values (0, 5, 0, zeroblob(32));
             insert into accounts (id, request_ref, request_mac, state, profile, created_at, updated_by)
             values ('{account}', 'a', zeroblob(32), 'active', zeroblob(1), 0, 'test');
             insert into wallets (id, account_id, purpose, currency, balance_minor, held_minor, version)
             values ('{}', '{account}', 'own', 'EUR', 100, 0, 0);",
            wallet()
        ))
        .unwrap();
    connection
}

fn charge(sequence: u64) -> Row {
    let number = u8::try_from(sequence).unwrap();
    let merchant = MerchantId::new(start(), id(1));
    Row {
        slot: 0,
        sequence,
        payment: PaymentId::new(start(), id(number)),
        leg: 0,
        kind: Kind::Charge,
        state: RowState::Posted,
        part: None,
        parent: None,
        debit: LedgerAccount::Wallet(wallet()),
        credit: LedgerAccount::Merchant(merchant),
        amount_minor: 10,
        currency: "EUR".parse().unwrap(),
        account: None,
        caller: Caller::Merchant(merchant),
        actor: None,
        reference: Some(format!("o{sequence}").parse().unwrap()),
        code: Some(PaymentCodeId::new(start(), id(number))),
        verification: Some(VerificationId::new(start(), id(number))),
        sensor_grade: None,
        merchant: None,
        store: None,
        terminal: None,
        created_at: start(),
        expires_at: None,
    }
}

fn chained(rows: Vec<Row>) -> Changes {
    let mut hash = CHAIN_START;
    let mut sequence = 0;
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| {
            hash = row.hash_after(&hash);
            sequence = row.sequence;
            ChainedRow { row, hash }
        })
        .collect();
    Changes { rows, slot: Some(Slot { slot: 0, epoch: 5, sequence, hash }), ..Changes::default() }
}

fn before(epoch: u64, sequence: u64) -> Slot {
    Slot { slot: 0, epoch, sequence, hash: CHAIN_START }
}

fn with_wallet(balance_minor: i64, held_minor: i64, version_before: u64) -> Changes {
    let change = WalletChange {
        wallet: wallet(),
        balance_minor,
        held_minor,
        spending: Spending::nothing(),
        version_before,
    };
    Changes { wallets: vec![change], ..chained(vec![charge(1)]) }
}

type Write = Box<dyn Fn(&Transaction<'_>) -> Result<()>>;

fn saved(before: Slot, changes: impl Fn() -> Changes + 'static) -> Write {
    Box::new(move |tx| save(tx, &before, &changes()))
}

fn two(change: impl Fn(&mut Row) + 'static) -> Write {
    saved(before(5, 0), move || {
        let mut second = charge(2);
        change(&mut second);
        chained(vec![charge(1), second])
    })
}

fn settlement(
    id_number: u8,
    after: i64,
    payable_minor: i64,
    closing_minor: i64,
    approved_by: &str,
) -> String {
    let settlement = SettlementId::new(start(), id(id_number));
    let merchant = MerchantId::new(start(), id(1));
    format!(
        "insert into settlements (id, merchant_id, currency, state, after_sequence, upto_sequence, opening_minor,
             goods_minor, tips_minor, deposits_minor, refunds_minor, reversals_minor, undone_minor, adjustments_minor,
             fees_minor, payouts_minor, closing_minor, frozen_minor, payable_minor, closed_at, closed_by, approved_by,
             updated_by)
         values ('{settlement}', '{merchant}', 'EUR', 'closed', {after}, 9, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0,
             {closing_minor}, 0, {payable_minor}, 0, 'key_a', '{approved_by}', 'test')"
    )
}

fn settled(statements: &'static [(u8, i64, i64, i64, &'static str)]) -> Write {
    Box::new(move |tx| {
        let merchant = MerchantId::new(start(), id(1));
        tx.execute(
            "insert into merchants (id, request_ref, name, created_at) values (?1, 'm', 'm', 0)",
            params![merchant.to_string()],
        )?;
        for (number, after, payable, closing, approved_by) in statements {
            tx.execute(&settlement(*number, *after, *payable, *closing, approved_by), params![])?;
        }
        Ok(())
    })
}

fn run(without: Option<(&str, &str)>, write: &Write) -> Result<()> {
    let mut connection = database(without);
    let tx = Transaction::from(connection.transaction().unwrap());
    write(&tx)?;
    tx.commit()
}

/// Name of the guard, what to cut out of the schema, what to put there, and the write that it must refuse.
fn guards() -> Vec<(&'static str, (&'static str, &'static str), Write)> {
    vec![
        (
            "no wallet is overdrawn",
            (
                "check (balance_minor >= 0),\n    held_minor integer not null check (held_minor >= 0 and held_minor <= balance_minor)",
                ",\n    held_minor integer not null",
            ),
            saved(before(5, 0), || with_wallet(-1, 0, 0)),
        ),
        (
            "no more is held than is there",
            ("check (held_minor >= 0 and held_minor <= balance_minor)", "check (held_minor >= 0)"),
            saved(before(5, 0), || with_wallet(90, 91, 0)),
        ),
        (
            "a verification, and with it a code, pays once",
            ("verification_id text unique", "verification_id text"),
            two(|row| row.verification = charge(1).verification),
        ),
        (
            "a reference stands once, so a hold ends once and a tombstone keeps the charge out",
            ("    unique (caller, kind, reference),\n", ""),
            two(|row| row.reference = charge(1).reference),
        ),
        (
            "a payment has each leg once",
            ("    unique (payment_id, leg),\n", ""),
            two(|row| row.payment = charge(1).payment),
        ),
        (
            "debit and credit differ",
            ("    check (debit <> credit),\n", ""),
            two(|row| row.credit = row.debit),
        ),
        (
            "amounts are not negative",
            (
                "amount_minor integer not null check (amount_minor >= 0),\n    created_at",
                "amount_minor integer not null,\n    created_at",
            ),
            two(|row| row.amount_minor = -1),
        ),
        (
            "leg 0 carries a reference",
            (",\n    check ((leg = 0) = (reference is not null))", ""),
            two(|row| row.reference = None),
        ),
        (
            "a place in the stream is taken once",
            ("primary key (slot, sequence),\n    unique (payment_id", "unique (payment_id"),
            two(|row| row.sequence = 1),
        ),
        (
            "whoever closed a settlement does not approve it",
            ("approved_by text check (approved_by <> closed_by)", "approved_by text"),
            settled(&[(1, 0, 5, 5, "key_a")]),
        ),
        (
            "a period is settled once",
            ("unique (merchant_id, after_sequence),", ""),
            settled(&[(1, 0, 5, 5, "key_b"), (2, 0, 5, 5, "key_b")]),
        ),
        (
            "a statement adds up",
            ("    check (closing_minor = opening_minor", "    check (1 = 1 or closing_minor = opening_minor"),
            settled(&[(1, 0, 5, 6, "key_b")]),
        ),
    ]
}

#[test]
fn every_guard_refuses_and_its_absence_would_be_noticed() {
    for (name, cut, write) in guards() {
        assert!(run(None, &write).is_err(), "refused with the guard: {name}");
        if let Err(error) = run(Some(cut), &write) {
            panic!(
                "without the guard `{name}` the write should go through, so that this test can fail: {error}"
            );
        }
    }
}

#[test]
fn a_stale_writer_writes_nothing() {
    for (stale, slot) in [("epoch", before(4, 0)), ("sequence", before(5, 1))] {
        let mut connection = database(None);
        let tx = Transaction::from(connection.transaction().unwrap());
        assert!(save(&tx, &slot, &chained(vec![charge(1)])).is_err(), "stale {stale}");
        drop(tx);
    }
    // Even if nobody looked at the affected rows: a row is selected out of the slot that the update moved.
    let mut connection = database(None);
    let tx = Transaction::from(connection.transaction().unwrap());
    let changes = chained(vec![charge(1)]);
    assert!(crate::payment::save::insert_row(&tx, &changes.rows[0], 4).is_err());
    assert!(crate::payment::save::insert_row(&tx, &changes.rows[0], 5).is_err(), "beyond the head");
    let count: i64 = tx.query_row("select count(*) from payments", params![], |found| found.get(0)).unwrap();
    assert_eq!(count, 0);
}

#[test]
fn a_wallet_that_somebody_else_changed_is_not_overwritten() {
    assert!(run(None, &saved(before(5, 0), || with_wallet(90, 0, 1))).is_err());
    assert!(run(None, &saved(before(5, 0), || with_wallet(90, 0, 0))).is_ok());
}

#[test]
fn what_is_not_open_cannot_be_closed() {
    let closed = || Changes { closed: vec![charge(9).payment], ..chained(vec![charge(1)]) };
    assert!(run(None, &saved(before(5, 0), closed)).is_err());
    let opened = || {
        let row = Row { state: RowState::Pending, ..charge(1) };
        Changes { opened: vec![row.payment], closed: vec![row.payment], ..chained(vec![row]) }
    };
    assert!(run(None, &saved(before(5, 0), opened)).is_ok());
}
