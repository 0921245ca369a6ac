//! The operator's corrections: one person proposes, another approves, then the money moves.

use crate::ledger::{Caller, Kind, LedgerAccount, Row, RowState};
use crate::payment::answer::{Answer, DeclineCode, Refusal};
use crate::payment::history::History;
use crate::payment::request::{Adjust, Adjusted, DecideAdjustment, IdempotencyKey, Purpose, Target};
use crate::payment::top_up::BALANCE_MINOR_MAX;
use crate::payment::{Batch, Decided};

impl Batch {
    pub(super) fn adjust(&mut self, adjust: &Adjust) -> Decided {
        let key = IdempotencyKey {
            caller: Caller::Operator,
            kind: Kind::Adjustment,
            reference: adjust.adjustment_ref.clone(),
        };
        let subject = match adjust.adjusted {
            Adjusted::Merchant(merchant) => Ok(LedgerAccount::Merchant(merchant)),
            Adjusted::Account(account) => self
                .wallet(account, adjust.amount.currency(), Purpose::Own)
                .map(|wallet| LedgerAccount::Wallet(wallet.wallet)),
        };
        let sides = subject.map(|subject| match adjust.raise {
            true => (LedgerAccount::Adjustments, subject),
            false => (subject, LedgerAccount::Adjustments),
        });
        if let Some(earlier) = self.by_reference(&key) {
            let Some(payment) = earlier.payment() else { return Err(Refusal::PaymentNotFound) };
            let head = earlier.head();
            let same = payment.amount == adjust.amount
                && sides.is_ok_and(|sides| sides == (head.debit, head.credit));
            return if same {
                Ok(Answer::Done { payment, replayed: true })
            } else {
                Err(Refusal::ReferenceConflict(Box::new(payment)))
            };
        }
        let (debit, credit) = sides.map_err(|_| Refusal::AccountNotFound)?;
        let (account, merchant) = match adjust.adjusted {
            Adjusted::Account(account) => (Some(account), None),
            Adjusted::Merchant(merchant) => (None, Some(merchant)),
        };
        let row = Row {
            debit,
            credit,
            merchant,
            ..self.operator_row(
                (adjust.payment, Kind::Adjustment, RowState::Pending),
                &adjust.adjustment_ref,
                adjust.amount,
                account,
                Some(adjust.actor),
            )
        };
        let payment = self.post(vec![row]);
        self.opened.push(payment);
        self.done(payment, false)
    }

    pub(super) fn decide_adjustment(&mut self, decision: &DecideAdjustment) -> Decided {
        let found = self.target(&Target::Payment(decision.adjustment), None);
        let found = found.filter(|found| found.head().kind == Kind::Adjustment);
        let found = found.ok_or(Refusal::PaymentNotFound)?.clone();
        let head = found.head();
        if let Some(closing) = found.first(Kind::Closing) {
            let same = (closing.state == RowState::Posted) == decision.approved;
            return if same { self.done(head.payment, true) } else { Err(Self::in_state(&found)) };
        }
        // Whoever proposed may take it back, but not approve it.
        if decision.approved && head.actor == Some(decision.actor) {
            return Err(Refusal::SamePerson);
        }
        if decision.approved {
            self.move_adjustment(&found)?;
        }
        let state = if decision.approved { RowState::Posted } else { RowState::Voided };
        let row = Row {
            debit: head.debit,
            credit: head.credit,
            amount_minor: head.amount_minor,
            actor: Some(decision.actor),
            ..self.row_after(head, decision.payment, Kind::Closing, state)
        };
        self.post(vec![row]);
        self.closed.push(head.payment);
        self.done(head.payment, false)
    }

    fn move_adjustment(&mut self, found: &History) -> Result<(), Refusal> {
        let amount_minor = found.head().amount_minor;
        if let Some(wallet) = found.head().debit.wallet() {
            let wallet = self.wallet_mut(wallet);
            if amount_minor > wallet.available_minor() {
                return Err(Refusal::Declined(DeclineCode::InsufficientFunds));
            }
            wallet.balance_minor -= amount_minor;
        }
        if let Some(wallet) = found.head().credit.wallet() {
            let wallet = self.wallet_mut(wallet);
            if wallet.balance_minor + amount_minor > BALANCE_MINOR_MAX {
                return Err(Refusal::BalanceOutOfRange);
            }
            wallet.balance_minor += amount_minor;
        }
        Ok(())
    }
}
