//! Terminals: made by the operator, activated on the machine itself.

use selfsame_domain::id::{KeyId, MerchantId, StoreId, TerminalId};
use selfsame_domain::site::Mode;
pub use selfsame_domain::terminal::Purpose;
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::bytes::Bytes;
use crate::merchant::Secret;

/// `POST /v1/terminals`: a terminal that waits for its activation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTerminal {
    /// Where it stands.
    #[schema(value_type = String)]
    pub store: StoreId,
    /// Name of the terminal.
    #[schema(example = "Till 1")]
    pub name: String,
    /// What it is for.
    #[schema(value_type = String, example = "till")]
    pub purpose: Purpose,
}

/// A new terminal with its one-time activation code.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CreatedTerminal {
    /// The terminal.
    #[schema(value_type = String)]
    pub id: TerminalId,
    /// Typed into the terminal once; 15 minutes, single use, 5 wrong tries.
    pub activation_code: Secret,
    /// Until when the code is good.
    #[schema(value_type = String, format = DateTime)]
    pub activation_expires_at: Timestamp,
}

/// `POST /v1/terminals/activate`: the terminal brings the public half of a key that it made itself. The request is
/// signed with that key (`keyid` is the base64 of the public key), which proves that the terminal holds it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// The terminal.
    #[schema(value_type = String)]
    pub terminal: TerminalId,
    /// The one-time code.
    pub activation_code: Secret,
    /// Signature algorithm of the key: `ed25519`.
    #[schema(example = "ed25519")]
    pub algorithm: String,
    /// The public key, 32 bytes.
    #[schema(value_type = String)]
    pub public_key: Bytes,
}

/// What an activated terminal needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActivatedTerminal {
    /// The terminal.
    #[schema(value_type = String)]
    pub terminal: TerminalId,
    /// Names the device key in signatures from now on. An earlier key of this terminal is retired.
    #[schema(value_type = String)]
    pub key_id: KeyId,
    /// Whose terminal it is.
    #[schema(value_type = String)]
    pub merchant: MerchantId,
    /// Where it stands.
    #[schema(value_type = String)]
    pub store: StoreId,
    /// What it is for.
    #[schema(value_type = String, example = "till")]
    pub purpose: Purpose,
    /// Live or test site.
    #[schema(value_type = String, example = "test")]
    pub mode: Mode,
    /// Frames are sealed to this key of the matcher.
    pub matcher_key: MatcherKey,
    /// The server's time.
    #[schema(value_type = String, format = DateTime)]
    pub server_time: Timestamp,
}

/// The matcher's public key, to which frames are sealed (X25519, RFC 9180).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MatcherKey {
    /// Names the key: the first 8 bytes of its SHA-256 in hex.
    #[schema(example = "0123456789abcdef")]
    pub id: String,
    /// 32 bytes.
    #[schema(value_type = String)]
    pub public_key: Bytes,
}
