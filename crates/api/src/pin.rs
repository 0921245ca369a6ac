//! PINs of payers.

use std::fmt;

use selfsame_domain::id::VerificationId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `PUT /v1/accounts/{id}/pin` (operator, at the desk): sets a PIN, or resets a forgotten or locked one. A reset
/// needs a pass of the same person in force as second factor.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPin {
    /// 4 to 12 digits.
    pub pin: String,
    /// The pass; needed if a PIN is set already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub verification: Option<VerificationId>,
}

/// `POST /v1/pin-changes` (signed by the terminal): the payer changes the PIN, knowing the old one.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PinChange {
    /// The pass that says whose PIN it is.
    #[schema(value_type = String)]
    pub verification: VerificationId,
    /// The PIN as it was.
    pub old_pin: String,
    /// 4 to 12 digits.
    pub new_pin: String,
}

/// `GET /v1/accounts/{id}/pin` (operator).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PinState {
    /// Whether a PIN is set.
    pub set: bool,
    /// Wrong tries that are left; 0: locked.
    pub tries_left: u32,
}

impl fmt::Debug for NewPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPin(***)")
    }
}

impl fmt::Debug for PinChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PinChange(***)")
    }
}
