//! Everything that the decision needs to know for a batch, read inside its transaction.

use selfsame_domain::id::{AccountId, MerchantId, PaymentId, VerificationId, WalletId};
use selfsame_domain::ledger::{ChainedRow, LedgerAccount, Row};
use selfsame_domain::limit::{Limits, Spending};
use selfsame_domain::payment::{
    Close, Code, CodeMac, Ending, Guesses, History, IdempotencyKey, MerchantTerms, Payer, ReceiptNumber,
    Request, State, Target, Wallet,
};
use selfsame_domain::time::Timestamp;

use crate::account::{WALLET_COLUMNS, read_wallet};
use crate::database::{self, Optional, Transaction, params};
use crate::error::Result;
use crate::ledger::rows;
use crate::limit::{Layer, load_limits, load_terms};
use crate::payment::at_once::{self, Known};
use crate::row;
use crate::site::load_currency;
use crate::slot::{Held, load_slot};

/// Whether the payer of `verifications` looks much like somebody else in what was compared. Of a PIN nothing was.
///
/// Counted, here and below, because for an `exists` PostgreSQL may plan to read all of the other table first.
pub(crate) const IS_LOOKALIKE: &str = "(
        select count(*)
        from lookalikes
        where lookalikes.account_id = verifications.account_id and lookalikes.modality = verifications.modality
            and verifications.sensor_grade <> 'pin'
    ) > 0";

/// Columns that [`read_code`] reads, of `payment_codes` joined with `verifications`.
pub(crate) const CODE_COLUMNS: &str =
    "payment_codes.id, payment_codes.verification_id, verifications.sensor_grade,
     payment_codes.account_id, payment_codes.store_id, payment_codes.terminal_id, payment_codes.currency,
     payment_codes.amount_minor_max, payment_codes.expires_at,
     verifications.code_id is distinct from payment_codes.id,
     (select count(*) from payments where payments.verification_id = payment_codes.verification_id) > 0";

pub(crate) fn read_code(found: &database::Row<'_>) -> Result<Code> {
    Ok(Code {
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
    })
}

/// A code, and whether its payer is a lookalike.
fn load_code(tx: &Transaction<'_>, merchant: MerchantId, mac: CodeMac) -> Result<Option<(Code, bool)>> {
    let sql = format!(
        "select {CODE_COLUMNS}, {IS_LOOKALIKE}
         from payment_codes
         join verifications on verifications.id = payment_codes.verification_id
         where payment_codes.merchant_id = ?1 and payment_codes.mac = ?2",
    );
    tx.prepare_cached(&sql)?
        .query_row(params![merchant.to_string(), mac.0], |found| Ok((read_code(found)?, found.get(11)?)))
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

fn find_wallets_of(tx: &Transaction<'_>, account: AccountId) -> Result<Vec<Wallet>> {
    let sql = format!(
        "select {WALLET_COLUMNS}
         from wallets
         join accounts on accounts.id = wallets.account_id
         where wallets.account_id = ?1"
    );
    tx.prepare_cached(&sql)?.query_map(params![account.to_string()], read_wallet)?.collect()
}

/// Loads a wallet unless it is there. On PostgreSQL it is locked: of two servers that continue one payment, the second
/// must see what the first one wrote. Answers whether it was not there.
fn load_wallet(tx: &Transaction<'_>, wallet: WalletId, state: &mut State) -> Result<bool> {
    if state.wallets.contains_key(&wallet) {
        return Ok(false);
    }
    let lock = if tx.postgres().is_some() { "for update of wallets" } else { "" };
    let sql = format!(
        "select {WALLET_COLUMNS}
         from wallets
         join accounts on accounts.id = wallets.account_id
         where wallets.id = ?1
         {lock}"
    );
    let found = tx.prepare_cached(&sql)?.query_row(params![wallet.to_string()], read_wallet).optional()?;
    state.wallets.extend(found.map(|found| (wallet, found)));
    Ok(true)
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

/// Category, undo, hour and tries, in the first columns.
pub(crate) fn read_merchant_terms(found: &database::Row<'_>) -> Result<MerchantTerms> {
    let guesses = Guesses { hour: found.get(2)?, count: row::integer(found, 3)? };
    Ok(MerchantTerms {
        category: row::optional_text(found, 0)?,
        undo_minutes: row::integer(found, 1)?,
        guesses,
    })
}

fn find_merchant_terms(tx: &Transaction<'_>, merchant: MerchantId) -> Result<MerchantTerms> {
    let found = tx
        .prepare_cached(
            "select category, coalesce(undo_minutes, 0), coalesce(hour, 0), coalesce(tries, 0)
             from merchants
             left join merchant_terms on merchant_terms.merchant_id = merchants.id
             left join code_guesses on code_guesses.merchant_id = merchants.id
             where merchants.id = ?1",
        )?
        .query_row(params![merchant.to_string()], read_merchant_terms)
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// What the batch asks for, read at once or one by one.
struct Source<'t, 'c> {
    tx: &'t Transaction<'c>,
    known: Option<Known>,
}

impl Source<'_, '_> {
    fn payment_by_key(&self, key: &IdempotencyKey) -> Result<Option<PaymentId>> {
        match &self.known {
            Some(known) => Ok(known.references.get(key).copied()),
            None => find_by_key(self.tx, key),
        }
    }

    fn code(&self, merchant: MerchantId, mac: CodeMac) -> Result<Option<(Code, bool)>> {
        match &self.known {
            Some(known) => Ok(known.codes.get(&(merchant, mac)).cloned()),
            None => load_code(self.tx, merchant, mac),
        }
    }

    fn load_wallets_of(&self, account: AccountId, state: &mut State) -> Result<()> {
        let found = match &self.known {
            Some(known) => known.wallets.get(&account).cloned().unwrap_or_default(),
            None => find_wallets_of(self.tx, account)?,
        };
        state.wallets.extend(found.into_iter().map(|wallet| (wallet.wallet, wallet)));
        Ok(())
    }

    fn load_merchant(&self, merchant: MerchantId, state: &mut State) -> Result<()> {
        if state.merchants.contains_key(&merchant) {
            return Ok(());
        }
        let known = self.known.as_ref().and_then(|known| known.merchants.get(&merchant).cloned());
        let terms = known.map_or_else(|| find_merchant_terms(self.tx, merchant), Ok)?;
        state.merchants.insert(merchant, terms);
        Ok(())
    }

    fn limits(&self, layer: Layer) -> Result<Limits> {
        match &self.known {
            Some(known) => Ok(known.limits(layer)),
            None => load_limits(self.tx, layer),
        }
    }

    fn has_pin(&self, account: AccountId) -> Result<bool> {
        match &self.known {
            Some(known) => Ok(known.with_pin.contains(&account)),
            None => self
                .tx
                .prepare_cached("select exists (select 1 from pins where account_id = ?1)")?
                .query_row(params![account.to_string()], |found| found.get(0)),
        }
    }

    fn load_history(&self, payment: PaymentId, state: &mut State) -> Result<()> {
        if state.histories.contains_key(&payment) {
            return Ok(());
        }
        let Some(mut history) = find_history(self.tx, payment)? else { return Ok(()) };
        let sides =
            [history.head().debit, history.head().credit].into_iter().filter_map(LedgerAccount::wallet);
        let wallets: Vec<_> = sides.chain(history.legs().map(|leg| leg.wallet)).collect();
        let mut has_waited = false;
        for wallet in wallets {
            has_waited |= load_wallet(self.tx, wallet, state)?;
        }
        if has_waited && self.known.is_some() {
            // Whoever held a lock has continued the payment, perhaps; what was read before it came says nothing.
            let Some(after) = find_history(self.tx, payment)? else { return Ok(()) };
            history = after;
        }
        if let Some(merchant) = history.head().merchant {
            self.load_merchant(merchant, state)?;
        }
        state.histories.insert(payment, history);
        Ok(())
    }

    /// A payer with limits. Whether a PIN is set is read only where a limit or a charge of the batch asks for it.
    fn load_payer(&self, code: &Code, state: &mut State, asks_payer: bool) -> Result<()> {
        let is_lookalike = state.lookalikes.contains(&code.verification);
        // Somebody may pay twice in a batch, and look like somebody else in one of the two only.
        if state.payers.contains_key(&code.account) && !is_lookalike {
            return Ok(());
        }
        let limits = self.limits(Layer::Account(code.account))?;
        let guardian = self.limits(Layer::Guardian(code.account))?;
        let terms = &state.terms;
        let may_ask = |limits: &Limits| limits.step_up_above_minor.is_some();
        let asks = asks_payer
            || is_lookalike
            || [&terms.site, &limits, &guardian].into_iter().any(may_ask)
            || terms.by_grade.values().any(may_ask);
        let has_pin = asks && self.has_pin(code.account)?;
        let payer = Payer { has_pin, limits, guardian };
        state.payers.insert(code.account, payer);
        Ok(())
    }

    fn load_target(&self, request: &Request, state: &mut State) -> Result<()> {
        let payment = match (request.target(), request.merchant()) {
            (Some(Target::Payment(payment)), _) => Some(payment),
            (Some(Target::Order(order_ref)), Some(merchant)) => {
                let key = IdempotencyKey::order(merchant, order_ref);
                let payment = self.payment_by_key(&key)?;
                state.references.extend(payment.map(|payment| (key, payment)));
                payment
            }
            (Some(Target::Receipt(receipt)), _) => {
                let payment = find_by_receipt(self.tx, receipt)?;
                state.receipts.extend(payment.map(|payment| (receipt, payment)));
                payment
            }
            _ => None,
        };
        let Some(payment) = payment else { return Ok(()) };
        self.load_history(payment, state)?;
        let confirmed = matches!(request, Request::Close(Close { ending: Ending::Confirm(_), .. }));
        let verification = state.histories.get(&payment).and_then(|history| history.head().verification);
        match verification.filter(|_| confirmed) {
            Some(verification) => load_lookalike(self.tx, verification, state),
            None => Ok(()),
        }
    }
}

/// What a wallet spent on a business day, added up.
fn spending_by_rows(tx: &Transaction<'_>, wallet: &Wallet, day: Timestamp) -> Result<Spending> {
    let parameters = params![wallet.account.to_string(), day.as_millis()];
    let rows = unchained(rows(tx, "account_id = ?1 and created_at >= ?2", parameters)?);
    Ok(Spending::of(&rows, wallet.wallet, day))
}

/// Has the wallets say what was spent today; few of them cannot, and their rows are read.
fn tell_spending(tx: &Transaction<'_>, state: &mut State, now: Timestamp) -> Result<()> {
    let today = state.terms.business_day.start(now);
    for wallet in state.wallets.values_mut() {
        wallet.spending = match wallet.spending.on(today) {
            Some(told) => told,
            None => spending_by_rows(tx, wallet, today)?,
        };
    }
    Ok(())
}

/// Everything that the decision needs to know for these requests.
pub(crate) fn load(tx: &Transaction<'_>, held: Held, requests: &[Request], now: Timestamp) -> Result<State> {
    let known = tx.postgres().map(|postgres| at_once::read(postgres, held, requests)).transpose()?;
    let mut state = match &known {
        Some(known) => State { terms: known.terms.clone(), ..State::new(known.slot, known.currency) },
        None => State { terms: load_terms(tx)?, ..State::new(load_slot(tx, held.slot)?, load_currency(tx)?) },
    };
    state.wallets.extend(
        known.iter().flat_map(|known| known.wallets.values().flatten()).map(|found| (found.wallet, *found)),
    );
    let source = Source { tx, known };
    let asks_payer =
        requests.iter().any(|request| matches!(request, Request::Charge(charge) if charge.ask_payer));
    for request in requests {
        if let Some(key) = request.idempotency_key()
            && let Some(payment) = source.payment_by_key(&key)?
        {
            source.load_history(payment, &mut state)?;
            state.references.insert(key, payment);
        }
        source.load_target(request, &mut state)?;
        if let Some(merchant) = request.merchant() {
            source.load_merchant(merchant, &mut state)?;
        }
        if let Some(account) = request.account() {
            source.load_wallets_of(account, &mut state)?;
        }
        if let Request::Charge(charge) = request
            && let Some((code, is_lookalike)) = source.code(charge.merchant, charge.code)?
        {
            if is_lookalike {
                state.lookalikes.insert(code.verification);
            }
            source.load_wallets_of(code.account, &mut state)?;
            source.load_payer(&code, &mut state, asks_payer)?;
            state.codes.insert((charge.merchant, charge.code), code);
        }
    }
    tell_spending(tx, &mut state, now)?;
    Ok(state)
}
