//! Step 5 of the method: the register charges the code with the amount.

use std::fmt;

use selfsame_domain::id::{MerchantId, PaymentId, TerminalId};
use selfsame_domain::ledger::{Kind, RowState};
use selfsame_domain::money::Amount;
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

/// A payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Payment {
    /// The payment.
    #[schema(value_type = String)]
    pub id: PaymentId,
    /// `charge` or `top_up`.
    #[schema(value_type = String, example = "charge")]
    pub kind: Kind,
    /// `succeeded` (the money has moved).
    pub status: PaymentStatus,
    /// How much.
    #[schema(value_type = Money)]
    pub amount: Amount,
    /// The caller's own reference.
    #[schema(value_type = String)]
    pub reference: Reference,
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
    /// Stages of this request, in microseconds; empty for replays and look-ups.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub timings: Timings,
}

/// How far a payment counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// The money has moved.
    Succeeded,
    /// The money is held.
    Pending,
}

impl Payment {
    /// The wire form of a decided payment.
    pub fn new(payment: &selfsame_domain::payment::Payment, timings: Timings) -> Self {
        Self {
            id: payment.payment,
            kind: payment.kind,
            status: match payment.state {
                RowState::Posted => PaymentStatus::Succeeded,
                RowState::Pending => PaymentStatus::Pending,
            },
            amount: payment.amount,
            reference: payment.reference.clone(),
            merchant: payment.merchant,
            terminal: payment.terminal,
            created_at: payment.created_at,
            timings,
        }
    }
}
