//! Everything that the decision needs to know for a batch, read inside its transaction.

use rusqlite::{OptionalExtension, Transaction, params};
use selfsame_domain::id::{AccountId, MerchantId, PaymentId, VerificationId, WalletId};
use selfsame_domain::ledger::{ChainedRow, Row};
use selfsame_domain::limit::Spending;
use selfsame_domain::payment::{
    Close, Code, CodeMac, Ending, Guesses, History, IdempotencyKey, MerchantTerms, Payer, ReceiptNumber,
    Request, State, Target, Wallet,
};
use selfsame_domain::time::Timestamp;

use crate::account::{WALLET_COLUMNS, read_wallet};
use crate::error::Result;
use crate::ledger::rows;
use crate::limit::{Layer, load_limits, load_terms};
use crate::row;
use crate::site::load_currency;
use crate::slot::load_slot;

/// Whether the payer of `verifications` looks much like somebody else in what was compared. Of a PIN nothing was.
pub(crate) const IS_LOOKALIKE: &str = "exists (
        select 1
        from lookalikes
        where lookalikes.account_id = verifications.account_id and lookalikes.modality = verifications.modality
            and verifications.sensor_grade <> 'pin'
    )";

/// A code, and whether its payer is a lookalike.
fn load_code(tx: &Transaction<'_>, merchant: MerchantId, mac: CodeMac) -> Result<Option<(Code, bool)>> {
    let sql = format!(
        "select payment_codes.id, payment_codes.verification_id, verifications.sensor_grade,
             payment_codes.account_id, payment_codes.store_id, payment_codes.terminal_id, payment_codes.currency,
             payment_codes.amount_minor_max, payment_codes.expires_at,
             verifications.code_id is distinct from payment_codes.id,
             exists (select 1 from payments where payments.verification_id = payment_codes.verification_id),
             {IS_LOOKALIKE}
         from payment_codes
         join verifications on verifications.id = payment_codes.verification_id
         where payment_codes.merchant_id = ?1 and payment_codes.mac = ?2",
    );
    tx.prepare_cached(&sql)?
        .query_row(params![merchant.to_string(), mac.0], |found| {
            let code = Code {
                code: row::text(found, 0)?,
                verification: row::text(found, 1)?,
                sensor_grade: row::text(found, 2)?,
                account: row::text(found, 3)?,
                store: row::text(found, 4)?,
                terminal: row::text(found, 5)?,
                currency: row::text(found, 6)?,
                amount_minor_max: found.get(7)?,
                expires_at: row::timestamp(found, 8)?,
                revoked: found.get(9)?,
                consumed: found.get(10)?,
            };
            Ok((code, found.get(11)?))
        })
        .optional()
}

/// Notes whether the payer of an open payment is a lookalike.
fn load_lookalike(tx: &Transaction<'_>, verification: VerificationId, state: &mut State) -> Result<()> {
    let sql = format!("select {IS_LOOKALIKE} from verifications where id = ?1");
    let found = tx.prepare_cached(&sql)?.query_row(params![verification.to_string()], |found| found.get(0));
    if found.optional()?.unwrap_or(false) {
        state.lookalikes.insert(verification);
    }
    Ok(())
}

fn load_wallets_of(tx: &Transaction<'_>, account: AccountId, state: &mut State) -> Result<()> {
    let sql = format!(
        "select {WALLET_COLUMNS}
         from wallets
         join accounts on accounts.id = wallets.account_id
         where wallets.account_id = ?1"
    );
    let mut statement = tx.prepare_cached(&sql)?;
    for wallet in statement.query_map(params![account.to_string()], read_wallet)? {
        let wallet: Wallet = wallet?;
        state.wallets.insert(wallet.wallet, wallet);
    }
    Ok(())
}

fn load_wallet(tx: &Transaction<'_>, wallet: WalletId, state: &mut State) -> Result<()> {
    if state.wallets.contains_key(&wallet) {
        return Ok(());
    }
    let sql = format!(
        "select {WALLET_COLUMNS}
         from wallets
         join accounts on accounts.id = wallets.account_id
         where wallets.id = ?1"
    );
    let found = tx.prepare_cached(&sql)?.query_row(params![wallet.to_string()], read_wallet).optional()?;
    state.wallets.extend(found.map(|found| (wallet, found)));
    Ok(())
}

pub(crate) fn find_by_key(tx: &Transaction<'_>, key: &IdempotencyKey) -> Result<Option<PaymentId>> {
    tx.prepare_cached("select payment_id from payments where caller = ?1 and kind = ?2 and reference = ?3")?
        .query_row(params![key.caller.to_string(), key.kind.as_str(), key.reference.as_str()], |found| {
            row::text(found, 0)
        })
        .optional()
}

pub(crate) fn find_by_receipt(tx: &Transaction<'_>, receipt: ReceiptNumber) -> Result<Option<PaymentId>> {
    tx.prepare_cached("select payment_id from payments where slot = ?1 and sequence = ?2 and leg = 0")?
        .query_row(params![receipt.slot(), row::stored(receipt.sequence())], |found| row::text(found, 0))
        .optional()
}

fn unchained(rows: Vec<ChainedRow>) -> Vec<Row> {
    rows.into_iter().map(|chained| chained.row).collect()
}

/// A payment's own rows and those that continue it.
pub(crate) fn find_history(tx: &Transaction<'_>, payment: PaymentId) -> Result<Option<History>> {
    let id = payment.to_string();
    let root = unchained(rows(tx, "payment_id = ?1", params![id])?);
    if root.is_empty() {
        return Ok(None);
    }
    let later = unchained(rows(tx, "parent_id = ?1", params![id])?);
    Ok(History::new(root, later))
}

fn load_history(tx: &Transaction<'_>, payment: PaymentId, state: &mut State) -> Result<()> {
    if state.histories.contains_key(&payment) {
        return Ok(());
    }
    let Some(history) = find_history(tx, payment)? else { return Ok(()) };
    for side in [history.head().debit, history.head().credit] {
        if let Some(wallet) = side.wallet() {
            load_wallet(tx, wallet, state)?;
        }
    }
    for leg in history.legs() {
        load_wallet(tx, leg.wallet, state)?;
    }
    if let Some(merchant) = history.head().merchant {
        load_merchant(tx, merchant, state)?;
    }
    state.histories.insert(payment, history);
    Ok(())
}

fn load_merchant(tx: &Transaction<'_>, merchant: MerchantId, state: &mut State) -> Result<()> {
    if state.merchants.contains_key(&merchant) {
        return Ok(());
    }
    let id = merchant.to_string();
    let terms = tx
        .prepare_cached("select category, undo_minutes from merchant_terms where merchant_id = ?1")?
        .query_row(params![id], |found| Ok((row::optional_text(found, 0)?, row::integer(found, 1)?)))
        .optional()?;
    let guesses = tx
        .prepare_cached("select hour, tries from code_guesses where merchant_id = ?1")?
        .query_row(params![id], |found| Ok(Guesses { hour: found.get(0)?, count: row::integer(found, 1)? }))
        .optional()?;
    let (category, undo_minutes) = terms.unwrap_or_default();
    let guesses = guesses.unwrap_or_default();
    state.merchants.insert(merchant, MerchantTerms { category, undo_minutes, guesses });
    Ok(())
}

/// A payer with limits. The rows of the day, and whether a PIN is set, are read only where a limit or a charge of the
/// batch asks for them.
fn load_payer(
    tx: &Transaction<'_>,
    code: &Code,
    state: &mut State,
    asks_payer: bool,
    now: Timestamp,
) -> Result<()> {
    let is_lookalike = state.lookalikes.contains(&code.verification);
    // Somebody may pay twice in a batch, and look like somebody else in one of the two only.
    if state.payers.contains_key(&code.account) && !is_lookalike {
        return Ok(());
    }
    let id = code.account.to_string();
    let limits = load_limits(tx, Layer::Account(code.account))?;
    let guardian = load_limits(tx, Layer::Guardian(code.account))?;
    let mut payer = Payer { limits, guardian, ..Payer::default() };
    let terms = &state.terms;
    let layers = [&terms.site, &payer.limits, &payer.guardian].into_iter().chain(terms.by_grade.values());
    let (mut needs_spending, mut needs_pin) = (false, asks_payer || is_lookalike);
    for limits in layers {
        needs_spending |= limits.needs_spending();
        needs_pin |= limits.step_up_above_minor.is_some();
    }
    if needs_pin {
        payer.has_pin = tx
            .prepare_cached("select exists (select 1 from pins where account_id = ?1)")?
            .query_row(params![id], |found| found.get(0))?;
    }
    if needs_spending {
        let start = terms.business_day.start(now).as_millis();
        let today = unchained(rows(tx, "account_id = ?1 and created_at >= ?2", params![id, start])?);
        payer.spending = Spending::of(&today);
    }
    state.payers.insert(code.account, payer);
    Ok(())
}

/// Everything that the decision needs to know for these requests.
pub(crate) fn load(tx: &Transaction<'_>, requests: &[Request], now: Timestamp) -> Result<State> {
    let mut state = State::new(load_slot(tx)?, load_currency(tx)?);
    state.terms = load_terms(tx)?;
    let asks_payer =
        requests.iter().any(|request| matches!(request, Request::Charge(charge) if charge.ask_payer));
    for request in requests {
        if let Some(key) = request.idempotency_key()
            && let Some(payment) = find_by_key(tx, &key)?
        {
            load_history(tx, payment, &mut state)?;
            state.references.insert(key, payment);
        }
        load_target(tx, request, &mut state)?;
        if let Some(merchant) = request.merchant() {
            load_merchant(tx, merchant, &mut state)?;
        }
        if let Some(account) = request.account() {
            load_wallets_of(tx, account, &mut state)?;
        }
        if let Request::Charge(charge) = request
            && let Some((code, is_lookalike)) = load_code(tx, charge.merchant, charge.code)?
        {
            if is_lookalike {
                state.lookalikes.insert(code.verification);
            }
            load_wallets_of(tx, code.account, &mut state)?;
            load_payer(tx, &code, &mut state, asks_payer, now)?;
            state.codes.insert((charge.merchant, charge.code), code);
        }
    }
    Ok(state)
}

fn load_target(tx: &Transaction<'_>, request: &Request, state: &mut State) -> Result<()> {
    let payment = match (request.target(), request.merchant()) {
        (Some(Target::Payment(payment)), _) => Some(payment),
        (Some(Target::Order(order_ref)), Some(merchant)) => {
            let key = IdempotencyKey::order(merchant, order_ref);
            let payment = find_by_key(tx, &key)?;
            state.references.extend(payment.map(|payment| (key, payment)));
            payment
        }
        (Some(Target::Receipt(receipt)), _) => {
            let payment = find_by_receipt(tx, receipt)?;
            state.receipts.extend(payment.map(|payment| (receipt, payment)));
            payment
        }
        _ => None,
    };
    let Some(payment) = payment else { return Ok(()) };
    load_history(tx, payment, state)?;
    let confirmed = matches!(request, Request::Close(Close { ending: Ending::Confirm(_), .. }));
    let verification = state.histories.get(&payment).and_then(|history| history.head().verification);
    match verification.filter(|_| confirmed) {
        Some(verification) => load_lookalike(tx, verification, state),
        None => Ok(()),
    }
}
