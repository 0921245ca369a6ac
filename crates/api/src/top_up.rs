//! Top-ups: the operator pays money into a wallet. Answered with a [`crate::payment::Payment`].

use selfsame_domain::id::AccountId;
use selfsame_domain::money::Amount;
use selfsame_domain::payment::Purpose;
use selfsame_domain::reference::Reference;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::payment::Money;

/// `POST /v1/top-ups` (operator).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTopUp {
    /// The operator's own reference: the idempotency key.
    #[schema(value_type = String, example = "desk-1-000002")]
    pub top_up_ref: Reference,
    /// Whose wallet.
    #[schema(value_type = String)]
    pub account: AccountId,
    /// How much.
    #[schema(value_type = Money)]
    pub amount: Amount,
    /// `own` (default): money paid in at the counter; `subsidy`: granted by the operator, for goods only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "subsidy")]
    pub purpose: Option<Purpose>,
}

/// `POST /v1/withdrawals` (operator): pays money out of a wallet. Answered with a [`crate::payment::Payment`].
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWithdrawal {
    /// The operator's own reference: the idempotency key.
    #[schema(value_type = String, example = "desk-1-000003")]
    pub withdrawal_ref: Reference,
    /// Whose wallet.
    #[schema(value_type = String)]
    pub account: AccountId,
    /// How much.
    #[schema(value_type = Money)]
    pub amount: Amount,
}
