//! Certificates of terminals, signed by the site's own authority, so that cash registers on the LAN know whom they talk
//! to.

use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::bytes::Bytes;

/// The one algorithm of certified keys: what every TLS library of the last fifteen years knows.
pub const KEY_ALGORITHM: &str = "ecdsa-p256";

/// Most names in one certificate.
pub const NAMES_MAX: usize = 8;

/// `POST /v1/certificates`, signed by a device key: the terminal brings the public half of a key that it made itself.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCertificate {
    /// Algorithm of the key: `ecdsa-p256`.
    #[schema(example = "ecdsa-p256")]
    pub algorithm: String,
    /// The public key: an uncompressed point, 65 bytes.
    #[schema(value_type = String)]
    pub public_key: Bytes,
    /// Names and addresses by which registers reach the terminal, 1 to 8: private addresses, and names below the
    /// domains that the site's authority was made for.
    #[schema(example = json!(["till-1.local", "192.168.1.20"]))]
    pub names: Vec<String>,
}

/// A certificate with what is needed to believe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Certificate {
    /// X.509, DER.
    #[schema(value_type = String)]
    pub certificate: Bytes,
    /// The certificate of the site's authority, PEM: registers install it.
    pub authority: String,
    /// When it ends. Ask for another one in time.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}
