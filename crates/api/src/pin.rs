//! PINs of payers.

use selfsame_domain::id::VerificationId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::merchant::Secret;

/// `PUT /v1/accounts/{id}/pin` (operator, at the desk): sets a PIN, or resets a forgotten or locked one. A reset
/// needs a pass of the same person in force as second factor.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPin {
    /// 4 to 12 digits.
    pub pin: Secret,
    /// The pass; needed if a PIN is set already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub verification: Option<VerificationId>,
}

/// `POST /v1/pin-changes` (signed by the terminal): the payer changes the PIN, knowing the old one.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PinChange {
    /// The pass that says whose PIN it is.
    #[schema(value_type = String)]
    pub verification: VerificationId,
    /// The PIN as it was.
    pub old_pin: Secret,
    /// 4 to 12 digits.
    pub new_pin: Secret,
}

/// `GET /v1/accounts/{id}/pin` (operator).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PinState {
    /// Whether a PIN is set.
    pub set: bool,
    /// Wrong tries that are left; 0: locked.
    pub tries_left: u32,
}
