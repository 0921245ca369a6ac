//! A merchant charges a code: at once, as a hold, or with a confirmation by the payer.

use std::time::Duration;

use crate::account::AccountState;
use crate::id::MerchantId;
use crate::ledger::{Caller, Kind, LedgerAccount, Part, Row, RowState};
use crate::limit::{Limits, Proposal, check};
use crate::payment::answer::{Answer, DeclineCode, Leg, Refusal, Status};
use crate::payment::history::History;
use crate::payment::request::{Charge, IdempotencyKey, Parts, Purpose};
use crate::payment::state::{CONFIRMATION_SECONDS, Code, GUESSES_PER_HOUR, Guesses, Payer};
use crate::payment::{Batch, Decided, Wallet};

/// Milliseconds of an hour.
const HOUR_MS: i64 = 3_600_000;

impl Parts {
    /// The parts of a charge, if they are the amount and none is negative.
    fn of(charge: &Charge) -> Option<Parts> {
        let amount_minor = charge.amount.minor();
        let parts =
            charge.parts.unwrap_or(Parts { goods_minor: amount_minor, tip_minor: 0, deposit_minor: 0 });
        let values = [parts.goods_minor, parts.tip_minor, parts.deposit_minor];
        let sum = values.into_iter().try_fold(0i64, |sum, value| sum.checked_add(value));
        let fits = values.iter().all(|value| *value >= 0) && sum == Some(amount_minor);
        fits.then_some(parts)
    }
}

impl Batch {
    pub(super) fn charge(&mut self, charge: &Charge) -> Decided {
        let key = IdempotencyKey::order(charge.merchant, charge.order_ref.clone());
        if let Some(earlier) = self.by_reference(&key) {
            return Self::charged_before(earlier, charge);
        }
        let parts = Parts::of(charge).ok_or(Refusal::PartsDoNotAddUp)?;
        if charge.hold_until.is_some_and(|until| until <= self.now) {
            return Err(Refusal::HoldTooShort);
        }
        let code = self.find_code(charge)?;
        if code.consumed || self.consumed.contains(&code.verification) {
            return Err(Refusal::CodeAlreadyUsed);
        }
        if code.revoked {
            return Err(Refusal::CodeRevoked);
        }
        if code.expires_at <= self.now {
            return Err(Refusal::CodeExpired);
        }
        if code.currency != charge.amount.currency() {
            return Err(Refusal::CurrencyMismatch);
        }
        let (legs, state) = self.fund(charge, &code, parts).map_err(Refusal::Declined)?;
        self.write_charge(charge, &code, &legs, state)
    }

    /// Same reference: the same payment, unless it is another one or ended unpaid.
    fn charged_before(earlier: &History, charge: &Charge) -> Decided {
        let Some(payment) = earlier.payment() else { return Err(Refusal::OrderReversed) };
        let held = earlier.head().state == RowState::Pending;
        if payment.amount != charge.amount || held != charge.hold_until.is_some() {
            return Err(Refusal::ReferenceConflict(Box::new(payment)));
        }
        match payment.status {
            Status::Reversed => Err(Refusal::OrderReversed),
            Status::Canceled | Status::Expired => Err(Refusal::OrderClosed(Box::new(payment))),
            Status::Succeeded | Status::Pending | Status::RequiresAction => {
                Ok(Answer::Done { payment, replayed: true })
            }
        }
    }

    /// Unknown codes are counted, and too many of them end the hour. A code of another merchant is not loaded at
    /// all, so it is as unknown as one that never was.
    fn find_code(&mut self, charge: &Charge) -> Result<Code, Refusal> {
        let hour = self.now.as_millis().div_euclid(HOUR_MS);
        let terms = self.state.merchants.entry(charge.merchant).or_default();
        if terms.guesses.hour != hour {
            terms.guesses = Guesses { hour, count: 0 };
        }
        if terms.guesses.count >= GUESSES_PER_HOUR {
            return Err(Refusal::TooManyGuesses);
        }
        if let Some(code) = self.state.codes.get(&(charge.merchant, charge.code)) {
            return Ok(code.clone());
        }
        terms.guesses.count += 1;
        self.guesses.entry(charge.merchant).or_insert(Guesses { hour, count: 0 }).count += 1;
        Err(Refusal::CodeNotFound)
    }

    /// Which wallets pay which part, and whether the money moves, is held, or waits for the payer.
    fn fund(&self, charge: &Charge, code: &Code, parts: Parts) -> Result<(Vec<Leg>, RowState), DeclineCode> {
        let currency = charge.amount.currency();
        let amount_minor = charge.amount.minor();
        // An account without a wallet has no money: the same answer as an empty one.
        let own = self.wallet(code.account, currency, Purpose::Own);
        let own = own.map_err(|_| DeclineCode::InsufficientFunds)?;
        if own.account_state != AccountState::Active {
            return Err(DeclineCode::AccountFrozen);
        }
        let nobody = Payer::default();
        let payer = self.state.payers.get(&code.account).unwrap_or(&nobody);
        let subsidy = self.wallet(code.account, currency, Purpose::Subsidy).ok();
        let wallets: Vec<_> = [Some(own), subsidy].into_iter().flatten().collect();
        let above_limit = self.check_limits(charge.merchant, amount_minor, code, payer, &wallets)?;
        let is_lookalike = self.state.lookalikes.contains(&code.verification);
        let must_confirm = above_limit || charge.ask_payer || is_lookalike;
        let can_confirm = payer.has_pin || (self.state.terms.gesture_confirms && !is_lookalike);
        let subsidised_minor =
            subsidy.map_or(0, |wallet| wallet.available_minor().clamp(0, parts.goods_minor));
        if amount_minor - subsidised_minor > own.available_minor() {
            return Err(DeclineCode::InsufficientFunds);
        }
        let state = match (must_confirm, charge.hold_until) {
            (false, None) => RowState::Posted,
            (false, Some(_)) => RowState::Pending,
            (true, None) if can_confirm => RowState::ActionRequired,
            (true, _) => return Err(DeclineCode::ConfirmationUnavailable),
        };
        let legs = [
            (Part::Goods, subsidy, subsidised_minor),
            (Part::Goods, Some(own), parts.goods_minor - subsidised_minor),
            (Part::Tip, Some(own), parts.tip_minor),
            (Part::Deposit, Some(own), parts.deposit_minor),
        ];
        let legs = legs.into_iter().filter(|(.., minor)| *minor > 0);
        let leg = |(part, wallet, amount_minor): (Part, Option<&Wallet>, i64)| {
            Some(Leg { part, wallet: wallet?.wallet, amount_minor })
        };
        Ok((legs.filter_map(leg).collect(), state))
    }

    fn check_limits(
        &self,
        merchant: MerchantId,
        amount_minor: i64,
        code: &Code,
        payer: &Payer,
        wallets: &[&Wallet],
    ) -> Result<bool, DeclineCode> {
        let terms = &self.state.terms;
        let of_code = Limits { payment_minor_max: Some(code.amount_minor_max), ..Limits::default() };
        let mut layers = vec![&of_code, &terms.site, &payer.limits, &payer.guardian];
        layers.extend(terms.by_grade.get(&code.sensor_grade));
        let category = self.state.merchants.get(&merchant).and_then(|terms| terms.category.as_ref());
        let minute = terms.business_day.minute(self.now);
        let spent_minor = wallets.iter().map(|wallet| wallet.spending.minor).sum();
        let spent_count = wallets.iter().map(|wallet| wallet.spending.count).sum();
        let proposal = Proposal { amount_minor, category, spent_minor, spent_count, minute };
        Ok(check(&layers, &proposal)?)
    }

    fn write_charge(&mut self, charge: &Charge, code: &Code, legs: &[Leg], state: RowState) -> Decided {
        let caller = Caller::Merchant(charge.merchant);
        let confirm_until = self.now + Duration::from_secs(CONFIRMATION_SECONDS.into());
        let row = |leg: &Leg| Row {
            part: Some(leg.part),
            debit: LedgerAccount::Wallet(leg.wallet),
            credit: LedgerAccount::Merchant(charge.merchant),
            amount_minor: leg.amount_minor,
            account: Some(code.account),
            reference: Some(charge.order_ref.clone()),
            code: Some(code.code),
            verification: Some(code.verification),
            sensor_grade: Some(code.sensor_grade),
            merchant: Some(charge.merchant),
            store: Some(code.store),
            terminal: Some(code.terminal),
            expires_at: match state {
                RowState::Pending => charge.hold_until,
                RowState::ActionRequired => Some(confirm_until),
                _ => None,
            },
            ..self.row(charge.payment, Kind::Charge, state, caller, charge.amount.currency())
        };
        let rows = legs.iter().map(row).collect();
        for leg in legs {
            let wallet = self.wallet_mut(leg.wallet);
            match state {
                RowState::Posted => wallet.balance_minor -= leg.amount_minor,
                _ => wallet.held_minor += leg.amount_minor,
            }
        }
        // One payment per verification: every code of it is spent now, in this batch too.
        self.consumed.insert(code.verification);
        let payment = self.post(rows);
        if state.is_open() {
            self.opened.push(payment);
        }
        self.done(payment, false)
    }
}
