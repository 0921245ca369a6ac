//! Reversals: a merchant makes sure that an order is not paid, whatever happened to it.

use selfsame_domain::reference::Reference;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::payment::Payment;

/// `POST /v1/reversals` (merchant): after it the order is not paid and never will be. Works for orders that never
/// arrived, too. For payments of the same business day; later ones are refunded.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReversal {
    /// Which order: the idempotency key.
    #[schema(value_type = String, example = "T4-2026-11-24-000123")]
    pub order_ref: Reference,
}

/// A reversal that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reversal {
    /// Which order.
    #[schema(value_type = String)]
    pub order_ref: Reference,
    /// Minor units that went back to the payer or were released by this request.
    pub returned_minor: i64,
    /// The payment that was undone; absent if the order was never seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<Payment>,
}
