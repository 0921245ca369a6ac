//! A merchant makes sure that an order is not paid, whatever happened to it.

use crate::ledger::{Caller, Kind, LedgerAccount, Row, RowState};
use crate::payment::answer::{Answer, Refusal, Status};
use crate::payment::history::History;
use crate::payment::request::{IdempotencyKey, Reverse};
use crate::payment::{Batch, Decided};

impl Batch {
    pub(super) fn reverse(&mut self, reverse: &Reverse) -> Decided {
        let key = IdempotencyKey::order(reverse.merchant, reverse.order_ref.clone());
        let Some(found) = self.by_reference(&key).cloned() else { return Ok(self.bury(reverse)) };
        let payment = found.head().payment;
        let returned_minor = match found.status() {
            Status::Reversed | Status::Canceled | Status::Expired => {
                return Ok(self.reversed(&found, 0, true));
            }
            Status::Pending | Status::RequiresAction => {
                self.release(&found, reverse.payment, RowState::Voided, 0);
                found.legs().map(|leg| leg.amount_minor).sum()
            }
            Status::Succeeded => {
                let day = self.state.terms.business_day;
                if day.number(found.head().created_at) != day.number(self.now) {
                    return Err(Refusal::ReversalTooLate);
                }
                self.give_back_all(&found, reverse)
            }
        };
        let found = self.state.histories.get(&payment).cloned().unwrap_or(found);
        Ok(self.reversed(&found, returned_minor, false))
    }

    fn reversed(&self, found: &History, returned_minor: i64, replayed: bool) -> Answer {
        Answer::Reversed { payment: found.payment(), returned_minor, replayed }
    }

    /// A charge of nothing takes the order's place, so that no later one can.
    fn bury(&mut self, reverse: &Reverse) -> Answer {
        let caller = Caller::Merchant(reverse.merchant);
        let tombstone = Row {
            debit: LedgerAccount::Merchant(reverse.merchant),
            credit: LedgerAccount::Cash,
            reference: Some(reverse.order_ref.clone()),
            merchant: Some(reverse.merchant),
            ..self.row(reverse.payment, Kind::Charge, RowState::Voided, caller, self.state.currency)
        };
        self.post(vec![tombstone]);
        Answer::Reversed { payment: None, returned_minor: 0, replayed: false }
    }

    /// What is left of each leg goes back to where it came from. A row of nothing says so if nothing is left.
    fn give_back_all(&mut self, found: &History, reverse: &Reverse) -> i64 {
        let legs = found.remaining_legs();
        let mut rows = self.give_back(found, reverse.payment, Kind::Reversal, &legs);
        if rows.is_empty() {
            rows.push(Row {
                debit: LedgerAccount::Merchant(reverse.merchant),
                ..self.row_after(found.head(), reverse.payment, Kind::Reversal, RowState::Posted)
            });
        }
        if let Some(undo) = found.frozen() {
            self.closed.push(undo.payment);
        }
        self.post(rows);
        legs.iter().map(|leg| leg.amount_minor).sum()
    }
}
