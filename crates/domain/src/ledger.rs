//! The ledger: append-only rows, each debit and credit at once, chained by hash.
//!
//! A row moves one amount from its debit account to its credit account, so the sum over all accounts is zero by
//! construction. Rows of one slot carry a gapless sequence, and each row's hash covers the hash before it, so a row
//! that was changed, dropped or inserted later breaks the chain at that place. The canonical bytes that are hashed
//! are documented at [`Row::canonical_bytes`], so that an auditor can recompute them.

pub mod audit;
pub mod export;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

use sha2::{Digest, Sha256};

use crate::id::{
    AccountId, IdError, KeyId, MerchantId, PaymentCodeId, PaymentId, StoreId, TerminalId, VerificationId,
    WalletId,
};
use crate::money::Currency;
use crate::reference::Reference;
use crate::sensor::SensorGrade;
use crate::text::{serde_as_text, text_enum};
use crate::time::Timestamp;

/// SHA-256 over the previous hash and a row.
pub type RowHash = [u8; 32];

/// The hash before the first row of a slot.
pub const CHAIN_START: RowHash = [0; 32];

/// A side of a row. What an accountant finds in the trial balance; credits less debits of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LedgerAccount {
    /// Top-up clearing: money paid in over the counter and paid out again. Goes negative as wallets fill, because
    /// this side is the source of every top-up.
    Cash,
    /// Source of the subsidies that the operator grants; negative by what was granted.
    Subsidies,
    /// What merchants paid for the service, per settlement.
    Fees,
    /// The other side of corrections that two people agreed to.
    Adjustments,
    /// What rounding fees line by line differs from rounding their sum.
    Rounding,
    /// What was paid out to merchants.
    Payouts,
    /// What the operator owes a payer.
    Wallet(WalletId),
    /// What the operator owes a merchant.
    Merchant(MerchantId),
}

impl LedgerAccount {
    const NAMED: [(LedgerAccount, &'static str); 6] = [
        (LedgerAccount::Cash, "cash"),
        (LedgerAccount::Subsidies, "subsidies"),
        (LedgerAccount::Fees, "fees"),
        (LedgerAccount::Adjustments, "adjustments"),
        (LedgerAccount::Rounding, "rounding"),
        (LedgerAccount::Payouts, "payouts"),
    ];

    /// The wallet, if it is one.
    pub fn wallet(self) -> Option<WalletId> {
        if let LedgerAccount::Wallet(wallet) = self { Some(wallet) } else { None }
    }
}

impl fmt::Display for LedgerAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LedgerAccount::Wallet(wallet) => wallet.fmt(f),
            LedgerAccount::Merchant(merchant) => merchant.fmt(f),
            named => {
                let found = Self::NAMED.iter().find(|(account, _)| account == named);
                f.write_str(found.map_or("", |(_, name)| name))
            }
        }
    }
}

impl std::str::FromStr for LedgerAccount {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if let Some((account, _)) = Self::NAMED.iter().find(|(_, name)| *name == text) {
            return Ok(*account);
        }
        if text.starts_with("wal_") {
            text.parse().map(LedgerAccount::Wallet)
        } else {
            text.parse().map(LedgerAccount::Merchant)
        }
    }
}

serde_as_text!(LedgerAccount);

text_enum! {
    /// What a row does. Values are never reused.
    Kind {
        /// A payer pays a merchant with a payment code: at once, as a hold, or after a confirmation. A voided charge
        /// of amount 0 is the tombstone of an order that was reversed before it was seen.
        Charge = "charge",
        /// A hold, a step-up or an adjustment ends; the row's state says how. One for each, by its reference.
        Closing = "closing",
        /// The merchant makes sure that an order is not paid.
        Reversal = "reversal",
        /// The merchant gives back part or all of a payment.
        Refund = "refund",
        /// The payer takes a payment back, or asks for it (pending: the amount is frozen in settlement).
        Undo = "undo",
        /// What was decided about a frozen undo.
        UndoDecision = "undo_decision",
        /// Money is paid into a wallet.
        TopUp = "top_up",
        /// Money is paid out of a wallet.
        Withdrawal = "withdrawal",
        /// The operator's correction; pending until a second person has approved.
        Adjustment = "adjustment",
        /// A merchant's fee for one settlement.
        Fee = "fee",
        /// A settlement is paid out.
        Payout = "payout",
    }
}

text_enum! {
    /// How far a row counts. Only posted rows move money.
    RowState {
        /// Money has moved.
        Posted = "posted",
        /// Waits: money of a charge is held, an undo is frozen, an adjustment needs its second person.
        Pending = "pending",
        /// A charge that waits for the payer's confirmation; its money is held.
        ActionRequired = "action_required",
        /// Ended without moving money.
        Voided = "voided",
        /// Ended by time without moving money.
        Expired = "expired",
    }
}

impl RowState {
    /// Whether a later row must close it.
    pub fn is_open(self) -> bool {
        matches!(self, RowState::Pending | RowState::ActionRequired)
    }
}

text_enum! {
    /// What a leg of a payment is for.
    Part {
        /// Goods or services.
        Goods = "goods",
        /// A tip.
        Tip = "tip",
        /// A deposit, for example on a bottle.
        Deposit = "deposit",
    }
}

/// Whose references these are: references are unique per (caller, kind) for ever, across key rotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// The operator's staff and systems.
    Operator,
    /// One merchant.
    Merchant(MerchantId),
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Operator => f.write_str("operator"),
            Caller::Merchant(merchant) => merchant.fmt(f),
        }
    }
}

impl std::str::FromStr for Caller {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == "operator" { Ok(Caller::Operator) } else { text.parse().map(Caller::Merchant) }
    }
}

serde_as_text!(Caller);

/// One immutable ledger row: leg number `leg` of a payment. Leg 0 is also the single-use mark of the code, the
/// idempotency record of the reference and the event that readers of the stream see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The stream this row belongs to; order is promised within a slot.
    pub slot: u32,
    /// Position in the slot, from 1 without gaps.
    pub sequence: u64,
    /// The payment.
    pub payment: PaymentId,
    /// 0 for the first leg; further legs (up to [`LEG_MAX`]) carry split funding, tips or deposits.
    pub leg: u8,
    /// What the row does.
    pub kind: Kind,
    /// How far it counts.
    pub state: RowState,
    /// What a payer's leg is for.
    pub part: Option<Part>,
    /// The payment that this one continues or undoes, if any.
    pub parent: Option<PaymentId>,
    /// Where the money comes from.
    pub debit: LedgerAccount,
    /// Where it goes.
    pub credit: LedgerAccount,
    /// Amount in minor units, 1 or more; 0 only where nothing was left to move.
    pub amount_minor: i64,
    /// Currency of the amount.
    pub currency: Currency,
    /// The payer's account.
    pub account: Option<AccountId>,
    /// Whose reference it is.
    pub caller: Caller,
    /// The key of the person or system at the operator that asked, so that a second person can be told from the first.
    pub actor: Option<KeyId>,
    /// The caller's own reference; on leg 0 only.
    pub reference: Option<Reference>,
    /// The code that paid; on leg 0 of a charge only.
    pub code: Option<PaymentCodeId>,
    /// The verification behind the code; on leg 0 of a charge only.
    pub verification: Option<VerificationId>,
    /// Grade of the sample that was verified.
    pub sensor_grade: Option<SensorGrade>,
    /// The merchant that was paid.
    pub merchant: Option<MerchantId>,
    /// The store of the terminal that issued the code.
    pub store: Option<StoreId>,
    /// The terminal that issued the code.
    pub terminal: Option<TerminalId>,
    /// When the server decided.
    pub created_at: Timestamp,
    /// When an open row ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// Highest leg of a payment: four legs, and four more for what a partial capture releases.
pub const LEG_MAX: u8 = 7;

/// Between the canonical fields of a row.
const SEPARATOR: u8 = 0x1f;

/// Canonical bytes of an ordinary charge, rounded up.
const ROW_BYTES_USUAL: usize = 512;

fn present<T: fmt::Display>(value: &Option<T>) -> Option<&dyn fmt::Display> {
    value.as_ref().map(|value| value as &dyn fmt::Display)
}

impl Row {
    /// The payer's wallet: the one that pays, or else the one that is paid.
    pub fn wallet(&self) -> Option<WalletId> {
        self.debit.wallet().or(self.credit.wallet())
    }

    /// The bytes that are hashed: the fields in the order of the struct, each as decimal or text, separated by the
    /// unit separator U+001F, absent values empty. No field can contain the separator.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let created_at_ms = self.created_at.as_millis();
        let expires_at_ms = self.expires_at.map(Timestamp::as_millis);
        let fields: [Option<&dyn fmt::Display>; 24] = [
            Some(&self.slot),
            Some(&self.sequence),
            Some(&self.payment),
            Some(&self.leg),
            Some(&self.kind),
            Some(&self.state),
            present(&self.part),
            present(&self.parent),
            Some(&self.debit),
            Some(&self.credit),
            Some(&self.amount_minor),
            Some(&self.currency),
            present(&self.account),
            Some(&self.caller),
            present(&self.actor),
            present(&self.reference),
            present(&self.code),
            present(&self.verification),
            present(&self.sensor_grade),
            present(&self.merchant),
            present(&self.store),
            present(&self.terminal),
            Some(&created_at_ms),
            present(&expires_at_ms),
        ];
        let mut bytes = Vec::with_capacity(ROW_BYTES_USUAL);
        for (place, field) in fields.into_iter().enumerate() {
            if place > 0 {
                bytes.push(SEPARATOR);
            }
            if let Some(field) = field {
                write!(bytes, "{field}").expect("memory takes every write");
            }
        }
        bytes
    }

    /// Hash of this row behind `previous`.
    pub fn hash_after(&self, previous: &RowHash) -> RowHash {
        Sha256::new().chain_update(previous).chain_update(self.canonical_bytes()).finalize().into()
    }
}

/// A row with the hash that is stored beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainedRow {
    /// The row.
    pub row: Row,
    /// [`Row::hash_after`] the row before it.
    pub hash: RowHash,
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A sequence number is missing, repeated or out of order.
    #[error("slot {slot}: expected sequence {expected}, found {found}")]
    Gap {
        /// The slot.
        slot: u32,
        /// The number that should follow.
        expected: u64,
        /// The number that was there.
        found: u64,
    },
    /// A row does not hash to what is stored beside it.
    #[error("slot {slot}, sequence {sequence}: the row was changed after it was written")]
    Altered {
        /// The slot.
        slot: u32,
        /// The first wrong row.
        sequence: u64,
    },
    /// Rows are missing at the end, or the head was changed.
    #[error("slot {slot}: the last row does not agree with the slot's head")]
    Head {
        /// The slot.
        slot: u32,
    },
}

/// Recomputes the chain of one slot, row by row in order of sequence.
#[derive(Debug)]
pub struct ChainVerifier {
    slot: u32,
    sequence: u64,
    hash: RowHash,
}

impl ChainVerifier {
    /// Begins before the first row of `slot`.
    pub fn new(slot: u32) -> Self {
        Self { slot, sequence: 0, hash: CHAIN_START }
    }

    /// Takes the next row.
    pub fn push(&mut self, chained: &ChainedRow) -> Result<(), ChainError> {
        let (slot, expected, found) = (self.slot, self.sequence + 1, chained.row.sequence);
        if chained.row.slot != slot || found != expected {
            return Err(ChainError::Gap { slot, expected, found });
        }
        if chained.row.hash_after(&self.hash) != chained.hash {
            return Err(ChainError::Altered { slot, sequence: found });
        }
        (self.sequence, self.hash) = (found, chained.hash);
        Ok(())
    }

    /// Compares with the slot's head; answers the number of rows.
    pub fn finish(self, head_sequence: u64, head_hash: &RowHash) -> Result<u64, ChainError> {
        if self.sequence != head_sequence || self.hash != *head_hash {
            return Err(ChainError::Head { slot: self.slot });
        }
        Ok(self.sequence)
    }
}

/// Balance of every ledger account (credits less debits of posted rows) per currency, recomputed from rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrialBalance {
    balances: BTreeMap<(Currency, LedgerAccount), i128>,
}

impl TrialBalance {
    /// Adds a row; only posted ones move money.
    pub fn push(&mut self, row: &Row) {
        if row.state != RowState::Posted || row.amount_minor == 0 {
            return;
        }
        *self.balances.entry((row.currency, row.debit)).or_default() -= i128::from(row.amount_minor);
        *self.balances.entry((row.currency, row.credit)).or_default() += i128::from(row.amount_minor);
    }

    /// Every account with its balance in minor units.
    pub fn lines(&self) -> impl Iterator<Item = (Currency, LedgerAccount, i128)> + '_ {
        self.balances.iter().map(|((currency, account), balance)| (*currency, *account, *balance))
    }

    /// Sum over all accounts of a currency: zero, or the books are wrong.
    pub fn sum_minor(&self, currency: Currency) -> i128 {
        self.lines().filter(|line| line.0 == currency).map(|line| line.2).sum()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(sequence: u64, amount_minor: i64) -> Row {
        let start = Timestamp::from_millis(0);
        Row {
            slot: 0,
            sequence,
            payment: PaymentId::new(start, [sequence as u8; 10]),
            leg: 0,
            kind: Kind::TopUp,
            state: RowState::Posted,
            part: None,
            parent: None,
            debit: LedgerAccount::Cash,
            credit: LedgerAccount::Wallet(WalletId::new(start, [1; 10])),
            amount_minor,
            currency: "EUR".parse().unwrap(),
            account: None,
            caller: Caller::Operator,
            actor: None,
            reference: Some(format!("t{sequence}").parse().unwrap()),
            code: None,
            verification: None,
            sensor_grade: None,
            merchant: None,
            store: None,
            terminal: None,
            created_at: start,
            expires_at: None,
        }
    }

    fn chain(length: u64) -> Vec<ChainedRow> {
        let mut hash = CHAIN_START;
        let link = |sequence| {
            let row = row(sequence, 100);
            hash = row.hash_after(&hash);
            ChainedRow { row, hash }
        };
        (1..=length).map(link).collect()
    }

    fn verify(rows: &[ChainedRow], head_sequence: u64, head_hash: &RowHash) -> Result<u64, ChainError> {
        let mut verifier = ChainVerifier::new(0);
        rows.iter().try_for_each(|row| verifier.push(row))?;
        verifier.finish(head_sequence, head_hash)
    }

    #[test]
    fn an_untouched_chain_verifies() {
        let rows = chain(5);
        assert_eq!(verify(&rows, 5, &rows[4].hash), Ok(5));
        assert_eq!(verify(&[], 0, &CHAIN_START), Ok(0));
    }

    #[test]
    fn a_changed_row_is_named() {
        let mut rows = chain(5);
        rows[2].row.amount_minor = 1;
        let head = rows[4].hash;
        assert_eq!(verify(&rows, 5, &head), Err(ChainError::Altered { slot: 0, sequence: 3 }));
    }

    #[test]
    fn a_dropped_row_is_named() {
        let mut rows = chain(5);
        let head = rows[4].hash;
        rows.remove(1);
        assert_eq!(verify(&rows, 5, &head), Err(ChainError::Gap { slot: 0, expected: 2, found: 3 }));
        let rows = chain(5);
        assert_eq!(verify(&rows[..4], 5, &head), Err(ChainError::Head { slot: 0 }));
    }

    #[test]
    fn the_hash_of_a_row_stays_as_published() {
        // Auditors recompute this: the canonical bytes must never change for rows that are already written.
        let text = String::from_utf8(row(1, 100).canonical_bytes()).unwrap();
        assert_eq!(
            text.replace('\u{1f}', "|"),
            "0|1|pay_0000000000e40r2081040g2081|0|top_up|posted|||cash|wal_0000000000e40r2081040g2081|100|EUR||operator||t1|||||||0|"
        );
    }

    #[test]
    fn the_books_sum_to_zero() {
        let mut balance = TrialBalance::default();
        balance.push(&row(1, 100));
        balance.push(&Row { state: RowState::Pending, ..row(2, 7) });
        assert_eq!(balance.sum_minor("EUR".parse().unwrap()), 0);
        assert_eq!(balance.lines().map(|line| line.2).collect::<Vec<_>>(), [-100, 100]);
    }
}
