//! Confirmations: above a limit the payer agrees to merchant and exact amount at the terminal.

use selfsame_domain::id::PaymentId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::merchant::Secret;
use crate::payment::Payment;

/// `GET /v1/confirmations` (signed by the terminal): payments that wait for the payer here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Confirmations {
    /// Oldest first.
    pub data: Vec<Payment>,
}

/// `POST /v1/confirmations` (signed by the terminal): the payer agrees, with a PIN, or with a gesture where the
/// site's rules let one confirm.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConfirmation {
    /// Which payment.
    #[schema(value_type = String)]
    pub payment: PaymentId,
    /// The PIN as typed; absent: a gesture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Secret>,
}
