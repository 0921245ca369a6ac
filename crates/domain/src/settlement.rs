//! Paying merchants out: what a statement adds up, what it costs, and the rows that closing and paying write.
//!
//! A statement covers the merchant's rows after the last one of the statement before, up to and including its own
//! fee. Its closing balance is what the ledger owes the merchant at that row, to the last minor unit.

use std::collections::BTreeMap;

use crate::id::{KeyId, MerchantId, PaymentId, SettlementId, StoreId};
use crate::ledger::{Caller, ChainedRow, Kind, LedgerAccount, Part, Row, RowState};
use crate::money::Currency;
use crate::payment::Slot;
use crate::reference::Reference;
use crate::text::text_enum;
use crate::time::Timestamp;

/// Fees are parts of this: 150 is 1.5 %.
pub const FEE_WHOLE: i64 = 10_000;

/// Highest fee that may be agreed, in ten-thousandths: 20 %.
pub const FEE_MAX: u32 = 2_000;

/// Who closes settlements when nobody does: the server's clock, at the end of the business day. No key has this id.
pub fn closed_by_clock() -> KeyId {
    KeyId::new(Timestamp::from_millis(0), [0; 10])
}

text_enum! {
    /// Where a settlement stands. An open one has no row yet: it is everything since the last one.
    SettlementState {
        /// Its sums are fixed.
        Closed = "closed",
        /// A second person has agreed.
        Approved = "approved",
        /// The money was paid out.
        Paid = "paid",
    }
}

/// The movements of a period, signed as the merchant sees them: what it gets is positive. Minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Goods and services paid.
    pub goods_minor: i64,
    /// Tips.
    pub tips_minor: i64,
    /// Deposits.
    pub deposits_minor: i64,
    /// Refunds; negative.
    pub refunds_minor: i64,
    /// Reversals; negative.
    pub reversals_minor: i64,
    /// Taken back by payers; negative.
    pub undone_minor: i64,
    /// The operator's corrections.
    pub adjustments_minor: i64,
    /// Fees with their rounding; negative.
    pub fees_minor: i64,
    /// Paid out; negative.
    pub payouts_minor: i64,
}

impl Totals {
    /// Adds a row of this merchant; answers its signed amount. Rows that moved nothing add nothing.
    pub fn add(&mut self, merchant: MerchantId, row: &Row) -> i64 {
        let signed = signed_minor(merchant, row);
        let total = match (row.kind, row.part) {
            (Kind::Charge | Kind::Closing, Some(Part::Tip)) => &mut self.tips_minor,
            (Kind::Charge | Kind::Closing, Some(Part::Deposit)) => &mut self.deposits_minor,
            (Kind::Charge | Kind::Closing, Some(Part::Goods)) => &mut self.goods_minor,
            (Kind::Refund, _) => &mut self.refunds_minor,
            (Kind::Reversal, _) => &mut self.reversals_minor,
            (Kind::Undo | Kind::UndoDecision, _) => &mut self.undone_minor,
            (Kind::Fee, _) => &mut self.fees_minor,
            (Kind::Payout, _) => &mut self.payouts_minor,
            // The closing of an adjustment has no part.
            _ => &mut self.adjustments_minor,
        };
        *total += signed;
        signed
    }

    /// Their sum.
    pub fn sum_minor(&self) -> i64 {
        self.goods_minor
            + self.tips_minor
            + self.deposits_minor
            + self.refunds_minor
            + self.reversals_minor
            + self.undone_minor
            + self.adjustments_minor
            + self.fees_minor
            + self.payouts_minor
    }
}

/// What a row means for the merchant, minor units.
pub fn signed_minor(merchant: MerchantId, row: &Row) -> i64 {
    let merchant = LedgerAccount::Merchant(merchant);
    match row.state {
        RowState::Posted if row.credit == merchant => row.amount_minor,
        RowState::Posted if row.debit == merchant => -row.amount_minor,
        _ => 0,
    }
}

/// A period that is being closed.
#[derive(Clone, Debug)]
pub struct Period {
    /// The settlement.
    pub settlement: SettlementId,
    /// Whose.
    pub merchant: MerchantId,
    /// Its currency.
    pub currency: Currency,
    /// Rows of all slots up to the statement before.
    pub after: u64,
    /// Rows of the slots that are not the one which the fee is written to.
    pub elsewhere: u64,
    /// What was owed then.
    pub opening_minor: i64,
    /// What payers asked back and nobody has decided about.
    pub frozen_minor: i64,
    /// Agreed fee, in ten-thousandths.
    pub fee: u32,
}

/// A statement as it is fixed by closing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The settlement.
    pub settlement: SettlementId,
    /// Whose.
    pub merchant: MerchantId,
    /// Its currency.
    pub currency: Currency,
    /// Rows of all slots before it; with one slot the sequence of the last of them.
    pub after: u64,
    /// Rows of all slots up to its end.
    pub upto: u64,
    /// Owed before it, minor units.
    pub opening_minor: i64,
    /// The movements.
    pub totals: Totals,
    /// Owed after it: opening and movements. Negative if the merchant owes.
    pub closing_minor: i64,
    /// Part of it that payers asked back and nobody has decided about.
    pub frozen_minor: i64,
    /// What is to be paid out: closing less frozen, never negative.
    pub payable_minor: i64,
}

/// Half to even, of `base * fee / 10,000`. Source: the rule that ISO 4217 amounts are settled with least bias.
fn fee_minor(base_minor: i64, fee: u32) -> i64 {
    let product = i128::from(base_minor.max(0)) * i128::from(fee);
    let whole = i128::from(FEE_WHOLE);
    let (quotient, twice_rest) = (product / whole, product % whole * 2);
    let up = twice_rest > whole || (twice_rest == whole && quotient % 2 == 1);
    i64::try_from(quotient + i128::from(up)).expect("a fee is at most a fifth of a 64-bit sum")
}

/// Closes a period: adds up its rows, and writes the fee. The fee of each store is rounded by itself, the merchant
/// pays the rounded fee of the sum, and the difference stays in the rounding account.
pub fn close<'a>(
    slot: &mut Slot,
    period: &Period,
    rows: impl IntoIterator<Item = &'a Row>,
    fee_payment: PaymentId,
    actor: KeyId,
    now: Timestamp,
) -> (Vec<ChainedRow>, Statement) {
    let mut totals = Totals::default();
    let mut base: BTreeMap<Option<StoreId>, i64> = BTreeMap::new();
    for row in rows {
        let signed = totals.add(period.merchant, row);
        let goods = row.part == Some(Part::Goods);
        *base.entry(row.store).or_default() += if goods { signed } else { 0 };
    }
    let lines_minor: i64 = base.values().map(|base_minor| fee_minor(*base_minor, period.fee)).sum();
    let whole_minor = fee_minor(base.values().sum(), period.fee);
    let merchant = LedgerAccount::Merchant(period.merchant);
    let rounding_minor = whole_minor - lines_minor;
    let rounding = if rounding_minor > 0 {
        (merchant, LedgerAccount::Rounding)
    } else {
        (LedgerAccount::Rounding, merchant)
    };
    let legs = [(merchant, LedgerAccount::Fees, lines_minor), (rounding.0, rounding.1, rounding_minor.abs())];
    let legs: Vec<_> = legs.into_iter().filter(|(.., minor)| *minor > 0).collect();
    let fee_rows = post(slot, period, (fee_payment, Kind::Fee), &legs, actor, now);
    for chained in &fee_rows {
        totals.add(period.merchant, &chained.row);
    }
    let closing_minor = period.opening_minor + totals.sum_minor();
    let statement = Statement {
        settlement: period.settlement,
        merchant: period.merchant,
        currency: period.currency,
        after: period.after,
        upto: period.elsewhere + slot.sequence,
        opening_minor: period.opening_minor,
        totals,
        closing_minor,
        frozen_minor: period.frozen_minor,
        payable_minor: (closing_minor - period.frozen_minor).max(0),
    };
    (fee_rows, statement)
}

/// The row by which a statement is paid out; none if nothing is payable.
pub fn pay(
    slot: &mut Slot,
    statement: &Statement,
    payout: PaymentId,
    actor: KeyId,
    now: Timestamp,
) -> Vec<ChainedRow> {
    let period = Period {
        settlement: statement.settlement,
        merchant: statement.merchant,
        currency: statement.currency,
        after: statement.after,
        elsewhere: 0,
        opening_minor: statement.opening_minor,
        frozen_minor: 0,
        fee: 0,
    };
    let merchant = LedgerAccount::Merchant(statement.merchant);
    let leg = (merchant, LedgerAccount::Payouts, statement.payable_minor);
    let legs: &[_] = if statement.payable_minor > 0 { &[leg] } else { &[] };
    post(slot, &period, (payout, Kind::Payout), legs, actor, now)
}

fn post(
    slot: &mut Slot,
    period: &Period,
    (payment, kind): (PaymentId, Kind),
    legs: &[(LedgerAccount, LedgerAccount, i64)],
    actor: KeyId,
    now: Timestamp,
) -> Vec<ChainedRow> {
    let reference: Reference = period.settlement.to_string().parse().expect("an id is a valid reference");
    let mut rows = Vec::new();
    for (leg, (debit, credit, amount_minor)) in (0u8..).zip(legs) {
        slot.sequence += 1;
        let row = Row {
            slot: slot.slot,
            sequence: slot.sequence,
            payment,
            leg,
            kind,
            state: RowState::Posted,
            part: None,
            parent: None,
            debit: *debit,
            credit: *credit,
            amount_minor: *amount_minor,
            currency: period.currency,
            account: None,
            caller: Caller::Operator,
            actor: Some(actor),
            reference: (leg == 0).then(|| reference.clone()),
            code: None,
            verification: None,
            sensor_grade: None,
            merchant: Some(period.merchant),
            store: None,
            terminal: None,
            created_at: now,
            expires_at: None,
        };
        slot.hash = row.hash_after(&slot.hash);
        rows.push(ChainedRow { row, hash: slot.hash });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::CHAIN_START;
    use crate::ledger::tests::row;
    use proptest::prelude::*;

    fn merchant() -> MerchantId {
        MerchantId::new(Timestamp::from_millis(0), [1; 10])
    }

    fn sale(sequence: u64, store: u8, amount_minor: i64) -> Row {
        let sold = row(sequence, amount_minor);
        Row {
            kind: Kind::Charge,
            part: Some(Part::Goods),
            debit: sold.credit,
            credit: LedgerAccount::Merchant(merchant()),
            store: Some(StoreId::new(Timestamp::from_millis(0), [store; 10])),
            ..sold
        }
    }

    fn period(fee: u32) -> Period {
        let start = Timestamp::from_millis(0);
        Period {
            settlement: SettlementId::new(start, [1; 10]),
            merchant: merchant(),
            currency: "EUR".parse().unwrap(),
            elsewhere: 0,
            after: 0,
            opening_minor: 100,
            frozen_minor: 30,
            fee,
        }
    }

    fn closed(fee: u32, rows: &[Row]) -> (Vec<ChainedRow>, Statement) {
        let start = Timestamp::from_millis(0);
        let mut slot = Slot { slot: 0, epoch: 1, sequence: rows.len() as u64, hash: CHAIN_START };
        close(
            &mut slot,
            &period(fee),
            rows,
            PaymentId::new(start, [9; 10]),
            KeyId::new(start, [9; 10]),
            start,
        )
    }

    #[test]
    fn fees_are_rounded_half_to_even() {
        for (base_minor, fee, expected) in
            [(50, 100, 0), (150, 100, 2), (250, 100, 2), (251, 100, 3), (-500, 100, 0), (10_000, 150, 150)]
        {
            assert_eq!(fee_minor(base_minor, fee), expected, "{base_minor} at {fee}");
        }
    }

    #[test]
    fn a_statement_adds_up_and_rounding_has_its_own_account() {
        // Each store's fee is 0.5, which rounds to 0; the whole fee is 1.
        let (fees, statement) = closed(100, &[sale(1, 1, 50), sale(2, 2, 50)]);
        assert_eq!(fees.len(), 1);
        assert_eq!(fees[0].row.credit, LedgerAccount::Rounding);
        assert_eq!(statement.totals.fees_minor, -1);
        assert_eq!(statement.closing_minor, 100 + 100 - 1);
        assert_eq!(statement.payable_minor, statement.closing_minor - 30);
        assert_eq!(statement.upto, 3);
    }

    proptest! {
        #[test]
        fn closing_is_opening_and_every_signed_row(amounts in prop::collection::vec((1i64..100_000, 1u8..5, any::<bool>()), 0..30), fee in 0..=FEE_MAX) {
            let rows: Vec<Row> = amounts.iter().zip(1u64..).map(|((minor, store, back), sequence)| {
                let sold = sale(sequence, *store, *minor);
                if *back { Row { kind: Kind::Refund, debit: sold.credit, credit: sold.debit, ..sold } } else { sold }
            }).collect();
            let (fees, statement) = closed(fee, &rows);
            let fees = fees.iter().map(|chained| &chained.row);
            let signed: i64 = rows.iter().chain(fees).map(|row| signed_minor(merchant(), row)).sum();
            prop_assert_eq!(statement.closing_minor, 100 + signed);
            prop_assert!(statement.payable_minor >= 0);
        }
    }
}
