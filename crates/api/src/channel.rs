//! The terminal's one long-lived channel to the payment server: lock, retirement and the payments that come of its
//! codes, as server-sent events.
//!
//! Each event carries the whole [`Situation`], never a difference: whoever connects again has missed nothing, and the
//! last event is always the truth.

use std::time::Duration;

use selfsame_domain::id::{PaymentId, TerminalId, VerificationId};
use selfsame_domain::money::Amount;
use selfsame_domain::payment::ReceiptNumber;
use selfsame_domain::terminal::Standing;
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::configuration::Configuration;
use crate::payment::{Money, PaymentStatus};

/// How often the server writes something, news or not, so that a dead connection is noticed.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// After this long without a byte the terminal takes the connection for dead: two heartbeats may be lost.
pub const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Payments that one situation tells of: those of the terminal's latest verifications.
pub const PAYMENTS_MAX: u32 = 16;

/// `GET /v1/channel` (signed by the terminal; `text/event-stream`): the data of each event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Situation {
    /// The terminal.
    #[schema(value_type = String)]
    pub terminal: TerminalId,
    /// `active`, `locked` (not now) or `retired` (never again; the channel ends after this).
    #[schema(value_type = String, example = "active")]
    pub standing: Standing,
    /// What the operator has set for it. Reads as absent where it has a value that this version does not know: a newer
    /// server must not cost a terminal its channel.
    #[serde(default, deserialize_with = "if_understood", skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Configuration>,
    /// Where it stands, for its screen. Servers of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Charges of its codes, oldest first, the latest 16.
    pub payments: Vec<TerminalPayment>,
}

fn if_understood<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Configuration>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// Whose terminal this is, in names that payers know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Place {
    /// Name of the merchant.
    #[schema(example = "Canteen North")]
    pub merchant_name: String,
    /// Name of the store.
    #[schema(example = "Main hall")]
    pub store_name: String,
}

/// What became of a code at the till: for the terminal's screen, after the amount is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TerminalPayment {
    /// The payment.
    #[schema(value_type = String)]
    pub payment: PaymentId,
    /// The verification behind its code.
    #[schema(value_type = String)]
    pub verification: VerificationId,
    /// Where it stands. `requires_action`: the payer must agree here to merchant and exact amount.
    pub status: PaymentStatus,
    /// Who charged.
    #[schema(example = "Canteen North")]
    pub merchant_name: String,
    /// How much.
    #[schema(value_type = Money)]
    pub amount: Amount,
    /// Until when the payer may agree; while `requires_action`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Whether a gesture on the screen is enough to agree; else only the PIN is.
    pub gesture_confirms: bool,
    /// What went back of it, minor units.
    #[serde(default)]
    pub returned_minor: i64,
    /// The number on its receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub receipt: Option<ReceiptNumber>,
    /// Until when the payer may take it back here; where the merchant lets payers, and while it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub undo_until: Option<Timestamp>,
    /// What the payer asked back and nobody has decided about, minor units.
    #[serde(default)]
    pub frozen_minor: i64,
    /// Whether the payer may ask for it back here: it is held back from the merchant until somebody has decided.
    #[serde(default)]
    pub may_ask_back: bool,
}

#[cfg(test)]
mod tests {
    use selfsame_domain::id::TerminalId;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_of_a_newer_server_costs_no_terminal_its_situation() {
        let terminal = TerminalId::new(Timestamp::from_millis(1), [1; 10]);
        let read = |configuration| {
            let situation = json!({ "terminal": terminal, "standing": "locked", "configuration": configuration, "payments": [] });
            serde_json::from_value::<Situation>(situation).unwrap().configuration
        };
        assert_eq!(read(json!({ "deadline_ms": 5_000, "volume": 3 })).unwrap().deadline_ms, 5_000);
        assert_eq!(read(json!({ "register": "pigeon" })), None);
    }
}
