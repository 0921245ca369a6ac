//! Refunds: a merchant gives part or all of a payment back. Answered with a [`crate::payment::Payment`].

use selfsame_domain::id::PaymentId;
use selfsame_domain::ledger::Part;
use selfsame_domain::money::Amount;
use selfsame_domain::payment::ReceiptNumber;
use selfsame_domain::reference::Reference;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::payment::Money;

/// `POST /v1/refunds` (merchant). Names the payment in one of three ways. The money goes back to where it came from.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRefund {
    /// The merchant's own reference: the idempotency key.
    #[schema(value_type = String, example = "T4-2026-11-24-R0007")]
    pub refund_ref: Reference,
    /// The payment by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub payment: Option<PaymentId>,
    /// The payment by the reference of its order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub order_ref: Option<Reference>,
    /// The payment by the number on its receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "0-1234-5")]
    pub receipt: Option<ReceiptNumber>,
    /// How much.
    #[schema(value_type = Money)]
    pub amount: Amount,
    /// `goods`, `tip` or `deposit`; absent: goods first, then the deposit, then the tip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub part: Option<Part>,
}
