//! Consents, as the desk records and withdraws them.

use selfsame_domain::id::{AccountId, ConsentId};
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /v1/consents`: the person agreed to this text in this language, in front of the desk's staff.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConsent {
    /// Who agreed.
    #[schema(value_type = String)]
    pub account: AccountId,
    /// Version of the text that was shown.
    #[schema(example = "2026-11")]
    pub text_version: String,
    /// Language in which it was shown (BCP 47).
    #[schema(example = "en")]
    pub language: String,
}

/// A recorded consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Consent {
    /// The consent.
    #[schema(value_type = String)]
    pub id: ConsentId,
    /// Who agreed.
    #[schema(value_type = String)]
    pub account: AccountId,
    /// Version of the text that was shown.
    pub text_version: String,
    /// Language in which it was shown.
    pub language: String,
    /// When it was given.
    #[schema(value_type = String, format = DateTime)]
    pub given_at: Timestamp,
    /// When it was withdrawn. The templates were destroyed at that moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub withdrawn_at: Option<Timestamp>,
}

/// `GET /v1/accounts/{id}/consents`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Consents {
    /// The latest, newest first.
    pub data: Vec<Consent>,
}

/// A text that people agree to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsentText {
    /// Version of the text.
    #[schema(example = "2026-11")]
    pub version: String,
    /// Its language (BCP 47).
    #[schema(example = "en")]
    pub language: String,
    /// What is shown.
    pub text: String,
}

/// `GET /v1/consent-texts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsentTexts {
    /// The texts in force.
    pub data: Vec<ConsentText>,
}
