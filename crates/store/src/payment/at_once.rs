//! Loading and saving a batch in one round trip each, for PostgreSQL: statements over arrays, sent together.
//!
//! The rules are where they are for SQLite: in `domain`. What is read here is what [`load`](super::load) would ask for one
//! by one; what is written is what [`save`](super::save) writes, with the guards inside the statements, so that the
//! commit can be sent along. Requests about earlier payments still read those one by one.
//!
//! What is looked up for each element of an array stands in a subquery that can yield one row only (a scalar one, or
//! `limit 1`). A join says the same, but PostgreSQL plans it once, on what the tables hold then: on a new site it walked
//! through all payments for every batch, to find the few that were asked for.

use std::collections::{HashMap, HashSet};

use selfsame_domain::id::{AccountId, MerchantId, PaymentId};
use selfsame_domain::limit::Limits;
use selfsame_domain::money::Currency;
use selfsame_domain::payment::{
    Changes, Code, CodeMac, IdempotencyKey, MerchantTerms, Request, Slot, Target, Terms, Wallet,
};
use selfsame_domain::reference::Reference;
use selfsame_domain::time::Timestamp;
use selfsame_domain::timing::Timings;

use crate::account::{WALLET_COLUMNS, read_wallet};
use crate::attempt::{Attempt, CLEAR_ATTEMPTS, CLEARED_MAX, KEPT_MS};
use crate::database::postgres::{self, Step};
use crate::database::{self, Result, Transaction, Value};
use crate::limit::{LIMIT_COLUMNS, Layer, read_limits, read_rules, read_site_limits};
use crate::payment::load::{CODE_COLUMNS, IS_LOOKALIKE, read_code, read_merchant_terms};
use crate::payment::save::{save_closed, save_opened};
use crate::row;
use crate::slot::{Held, read_slot};

/// The payers behind the batch's codes, given as pairs, and those that it names.
const ACCOUNTS: &str = "array(
         select (
             select account_id
             from payment_codes
             where payment_codes.merchant_id = asked.merchant_id and payment_codes.mac = asked.mac
         )
         from unnest(?1::text[], ?2::bytea[]) as asked (merchant_id, mac)
     ) || ?3::text[]";

/// What was read of a batch.
pub(super) struct Known {
    pub(super) slot: Slot,
    pub(super) currency: Currency,
    pub(super) terms: Terms,
    pub(super) wallets: HashMap<AccountId, Vec<Wallet>>,
    pub(super) codes: HashMap<(MerchantId, CodeMac), (Code, bool)>,
    pub(super) references: HashMap<IdempotencyKey, PaymentId>,
    pub(super) merchants: HashMap<MerchantId, MerchantTerms>,
    pub(super) with_pin: HashSet<AccountId>,
    limits: HashMap<(String, String), Limits>,
}

impl Known {
    /// One layer of a payer's limits.
    pub(super) fn limits(&self, layer: Layer) -> Limits {
        let (layer, subject) = layer.key();
        self.limits.get(&(layer.to_owned(), subject)).cloned().unwrap_or_default()
    }
}

/// What a batch asks for, as arrays.
#[derive(Default)]
struct Asked {
    code_merchants: Vec<Option<String>>,
    code_macs: Vec<Option<Vec<u8>>>,
    accounts: Vec<Option<String>>,
    callers: Vec<Option<String>>,
    kinds: Vec<Option<String>>,
    references: Vec<Option<String>>,
    merchants: Vec<Option<String>>,
    /// Earlier payments that are continued, however they are named.
    targets: Vec<Option<String>>,
    target_callers: Vec<Option<String>>,
    target_orders: Vec<Option<String>>,
    receipt_slots: Vec<Option<i64>>,
    receipt_sequences: Vec<Option<i64>>,
}

impl Asked {
    fn of(requests: &[Request]) -> Self {
        let mut asked = Self::default();
        let mut merchants = HashSet::new();
        for request in requests {
            if let Request::Charge(charge) = request {
                asked.code_merchants.push(Some(charge.merchant.to_string()));
                asked.code_macs.push(Some(charge.code.0.to_vec()));
            }
            asked.accounts.extend(request.account().map(|account| Some(account.to_string())));
            asked.add_key(request.idempotency_key());
            match (request.target(), request.merchant()) {
                (Some(Target::Order(order_ref)), Some(merchant)) => {
                    let key = IdempotencyKey::order(merchant, order_ref);
                    asked.target_callers.push(Some(key.caller.to_string()));
                    asked.target_orders.push(Some(key.reference.as_str().to_owned()));
                    asked.add_key(Some(key));
                }
                (Some(Target::Payment(payment)), _) => asked.targets.push(Some(payment.to_string())),
                (Some(Target::Receipt(receipt)), _) => {
                    asked.receipt_slots.push(Some(receipt.slot().into()));
                    asked.receipt_sequences.push(Some(row::stored(receipt.sequence())));
                }
                _ => {}
            }
            if let Some(merchant) = request.merchant().filter(|merchant| merchants.insert(*merchant)) {
                asked.merchants.push(Some(merchant.to_string()));
            }
        }
        asked
    }

    /// Whether any of it continues an earlier payment.
    fn continues(&self) -> bool {
        !(self.targets.is_empty() && self.target_orders.is_empty() && self.receipt_slots.is_empty())
    }

    fn add_key(&mut self, key: Option<IdempotencyKey>) {
        let Some(key) = key else { return };
        self.callers.push(Some(key.caller.to_string()));
        self.kinds.push(Some(key.kind.as_str().to_owned()));
        self.references.push(Some(key.reference.as_str().to_owned()));
    }
}

/// The wallets of earlier payments that the batch continues.
const TARGETS: &str = "array(
         select unnest(array[debit, credit])
         from payments
         where payment_id = any (
             ?4::text[]
             || array(
                 select (
                     select payment_id
                     from payments
                     where payments.caller = asked.caller and payments.kind = 'charge' and payments.reference = asked.reference
                 )
                 from unnest(?5::text[], ?6::text[]) as asked (caller, reference)
             )
             || array(
                 select (
                     select payment_id
                     from payments
                     where payments.slot = asked.slot and payments.sequence = asked.sequence
                 )
                 from unnest(?7::bigint[], ?8::bigint[]) as asked (slot, sequence)
             )
         )
     )";

/// Reads what the batch asks for. Payers' wallets are locked first, in order of their ids, and what else is read is
/// read after that: of two batches with one payer, the second sees what the first one wrote. Whoever ends a verification
/// locks its payer's wallets before that, too, so that verifications need no lock here.
pub(super) fn read(tx: &postgres::Transaction<'_>, held: Held, requests: &[Request]) -> Result<Known> {
    let asked = Asked::of(requests);
    let payers = || {
        vec![
            Value::Texts(&asked.code_merchants),
            Value::ByteStrings(&asked.code_macs),
            Value::Texts(&asked.accounts),
        ]
    };
    // Most batches continue nothing, and find the wallets to lock by their payers alone.
    let is_wanted = if asked.continues() {
        format!(
            "wallets.id = any (
             array(select payers.id from wallets as payers where payers.account_id = any ({ACCOUNTS})) || {TARGETS}
         )"
        )
    } else {
        format!("wallets.account_id = any ({ACCOUNTS})")
    };
    let wallets = format!(
        "select {WALLET_COLUMNS}, (select count(*) from pins where pins.account_id = wallets.account_id) > 0
         from wallets
         cross join lateral (select state from accounts where accounts.id = wallets.account_id limit 1) as accounts
         where {is_wanted}
         order by wallets.id
         for update of wallets"
    );
    let codes = format!(
        "select {CODE_COLUMNS}, {IS_LOOKALIKE}, payment_codes.merchant_id, payment_codes.mac
         from unnest(?1::text[], ?2::bytea[]) as asked (merchant_id, mac)
         cross join lateral (
             select *
             from payment_codes
             where payment_codes.merchant_id = asked.merchant_id and payment_codes.mac = asked.mac
             limit 1
         ) as payment_codes
         cross join lateral (
             select *
             from verifications
             where verifications.id = payment_codes.verification_id
             limit 1
         ) as verifications"
    );
    // Payers are looked for where any payer has limits of their own.
    let limits = format!(
        "select layer, subject, {LIMIT_COLUMNS}
         from limits
         where layer in ('site', 'grade')
         union all
         select layer, subject, {LIMIT_COLUMNS}
         from limits
         where layer in ('account', 'guardian') and subject = any ({ACCOUNTS})
             and exists (select 1 from limits where layer in ('account', 'guardian'))"
    );
    let mut wanted = payers();
    if asked.continues() {
        wanted.extend([
            Value::Texts(&asked.targets),
            Value::Texts(&asked.target_callers),
            Value::Texts(&asked.target_orders),
            Value::Integers(&asked.receipt_slots),
            Value::Integers(&asked.receipt_sequences),
        ]);
    }
    let steps: [Step<'_>; 6] = [
        (
            "select slot, epoch, sequence, hash, coalesce(utc_offset_minutes, 0), coalesce(gesture_confirms, 0), currency
             from slots
             cross join site
             left join rules on rules.id = site.id
             where slot = ?1 and site.id = 1",
            vec![Value::Integer(held.slot.into())],
        ),
        (&wallets, wanted),
        (&codes, vec![Value::Texts(&asked.code_merchants), Value::ByteStrings(&asked.code_macs)]),
        (
            "select asked.caller, asked.kind, asked.reference, payments.payment_id
             from unnest(?1::text[], ?2::text[], ?3::text[]) as asked (caller, kind, reference)
             cross join lateral (
                 select payment_id
                 from payments
                 where payments.caller = asked.caller and payments.kind = asked.kind
                     and payments.reference = asked.reference
                 limit 1
             ) as payments",
            vec![Value::Texts(&asked.callers), Value::Texts(&asked.kinds), Value::Texts(&asked.references)],
        ),
        (
            "select category, coalesce(undo_minutes, 0), coalesce(hour, 0), coalesce(tries, 0), asked.id
             from unnest(?1::text[]) as asked (id)
             left join merchant_terms on merchant_terms.merchant_id = asked.id
             left join code_guesses on code_guesses.merchant_id = asked.id",
            vec![Value::Texts(&asked.merchants)],
        ),
        (&limits, payers()),
    ];
    let [slot, wallets, codes, references, merchants, limits] = tx.pipeline(steps)?;

    let slot = database::Row::Postgres(slot.first().ok_or(database::DatabaseError::NoRow)?);
    let rules = read_rules(&slot, 4)?;
    let mut known = Known {
        slot: read_slot(&slot)?,
        currency: row::text(&slot, 6)?,
        terms: Terms {
            business_day: rules.business_day,
            gesture_confirms: rules.gesture_confirms,
            ..Terms::default()
        },
        wallets: HashMap::new(),
        codes: HashMap::new(),
        references: HashMap::new(),
        merchants: HashMap::new(),
        with_pin: HashSet::new(),
        limits: HashMap::new(),
    };
    for found in wallets.iter().map(database::Row::Postgres) {
        let wallet = read_wallet(&found)?;
        if found.get(11)? {
            known.with_pin.insert(wallet.account);
        }
        known.wallets.entry(wallet.account).or_default().push(wallet);
    }
    for found in codes.iter().map(database::Row::Postgres) {
        let (code, is_lookalike) = (read_code(&found)?, found.get(11)?);
        let key = (row::text(&found, 12)?, CodeMac(row::array(&found, 13)?));
        known.codes.insert(key, (code, is_lookalike));
    }
    for found in references.iter().map(database::Row::Postgres) {
        let (caller, kind) = (row::text(&found, 0)?, row::text(&found, 1)?);
        let key = IdempotencyKey { caller, kind, reference: row::text(&found, 2)? };
        known.references.insert(key, row::text(&found, 3)?);
    }
    for found in merchants.iter().map(database::Row::Postgres) {
        known.merchants.insert(row::text(&found, 4)?, read_merchant_terms(&found)?);
    }
    for found in limits.iter().map(database::Row::Postgres) {
        let layer: String = found.get(0)?;
        if ["account", "guardian"].contains(&layer.as_str()) {
            known.limits.insert((layer, found.get(1)?), read_limits(&found, 2)?);
        } else {
            read_site_limits(&found, &mut known.terms)?;
        }
    }
    Ok(known)
}

/// Columns of the ledger's new rows, each as an array.
#[derive(Default)]
struct Columns {
    sequences: Vec<Option<i64>>,
    legs: Vec<Option<i64>>,
    amounts: Vec<Option<i64>>,
    created: Vec<Option<i64>>,
    expire: Vec<Option<i64>>,
    hashes: Vec<Option<Vec<u8>>>,
    /// In the order of the insert.
    texts: [Vec<Option<String>>; 18],
}

impl Columns {
    fn of(changes: &Changes) -> Self {
        let mut columns = Self::default();
        for chained in &changes.rows {
            let row = &chained.row;
            columns.sequences.push(Some(row::stored(row.sequence)));
            columns.legs.push(Some(row.leg.into()));
            columns.amounts.push(Some(row.amount_minor));
            columns.created.push(Some(row.created_at.as_millis()));
            columns.expire.push(row.expires_at.map(Timestamp::as_millis));
            columns.hashes.push(Some(chained.hash.to_vec()));
            let texts = [
                Some(row.payment.to_string()),
                Some(row.kind.as_str().to_owned()),
                Some(row.state.as_str().to_owned()),
                row.part.map(|part| part.as_str().to_owned()),
                row.parent.map(|id| id.to_string()),
                Some(row.debit.to_string()),
                Some(row.credit.to_string()),
                Some(row.currency.code().to_owned()),
                row.account.map(|id| id.to_string()),
                Some(row.caller.to_string()),
                row.actor.map(|id| id.to_string()),
                row.reference.as_ref().map(|reference: &Reference| reference.as_str().to_owned()),
                row.code.map(|id| id.to_string()),
                row.verification.map(|id| id.to_string()),
                row.sensor_grade.map(|grade| grade.as_str().to_owned()),
                row.merchant.map(|id| id.to_string()),
                row.store.map(|id| id.to_string()),
                row.terminal.map(|id| id.to_string()),
            ];
            for (column, text) in columns.texts.iter_mut().zip(texts) {
                column.push(text);
            }
        }
        columns
    }

    fn insert(&self, slot: u32) -> Step<'_> {
        let mut values = vec![
            Value::Integer(slot.into()),
            Value::Integers(&self.sequences),
            Value::Integers(&self.legs),
            Value::Integers(&self.amounts),
            Value::Integers(&self.created),
            Value::Integers(&self.expire),
            Value::ByteStrings(&self.hashes),
        ];
        values.extend(self.texts.iter().map(|texts| Value::Texts(texts)));
        let sql = "insert into payments (slot, sequence, leg, amount_minor, created_at, expires_at, hash, payment_id, kind,
                 state, part, parent_id, debit, credit, currency, account_id, caller, actor_id, reference, code_id,
                 verification_id, sensor_grade, merchant_id, store_id, terminal_id)
             select ?1::bigint, asked.*
             from unnest(?2::bigint[], ?3::bigint[], ?4::bigint[], ?5::bigint[], ?6::bigint[], ?7::bytea[], ?8::text[],
                 ?9::text[], ?10::text[], ?11::text[], ?12::text[], ?13::text[], ?14::text[], ?15::text[], ?16::text[],
                 ?17::text[], ?18::text[], ?19::text[], ?20::text[], ?21::text[], ?22::text[], ?23::text[], ?24::text[],
                 ?25::text[]) as asked";
        (sql, values)
    }
}

/// Writes a batch and commits it. A slot or wallet that is not as it was gets a null where none may be, which fails the
/// statement and with it the commit.
pub(super) fn save(
    postgres: &postgres::Transaction<'_>,
    tx: &Transaction<'_>,
    before: &Slot,
    changes: &Changes,
    attempts: &[Attempt],
    timings: &[(PaymentId, Timings)],
) -> Result<()> {
    // Few payments open or end something, one by one.
    save_opened(tx, changes)?;
    save_closed(tx, changes)?;
    let columns = Columns::of(changes);
    let mut steps: Vec<Step<'_>> = Vec::new();
    if let Some(after) = &changes.slot {
        steps.push((
            "update slots
             set sequence = case when epoch = ?2 and sequence = ?3 then cast(?4 as integer) end, hash = ?5
             where slot = ?1",
            vec![
                Value::Integer(after.slot.into()),
                Value::Integer(row::stored(before.epoch)),
                Value::Integer(row::stored(before.sequence)),
                Value::Integer(row::stored(after.sequence)),
                Value::Bytes(&after.hash),
            ],
        ));
        steps.push(columns.insert(after.slot));
    }
    let wallets: Vec<_> = changes.wallets.iter().map(|change| Some(change.wallet.to_string())).collect();
    let balances: Vec<_> = changes.wallets.iter().map(|change| Some(change.balance_minor)).collect();
    let held: Vec<_> = changes.wallets.iter().map(|change| Some(change.held_minor)).collect();
    let versions: Vec<_> =
        changes.wallets.iter().map(|change| Some(row::stored(change.version_before))).collect();
    let spending = || changes.wallets.iter().map(|change| change.spending);
    let since: Vec<_> = spending().map(|spending| spending.since.map(Timestamp::as_millis)).collect();
    let spent: Vec<_> = spending().map(|spending| Some(spending.minor)).collect();
    let counts: Vec<_> = spending().map(|spending| Some(spending.count)).collect();
    if !wallets.is_empty() {
        steps.push((
            "update wallets
             set balance_minor = changed.balance_minor, held_minor = changed.held_minor,
                 spent_since = changed.spent_since, spent_minor = changed.spent_minor,
                 spent_count = changed.spent_count,
                 version = case when wallets.version = changed.version then wallets.version + 1 end
             from unnest(?1::text[], ?2::bigint[], ?3::bigint[], ?4::bigint[], ?5::bigint[], ?6::bigint[], ?7::bigint[])
                 as changed (id, balance_minor, held_minor, version, spent_since, spent_minor, spent_count)
             where wallets.id = changed.id",
            vec![
                Value::Texts(&wallets),
                Value::Integers(&balances),
                Value::Integers(&held),
                Value::Integers(&versions),
                Value::Integers(&since),
                Value::Integers(&spent),
                Value::Integers(&counts),
            ],
        ));
    }
    let merchants: Vec<_> = changes.guesses.iter().map(|(merchant, _)| Some(merchant.to_string())).collect();
    let hours: Vec<_> = changes.guesses.iter().map(|(_, guesses)| Some(guesses.hour)).collect();
    let tries: Vec<_> = changes.guesses.iter().map(|(_, guesses)| Some(guesses.count.into())).collect();
    if !merchants.is_empty() {
        steps.push((
            "insert into code_guesses (merchant_id, hour, tries)
             select *
             from unnest(?1::text[], ?2::bigint[], ?3::bigint[])
             on conflict (merchant_id) do update
             set hour = excluded.hour,
                 tries = case when code_guesses.hour = excluded.hour then code_guesses.tries else 0 end + excluded.tries",
            vec![Value::Texts(&merchants), Value::Integers(&hours), Value::Integers(&tries)],
        ));
    }
    let attempts = AttemptColumns::of(attempts);
    steps.extend(attempts.steps());
    let payments: Vec<_> = timings.iter().map(|(payment, _)| Some(payment.to_string())).collect();
    let timings: Vec<_> = timings.iter().map(|(_, timings)| Some(row::json(timings))).collect();
    if !payments.is_empty() {
        steps.push((
            "insert into payment_timings (payment_id, timings)
             select *
             from unnest(?1::text[], ?2::text[])
             on conflict (payment_id) do nothing",
            vec![Value::Texts(&payments), Value::Texts(&timings)],
        ));
    }
    postgres.pipeline_and_commit(&steps)
}

/// Refused attempts, each column as an array.
#[derive(Default)]
struct AttemptColumns {
    times: Vec<Option<i64>>,
    /// In the order of the insert.
    texts: [Vec<Option<String>>; 6],
}

impl AttemptColumns {
    fn of(attempts: &[Attempt]) -> Self {
        let mut columns = Self::default();
        for attempt in attempts {
            columns.times.push(Some(attempt.at.as_millis()));
            let texts = [
                Some(attempt.id.to_string()),
                Some(attempt.operation.to_owned()),
                Some(attempt.reason.clone()),
                attempt.terminal.map(|id| id.to_string()),
                attempt.merchant.map(|id| id.to_string()),
                attempt.account.map(|id| id.to_string()),
            ];
            for (column, text) in columns.texts.iter_mut().zip(texts) {
                column.push(text);
            }
        }
        columns
    }

    fn steps(&self) -> Vec<Step<'_>> {
        let Some(newest) = self.times.iter().flatten().max() else { return Vec::new() };
        let mut values = vec![Value::Integers(&self.times)];
        values.extend(self.texts.iter().map(|texts| Value::Texts(texts)));
        vec![
            (
                "insert into attempts (at, id, operation, reason, terminal_id, merchant_id, account_id)
                 select *
                 from unnest(?1::bigint[], ?2::text[], ?3::text[], ?4::text[], ?5::text[], ?6::text[], ?7::text[])",
                values,
            ),
            (CLEAR_ATTEMPTS, vec![Value::Integer(newest - KEPT_MS), Value::Integer(CLEARED_MAX)]),
        ]
    }
}
