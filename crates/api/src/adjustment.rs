//! The operator's corrections: one person proposes, another decides. Answered with a [`crate::payment::Payment`].

use selfsame_domain::id::{AccountId, MerchantId};
use selfsame_domain::money::Amount;
use selfsame_domain::reference::Reference;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::payment::Money;

/// `POST /v1/adjustments` (operator). Names an account or a merchant.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAdjustment {
    /// The operator's own reference: the idempotency key.
    #[schema(value_type = String, example = "correction-17")]
    pub adjustment_ref: Reference,
    /// The payer whose own wallet is corrected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub account: Option<AccountId>,
    /// The merchant whose balance is corrected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub merchant: Option<MerchantId>,
    /// Raise the balance, or lower it.
    pub direction: Direction,
    /// By how much.
    #[schema(value_type = Money)]
    pub amount: Amount,
}

/// Which way a balance is corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The balance becomes larger.
    Raise,
    /// The balance becomes smaller.
    Lower,
}

/// `POST /v1/adjustments/{id}/decision` (operator, another key than the one that proposed).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Move the money, or drop the proposal.
    pub approved: bool,
}
