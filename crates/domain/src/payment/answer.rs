//! What the ledger answers: payments, refusals in their order, and the changes to be written.

use crate::id::{AccountId, MerchantId, PaymentId, StoreId, TerminalId, WalletId};
use crate::ledger::{ChainedRow, Kind, Part};
use crate::limit::{Exceeded, Spending};
use crate::money::Amount;
use crate::payment::receipt::ReceiptNumber;
use crate::payment::state::{Guesses, Slot};
use crate::reference::Reference;
use crate::text::text_enum;
use crate::time::Timestamp;

text_enum! {
    /// Where a payment stands.
    Status {
        /// The money has moved.
        Succeeded = "succeeded",
        /// The money is held, or a second person must approve.
        Pending = "pending",
        /// The payer must confirm; the money is held.
        RequiresAction = "requires_action",
        /// Ended without moving money.
        Canceled = "canceled",
        /// Ended by time without moving money.
        Expired = "expired",
        /// The merchant made sure that it is not paid.
        Reversed = "reversed",
    }
}

/// One leg of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// What it is for.
    pub part: Part,
    /// The payer's wallet that it comes from, or goes to.
    pub wallet: WalletId,
    /// Minor units.
    pub amount_minor: i64,
}

/// A payment as answers show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The payment.
    pub payment: PaymentId,
    /// What it did.
    pub kind: Kind,
    /// Where it stands.
    pub status: Status,
    /// Sum over its legs as asked for.
    pub amount: Amount,
    /// The caller's own reference.
    pub reference: Reference,
    /// The payment that this one continues or undoes.
    pub parent: Option<PaymentId>,
    /// The payer's account.
    pub account: Option<AccountId>,
    /// The merchant that was paid.
    pub merchant: Option<MerchantId>,
    /// The store of the terminal that issued the code.
    pub store: Option<StoreId>,
    /// The terminal that issued the code.
    pub terminal: Option<TerminalId>,
    /// When the server decided.
    pub created_at: Timestamp,
    /// When it ends by itself, while it is open.
    pub expires_at: Option<Timestamp>,
    /// What was really paid so far, minor units: after a partial capture less than the amount.
    pub paid_minor: i64,
    /// What went back, minor units.
    pub returned_minor: i64,
    /// What the payer asked back and nobody has decided about, minor units.
    pub frozen_minor: i64,
    /// Its legs.
    pub legs: Vec<Leg>,
    /// The number on its receipt.
    pub receipt: ReceiptNumber,
}

text_enum! {
    /// Why a payer's money was not moved although everything else was right. In the order of the checks.
    DeclineCode {
        /// The operator froze the account.
        AccountFrozen = "account_frozen",
        /// The payer, a guardian or the operator blocked the merchant's category.
        CategoryBlocked = "category_blocked",
        /// Outside the hours in which this payer pays.
        OutsideHours = "outside_hours",
        /// Above the most that this code, or one payment of this payer, may be.
        LimitExceededSingle = "limit_exceeded_single",
        /// Above the most of the day.
        LimitExceededDay = "limit_exceeded_day",
        /// More payments than the day allows.
        LimitExceededCount = "limit_exceeded_count",
        /// Not enough money in the wallet.
        InsufficientFunds = "insufficient_funds",
        /// The payer would have to confirm and cannot: no PIN is set, or a hold was asked for.
        ConfirmationUnavailable = "confirmation_unavailable",
    }
}

impl From<Exceeded> for DeclineCode {
    fn from(exceeded: Exceeded) -> Self {
        match exceeded {
            Exceeded::Category => DeclineCode::CategoryBlocked,
            Exceeded::Hours => DeclineCode::OutsideHours,
            Exceeded::Payment => DeclineCode::LimitExceededSingle,
            Exceeded::Day => DeclineCode::LimitExceededDay,
            Exceeded::Count => DeclineCode::LimitExceededCount,
        }
    }
}

/// Why a request was refused. The order of the variants is the order of the checks, over all operations; each
/// operation uses some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The reference was used before with other content; here is what it was used for.
    ReferenceConflict(Box<Payment>),
    /// The order was reversed: it is not paid and never will be.
    OrderReversed,
    /// The order ended unpaid (void, cancel, expiry); a new try needs a new reference.
    OrderClosed(Box<Payment>),
    /// The parts are not the amount, or one of them is negative.
    PartsDoNotAddUp,
    /// The hold would end in the past.
    HoldTooShort,
    /// This merchant tried too many unknown codes in this hour.
    TooManyGuesses,
    /// No such account, or it has no wallet in this currency.
    AccountNotFound,
    /// No such payment of this caller.
    PaymentNotFound,
    /// No such code for this merchant. Codes of other merchants answer like this in every state.
    CodeNotFound,
    /// The code, or another one of the same verification, has paid another order.
    CodeAlreadyUsed,
    /// A later code replaced this one, or the till cancelled.
    CodeRevoked,
    /// Too late.
    CodeExpired,
    /// The currency is not that of the code or of the payment.
    CurrencyMismatch,
    /// This kind of movement cannot be refunded, for example a refund.
    NotRefundable,
    /// The payment is in a state in which that cannot be done.
    InvalidState(Box<Payment>),
    /// The hold or the step-up is over.
    PaymentExpired,
    /// Reversals are for the same business day; refund instead.
    ReversalTooLate,
    /// More than was held. Carries what is held, minor units.
    CaptureAboveHold(i64),
    /// More than is left of the payment, or of the named part. Carries what is left, minor units.
    RefundAbovePaid(i64),
    /// Only a PIN confirms here.
    PinRequired,
    /// The second person must be another than the first.
    SamePerson,
    /// The balance would leave the range of money.
    BalanceOutOfRange,
    /// Everything else was right; the money could not be moved. The code stays good.
    Declined(DeclineCode),
}

impl Refusal {
    /// The reason as recorded; declines by their own code.
    pub fn as_str(&self) -> &'static str {
        match self {
            Refusal::ReferenceConflict(_) => "reference_conflict",
            Refusal::OrderReversed => "order_reversed",
            Refusal::OrderClosed(_) => "order_closed",
            Refusal::PartsDoNotAddUp => "parts_do_not_add_up",
            Refusal::HoldTooShort => "hold_too_short",
            Refusal::TooManyGuesses => "too_many_guesses",
            Refusal::AccountNotFound => "account_not_found",
            Refusal::PaymentNotFound => "payment_not_found",
            Refusal::CodeNotFound => "code_not_found",
            Refusal::CodeAlreadyUsed => "code_already_used",
            Refusal::CodeRevoked => "code_revoked",
            Refusal::CodeExpired => "code_expired",
            Refusal::CurrencyMismatch => "currency_mismatch",
            Refusal::NotRefundable => "not_refundable",
            Refusal::InvalidState(_) => "invalid_state",
            Refusal::PaymentExpired => "payment_expired",
            Refusal::ReversalTooLate => "reversal_too_late",
            Refusal::CaptureAboveHold(_) => "capture_above_hold",
            Refusal::RefundAbovePaid(_) => "refund_above_paid",
            Refusal::PinRequired => "pin_required",
            Refusal::SamePerson => "same_person",
            Refusal::BalanceOutOfRange => "balance_out_of_range",
            Refusal::Declined(decline) => decline.as_str(),
        }
    }
}

/// The answer to one request, in the order of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is so, now or since this reference was first seen.
    Done {
        /// The payment: the new one, or the one that was closed or undone as it stands now.
        payment: Payment,
        /// This had been answered before.
        replayed: bool,
    },
    /// The order is not paid and never will be.
    Reversed {
        /// The payment that was undone; `None` if the order was never seen.
        payment: Option<Payment>,
        /// Minor units that went back or were released.
        returned_minor: i64,
        /// This had been answered before.
        replayed: bool,
    },
    /// Nothing moved.
    Refused(Refusal),
}

/// What the store must write, all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New ledger rows, in order of sequence.
    pub rows: Vec<ChainedRow>,
    /// New balances, each guarded by the version that was loaded.
    pub wallets: Vec<WalletChange>,
    /// The slot after the last row; `None` if there are no rows.
    pub slot: Option<Slot>,
    /// Unknown codes that were tried, to be added to what is counted: another server may count at the same time.
    pub guesses: Vec<(MerchantId, Guesses)>,
    /// What opened: holds, step-ups, frozen undos, proposed adjustments. Each waits for its closing.
    pub opened: Vec<PaymentId>,
    /// What ended; each must have been open.
    pub closed: Vec<PaymentId>,
}

/// A wallet's new balance, and what it says of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletChange {
    /// The wallet.
    pub wallet: WalletId,
    /// New balance, minor units.
    pub balance_minor: i64,
    /// New held part, minor units.
    pub held_minor: i64,
    /// What was spent from it on the business day.
    pub spending: Spending,
    /// The version that was loaded: the write must find it.
    pub version_before: u64,
}
