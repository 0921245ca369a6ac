//! Step 5 of the method, decided: a batch of money movements against what the store loaded for it.
//!
//! [`decide`] walks the requests in order; each sees the effect of those before it, so two charges of one code, one
//! wallet or one reference in the same batch fall out of the walk. A refusal touches nothing else in the batch. One
//! file per operation; the order of the checks of each is the order of [`Refusal`]'s variants.
//!
//! What ends something open (capture, void, confirmation, cancel, expiry) is one kind of row, [`Kind::Closing`],
//! under the order's own reference: the ledger's unique references admit one of them, whichever comes first. In the
//! same way an unseen order is reversed by a voided charge of nothing under its reference, so that no later charge
//! can be written.

mod adjustment;
mod answer;
mod charge;
mod closing;
mod history;
mod receipt;
mod refund;
mod request;
mod reversal;
mod state;
mod top_up;
mod undo;

use std::collections::{HashMap, HashSet};

pub use answer::{Answer, Changes, DeclineCode, Leg, Payment, Refusal, Status, WalletChange};
pub use history::History;
pub use receipt::{ReceiptNumber, ReceiptNumberError};
pub use request::{
    Adjust, Adjusted, Charge, Close, CodeMac, DecideAdjustment, DecideUndo, Ending, IdempotencyKey, Parts,
    Party, Proof, Purpose, Refund, Request, Reverse, Target, TopUp, Undo, Withdraw,
};
pub use state::{
    CONFIRMATION_SECONDS, Code, GUESSES_PER_HOUR, Guesses, MerchantTerms, Origin, Payer, Slot, State, Terms,
    Wallet,
};

use crate::id::{AccountId, MerchantId, PaymentId, VerificationId, WalletId};
use crate::ledger::{Caller, ChainedRow, Kind, LedgerAccount, Row, RowState};
use crate::limit::is_spent;
use crate::money::Currency;
use crate::time::Timestamp;

/// Most requests that one transaction decides. Keeps a commit under a megabyte and its lock time short.
pub const BATCH_REQUESTS_MAX: usize = 500;

/// Decides a batch. Pure: the same state, requests and time give the same answers and changes.
pub fn decide(state: State, requests: &[Request], now: Timestamp) -> (Vec<Answer>, Changes) {
    assert!(requests.len() <= BATCH_REQUESTS_MAX, "the queue limits batches");
    let mut batch = Batch::new(state, now);
    let answers = requests.iter().map(|request| batch.answer(request)).collect();
    (answers, batch.changes())
}

/// What became of one request; `Err` is a refusal.
type Decided = Result<Answer, Refusal>;

struct Batch {
    state: State,
    loaded: HashMap<WalletId, Wallet>,
    wallets_of: HashMap<(AccountId, Currency, Purpose), WalletId>,
    consumed: HashSet<VerificationId>,
    guesses: HashMap<MerchantId, Guesses>,
    slot: Slot,
    rows: Vec<ChainedRow>,
    opened: Vec<PaymentId>,
    closed: Vec<PaymentId>,
    now: Timestamp,
}

impl Batch {
    fn new(state: State, now: Timestamp) -> Self {
        let key = |wallet: &Wallet| ((wallet.account, wallet.currency, wallet.purpose), wallet.wallet);
        Self {
            loaded: state.wallets.clone(),
            wallets_of: state.wallets.values().map(key).collect(),
            consumed: HashSet::new(),
            guesses: HashMap::new(),
            slot: state.slot,
            rows: Vec::new(),
            opened: Vec::new(),
            closed: Vec::new(),
            state,
            now,
        }
    }

    fn answer(&mut self, request: &Request) -> Answer {
        let decided = match request {
            Request::Charge(charge) => self.charge(charge),
            Request::Reverse(reverse) => self.reverse(reverse),
            Request::Refund(refund) => self.refund(refund),
            Request::Close(close) => self.close(close),
            Request::Undo(undo) => self.undo(undo),
            Request::DecideUndo(decision) => self.decide_undo(decision),
            Request::TopUp(top_up) => self.top_up(top_up),
            Request::Withdraw(withdraw) => self.withdraw(withdraw),
            Request::Adjust(adjust) => self.adjust(adjust),
            Request::DecideAdjustment(decision) => self.decide_adjustment(decision),
        };
        decided.unwrap_or_else(Answer::Refused)
    }

    /// The history behind a reference.
    fn by_reference(&self, key: &IdempotencyKey) -> Option<&History> {
        self.state.histories.get(self.state.references.get(key)?)
    }

    /// The history that a merchant, terminal or the operator means.
    fn target(&self, target: &Target, merchant: Option<MerchantId>) -> Option<&History> {
        self.state.target(target, merchant)
    }

    fn wallet(
        &self,
        account: AccountId,
        currency: Currency,
        purpose: Purpose,
    ) -> Result<&Wallet, MissingWallet> {
        let found = self.wallets_of.get(&(account, currency, purpose));
        found.and_then(|wallet| self.state.wallets.get(wallet)).ok_or(MissingWallet)
    }

    fn wallet_mut(&mut self, wallet: WalletId) -> &mut Wallet {
        self.state.wallets.get_mut(&wallet).expect("the store loads the wallets of every history")
    }

    /// A row with nothing in it but what every row has.
    fn row(
        &self,
        payment: PaymentId,
        kind: Kind,
        state: RowState,
        caller: Caller,
        currency: Currency,
    ) -> Row {
        Row {
            slot: self.slot.slot,
            sequence: 0,
            payment,
            leg: 0,
            kind,
            state,
            part: None,
            parent: None,
            debit: LedgerAccount::Cash,
            credit: LedgerAccount::Cash,
            amount_minor: 0,
            currency,
            account: None,
            caller,
            actor: None,
            reference: None,
            code: None,
            verification: None,
            sensor_grade: None,
            merchant: None,
            store: None,
            terminal: None,
            created_at: self.now,
            expires_at: None,
        }
    }

    /// A row that continues or undoes a payment, for the same payer and merchant, under the same reference.
    fn row_after(&self, head: &Row, payment: PaymentId, kind: Kind, state: RowState) -> Row {
        Row {
            parent: Some(head.payment),
            account: head.account,
            merchant: head.merchant,
            store: head.store,
            terminal: head.terminal,
            reference: head.reference.clone(),
            ..self.row(payment, kind, state, head.caller, head.currency)
        }
    }

    /// Writes the rows of one payment: legs are numbered, the reference and the single-use marks stay on leg 0, and
    /// everything gets its place in the stream.
    fn post(&mut self, legs: Vec<Row>) -> PaymentId {
        let payment = legs.first().expect("a payment has a leg").payment;
        for (leg, mut row) in legs.into_iter().enumerate() {
            row.leg = u8::try_from(leg).expect("a payment has a handful of legs");
            if leg == 0 {
                let reference = row.reference.clone().expect("leg 0 carries the reference");
                let key = IdempotencyKey { caller: row.caller, kind: row.kind, reference };
                self.state.references.insert(key, payment);
            } else {
                (row.reference, row.code, row.verification) = (None, None, None);
            }
            self.slot.sequence += 1;
            row.sequence = self.slot.sequence;
            self.slot.hash = row.hash_after(&self.slot.hash);
            if leg == 0 {
                self.state.receipts.insert(ReceiptNumber::new(row.slot, row.sequence), payment);
            }
            self.count_spending(&row);
            self.remember(&row);
            self.rows.push(ChainedRow { row, hash: self.slot.hash });
        }
        payment
    }

    /// Counts what a row spends, or gives back of what was spent today, in its wallet.
    fn count_spending(&mut self, row: &Row) {
        let today = self.state.terms.business_day.start(self.now);
        let histories = &self.state.histories;
        let was_spent_today = |parent| {
            let head = histories.get(&parent).map(History::head);
            head.is_some_and(|head| is_spent(head) && head.created_at >= today)
        };
        if let Some(wallet) = row.wallet().and_then(|wallet| self.state.wallets.get_mut(&wallet)) {
            wallet.spending.add(row, was_spent_today);
        }
    }

    fn remember(&mut self, row: &Row) {
        let histories = &mut self.state.histories;
        if let Some(parent) = row.parent.and_then(|parent| histories.get_mut(&parent)) {
            parent.push(row.clone());
        }
        match histories.get_mut(&row.payment) {
            Some(history) => history.push(row.clone()),
            None => {
                let history = History::new(vec![row.clone()], Vec::new());
                histories.extend(history.map(|history| (row.payment, history)));
            }
        }
    }

    /// The answer that shows a payment as it stands now.
    fn done(&self, payment: PaymentId, replayed: bool) -> Decided {
        let payment = self.shown(payment).expect("a payment that moves something can be shown");
        Ok(Answer::Done { payment, replayed })
    }

    fn shown(&self, payment: PaymentId) -> Option<Payment> {
        self.state.histories.get(&payment)?.payment()
    }

    /// The refusal that a payment stands in the way.
    fn in_state(found: &History) -> Refusal {
        found.payment().map_or(Refusal::OrderReversed, |payment| Refusal::InvalidState(Box::new(payment)))
    }

    fn changes(self) -> Changes {
        let changed = |(wallet, now): (&WalletId, &Wallet)| {
            let before = self.loaded.get(wallet).filter(|before| *before != now)?;
            Some(WalletChange {
                wallet: *wallet,
                balance_minor: now.balance_minor,
                held_minor: now.held_minor,
                spending: now.spending,
                version_before: before.version,
            })
        };
        let mut wallets: Vec<_> = self.state.wallets.iter().filter_map(changed).collect();
        // In order of key, so that stores with row locks take them in one order.
        wallets.sort_by_key(|change| change.wallet);
        let mut guesses: Vec<_> = self.guesses.into_iter().collect();
        guesses.sort_by_key(|(merchant, _)| *merchant);
        let slot = (!self.rows.is_empty()).then_some(self.slot);
        Changes { rows: self.rows, wallets, slot, guesses, opened: self.opened, closed: self.closed }
    }
}

/// No such wallet; each operation says what that means.
#[derive(Debug)]
struct MissingWallet;

#[cfg(test)]
mod tests;
