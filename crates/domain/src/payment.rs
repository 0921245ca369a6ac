//! Step 5 of the method, decided: a batch of money movements against what the store loaded for it.
//!
//! [`decide`] walks the requests in order; each sees the effect of those before it, so two charges of one code, one
//! wallet or one reference in the same batch fall out of the walk. A refusal touches nothing else in the batch.

use std::collections::HashMap;
use std::fmt;

use crate::account::AccountState;
use crate::id::{
    AccountId, MerchantId, PaymentCodeId, PaymentId, StoreId, TerminalId, VerificationId, WalletId,
};
use crate::ledger::{Caller, ChainedRow, Kind, LedgerAccount, Row, RowHash, RowState};
use crate::money::{Amount, Currency};
use crate::reference::Reference;
use crate::sensor::SensorGrade;
use crate::text::text_enum;
use crate::time::Timestamp;

/// Most requests that one transaction decides. Keeps a commit under a megabyte and its lock time short.
pub const BATCH_REQUESTS_MAX: usize = 500;

/// Keyed hash of the 18 digits; the store knows codes by nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodeMac(pub [u8; 32]);

impl fmt::Debug for CodeMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeMac(***)")
    }
}

/// A merchant charges a code with an amount.
#[derive(Clone, Debug)]
pub struct Charge {
    /// Id of the payment if it succeeds, made by the server.
    pub payment: PaymentId,
    /// Who charges.
    pub merchant: MerchantId,
    /// The merchant's own reference of the order: the idempotency key.
    pub order_ref: Reference,
    /// How much.
    pub amount: Amount,
    /// Which code.
    pub code: CodeMac,
}

/// The operator pays money into a wallet.
#[derive(Clone, Debug)]
pub struct TopUp {
    /// Id of the movement if it succeeds, made by the server.
    pub payment: PaymentId,
    /// Whose wallet.
    pub account: AccountId,
    /// The operator's own reference: the idempotency key.
    pub top_up_ref: Reference,
    /// How much.
    pub amount: Amount,
}

/// One request of a batch.
#[derive(Clone, Debug)]
pub enum Request {
    /// A merchant charges a code.
    Charge(Charge),
    /// Money is paid into a wallet.
    TopUp(TopUp),
}

/// What makes a request unique for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// Whose reference it is.
    pub caller: Caller,
    /// What was asked for.
    pub kind: Kind,
    /// The caller's own reference.
    pub reference: Reference,
}

impl Request {
    /// The idempotency key.
    pub fn idempotency_key(&self) -> IdempotencyKey {
        match self {
            Request::Charge(charge) => IdempotencyKey {
                caller: Caller::Merchant(charge.merchant),
                kind: Kind::Charge,
                reference: charge.order_ref.clone(),
            },
            Request::TopUp(top_up) => IdempotencyKey {
                caller: Caller::Operator,
                kind: Kind::TopUp,
                reference: top_up.top_up_ref.clone(),
            },
        }
    }

    /// How much.
    pub fn amount(&self) -> Amount {
        match self {
            Request::Charge(charge) => charge.amount,
            Request::TopUp(top_up) => top_up.amount,
        }
    }

    /// Whether it asks for what `earlier`, made under the same key, did. Who pays a charge is no content: the code of
    /// an order may be scanned again, and be another one then. Whose wallet is topped up is.
    fn has_content_of(&self, earlier: &Payment) -> bool {
        let same_account = match self {
            Request::Charge(_) => true,
            Request::TopUp(top_up) => earlier.account == Some(top_up.account),
        };
        same_account && earlier.amount == self.amount()
    }
}

/// A wallet as loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wallet {
    /// The wallet.
    pub wallet: WalletId,
    /// Whose it is.
    pub account: AccountId,
    /// Whether the account may pay.
    pub account_state: AccountState,
    /// Its currency.
    pub currency: Currency,
    /// Money in it, minor units, never negative.
    pub balance_minor: i64,
    /// The part of it that holds have claimed.
    pub held_minor: i64,
    /// Raised by every change; the write is guarded by it.
    pub version: u64,
}

impl Wallet {
    /// What may be spent.
    pub fn available_minor(&self) -> i64 {
        self.balance_minor.saturating_sub(self.held_minor)
    }
}

/// A code as loaded: everything it was bound to at issue, and whether it is still good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// The code.
    pub code: PaymentCodeId,
    /// The verification behind it.
    pub verification: VerificationId,
    /// How that verification's sample was taken.
    pub sensor_grade: SensorGrade,
    /// Whose money it opens.
    pub account: AccountId,
    /// Which merchant may charge it.
    pub merchant: MerchantId,
    /// The store of the terminal that asked for it.
    pub store: StoreId,
    /// The terminal that asked for it.
    pub terminal: TerminalId,
    /// The currency it may be charged in.
    pub currency: Currency,
    /// The most it may be charged with, minor units.
    pub amount_minor_max: i64,
    /// The server's time from which it is dead.
    pub expires_at: Timestamp,
    /// A later code of the same verification replaced it, or the till cancelled.
    pub revoked: bool,
    /// The verification has paid already, with this code or another one.
    pub consumed: bool,
}

/// The stream slot that this server writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Number of the slot.
    pub slot: u32,
    /// Raised at every take-over, so that a stale writer is refused.
    pub epoch: u64,
    /// Sequence of the last row; 0 before the first.
    pub sequence: u64,
    /// Hash of the last row.
    pub hash: RowHash,
}

/// A payment as answers show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The payment.
    pub payment: PaymentId,
    /// What it did.
    pub kind: Kind,
    /// How far it counts.
    pub state: RowState,
    /// Sum over its legs, minor units.
    pub amount: Amount,
    /// The caller's own reference.
    pub reference: Reference,
    /// The payer's account.
    pub account: Option<AccountId>,
    /// The merchant that was paid.
    pub merchant: Option<MerchantId>,
    /// The terminal that issued the code.
    pub terminal: Option<TerminalId>,
    /// When the server decided.
    pub created_at: Timestamp,
}

/// What the store loaded for a batch. Missing entries mean: does not exist.
#[derive(Clone, Debug)]
pub struct State {
    /// The slot to write.
    pub slot: Slot,
    /// Payments that already carry a reference of the batch.
    pub payments: HashMap<IdempotencyKey, Payment>,
    /// The batch's codes.
    pub codes: HashMap<CodeMac, Code>,
    /// The wallets behind those codes and top-ups, by account and currency.
    pub wallets: HashMap<(AccountId, Currency), Wallet>,
}

text_enum! {
    /// Why a payer's money was not moved although everything else was right.
    DeclineCode {
        /// The operator froze the account.
        AccountFrozen = "account_frozen",
        /// Above the most that this code may be charged with.
        LimitExceededSingle = "limit_exceeded_single",
        /// Not enough money in the wallet.
        InsufficientFunds = "insufficient_funds",
    }
}

/// Why a request was refused. The order of the variants is the order of the checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The reference was used before with another amount or currency, or for another wallet; here is what it was
    /// used for.
    ReferenceConflict(Box<Payment>),
    /// No such account, or it has no wallet in this currency (top-up).
    AccountNotFound,
    /// No such code for this merchant. Codes of other merchants answer like this in every state.
    CodeNotFound,
    /// The code, or another one of the same verification, has paid another order.
    CodeAlreadyUsed,
    /// A later code replaced this one, or the till cancelled.
    CodeRevoked,
    /// Too late.
    CodeExpired,
    /// The code is for another currency.
    CurrencyMismatch,
    /// The code is good and stays good; the money could not be moved.
    Declined(DeclineCode),
}

impl Refusal {
    /// The reason as recorded; declines by their own code.
    pub fn as_str(&self) -> &'static str {
        match self {
            Refusal::ReferenceConflict(_) => "reference_conflict",
            Refusal::AccountNotFound => "account_not_found",
            Refusal::CodeNotFound => "code_not_found",
            Refusal::CodeAlreadyUsed => "code_already_used",
            Refusal::CodeRevoked => "code_revoked",
            Refusal::CodeExpired => "code_expired",
            Refusal::CurrencyMismatch => "currency_mismatch",
            Refusal::Declined(decline) => decline.as_str(),
        }
    }
}

/// The answer to one request, in the order of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The money moved, now or when this reference was first seen.
    Done {
        /// The payment.
        payment: Payment,
        /// This reference had been answered before.
        replayed: bool,
    },
    /// Nothing moved.
    Refused(Refusal),
}

/// What the store must write, all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New ledger rows, in order of sequence.
    pub rows: Vec<ChainedRow>,
    /// New balances, each guarded by the version that was loaded (the stored version must be one less per change).
    pub wallets: Vec<WalletChange>,
    /// The slot after the last row; `None` if there are no rows.
    pub slot: Option<Slot>,
}

/// A wallet's new balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletChange {
    /// The wallet.
    pub wallet: WalletId,
    /// New balance, minor units.
    pub balance_minor: i64,
    /// New held part, minor units.
    pub held_minor: i64,
    /// The version that was loaded: the write must find it.
    pub version_before: u64,
}

/// Decides a batch. Pure: the same state, requests and time give the same answers and changes.
pub fn decide(state: State, requests: &[Request], now: Timestamp) -> (Vec<Answer>, Changes) {
    assert!(requests.len() <= BATCH_REQUESTS_MAX, "the queue limits batches");
    let mut batch = Batch { loaded: state.wallets.clone(), slot: state.slot, state, rows: Vec::new(), now };
    let answers = requests.iter().map(|request| batch.answer(request)).collect();
    (answers, batch.changes())
}

struct Batch {
    state: State,
    loaded: HashMap<(AccountId, Currency), Wallet>,
    slot: Slot,
    rows: Vec<ChainedRow>,
    now: Timestamp,
}

impl Batch {
    fn answer(&mut self, request: &Request) -> Answer {
        let key = request.idempotency_key();
        if let Some(earlier) = self.state.payments.get(&key) {
            return if request.has_content_of(earlier) {
                Answer::Done { payment: earlier.clone(), replayed: true }
            } else {
                Answer::Refused(Refusal::ReferenceConflict(Box::new(earlier.clone())))
            };
        }
        let decided = match request {
            Request::Charge(charge) => self.charge(charge),
            Request::TopUp(top_up) => self.top_up(top_up),
        };
        match decided {
            Ok(payment) => {
                self.state.payments.insert(key, payment.clone());
                Answer::Done { payment, replayed: false }
            }
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    fn charge(&mut self, charge: &Charge) -> Result<Payment, Refusal> {
        let code = self.state.codes.get(&charge.code).filter(|code| code.merchant == charge.merchant);
        let code = code.cloned().ok_or(Refusal::CodeNotFound)?;
        if code.consumed {
            return Err(Refusal::CodeAlreadyUsed);
        }
        if code.revoked {
            return Err(Refusal::CodeRevoked);
        }
        if code.expires_at <= self.now {
            return Err(Refusal::CodeExpired);
        }
        let currency = charge.amount.currency();
        if code.currency != currency {
            return Err(Refusal::CurrencyMismatch);
        }
        let declined = |code| Err(Refusal::Declined(code));
        // An account without a wallet has no money: the same answer as an empty one.
        let Some(wallet) = self.state.wallets.get_mut(&(code.account, currency)) else {
            return declined(DeclineCode::InsufficientFunds);
        };
        if wallet.account_state != AccountState::Active {
            return declined(DeclineCode::AccountFrozen);
        }
        if charge.amount.minor() > code.amount_minor_max {
            return declined(DeclineCode::LimitExceededSingle);
        }
        if charge.amount.minor() > wallet.available_minor() {
            return declined(DeclineCode::InsufficientFunds);
        }
        wallet.balance_minor -= charge.amount.minor();
        let debit = LedgerAccount::Wallet(wallet.wallet);
        // One payment per verification: every code of it is spent now, in this batch too.
        for other in self.state.codes.values_mut().filter(|other| other.verification == code.verification) {
            other.consumed = true;
        }
        Ok(self.post(
            Row {
                slot: self.slot.slot,
                sequence: 0,
                payment: charge.payment,
                leg: 0,
                kind: Kind::Charge,
                state: RowState::Posted,
                parent: None,
                debit,
                credit: LedgerAccount::Merchant(charge.merchant),
                amount_minor: charge.amount.minor(),
                currency,
                account: Some(code.account),
                caller: Caller::Merchant(charge.merchant),
                reference: Some(charge.order_ref.clone()),
                code: Some(code.code),
                verification: Some(code.verification),
                sensor_grade: Some(code.sensor_grade),
                merchant: Some(charge.merchant),
                store: Some(code.store),
                terminal: Some(code.terminal),
                created_at: self.now,
            },
            charge.amount,
            charge.order_ref.clone(),
        ))
    }

    fn top_up(&mut self, top_up: &TopUp) -> Result<Payment, Refusal> {
        let currency = top_up.amount.currency();
        let wallet =
            self.state.wallets.get_mut(&(top_up.account, currency)).ok_or(Refusal::AccountNotFound)?;
        // Balances stay far from the edge of 64 bits: 9.2 * 10^18 is nine million times the largest movement.
        wallet.balance_minor = wallet.balance_minor.saturating_add(top_up.amount.minor());
        let credit = LedgerAccount::Wallet(wallet.wallet);
        Ok(self.post(
            Row {
                slot: self.slot.slot,
                sequence: 0,
                payment: top_up.payment,
                leg: 0,
                kind: Kind::TopUp,
                state: RowState::Posted,
                parent: None,
                debit: LedgerAccount::Cash,
                credit,
                amount_minor: top_up.amount.minor(),
                currency,
                account: Some(top_up.account),
                caller: Caller::Operator,
                reference: Some(top_up.top_up_ref.clone()),
                code: None,
                verification: None,
                sensor_grade: None,
                merchant: None,
                store: None,
                terminal: None,
                created_at: self.now,
            },
            top_up.amount,
            top_up.top_up_ref.clone(),
        ))
    }

    /// Gives the row its place in the stream.
    fn post(&mut self, mut row: Row, amount: Amount, reference: Reference) -> Payment {
        self.slot.sequence += 1;
        row.sequence = self.slot.sequence;
        self.slot.hash = row.hash_after(&self.slot.hash);
        let payment = Payment {
            payment: row.payment,
            kind: row.kind,
            state: row.state,
            amount,
            reference,
            account: row.account,
            merchant: row.merchant,
            terminal: row.terminal,
            created_at: row.created_at,
        };
        self.rows.push(ChainedRow { row, hash: self.slot.hash });
        payment
    }

    fn changes(self) -> Changes {
        let changed = |(key, wallet): (&(AccountId, Currency), &Wallet)| {
            let before = self.loaded.get(key).filter(|before| *before != wallet)?;
            Some(WalletChange {
                wallet: wallet.wallet,
                balance_minor: wallet.balance_minor,
                held_minor: wallet.held_minor,
                version_before: before.version,
            })
        };
        let mut wallets: Vec<_> = self.state.wallets.iter().filter_map(changed).collect();
        // In order of key, so that stores with row locks take them in one order.
        wallets.sort_by_key(|change| change.wallet);
        let slot = (!self.rows.is_empty()).then_some(self.slot);
        Changes { rows: self.rows, wallets, slot }
    }
}

#[cfg(test)]
mod tests;
