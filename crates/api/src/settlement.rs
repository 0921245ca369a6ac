//! Settlements: statements of merchants, and paying them out.

use selfsame_domain::id::{KeyId, MerchantId, SettlementId};
use selfsame_domain::money::Currency;
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /v1/settlements` (operator): closes a merchant's period.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSettlement {
    /// Whose.
    #[schema(value_type = String)]
    pub merchant: MerchantId,
}

/// A merchant's statement. Movements are signed as the merchant sees them; closing is opening and all movements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settlement {
    /// The settlement.
    #[schema(value_type = String)]
    pub id: SettlementId,
    /// Whose.
    #[schema(value_type = String)]
    pub merchant: MerchantId,
    /// `open`, `closed`, `approved` or `paid`.
    #[schema(example = "closed")]
    pub state: String,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
    /// The ledger's rows behind this sequence ...
    pub after_sequence: u64,
    /// ... up to this one.
    pub upto_sequence: u64,
    /// Owed before, minor units.
    pub opening_minor: i64,
    /// Goods and services paid.
    pub goods_minor: i64,
    /// Tips.
    pub tips_minor: i64,
    /// Deposits.
    pub deposits_minor: i64,
    /// Refunds; negative.
    pub refunds_minor: i64,
    /// Reversals; negative.
    pub reversals_minor: i64,
    /// Taken back by payers; negative.
    pub undone_minor: i64,
    /// The operator's corrections.
    pub adjustments_minor: i64,
    /// Fees; negative.
    pub fees_minor: i64,
    /// Earlier payouts that fell into this period; negative.
    pub payouts_minor: i64,
    /// Owed after, minor units.
    pub closing_minor: i64,
    /// Part of it that payers asked back and nobody has decided about.
    pub frozen_minor: i64,
    /// What is paid out.
    pub payable_minor: i64,
    /// When it was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closed_at: Option<Timestamp>,
    /// When a second person approved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub approved_at: Option<Timestamp>,
    /// When it was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paid_at: Option<Timestamp>,
}

/// `GET /v1/settlements`: newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settlements {
    /// The settlements of this page.
    pub data: Vec<Settlement>,
    /// Whether there are older ones.
    pub has_more: bool,
    /// Ask for `before` this for the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<SettlementId>,
}

/// `POST /v1/operator-keys` answers a further key of the operator, for a second person. Shown this once.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OperatorKey {
    /// Names the key without showing it.
    #[schema(value_type = String)]
    pub id: KeyId,
    /// The key.
    pub key: crate::merchant::Secret,
}
