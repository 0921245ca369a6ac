//! Terminals: made by the operator, activated on the machine itself.

use selfsame_domain::id::{KeyId, MerchantId, StoreId, TerminalId};
use selfsame_domain::site::Mode;
pub use selfsame_domain::terminal::{KeyAlgorithm, Purpose};
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::bytes::Bytes;
use crate::device_key::DevicePublicKey;
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
    /// Signature algorithm of the key: `ed25519` or `ecdsa-p256-sha256`.
    #[schema(value_type = String, example = "ed25519")]
    pub algorithm: KeyAlgorithm,
    /// The public key: 32 bytes of Ed25519, or a compressed point of P-256 in 33 bytes.
    #[schema(value_type = String)]
    pub public_key: Bytes,
}

/// `POST /v1/terminals/{id}/activation-code`: a further one-time code. The key in use works until the terminal is
/// activated with the code.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewActivationCode {}

/// `POST /v1/terminals/rotate-key`, signed with the key in use: the terminal brings the public half of its next key. The
/// same again, signed with the same key, answers the same, also after that key has ended.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRotation {
    /// Signature algorithm of the next key.
    #[schema(value_type = String, example = "ed25519")]
    pub algorithm: KeyAlgorithm,
    /// The next public key, in the form of an activation.
    #[schema(value_type = String)]
    pub public_key: Bytes,
    /// Signature of the next key over [`rotation_proof`], 64 bytes: the terminal holds it.
    #[schema(value_type = String)]
    pub proof: Bytes,
}

/// What the next key signs to prove that it is there, and for which terminal's key it comes.
pub fn rotation_proof(key_id: KeyId, next: &DevicePublicKey) -> Vec<u8> {
    let public_key = Bytes::from(next.to_bytes()).encode();
    format!("selfsame key rotation v1\n{key_id}\n{}\n{public_key}\n", next.algorithm()).into_bytes()
}

/// A key that has taken the place of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RotatedKey {
    /// Names the key in signatures from now on.
    #[schema(value_type = String)]
    pub key_id: KeyId,
    /// Until when requests of the key before are taken: those that were on their way.
    #[schema(value_type = String, format = DateTime)]
    pub previous_until: Timestamp,
    /// The server's time.
    #[schema(value_type = String, format = DateTime)]
    pub server_time: Timestamp,
}

/// A terminal's key in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TerminalKey {
    /// Names it in signatures.
    #[schema(value_type = String)]
    pub id: KeyId,
    /// How it signs.
    #[schema(value_type = String, example = "ed25519")]
    pub algorithm: KeyAlgorithm,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
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
