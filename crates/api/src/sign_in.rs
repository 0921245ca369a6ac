//! Sign-in of staff at the server's pages: a key is shown once, and a cookie has its rights from then on.
//!
//! The cookie counts only together with the header [`PAGE_HEADER`], which no page from elsewhere can send, and only for
//! requests from the server's own pages.

use selfsame_domain::id::MerchantId;
use selfsame_domain::money::Currency;
use selfsame_domain::sign_in::Page;
use selfsame_domain::site::Mode;
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::merchant::Secret;

/// Header by which a page says which of them it is: `till` or `desk`. Every request that is to use the cookie has it.
pub const PAGE_HEADER: &str = "selfsame-page";

/// `POST /v1/sign-in`: shows a key. The page is the one of the header.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSignIn {
    /// A merchant's key at the till, the operator's at the desk.
    pub key: Secret,
}

/// Somebody who is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignedIn {
    /// Where: `till` or `desk`.
    #[schema(value_type = String, example = "till")]
    pub page: Page,
    /// Whose key it is; absent for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub merchant: Option<MerchantId>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merchant_name: Option<String>,
    /// `live` or `test`.
    #[schema(value_type = String, example = "live")]
    pub mode: Mode,
    /// The site's one currency, ISO 4217.
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
    /// Decimals of its minor unit: 2 for EUR, 0 for JPY.
    pub currency_decimals: u8,
    /// The most that one code can be charged with, minor units.
    pub amount_minor_max: i64,
    /// Where terminals and desks may be that this page may call from the browser, as the site's settings name them.
    pub terminals: Vec<String>,
    /// Signed out after so many seconds without a request.
    pub idle_seconds: u64,
    /// Signed out then in any case.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
}
