//! The operator pays money into a wallet, and out of it again.

use crate::id::{AccountId, KeyId, PaymentId};
use crate::ledger::{Caller, Kind, LedgerAccount, Row, RowState};
use crate::money::Amount;
use crate::payment::answer::{Answer, DeclineCode, Refusal};
use crate::payment::request::{IdempotencyKey, Purpose, TopUp, Withdraw};
use crate::payment::{Batch, Decided};
use crate::reference::Reference;

/// Largest balance of a wallet, minor units: far above any wallet, and a thousandth of what 64 bits hold.
pub(super) const BALANCE_MINOR_MAX: i64 = 9_000_000_000_000_000;

impl Batch {
    pub(super) fn top_up(&mut self, top_up: &TopUp) -> Decided {
        if let Some(earlier) = self.operator_replay(
            Kind::TopUp,
            &top_up.top_up_ref,
            top_up.amount,
            top_up.account,
            Some(top_up.purpose),
        ) {
            return earlier;
        }
        let wallet = self.wallet(top_up.account, top_up.amount.currency(), top_up.purpose);
        let wallet = *wallet.map_err(|_| Refusal::AccountNotFound)?;
        if wallet.balance_minor + top_up.amount.minor() > BALANCE_MINOR_MAX {
            return Err(Refusal::BalanceOutOfRange);
        }
        self.wallet_mut(wallet.wallet).balance_minor += top_up.amount.minor();
        let source = match top_up.purpose {
            Purpose::Own => LedgerAccount::Cash,
            Purpose::Subsidy => LedgerAccount::Subsidies,
        };
        let row = Row {
            debit: source,
            credit: LedgerAccount::Wallet(wallet.wallet),
            ..self.operator_row(
                (top_up.payment, Kind::TopUp, RowState::Posted),
                &top_up.top_up_ref,
                top_up.amount,
                Some(top_up.account),
                top_up.actor,
            )
        };
        let payment = self.post(vec![row]);
        self.done(payment, false)
    }

    pub(super) fn withdraw(&mut self, withdraw: &Withdraw) -> Decided {
        let (reference, amount, account) = (&withdraw.withdrawal_ref, withdraw.amount, withdraw.account);
        if let Some(earlier) = self.operator_replay(Kind::Withdrawal, reference, amount, account, None) {
            return earlier;
        }
        let wallet = self.wallet(account, amount.currency(), Purpose::Own);
        let wallet = *wallet.map_err(|_| Refusal::AccountNotFound)?;
        if amount.minor() > wallet.available_minor() {
            return Err(Refusal::Declined(DeclineCode::InsufficientFunds));
        }
        self.wallet_mut(wallet.wallet).balance_minor -= amount.minor();
        let row = Row {
            debit: LedgerAccount::Wallet(wallet.wallet),
            credit: LedgerAccount::Cash,
            ..self.operator_row(
                (withdraw.payment, Kind::Withdrawal, RowState::Posted),
                reference,
                amount,
                Some(account),
                withdraw.actor,
            )
        };
        let payment = self.post(vec![row]);
        self.done(payment, false)
    }

    /// The operator's reference was used before: the same movement again, or a conflict.
    fn operator_replay(
        &self,
        kind: Kind,
        reference: &Reference,
        amount: Amount,
        account: AccountId,
        purpose: Option<Purpose>,
    ) -> Option<Decided> {
        let key = IdempotencyKey { caller: Caller::Operator, kind, reference: reference.clone() };
        let earlier = self.by_reference(&key)?;
        let source = match purpose {
            Some(Purpose::Subsidy) => Some(LedgerAccount::Subsidies),
            Some(Purpose::Own) => Some(LedgerAccount::Cash),
            None => None,
        };
        let payment = earlier.payment()?;
        let same = payment.amount == amount
            && payment.account == Some(account)
            && source.is_none_or(|source| earlier.head().debit == source);
        Some(if same {
            Ok(Answer::Done { payment, replayed: true })
        } else {
            Err(Refusal::ReferenceConflict(Box::new(payment)))
        })
    }

    /// A row of the operator's own.
    pub(super) fn operator_row(
        &self,
        (payment, kind, state): (PaymentId, Kind, RowState),
        reference: &Reference,
        amount: Amount,
        account: Option<AccountId>,
        actor: Option<KeyId>,
    ) -> Row {
        Row {
            amount_minor: amount.minor(),
            account,
            actor,
            reference: Some(reference.clone()),
            ..self.row(payment, kind, state, Caller::Operator, amount.currency())
        }
    }
}
