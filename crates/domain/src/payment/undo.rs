//! A payer takes a payment back: at once where the merchant lets them, otherwise the amount is frozen until the
//! merchant or the operator has decided.

use std::time::Duration;

use crate::ledger::{Kind, LedgerAccount, Row, RowState};
use crate::payment::answer::{Leg, Refusal, Status};
use crate::payment::history::History;
use crate::payment::refund::take;
use crate::payment::request::{DecideUndo, Target, Undo};
use crate::payment::{Batch, Decided};

impl Batch {
    pub(super) fn undo(&mut self, undo: &Undo) -> Decided {
        let found = self.target(&Target::Payment(undo.target), None);
        let mine =
            found.filter(|found| found.account() == Some(undo.account) && found.head().kind == Kind::Charge);
        let found = mine.ok_or(Refusal::PaymentNotFound)?.clone();
        let payment = found.head().payment;
        if found.first(Kind::Undo).is_some() {
            return self.done(payment, true);
        }
        let legs = found.remaining_legs();
        let remaining_minor: i64 = legs.iter().map(|leg| leg.amount_minor).sum();
        if found.status() != Status::Succeeded || remaining_minor == 0 {
            return Err(Self::in_state(&found));
        }
        let terms = found.head().merchant.and_then(|merchant| self.state.merchants.get(&merchant));
        let minutes = terms.map_or(0, |terms| terms.undo_minutes);
        let until = found.head().created_at + Duration::from_secs(60 * u64::from(minutes));
        if minutes > 0 && self.now <= until {
            let rows = self.give_back(&found, undo.payment, Kind::Undo, &legs);
            self.post(rows);
        } else {
            let row = self.undo_row(&found, &legs, remaining_minor);
            let row = Row { payment: undo.payment, ..row };
            self.post(vec![row]);
            self.opened.push(undo.payment);
        }
        self.done(payment, false)
    }

    /// A row that names the amount and moves nothing yet.
    fn undo_row(&self, found: &History, legs: &[Leg], amount_minor: i64) -> Row {
        let head = found.head();
        let wallet = legs.iter().rev().map(|leg| leg.wallet).next();
        Row {
            debit: head.merchant.map_or(LedgerAccount::Cash, LedgerAccount::Merchant),
            credit: wallet.map_or(LedgerAccount::Adjustments, LedgerAccount::Wallet),
            amount_minor,
            ..self.row_after(head, head.payment, Kind::Undo, RowState::Pending)
        }
    }

    pub(super) fn decide_undo(&mut self, decision: &DecideUndo) -> Decided {
        let found = self.target(&Target::Payment(decision.target), decision.merchant);
        let found = found.ok_or(Refusal::PaymentNotFound)?.clone();
        let payment = found.head().payment;
        if let Some(decided) = found.first(Kind::UndoDecision) {
            let same = (decided.state == RowState::Posted) == decision.granted;
            return if same { self.done(payment, true) } else { Err(Self::in_state(&found)) };
        }
        let Some(undo) = found.frozen().cloned() else { return Err(Self::in_state(&found)) };
        // Refunds may have come in between: never more than what is left.
        let legs = found.remaining_legs();
        let remaining_minor: i64 = legs.iter().map(|leg| leg.amount_minor).sum();
        let legs = take(&legs, undo.amount_minor.min(remaining_minor), None).unwrap_or_default();
        let mut rows = if decision.granted {
            self.give_back(&found, decision.payment, Kind::UndoDecision, &legs)
        } else {
            Vec::new()
        };
        if rows.is_empty() {
            let state = if decision.granted { RowState::Posted } else { RowState::Voided };
            rows.push(Row {
                debit: undo.debit,
                credit: undo.credit,
                amount_minor: if decision.granted { 0 } else { undo.amount_minor },
                ..self.row_after(found.head(), decision.payment, Kind::UndoDecision, state)
            });
        }
        for row in &mut rows {
            row.actor = decision.actor;
        }
        self.post(rows);
        self.closed.push(undo.payment);
        self.done(payment, false)
    }
}
