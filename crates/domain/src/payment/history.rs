//! What became of a payment: its own rows and those that continue or undo it, and what follows from them.

use crate::id::{AccountId, WalletId};
use crate::ledger::{Kind, LedgerAccount, Part, Row, RowState};
use crate::money::Amount;
use crate::payment::answer::{Leg, Payment, Status};
use crate::payment::receipt::ReceiptNumber;

/// A payment's own rows and all later rows that name it as their parent, in order of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    root: Vec<Row>,
    later: Vec<Row>,
}

impl History {
    /// Of a payment's own rows, leg 0 first, and the rows whose parent it is. `None` without a leg 0.
    pub fn new(root: Vec<Row>, later: Vec<Row>) -> Option<Self> {
        root.first().filter(|row| row.leg == 0)?;
        Some(Self { root, later })
    }

    /// Leg 0.
    pub fn head(&self) -> &Row {
        &self.root[0]
    }

    /// Adds a row that was decided in the same batch.
    pub(crate) fn push(&mut self, row: Row) {
        if row.payment == self.head().payment { self.root.push(row) } else { self.later.push(row) }
    }

    /// The order was reversed before it was seen: nothing was ever paid.
    pub fn is_tombstone(&self) -> bool {
        self.head().kind == Kind::Charge && self.head().state == RowState::Voided
    }

    /// Leg 0 of the later row of a kind.
    pub fn first(&self, kind: Kind) -> Option<&Row> {
        self.later.iter().find(|row| row.kind == kind && row.leg == 0)
    }

    /// Where the payment stands.
    pub fn status(&self) -> Status {
        if self.is_tombstone() || self.first(Kind::Reversal).is_some() {
            return Status::Reversed;
        }
        let state = self.first(Kind::Closing).map_or(self.head().state, |closing| closing.state);
        match state {
            RowState::Posted => Status::Succeeded,
            RowState::Pending => Status::Pending,
            RowState::ActionRequired => Status::RequiresAction,
            RowState::Voided => Status::Canceled,
            RowState::Expired => Status::Expired,
        }
    }

    /// Whether money is held or something waits for a decision.
    pub fn is_open(&self) -> bool {
        self.head().state.is_open() && self.first(Kind::Closing).is_none()
    }

    /// An undo that waits for its decision.
    pub fn frozen(&self) -> Option<&Row> {
        let undo = self.first(Kind::Undo).filter(|undo| undo.state == RowState::Pending)?;
        let decided = self.first(Kind::UndoDecision).is_some() || self.status() == Status::Reversed;
        (!decided).then_some(undo)
    }

    /// The payment's own legs, whatever their state.
    pub fn legs(&self) -> impl Iterator<Item = Leg> + '_ {
        self.root.iter().filter_map(leg_of_payment)
    }

    /// Legs by which the merchant was paid.
    pub fn paid_legs(&self) -> Vec<Leg> {
        let closing = self.later.iter().filter(|row| row.kind == Kind::Closing);
        let rows = self.root.iter().chain(closing).filter(|row| row.state == RowState::Posted);
        rows.filter(|row| matches!(row.kind, Kind::Charge | Kind::Closing))
            .filter_map(leg_of_payment)
            .collect()
    }

    fn returned_rows(&self) -> impl Iterator<Item = &Row> {
        self.later.iter().filter(|row| {
            row.state == RowState::Posted
                && matches!(row.kind, Kind::Refund | Kind::Reversal | Kind::Undo | Kind::UndoDecision)
        })
    }

    /// Minor units that went back.
    pub fn returned_minor(&self) -> i64 {
        self.returned_rows().map(|row| row.amount_minor).sum()
    }

    /// What is left of each leg after everything that went back, in the order of the legs.
    pub fn remaining_legs(&self) -> Vec<Leg> {
        let mut legs = self.paid_legs();
        for row in self.returned_rows() {
            let same = |leg: &&mut Leg| Some(leg.wallet) == row.credit.wallet() && Some(leg.part) == row.part;
            if let Some(leg) = legs.iter_mut().find(same) {
                leg.amount_minor -= row.amount_minor;
            }
        }
        legs
    }

    /// The payer, if there is one.
    pub fn account(&self) -> Option<AccountId> {
        self.head().account
    }

    /// The payment as answers show it; `None` for a tombstone or a movement of nothing.
    pub fn payment(&self) -> Option<Payment> {
        let head = self.head();
        let total = self.root.iter().map(|row| row.amount_minor).sum();
        let paid_minor = match head.kind {
            Kind::Charge => self.paid_legs().iter().map(|leg| leg.amount_minor).sum(),
            _ if self.status() == Status::Succeeded => total,
            _ => 0,
        };
        Some(Payment {
            payment: head.payment,
            kind: head.kind,
            status: self.status(),
            amount: Amount::new(total, head.currency).ok()?,
            reference: head.reference.clone()?,
            parent: head.parent,
            account: head.account,
            merchant: head.merchant,
            store: head.store,
            terminal: head.terminal,
            created_at: head.created_at,
            expires_at: head.expires_at.filter(|_| self.is_open()),
            paid_minor,
            returned_minor: self.returned_minor(),
            frozen_minor: self.frozen().map_or(0, |undo| undo.amount_minor),
            legs: self.legs().collect(),
            receipt: ReceiptNumber::new(head.slot, head.sequence),
        })
    }
}

/// The wallet's side of a row.
fn wallet_of(row: &Row) -> Option<WalletId> {
    row.debit.wallet().or(row.credit.wallet())
}

fn leg_of_payment(row: &Row) -> Option<Leg> {
    let from_wallet = matches!(row.debit, LedgerAccount::Wallet(_));
    let part = row.part.or((!from_wallet).then_some(Part::Goods))?;
    Some(Leg { part, wallet: wallet_of(row)?, amount_minor: row.amount_minor })
}
