//! Steps 3 and 4 of the method: the terminal asks for the general payment code of a pass and gets 18 digits with no
//! amount in them.

use std::fmt;

use selfsame_domain::id::{PaymentCodeId, VerificationId};
use selfsame_domain::money::Currency;
use selfsame_domain::reference::Reference;
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /v1/payment-codes` (signed by the terminal). Asking again for the same pass revokes the earlier code in
/// the same transaction, so at most one code of a verification can be charged.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPaymentCode {
    /// The terminal's own reference, for its logs and ours. Not an idempotency key: digits are never shown twice.
    #[schema(value_type = String)]
    pub request_ref: Reference,
    /// The verification that passed.
    #[schema(value_type = String)]
    pub verification: VerificationId,
    /// What the code is handed over by.
    pub device: Device,
    /// Shorter life than configured, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u32>,
}

/// Information about the device, which the method's step 3 sends along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// For example `selfsame-terminal`.
    pub kind: String,
    /// Software version.
    pub version: String,
    /// Kind of register: `screen`, `return`, later `keyboard`, `serial`, `tcp`.
    pub register: String,
}

/// A code, with its digits, shown to the terminal this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct PaymentCode {
    /// Names the code without its digits.
    #[schema(value_type = String)]
    pub id: PaymentCodeId,
    /// The verification behind it.
    #[schema(value_type = String)]
    pub verification: VerificationId,
    /// The 18 digits.
    #[schema(example = "980123456789012345")]
    pub digits: String,
    /// The most it may be charged with, minor units. Not the amount: that comes from the register.
    pub amount_minor_max: i64,
    /// The currency it may be charged in.
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
    /// The server's time from which it is dead.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// The same as a length of time, for terminals whose clock is off.
    pub expires_in_ms: u64,
}

impl fmt::Debug for PaymentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PaymentCode({}, ***)", self.id)
    }
}
