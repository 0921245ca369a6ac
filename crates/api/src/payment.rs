//! Step 5 of the method: the register charges the code with the amount.

use std::fmt;

use selfsame_domain::id::{AccountId, MerchantId, PaymentId, TerminalId, VerificationId};
use selfsame_domain::ledger::{Kind, Part};
use selfsame_domain::money::Amount;
use selfsame_domain::payment::{ReceiptNumber, Status};
use selfsame_domain::reference::Reference;
use selfsame_domain::time::Timestamp;
use selfsame_domain::timing::Timings;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Header that marks the answer to a reference that had been answered before.
pub const REPLAYED_HEADER: &str = "idempotency-replayed";

/// `POST /v1/payments` (merchant): charges a code. The same `order_ref` with the same amount answers the same
/// payment, also with another code; with another amount it is refused.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPayment {
    /// The merchant's own reference of the order, unique for ever: the idempotency key. Tills that number their
    /// orders anew each day add date and till.
    #[schema(value_type = String, example = "T4-2026-11-24-000123")]
    pub order_ref: Reference,
    /// How much.
    #[schema(value_type = Money)]
    pub amount: Amount,
    /// The 18 digits that the register read.
    #[schema(example = "980123456789012345")]
    pub code: String,
    /// What the amount is made of; absent: goods only. Subsidies pay for goods only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<Parts>,
    /// Hold the money for this long instead of moving it, in seconds: 60 to 2,592,000 (30 days). Capture or void it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 2_592_000)]
    pub hold_seconds: Option<u32>,
}

/// What an amount is made of. The sum must be the amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// Goods or services, minor units.
    pub goods_minor: i64,
    /// A tip, minor units.
    #[serde(default)]
    pub tip_minor: i64,
    /// A deposit, minor units.
    #[serde(default)]
    pub deposit_minor: i64,
}

impl NewPayment {
    /// An order of goods that is paid at once.
    pub fn goods(order_ref: Reference, amount: Amount, code: String) -> Self {
        Self { order_ref, amount, code, parts: None, hold_seconds: None }
    }
}

impl fmt::Debug for NewPayment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewPayment({}, {}, ***)", self.order_ref, self.amount)
    }
}

/// An amount of money.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `domain::money::Amount` in the OpenAPI document")]
pub struct Money {
    /// Minor units, 1 to 1,000,000,000,000.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_i64, example = 1250)]
    minor: i64,
    /// ISO 4217 code.
    #[schema(example = "EUR")]
    currency: String,
}

/// `POST /v1/payments/{id}/capture` (merchant): takes held money; the rest of it is released.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// How much; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Money>)]
    pub amount: Option<Amount>,
}

/// A payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Payment {
    /// The payment.
    #[schema(value_type = String)]
    pub id: PaymentId,
    /// `charge`, `refund`, `top_up`, `withdrawal` or `adjustment`.
    #[schema(value_type = String, example = "charge")]
    pub kind: Kind,
    /// Where it stands. Only `succeeded` means that the money has moved.
    pub status: PaymentStatus,
    /// How much was asked for.
    #[schema(value_type = Money)]
    pub amount: Amount,
    /// The caller's own reference.
    #[schema(value_type = String)]
    pub reference: Reference,
    /// The payment that this one refunds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub parent: Option<PaymentId>,
    /// The merchant that was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub merchant: Option<MerchantId>,
    /// The terminal that issued the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub terminal: Option<TerminalId>,
    /// When the server decided.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ends by itself; while it is `pending` or `requires_action`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// What was really paid so far, minor units.
    #[serde(default)]
    pub paid_minor: i64,
    /// What went back to the payer, minor units.
    #[serde(default)]
    pub returned_minor: i64,
    /// What the payer asked back and nobody has decided about, minor units.
    #[serde(default)]
    pub frozen_minor: i64,
    /// Its legs, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legs: Vec<Leg>,
    /// The number on its receipt, which starts a refund.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "0-1234-5")]
    pub receipt: Option<ReceiptNumber>,
    /// Stages of this request, in microseconds; empty for replays and look-ups.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub timings: Timings,
}

/// One leg of a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Leg {
    /// `goods`, `tip` or `deposit`.
    #[schema(value_type = String, example = "goods")]
    pub part: Part,
    /// Minor units.
    pub amount_minor: i64,
}

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// The money has moved.
    Succeeded,
    /// The money is held until it is captured; or a second person must approve.
    Pending,
    /// The payer must confirm at the terminal; the money is held.
    RequiresAction,
    /// Ended without moving money.
    Canceled,
    /// Ended by time without moving money.
    Expired,
    /// The merchant made sure that it is not paid.
    Reversed,
}

impl From<Status> for PaymentStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Succeeded => PaymentStatus::Succeeded,
            Status::Pending => PaymentStatus::Pending,
            Status::RequiresAction => PaymentStatus::RequiresAction,
            Status::Canceled => PaymentStatus::Canceled,
            Status::Expired => PaymentStatus::Expired,
            Status::Reversed => PaymentStatus::Reversed,
        }
    }
}

impl Payment {
    /// The wire form of a decided payment.
    pub fn new(payment: &selfsame_domain::payment::Payment, timings: Timings) -> Self {
        let leg =
            |leg: &selfsame_domain::payment::Leg| Leg { part: leg.part, amount_minor: leg.amount_minor };
        Self {
            id: payment.payment,
            kind: payment.kind,
            status: payment.status.into(),
            amount: payment.amount,
            reference: payment.reference.clone(),
            parent: payment.parent,
            merchant: payment.merchant,
            terminal: payment.terminal,
            created_at: payment.created_at,
            expires_at: payment.expires_at,
            paid_minor: payment.paid_minor,
            returned_minor: payment.returned_minor,
            frozen_minor: payment.frozen_minor,
            legs: payment.legs.iter().map(leg).collect(),
            receipt: Some(payment.receipt),
            timings,
        }
    }
}

/// `GET /v1/payments/history`: newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Payments {
    /// The payments of this page.
    pub data: Vec<Payment>,
    /// Whether there are older ones.
    pub has_more: bool,
    /// Ask for `before` this for the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<PaymentId>,
}

/// `POST /v1/payments/{id}/undo` (operator, for the payer at the desk): takes a payment back, or asks for it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Undo {
    /// Whose payment it is.
    #[schema(value_type = String)]
    pub account: AccountId,
}

/// `POST /v1/undos` (signed by the terminal): the same, asked for by the payer, who was verified there just now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PayerUndo {
    /// The pass that says whose payment it must be.
    #[schema(value_type = String)]
    pub verification: VerificationId,
    /// The number on the payer's receipt.
    #[schema(value_type = String)]
    pub receipt: ReceiptNumber,
}

/// `POST /v1/payments/{id}/undo-decision` (merchant or operator).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoDecision {
    /// Give the money back, or keep it.
    pub granted: bool,
}
