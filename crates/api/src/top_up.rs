//! Top-ups: the operator pays money into a wallet. Answered with a [`crate::payment::Payment`].

use selfsame_domain::id::AccountId;
use selfsame_domain::money::Amount;
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
}
