//! Merchants, stores and keys, as the operator makes them.

use std::fmt;

use selfsame_domain::id::{KeyId, MerchantId, StoreId};
use selfsame_domain::money::Currency;
use selfsame_domain::reference::Reference;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroize;

/// `POST /v1/merchants`: a merchant with one store and one key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMerchant {
    /// The operator's own reference. The same again is refused: the key is shown only once.
    #[schema(value_type = String)]
    pub request_ref: Reference,
    /// Name of the merchant.
    #[schema(example = "North Canteen")]
    pub name: String,
    /// Name of its first store.
    #[schema(example = "Main hall")]
    pub store_name: String,
}

/// A new merchant, with its key shown this once.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CreatedMerchant {
    /// The merchant.
    #[schema(value_type = String)]
    pub id: MerchantId,
    /// Its first store.
    #[schema(value_type = String)]
    pub store: StoreId,
    /// Id of its key.
    #[schema(value_type = String)]
    pub key_id: KeyId,
    /// The key itself; the server keeps a hash only.
    pub key: Secret,
}

/// `GET /v1/balance`: what the operator owes the calling merchant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MerchantBalance {
    /// The merchant.
    #[schema(value_type = String)]
    pub merchant: MerchantId,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
    /// Payments received, in minor units.
    pub balance_minor: i64,
}

/// A secret that is shown once, never printed, and wiped when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Secret(pub String);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
