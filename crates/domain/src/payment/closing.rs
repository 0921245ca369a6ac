//! What is open ends, once: capture, void, confirmation, cancel or expiry.

use crate::account::AccountState;
use crate::id::PaymentId;
use crate::ledger::{Kind, LedgerAccount, Row, RowState};
use crate::payment::answer::{DeclineCode, Leg, Refusal, Status};
use crate::payment::history::History;
use crate::payment::request::{Close, Ending, Party, Proof};
use crate::payment::{Batch, Decided};

impl Batch {
    pub(super) fn close(&mut self, close: &Close) -> Decided {
        let merchant = if let Party::Merchant(merchant) = close.by { Some(merchant) } else { None };
        let found = self.target(&close.target, merchant).filter(|found| found.head().kind == Kind::Charge);
        let found = found.filter(|found| match close.by {
            Party::Terminal(terminal) => found.head().terminal == Some(terminal),
            Party::Merchant(_) | Party::Clock => true,
        });
        let found = found.ok_or(Refusal::PaymentNotFound)?.clone();
        let payment = found.head().payment;
        if !found.is_open() {
            return if closed_like_this(&found, close.ending) {
                self.done(payment, true)
            } else {
                Err(Self::in_state(&found))
            };
        }
        let is_hold = found.head().state == RowState::Pending;
        let fits = match (close.ending, close.by) {
            (Ending::Capture(_) | Ending::Void, Party::Merchant(_)) => is_hold,
            (Ending::Confirm(_), Party::Terminal(_)) => !is_hold,
            (Ending::Cancel, Party::Terminal(_) | Party::Merchant(_)) => !is_hold,
            (Ending::Expire, Party::Clock) => true,
            _ => false,
        };
        let over = found.head().expires_at.is_some_and(|end| end <= self.now);
        if !fits || (close.ending == Ending::Expire && !over) {
            return Err(Self::in_state(&found));
        }
        let held_minor: i64 = found.legs().map(|leg| leg.amount_minor).sum();
        let state = match close.ending {
            Ending::Capture(_) | Ending::Confirm(_) if over => return Err(Refusal::PaymentExpired),
            Ending::Capture(Some(amount)) if amount.currency() != found.head().currency => {
                return Err(Refusal::CurrencyMismatch);
            }
            Ending::Capture(Some(amount)) if amount.minor() > held_minor => {
                return Err(Refusal::CaptureAboveHold(held_minor));
            }
            Ending::Confirm(proof) => {
                self.check_confirmation(&found, proof)?;
                RowState::Posted
            }
            Ending::Capture(_) => RowState::Posted,
            Ending::Void | Ending::Cancel => RowState::Voided,
            Ending::Expire => RowState::Expired,
        };
        let moved_minor = match close.ending {
            Ending::Capture(Some(amount)) => amount.minor(),
            _ if state == RowState::Posted => held_minor,
            _ => 0,
        };
        self.release(&found, close.payment, state, moved_minor);
        self.done(payment, false)
    }

    fn check_confirmation(&self, found: &History, proof: Proof) -> Result<(), Refusal> {
        let verification = found.head().verification;
        let is_lookalike = verification.is_some_and(|paid_by| self.state.lookalikes.contains(&paid_by));
        if proof == Proof::Gesture && (is_lookalike || !self.state.terms.gesture_confirms) {
            return Err(Refusal::PinRequired);
        }
        let frozen = found.legs().any(|leg| {
            let wallet = self.state.wallets.get(&leg.wallet);
            wallet.is_none_or(|wallet| wallet.account_state != AccountState::Active)
        });
        if frozen { Err(Refusal::Declined(DeclineCode::AccountFrozen)) } else { Ok(()) }
    }

    /// Closes an open charge: `moved_minor` goes to the merchant, in the order of the legs, and what is left of what
    /// was held is free again. `state` names the end; with `Posted` the rest becomes voided legs of the closing.
    pub(super) fn release(
        &mut self,
        found: &History,
        closing: PaymentId,
        state: RowState,
        moved_minor: i64,
    ) -> PaymentId {
        let mut left_minor = moved_minor;
        let (mut moved, mut released) = (Vec::new(), Vec::new());
        for leg in found.legs() {
            let part_minor = leg.amount_minor.min(left_minor);
            left_minor -= part_minor;
            let wallet = self.wallet_mut(leg.wallet);
            wallet.held_minor -= leg.amount_minor;
            wallet.balance_minor -= part_minor;
            moved.push((Leg { amount_minor: part_minor, ..leg }, RowState::Posted));
            let end = if state == RowState::Posted { RowState::Voided } else { state };
            released.push((Leg { amount_minor: leg.amount_minor - part_minor, ..leg }, end));
        }
        let head = found.head();
        let legs = moved.into_iter().chain(released).filter(|(leg, _)| leg.amount_minor > 0);
        let row = |(leg, state): (Leg, RowState)| Row {
            part: Some(leg.part),
            debit: LedgerAccount::Wallet(leg.wallet),
            credit: head.merchant.map_or(LedgerAccount::Cash, LedgerAccount::Merchant),
            amount_minor: leg.amount_minor,
            ..self.row_after(head, closing, Kind::Closing, state)
        };
        let rows = legs.map(row).collect();
        self.closed.push(head.payment);
        self.post(rows)
    }
}

/// Whether the payment ended in the way that is asked for again.
fn closed_like_this(found: &History, ending: Ending) -> bool {
    let held = found.head().state == RowState::Pending;
    let paid_minor: i64 = found.paid_legs().iter().map(|leg| leg.amount_minor).sum();
    match (ending, found.status()) {
        (Ending::Capture(None), Status::Succeeded) => {
            held && paid_minor == found.legs().map(|leg| leg.amount_minor).sum::<i64>()
        }
        (Ending::Capture(Some(amount)), Status::Succeeded) => held && paid_minor == amount.minor(),
        (Ending::Confirm(_), Status::Succeeded) => found.head().state == RowState::ActionRequired,
        (Ending::Void, Status::Canceled) => held,
        (Ending::Cancel, Status::Canceled) => !held,
        (Ending::Expire, Status::Expired) => true,
        _ => false,
    }
}
