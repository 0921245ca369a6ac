//! A merchant gives money back, to the legs it came from, never more than was paid.

use crate::id::PaymentId;
use crate::ledger::{Caller, Kind, LedgerAccount, Part, Row, RowState};
use crate::payment::answer::{Answer, Leg, Refusal, Status};
use crate::payment::history::History;
use crate::payment::request::{IdempotencyKey, Refund};
use crate::payment::{Batch, Decided};

/// In which order parts are refunded if none is named.
const REFUND_ORDER: [Part; 3] = [Part::Goods, Part::Deposit, Part::Tip];

impl Batch {
    pub(super) fn refund(&mut self, refund: &Refund) -> Decided {
        let key = IdempotencyKey {
            caller: Caller::Merchant(refund.merchant),
            kind: Kind::Refund,
            reference: refund.refund_ref.clone(),
        };
        let found = self.target(&refund.target, Some(refund.merchant)).cloned();
        if let Some(earlier) = self.by_reference(&key) {
            let Some(payment) = earlier.payment() else { return Err(Refusal::PaymentNotFound) };
            let same = payment.amount == refund.amount
                && found.is_some_and(|found| payment.parent == Some(found.head().payment));
            return if same {
                Ok(Answer::Done { payment, replayed: true })
            } else {
                Err(Refusal::ReferenceConflict(Box::new(payment)))
            };
        }
        let found = found.ok_or(Refusal::PaymentNotFound)?;
        if found.status() == Status::Reversed {
            return Err(Refusal::OrderReversed);
        }
        if found.head().currency != refund.amount.currency() {
            return Err(Refusal::CurrencyMismatch);
        }
        if found.head().kind != Kind::Charge {
            return Err(Refusal::NotRefundable);
        }
        if found.status() != Status::Succeeded {
            return Err(Self::in_state(&found));
        }
        let legs = take(&found.remaining_legs(), refund.amount.minor(), refund.part)
            .map_err(Refusal::RefundAbovePaid)?;
        let mut rows = self.give_back(&found, refund.payment, Kind::Refund, &legs);
        rows[0].reference = Some(refund.refund_ref.clone());
        let payment = self.post(rows);
        self.done(payment, false)
    }

    /// Moves legs back into their wallets and makes the rows for it.
    pub(super) fn give_back(
        &mut self,
        found: &History,
        payment: PaymentId,
        kind: Kind,
        legs: &[Leg],
    ) -> Vec<Row> {
        let head = found.head();
        let merchant = head.merchant.map_or(LedgerAccount::Cash, LedgerAccount::Merchant);
        let mut rows = Vec::new();
        for leg in legs.iter().filter(|leg| leg.amount_minor > 0) {
            self.wallet_mut(leg.wallet).balance_minor += leg.amount_minor;
            rows.push(Row {
                part: Some(leg.part),
                debit: merchant,
                credit: LedgerAccount::Wallet(leg.wallet),
                amount_minor: leg.amount_minor,
                ..self.row_after(head, payment, kind, RowState::Posted)
            });
        }
        rows
    }
}

/// Takes an amount from what is left: the named part, or parts in [`REFUND_ORDER`]; within a part the payer's own
/// money before a subsidy, which was spent first. `Err` carries what there is.
pub(super) fn take(remaining: &[Leg], amount_minor: i64, part: Option<Part>) -> Result<Vec<Leg>, i64> {
    let named = |leg: &&Leg| part.is_none_or(|part| leg.part == part);
    let there: i64 = remaining.iter().filter(named).map(|leg| leg.amount_minor).sum();
    if amount_minor > there {
        return Err(there);
    }
    let mut left = amount_minor;
    let mut taken = Vec::new();
    for part in REFUND_ORDER {
        for leg in remaining.iter().rev().filter(named).filter(|leg| leg.part == part) {
            let amount_minor = leg.amount_minor.min(left);
            left -= amount_minor;
            if amount_minor > 0 {
                taken.push(Leg { amount_minor, ..*leg });
            }
        }
    }
    Ok(taken)
}
